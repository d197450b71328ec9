"""The models of scikit-learn among them, trained in milliseconds, saved as MLflow does."""

from pathlib import Path
from typing import Any, Final


def _frame(names: list[str], rows: int = 60) -> Any:
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(7)
    return pd.DataFrame(random.normal(0, 3, (rows, len(names))), columns=names)


def _save_sklearn(path: Path, model: Any, table: Any, signed: bool = True, **more: Any) -> None:
    import mlflow
    from mlflow.models import infer_signature

    predict = getattr(model, str(more.get("pyfunc_predict_fn", "predict")))
    signature = infer_signature(table, predict(table)) if signed else None
    mlflow.sklearn.save_model(
        model,
        str(path),
        signature=signature,
        input_example=table[:2] if signed else None,
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
        **more,
    )


TEN: Final = [f"c{number}" for number in range(10)]
NAMES: Final = ["größe", "a b", "c\u00300", 'quo"te', " ", "back\\slash", "😀", "C0", "c0", "0"]


def _classes(table: Any, count: int = 2) -> Any:
    import numpy as np

    sums = np.asarray(table).sum(axis=1)
    return np.digitize(sums, np.quantile(sums, [part / count for part in range(1, count)]))


def _target(table: Any) -> Any:
    import numpy as np

    values = np.asarray(table, dtype="float64")
    return values @ np.linspace(-1, 2, values.shape[1]) + 0.1


def lr(path: Path) -> None:
    """Saves a model of ten columns and two classes."""
    from sklearn.linear_model import LogisticRegression

    table = _frame(TEN)
    _save_sklearn(path, LogisticRegression().fit(table, _classes(table)), table)


def odd_names(path: Path) -> None:
    """Saves a model of columns whose names JSON and CSV have to escape."""
    from sklearn.linear_model import LogisticRegression

    table = _frame(NAMES)
    _save_sklearn(path, LogisticRegression().fit(table, _classes(table, 3)), table)


def labels(path: Path) -> None:
    """Saves a model whose classes are words."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    table = _frame(TEN[:4])
    labels = np.array(["no", "größer", "ja"])[_classes(table, 3)]
    _save_sklearn(path, LogisticRegression().fit(table, labels), table)


def linear(path: Path) -> None:
    """Saves a model that answers with floats."""
    from sklearn.linear_model import LinearRegression

    table = _frame(TEN)
    _save_sklearn(path, LinearRegression().fit(table, _target(table)), table)


def scaled(path: Path) -> None:
    """Saves a pipeline that answers with probabilities."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table = _frame(TEN[:5])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, _classes(table, 3))
    _save_sklearn(path, model, table, pyfunc_predict_fn="predict_proba")


def forest(path: Path) -> None:
    """Saves a forest of three classes."""
    from sklearn.ensemble import RandomForestClassifier

    table = _frame(TEN)
    model = RandomForestClassifier(10, random_state=3).fit(table, _classes(table, 3))
    _save_sklearn(path, model, table)


def forest_regressor(path: Path) -> None:
    """Saves a forest with float predictions."""
    from sklearn.ensemble import RandomForestRegressor

    table = _frame(TEN[:6])
    model = RandomForestRegressor(10, random_state=3).fit(table, _target(table))
    _save_sklearn(path, model, table)


def boosted(path: Path) -> None:
    """Saves a model that takes missing values."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    table = _frame(TEN[:4])
    model = HistGradientBoostingRegressor(max_iter=10).fit(table, _target(table))
    _save_sklearn(path, model, table)


def typed(path: Path) -> None:
    """Saves a model of columns of five types."""
    from sklearn.linear_model import LinearRegression

    table = _frame([*"abcde"])
    table = (table * 5).astype({"b": "float32", "c": "int64", "d": "int32"})
    table["e"] = table["a"] > 0
    _save_sklearn(path, LinearRegression().fit(table, _target(table)), table)


def array(path: Path) -> None:
    """Saves a model whose signature is one tensor without a name."""
    from sklearn.linear_model import LinearRegression

    table = _frame(TEN[:4]).to_numpy()
    _save_sklearn(path, LinearRegression().fit(table, _target(table)), table)


def bare_lr(path: Path) -> None:
    """Saves a model without a signature."""
    from sklearn.linear_model import LogisticRegression

    table = _frame(TEN[:3])
    _save_sklearn(path, LogisticRegression().fit(table, _classes(table)), table, signed=False)
