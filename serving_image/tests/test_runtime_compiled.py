"""Compiled models: equal to the native ones in every bit, and refused where they are not."""

import json
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from sklearn import ensemble, linear_model, svm, tree
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, StandardScaler

from slipway_runtime import gate
from slipway_runtime.compiled import Compiled
from slipway_runtime.compiling import CannotCompileError, compile_model
from slipway_runtime.extract import Extractor
from slipway_runtime.fast import FastPath
from slipway_runtime.native import Native, one_job

RANDOM = np.random.default_rng(0)
NAMES = tuple("abcdef")
X = pd.DataFrame(RANDOM.normal(size=(300, 6)), columns=list(NAMES))
SCORE = X.sum(axis=1) + X["a"] ** 2
TARGETS: dict[str, Any] = {
    "two": (SCORE + RANDOM.normal(size=300) > 0).astype(int),
    "three": np.digitize(SCORE, [-1, 1]),
    "words": np.array(["no", "yes"], dtype=object)[(SCORE > 0).astype(int)],
    "number": SCORE,
    "numbers": np.column_stack([SCORE, X["b"]]),
}

LogisticRegression = linear_model.LogisticRegression
KNOWN: dict[str, tuple[Any, str, str]] = {
    "logistic": (LogisticRegression(), "two", "predict"),
    "logistic, probabilities": (LogisticRegression(), "two", "predict_proba"),
    "logistic, three classes": (LogisticRegression(), "three", "predict"),
    "logistic, three probabilities": (LogisticRegression(), "three", "predict_proba"),
    "logistic, words": (LogisticRegression(), "words", "predict"),
    "scaled": (make_pipeline(StandardScaler(), LogisticRegression()), "two", "predict"),
    "scaled to a range": (make_pipeline(MinMaxScaler(), linear_model.Ridge()), "number", "predict"),
    "nested": (
        make_pipeline(MaxAbsScaler(), make_pipeline("passthrough", linear_model.Lasso())),
        "number",
        "predict",
    ),
    "linear": (linear_model.LinearRegression(), "number", "predict"),
    "linear, two numbers": (linear_model.LinearRegression(), "numbers", "predict"),
    "linear, no intercept": (
        linear_model.LinearRegression(fit_intercept=False),
        "number",
        "predict",
    ),
    "support vectors": (svm.LinearSVC(), "three", "predict"),
    "perceptron": (linear_model.Perceptron(), "two", "predict"),
    "tree": (tree.DecisionTreeClassifier(), "three", "predict"),
    "tree of numbers": (tree.DecisionTreeRegressor(max_depth=4), "number", "predict"),
    "tree that is a leaf": (tree.DecisionTreeRegressor(min_samples_leaf=300), "number", "predict"),
    "forest": (ensemble.RandomForestClassifier(30), "two", "predict"),
    "forest, impure leaves": (
        ensemble.RandomForestClassifier(30, min_samples_leaf=9),
        "three",
        "predict",
    ),
    "forest, probabilities": (
        ensemble.RandomForestClassifier(30, max_depth=4),
        "three",
        "predict_proba",
    ),
    "forest of numbers": (ensemble.RandomForestRegressor(30), "number", "predict"),
    "extra trees": (ensemble.ExtraTreesClassifier(30), "words", "predict"),
    "extra trees of numbers": (ensemble.ExtraTreesRegressor(30), "number", "predict"),
    "boosted": (ensemble.GradientBoostingClassifier(n_estimators=30), "two", "predict"),
    "boosted, three classes": (
        ensemble.GradientBoostingClassifier(n_estimators=9),
        "three",
        "predict",
    ),
    "boosted numbers": (ensemble.GradientBoostingRegressor(n_estimators=30), "number", "predict"),
    "boosted from zero": (
        ensemble.GradientBoostingRegressor(n_estimators=9, init="zero"),
        "number",
        "predict",
    ),
}


def fitted(case: str) -> tuple[Any, str]:
    """Returns a fitted model, as it is after it was saved and loaded, and its method."""
    model, target, method = KNOWN[case]
    trained = clone(model).fit(X, TARGETS[target])
    return cloudpickle.loads(cloudpickle.dumps(trained)), method


@pytest.mark.parametrize("case", KNOWN)
def test_a_compiled_model_predicts_the_native_ones_bits(case: str, tmp_path: Path) -> None:
    model, method = fitted(case)
    compiled, thresholds = compile_model(model, method, "float64")
    compiled.save(tmp_path / "compiled")
    extractor = Extractor(NAMES, ["double"] * len(NAMES))
    fast = FastPath(extractor, Compiled.load(tmp_path / "compiled"))
    native = Native(model, method)
    rows = gate.draw(extractor, X.to_numpy()[:50], thresholds)
    compared = gate.against_native(
        fast, lambda batch: native.predict(batch, NAMES, extractor.kinds), rows
    )
    assert compared > len(rows) > 400


