"""The table: medians over the rounds, their range, and what they are beside adit's; and what must be known to judge it."""
import datetime
import os
import pathlib
import platform
import statistics

from programs import TOP, congestion_control
from rows import FIGURES

BASE = "adit"


class Results:
    """values[system][figure]: one number for each round that gave one."""

    def __init__(self):
        self.values = {}
        self.faults = []

    def add(self, system, figure, number):
        self.values.setdefault(system, {}).setdefault(figure, []).append(number)

    def median(self, system, figure):
        numbers = self.values.get(system, {}).get(figure)
        return statistics.median(numbers) if numbers else None

    def cell(self, system, figure):
        numbers = self.values.get(system, {}).get(figure)
        if not numbers:
            return ""
        show = FIGURES[figure].format.format
        low, middle, high = show(min(numbers)), show(statistics.median(numbers)), show(max(numbers))
        text = middle if low == high else f"{middle} ({low} to {high})"
        base = self.median(BASE, figure)
        if system != BASE and base and base > 0:
            text += f" **×{statistics.median(numbers) / base:.2f}**"
        return text


class Machine:
    """The machine as it is before anything is started, and how much was taken from it meanwhile."""

    def __init__(self):
        self.cores = len(os.sched_getaffinity(0))
        self.load = os.getloadavg()
        self.start = self.ticks()

    @staticmethod
    def ticks():
        return [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]

    def stolen(self):
        """The share of time that the hypervisor gave to others."""
        ticks = [now - then for now, then in zip(self.ticks(), self.start)]
        return ticks[7] / max(1, sum(ticks))

    def warnings(self):
        if self.load[0] > 0.25 * self.cores:
            yield f"The machine was busy when this began (load average {self.load[0]:.2f} on {self.cores} cores): the figures are not to be trusted."
        if self.stolen() > 0.02:
            yield f"The hypervisor gave {self.stolen():.0%} of this machine's time to others meanwhile: the figures are not to be trusted."


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def page(results, systems, machine, facts, without):
    """The whole file. systems: those that were measured; facts: what else is said of the run; without: lines about what is missing."""
    lines = ["# Adit beside others", "",
             "Written by `make bench` (`bench/run`), which says what each row is; `docs/performance.md` says how to read it. Each cell is the median of",
             "the rounds, their range, and in bold its ratio to `adit + adit-edge`. Server and client are the two halves of a tunnel; CPU is of both.", ""]
    for warning in machine.warnings():
        lines += [f"**{warning}**", ""]
    lines.append("| | " + " | ".join(system.title for system in systems) + " |")
    lines.append("|---|" + "--:|" * len(systems))
    for figure, about in FIGURES.items():
        cells = [results.cell(system.name, figure) for system in systems]
        if any(cells):
            lines.append(f"| {about.title} | " + " | ".join(cells) + " |")
    versions = {}
    for system in systems:
        versions.update(system.versions())
    lines += ["", f"- {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC; {facts}",
              f"- {machine.cores} cores of {cpu_model()}, Linux {platform.release()}, TCP congestion control {congestion_control()}; load average at the start "
              + " ".join(f"{load:.2f}" for load in machine.load) + f"; {machine.stolen():.1%} of the time stolen",
              "- " + ", ".join(f"{name} {version}" for name, version in versions.items())]
    lines += [f"- {line}" for line in [*without, *dict.fromkeys(results.faults)]]
    return "\n".join(lines) + "\n"


def results_file():
    return TOP / "bench/results.md"
