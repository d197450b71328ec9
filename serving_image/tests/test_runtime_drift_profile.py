"""Profiles of training data: made, read, refused; and the sample that is held against them."""

import ast
import asyncio
import json
import math
import sys
import threading
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_runtime import drift_profile, training_profile
from slipway_runtime.app import ModelServer
from slipway_runtime.drift import CompiledDrift, NativeDrift
from slipway_runtime.drift_counts import DriftCollector
from slipway_runtime.drift_profile import ProfileError, parse
from slipway_runtime.metrics import Metrics
from slipway_runtime.modelfile import ModelFile
from slipway_runtime.reservoir import Reservoir
from slipway_runtime.settings import ServerSettings
from slipway_runtime.training_profile import MOST_BINS, MOST_FEATURES, make_profile

FEATURE: dict[str, Any] = {"edges": [1, 2.5], "shares": [0.5, 0.25, 0.25, 0]}
GOOD: dict[str, Any] = {"slipway_profile": 1, "rows": 9, "features": {"a": FEATURE}}


def features(profile: str) -> dict[str, Any]:
    return {feature.name: feature for feature in parse(profile).features}


def test_bins_of_about_as_many_rows_each() -> None:
    values = np.random.default_rng(0).lognormal(size=10_000)
    (feature,) = parse(make_profile({"a": values})).features
    assert len(feature.edges) == 9
    assert all(abs(share - 0.1) < 0.001 for share in feature.shares[:-1])
    assert feature.shares[-1] == 0
    assert [feature.bin(value) for value in (-1.0, feature.edges[0], 1e9)] == [0, 0, 9]


def test_few_values_have_a_bin_each() -> None:
    (feature,) = parse(make_profile({"a": [0, 0, 0, 1, 2, 2]})).features
    assert feature.edges == (0, 1)
    assert feature.shares == pytest.approx((0.5, 1 / 6, 1 / 3, 0))


@pytest.mark.parametrize("value", [0.0, 7, -1.5, 1e300, 0.1, -sys.float_info.max])
def test_a_constant_column_shows_any_other_value(value: float) -> None:
    (feature,) = parse(make_profile({"a": np.full(50, value)})).features
    same = feature.bin(value)
    assert feature.shares[same] == 1
    above = math.nextafter(value, math.inf)
    assert feature.bin(above) == same + 1
    below = math.nextafter(value, -math.inf)
    assert feature.bin(below) == max(0, same - 1)


def test_missing_values_and_kinds_of_columns() -> None:
    table = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3, 4], dtype="Int64"),
            "single": np.array([1, 2, np.nan, np.nan], np.float32),
            "flag": [True, False, True, True],
            "gone": np.full(4, np.nan),
            "text": list("abcd"),
            "date": pd.to_datetime(["2026-01-01"] * 4),
            "kind": pd.Categorical(list("aabb")),
        }
    )
    found = features(make_profile(table, pd.Series(["yes", "no", None, "no"])))
    assert list(found) == ["whole", "single", "flag", "gone", "prediction"]
    assert found["whole"].shares == (0.25, 0.25, 0.25, 0.25)
    assert found["single"].shares == (0.25, 0.25, 0.5)
    assert found["flag"].shares == (0.25, 0.75, 0)
    assert (found["gone"].edges, found["gone"].shares) == ((), (0, 1))
    prediction = found["prediction"]
    assert (prediction.labels, prediction.shares) == ({"no": 0, "yes": 1}, (0.5, 0.25, 0, 0.25))
    assert [prediction.bin(value) for value in ("no", "maybe", None, pd.NA)] == [0, 2, 3, 3]
    whole = found["whole"]
    values: tuple[Any, ...] = (
        np.int64(1),
        True,
        10**400,
        -(10**400),
        None,
        math.nan,
        pd.NA,
        pd.NaT,
        "1",
        [1],
        {},
    )
    assert [whole.bin(value) for value in values] == [0, 0, 2, 0, *[3] * 7]