@pytest.mark.parametrize("target", ["number", "numbers"])
def test_a_linear_model_of_arrays(target: str, tmp_path: Path) -> None:
    """An array is laid out by rows, and its sums are in another order than a table's."""
    table = X.to_numpy()
    model = linear_model.LinearRegression().fit(table, TARGETS[target])
    model = cloudpickle.loads(cloudpickle.dumps(model))
    compiled, _ = compile_model(model, "predict", "float64")
    compiled.by_column = False
    compiled.save(tmp_path / "compiled")
    extractor = Extractor(None, ["double"] * len(NAMES))
    fast = FastPath(extractor, Compiled.load(tmp_path / "compiled"))
    native = Native(model, "predict")
    rows = gate.draw(extractor, None, [])
    assert gate.against_native(
        fast, lambda batch: native.predict(batch, None, extractor.kinds), rows
    ) > len(rows)


@pytest.mark.parametrize(
    ("model", "target", "method"),
    [
        (make_pipeline(PolynomialFeatures(), LogisticRegression()), "two", "predict"),
        (make_pipeline(MinMaxScaler(clip=True), LogisticRegression()), "two", "predict"),
        (ensemble.HistGradientBoostingClassifier(max_iter=3), "two", "predict"),
        (ensemble.RandomForestRegressor(3), "numbers", "predict"),
        (LogisticRegression(), "two", "predict_log_proba"),
        (linear_model.RidgeClassifier(), "two", "predict"),
        (linear_model.PoissonRegressor(), "two", "predict"),
        (
            ensemble.GradientBoostingRegressor(
                n_estimators=3, init=linear_model.LinearRegression()
            ),
            "number",
            "predict",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_not_known_is_not_compiled(model: Any, target: str, method: str) -> None:
    with pytest.raises(CannotCompileError):
        compile_model(clone(model).fit(X, TARGETS[target]), method, "float64")


def test_a_subclass_may_predict_otherwise() -> None:
    class Contrary(linear_model.LinearRegression):
        def predict(self, table: Any) -> Any:
            return -super().predict(table)

    with pytest.raises(CannotCompileError, match="Contrary"):
        compile_model(Contrary().fit(X, TARGETS["number"]), "predict", "float64")


def test_scaling_in_single_precision_is_not_compiled() -> None:
    model, method = fitted("scaled")
    with pytest.raises(CannotCompileError, match="single precision"):
        compile_model(model, method, "float32")


@pytest.mark.parametrize("change", ["threshold", "weight", "last bit"])
def test_the_gate_refuses_the_smallest_difference(change: str) -> None:
    """A threshold moved by one step of float64, a weight by a billionth, an intercept by a bit."""
    name = "tree of numbers" if change == "threshold" else "linear"
    model, method = fitted(name)
    original = cloudpickle.loads(cloudpickle.dumps(model))
    if change == "threshold":
        state = model.tree_.__getstate__()
        nodes = state["nodes"].copy()
        nodes["threshold"][0] = np.nextafter(np.float32(nodes["threshold"][0]), np.float32(9))
        state["nodes"] = nodes
        model.tree_.__setstate__(state)
    elif change == "weight":
        model.coef_[0] *= 1 + 1e-9
    else:
        model.intercept_ = np.nextafter(model.intercept_, 9)
    compiled, thresholds = compile_model(model, method, "float64")
    extractor = Extractor(NAMES, ["double"] * len(NAMES))
    native = Native(original, method)
    rows = gate.draw(extractor, None, thresholds)
    with pytest.raises(gate.DifferentAnswerError, match="other predictions"):
        gate.against_native(
            FastPath(extractor, compiled),
            lambda batch: native.predict(batch, NAMES, extractor.kinds),
            rows,
        )


def fast_path() -> FastPath:
    model, method = fitted("logistic")
    compiled, _ = compile_model(model, method, "float64")
    return FastPath(Extractor(NAMES, ["double"] * len(NAMES)), compiled)


def test_a_table_answered_otherwise_withdraws_the_model() -> None:
    fast = fast_path()
    rows = gate.draw(fast.extractor, None, [])
    with pytest.raises(gate.DifferentAnswerError, match="other answers to dataframe_split"):
        gate.against_mlflow(fast, lambda _: b'{"predictions": []}', fast_infer(fast), rows)


def fast_infer(fast: FastPath) -> Any:
    """Returns what answers the inference protocol exactly as the compiled model does."""

    def infer(body: bytes, header_length: int | None) -> tuple[bytes, int | None]:
        answer = fast.infer(body, header_length)
        assert answer is not None
        return answer

    return infer


def test_an_inference_answered_otherwise_is_left_to_mlflow() -> None:
    fast = fast_path()
    rows = gate.draw(fast.extractor, None, [])

    def score(body: bytes) -> bytes:
        answer = fast.answer(body)
        assert answer is not None
        return answer

    tensor = {"name": "all", "shape": [1, 6], "datatype": "FP64", "data": [0.5] * 6}
    request = json.dumps({"inputs": [tensor]}).encode()
    assert fast.infer(request, None) is not None
    _, formats = gate.against_mlflow(fast, score, lambda *_: (b"other", None), rows)
    assert "infer" not in formats
    fast.serve(formats)
    assert fast.infer(request, None) is None


@pytest.mark.parametrize("shape", [[0, 6], [1, 6]])
def test_what_only_mlflow_refuses_is_left_to_it(shape: list[int]) -> None:
    """No row, or a number beyond single precision: scikit-learn's trees refuse both."""
    fast = fast_path()
    tensor = {"name": "all", "shape": shape, "datatype": "FP64", "data": [1e39] * 6 * shape[0]}
    assert fast.infer(json.dumps({"inputs": [tensor]}).encode(), None) is None


def test_a_forest_of_many_jobs_is_compiled_too() -> None:
    """In one job, that is: many add up in whatever order they end."""
    model = ensemble.RandomForestRegressor(30, n_jobs=2, random_state=0).fit(X, SCORE)
    one_job(model)
    compiled, thresholds = compile_model(model, "predict", "float64")
    extractor = Extractor(NAMES, ["double"] * len(NAMES))
    native = Native(model, "predict")
    rows = gate.draw(extractor, None, thresholds)
    assert gate.against_native(
        FastPath(extractor, compiled),
        lambda batch: native.predict(batch, NAMES, extractor.kinds),
        rows,
    )


@pytest.mark.parametrize(
    ("case", "rowwise"),
    [("forest of numbers", True), ("logistic", True), ("boosted", True), ("linear", None)],
)
def test_requests_answered_at_once_are_answered_as_alone(case: str, rowwise: bool | None) -> None:
    model, method = fitted(case)
    compiled, thresholds = compile_model(model, method, "float64")
    extractor = Extractor(NAMES, ["double"] * len(NAMES))
    fast = FastPath(extractor, compiled)
    rows = gate.draw(extractor, None, thresholds)
    found = gate.is_rowwise(fast, rows)
    # Whether BLAS adds up a row in another order in company is its own affair.
    assert rowwise is None or found == rowwise
    matrices = [rows[0:1], rows[1:4], rows[4:5], rows[5:70]]
    together = fast.answers(matrices)
    alone = [fast.answers([matrix])[0] for matrix in matrices]
    assert (together == alone) or not found
    assert [len(json.loads(body)["predictions"]) for body in together] == [1, 3, 1, 65]


def test_a_row_predicted_otherwise_in_company_is_noticed() -> None:
    fast = fast_path()
    rows = gate.draw(fast.extractor, None, [])
    predict = fast._predict
    fast._predict = lambda matrix: predict(matrix) + (len(matrix) == 17)
    assert not gate.is_rowwise(fast, rows)


def test_a_tensor_format_answered_otherwise_is_left_to_mlflow() -> None:
    fast = fast_path()
    rows = gate.draw(fast.extractor, None, [])

    def score(body: bytes) -> bytes:
        answer = fast.answer(body)
        assert answer is not None
        return b"other" if body.startswith(b'{"instances"') else answer

    count, formats = gate.against_mlflow(fast, score, fast_infer(fast), rows)
    assert count > 30
    assert sorted(formats) == ["dataframe_records", "dataframe_split", "infer", "inputs"]
    fast.serve(formats)
    assert fast.answer(b'{"instances": [{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}]}') is None


def test_whole_numbers_stay_whole_in_rows_drawn() -> None:
    kinds = ["double", "float", "long", "integer", "boolean"]
    extractor = Extractor(list("abcde"), kinds)
    rows = gate.draw(extractor, None, [])
    assert (rows[:, 1] == rows[:, 1].astype(np.float32)).all()
    assert (rows[:, 2:4] == np.round(rows[:, 2:4])).all()
    assert set(np.unique(rows[:, 4])) == {0.0, 1.0}
    for body in gate._bodies(extractor, "dataframe_split", rows):
        import orjson

        assert extractor.extract(orjson.loads(body)) is not None
