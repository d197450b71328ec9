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
    """A model with a canary, in production."""
    return stacks.of_program(rendered.render(**rendered.PROD))


@pytest.fixture(scope="session")
def asleep() -> stacks.Stack:
    """A model in production that may sleep."""
    scaling = {"min": 0, "requests_per_second": 10}
    models = {"night": {"stable": 1, "scaling": scaling}}
    return stacks.of_program(rendered.render(**rendered.PROD | {"models": models}))
