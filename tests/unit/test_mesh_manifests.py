"""The manifests of the mesh: what sidecars ask for, and what a policy lets in."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.manifests import istio, mesh, network, prometheus
from local import node_files, optional
from settings.exposure import Gateway
from settings.platform import Istio

SCRAPER = prometheus.peer("watch")


def test_without_sidecars_the_control_plane_is_told_nothing_of_them() -> None:
    values = istio.istiod_values(Istio())
    assert "cni" not in values and "proxy" not in values["global"] and "pdb" not in values
    assert values["meshConfig"]["enablePrometheusMerge"] is False
    assert values["replicaCount"] == 1


def test_sidecars_are_native_small_and_let_credentials_pass() -> None:
    values = istio.istiod_values(Istio(sidecars=True))
    without = istio.istiod_values(Istio())
    assert values["cni"] == {"enabled": True}
    assert values["env"] == without["env"] | {"ENABLE_NATIVE_SIDECARS": "true"}
    assert values["meshConfig"] == without["meshConfig"] | {"enablePrometheusMerge": True}
    proxy = values["global"]["proxy"]
    assert values["global"] == without["global"] | {"proxy": proxy}
    assert proxy["excludeIPRanges"] == "169.254.170.23/32"
    # What the restricted level asks for and the template leaves out.
    assert proxy["seccompProfile"] == {"type": "RuntimeDefault"}


def test_a_policy_beside_a_sidecar_keeps_its_rules() -> None:
    rules = network.ingress({"a": "b"}, 80, [network.everywhere("c")])
    both = mesh.beside_sidecar(rules | network.egress([{"to": []}]), SCRAPER)
    assert both["ingress"] == [
        *rules["ingress"],
        {"from": [SCRAPER], "ports": [{"protocol": "TCP", "port": 15020}]},
    ]
    assert both["egress"][:-1] == network.egress([{"to": []}])["egress"]
    assert both["egress"][-1]["ports"] == [{"protocol": "TCP", "port": 15012}]
    # One that bounds no egress goes on to bound none.
    assert mesh.beside_sidecar(rules) == rules


def test_who_reached_nobody_reaches_the_control_plane_and_a_name_server() -> None:
    shut = network.ingress({"a": "b"}, 80, []) | network.nowhere()
    name_server, control = mesh.beside_sidecar(shut)["egress"]
    assert {port["port"] for port in name_server["ports"]} == {53}
    assert control["to"] == [mesh.istiod()]


@pytest.mark.parametrize("told", [None, {"prometheus.io/scrape": "true", "a": "b"}])
def test_only_who_asks_for_it_is_scraped(told: dict[str, str] | None) -> None:
    metadata = {"labels": {"c": "d"}} | ({"annotations": told} if told else {})
    workload = {"replicas": 1, "template": {"metadata": metadata, "spec": {}}}
    made = mesh.injected(workload)["template"]["metadata"]
    later = mesh.injected(workload, "1.32.0")["template"]["metadata"]
    assert later["annotations"] == made["annotations"] | {"slipway.dev/istio": "1.32.0"}
    assert made["labels"] == {"c": "d", "sidecar.istio.io/inject": "true"}
    assert made["annotations"] == (told or {"prometheus.io/scrape": "false"})
    assert workload["template"]["metadata"] is metadata and "inject" not in str(metadata)


def test_a_rule_without_callers_is_of_a_port_alone() -> None:
    to = [{"operation": {"ports": ["8081"]}}]
    assert mesh.callers(8081) == {"to": to}
    named = mesh.callers(8081, [mesh.account("a", "b")])
    assert named["from"] == [{"source": {"principals": ["cluster.local/ns/b/sa/a"]}}]


def test_the_plain_gateway_stays_as_it_was() -> None:
    (server,) = istio.gateway()["servers"]
    assert server == {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    values = istio.gateway_values(Gateway(), "{}")
    assert not {"podDisruptionBudget", "affinity", "topologySpreadConstraints"} & values.keys()
    assert [port["port"] for port in values["service"]["ports"]] == [80]


@pytest.mark.parametrize(
    ("text", "sidecars", "https"),
    [
        ("config: {slipway:istio: {sidecars: true}}", True, False),
        ("config: {slipway:istio: '{\"sidecars\": true}'}", True, False),
        ("config: {slipway:istio: {sidecars: false}}", False, False),
        ("config: {slipway:gateway: {tls: {certificate: mesh}}}", False, True),
        ("config: {slipway:gateway: {tls: {}}}", False, False),
        ("config: [", False, False),
    ],
)
def test_what_a_stack_file_asks_for(tmp_path: Path, text: str, sidecars: bool, https: bool) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(text)
    assert optional.wants_sidecars(file) is sidecars
    assert optional.serves_https(file) is https


def test_the_node_keeps_plugins_where_a_pod_may_add_one() -> None:
    # Not on this machine's own disk, which the instance must leave as it was.
    assert node_files.CNI_BIN.startswith("/run/") and node_files.CNI_CONF.startswith("/run/")
