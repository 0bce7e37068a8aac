"""Describes the machine, so that a reader can make sense of its times."""

import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from relu_xp import _survey, _threads

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
# Read when this module is loaded, since what is imported and measured later is a load of its own.
_LOAD = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def describe() -> dict[str, Any]:
    """Give the machine, its settings and the versions, as plain values that name no owner."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %z"),
        "cpu": _cpu(),
        "cores": _threads.processors(),
        "caches": caches(),
        "memory": _memory("MemTotal"),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": _survey.versions(),
        "workers": _threads.workers(),
        "huge_pages": _huge_pages(),
        "load": _LOAD,
    }


def caches() -> dict[str, int]:
    """Give the bytes of each data cache that one core uses, as Linux tells; elsewhere nothing."""
    found = {}
    for index in sorted(_CACHES.glob("index*")):
        kind, level, size = (
            (index / name).read_text().strip() for name in ("type", "level", "size")
        )
        if kind != "Instruction" and size.endswith("K"):
            found[f"L{level}"] = int(size[:-1]) << 10
    return found


def available_memory() -> int:
    """Give the bytes that are free without swapping; a cautious guess if the system is silent."""
    return _memory("MemAvailable") or 4 << 30


def _memory(name: str) -> int | None:
    return (
        int(found[1]) << 10
        if (found := re.search(rf"{name}:\s*(\d+) kB", _text(Path("/proc/meminfo"))))
        else None
    )


def _cpu() -> str:
    found = re.search(r"model name\s*:\s*(.*)", _text(Path("/proc/cpuinfo")))
    return found[1] if found else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """Give the name, driver and memory of each GPU, as NVIDIA's tool tells."""
    if tool := shutil.which("nvidia-smi"):  # pragma: no cover  # on a GPU
        ask = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        done = subprocess.run(ask, capture_output=True, text=True, check=False)
        return done.stdout.splitlines() if done.returncode == 0 else []
    return []


def _huge_pages() -> str:
    chosen = re.search(r"\[(\w+)\]", _text(_HUGE_PAGES))
    asked = os.environ.get("NUMPY_MADVISE_HUGEPAGE")
    return (chosen[1] if chosen else "unknown") + (
        f", NUMPY_MADVISE_HUGEPAGE={asked}" if asked else ""
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
