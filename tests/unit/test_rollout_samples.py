"""Samples to blocks: what counts, in which block, and what is said to be missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.adapters.samples import (
    BEACON,
    BLOCK_SECONDS,
    BUCKETS,
    MAX_GAP,
    SETTLE_SECONDS,
    Series,
    blocks,
    first_seen,
    first_start,
    last_end,
    short,
)
from rollout.judge.evidence import Block, Counts, Reading
from settings.rollout import LATENCY_BOUNDS

T = 1_700_000_000
"""A multiple of BLOCK_SECONDS."""
BOUNDS = [*map(str, LATENCY_BOUNDS), "+Inf"]
Points = Sequence[tuple[float, Any]]


def series(name: str, points: Points, version: int | str = 2, **labels: str) -> Series:
    """`points` are seconds after T, and values."""
    shared = {"namespace": "models", "pod": f"v{version}-a", "instance": "10.0.0.1", "job": "pods"}
    return Series(
        {
            "__name__": name,
            "model_name": "churn",
            "model_version": str(version),
            **shared,
            **labels,
        },
        [(T + second, value if isinstance(value, str) else str(value)) for second, value in points],
    )


def requests(points: Points, version: int = 2, **labels: str) -> Series:
    return series("model_predictions_total", points, version, **labels)


def errors(points: Points, version: int = 2, kind: str = "timeout", **labels: str) -> Series:
    return series("model_prediction_errors_total", points, version, error_type=kind, **labels)


def gateway(name: str, points: Points, version: int | str = 2, **labels: str) -> Series:
    return series(name, points, version, pod="gateway", instance="10.0.0.9", **labels)


def arrived(points: Points, version: int = 2) -> Series:
    return gateway("envoy_cluster_upstream_rq_completed", points, version)


def failed(points: Points, version: int = 2) -> Series:
    return gateway("envoy_cluster_upstream_rq", points, version, response_code_class="5xx")


def beacon(points: Points) -> Series:
    return gateway("envoy_cluster_upstream_rq_completed", points, "", cluster_name=BEACON)


def steady(value: object, start: float = -10, end: float = 20, every: float = 5) -> Points:
    """A counter that stands still."""
    return [(start + every * n, value) for n in range(round((end - start) / every) + 1)]


def read(*found: Series, start: int = 0, end: int = 20) -> Reading:
    return blocks(found, 2, 1, T + start, T + end)


def canary(*found: Series, start: int = 0, end: int = 20) -> list[Counts]:
    return [block.canary for block in read(*found, start=start, end=end).blocks]


def pod(points: Points, pod: str = "v2-a") -> list[Series]:
    """A pod of the canary: its requests, and their latencies, below the first bound."""
    buckets = [series(BUCKETS, points, le=bound, pod=pod) for bound in BOUNDS]
    return [requests(points, pod=pod), *buckets]


def quiet(*but: str) -> list[Series]:
    """All that is scraped where nothing is missing, with a request of the canary."""
    found = {
        "canary": pod([*steady(0, end=0), *steady(1, start=5)]),
        "stable": [requests(steady(0), 1)],
        "gateway": [beacon(steady(3))],
    }
    return [one for name, some in found.items() if name not in but for one in some]


# Blocks


def test_blocks_lie_on_the_grid_without_holes() -> None:
    reading = read(end=40)
    assert [(block.start, block.end) for block in reading.blocks] == [
        (T + n, T + n + 10) for n in (0, 10, 20, 30)
    ]


def test_an_increment_belongs_to_the_block_of_its_later_sample() -> None:
    points = [(-3, 100), (2, 107), (7, 110), (12, 130), (17, 131)]
    assert [one.requests for one in canary(requests(points))] == [10, 21]


def test_a_sample_on_the_edge_belongs_to_the_block_that_begins_there() -> None:
    points = [(-5, 0), (0, 1), (5, 3), (9.999, 7), (15, 15), (20, 99)]
    assert [one.requests for one in canary(requests(points))] == [7, 8]


def test_pods_and_kinds_of_errors_are_summed() -> None:
    found = canary(
        requests([(0, 0), (5, 10)]),
        errors([(0, 0), (5, 2)], kind="timeout"),
        errors([(0, 1), (5, 4)], kind="internal"),
        requests([(1, 50), (6, 61)], pod="v2-b"),
        requests([(0, 0), (5, 1000)], version=1),
    )
    assert (found[0].requests, found[0].errors) == (21, 5)


def test_canary_and_stable_are_counted_in_the_same_stretches() -> None:
    found = read(requests([(4, 0), (9, 3)]), requests([(9, 5), (11, 9)], version=1)).blocks
    assert [(one.canary.requests, one.stable.requests) for one in found] == [(3, 0), (0, 4)]


def test_latencies_fall_between_the_bounds() -> None:
    below = [series(BUCKETS, [(0, 5), (5, 5 + n)], le=le) for n, le in enumerate(BOUNDS)]
    assert canary(*below)[0].buckets == (0, *[1] * 18)
    slow = [series(BUCKETS, [(0, 0), (5, 7 * (le == "+Inf"))], le=le) for le in BOUNDS]
    assert canary(*slow)[0].tally("slow", 10.0) == (7, 7)


def test_buckets_read_at_different_moments_hold_no_negative_count() -> None:
    rises = {"0.001": 4, "0.0025": 3, "+Inf": 6}
    found = [series(BUCKETS, [(0, 0), (5, rises.get(le, 5))], le=le) for le in BOUNDS]
    assert canary(*found)[0].buckets == (4, 0, 1, *[0] * 15, 1)


def test_the_gateway_counts_each_answer_by_class_not_again_by_code() -> None:
    by_code = gateway("envoy_cluster_upstream_rq", [(0, 0), (5, 4)], response_code="503")
    good = gateway("envoy_cluster_upstream_rq", [(0, 0), (5, 6)], response_code_class="2xx")
    found = canary(arrived([(0, 0), (5, 10)]), failed([(0, 0), (5, 4)]), by_code, good)[0]
    assert (found.arrived, found.failed) == (10, 4)


# What counts and what does not


def test_a_gap_as_long_as_allowed_counts_and_a_longer_one_does_not() -> None:
    assert canary(requests([(-6, 0), (9, 5)]))[0].requests == 5
    reading = read(*quiet(), requests([(-6, 0), (9.001, 5)], pod="late"))
    assert reading.blocks[0].canary.requests == 1
    assert "pod late: no sample for more than 15 s after 22:13:14Z" in reading.missing


def test_a_pod_that_is_gone_is_named_once() -> None:
    gone = requests([(-10, 7), (-5, 7)], pod="gone")
    assert [line for line in read(*quiet(), gone).missing if "gone" in line] == [
        "pod gone: no sample for more than 15 s after 22:13:15Z"
    ]
    assert not [line for line in read(*quiet(), gone, start=20, end=30).missing if "gone" in line]


def test_a_reset_counts_nothing_and_neither_do_counters_that_did_not_fall() -> None:
    reading = read(
        *quiet(),
        *pod([(-1, 100), (5, 4), (10, 6), (15, 6), (19, 6)], pod="anew"),
        errors([(-1, 1), (5, 3), (10, 4)], pod="anew"),
    )
    found = [block.canary for block in reading.blocks]
    assert [(one.requests, one.errors) for one in found] == [(1, 0), (2, 1)]
    assert reading.missing == ("pod anew: its counters began anew before 22:13:25Z",)


def test_the_first_scrape_of_a_pod_counts_nothing_and_is_named() -> None:
    reading = read(*quiet(), *pod([(4, 40), (9, 42)], pod="new"))
    assert reading.blocks[0].canary.requests == 3
    assert reading.missing == ("pod new: requests before 22:13:24Z are not known",)
    assert not read(*quiet(), *pod([(4, 0), (9, 2)], pod="new")).missing


def test_a_gateway_that_is_new_and_had_no_request_lacks_nothing() -> None:
    assert not read(*quiet("gateway"), beacon([(4, 3), (9, 4), (14, 4)])).missing


def test_an_error_that_appears_late_began_at_zero() -> None:
    found = canary(requests([(-5, 9), (0, 9), (5, 19)]), errors([(5, 4)], kind="new"))[0]
    assert (found.requests, found.errors) == (10, 4)


def test_the_first_failures_of_a_version_count() -> None:
    found = canary(beacon([(-5, 3), (0, 3), (5, 3)]), arrived([(5, 3)]), failed([(5, 3)]))[0]
    assert (found.arrived, found.failed) == (3, 3)
    later = canary(arrived([(-5, 7), (0, 8), (5, 11)]), failed([(5, 2)]))[0]
    assert (later.arrived, later.failed) == (4, 2)


def test_failures_of_a_gateway_that_is_new_itself_do_not_count() -> None:
    found = canary(beacon([(5, 3), (10, 3)]), arrived([(5, 30), (10, 31)]), failed([(5, 20)]))
    assert [(one.arrived, one.failed) for one in found] == [(0, 0), (1, 0)]


@pytest.mark.parametrize("silent", [2, 4])
def test_a_gateway_whose_counters_were_not_there_for_a_while_makes_none_up(silent: int) -> None:
    back = 5 * silent
    points = [(-5, 900), (0, 900), (back, 900), (back + 5, 905)]
    found = canary(beacon([(t, 3) for t, _ in points]), arrived(points), failed(points), end=30)
    assert sum(one.arrived for one in found) == 5


@pytest.mark.parametrize(
    "value", ["NaN", "+Inf", "-Inf", "-1", "", "seven", "1e300", "9007199254740994", 7, None]
)
def test_a_value_that_is_no_count_is_named_and_counts_nothing(value: Any) -> None:
    odd, *others = pod([(-5, 3), (0, 3), (5, 4), (10, 5), (15, 9), (20, 10)], pod="odd")
    samples = [(t, value if t == T + 10 else text) for t, text in odd.samples]
    reading = read(*quiet(), Series(odd.labels, samples), *others)
    assert [block.canary.requests for block in reading.blocks] == [2, 0]
    assert sum(reading.blocks[1].canary.buckets) == 0
    (line,) = reading.missing
    assert line.startswith("pod odd: model_predictions_total is ")
    assert line.endswith(", no count, at 22:13:30Z")


@pytest.mark.parametrize("sample", [(), (T,), ("x", "1"), (float("nan"), "1"), (T, "1", "2")])
def test_a_sample_without_a_time_is_named(sample: Any) -> None:
    odd = Series(requests([], pod="odd").labels, [sample])
    assert any("pod odd: a sample without a time" in line for line in read(*quiet(), odd).missing)


def test_errors_are_never_more_than_requests() -> None:
    found = canary(requests([(0, 0), (5, 2)]), errors([(0, 0), (5, 3)]))[0]
    assert (found.requests, found.errors) == (2, 2)
    gate = canary(arrived([(0, 0), (5, 2)]), failed([(0, 0), (5, 3)]))[0]
    assert (gate.arrived, gate.failed) == (2, 2)


def test_a_pod_that_two_jobs_scrape_counts_once() -> None:
    found = canary(
        requests([(0, 0), (5, 8)], job="pods"),
        requests([(1, 0), (6, 8)], job="kubernetes-pods", instance="other"),
    )
    assert found[0].requests == 8


def test_a_pod_that_came_back_under_another_address_counts_both_times() -> None:
    found = canary(
        requests([(0, 0), (5, 8)], instance="10.0.0.1"),
        requests([(8, 0), (13, 2)], instance="10.0.0.2"),
    )
    assert [one.requests for one in found] == [8, 2]


def test_a_bucket_that_is_not_there_is_named() -> None:
    lacking = [one for one in quiet() if one.labels.get("le") != "0.75"]
    reading = read(*lacking)
    assert reading.missing == ("pod v2-a: has no latency bucket of 0.75 s",)
    assert sum(reading.blocks[0].canary.buckets) == 0


# What is missing


def test_nothing_is_missing_where_all_is_there() -> None:
    assert read(*quiet()).missing == ()


def test_nothing_at_all() -> None:
    reading = read()
    assert [block.canary + block.stable for block in reading.blocks] == [Counts(), Counts()]
    assert reading.missing == (
        "no sample of version 2 since 22:13:20Z",
        "no sample of version 1 since 22:13:20Z",
        "no sample of the gateway since 22:13:20Z",
    )


@pytest.mark.parametrize(
    ("without", "line"),
    [
        ("stable", "no sample of version 1 since 22:13:20Z"),
        ("gateway", "no sample of the gateway since 22:13:20Z"),
        ("canary", "no sample of version 2 since 22:13:20Z"),
    ],
)
def test_who_was_not_scraped_is_named(without: str, line: str) -> None:
    assert read(*quiet(without)).missing == (line,)


def test_the_last_sample_of_a_version_is_told() -> None:
    line = "no sample of version 2 since 22:13:15Z"
    assert line in read(*quiet("canary"), requests([(-10, 3), (-5, 3)])).missing


def test_a_canary_without_requests_is_named_and_a_stable_version_is_not() -> None:
    reading = read(*quiet("canary"), requests(steady(9)))
    assert reading.missing == ("version 2 had no request between 22:13:20Z and 22:13:40Z",)


def test_lines_are_few_and_different() -> None:
    assert short(["a", "b", "a"]) == ("a", "b")
    assert short("abcde") == ("a", "b", "c", "d", "e")
    assert short("abcdefgh") == ("a", "b", "c", "d", "e", "and 3 more")
    many = [pod([(3, 5), (8, 9)], pod=f"p{n}") for n in range(30)]
    lines = read(*quiet(), *(one for some in many for one in some)).missing
    assert len(lines) == 6
    assert lines[-1] == "and 25 more"


def test_first_and_last_blocks() -> None:
    assert (first_start(T), first_start(T + 0.001)) == (T, T + BLOCK_SECONDS)
    assert last_end(T + SETTLE_SECONDS) == T
    assert last_end(T + SETTLE_SECONDS - 0.001) == T - BLOCK_SECONDS


def test_first_seen_is_of_the_version_alone() -> None:
    found = [requests([(7, 1), (2, 0)]), requests([(-9, 0)], version=1), arrived([(-20, 1)])]
    assert first_seen(found, 2) == T + 2
    assert first_seen(found, 3) == float("inf")


# Properties


@st.composite
def counters(draw: st.DrawFn) -> tuple[list[Series], list[Series]]:
    """A canary pod and the gateway, scraped with some jitter, in part and anew at times; first as
    they are, then with the lines of each reading apart.
    """
    found = []
    for pod in range(draw(st.integers(1, 3))):
        time, total, wrong = draw(st.floats(-40, -20)), 0, 0
        points: list[tuple[float, int, int]] = []
        for _ in range(draw(st.integers(2, 30))):
            time += draw(st.sampled_from([5.0, 5.0, 5.0, 4.9, 5.25, 10.0, 14.9, 15.1, 31.0]))
            if draw(st.integers(0, 9)) == 9:
                total = wrong = 0
            more = draw(st.integers(0, 20))
            total, wrong = total + more, wrong + draw(st.integers(0, more))
            points.append((round(time, 3), total, wrong))
        late = draw(st.integers(0, len(points)))
        found.append(requests([(t, n) for t, n, _ in points], pod=f"p{pod}"))
        found.append(errors([(t, k) for t, _, k in points][late:], pod=f"p{pod}"))
    return found, [one for one in found if one.samples]


def cut(found: Iterable[Series], start: float, end: float) -> list[Series]:
    """What a query gives that looks at `start` to `end`."""
    low = T + start - MAX_GAP - 1
    parts = [
        Series(one.labels, [each for each in one.samples if low < each[0] <= T + end])
        for one in found
    ]
    return [one for one in parts if one.samples]


@given(counters(), st.lists(st.integers(0, 9), max_size=4))
@settings(max_examples=150, deadline=None)
def test_looks_may_be_cut_anywhere(
    made: tuple[list[Series], list[Series]], cuts: list[int]
) -> None:
    found = made[1]
    whole = read(*found, end=100).blocks
    edges = sorted({0, 100, *(10 * at for at in cuts)})
    parts: list[Block] = []
    for start, end in pairwise(edges):
        parts += read(*cut(found, start, end), start=start, end=end).blocks
    assert tuple(parts) == whole


@given(counters(), st.randoms())
@settings(max_examples=100, deadline=None)
def test_order_and_repetition_change_nothing(
    made: tuple[list[Series], list[Series]], random: Any
) -> None:
    whole = read(*made[1], end=100)
    mixed = [Series(one.labels, random.sample(one.samples, len(one.samples))) for one in made[1]]
    random.shuffle(mixed)
    assert read(*mixed, *made[1], end=100) == whole


@given(counters())
@settings(max_examples=150, deadline=None)
def test_counts_are_never_negative_nor_errors_more_than_requests(
    made: tuple[list[Series], list[Series]],
) -> None:
    for one in canary(*made[1], end=100):
        assert 0 <= one.errors <= one.requests


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(1, 15_000), st.integers(0, 50), st.integers(0, 50)),
            min_size=1,
            max_size=40,
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=150, deadline=None)
def test_totals_are_the_counters_own(pods: list[list[tuple[int, int, int]]]) -> None:
    """Each pod: ms since its scrape before, requests since, and as many errors or fewer."""
    found, total, wrong = [], 0, 0
    for pod, scrapes in enumerate(pods):
        time, points, bad = 0, [(0.0, 1000)], [(0.0, 10)]
        for later, more, worse in scrapes:
            time += later
            points.append((time / 1000, points[-1][1] + more))
            bad.append((time / 1000, bad[-1][1] + min(more, worse)))
            total, wrong = total + more, wrong + min(more, worse)
        found += [requests(points, pod=f"p{pod}"), errors(bad, pod=f"p{pod}")]
    counted = sum(canary(*found, end=610), Counts())
    assert (counted.requests, counted.errors) == (total, wrong)


texts = st.one_of(st.text(max_size=6), st.floats().map(str), st.integers(0, 9).map(str), st.none())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["model_predictions_total", "model_prediction_errors_total", BUCKETS]),
            st.sampled_from(["0.001", "+Inf", "NaN", "", "x"]),
            st.lists(st.tuples(st.floats() | st.integers(T, T + 30), texts), max_size=5),
        ),
        max_size=6,
    )
)
@settings(max_examples=200, deadline=None)
def test_garbage_is_read_without_an_exception(made: Any) -> None:
    found = [Series(series(name, [], le=le).labels, points) for name, le, points in made]
    reading = read(*found)
    assert all(0 <= each.canary.errors <= each.canary.requests for each in reading.blocks)
    assert len(reading.missing) <= 6
