"""What is made only where a stack asks for it: KEDA and the sign-in in front of MLflow, which take
minutes to build, PostgreSQL's tools, and Istio's CNI plugin.

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

KEDA, SIGN_IN, POSTGRESQL, SIDECARS = "keda", "oauth2-proxy", "postgresql", "sidecars"
KEY = "requests_per_second"
# What is optional → the word that a stack which asks for it cannot leave out.
_WORDS = {KEDA: KEY, SIGN_IN: "sign_in", POSTGRESQL: "backups", SIDECARS: "sidecars"}
EVERYTHING = frozenset(_WORDS)


def keda(*, cluster: bool = True) -> bool:
    """Whether `wanted` has KEDA."""
    return KEDA in wanted(cluster=cluster)


def wanted(*, cluster: bool = True) -> frozenset[str]:
    """What the stack of the one-machine cluster needs of KEDA, SIGN_IN, POSTGRESQL and SIDECARS;
    with `cluster=False`, what any stack does: KEDA's chart alone, which those of clusters that
    exist use, costs next to nothing.

    `SLIPWAY_WITH_KEDA=1`, and OAUTH2_PROXY, POSTGRESQL and SIDECARS likewise, say yes for every
    stack.

    Raises:
        UserError: the environment, which reads the stack's file, could not be made.
    """
    told = {
        name
        for name in _WORDS
        if os.environ.get(f"SLIPWAY_WITH_{name.upper().replace('-', '_')}") == "1"
    }
    words = {word for name, word in _WORDS.items() if name not in told}
    files = sorted(PROJECT.glob("Pulumi.dev.yaml" if cluster else "Pulumi.*.yaml"))
    # Nearly every start ends here, without the environment.
    texts = {file: file.read_text(errors="replace") for file in files}
    asking = [file for file, text in texts.items() if any(word in text for word in words)]
    if not asking:
        return frozenset(told)
    if sys.prefix == str(venv.VENV):
        return frozenset(told.union(*map(wants, asking)))
    venv.ensure_venv()
    command = [str(venv.venv_python()), "-m", "local.optional", *map(str, asking)]
    # Lines of their own, beside whatever Python has to say.
    said = run(command, cwd=PROJECT).splitlines()
    return frozenset(told.union(name for name in _WORDS if name in said))


def wants(file: Path) -> set[str]:
    """What the stack file asks for."""
    found = _stored(file, "slipway:mlflow")
    asked = {KEDA} if wants_keda(file) else set()
    asked |= {SIDECARS} if wants_sidecars(file) else set()
    asked |= {SIGN_IN} if _of(found, _WORDS[SIGN_IN]) is not None else set()
    return asked | ({POSTGRESQL} if _of(found, _WORDS[POSTGRESQL]) is not None else set())


def wants_keda(file: Path) -> bool:
    """Whether a model of the stack file has `scaling.requests_per_second`.

    A file that cannot be read as one asks for nothing: Pulumi says what is wrong with it.
    """
    models = _stored(file, "slipway:models")
    if not isinstance(models, dict):
        return False
    return any(_of(_of(model, "scaling"), KEY) is not None for model in models.values())


def wants_sidecars(file: Path) -> bool:
    """Whether the stack file has `istio.sidecars: true`; a file that cannot be read has not."""
    return _of(_stored(file, "slipway:istio"), _WORDS[SIDECARS]) is True


def serves_https(file: Path) -> bool:
    """Whether the gateway of the stack file has `tls`; that of a file that cannot be read has
    not.
    """
    return bool(_of(_stored(file, "slipway:gateway"), "tls"))


def sign_in_host(file: Path) -> str:
    """MLflow's host at the gateway, of a stack file with a sign-in; "" for one without, and for a
    file that cannot be read.
    """
    host = _of(_of(_stored(file, "slipway:mlflow"), _WORDS[SIGN_IN]), "host")
    return host if isinstance(host, str) else ""


def _stored(file: Path, key: str) -> Any:
    import yaml

    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return as_object(_of(_of(found, "config"), key))


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
    asked = set().union(*(wants(Path(name)) for name in sys.argv[1:]))
    print("\n".join(sorted(asked) or ["no"]))
