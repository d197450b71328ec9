"""`down`: nothing is left running, mounted, linked or filtered."""

from __future__ import annotations

from tests.e2e import harness
from tests.e2e.harness import PORTS, Walk
from tests.e2e.machine import Machine, down_leaves_nothing


def test_down_leaves_nothing(walk: Walk, before: Machine) -> None:
    """Everything that the instance brought is gone with it."""
    done = down_leaves_nothing(walk, PORTS, before)
    walk.note(f"down: {done.seconds:.1f} s")


def test_down_again_says_there_was_none(walk: Walk) -> None:
    """A second time is no error."""
    done = walk.local("down")
    assert done.lines(f"cluster {harness.NAME}:") == [f"cluster {harness.NAME}: there was none"]
