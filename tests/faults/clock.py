"""A wall clock of its own for a program, that jumps on order (libfaketime). The monotonic clock goes on as it is."""
import email.utils
import http.client
import pathlib
import time

from world import need

LIBRARY = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
UNITS = {"h": 3600, "d": 86400}


class Clock:
    def __init__(self, path):
        need(LIBRARY, "there is no libfaketime (tools/setup test)")
        self.path, self.ahead = path, 0
        self.set("+0")

    @property
    def command(self):
        """What a program is started by way of. The sandbox would not let it read this clock again."""
        return ["env", f"LD_PRELOAD={LIBRARY}", f"FAKETIME_TIMESTAMP_FILE={self.path}", "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1", "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0", "ADIT_EDGE_NO_SANDBOX=true", "ADIT_NO_SANDBOX=true"]

    def set(self, jump):
        self.path.write_text(jump)
        self.ahead = int(jump[:-1] or 0) * UNITS[jump[-1]] if jump[-1] in UNITS else 0

    def is_told_by(self, addr, path="/"):
        """Whether this program's answers have this clock's time."""
        host, port = addr
        conn = http.client.HTTPConnection(host, port, timeout=30)
        conn.request("GET", path, headers={"Host": "nobody.localhost"})
        told = email.utils.parsedate_to_datetime(conn.getresponse().headers["Date"]).timestamp()
        conn.close()
        return abs(told - time.time() - self.ahead) < 600
