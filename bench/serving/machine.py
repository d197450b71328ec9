"""What the figures were taken on and with: hardware, kernel, versions. No names, no paths."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.serving import wrk
from bench.serving.environments import BENTOML, MLSERVER, RUNTIME
from local.instance import PROJECT


def describe() -> dict[str, Any]:
    """The machine: CPU model, cores, memory in GiB, kernel, operating system, load before."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    return {
        "cpu": cpu.group(1).strip() if cpu else platform.processor() or "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory.group(1)) / 2**20, 1) if memory else None,
        "kernel": platform.release(),
        "system": system,
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def versions(program: str) -> dict[str, Any]:
    """Python's, wrk's, this project's commit, and every package of every environment."""
    return {
        "python": sys.version.split()[0],
        "wrk": wrk.version(program),
        "commit": _commit(),
        **{each.name: each.versions() for each in (RUNTIME, MLSERVER, BENTOML)},
    }


def _commit() -> str:
    """The commit measured; with `+` where files of the runtime or the benchmark differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "serving_image", "bench", ":!bench/results")
        return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if changed else "")
    except FileNotFoundError:
        return "unknown"
