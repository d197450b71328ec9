"""Trains the demo model ``churn`` and registers it in two versions. ``python train_churn.py``.

Environment: ``MLFLOW_TRACKING_URI``, required; ``MODEL_NAME``, by default ``churn``.

Version 1 is a logistic regression, version 2 a random forest of 100 trees; both are scikit-learn
pipelines that take the raw columns and predict 1 for a customer who leaves, 0 for one who stays.

The data are generated, by this process, with numpy's PCG64 from a fixed seed:

=================  ======  =======================================================================
column             type    drawn from
=================  ======  =======================================================================
age                long    18 + Gamma(4, 8), cut to 18-90, whole years
tenure_months      long    Exponential(30), cut to 0-120, whole months
plan               string  basic 50 %, plus 35 %, pro 15 %
contract           string  monthly 60 %, yearly 40 %
payment            string  card 55 %, transfer 30 %, invoice 15 %
monthly_charge     double  Normal(20, 4) for basic, (45, 6) for plus, (90, 12) for pro, at least 5
monthly_gigabytes  double  LogNormal(3, 0.8)
support_calls      long    Poisson(0.8), plus Poisson(1.5) for one customer in ten
late_payments      long    Poisson(0.4), plus Poisson(0.8) for those who pay by invoice
satisfaction       double  Normal(4 - 0.35 * support_calls, 0.7), cut to 1-5
=================  ======  =======================================================================

Whether a customer leaves is a Bernoulli draw with the log-odds

    -2.0 + 2.0 * (contract is monthly and tenure_months < 18) + 0.45 * support_calls
    + 0.5 * late_payments - 0.6 * (satisfaction - 3) - 0.01 * (age - 45)
    + 2.0 * (plan is pro and monthly_gigabytes < 15)

whose products a linear model cannot see and a forest can. Three quarters
of the customers are for training; the area under the ROC curve is of the other quarter. With each
version goes a profile of its training data (docs/drift.md).

The script may be killed at any point and run again. A version is created, tagged with its digest,
in one request, after all of its artifacts are stored: it is registered whole or not at all. A
version that exists and verifies is left alone; one of this script's making whose artifacts are
damaged or whose digest is missing is repaired in place. Version numbers that somebody else's models
occupy are an error.

Exit code 0, or 1 with one line on standard error.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slipway_runtime.digest import DIGEST_TAG, tree_digest
from slipway_runtime.training_profile import PROFILE_KEY, make_profile

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from sklearn.pipeline import Pipeline

SEED: Final = 20_261_121
CUSTOMERS: Final = 12_000
KIND_TAG: Final = "slipway.demo"
AUC_TAG: Final = "slipway.auc"
NUMERIC: Final = (
    "age",
    "tenure_months",
    "monthly_charge",
    "monthly_gigabytes",
    "support_calls",
    "late_payments",
    "satisfaction",
)
PACKAGES: Final = ("mlflow", "scikit-learn", "pandas", "numpy")
CATEGORICAL: Final = ("plan", "contract", "payment")


class TrainingError(Exception):
    """The registry is in a state this script must not change; the message says which."""


def make_customers(
    count: int = CUSTOMERS, seed: int = SEED
) -> "tuple[pd.DataFrame, pd.Series[Any]]":
    """Returns ``count`` customers, one a row, and whether each of them left (0 or 1).

    The process is the one in this module's docstring; the same seed gives the same customers.
    """
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    plan = rng.choice(["basic", "plus", "pro"], count, p=[0.5, 0.35, 0.15])
    mean = np.select([plan == "basic", plan == "plus"], [20.0, 45.0], 90.0)
    spread = np.select([plan == "basic", plan == "plus"], [4.0, 6.0], 12.0)
    payment = rng.choice(["card", "transfer", "invoice"], count, p=[0.55, 0.3, 0.15])
    troubled = rng.random(count) < 0.1
    calls = rng.poisson(0.8, count) + troubled * rng.poisson(1.5, count)
    late = rng.poisson(0.4, count) + (payment == "invoice") * rng.poisson(0.8, count)
    customers = pd.DataFrame(
        {
            "age": (18 + rng.gamma(4, 8, count)).clip(18, 90).astype("int64"),
            "tenure_months": rng.exponential(30, count).clip(0, 120).astype("int64"),
            "plan": plan,
            "contract": rng.choice(["monthly", "yearly"], count, p=[0.6, 0.4]),
            "payment": payment,
            "monthly_charge": rng.normal(mean, spread).clip(5).round(2),
            "monthly_gigabytes": rng.lognormal(3, 0.8, count).round(2),
            "support_calls": calls.astype("int64"),
            "late_payments": late.astype("int64"),
            "satisfaction": rng.normal(4 - 0.35 * calls, 0.7).clip(1, 5).round(2),
        }
    )
    new_and_free = (customers["contract"] == "monthly") & (customers["tenure_months"] < 18)
    pays_for_too_much = (customers["plan"] == "pro") & (customers["monthly_gigabytes"] < 15)
    log_odds = (
        -2.0
        + 2.0 * new_and_free
        + 0.45 * customers["support_calls"]
        + 0.5 * customers["late_payments"]
        - 0.6 * (customers["satisfaction"] - 3)
        - 0.01 * (customers["age"] - 45)
        + 2.0 * pays_for_too_much
    )
    left = rng.random(count) < 1 / (1 + np.exp(-log_odds))
    return customers, pd.Series(left.astype("int64"), name="left")


def logistic_regression() -> "Pipeline":
    """Returns the untrained pipeline of version 1."""
    from sklearn.linear_model import LogisticRegression

    return _pipeline(LogisticRegression(max_iter=500))


def random_forest() -> "Pipeline":
    """Returns the untrained pipeline of version 2."""
    from sklearn.ensemble import RandomForestClassifier

    # Leaves of twenty customers keep a hundred trees at a few megabytes.
    return _pipeline(RandomForestClassifier(100, min_samples_leaf=20, random_state=SEED))


def _pipeline(classifier: Any) -> "Pipeline":
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = ColumnTransformer(
        [
            ("numeric", StandardScaler(), list(NUMERIC)),
            ("categorical", OneHotEncoder(handle_unknown="ignore"), list(CATEGORICAL)),
        ]
    )
    return Pipeline([("columns", columns), ("classifier", classifier)])


@dataclass(frozen=True)
class Recipe:
    """One version of the demo model: its number, its kind (the tag's value) and its pipeline."""

    number: int
    kind: str
    make: "Callable[[], Pipeline]"


RECIPES: Final = (
    Recipe(1, "logistic-regression", logistic_regression),
    Recipe(2, "random-forest", random_forest),
)


class Trainer:
    """Trains recipes and registers them under one name.

    Args:
        tracking_uri: the MLflow server.
        name: the registered model.
        customers: how many customers to generate.
    """

    def __init__(self, tracking_uri: str, name: str, customers: int = CUSTOMERS) -> None:
        import mlflow

        mlflow.set_tracking_uri(tracking_uri)
        self._client: MlflowClient = mlflow.MlflowClient(tracking_uri)
        self._name = name
        self._count = customers

    def run(self) -> dict[int, float]:
        """Makes sure that every recipe is registered; returns each version's held-out AUC.

        Raises:
            TrainingError: a version number is taken by a model that is not this script's.
        """
        return {recipe.number: self._ensure(recipe) for recipe in RECIPES}

    def _ensure(self, recipe: Recipe) -> float:
        """Makes sure that one recipe is registered whole; returns its AUC."""
        existing = self._version(recipe.number)
        if existing is None:
            return self._register(recipe)
        if existing.tags.get(KIND_TAG) != recipe.kind:
            raise TrainingError(
                f"{self._name} {recipe.number} exists and was not made by this script"
            )
        auc = existing.tags.get(AUC_TAG)
        if auc and self._is_whole(existing):
            return float(auc)
        return self._repair(recipe, existing)

    def _is_whole(self, version: "ModelVersion") -> bool:
        """Says whether a version's artifacts are all there and what its tag says."""
        from mlflow.exceptions import MlflowException

        uri = self._client.get_model_version_download_uri(self._name, version.version)
        try:
            return stored_digest(uri) == version.tags.get(DIGEST_TAG)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def _version(self, number: int) -> "ModelVersion | None":
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version(self._name, str(number))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _register(self, recipe: Recipe) -> float:
        """Trains one recipe, stores it and registers it; returns its AUC."""
        import mlflow

        trained = train(recipe, self._count)
        mlflow.set_experiment(self._name)
        with mlflow.start_run(run_name=recipe.kind):
            mlflow.log_params({"seed": SEED, "customers": self._count, "kind": recipe.kind})
            mlflow.log_metric("auc", trained.auc)
            logged = mlflow.sklearn.log_model(name=recipe.kind, **trained.saving())
        model = self._client.get_logged_model(logged.model_id)
        tags = self._tags(recipe, model.artifact_location, trained.auc)
        # Only now, and the tags with it: whoever sees the version sees it whole.
        created = mlflow.register_model(logged.model_uri, self._name, tags=tags)
        if int(created.version) != recipe.number:
            # Another registration came between, or a version was deleted: its number never returns.
            self._client.delete_model_version(self._name, created.version)
            raise TrainingError(
                f"the next version of {self._name} is {created.version}, not {recipe.number}: its "
                "versions were deleted or are registered by something else at the same time"
            )
        return trained.auc

    def _repair(self, recipe: Recipe, version: "ModelVersion") -> float:
        """Trains one recipe again and puts it where its registered version has its artifacts."""
        import mlflow
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        trained = train(recipe, self._count)
        uri = self._client.get_model_version_download_uri(self._name, version.version)
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "model"
            mlflow.sklearn.save_model(path=str(saved), **trained.saving())
            get_artifact_repository(uri).log_artifacts(str(saved))
        # The digest last: until it is there, the version counts as damaged.
        for key, value in self._tags(recipe, uri, trained.auc).items():
            self._client.set_model_version_tag(self._name, version.version, key, value)
        return trained.auc

    def _tags(self, recipe: Recipe, uri: str, auc: float) -> dict[str, str]:
        """Returns the tags of a version whose artifacts are stored at ``uri``."""
        return {KIND_TAG: recipe.kind, AUC_TAG: repr(auc), DIGEST_TAG: stored_digest(uri)}


@dataclass(frozen=True)
class Trained:
    """A trained pipeline, its area under the ROC curve, five customers to show its input, and the
    profile of the data it was trained on, which the runtime holds traffic against."""

    pipeline: "Pipeline"
    auc: float
    example: "pd.DataFrame"
    profile: str

    def saving(self) -> dict[str, Any]:
        """Returns the arguments with which MLflow saves it."""
        import mlflow

        with warnings.catch_warnings():
            # MLflow warns that whole numbers cannot be missing. Here they never are.
            warnings.simplefilter("ignore", UserWarning)
            signature = mlflow.models.infer_signature(
                self.example, self.pipeline.predict(self.example)
            )
        return {
            "sk_model": self.pipeline,
            # Said here, or it depends on where this runs: what is not unpickled needs no trust.
            "serialization_format": "skops",
            # The one type of a forest that skops wants to be trusted expressly.
            "skops_trusted_types": ["sklearn.tree._tree.Tree"],
            "signature": signature,
            "input_example": self.example,
            "metadata": {PROFILE_KEY: self.profile},
            # Said here, or MLflow starts a second process to find them out.
            "pip_requirements": [f"{package}=={installed(package)}" for package in PACKAGES],
        }


def train(recipe: Recipe, customers: int = CUSTOMERS) -> Trained:
    """Trains one recipe on three quarters of the customers and measures it on the others."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split

    features, left = make_customers(customers)
    seen, unseen, seen_left, unseen_left = train_test_split(
        features, left, test_size=0.25, random_state=SEED, stratify=left
    )
    pipeline = recipe.make().fit(seen, seen_left)
    auc = roc_auc_score(unseen_left, pipeline.predict_proba(unseen)[:, 1])
    # Predictions for customers it has not seen: of those it has, it is surer than it will be.
    profile = make_profile(seen, pipeline.predict(unseen))
    return Trained(pipeline, float(auc), unseen.head(5).reset_index(drop=True), profile)


def stored_digest(uri: str) -> str:
    """Returns the tree digest of the artifacts stored at ``uri``, read back from there.

    Raises:
        MlflowException: they cannot be read.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with tempfile.TemporaryDirectory() as folder:
        return tree_digest(Path(get_artifact_repository(uri).download_artifacts("", folder)))


def main() -> int:
    """Runs the script; returns the exit code."""
    name = os.environ.get("MODEL_NAME") or "churn"
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        print("train: MLFLOW_TRACKING_URI is not set", file=sys.stderr)
        return 1
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        for number, auc in Trainer(uri, name).run().items():
            print(f"{name} {number}: held-out AUC {auc:.4f}", flush=True)
    except Exception as error:
        # Whatever it is, a Job's reader gets one line that says it.
        print(f"train: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
