"""A stack on AWS: the tools that it needs, and the environment in which its commands run.

Standard library alone: whether a stack is one is asked before anything is installed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from local.console import UserError
from local.instance import PROJECT, state_root


def is_on_aws(stack: str, directory: Path = PROJECT) -> bool:
    """Whether the stack's file says `slipway:aws`. Raises UserError where there is no such file."""
    path = directory / f"Pulumi.{stack}.yaml"
    try:
        text = path.read_text()
    except OSError:
        raise UserError(
            f"STACK: {stack}: there is no {path.name}; make the stack first: pulumi stack init "
            f"{stack} --no-select --copy-config-from prod"
        ) from None
    return re.search(r"""^\s*["']?slipway:aws["']?\s*:""", text, re.MULTILINE) is not None


def environment(tools: dict[str, str]) -> dict[str, str | None]:
    """Variable -> value, None for one to unset, out of `tools`, those of every stack.

    Pulumi's state, secrets and the account are the user's own; only Pulumi's plugin for AWS is not
    built here, so Pulumi gets it itself.
    """
    ours = ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE")
    found: dict[str, str | None] = {
        name: value
        for name, value in tools.items()
        if name not in (*ours, "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION")
    }
    # What `eval "$(make env)"` of a one-machine cluster has set in this shell.
    for name in (*ours, "KUBECONFIG", "DOCKER_CONFIG"):
        value = os.environ.get(name, "").removeprefix("file://")
        if value.startswith(f"{state_root()}/"):
            found[name] = None
    if os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http://127.0.0.1:"):
        found["MLFLOW_TRACKING_URI"] = None
    return found | {"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": None}
