"""What the stacks render, as files that scanners read. No cluster, no engine, no login."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests import rendered


@dataclass(frozen=True)
class Rendered:
    """A stack's objects in a file of `directory`, and how many charts Helm will render later."""

    stack: str
    directory: Path
    objects: tuple[dict[str, Any], ...]
    charts: int

    @property
    def file(self) -> Path:
        return self.directory / "objects.yaml"

    def subjects(self, *kinds: str) -> set[str]:
        """The objects of these kinds."""
        return {subject(it) for it in self.objects if it["kind"] in kinds}


def stacks() -> dict[str, dict[str, Any]]:
    """Stack -> its configuration: dev as it stands, one as in production, and everything on."""
    return {"dev": rendered.dev(), "prod": rendered.PROD, "everything": rendered.EVERYTHING}


def write(stack: str, configuration: dict[str, Any], directory: Path) -> Rendered:
    """Render a stack and write its Kubernetes objects as YAML."""
    objects, charts = [], 0
    for each in rendered.render(**configuration).resources.values():
        if each.kind == "Release":
            charts += 1
        elif each.type.startswith("kubernetes:"):
            found = _whole(each.inputs)
            # A name that Pulumi makes up.
            found.setdefault("metadata", {}).setdefault("name", f"{each.name}-1a2b3c4d")
            objects.append(found)
    directory.mkdir(parents=True)
    result = Rendered(stack, directory, tuple(objects), charts)
    result.file.write_text(yaml.safe_dump_all(objects, sort_keys=False))
    return result


def subject(manifest: dict[str, Any]) -> str:
    """`Deployment/mlflow/mlflow`; without a namespace where the object has none."""
    metadata = manifest["metadata"]
    names = (manifest["kind"], metadata.get("namespace"), metadata["name"])
    return "/".join(filter(None, names))


def _whole(value: Any) -> Any:
    """Whole numbers as such: the engine's protocol has floats alone, and a port is none."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
