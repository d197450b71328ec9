"""The rules by which a model counts as pickled, on folders that somebody made up."""

import bz2
import gzip
import importlib
import io
import json
import lzma
import pickle
import pkgutil
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from slipway_runtime.pickle_magic import reason
from slipway_runtime.pickles import mlflow_environment, pickled_files
from slipway_runtime.skops_types import SKLEARN_CLASS, is_harmless


def made(folder: Path, flavors: dict[str, Any], **files: bytes) -> Path:
    """Writes a model folder with these flavors and files; ``__`` in a name stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors}))
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def paths(folder: Path) -> list[str]:
    """Returns the paths that count as pickles."""
    return [file.path for file in pickled_files(folder)]


PYFUNC = {"python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.skops"}}
SKOPS = {"serialization_format": "skops", "pickled_model": "model.skops"}
MADE_UP: dict[str, tuple[dict[str, Any], list[str]]] = {
    "skops by name only": (PYFUNC, ["model.skops"]),
    "format missing": ({**PYFUNC, "sklearn": {"pickled_model": "m"}}, ["m", "model.skops"]),
    "format unknown": (
        {**PYFUNC, "sklearn": {**SKOPS, "serialization_format": "joblib"}},
        ["model.skops"],
    ),
    "trusts the shell": (
        {**PYFUNC, "sklearn": {**SKOPS, "skops_trusted_types": ["os.system"]}},
        ["model.skops"],
    ),
    "trusts a string": (
        {**PYFUNC, "sklearn": {**SKOPS, "skops_trusted_types": "os.system"}},
        ["model.skops"],
    ),
    "trusts trees": (
        {**PYFUNC, "sklearn": {**SKOPS, "skops_trusted_types": ["sklearn.tree._tree.Tree"]}},
        [],
    ),
    "beside another MLmodel": (
        {
            "python_function": {"loader_module": "mlflow.sklearn", "model_path": "in/model.skops"},
            "sklearn": SKOPS,
        },
        ["in/model.skops"],
    ),
    "outside": (
        {
            "python_function": {"loader_module": "mlflow.sklearn", "model_path": "../model.skops"},
            "sklearn": SKOPS,
        },
        ["../model.skops"],
    ),
    "lightgbm of no known format": (
        {
            "python_function": {"loader_module": "mlflow.lightgbm", "data": "model.pkl"},
            "lightgbm": {"data": "model.pkl", "model_class": "lightgbm.sklearn.LGBMRanker"},
        },
        ["model.pkl"],
    ),
    "xgboost by another class": (
        {
            "python_function": {"loader_module": "mlflow.xgboost", "data": "model.json"},
            "xgboost": {"data": "model.json", "model_class": "subprocess.Popen"},
        },
        ["MLmodel"],
    ),
    "statsmodels": (
        {
            "python_function": {"loader_module": "mlflow.statsmodels", "data": "model.statsmodels"},
            "statsmodels": {"data": "model.statsmodels"},
        },
        ["model.statsmodels"],
    ),
    "chat model": (
        {
            "python_function": {
                "loader_module": "mlflow.pyfunc.loaders.chat_model",
                "python_model": "python_model.pkl",
            }
        },
        ["python_model.pkl"],
    ),
    "catboost": (
        {
            "python_function": {"loader_module": "mlflow.catboost", "data": "model.cb"},
            "catboost": {"data": "model.cb", "save_format": "cbm"},
        },
        [],
    ),
    "native flavor that is pickled besides": (
        {
            "python_function": {"loader_module": "mlflow.onnx", "data": "model.onnx"},
            "onnx": {"data": "model.onnx"},
            "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"},
        },
        ["model.onnx", "model.pkl"],
    ),
}


@pytest.mark.parametrize("name", MADE_UP)
def test_what_somebody_made_up(name: str, tmp_path: Path) -> None:
    flavors, expected = MADE_UP[name]
    assert paths(made(tmp_path, flavors)) == expected


def zipped(name: str) -> bytes:
    """Returns a zip archive with one member of this name."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(name, b"x")
    return target.getvalue()