def test_outputs_are_named() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 2))
    assert list(features(make_profile(rows))) == ["0", "1"]
    named = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    cases: list[tuple[Any, list[str]]] = [
        ([1, 2], ["prediction"]),
        (rows[:, :1], ["prediction"]),
        (rows, ["prediction[0]", "prediction[1]"]),
        (named, ["prediction[a]", "prediction[b]"]),
        (named[["a"]], ["prediction"]),
    ]
    for predictions, names in cases:
        assert list(features(make_profile({"x": [1, 2]}, predictions))) == ["x", *names]


def test_what_no_profile_is_made_of() -> None:
    wide = np.zeros((2, MOST_FEATURES + 1))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"inputs": wide}, "65 features are more than 64: give the columns that matter"),
        ({"inputs": {"a": ["x"]}}, "there is no column of numbers and no prediction"),
        ({"inputs": {"a": wide}}, "there is no column of numbers and no prediction"),
        ({"inputs": {"a": np.array([])}}, "there are no rows"),
        ({"inputs": {"prediction": [1]}}, "a column is named 'prediction', as the prediction is"),
        ({"inputs": {"a\nb": [1]}}, "'a\\nb' is not 1 to 200 printable characters"),
        ({"inputs": [1, 2]}, "inputs have 1 dimensions and not 2"),
        ({"inputs": pd.DataFrame([[1, 2]], columns=["a", "a"])}, "two columns have one name"),
        ({"inputs": wide[:, :2], "bins": 19}, "bins: 19 is not a whole number from 2 to 18"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=".") as caught:
            make_profile(**arguments)
        assert str(caught.value).startswith(message)


def test_the_helper_may_be_copied() -> None:
    """It imports nothing but NumPy and the standard library."""
    tree = ast.parse(Path(training_profile.__file__).read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    ]
    assert {str(module).split(".")[0] for module in modules} - {"numpy"} <= sys.stdlib_module_names


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(width=64) | st.sampled_from([0.0, 1.0, 5e-324]), min_size=1, max_size=60),
    st.integers(2, MOST_BINS - 2),
)
def test_what_is_made_is_read_and_counts_as_it_was_made(values: list[float], bins: int) -> None:
    (feature,) = parse(make_profile({"a": np.array(values)}, bins=bins)).features
    counts = [0] * len(feature.shares)
    for value in values:
        counts[feature.bin(value)] += 1
    assert feature.shares == pytest.approx([count / len(values) for count in counts], abs=1e-8)


