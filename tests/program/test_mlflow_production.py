"""MLflow in production as the whole program registers it: PostgreSQL, backups, a sign-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import MlflowServer, MlflowServerArgs
from components.manifests import mlflow_sign_in
from components.manifests.mlflow_backup import LOAD
from settings.mlflow import Mlflow
from settings.types import duration_seconds
from tests.conftest import CONTEXT, Program, run
from tests.e2e.production_parts import Authority

Deploy = Callable[..., Program]
HASH = "$2b$10$" + "a" * 53
PASSWORD = "the password of the tests"  # noqa: S105


@pytest.fixture(scope="module")
def authority() -> str:
    return Authority("of the tests").pem


@pytest.fixture
def production(tmp_path: Path, authority: str) -> dict[str, Any]:
    """The configuration: a PostgreSQL, two servers, backups, a list of names."""
    file = tmp_path / "ca.pem"
    file.write_text(authority)
    return {
        "mlflow": {
            "url": "https://mlflow.example.com",
            "replicas": 2,
            "database": {"host": "db.example.com", "ca": str(file), "networks": ["192.0.2.0/24"]},
            "backups": {"keep": 3},
            "sign_in": {"host": "mlflow.example.com", "basic": True},
        },
        "mlflowDatabasePassword": PASSWORD,
        "mlflowSignIn": {"cookie_secret": "0" * 32, "htpasswd": f"ada:{HASH}"},
    }


def test_without_any_of_it_there_is_nothing_of_it(deploy: Deploy) -> None:
    found = deploy()
    assert not found.of("GivenDatabase") + found.of("MlflowSignIn") + found.of("CronJob")
    server = found.one("Deployment", "mlflow-deployment").inputs["spec"]
    assert server["strategy"] == {"type": "Recreate"}
    # One writer: the next server waits for this one, so none may linger.
    pod = server["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 30
    assert "lifecycle" not in pod["containers"][0]
    command = pod["containers"][0]["command"]
    assert "sqlite:////data/mlflow.db" in command
    assert command[command.index("--artifacts-destination") + 1] == "s3://slipway-artifacts"
    assert found.one("NetworkPolicy", "mlflow-policy").inputs["spec"]["policyTypes"] == ["Ingress"]


def test_with_a_postgresql(deploy: Deploy, production: dict[str, Any]) -> None:
    found = deploy(**production)
    assert not [each for each in found.of("PersistentVolumeClaim") if each.name == "mlflow-volume"]
    deployment = found.one("Deployment", "mlflow-deployment")
    spec = deployment.inputs["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (2, "RollingUpdate")
    assert found.one("PodDisruptionBudget", "mlflow-disruption-budget")
    job = found.one("Job", "mlflow-database-migration")
    assert job.replace_on_changes == ("spec",)
    # The Job's own bound comes first, so its words are what fails the update.
    longest = duration_seconds(job.timeouts[0])
    assert 3600 <= job.inputs["spec"]["activeDeadlineSeconds"] < longest
    assert job.name in deployment.depends_on, "a server could start before the schema is there"
    pod = spec["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 60
    (server,) = pod["containers"]
    assert server["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    command = server["command"]
    store = command[command.index("--backend-store-uri") + 1]
    assert store.startswith("postgresql+psycopg://mlflow@db.example.com:5432/mlflow?")
    assert command[command.index("--artifacts-destination") + 1] == "s3://slipway-artifacts/mlflow"
    rules = found.one("NetworkPolicy", "mlflow-policy").inputs["spec"]
    assert rules["policyTypes"] == ["Ingress", "Egress"]
    (to_database,) = [
        rule for rule in rules["egress"] if {"protocol": "TCP", "port": 5432} in rule["ports"]
    ]
    assert to_database["to"] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}]


def test_the_password_is_in_one_secret_and_nowhere_else(
    deploy: Deploy, production: dict[str, Any]
) -> None:
    found = deploy(**production)
    holders = [
        each.name
        for each in found.resources.values()
        if PASSWORD in json.dumps(each.inputs, default=str)
    ]
    assert holders == ["mlflow-database-password"]
    secret = found.one("Secret", "mlflow-database-password")
    assert secret.secret
    # Another password changes no pod.
    other = deploy(**production | {"mlflowDatabasePassword": "another one"})
    for kind, name in (("Deployment", "mlflow-deployment"), ("Job", "mlflow-database-migration")):
        assert other.one(kind, name).inputs == found.one(kind, name).inputs
    for each in (
        found.one("Deployment", "mlflow-deployment"),
        found.one("CronJob", "mlflow-backups-backup"),
    ):
        assert "mlflow-database-password" not in each.depends_on


def test_the_sign_in_is_of_its_host_alone(deploy: Deploy, production: dict[str, Any]) -> None:
    found = deploy(**production)
    (route,) = [each for each in found.of("VirtualService") if each.name.startswith("mlflow")]
    assert route.inputs["spec"]["hosts"] == ["mlflow.example.com"]
    # A download may take as long as it likes.
    # None is endless; 0s is refused by Istio's definition.
    assert [each.get("timeout") for each in route.inputs["spec"]["http"]] == [None]
    assert found.one("Service", "mlflow-service").inputs["spec"]["type"] == "ClusterIP"
    config = found.one("ConfigMap", "mlflow-sign-in-config").inputs["data"]["oauth2-proxy.cfg"]
    assert 'upstreams = ["http://mlflow.mlflow.svc.cluster.local:5000"]' in config
    assert "cookie_secure = true" in config
    # A sidecar finds the Service by its name alone, so MLflow must answer to that too.
    assert "pass_host_header = false" in config.splitlines()
    server = found.one("Deployment", "mlflow-deployment").inputs["spec"]["template"]["spec"]
    command = server["containers"][0]["command"]
    hosts = command[command.index("--allowed-hosts") + 1].split(",")
    assert "mlflow.mlflow.svc.cluster.local:5000" in hosts
    assert command[command.index("--cors-allowed-origins") + 1] == "https://mlflow.example.com"
    text = json.dumps([each.inputs for each in found.resources.values() if each.kind != "Secret"])
    assert HASH not in text
    assert "0" * 32 not in text.replace("sha256:" + "0" * 64, "")


def test_another_list_signs_everybody_out(deploy: Deploy, production: dict[str, Any]) -> None:
    """A cookie says who signed in, and not whether the list still has them. The Secret's name is
    another for another list.
    """
    settings = Mlflow.model_validate(production["mlflow"])
    one, same, other = (
        mlflow_sign_in.files(settings, "http://mlflow", name)["oauth2-proxy.cfg"]
        for name in ("secrets-1", "secrets-1", "secrets-2")
    )
    assert one == same
    assert [line for line in one.splitlines() if line not in other.splitlines()] == [
        line for line in one.splitlines() if line.startswith("cookie_name = ")
    ]
    config = deploy(**production).one("ConfigMap", "mlflow-sign-in-config")
    assert ("Secret", "mlflow-sign-in-secrets") in [
        (kind.rpartition(":")[2], name) for kind, name in config.sources["data"]
    ]
    assert not config.secret, "nothing in it is, so a preview may show it"


def test_an_issuer(deploy: Deploy, production: dict[str, Any]) -> None:
    issuer = {
        "issuer": "https://login.example.com:8443/realms/people",
        "client_id": "mlflow",
        "emails": ["ada@example.org", "@example.com"],
        "groups": ["risk"],
    }
    production["mlflow"]["sign_in"] = {"host": "mlflow.example.com", "oidc": issuer}
    production["mlflowSignIn"] = {"cookie_secret": "0" * 32, "client_secret": "of the tests"}
    found = deploy(**production)
    data = found.one("ConfigMap", "mlflow-sign-in-config").inputs["data"]
    assert data["emails"] == "ada@example.org\n"
    for line in (
        'email_domains = ["example.com"]',
        'allowed_groups = ["risk"]',
        "skip_jwt_bearer_tokens = true",
        'code_challenge_method = "S256"',
        'cookie_refresh = "1h"',
        # What the gateway says of the client; it takes away what a client says of itself.
        'real_client_ip_header = "X-Envoy-External-Address"',
    ):
        assert line in data["oauth2-proxy.cfg"].splitlines()
    out = found.one("NetworkPolicy", "mlflow-sign-in-policy").inputs["spec"]["egress"]
    assert [{"protocol": "TCP", "port": 8443}] in [rule["ports"] for rule in out]


def test_backups_run_by_themselves_and_restores_do_not(
    deploy: Deploy, production: dict[str, Any]
) -> None:
    found = deploy(**production)
    backup = found.one("CronJob", "mlflow-backups-backup").inputs["spec"]
    restore = found.one("CronJob", "mlflow-backups-restore").inputs["spec"]
    assert "suspend" not in backup
    assert restore["suspend"] is True
    steps = restore["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]
    assert steps[-1]["command"] == ["sh", "-c", LOAD]
    bucket = found.one("NetworkPolicy", "artifacts-policy").inputs["spec"]
    peers = [peer["podSelector"]["matchLabels"] for peer in bucket["ingress"][0]["from"]]
    labels = backup["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert any(set(peer.items()) <= set(labels.items()) for peer in peers)


def test_faults_come_before_anything_is_registered(
    deploy: Deploy, production: dict[str, Any]
) -> None:
    production["mlflowSignIn"] = {"cookie_secret": "0" * 32}
    production["mlflow"]["database"]["ca"] = "nowhere.pem"
    into = Program()
    with pytest.raises(Exception, match="mlflowSignIn.htpasswd: is not set") as caught:
        deploy(into, **production)
    assert 'slipway:mlflow.database.ca: "nowhere.pem" cannot be read' in str(caught.value)
    assert not into.of("MlflowServer")


def test_in_a_mesh_the_gateway_alone_asks_the_sign_in(
    deploy: Callable[..., Program], production: dict[str, Any]
) -> None:
    """Its pods and those of backups find istiod; the migration, which needs no mesh, has none."""
    sidecars = {"istio": CONTEXT["istio"] | {"sidecars": True}}
    found = deploy(**production, **sidecars)
    policy = found.one("AuthorizationPolicy", "mlflow-sign-in-callers").inputs["spec"]
    (rule,) = policy["rules"]
    (source,) = rule["from"]
    assert source["source"]["principals"] == ["cluster.local/ns/istio-ingress/sa/istio-ingress"]
    assert policy["selector"]["matchLabels"]["app.kubernetes.io/name"] == "mlflow-sign-in"
    for name in ("mlflow-sign-in-policy", "mlflow-backups-policy"):
        (spec,) = (each.inputs["spec"] for each in found.of("NetworkPolicy") if each.name == name)
        ports = [port["port"] for rule in spec["egress"] for port in rule.get("ports", [])]
        assert 15012 in ports, name
    job = found.one("Job", "mlflow-database-migration").inputs["spec"]["template"]["metadata"]
    assert job["labels"]["sidecar.istio.io/inject"] == "false"
    pods = found.one("Deployment", "mlflow-sign-in-deployment").inputs["spec"]["template"]
    assert pods["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"


@dataclass(frozen=True)
class OnAws:
    """A bucket and a database as those of AWS are, in one."""

    bucket: pulumi.Output[str]
    host: pulumi.Output[str]
    secret_arn: pulumi.Output[str]
    destination: str = "s3://ours/mlflow"
    region: str = "eu-central-1"
    endpoint: None = None
    credentials: None = None
    port: int = 5432
    name: str = "mlflow"
    user: str = "mlflow"
    secret: None = None


def test_on_aws_keys_and_passwords_are_the_service_account_s(authority: str) -> None:
    def program() -> None:
        given = [pulumi.Output.from_input(it) for it in ("ours", "db.internal", "arn:secret")]
        aws = OnAws(*given)
        settings = Mlflow.model_validate({"database": {"ca": "ca.pem"}, "replicas": 2})
        args = MlflowServerArgs(
            "mlflow", "image", aws, exposure=settings, database=aws, authorities=authority
        )
        MlflowServer("mlflow", args)

    found = run(program)
    assert not found.of("Secret")
    pod = found.one("Deployment", "mlflow-deployment").inputs["spec"]["template"]["spec"]
    (login,), (server,) = pod["initContainers"], pod["containers"]
    told = {each["name"]: each.get("value") for each in login["env"]}
    assert (told["DATABASE_SECRET_ARN"], told["AWS_REGION"]) == ("arn:secret", "eu-central-1")
    assert told["PGSSLMODE"] == "verify-full"
    assert "DATABASE_PASSWORD_FILE" not in told
    assert "envFrom" not in server
    own = {each["name"]: each.get("value") for each in server["env"]}
    assert "MLFLOW_S3_ENDPOINT_URL" not in own
    assert own["AWS_DEFAULT_REGION"] == "eu-central-1"
    command = server["command"]
    assert command[command.index("--artifacts-destination") + 1] == "s3://ours/mlflow"
    assert pod["serviceAccountName"] == "mlflow"
    out = found.one("NetworkPolicy", "mlflow-policy").inputs["spec"]["egress"]
    assert [rule["ports"][0]["port"] for rule in out] == [53, 5432, 443, 80]
    assert all("except" in peer["ipBlock"] for peer in out[2]["to"]), "the node's own credentials"
