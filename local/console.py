"""What the commands print: one line a step, and one line for a user's mistake."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_lock = threading.Lock()


class UserError(Exception):
    """A fault that its reader can mend. The message says the step, the value and the remedy."""


def say(line: str) -> None:
    """Print one line at once, whole even when threads report at the same time."""
    with _lock:
        print(line, flush=True)


@contextmanager
def step(name: str, times: dict[str, float] | None = None) -> Iterator[None]:
    """Print `name` with the seconds it took when it ends; record them in `times` if given."""
    start = time.monotonic()
    say(f"  {name} …")
    yield
    seconds = time.monotonic() - start
    if times is not None:
        times[name] = seconds
    say(f"  {name}: done in {format_seconds(seconds)}")


def format_seconds(seconds: float) -> str:
    """`4.2 s` below a minute, `3 m 05 s` above."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} m {int(seconds % 60):02d} s"


def run_cli(main: Callable[[], None]) -> None:
    """Run `main`, turning a UserError into one line on stderr and exit status 1."""
    try:
        main()
    except UserError as error:
        print(f"slipway: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except OSError as error:
        print(f"slipway: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("slipway: stopped; run the same command again to go on", file=sys.stderr)
        raise SystemExit(130) from None