def with_feature(**changes: Any) -> dict[str, Any]:
    return GOOD | {"features": {"a": FEATURE | changes}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        (b"\xff\xfe\xfd", "it is not JSON"),
        ("9" * 5000, "it is not JSON"),
        (" " * 300_000, "it is longer than 262144 bytes"),
        ([], "it is no object of exactly slipway_profile, rows and features"),
        (GOOD | {"more": 1}, "it is no object of exactly"),
        (GOOD | {"slipway_profile": 2}, "its format is not 1"),
        (GOOD | {"slipway_profile": True}, "its format is not 1"),
        (GOOD | {"rows": 0}, "rows is not a whole number from 1 on"),
        (GOOD | {"rows": 1.5}, "rows is not a whole number from 1 on"),
        (GOOD | {"features": {}}, "features is no object of 1 to 64"),
        (GOOD | {"features": {str(n): FEATURE for n in range(65)}}, "features is no object of"),
        (GOOD | {"features": {"": FEATURE}}, "a feature's name is not 1 to 200 printable"),
        (GOOD | {"features": {"\ud800": FEATURE}}, "a feature's name is not 1 to 200 printable"),
        (GOOD | {"features": {"x" * 201: FEATURE}}, "a feature's name is not 1 to 200 printable"),
        (GOOD | {"features": {"a": 1}}, "feature 'a' is no object of shares and either"),
        (with_feature(labels=[]), "feature 'a' is no object of shares and either"),
        (with_feature(edges=[2, 1]), "the edges of feature 'a' do not ascend"),
        (with_feature(edges=[1, 1]), "the edges of feature 'a' do not ascend"),
        (with_feature(edges=[1, True]), "the edges of feature 'a' are not all numbers"),
        (with_feature(edges=[1, "2"]), "the edges of feature 'a' are not all numbers"),
        (with_feature(edges=[1, math.inf]), "the edges of feature 'a' are not all finite"),
        (with_feature(edges=[1, 10**400]), "the edges of feature 'a' are not all finite"),
        (with_feature(edges=list(range(21))), "the edges of feature 'a' are no list of at most 20"),
        (with_feature(edges=[1]), "feature 'a' has 4 shares for 3 bins"),
        (with_feature(shares=[0.5, 0.25, 0.25]), "feature 'a' has 3 shares for 4 bins"),
        (with_feature(shares=[0.5, 0.25, 0.25, 0.1]), "the shares of feature 'a' do not add up"),
        (with_feature(shares=[1.5, -0.5, 0, 0]), "the shares of feature 'a' do not add up"),
        (with_feature(shares=[1e308, 1e308, 1e308, 0]), "the shares of feature 'a' do not add up"),
        (with_feature(shares=[math.nan] * 4), "the shares of feature 'a' are not all finite"),
        (with_feature(shares=[]), "the shares of feature 'a' do not add up"),
        (
            GOOD | {"features": {"a": {"labels": ["x"], "shares": [1, 0, 0]}}},
            "feature 'a' has labels, which only a prediction may",
        ),
        (
            GOOD | {"features": {"prediction": {"labels": ["x", "x"], "shares": [1, 0, 0, 0]}}},
            "feature 'prediction' has a label twice",
        ),
        (
            GOOD | {"features": {"prediction": {"labels": [1], "shares": [1, 0, 0]}}},
            "the labels of feature 'prediction' are no list of texts",
        ),
        ('{"slipway_profile": 1, "rows": 1, "rows": 2, "features": {}}', "a key is in it twice"),
    ],
)
def test_a_profile_that_is_none(content: object, reason: str) -> None:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    with pytest.raises(ProfileError) as caught:
        parse(text)
    assert str(caught.value).startswith(reason)
    assert len(str(caught.value)) < 1000


def test_where_a_profile_is(tmp_path: Path) -> None:
    def model(profile: object) -> ModelFile:
        return ModelFile({}, None, None, False, None, profile)

    assert drift_profile.load(tmp_path, model(None)) is None
    with pytest.raises(ProfileError, match="it is no text but dict"):
        drift_profile.load(tmp_path, model(GOOD))
    found = drift_profile.load(tmp_path, model(json.dumps(GOOD)))
    assert found is not None and found.rows == 9
    (tmp_path / drift_profile.FILE).write_text(json.dumps(GOOD | {"rows": 8}))
    found = drift_profile.load(tmp_path, model(json.dumps(GOOD)))
    assert found is not None and found.rows == 8


def test_what_the_signature_does_not_name_is_left_out(tmp_path: Path) -> None:
    content = json.dumps(GOOD | {"features": {"a": FEATURE, "1": FEATURE, "prediction": FEATURE}})
    numbered = [{"name": 0, "type": "double"}, {"name": 1, "type": "double"}]
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}
    cases: list[tuple[Any, list[str]]] = [
        (None, ["a", "1", "prediction"]),
        ([{"name": "a", "type": "double", "required": False}], ["a", "prediction"]),
        ([tensor], ["1", "prediction"]),
        (numbered, ["1", "prediction"]),
    ]
    for inputs, names in cases:
        model = ModelFile({}, inputs, None, False, None, content)
        found = drift_profile.load(tmp_path, model)
        assert found is not None and [feature.name for feature in found.features] == names
    model = ModelFile({}, [{"name": "b"}], None, False, None, json.dumps(GOOD))
    with pytest.raises(ProfileError, match="none of its features is an output or a column"):
        drift_profile.load(tmp_path, model)


