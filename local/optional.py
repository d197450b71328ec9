"""What is made only where a stack asks for it: KEDA, which takes minutes to build.

Standard library alone to import, like all that runs before the environment exists.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from local import venv
from local.instance import PROJECT
from local.toolkit import run

KEY = "requests_per_second"


def keda(*, cluster: bool = True) -> bool:
    """Whether the stack of the one-machine cluster needs KEDA; with `cluster=False`, whether any
    stack does: the chart alone, which those of clusters that exist use, costs next to nothing.

    `SLIPWAY_WITH_KEDA=1` says yes for every stack.

    Raises:
        UserError: the environment, which reads the stack's file, could not be made.
    """
    if os.environ.get("SLIPWAY_WITH_KEDA") == "1":
        return True
    files = sorted(PROJECT.glob("Pulumi.dev.yaml" if cluster else "Pulumi.*.yaml"))
    # Nearly every start ends here, without the environment.
    asking = [file for file in files if KEY in file.read_text(errors="replace")]
    if not asking:
        return False
    if sys.prefix == str(venv.VENV):
        return any(map(wants_keda, asking))
    venv.ensure_venv()
    command = [str(venv.venv_python()), "-m", "local.optional", *map(str, asking)]
    # A line of its own, beside whatever Python has to say.
    return "keda" in run(command, cwd=PROJECT).splitlines()


def wants_keda(file: Path) -> bool:
    """Whether a model of the stack file has `scaling.requests_per_second`.

    A file that cannot be read as one asks for nothing: Pulumi says what is wrong with it.
    """
    import yaml

    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return False
    models = as_object(_of(_of(found, "config"), "slipway:models"))
    if not isinstance(models, dict):
        return False
    return any(_of(_of(model, "scaling"), KEY) is not None for model in models.values())


def as_object(stored: Any) -> Any:
    """The object that a value of a stack file is, where it is one in JSON, as `pulumi config set`
    stores it; else the value as it is.
    """
    if isinstance(stored, str):
        try:
            found = json.loads(stored)
        except ValueError:
            return stored
        if isinstance(found, dict):
            return found
    return stored


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


if __name__ == "__main__":
    print("keda" if any(wants_keda(Path(name)) for name in sys.argv[1:]) else "no")
