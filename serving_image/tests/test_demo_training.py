"""The demo's training script against a real MLflow server."""

from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import numpy as np
import pytest

from slipway_runtime import drift_profile, modelfile
from slipway_runtime.digest import DIGEST_TAG, tree_digest
from slipway_runtime.pickles import pickled_files

CUSTOMERS = 1500


class Killed(BaseException):
    """Stands for the end of the process: no handler of an error sees it."""


def versions(tracking: Any, name: str) -> list[int]:
    """Returns the version numbers registered under ``name``, in order."""
    found = mlflow.MlflowClient(tracking.uri).search_model_versions(f"name='{name}'")
    return sorted(int(version.version) for version in found)


def artifacts(tracking: Any, name: str, version: int) -> Path:
    """Returns the folder in which the MLflow server keeps a version's artifacts."""
    client = mlflow.MlflowClient(tracking.uri)
    uri = client.get_model_version_download_uri(name, str(version))
    return Path(tracking.artifacts / uri.removeprefix("mlflow-artifacts:/"))


def trainer(tracking: Any, training: ModuleType, name: str) -> Any:
    """Returns a trainer on few customers."""
    return training.Trainer(tracking.uri, name, customers=CUSTOMERS)


def test_the_same_seed_gives_the_same_customers(training: ModuleType) -> None:
    customers, left = training.make_customers(500)
    again, left_again = training.make_customers(500)
    assert customers.equals(again)
    assert left.equals(left_again)
    assert customers.shape == (500, 10)
    assert not customers.isna().any().any()
    assert 0.1 < left.mean() < 0.5


def test_run_again_changes_nothing(tracking: Any, training: ModuleType, registered: str) -> None:
    client = mlflow.MlflowClient(tracking.uri)
    before = {number: client.get_model_version(registered, number) for number in ("1", "2")}
    first = trainer(tracking, training, registered).run()
    assert versions(tracking, registered) == [1, 2]
    after = {number: client.get_model_version(registered, number) for number in ("1", "2")}
    for number, version in before.items():
        assert dict(version) == dict(after[number])
    assert set(first) == {1, 2}
    assert all(0.65 < auc < 0.95 for auc in first.values())


def test_registered_models_predict_as_trained(
    tracking: Any, training: ModuleType, registered: str
) -> None:
    customers, _ = training.make_customers(CUSTOMERS)
    for recipe in training.RECIPES:
        folder = artifacts(tracking, registered, recipe.number)
        assert pickled_files(folder) == []
        loaded = mlflow.pyfunc.load_model(str(folder))
        trained = training.train(recipe, CUSTOMERS)
        expected = trained.pipeline.predict(customers)
        np.testing.assert_array_equal(loaded.predict(customers), expected)
        probabilities = trained.pipeline.predict_proba(customers)
        loaded_pipeline = loaded.get_raw_model()
        np.testing.assert_array_equal(loaded_pipeline.predict_proba(customers), probabilities)
        assert set(expected) == {0, 1}
        assert loaded.metadata.get_input_schema().input_names() == list(customers.columns)
        assert loaded.input_example is not None
        profile = drift_profile.load(folder, modelfile.read(folder))
        assert profile is not None and profile.rows == CUSTOMERS * 3 // 4
        followed = [feature.name for feature in profile.features]
        assert followed == [*training.NUMERIC, "prediction"]
        tags = mlflow.MlflowClient(tracking.uri).get_model_version(registered, recipe.number).tags
        assert tags[DIGEST_TAG] == tree_digest(folder)


@pytest.mark.parametrize("step", ["log_model", "register_model"])
def test_a_killed_run_is_finished_by_the_next(
    tracking: Any, training: ModuleType, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The first run dies right before or right after the artifacts of version 2 are stored."""
    name = f"killed-{step.replace('_', '-')}"
    module = mlflow.sklearn if step == "log_model" else mlflow
    real = getattr(module, step)
    calls: list[Any] = []

    def dies_the_second_time(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(module, step, dies_the_second_time)
    with pytest.raises(Killed):
        trainer(tracking, training, name).run()
    assert versions(tracking, name) == [1]
    first = mlflow.MlflowClient(tracking.uri).get_model_version(name, "1").creation_timestamp
    trainer(tracking, training, name).run()
    assert versions(tracking, name) == [1, 2]
    again = mlflow.MlflowClient(tracking.uri).get_model_version(name, "1").creation_timestamp
    assert again == first


@pytest.mark.parametrize("damage", ["digest gone", "file changed", "file gone", "all gone"])
def test_a_damaged_version_is_repaired(
    tracking: Any, training: ModuleType, registered: str, damage: str
) -> None:
    client = mlflow.MlflowClient(tracking.uri)
    folder = artifacts(tracking, registered, 1)
    if damage == "digest gone":
        client.delete_model_version_tag(registered, "1", DIGEST_TAG)
    if damage == "file changed":
        (folder / "model.skops").write_bytes(b"no model")
    if damage == "file gone":
        (folder / "model.skops").unlink()
    if damage == "all gone":
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    trainer(tracking, training, registered).run()
    assert versions(tracking, registered) == [1, 2]
    tags = client.get_model_version(registered, "1").tags
    assert tags[DIGEST_TAG] == tree_digest(folder)
    customers, _ = training.make_customers(20)
    assert len(mlflow.pyfunc.load_model(str(folder)).predict(customers)) == 20


def test_somebody_elses_version_is_left_alone(
    tracking: Any,
    training: ModuleType,
    registered: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = mlflow.MlflowClient(tracking.uri).get_model_version(registered, "1")
    mlflow.register_model(other.source, "theirs")
    capsys.readouterr()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    monkeypatch.setenv("MODEL_NAME", "theirs")
    assert training.main() == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors == ["train: TrainingError: theirs 1 exists and was not made by this script"]
    assert versions(tracking, "theirs") == [1]


def test_without_a_server(
    training: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert training.main() == 1
    assert capsys.readouterr().err == "train: MLFLOW_TRACKING_URI is not set\n"