class Call:
    """An object whose pickle calls a function."""

    def __reduce__(self) -> Any:
        return print, ("called",)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        *(
            (pickle.dumps({"a": [1, 2]}, protocol), "by its first bytes")
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
        ),
        *((pickle.dumps(Call(), protocol), "by its first bytes") for protocol in range(6)),
        (pickle.dumps({"a": 1}, 0), "by its first bytes"),
        (zlib.compress(pickle.dumps(Call(), 4)), "by its first bytes, compressed"),
        (gzip.compress(pickle.dumps(Call(), 4), mtime=0), "by its first bytes, compressed"),
        (bz2.compress(pickle.dumps(Call(), 4)), "by its first bytes, compressed"),
        (lzma.compress(pickle.dumps(Call(), 4)), "by its first bytes, compressed"),
        (zipped("archive/data.pkl"), "by what it holds, archive/data.pkl"),
        (zipped("schema.json"), None),
        (b"", None),
        (b"P", None),
        (b"PK\x03\x04 but no archive", None),
        (b"catboost\nnumpy\npandas\n", None),
        (b"cloudpickle==3.1.0\nnumpy\n", None),
        (b"c0,c1,c2\n1.0,2.0,3.0\n", None),
        (b'{"columns": ["a"]}', None),
        (b"x is the first letter of zlib", None),
        (gzip.compress(b"plain text", mtime=0), None),
        (np.arange(3).tobytes(), None),
    ],
)
def test_a_pickle_by_its_bytes(content: bytes, why: str | None, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert reason(tmp_path / "file") == why


@pytest.mark.parametrize(
    "name", ["m.pkl", "m.PKL", "m.joblib", "m.pkl.gz", "objects.cloudpickle", "model.pth", "m.pt"]
)
def test_a_pickle_by_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert reason(tmp_path / name)


def test_an_unknown_flavor_is_searched(tmp_path: Path) -> None:
    flavors = {"python_function": {"loader_module": "my_loader", "data": "model"}, "mine": {}}
    folder = made(tmp_path / "m", flavors, weights=b"1.0", requirements__txt=b"numpy\n")
    assert paths(folder) == []
    (folder / "model").mkdir()
    (folder / "model" / "weights.bin").write_bytes(pickle.dumps([1.0]))
    assert paths(folder) == ["model/weights.bin"]


def test_pytorch(tmp_path: Path) -> None:
    flavors = {
        "python_function": {"loader_module": "mlflow.pytorch", "data": "data"},
        "pytorch": {"model_data": "data"},
    }
    folder = made(tmp_path / "m", flavors)
    (folder / "data").mkdir()
    (folder / "data" / "model.pt2").write_bytes(zipped("data/weights/weight_0"))
    assert paths(folder) == []
    assert mlflow_environment(folder, False) == {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    assert mlflow_environment(folder, True) == {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"}
    (folder / "data" / "model.pth").write_bytes(zipped("model/data.pkl"))
    assert paths(folder) == ["data/model.pth"]


def test_a_model_in_a_model(tmp_path: Path) -> None:
    outer = {"python_function": {"loader_module": "mlflow.onnx"}, "onnx": {"data": "model.onnx"}}
    inner = {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle"}}
    folder = made(tmp_path / "m", outer)
    made(folder / "underlying", inner)
    assert "underlying/model.pkl" in paths(folder)


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[]", b"flavors: 3", b"flavors: {sklearn: 3}"])
def test_an_mlmodel_that_says_nothing_is_searched(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_bytes(content)
    (tmp_path / "model.pkl").touch()
    assert paths(tmp_path) == ["model.pkl"]


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "numpy.testing._private.utils.runstring",
        "numpy.load",
        "sklearn.utils._testing.TempMemmap",
        "sklearn.datasets._base.load_files",
        "sklearn.externals._packaging.Version",
        "sklearn.tree._tree.os.system",
        "sklearn.tree._export.export_text",
        "joblib.memory.Memory",
        "functools.partial",
        "operator.methodcaller",
        "my_package.Transformer",
        "sklearn.tree._tree.Tree\n",
        3,
        None,
    ],
)
def test_types_that_are_as_good_as_code(name: object) -> None:
    assert not is_harmless(name)


def test_what_scikit_learn_calls_a_class_is_one() -> None:
    """Every name that the rule lets through is data, or a class of scikit-learn or numbers."""
    import sklearn

    mine = ("sklearn.", "numpy", "scipy.", "numbers", "abc", "collections", "builtins", "typing")
    seen = 0
    for found in pkgutil.walk_packages(sklearn.__path__, "sklearn."):
        if ".tests" in found.name or not SKLEARN_CLASS.fullmatch(f"{found.name}._X"):
            continue
        for name, value in vars(importlib.import_module(found.name)).items():
            if not SKLEARN_CLASS.fullmatch(f"{found.name}.{name}") or not callable(value):
                continue
            seen += 1
            home = str(getattr(value, "__module__", ""))
            assert isinstance(value, type) or home.startswith("typing"), f"{found.name}.{name}"
            assert home.startswith(mine) or value is io.StringIO, f"{found.name}.{name}: {home}"
    assert seen > 500


def test_skops_is_what_runs_a_trusted_type(tmp_path: Path) -> None:
    """Why the model's own list is not taken on trust: this one calls what it names."""
    import skops.io

    schema = {
        "__class__": "Path", "__module__": "pathlib", "__loader__": "ListNode", "content": [],
        "protocol": 2, "_skops_version": "0.16.0",
    }  # fmt: skip
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException):
        skops.io.load(tmp_path / "model.skops")
    with pytest.raises(TypeError, match="list"):
        skops.io.load(tmp_path / "model.skops", trusted=["pathlib.Path"])
    assert not is_harmless("pathlib.Path")
