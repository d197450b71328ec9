"""The profile of a model's training data, which the serving runtime holds traffic against.

For whoever trains a model. Import it, or copy this one file beside your training script: it needs
NumPy alone and knows nothing of the rest. Where the model is logged:

    profile = make_profile(train_inputs, model.predict(test_inputs))
    mlflow.sklearn.log_model(model, name="churn", metadata={PROFILE_KEY: profile})

A profile holds, of each numeric column and of the prediction, the edges of about ten bins and the
share of the rows in each. No row and no text of the data is in it but the labels predicted.

The JSON: ``{"slipway_profile": 1, "rows": R, "features": {name: feature}}``, where a feature is
``{"edges": [...], "shares": [...]}`` or, for a prediction of texts, ``{"labels": [...], "shares":
[...]}``. Bin i holds what is above edge i-1 and at most edge i; the last but one, what is above all
edges (or is no label known); the last, what is missing.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

PROFILE_KEY: Final = "slipway_profile"
"""Under which a profile is in a model's metadata, and the name of the file that may hold one."""
PREDICTION: Final = "prediction"
"""The feature that is the model's output; of several outputs, ``prediction[0]`` and so on."""
FORMAT: Final = 1
MOST_FEATURES: Final = 64
MOST_BINS: Final = 20
"""With the one for what is missing."""
MOST_CHARACTERS: Final = 200

_NUMBERS: Final = "biuf"


