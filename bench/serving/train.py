"""Trains the benchmark's models with the packages of the environment that will serve them.

`python train.py FORMAT FOLDER CASE…`, where FORMAT is `mlflow` or `joblib` and a CASE is, say,
`forest-10`. Writes for each case FOLDER/CASE/model, a folder as MLflow saves it, or
FOLDER/CASE/model.joblib, and FOLDER/CASE/answers.json: 100 rows, the model's answer to the first
of them alone, and its answers to all.

It imports nothing of this project: it runs in the peers' environments too. Data and seeds are the
same everywhere.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def estimator(model: str) -> Any:
    """The unfitted estimator; random states are fixed."""
    from sklearn import ensemble, linear_model, pipeline, preprocessing

    if model == "logistic":
        return linear_model.LogisticRegression()
    if model == "linear":
        return linear_model.LinearRegression()
    if model == "scaled":
        return pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear_model.LogisticRegression()
        )
    trees = {
        "forest": ensemble.RandomForestClassifier,
        "extra": ensemble.ExtraTreesClassifier,
        "boosting": ensemble.GradientBoostingClassifier,
    }
    return trees[model](n_estimators=100, random_state=0)


def train(form: str, model: str, columns: int, folder: Path) -> None:
    """Trains on 2,000 rows of standard normal doubles and saves into `folder`."""
    random = np.random.default_rng(0)
    x: Any = random.normal(size=(2000, columns))
    score = x.sum(axis=1) + random.normal(size=2000)
    y = score if model == "linear" else (score > 0).astype(int)
    rows: Any = np.random.default_rng(1).normal(size=(100, columns))
    asked = rows.tolist()
    folder.mkdir(parents=True)
    if form == "mlflow":
        import mlflow
        import pandas as pd

        names = [f"c{i}" for i in range(columns)]
        x, rows = pd.DataFrame(x, columns=names), pd.DataFrame(rows, columns=names)
        fitted = estimator(model).fit(x, y)
        mlflow.sklearn.save_model(
            fitted,
            str(folder / "model"),
            signature=mlflow.models.infer_signature(x, fitted.predict(x)),
            input_example=x.head(3),
            serialization_format="cloudpickle",
            # Left to itself, MLflow finds them out by loading the model once more, for seconds.
            pip_requirements=["scikit-learn"],
        )
    else:
        import joblib  # type: ignore[import-untyped]

        fitted = estimator(model).fit(x, y)
        joblib.dump(fitted, folder / "model.joblib")
    answers = {
        "rows": asked,
        "one": fitted.predict(rows[:1]).tolist(),
        "all": fitted.predict(rows).tolist(),
    }
    (folder / "answers.json").write_text(json.dumps(answers))


def main() -> None:
    warnings.simplefilter("ignore")
    form, folder, *cases = sys.argv[1:]
    for case in cases:
        model, columns = case.split("-")
        train(form, model, int(columns), Path(folder) / case)


if __name__ == "__main__":
    main()
