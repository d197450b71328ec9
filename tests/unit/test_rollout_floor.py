"""The floors of stable's and the canary's replicas before a step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.judge.floor import Need, Size, need

PERCENT = st.integers(1, 100)
REPLICAS = st.integers(0, 500)
FLOORS = st.dictionaries(st.sampled_from([1, 2]), st.integers(1, 500))
SIZES = st.tuples(REPLICAS, REPLICAS, st.integers(0, 50), st.integers(50, 500)).map(
    lambda drawn: Size(*drawn)
)


@pytest.mark.parametrize(
    ("ready", "canary", "present", "share", "weight", "floors", "wanted"),
    [
        # Few replicas, little to do: nothing to write, and nothing to wait for.
        (2, 0, {}, 100, 5, {}, 1),
        (2, 2, {}, 50, 100, {}, 2),
        # Blue-green: as many as stable before the first request.
        (2, 0, {}, 100, 100, {}, 2),
        (6, 0, {}, 100, 100, {1: 6, 2: 6}, 6),
        # Stable keeps what bears everything, the canary gets its share of that.
        (6, 0, {}, 100, 5, {1: 6}, 1),
        (6, 2, {1: 6}, 90, 25, {1: 6}, 2),
        (6, 2, {1: 6}, 75, 50, {1: 6, 2: 3}, 3),
        (6, 3, {1: 6, 2: 3}, 50, 100, {1: 6, 2: 6}, 6),
        # The floor keeps stable there, so its replicas say nothing more; those beyond it do.
        (6, 3, {1: 6, 2: 3}, 50, 50, {1: 6, 2: 3}, 3),
        (8, 3, {1: 6, 2: 3}, 50, 100, {1: 16, 2: 16}, 16),
        # The canary has enough: its floor stays.
        (6, 5, {1: 6}, 75, 50, {1: 6}, 3),
        # A stable version that has no traffic, or no replica, says nothing.
        (5, 4, {1: 4, 2: 4}, 0, 100, {1: 4, 2: 4}, 4),
        (0, 0, {}, 100, 50, {}, 1),
    ],
)
def test_a_step_takes(
    ready: int,
    canary: int,
    present: dict[int, int],
    share: int,
    weight: int,
    floors: dict[int, int],
    wanted: int,
) -> None:
    found = need(Size(ready, canary, 2, 50), 1, 2, present, share, weight)
    assert found == Need(floors, wanted)


def test_the_floors_of_other_versions_stay() -> None:
    assert need(Size(6, 0, 2, 50), 1, 2, {3: 4}, 100, 5) == Need({1: 6, 3: 4}, 1)


def test_never_more_than_the_most() -> None:
    assert need(Size(8, 3, 2, 10), 1, 2, {1: 6, 2: 3}, 50, 100) == Need({1: 10, 2: 10}, 10)


def test_versions_on_trial_are_not_scaled_to_zero() -> None:
    assert need(Size(0, 0, 0, 10), 1, 2, {}, 100, 5) == Need({1: 1, 2: 1}, 1)
    assert need(Size(1, 1, 0, 10), 1, 2, {1: 1, 2: 1}, 95, 50) == Need({1: 1, 2: 1}, 1)


@given(SIZES, FLOORS, PERCENT, PERCENT)
def test_enough_and_no_more_within_the_bounds(
    size: Size, present: dict[int, int], share: int, weight: int
) -> None:
    found = need(size, 1, 2, present, share, weight)
    assert 1 <= found.replicas <= max(size.high, 1)
    assert all(n > size.low for n in found.floors.values())
    has = max(size.canary, found.floors.get(2, 0), size.low)
    assert has >= found.replicas
    stable = max(found.floors.get(1, 0), size.low, 1)
    if stable < size.high:
        assert found.replicas * 100 >= stable * weight


@given(SIZES, PERCENT, st.lists(PERCENT, min_size=2))
def test_floors_never_sink(size: Size, share: int, weights: list[int]) -> None:
    present: dict[int, int] = {}
    for weight in sorted(weights):
        found = need(size, 1, 2, present, share, weight)
        for version, floor in present.items():
            assert found.floors.get(version, 0) >= min(floor, size.high)
        present = dict(found.floors)
