"""Names the machine and the versions that figures were measured with."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
PACKAGES = ("numpy", "numba", "pandas", "pyarrow")


def cpu_model() -> str:
    """Model name of the processor as the system gives it."""
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe() -> dict[str, str]:
    """Cores, processor, load, system and versions."""
    return {
        "cores": str(os.cpu_count()),
        "cpu": cpu_model(),
        "load": f"{os.getloadavg()[0]:.2f} over the last minute",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
    }
