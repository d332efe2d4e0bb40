"""Another tunnel of the same edge, which is asked all the time while somebody does harm."""
import contextlib
import threading

from client import get
from conftest import start_tunnel, stop_tunnel, until


@contextlib.contextmanager
def neighbour_of(server, where, transport="quic"):
    """A tunnel with .served and .failures, which a thread keeps up to date; every request must have been answered in the end."""
    site = start_tunnel("adit", server, where, "hello_world", transport=transport)
    site.failures, site.served, over = [], 0, threading.Event()

    def ask():
        while not over.is_set():
            try:
                head, _ = get(site, "/")
                if head.status_code != 200:
                    site.failures.append(head)
                site.served += 1
            except Exception as e:
                site.failures.append(e)
            over.wait(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    yield site
    over.set()
    thread.join(30)
    stop_tunnel(site)
    assert not site.failures, site.failures[:3]


@contextlib.contextmanager
def spared(site):
    """It was served while this went on, and after it."""
    served = site.served
    yield
    until(lambda: site.served > served + 1 or site.failures, "the neighbour is served")
    assert not site.failures, site.failures[:3]
