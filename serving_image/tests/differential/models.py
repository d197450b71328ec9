"""The models both servers serve: small, quick to train, and each with a trap of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import estimators
from .estimators import NAMES, TEN

HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Column:
    """A column, or a named tensor, of a model's input.

    Attributes:
        name: its name.
        kind: the values it is made for, a key of `values.GOOD`.
        required: whether a request may go without it.
    """

    name: str
    kind: str
    required: bool = True


@dataclass(frozen=True)
class Model:
    """A model and what requests to it look like.

    Attributes:
        name: its name.
        save: trains it and saves it in the folder it is given.
        columns: the columns of a valid request.
        core: whether the short run tries it too.
        named: whether requests name the columns; else valid rows are lists.
        fails: whether its own code may fail, by more than a plain exception.
        params: params it takes, by name, and a valid value as JSON text.
    """

    name: str
    save: Callable[[Path], None]
    columns: tuple[Column, ...]
    core: bool = False
    named: bool = True
    fails: bool = False
    params: dict[str, str] = field(default_factory=dict)


def _columns(kind: str, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name in names)


def _save_code(path: Path, file: str, signature: Any) -> None:
    import mlflow

    mlflow.pyfunc.save_model(
        str(path),
        python_model=str(HERE / file),
        signature=signature,
        pip_requirements=["mlflow"],
    )


def _types(columns: tuple[Column, ...], named: bool = True) -> Any:
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array, Map, Object, Property

    y = Property("y", DataType.long, required=False)
    point = Object([Property("x", DataType.double), y])
    nested: dict[str, Any] = {
        "mood": DataType.string,
        "tags": Array(DataType.string),
        "point": point,
        "scores": Map(DataType.double),
        "matrix": Array(Array(DataType.double)),
        "points": Array(point),
    }
    specs: list[Any] = [
        ColSpec(nested.get(one.kind, one.kind), one.name if named else None, one.required)
        for one in columns
    ]
    return Schema(specs)


def _echo(columns: tuple[Column, ...], named: bool = True) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        from mlflow.models import ModelSignature

        _save_code(path, "echo_model.py", ModelSignature(_types(columns, named)))

    return save


def _mixed(path: Path) -> None:
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec

    params = ParamSchema(
        [
            ParamSpec("factor", DataType.double, 2.0),
            ParamSpec("count", DataType.long, 1),
            ParamSpec("small", DataType.integer, 1),
            ParamSpec("word", DataType.string, "w"),
            ParamSpec("flag", DataType.boolean, False),
            ParamSpec("list", DataType.double, [0.5], shape=(-1,)),
        ]
    )
    _save_code(path, "echo_model.py", ModelSignature(_types(MIXED), params=params))


def _tensors(path: Path) -> None:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    pair = TensorSpec(np.dtype("float32"), (-1, 2), "pair")
    number = TensorSpec(np.dtype("int64"), (-1,), "number")
    _save_code(path, "echo_model.py", ModelSignature(Schema([pair, number])))


def _moody(path: Path) -> None:
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec

    params = ParamSchema([ParamSpec("factor", DataType.double, 2.0)])
    _save_code(path, "moody_model.py", ModelSignature(_types(MOODY), params=params))


def _bare(path: Path) -> None:
    _save_code(path, "echo_model.py", None)


def _hints(path: Path) -> None:
    import mlflow

    file = str(HERE / "hints_model.py")
    mlflow.pyfunc.save_model(str(path), python_model=file, pip_requirements=["mlflow"])


TYPED: Final = (
    Column("a", "double"),
    Column("b", "float"),
    Column("c", "long"),
    Column("d", "integer"),
    Column("e", "boolean"),
)
MIXED: Final = (
    *TYPED,
    Column("word", "string"),
    Column("when", "datetime"),
    Column("data", "binary"),
    Column("maybe", "double", required=False),
    Column("perhaps", "string", required=False),
)
NESTED: Final = (
    Column("tags", "tags"),
    Column("point", "point"),
    Column("scores", "scores"),
    Column("matrix", "matrix"),
    Column("points", "points", required=False),
)
MOODY: Final = (Column("x", "double"), Column("mood", "mood"))
UNNAMED: Final = (Column("0", "double"), Column("1", "long"), Column("2", "string"))
_PARAMS: Final = {
    "factor": "10",
    "count": "3",
    "small": "-1",
    "word": '"a"',
    "flag": "true",
    "list": "[1,2.5]",
}

MODELS: Final[dict[str, Model]] = {
    model.name: model
    for model in (
        Model("lr", estimators.lr, _columns("double", *TEN), core=True),
        Model("forest", estimators.forest, _columns("double", *TEN), core=True),
        Model("regressor", estimators.forest_regressor, _columns("double", *TEN[:6]), core=True),
        Model("scaled", estimators.scaled, _columns("double", *TEN[:5]), core=True),
        Model("typed", estimators.typed, TYPED, core=True),
        Model("array", estimators.array, _columns("double", *"0123"), core=True, named=False),
        Model("mixed", _mixed, MIXED, core=True, params=_PARAMS),
        Model(
            "tensors", _tensors, (Column("pair", "pair"), Column("number", "integer")), core=True
        ),
        Model("nested", _echo(NESTED), NESTED, core=True),
        Model("bare", _bare, _columns("any", "a", "b", "c"), core=True),
        Model("moody", _moody, MOODY, core=True, fails=True, params={"factor": "0.5"}),
        Model("linear", estimators.linear, _columns("double", *TEN)),
        Model("labels", estimators.labels, _columns("double", *TEN[:4])),
        Model("names", estimators.odd_names, _columns("double", *NAMES)),
        Model("boosted", estimators.boosted, _columns("double", *TEN[:4])),
        Model("unnamed", _echo(UNNAMED, named=False), UNNAMED, named=False),
        Model("bare lr", estimators.bare_lr, _columns("double", *TEN[:3])),
        Model(
            "hints",
            _hints,
            (Column("age", "long"), Column("income", "double"), Column("city", "string", False)),
        ),
    )
}
"""By name, those of the short run first."""