def make_profile(inputs: Any, predictions: Any = None, bins: int = 10) -> str:
    """Returns the profile of training data, as JSON.

    Args:
        inputs: what the model was trained on: a DataFrame, a mapping from names to columns, or an
            array of shape (rows, columns), whose columns are named "0", "1" and so on. Columns that
            are not of numbers, one a row, are left out.
        predictions: what the model answers, best to rows it was not trained on, of which it is less
            sure: an array of shape (rows,) or (rows, outputs), a Series, a DataFrame or a list; or
            None to follow the inputs alone.
        bins: the most bins of a feature, 2 to 18, beside those that a constant column and what is
            missing need.

    Raises:
        ValueError: there is nothing to follow, or too much of it, or a name that cannot be a label.
    """
    if not 2 <= bins <= MOST_BINS - 2:
        raise ValueError(f"bins: {bins} is not a whole number from 2 to {MOST_BINS - 2}")
    features: dict[str, Any] = {}
    rows = 0
    for name, column in input_columns(inputs):
        if is_output(name):
            raise ValueError(f"a column is named {name!r}, as the prediction is: leave it out")
        values = _numbers(column)
        if values is not None:
            features[name] = _binned(values, bins)
            rows = len(values)
    outputs = () if predictions is None else output_columns(predictions)
    for name, column in outputs:
        if np.size(column) != len(column):
            continue
        values = _numbers(column)
        features[name] = _labelled(column) if values is None else _binned(values, bins)
        rows = rows or len(column)
    _check(features, rows)
    profile = {PROFILE_KEY: FORMAT, "rows": rows, "features": features}
    return json.dumps(profile, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def input_columns(inputs: Any) -> Iterator[tuple[str, Any]]:
    """Yields the name and the values of each column of a model's input (see `make_profile`)."""
    if isinstance(inputs, Mapping) or hasattr(inputs, "columns"):
        names = list(inputs) if isinstance(inputs, Mapping) else list(inputs.columns)
        if len({str(name) for name in names}) != len(names):
            raise ValueError("two columns have one name")
        for name in names:
            yield str(name), inputs[name]
        return
    array = np.asarray(inputs)
    if array.ndim != 2:
        raise ValueError(f"inputs have {array.ndim} dimensions and not 2: rows and columns")
    for at in range(array.shape[1]):
        yield str(at), array[:, at]


def output_columns(predictions: Any) -> Iterator[tuple[str, Any]]:
    """Yields the name and the values of each output of a prediction (see `make_profile`)."""
    if isinstance(predictions, Mapping) or hasattr(predictions, "columns"):
        columns = list(input_columns(predictions))
    else:
        array = predictions if hasattr(predictions, "dtype") else np.asarray(predictions)
        if array.ndim == 1:
            yield PREDICTION, array
            return
        columns = list(input_columns(np.asarray(array)))
    if len(columns) == 1:
        yield PREDICTION, columns[0][1]
        return
    for name, column in columns:
        yield f"{PREDICTION}[{name}]", column


def is_output(name: str) -> bool:
    """Tells whether a feature of this name is an output."""
    return name == PREDICTION or name.startswith(f"{PREDICTION}[")


def _numbers(column: Any) -> Any:
    """Returns a column as float64 with NaN where one is missing, or None if it has no numbers."""
    kind = getattr(getattr(column, "dtype", None), "kind", None)
    if kind is None:
        column = np.asarray(column)
        kind = column.dtype.kind
    if kind not in _NUMBERS or np.size(column) != len(column):
        return None
    if isinstance(column, np.ndarray):
        return column.astype(np.float64).ravel()
    # A column of pandas, which may have a mark of its own for what is missing.
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _binned(values: Any, bins: int) -> dict[str, Any]:
    """Returns the feature of numbers: bins of about as many rows each, and their shares."""
    finite = values[np.isfinite(values)]
    distinct = np.unique(finite)
    if len(distinct) == 1:
        # Below it, itself, above it: whatever else comes is seen.
        with np.errstate(over="ignore"):
            edges = np.array([np.nextafter(distinct[0], -np.inf), distinct[0]])
        edges = edges[np.isfinite(edges)]
    elif len(distinct) <= bins:
        edges = distinct[:-1]
    else:
        at = np.arange(1, bins) / bins
        edges = np.unique(np.quantile(finite, at, method="inverted_cdf"))
        # Nothing is above the greatest value.
        edges = edges[edges < distinct[-1]]
    places = np.searchsorted(edges, values, side="left")
    places[np.isnan(values)] = len(edges) + 1
    return {"edges": edges.tolist(), "shares": _shares(places, len(edges) + 2)}


def _labelled(column: Any) -> dict[str, Any]:
    """Returns the feature of texts: the most frequent of them, and their shares."""
    texts = [None if is_missing(value) else str(value) for value in np.asarray(column, object)]
    counts: dict[str, int] = {}
    for text in texts:
        if text is not None:
            counts[text] = counts.get(text, 0) + 1
    labels = sorted(counts, key=lambda label: (-counts[label], label))[: MOST_BINS - 2]
    known = {label: at for at, label in enumerate(labels)} | {None: len(labels) + 1}
    places = np.array([known.get(text, len(labels)) for text in texts], int)
    return {"labels": labels, "shares": _shares(places, len(labels) + 2)}


def is_missing(value: Any) -> bool:
    """Tells whether a value is None, NaN, or what pandas has for them."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and value != value


def _shares(places: Any, count: int) -> list[float]:
    if not len(places):
        raise ValueError("there are no rows")
    shares = np.bincount(places, minlength=count) / len(places)
    return [round(share, 9) for share in shares.tolist()]


def _check(features: Mapping[str, Any], rows: int) -> None:
    """Raises ValueError where the runtime would refuse the profile."""
    if not features or not rows:
        raise ValueError("there is no column of numbers and no prediction to make a profile of")
    if len(features) > MOST_FEATURES:
        raise ValueError(
            f"{len(features)} features are more than {MOST_FEATURES}: give the columns that matter"
        )
    for name, feature in features.items():
        for text in (name, *feature.get("labels", ())):
            if not text or len(text) > MOST_CHARACTERS or not text.isprintable():
                raise ValueError(
                    f"{text[:MOST_CHARACTERS]!r} is not 1 to {MOST_CHARACTERS} printable characters"
                )
