"""What visitors notice when a part of a tunnel dies, freezes, or comes back."""
import signal
import threading
import time

import loads
from programs import until

VISITORS = 4
PAUSE = 0.005  # of a visitor between two requests: the load is constant, not the highest


class Visitors:
    """GETs on connections of their own, from the beginning of a `with` to its end; each must be answered within `patience` seconds."""

    def __init__(self, target, patience):
        self.target, self.patience = target, patience
        self.answered, self.failed = [], 0
        self.over, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.visit, daemon=True) for _ in range(VISITORS)]

    def visit(self):
        while not self.over.is_set():
            is_served = loads.is_served(self.target, seconds=self.patience)
            with self.lock:
                if is_served:
                    self.answered.append(time.monotonic())
                else:
                    self.failed += 1
            self.over.wait(PAUSE)

    def count(self):
        with self.lock:
            return len(self.answered)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        until(lambda: self.count() >= 50, "an even load")
        return self

    def __exit__(self, *_):
        self.end = time.monotonic()
        self.over.set()
        for thread in self.threads:
            thread.join()

    def gap(self):
        """The longest time without an answer, milliseconds."""
        times = [*self.answered, self.end]
        return 1000 * max(later - earlier for earlier, later in zip(times, times[1:]))


def failover(system, sizes, value):
    """Two clients serve the same. One is killed, its successor comes, and the other one freezes."""
    system.start_server()
    first, second = joined(system, 1), joined(system, 2)
    until(system.is_up, "a first answer with two clients", seconds=60)
    outage(system, sizes, value, "killed", lambda: system.kill(first))
    joined(system, 3)
    outage(system, sizes, value, "frozen", lambda: second.signal(signal.SIGSTOP))
    second.signal(signal.SIGCONT)


def joined(system, number):
    client = system.client(number)
    until(lambda: system.is_registered(client), f"client {number} is registered", programs=[client])
    return client


def outage(system, sizes, value, what, act):
    with Visitors(system.web, sizes.patience) as visitors:
        act()
        time.sleep(sizes.outage)  # what is measured: nothing is waited for
    value(f"{what}_gap", visitors.gap())
    value(f"{what}_failed", visitors.failed)


def reconnect(system, sizes, value):
    """The server crashes and is there again at once: until a request is answered."""
    server = system.server()
    system.kill(server)
    began = time.monotonic()
    system.serve()
    until(lambda: loads.is_served(system.web, seconds=sizes.patience), "the clients come back", seconds=120, programs=system.programs)
    value("reconnect", (time.monotonic() - began) * 1000)
