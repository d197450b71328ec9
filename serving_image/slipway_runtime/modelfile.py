"""What a saved model says of itself: its ``MLmodel`` file, read without MLflow.

Source: MLflow's model format (``mlflow/models/model.py`` and ``mlflow/types/schema.py`` of 3.17).
Importing MLflow costs seconds and some 190 MB; a front worker needs only these few facts.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from slipway_runtime.training_profile import PROFILE_KEY

MLMODEL: Final = "MLmodel"
# The same safe one, ten times as fast where the C library is there.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class ModelFile:
    """The facts of one saved model.

    Attributes:
        flavors: the flavors' own settings by name, e.g. ``{"sklearn": {...}}``.
        inputs: the signature's inputs as stored: one object a column (``type``, ``name``,
            ``required``) or tensor (``type`` = ``tensor``, ``tensor-spec``); None without one.
        outputs: the signature's outputs, likewise.
        has_params: whether the signature has params.
        example: the path of an example request in MLflow's protocol, relative to the model's
            folder, or None.
        profile: the metadata's entry `PROFILE_KEY`, whatever it is, or None.
    """

    flavors: dict[str, dict[str, Any]]
    inputs: list[dict[str, Any]] | None
    outputs: list[dict[str, Any]] | None
    has_params: bool
    example: str | None
    profile: object = None

    @property
    def columns(self) -> list[tuple[str, str]] | None:
        """Name and type of each column, all of them required and named, or None."""
        if not self.inputs:
            return None
        found = []
        for entry in self.inputs:
            name, kind = entry.get("name"), entry.get("type")
            if not isinstance(name, str) or not isinstance(kind, str) or kind == "tensor":
                return None
            if not entry.get("required", True):
                return None
            found.append((name, kind))
        return found if len({name for name, _ in found}) == len(found) else None

    @property
    def matrix(self) -> tuple[str, int] | None:
        """Type and width of a signature that is one unnamed tensor of shape (-1, width)."""
        if self.inputs is None or len(self.inputs) != 1 or self.inputs[0].get("name"):
            return None
        tensor = self.inputs[0].get("tensor-spec")
        if not isinstance(tensor, dict):
            return None
        shape = tensor.get("shape")
        if not isinstance(shape, list) or len(shape) != 2 or shape[0] != -1 or shape[1] < 1:
            return None
        return str(tensor.get("dtype")), int(shape[1])


def read(path: Path) -> ModelFile:
    """Reads the ``MLmodel`` in the folder ``path``.

    Raises:
        OSError: there is none.
        ValueError: it is not a model's.
    """
    try:
        content: Any = yaml.load((path / MLMODEL).read_text(encoding="utf-8"), _LOADER)  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(f"{MLMODEL} is not valid YAML") from error
    if not isinstance(content, dict) or not isinstance(content.get("flavors"), dict):
        raise ValueError(f"{MLMODEL} has no flavors")
    signature = content.get("signature") or {}
    metadata = content.get("metadata")
    info = content.get("saved_input_example_info") or {}
    return ModelFile(
        flavors={name: flavor or {} for name, flavor in content["flavors"].items()},
        inputs=_schema(signature.get("inputs")),
        outputs=_schema(signature.get("outputs")),
        has_params=bool(_schema(signature.get("params"))),
        example=info.get("serving_input_path"),
        profile=metadata.get(PROFILE_KEY) if isinstance(metadata, dict) else None,
    )


def _schema(text: object) -> list[dict[str, Any]] | None:
    if not isinstance(text, str) or not text:
        return None
    parsed = json.loads(text)
    return parsed if isinstance(parsed, list) else None
