"""One instance for all end-to-end tests; the files are run in the order of their numbers.

SLIPWAY_E2E_KEEP=1 leaves the instance running at the end and takes up a running one at the start,
for those who work on these tests.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import harness
from tests.e2e.harness import Walk

KEEP = bool(os.environ.get("SLIPWAY_E2E_KEEP"))
_walks: list[Walk] = []
_explained = 0


@dataclass(frozen=True)
class Machine:
    """The parts of the machine that an instance must leave as they were."""

    firewall: list[str]
    links: set[str]


def machine() -> Machine:
    """The machine as it is now."""
    return Machine(harness.firewall(), {link.name for link in Path("/sys/class/net").iterdir()})


@pytest.fixture(scope="session")
def copied() -> Iterator[Walk]:
    """A copy of the project that nothing runs from; what an earlier run left is gone."""
    walk = Walk()
    walk.claim()
    # Who ends the tests politely gets the instance removed, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not (KEEP and walk.project.exists()):
            walk.remove()
            walk.copy()
        yield walk
    finally:
        if not KEEP:
            walk.remove()
            walk.home.rmdir()


@pytest.fixture(scope="session")
def before(copied: Walk) -> Machine:
    """The machine as it was before the instance came."""
    return machine()


@pytest.fixture(scope="session")
def walk(copied: Walk, before: Machine) -> Walk:
    """The running instance, with the stack deployed by `python3 -m local up`."""
    if not (KEEP and copied.state.exists()):
        copied.kill_up("istiod")
    copied.up = copied.local("up", check=False, seconds=600)
    copied.note(f"up: {copied.up.seconds:.1f} s; {' '.join(copied.up.lines('up in'))}")
    if copied.up.code:
        copied.enter()
        pytest.fail(
            f"up failed with status {copied.up.code}:\n{harness.tail(copied.up.text)}\n"
            f"{copied.diagnosis()}",
            pytrace=False,
        )
    copied.enter()
    _walks.append(copied)
    return copied


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """Add what the cluster says to the first failures."""
    global _explained
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed and _walks and _explained < 2 and _walks[0].state.exists():
        _explained += 1
        report.sections.append(("the instance", _walks[0].diagnosis()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests measured."""
    for walk in _walks:
        terminalreporter.section("measured end to end")
        for line in walk.notes:
            terminalreporter.write_line(line)