def test_every_row_is_as_likely_to_be_kept() -> None:
    rounds, size = 4000, 10
    kept = np.zeros(300)
    for _ in range(rounds):
        sample = Reservoir(size)
        base = 0
        for count in [1] * 40 + [100] + [4] * 15 + [100]:
            if not sample.passes(count):
                for row, cells in sample.take(count):
                    cells.append(base + row)
            base += count
        assert len(sample.kept) == size
        for (row,) in sample.kept:
            kept[row] += 1
    share = size / len(kept)
    deviation = (kept / rounds - share) / math.sqrt(share * (1 - share) / rounds)
    # Of 300 normal deviates none is beyond 5 but once in 6,000 runs, and so are parts' means.
    assert np.abs(deviation).max() < 5
    for part in np.split(deviation, (40, 140, 200)):
        assert abs(part.mean()) * math.sqrt(len(part)) < 5


def test_few_rows_are_kept_whatever_comes() -> None:
    sample = Reservoir(20)
    read = 0
    for _ in range(200):
        if not sample.passes(1000):
            taken = sample.take(1000)
            # Those that a later one of the same rows takes the place of need not be read.
            assert len(taken) <= 20
            read += len(taken)
    assert len(sample.kept) == 20
    # 20 (1 + ln(200000 / 20)) = 204 are expected to be looked at.
    assert read < 400


def told(collector_of: DriftCollector) -> list[str]:
    metrics = Metrics("m", "1")
    metrics._scraped.register(collector_of)
    lines = metrics.render("")[0].decode().splitlines()
    return [line for line in lines if line.startswith("model_drift_")]


def test_memory_and_series_are_bounded(tmp_path: Path) -> None:
    shares = [1 / MOST_BINS] * MOST_BINS
    feature = {"edges": list(range(MOST_BINS - 2)), "shares": shares}
    largest = parse(
        json.dumps(GOOD | {"features": {str(at): feature for at in range(MOST_FEATURES)}})
    )
    watched = CompiledDrift(largest, tmp_path / "worker0", 1000, None, MOST_FEATURES, None)
    matrix = np.random.default_rng(0).normal(size=(5000, MOST_FEATURES))
    for _ in range(3):
        watched.offer(matrix, matrix[:, 0])
        watched.offer(matrix[:1], matrix[:1, 0])
    watched.count()
    (file,) = tmp_path.iterdir()
    cells = MOST_BINS * MOST_FEATURES
    assert file.stat().st_size == 8 * cells
    counts = np.fromfile(file, np.uint64).reshape(MOST_FEATURES, MOST_BINS)
    assert counts.sum(axis=1).tolist() == [1000] * MOST_FEATURES
    labels = {"model_name": "m", "model_version": "1"}
    assert len(told(DriftCollector(largest, tmp_path, labels))) == 2 * cells


def test_a_failure_costs_some_rows_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "worker0"
    watched = CompiledDrift(parse(json.dumps(GOOD)), file, 20, ["a"], 1, None)
    for _ in range(3):
        watched.offer(np.zeros((2, 0)), np.zeros(2))
    watched.count()
    messages = [record.message for record in caplog.records]
    assert messages == ["some rows could not be counted for drift"]
    watched.offer(np.zeros((2, 1)), np.zeros(2))
    watched.count()
    assert np.fromfile(file, np.uint64).tolist() == [2, 0, 0, 0]


