"""Processes that the benchmark starts: their ends, their CPU time, their memory. And what is needed to wait for them."""
import ctypes
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
PEERS = TOP / "build/peers"
TICK = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None, use_errno=True)

running = []  # every Program that was started and not stopped
given = set()  # ports that were handed out


class Failure(Exception):
    """Something did not do what the benchmark needs; the text says what."""


def find(name, *more):
    """The path of a program: one of `more`, in build/peers, or in PATH; None when there is none."""
    for path in (*more, PEERS / name, PEERS / "bin" / name, shutil.which(name)):
        if path and os.path.isfile(path) and os.access(path, os.X_OK):
            return str(path)
    return None


def free_port():
    """A port that is free for TCP and for UDP on loopback, and is given to nobody else in this run."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in given:
            given.add(port)
            return port


def until(condition, what, seconds=30, programs=(), pause=0.002):
    """Waits for a condition, and not longer than one of the programs lives."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        for program in programs:
            program.check()
        if time.monotonic() > end:
            raise Failure(f"never came: {what}")
        time.sleep(pause)


def listens(port):
    """Whether somebody accepts connections there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def own_network():
    """Moves this process into a network of its own, which ends with its last process. False when that is not allowed."""
    clone_newnet = 0x40000000
    if os.geteuid() != 0 or LIBC.unshare(clone_newnet) != 0:
        return False
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        set_flags, up_and_running = 0x8914, 0x41
        fcntl.ioctl(sock, set_flags, struct.pack("16sh14x", b"lo", up_and_running))
    # Where BBR is the default, TCP over loopback costs two to three times as much. The namespace's default may not be changed
    # without changing the machine's list of what is allowed; that of its routes may.
    for prefix in ("127.0.0.0/8", "127.0.0.1"):
        try:
            subprocess.run(["ip", "route", "replace", "table", "local", "local", prefix, "dev", "lo", "proto", "kernel", "scope", "host", "src",
                            "127.0.0.1", "congctl", "cubic"], capture_output=True, timeout=10)
        except OSError:
            break
    return True


def congestion_control():
    """The one that a TCP connection over loopback really has."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


def _end_with_parent():
    """Runs in the child: whatever ends this benchmark, SIGKILL too, ends what it started."""
    pr_set_pdeathsig = 1
    LIBC.prctl(pr_set_pdeathsig, signal.SIGTERM)


class Program:
    """A process of a session of its own, with its log in a file. `side` is server or client, or origin for what is not measured."""

    def __init__(self, side, command, log, feed=subprocess.DEVNULL, **more):
        self.side = side
        self.name = os.path.basename(str(command[0]))
        self.log = pathlib.Path(log)
        with open(log, "w") as file:
            self.process = subprocess.Popen([str(word) for word in command], stdin=feed, stdout=file, stderr=file,
                                            start_new_session=True, preexec_fn=_end_with_parent, **more)
        running.append(self)

    def check(self):
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended with {self.process.returncode}: {self.log.read_text(errors='replace')[-1500:]}")

    def pids(self):
        """This process and its descendants."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                fields = _stat(int(entry))
                if fields:
                    parents[int(entry)] = int(fields[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu(self):
        """CPU seconds of all threads of all its processes, those that have ended too."""
        total = 0
        for pid in self.pids():
            fields = _stat(pid)
            if fields:
                total += sum(int(ticks) for ticks in fields[11:15])  # utime, stime, and those of children that were waited for
        return total / TICK

    def rss(self, peak=False):
        """Resident KiB of all its processes, now or at most since reset_peak."""
        word = "VmHWM:" if peak else "VmRSS:"
        total = 0
        for pid in self.pids():
            try:
                text = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(word))
        return total

    def reset_peak(self):
        for pid in self.pids():
            try:
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
            except OSError:
                pass

    def signal(self, number):
        """To all of its processes: some have helpers of their own."""
        os.killpg(self.process.pid, number)

    def kill(self):
        """As a crash does it."""
        if self in running:
            running.remove(self)
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=10):
        """Asks, then insists. The whole session of the program is gone afterwards."""
        if self in running:
            running.remove(self)
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def _stat(pid):
    """The fields of /proc/PID/stat behind the name: state, parent, …"""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def stop_all():
    for program in list(reversed(running)):
        program.stop()


def raise_on_signals():
    """An end by signal takes the way of every other end, past each `finally`."""

    def ended(number, _):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, ended)
