"""A model server that reads its artifacts from a bucket, and one that does not."""

from __future__ import annotations

import ipaddress
from typing import Any

from components.manifests import istio, model_server, network
from components.manifests.model_server import Artifacts, Server
from engine.resource import Resource
from rules import model_server_egress
from settings.model import Resources
from settings.scaling import Scaling

STORE = Artifacts("s3://slipway-prod-artifacts-123456789012/mlflow", "eu-central-1")
TRACKING = network.pods({"app": "mlflow"}, "mlflow")


def server(artifacts: Artifacts | None) -> Server:
    return Server("churn", 2, Resources(), Scaling(), artifacts=artifacts)


def deployment(artifacts: Artifacts | None) -> dict[str, Any]:
    return model_server.deployment(server(artifacts), "image", "http://mlflow:5000")


def policy(artifacts: Artifacts | None) -> dict[str, Any]:
    return model_server.network_policy(server(artifacts), [istio.gateways()], TRACKING, 5000)


def test_the_fetch_reads_the_bucket_and_asks_mlflow_which() -> None:
    (fetch,) = deployment(STORE)["template"]["spec"]["initContainers"]
    assert fetch["command"][-2:] == ["--from-bucket", STORE.destination]
    told = {each["name"]: each["value"] for each in fetch["env"]}
    assert told["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert told["AWS_REGION"] == told["AWS_DEFAULT_REGION"] == "eu-central-1"
    assert not any("KEY" in name or "TOKEN" in name for name in told)


def test_the_models_own_code_gets_no_credentials() -> None:
    template = deployment(STORE)["template"]
    skipped = template["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"]
    assert [each["name"] for each in template["spec"]["containers"]] == [skipped]
    before = deployment(None)["template"]["spec"]["containers"]
    assert template["spec"]["containers"] == before


def test_without_a_bucket_nothing_of_it_is_there() -> None:
    assert "aws" not in str(deployment(None)).lower()
    assert [rule.get("to") for rule in policy(None)["egress"]] == [None, [TRACKING]]


def test_the_way_out_is_the_internet_and_the_agent() -> None:
    *_, internet, agent = policy(STORE)["egress"]
    (peer,) = internet["to"]
    shut = [ipaddress.ip_network(each) for each in peer["ipBlock"]["except"]]
    assert internet["ports"] == [{"protocol": "TCP", "port": 443}]
    assert agent == {
        "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}],
        "ports": [{"protocol": "TCP", "port": 80}],
    }
    for inside in ("10.0.0.1", "172.20.0.1", "100.64.0.1", "169.254.169.254", "192.168.1.1"):
        assert any(ipaddress.ip_address(inside) in each for each in shut), inside
    # Of S3: a gateway endpoint leaves the addresses as they are.
    assert not any(ipaddress.ip_address("52.219.170.1") in each for each in shut)
    assert policy(STORE)["egress"][:-2] == policy(None)["egress"]


def test_the_rule_about_the_way_out_is_kept() -> None:
    def told(spec: dict[str, Any]) -> list[str]:
        kinds = (
            ("apps/v1:Deployment", deployment(STORE)),
            ("networking.k8s.io/v1:NetworkPolicy", spec),
        )
        stack = [
            Resource(
                f"urn:{kind}",
                f"kubernetes:{kind}",
                "churn-v2",
                {
                    "metadata": {
                        "name": "churn-v2",
                        "namespace": "models",
                        "labels": server(STORE).labels,
                    },
                    "spec": wanted,
                },
            )
            for kind, wanted in kinds
        ]
        found = model_server_egress.RULE.judge(stack)
        return [finding.message for finding in found]

    assert told(policy(STORE)) == []
    assert told(policy(STORE) | {"egress": [{}]}) != []
