"""The stack of Pulumi.prod.yaml as the recording mocks give it."""

from __future__ import annotations

import atexit
import copy
import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests import rendered
from tests.conftest import DIGEST, ROOT, Program
from tests.e2e.production_parts import Authority

SECRETS = {"mlflowSignIn": {"htpasswd": "ada:$2y$12$" + "a" * 53, "cookie_secret": "c" * 32}}
MIRROR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway-prod"
IMAGES = (
    "alertmanager",
    "dcgm_exporter",
    "device_plugin",
    "grafana",
    "kube_state_metrics",
    "mig_parted",
    "oauth2_proxy",
    "prometheus",
)


def configuration() -> dict[str, Any]:
    """What Pulumi.prod.yaml says, without `slipway:`, its images by digest, as `make pins` writes
    them, and a file of authorities that is there; a copy, to be changed.
    """
    stored = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())["config"]
    found = {
        key.partition(":")[2]: value for key, value in stored.items() if key.startswith("slipway:")
    }
    found["images"] = {name: f"{MIRROR}/quay/{name}@{DIGEST}" for name in IMAGES}
    made = copy.deepcopy(found)
    made["mlflow"]["database"]["ca"] = authorities()
    return made


@functools.cache
def authorities() -> str:
    """The path of a file like that of RDS' authorities, which is yours to fetch; it goes with the
    process.
    """
    directory = tempfile.TemporaryDirectory(prefix="slipway-authorities-")
    atexit.register(directory.cleanup)
    file = Path(directory.name) / "rds-ca.pem"
    file.write_text(Authority("of the tests").pem)
    return str(file)


def render(values: Mapping[str, Any], stack: str = "prod", **secrets: Any) -> Program:
    """What `__main__.py` registers with these values, as stack `stack`. secrets: others than
    SECRETS.
    """
    return rendered.render(stack, **{**values, **SECRETS, **secrets})
