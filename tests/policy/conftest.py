"""The project's own stacks, rendered once."""

from __future__ import annotations

import json
import runpy
from typing import Any

import pytest
from pulumi.runtime import config as runtime_config

from settings import SECRET_KEYS
from tests.conftest import CONTEXT, DIGEST, ROOT, SECRETS, run
from tests.policy import stacks


def render(**configuration: Any) -> stacks.Stack:
    """What `__main__.py` registers with these keys, beside those that it cannot do without."""
    import preflight

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(preflight, "check", lambda *_: None)
        values = {**CONTEXT, **SECRETS, **configuration}
        stored = {
            f"slipway:{key}": value if isinstance(value, str) else json.dumps(value)
            for key, value in values.items()
        }
        secret = [f"slipway:{key}" for key in SECRET_KEYS if key in values]
        runtime_config.set_all_config(stored, secret)
        return stacks.of_program(
            run(lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"))
        )


@pytest.fixture(scope="session")
def dev() -> stacks.Stack:
    """Stack dev as its file has it."""
    return render(**stacks.dev_configuration())


@pytest.fixture(scope="session")
def everything() -> stacks.Stack:
    """A stack with all that there is: a canary, a previous version, a shadow, both autoscalers,
    Grafana.
    """
    versions = {"stable": 1, "canary": {"version": 2, "weight": 10}, "previous": 3}
    both = versions | {"shadow": {"version": 4, "percent": 50}}
    return render(
        models={
            "churn": both | {"scaling": {"min": 2, "max": 4}},
            "iris": versions | {"scaling": {"min": 2, "max": 4, "requests_per_second": 10}},
        },
        demo=True,
        grafana={"enabled": True},
        grafanaPassword="of-the-tests",
    )


@pytest.fixture(scope="session")
def prod() -> stacks.Stack:
    """A stack as one in production would be configured, so far as the project can."""
    registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    images = ("alertmanager", "grafana", "kube_state_metrics", "prometheus", "versitygw")
    return render(
        registry=registry,
        images={name: f"{registry}/{name}@{DIGEST}" for name in images},
        labels={"slipway.dev/owner": "risk", "slipway.dev/cost-center": "4711"},
        models={"churn": {"stable": 1, "canary": {"version": 2, "weight": 10}}},
        gateway={"service_type": "LoadBalancer", "allow_from": ["192.0.2.0/24"]},
    )
