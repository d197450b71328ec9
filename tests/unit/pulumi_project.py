"""A project without providers, for Pulumi itself to run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from local import toolkit


def make(home: Path, program: str, patch: pytest.MonkeyPatch) -> Path:
    """The directory of a project in `home` with an initialised stack `dev`. While `patch` holds,
    the environment leads to it and to nobody's own stacks.
    """
    folder, state = home / "project", home / "state"
    folder.mkdir()
    state.mkdir()
    runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
    text = yaml.safe_dump({"name": "slipway", "runtime": runtime, "main": "."})
    (folder / "Pulumi.yaml").write_text(text)
    (folder / "__main__.py").write_text(program)
    for key in [key for key in os.environ if key.startswith("PULUMI_")]:
        patch.delenv(key)
    patch.setenv("PATH", f"{toolkit.LINKS / 'bin'}{os.pathsep}{os.environ['PATH']}")
    patch.setenv("PULUMI_HOME", str(home / "home"))
    patch.setenv("PULUMI_BACKEND_URL", f"file://{state}")
    patch.setenv("PULUMI_CONFIG_PASSPHRASE", "x")
    patch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")
    command = ["pulumi", "--non-interactive", "stack", "init", "dev"]
    subprocess.run(command, cwd=folder, check=True)
    return folder
