"""How connections that lost their edge at one moment come back: when each of them dials, and when the edge has it again."""
import time

from world import need, until

WIDTH = 0.1  # seconds of the busiest moment


def busiest(times):
    """The most that lie within WIDTH of each other."""
    times = sorted(times)
    most = first = 0
    for last, when in enumerate(times):
        while when - times[first] > WIDTH:
            first += 1
        most = max(most, last - first + 1)
    return most


def first_dials(relay, since):
    """Of each client that was there before its first dial since then. One whose dial nobody answered comes from another port; that is a second dial."""
    known, first = set(), {}
    for client, when in relay.dials():
        if when <= since:
            known.add(client)
        elif client in known:
            first.setdefault(client, when)
    return list(first.values())


def watch_return(edge, links, seconds):
    """(when, how many are there), until all of them are."""
    seen = [(time.monotonic(), 0)]
    end = seen[0][0] + seconds
    while seen[-1][1] < links:
        need(time.monotonic() < end, f"{seen[-1][1]} of {links} links are back")
        edge.lives()
        seen.append((time.monotonic(), edge.links()))
        time.sleep(0.01)
    return seen


def arrivals(seen):
    """When each of them was seen to be there."""
    return [when for (_, before), (when, now) in zip(seen, seen[1:]) for _ in range(max(0, now - before))]


# ---- an edge that is gone without a word ----

def when_left(connector, count, seconds=90):
    """When no more than so many of its connections are registered."""
    def left():
        return connector.metrics()["cloudflared_tunnel_ha_connections"]

    until(lambda: left() <= count, lambda: f"{count} connections left; there are {left()}", seconds)
    return time.monotonic()


def silence(connector):
    """Waits until no connection has sent anything for two seconds, which none does before it was idle for ten; since the beginning."""
    begin = last = time.monotonic()
    sent = None
    while time.monotonic() - last < 2:
        now = {name: value for name, value in connector.metrics().items() if name.startswith("quic_client_sent_bytes")}
        if now != sent:
            sent, last = now, time.monotonic()
        need(time.monotonic() - begin < 60, "never silent for two seconds")
        time.sleep(0.05)
    return time.monotonic() - begin