def test_odd_inputs_of_a_native_model(tmp_path: Path) -> None:
    content = GOOD | {"features": {"a": FEATURE, "prediction": FEATURE}}
    profile = parse(json.dumps(content))
    cases: list[tuple[Any, Any, list[int]]] = [
        (pd.DataFrame({"a": [0, 9], "b": "x"}), [0, 9], [1, 0, 1, 0, 1, 0, 1, 0]),
        (pd.DataFrame({"a": [0, None]}), np.array([[0], [9]]), [1, 0, 0, 1, 1, 0, 1, 0]),
        # Another number of predictions than of rows, and columns that are not the profile's.
        (pd.DataFrame({"b": [0, 9], "c": [0, 9]}), [1], [0] * 8),
        ({"a": np.array([[0.0], [9.0]])}, pd.Series([2, 2.5]), [1, 0, 1, 0, 0, 2, 0, 0]),
        ({"a": np.array([[0.0, 1.0]])}, {"x": [[2]]}, [0, 0, 0, 1, 0, 1, 0, 0]),
        (np.zeros((1, 1)), [2], [1, 0, 0, 0, 0, 1, 0, 0]),
        (np.zeros((1, 2)), [2], [0, 0, 0, 0, 0, 1, 0, 0]),
        # Scalars are one row.
        ({"a": 9.0, "b": 0}, [2], [0, 0, 1, 0, 0, 1, 0, 0]),
        ({"a": np.array(9.0)}, 2, [0, 0, 1, 0, 0, 0, 0, 0]),
        ({"a": "a text"}, ["an answer"], [0, 0, 0, 1, 0, 0, 0, 1]),
        ("a question", "an answer", [0] * 8),
        (["a question"], object(), [0] * 8),
        (np.zeros((1, 2, 3)), [1], [0] * 8),
        ({}, [], [0] * 8),
    ]
    for at, (data, prediction, expected) in enumerate(cases):
        file = tmp_path / str(at)
        watched = NativeDrift(profile, file, 20)
        watched.offer(data, prediction)
        watched.count()
        assert np.fromfile(file, np.uint64).tolist() == expected, at


def test_counting_does_not_wait_for_a_row_that_is_read(tmp_path: Path) -> None:
    """The one counts on the event loop, the other reads in a thread."""
    reading, go_on = threading.Event(), threading.Event()

    class Slow(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            reading.set()
            assert go_on.wait(30)
            return np.asarray(self)[key]

    file = tmp_path / "0"
    watched = NativeDrift(parse(json.dumps(GOOD)), file, 20)
    thread = threading.Thread(target=watched.offer, args=(np.zeros((1, 1)).view(Slow), None))
    thread.start()
    try:
        assert reading.wait(30)
        counting = threading.Thread(target=watched.count)
        counting.start()
        counting.join(30)
        assert not counting.is_alive()
        assert not np.fromfile(file, np.uint64).any()
    finally:
        go_on.set()
        thread.join()
    for _ in range(2):
        watched.count()
        assert np.fromfile(file, np.uint64).tolist() == [1, 0, 0, 0]


def test_a_scrape_holds_nothing_else_up() -> None:
    """It takes milliseconds, in which the event loop answers others."""
    settings = ServerSettings.from_env({"MODEL_NAME": "m", "MODEL_PATH": "/nowhere"})
    server = ModelServer(settings, cast(Any, None))
    loop_thread: list[int] = []
    rendered: list[int] = []
    counted: list[int] = []

    class Watching:
        def collect(self) -> list[Any]:
            rendered.append(threading.get_ident())
            return []

    server.metrics._scraped.register(cast(Any, Watching()))
    rendered.clear()
    count = server.metrics.count_compiled

    def count_here() -> None:
        counted.append(threading.get_ident())
        count()

    server.metrics.count_compiled = count_here  # type: ignore[method-assign]
    server.metrics.answered_compiled(10, 0.001)

    async def scrape() -> httpx.Response:
        loop_thread.append(threading.get_ident())
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/metrics")

    text = asyncio.run(scrape()).text
    assert 'model_compiled_predictions_total{model_name="m",model_version="0"} 1.0' in text
    assert counted == loop_thread
    assert rendered and loop_thread[0] not in rendered
    server.close()
