"""Which files of a saved MLflow model would be unpickled when it is loaded.

Unpickling runs whatever code is in the file, unseen, with the rights of the server and before any
request. Such a model is refused unless its owner has said that its source is trusted.

The rules follow what the flavors of MLflow 3.17.2 do when they load, as read in its own modules
(docs/model-formats.md has the table). Only the flavors that this runtime loads count: the loader
named by ``python_function``, and those it may load natively. Where a flavor is not known, or reads
whatever lies there, every file of the model counts that is a pickle by its name or its first bytes.

Not refused, and not made safe by this: Python code that comes with a model in the open (models from
code, ``code_paths``, a loader module of one's own). It runs when the model is loaded, as it must.
"""

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from slipway_runtime.pickle_magic import reason
from slipway_runtime.skops_types import is_harmless

_MLMODEL: Final = "MLmodel"
_PYFUNC: Final = "python_function"
_SKOPS: Final = (
    "save it as skops (mlflow.sklearn.save_model(..., serialization_format='skops', "
    "skops_trusted_types=[...])) or as ONNX (mlflow.onnx.save_model)"
)
_ONNX: Final = "save it as ONNX (mlflow.onnx.save_model), or from code (python_model='model.py')"
_FROM_CODE: Final = "save it from code (python_model='model.py') with artifacts that are no pickles"
_EXPORT: Final = "save it with serialization_format='pt2', or as ONNX (mlflow.onnx.save_model)"


class PickledModelError(Exception):
    """A model that would be unpickled, and is not allowed to; the message is one line."""


@dataclass(frozen=True)
class PickledFile:
    """A file that loading the model unpickles, or that counts as such.

    Attributes:
        path: relative to the model's folder.
        why: what makes it so, in a few words.
        remedy: how to save such a model otherwise.
    """

    path: str
    why: str
    remedy: str


_Rule = Callable[[Path, str, Mapping[str, Any], Mapping[str, Any]], Iterator[PickledFile]]


def pickled_files(model_dir: Path) -> list[PickledFile]:
    """Returns the files in the MLflow model ``model_dir`` that loading it would unpickle.

    The folder may be incomplete: what ``MLmodel`` alone says of a file is said whether the file is
    there yet or not. A model inside a model (as SHAP's explainers have) counts like its parent.

    Raises:
        OSError: a file cannot be read.
    """
    found: dict[str, PickledFile] = {}
    for path in sorted(model_dir.rglob(_MLMODEL)):
        inside = path.parent.relative_to(model_dir)
        for file in _judge(path.parent):
            whole = PickledFile((inside / file.path).as_posix(), file.why, file.remedy)
            found.setdefault(whole.path, whole)
    return [found[path] for path in sorted(found)]


def check(model_dir: Path, allow_pickle: bool, model: str | None = None) -> None:
    """Refuses the model in ``model_dir`` if loading it would unpickle a file.

    Args:
        model_dir: the folder with its ``MLmodel``.
        allow_pickle: the model's owner allows it; then nothing is looked at.
        model: its name in the configuration; by default the folder's.

    Raises:
        PickledModelError: it would; the message names the file, the reason and the remedies.
        OSError: a file cannot be read.
    """
    if allow_pickle or not (files := pickled_files(model_dir)):
        return
    first, more = files[0], len(files) - 1
    others = f" (and {more} more)" if more else ""
    raise PickledModelError(
        f"{first.path}{others} is a pickle, {first.why}: loading it would run whatever code is in "
        f"it; {first.remedy}, or trust its source: slipway:models.{model or model_dir.name}"
        ".allow_pickle: true (of a server started by hand, ALLOW_PICKLE=true)"
    )


