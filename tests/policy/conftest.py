"""The project's own stacks, rendered once."""

from __future__ import annotations

import pytest

from tests import rendered
from tests.policy import stacks


@pytest.fixture(scope="session")
def dev() -> stacks.Stack:
    """Stack dev as its file has it."""
    return stacks.of_program(rendered.render(**rendered.dev()))


@pytest.fixture(scope="session")
def everything() -> stacks.Stack:
    """A stack with all that there is."""
    return stacks.of_program(rendered.render(**rendered.EVERYTHING))


@pytest.fixture(scope="session")
def prod() -> stacks.Stack:
    """A stack in production."""
    return stacks.of_program(rendered.render(**rendered.PROD))
