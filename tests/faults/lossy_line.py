"""A line of whole packets that loses some, in a network namespace of its own: there TCP's segments are lost as QUIC's packets are."""
import subprocess
import time

from load import Visitor
from world import need

HERE, FAR = "10.77.0.1", "10.77.0.2"  # whoever talks to FAR talks to this machine, over the line
DEVICE = "adit-line"


def lay(world):
    """The relay with its device up; packets pass untouched so far."""
    relay = world.relay("--tun", DEVICE)
    for command in (["link", "set", "lo", "up"], ["addr", "add", f"{HERE}/24", "dev", DEVICE], ["link", "set", DEVICE, "mtu", "1500", "up"],
                    # Linux's own default, also where the machine has another.
                    ["route", "replace", f"{HERE.rpartition('.')[0]}.0/24", "dev", DEVICE, "src", HERE, "congctl", "cubic"]):
        subprocess.run(["ip", *command], check=True)
    return relay


def download_rate(edge, tunnel, seconds):
    """Bytes a second of one download, from its first byte on."""
    took, begin = 0, None
    with Visitor(edge.addr("http"), tunnel.hostname, 60) as visitor:
        visitor.ask("GET", f"/bytes/{10 << 30}")
        for piece in visitor.pieces(visitor.head()):
            now = time.monotonic()
            begin = begin or now
            took += len(piece)
            if now - begin >= seconds:
                break
    need(took > 0, "nothing came")
    return took / (now - begin)