def mlflow_environment(model_dir: Path, allow_pickle: bool) -> dict[str, str]:
    """Returns the environment that makes MLflow itself hold to this, where it is able to.

    MLflow has a guard of its own, ``MLFLOW_ALLOW_PICKLE_DESERIALIZATION``, which also looks into
    the archives of ``torch.export``. It is on, but for models in skops: those it refuses wholesale,
    because it does not judge the types they trust, as `pickled_files` does.
    """
    skops = any(
        {"sklearn", "lightgbm"} & _flavors(path.parent).keys() for path in model_dir.rglob(_MLMODEL)
    )
    return {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true" if allow_pickle or skops else "false"}


def _judge(root: Path) -> Iterator[PickledFile]:
    """Yields the pickles of one model, whose own ``MLmodel`` is in ``root``."""
    flavors = _flavors(root)
    pyfunc = _config(flavors, _PYFUNC)
    loader = str(pyfunc.get("loader_module", ""))
    named = loader.removeprefix("mlflow.") if loader.startswith("mlflow.") else loader
    if named == "pyfunc" or named.startswith("pyfunc."):
        named = "pyfunc.model"
    for flavor in dict.fromkeys([named, *(str(name) for name in flavors if name != _PYFUNC)]):
        rule = _RULES.get(flavor, _whatever_lies_there)
        yield from rule(root, flavor, _config(flavors, flavor), pyfunc)


def _flavors(root: Path) -> dict[str, Any]:
    """Returns the flavors of the model in ``root``; none where its ``MLmodel`` says nothing."""
    # Imported here: whoever only wants this module's errors need not wait for it.
    import yaml

    try:
        mlmodel = yaml.safe_load((root / _MLMODEL).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    flavors = mlmodel.get("flavors") if isinstance(mlmodel, dict) else None
    return flavors if isinstance(flavors, dict) else {}


def _config(flavors: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    config = flavors.get(name)
    return config if isinstance(config, dict) else {}


def _sklearn(
    root: Path, flavor: str, config: Mapping[str, Any], pyfunc: Mapping[str, Any]
) -> Iterator[PickledFile]:
    """scikit-learn: ``serialization_format`` skops, pickle or cloudpickle; missing, it is pickle.

    MLflow looks that up in the ``MLmodel`` beside the file, so the file has to lie beside this one.
    """
    format_ = str(config.get("serialization_format", "pickle"))
    places = (config.get("pickled_model"), pyfunc.get("model_path"), pyfunc.get("data"))
    files = {str(place) for place in places if place is not None} or {"model.pkl"}
    for file in sorted(files):
        beside = posixpath.normpath(file) == posixpath.basename(file)
        if format_ != "skops":
            yield PickledFile(file, f"saved as {format_}", _SKOPS)
        elif not beside:
            yield PickledFile(file, f"for all that its {_MLMODEL}, elsewhere, says", _SKOPS)
        elif untrusted := _untrusted(config):
            yield PickledFile(file, f"as good as one, for it trusts {untrusted}", _SKOPS)


def _lightgbm(
    root: Path, flavor: str, config: Mapping[str, Any], pyfunc: Mapping[str, Any]
) -> Iterator[PickledFile]:
    """LightGBM: a Booster is text; the scikit-learn classes are as scikit-learn's models."""
    if config.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
        return
    format_ = config.get("serialization_format", "cloudpickle")
    places = {"pickled_model": config.get("data"), "serialization_format": format_}
    yield from _sklearn(root, flavor, {**config, **places}, pyfunc)


def _untrusted(config: Mapping[str, Any]) -> str | None:
    """Returns the first type that a skops model wants trusted and that may be code."""
    trusted = config.get("skops_trusted_types") or []
    if not isinstance(trusted, list):
        return repr(trusted)
    return next((str(name) for name in trusted if not is_harmless(name)), None)


def _xgboost(
    root: Path, flavor: str, config: Mapping[str, Any], pyfunc: Mapping[str, Any]
) -> Iterator[PickledFile]:
    """XGBoost: JSON or UBJSON. The class that is told to read it comes from ``MLmodel``."""
    name = config.get("model_class", "xgboost.core.Booster")
    if not is_harmless(name) or not str(name).startswith("xgboost."):
        yield PickledFile(_MLMODEL, f"as good as one, for it loads with {name}", _ONNX)


def _python_model(
    root: Path, flavor: str, config: Mapping[str, Any], pyfunc: Mapping[str, Any]
) -> Iterator[PickledFile]:
    """A Python model: a cloudpickle, or code in the open; its artifacts are whatever it likes."""
    if "model_code_path" not in pyfunc:
        file = str(pyfunc.get("python_model", "python_model.pkl"))
        yield PickledFile(file, "saved as cloudpickle", _FROM_CODE)
    for found in _whatever_lies_there(root, flavor, config, pyfunc):
        yield PickledFile(found.path, found.why, _FROM_CODE)


def _pytorch(
    root: Path, flavor: str, config: Mapping[str, Any], pyfunc: Mapping[str, Any]
) -> Iterator[PickledFile]:
    """PyTorch: with ``data/model.pth`` it is ``torch.load``, else ``torch.export.load``.

    An archive of ``torch.export`` is left to MLflow's own guard (see `mlflow_environment`): torch
    is needed to tell the good from the bad.
    """
    for place in {str(pyfunc.get("data", "data")), str(config.get("model_data", "data"))}:
        if (root / place).is_file() or (root / place / "model.pth").exists():
            file = place if (root / place).is_file() else f"{place}/model.pth"
            yield PickledFile(file, "saved by torch.save", _EXPORT)


def _always(
    root: Path, flavor: str, config: Mapping[str, Any], pyfunc: Mapping[str, Any]
) -> Iterator[PickledFile]:
    """Flavors that have no other format than pickle."""
    keys = ("data", "pickled_model", "serialized_explainer")
    places = [config.get(key) for key in keys] + [pyfunc.get("data"), pyfunc.get("model_path")]
    file = next((str(place) for place in places if place), "model.pkl")
    yield PickledFile(file, f"as every model of mlflow.{flavor}", _ONNX)


def _never(
    root: Path, flavor: str, config: Mapping[str, Any], pyfunc: Mapping[str, Any]
) -> Iterator[PickledFile]:
    """Flavors whose own formats hold no pickle."""
    return iter(())


def _whatever_lies_there(
    root: Path, flavor: str, config: Mapping[str, Any], pyfunc: Mapping[str, Any]
) -> Iterator[PickledFile]:
    """Any other flavor: each file that is a pickle by its name or its first bytes."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            if path.is_file() and (why := reason(path)):
                yield PickledFile(path.relative_to(root).as_posix(), why, _ONNX)


_RULES: Final[Mapping[str, _Rule]] = {
    "sklearn": _sklearn,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "pyfunc.model": _python_model,
    "pytorch": _pytorch,
    "statsmodels": _always,
    "pmdarima": _always,
    "paddle": _always,
    "shap": _always,
    "onnx": _never,
    "catboost": _never,
    "prophet": _never,
    "h2o": _never,
}
