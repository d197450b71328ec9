"""One instance for nearly all end-to-end tests, and one as in production after it; the files are
run in the order of their numbers.

SLIPWAY_E2E_KEEP=1 leaves the instances running at the end and takes up running ones at the start,
for those who work on these tests.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import harness
from tests.e2e import production as instances
from tests.e2e.harness import Walk
from tests.e2e.machine import Machine, machine
from tests.e2e.production import Production

KEEP = bool(os.environ.get("SLIPWAY_E2E_KEEP"))
walks: list[Walk] = []
_failed: list[tuple[str, str]] = []


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
    walks.append(copied)
    return copied


@pytest.fixture(scope="session")
def production(before: Machine) -> Iterator[Production]:
    """The running instance as in production. `before`: what an instance must leave as it was is
    known by then.
    """
    for production in instances.running(KEEP):
        walks.append(production)
        yield production


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """Add what the cluster says to the first failures, and say again what failed."""
    outcome: Any = yield
    report = outcome.get_result()
    alive = [walk for walk in walks if walk.state.exists()]
    if report.failed:
        _failed.append((item.name, str(call.excinfo and call.excinfo.value)))
    if report.failed and alive and len(_failed) <= 2:
        what = " ".join(_failed[-1])
        report.sections.append(("the instance", alive[-1].diagnosis(what)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests measured."""
    for walk in walks:
        terminalreporter.section("measured end to end")
        for line in walk.notes:
            terminalreporter.write_line(line)
    # Once more below all else, where the end of a log that is cut off still has it.
    for name, why in _failed:
        terminalreporter.section(f"what failed in {name}")
        terminalreporter.write_line(why[-2000:])
