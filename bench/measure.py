"""Clocks, repeats and their summary. Two things that are compared are timed in turns: A B A B."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one run: on the wall, and of processor time of the process that did it."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Repeated measurements of one quantity."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values or min(self.values) <= 0.0:
            raise ValueError(f"a sample needs positive measurements, got {self.values}")

    @property
    def median(self) -> float:
        """Middle measurement, or the mean of the two in the middle."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Largest minus smallest measurement, as a fraction of the median."""
        return (max(self.values) - min(self.values)) / self.median

    def fastest(self, count: int) -> Sample:
        """The ``count`` smallest measurements: for short runs, which other programs can only make slower."""
        return Sample(tuple(sorted(self.values)[:count]))

    def rates(self, amount: float) -> Sample:
        """Amount per unit of each measurement: seconds become a rate."""
        return Sample(tuple(amount / value for value in self.values))


def timed(run: Callable[[], object]) -> Timing:
    """Seconds that one call takes in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def in_turns(runs: dict[str, Callable[[], Timing]], repeats: int) -> dict[str, tuple[Timing, ...]]:
    """Time every run once, then again, ``repeats`` times, so that a slow spell of the machine hits all alike."""
    timings: dict[str, list[Timing]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            timings[name].append(run())
    return {name: tuple(found) for name, found in timings.items()}


def cpu_seconds(timings: tuple[Timing, ...]) -> Sample:
    """Processor seconds of each run: what 'per core' means."""
    return Sample(tuple(timing.cpu for timing in timings))


def wall_seconds(timings: tuple[Timing, ...]) -> Sample:
    """Seconds on the wall of each run: what a user waits."""
    return Sample(tuple(timing.wall for timing in timings))


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far.

    Linux hands ``ru_maxrss`` of the parent down to a child it starts, so the process's own high-water mark is read
    where the kernel shows it.
    """
    if STATUS.exists():
        for line in STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
