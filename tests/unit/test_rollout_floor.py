"""The floor of a canary's replicas before a step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.judge.floor import floor

PERCENT = st.integers(1, 100)
REPLICAS = st.integers(1, 500)
BOUNDS = st.tuples(st.integers(2, 500), st.integers(2, 500)).map(sorted)


@pytest.mark.parametrize(
    ("ready", "share", "weight", "needed"),
    [
        (10, 100, 5, 2),
        (10, 100, 25, 3),
        (10, 75, 50, 7),
        (10, 50, 100, 20),
        (8, 50, 100, 16),
        (2, 90, 25, 2),
        (3, 33, 100, 10),
        # Nothing to measure the load by.
        (5, 0, 100, 2),
        (0, 100, 50, 2),
        (6, 100, 0, 2),
    ],
)
def test_as_many_for_each_percent_as_stable_has(
    ready: int, share: int, weight: int, needed: int
) -> None:
    assert floor(ready, share, weight, 2, 50) == needed
    assert floor(ready, share, weight, 2, 8) == min(needed, 8)
    assert floor(ready, share, weight, 4, 50) == max(needed, 4)


@given(REPLICAS, PERCENT, PERCENT, BOUNDS)
def test_enough_and_no_more_within_the_bounds(
    ready: int, share: int, weight: int, bounds: list[int]
) -> None:
    low, high = bounds
    needed = floor(ready, share, weight, low, high)
    assert low <= needed <= high
    if needed < high:
        assert needed * share >= ready * weight
    if needed > low:
        assert (needed - 1) * share < ready * weight


@given(REPLICAS, PERCENT, st.lists(PERCENT, min_size=2), BOUNDS)
def test_a_higher_weight_never_needs_fewer(
    ready: int, share: int, weights: list[int], bounds: list[int]
) -> None:
    floors = [floor(ready, share, weight, *bounds) for weight in sorted(weights)]
    assert floors == sorted(floors)
