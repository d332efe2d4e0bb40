"""How connections that lost their edge at one moment come back: when each of them dials, and when the edge has it again."""
import time

from world import need

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
