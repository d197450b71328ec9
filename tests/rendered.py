"""Whole stacks as the recording mocks give them: what the policy pack and the scanners look at."""

from __future__ import annotations

import importlib
import json
import runpy
from typing import Any

import pytest
import yaml
from pulumi.runtime import config as runtime_config

from settings import SECRET_KEYS
from tests.conftest import CONTEXT, DIGEST, ROOT, SECRETS, Program, run

_REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
_IMAGES = ("alertmanager", "grafana", "kube_state_metrics", "prometheus", "versitygw")
_TWO = {"stable": 1, "canary": {"version": 2, "weight": 10}}
_SHADOW = {"version": 4, "percent": 50}
_BY_REQUESTS = {"max": 4, "requests_per_second": 10}

# With all that there is: a canary, a previous version, a shadow, floors of a rollout, all kinds of
# autoscalers, versions that may sleep, traces, receivers of alerts, Grafana.
EVERYTHING: dict[str, Any] = {
    "models": {
        "churn": _TWO | {"previous": 3, "shadow": _SHADOW, "scaling": {"min": 2, "max": 4}},
        "iris": _TWO | {"scaling": {"min": 2} | _BY_REQUESTS},
        "night": _TWO
        | {
            "shadow": _SHADOW,
            "scaling": {"min": 0, "cold_start": "90s"} | _BY_REQUESTS,
            "floors": {"2": 1},
        },
    },
    "demo": True,
    "tracing": {"endpoint": "http://collector.observability.svc:4318", "sample": 5},
    "alerts": {
        "receivers": {
            "hook": {"kind": "webhook"},
            "chat": {"kind": "slack", "channel": "#models"},
        },
        "default": "hook",
        "routes": [{"receiver": "chat", "severity": "critical"}],
    },
    "alertSecrets": {
        "hook": "https://hooks.example.org/of-the-tests",
        "chat": "https://hooks.slack.com/services/T0/B0/of-the-tests",
    },
    "grafana": {"enabled": True},
    "grafanaPassword": "of-the-tests",
}
# As one in production would be configured, so far as the project can.
PROD: dict[str, Any] = {
    "registry": _REGISTRY,
    "images": {name: f"{_REGISTRY}/{name}@{DIGEST}" for name in _IMAGES},
    "labels": {"slipway.dev/owner": "risk", "slipway.dev/cost-center": "4711"},
    "models": {"churn": _TWO},
    "gateway": {"service_type": "LoadBalancer", "allow_from": ["192.0.2.0/24"]},
}


def dev() -> dict[str, Any]:
    """The configuration of stack dev, as it stands in its file."""
    stored = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    return {
        key.partition(":")[2]: value if isinstance(value, str) else json.dumps(value)
        for key, value in stored.items()
        if key.startswith("slipway:")
    }


def offline(values: dict[str, Any], stack: str) -> Program:
    """What `__main__.py` registers as this stack, with something in the place of secrets and of
    files that are not there: neither is asked about, nor read.
    """
    # The package has a function of that name.
    tracking = importlib.import_module("components.tracking")
    signed = dict.fromkeys(("client_secret", "cookie_secret", "htpasswd"), "of no meaning")
    given = {"mlflowSignIn": signed, "mlflowDatabasePassword": "of no meaning", **values}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "checked", lambda *_: None)
        patch.setattr(tracking, "_text", lambda path: path and "of no meaning")
        return render(stack, **given)


def render(stack: str = "test", /, **configuration: Any) -> Program:
    """What `__main__.py` registers with these keys, beside those that it cannot do without."""
    import preflight

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(preflight, "check", lambda *_: None)
        # On AWS the stack makes its own.
        made = ("context", "registry") if configuration.get("aws") else ()
        needed = {key: value for key, value in CONTEXT.items() if key not in made}
        values = {**needed, **SECRETS, **configuration}
        stored = {
            f"slipway:{key}": value if isinstance(value, str) else json.dumps(value)
            for key, value in values.items()
        }
        secret = [f"slipway:{key}" for key in SECRET_KEYS if key in values]
        runtime_config.set_all_config(stored, secret)
        return run(
            lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"), stack=stack
        )
