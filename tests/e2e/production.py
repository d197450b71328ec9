"""An instance as in production: sidecars, mutual TLS, HTTPS at the gateway, and MLflow on a
PostgreSQL behind a sign-in. What AWS would bring is replaced at the seams.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e import harness
from tests.e2e import production_parts as parts
from tests.e2e.harness import Done, Walk, ready, until

NAME = "prod"
PORTS = {key: port + 10000 for key, port in harness.PORTS.items()}
HOME = Path("/var/tmp/slipway-e2e-prod")  # noqa: S108  as that of the other instance
GATEWAY = f"https://127.0.0.1:{PORTS['gateway']}"
PROMETHEUS = f"http://127.0.0.1:{PORTS['prometheus']}"
CHURN = f"{GATEWAY}/models/churn/invocations"
HOST = "mlflow.example.test"
MLFLOW = f"https://{HOST}:{PORTS['gateway']}"
PERSON, PASSWORD = "ada", "of the tests: 1"  # noqa: S105
# bcrypt, of cost 10: htpasswd -nbBC 10 ada 'of the tests: 1'
HASHED = "$2b$10$UgnGFK46KbBkA37oZbGLye9APV2kVwd9lg/UQh1LpcPDoREJM8BqW"
OF_THE_DATABASE = "first:of\\the tests"
# Beside the configuration of `dev`: what an object has there already stays, but for None.
CONFIGURATION: dict[str, dict[str, Any]] = {
    "istio": {"sidecars": True},
    "gateway": {"tls": {"certificate": "mesh", "redirect": True}},
    "mlflow": {
        **dict.fromkeys(("service_type", "node_port", "allow_from")),
        "replicas": 2,
        "database": {"host": parts.POSTGRES, "ca": "database-ca.pem"},
        "backups": {},
        "sign_in": {"host": HOST, "basic": True},
    },
}


class Production(Walk):
    """The instance, its commands, and how it and its MLflow are reached.

    refused: what the first `up` said, which lacked the secrets.
    """

    refused: Done

    def __init__(self) -> None:
        super().__init__(HOME, NAME, PORTS)

    def configure(self, more: dict[str, dict[str, Any]]) -> None:
        """Write these sections into the stack's file, each over what it has there; None removes
        a key.
        """
        found = yaml.safe_load(self.stack_file.read_text())
        config = found["config"]
        for section, keys in more.items():
            merged = config.get(f"slipway:{section}", {}) | keys
            config[f"slipway:{section}"] = {
                key: value for key, value in merged.items() if value is not None
            }
        self.stack_file.write_text(yaml.safe_dump(found, sort_keys=False))

    def bound(self, model: str, replicas: int) -> None:
        """Have each version of a model scale to so many replicas at most."""
        found = yaml.safe_load(self.stack_file.read_text())
        found["config"]["slipway:models"][model]["scaling"]["max"] = replicas
        self.stack_file.write_text(yaml.safe_dump(found, sort_keys=False))

    def secret(self, key: str, value: str) -> None:
        """Set a secret of the stack."""
        self.pulumi("config", "set", "--secret", "--path", f"slipway:{key}", value)

    def load(self, **fields: Any) -> harness.Load:
        """Steady requests to churn, through HTTPS with a certificate that names no host."""
        return harness.Load(CHURN, verify=False, **fields)

    def ask(self, path: str, host: str = HOST, **more: Any) -> httpx.Response:
        """What the gateway answers for a host."""
        headers = {"host": f"{host}:{PORTS['gateway']}", **more.pop("headers", {})}
        auth, method = more.pop("auth", None), more.pop("method", "GET")
        with httpx.Client(timeout=30, trust_env=False, verify=False, auth=auth) as client:  # noqa: S501
            return client.request(method, GATEWAY + path, headers=headers, **more)

    def trackers(self) -> dict[str, dict[str, Any]]:
        """MLflow's two pods by name, without those that are going, once both are ready."""

        def two() -> dict[str, dict[str, Any]] | None:
            found = {
                each["metadata"]["name"]: each
                for each in self.objects("pods", "mlflow", "app.kubernetes.io/name=mlflow")
                if "deletionTimestamp" not in each["metadata"]
            }
            return found if len(found) == 2 and all(map(ready, found.values())) else None

        return until("two servers of MLflow", two, 120)

    def job(self, name: str, origin: str) -> str:
        """The log of a Job made of a CronJob, once it has ended well."""
        self.kubectl("create", "job", name, f"--from=cronjob/{origin}", "-n", "mlflow")
        self.ended(name)
        log = self.kubectl("logs", "-n", "mlflow", f"job/{name}", "--all-containers").text
        self.kubectl("delete", "job", name, "-n", "mlflow")
        return log

    def ended(self, name: str) -> None:
        """Wait until a Job of MLflow's namespace has ended well; fail with its log if not so."""

        def complete() -> bool:
            (job,) = [
                each for each in self.objects("jobs", "mlflow") if each["metadata"]["name"] == name
            ]
            states = {
                each["type"]
                for each in job["status"].get("conditions", [])
                if each["status"] == "True"
            }
            log = ("logs", "-n", "mlflow", f"job/{name}", "--all-containers")
            assert "Failed" not in states, self.kubectl(*log, check=False).text
            return "Complete" in states

        until(f"job {name}", complete, 150, 1)


def running(keep: bool) -> Iterator[Production]:
    """The instance with its stack deployed; removed at the end, unless `keep`, which takes up one
    that runs.
    """
    production = Production()
    production.claim()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if keep and production.state.exists():
            production.up = production.local("up", seconds=600)
            production.enter()
        else:
            production.remove()
            production.copy()
            _deploy(production)
        yield production
    finally:
        if not keep:
            production.remove()
            production.home.rmdir()


def _deploy(production: Production) -> None:
    """As a person would: the configuration, `up`, what that says is missing, and `up` again."""
    authority = parts.Authority("of the tests")
    production.configure(CONFIGURATION)
    # With a sidecar each, three servers of both versions leave no room on the node for a roll.
    production.bound("churn", 2)
    (production.project / "database-ca.pem").write_text(authority.pem)
    production.local("tools", seconds=600)
    production.refused = production.local("up", check=False, seconds=400)
    production.enter()
    parts.postgres(production, authority, OF_THE_DATABASE)
    production.secret("mlflowSignIn.cookie_secret", os.urandom(16).hex())
    production.secret("mlflowSignIn.htpasswd", f"{PERSON}:{HASHED}")
    production.secret("mlflowDatabasePassword", OF_THE_DATABASE)
    production.up = production.local("up", check=False, seconds=600)
    if production.up.code:
        pytest.fail(
            f"up failed with status {production.up.code}:\n{harness.tail(production.up.text)}\n"
            f"{production.diagnosis()}",
            pytrace=False,
        )
