"""What the server's processes share as processes."""

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

STOP: Final = signal.SIGUSR1
"""What the server tells its processes to stop by."""

CANNOT_RUN: Final = 78
"""The exit code of a process that another start would not help (EX_CONFIG of sysexits.h)."""

_PR_SET_PDEATHSIG: Final = 1
_NO_LIMIT: Final = 2**60


def begin_child() -> None:
    """Makes this process a child of the server that started it; call it first.

    The kernel will kill it when the server ends, however that ends (prctl(2), PR_SET_PDEATHSIG; on
    a system without it nothing happens). SIGTERM and SIGINT, which may reach the whole group of
    processes, are ignored: only the server decides what follows from them, and says so by
    `STOP`. What the server blocks for itself is let through.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    parent = int(os.environ["SLIPWAY_SERVER"])
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:
        os._exit(1)


def cpu_limit() -> int:
    """Returns the CPUs this container may use, a whole number of at least 1.

    The limit of its control group, version 2 or 1, rounded down, or the number of CPUs it may run
    on, whichever is less.
    """
    allowed = len(os.sched_getaffinity(0))
    for quota, period in (_limits_v2(), _limits_v1()):
        if quota > 0 and period > 0:
            allowed = min(allowed, int(quota / period))
    return max(1, allowed)


def memory_limit() -> int | None:
    """Returns the memory this container may use, in bytes, or None where there is no limit.

    The limit of its control group, version 2 or 1.
    """
    for path in (
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ):
        limit = _whole(_read(path))
        # Version 1 writes "no limit" as a number near 2**63.
        if 0 < limit < _NO_LIMIT:
            return limit
    return None


def _limits_v2() -> tuple[int, int]:
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    return _whole(quota), _whole(period)


def _limits_v1() -> tuple[int, int]:
    folder = "/sys/fs/cgroup/cpu"
    return _whole(_read(f"{folder}/cpu.cfs_quota_us")), _whole(_read(f"{folder}/cpu.cfs_period_us"))


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0
