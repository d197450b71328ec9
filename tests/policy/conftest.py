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
    """A stack with all that there is: a canary, a previous version, a shadow, floors of a rollout,
    all kinds of autoscalers, versions that may sleep, traces, receivers of alerts, Grafana.
    """
    two = {"stable": 1, "canary": {"version": 2, "weight": 10}}
    shadow = {"version": 4, "percent": 50}
    by_requests = {"max": 4, "requests_per_second": 10}
    return render(
        models={
            "churn": two | {"previous": 3, "shadow": shadow, "scaling": {"min": 2, "max": 4}},
            "iris": two | {"scaling": {"min": 2} | by_requests},
            "night": two
            | {
                "shadow": shadow,
                "scaling": {"min": 0, "cold_start": "90s"} | by_requests,
                "floors": {"2": 1},
            },
        },
        demo=True,
        tracing={"endpoint": "http://collector.observability.svc:4318", "sample": 5},
        alerts={
            "receivers": {
                "hook": {"kind": "webhook"},
                "chat": {"kind": "slack", "channel": "#models"},
            },
            "default": "hook",
            "routes": [{"receiver": "chat", "severity": "critical"}],
        },
        alertSecrets={
            "hook": "https://hooks.example.org/of-the-tests",
            "chat": "https://hooks.slack.com/services/T0/B0/of-the-tests",
        },
        grafana={"enabled": True},
        grafanaPassword="of-the-tests",
    )


def in_production(**configuration: Any) -> stacks.Stack:
    """A stack as one in production would be configured, so far as the project can."""
    registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    images = ("alertmanager", "grafana", "kube_state_metrics", "prometheus", "versitygw")
    return render(
        registry=registry,
        images={name: f"{registry}/{name}@{DIGEST}" for name in images},
        labels={"slipway.dev/owner": "risk", "slipway.dev/cost-center": "4711"},
        gateway={"service_type": "LoadBalancer", "allow_from": ["192.0.2.0/24"]},
        **configuration,
    )


@pytest.fixture(scope="session")
def prod() -> stacks.Stack:
    """A model with a canary, in production."""
    return in_production(models={"churn": {"stable": 1, "canary": {"version": 2, "weight": 10}}})


@pytest.fixture(scope="session")
def asleep() -> stacks.Stack:
    """A model in production that may sleep."""
    scaling = {"min": 0, "requests_per_second": 10}
    return in_production(models={"night": {"stable": 1, "scaling": scaling}})
