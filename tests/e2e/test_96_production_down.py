"""`down` of an instance as in production: Istio's plugin and its rules go with it too."""

from __future__ import annotations

from tests.e2e.machine import Machine, down_leaves_nothing
from tests.e2e.production import PORTS, Production


def test_down_leaves_nothing(production: Production, before: Machine) -> None:
    done = down_leaves_nothing(production, PORTS, before)
    production.note(f"production: down: {done.seconds:.1f} s")
