"""Routes: who gets which request, who keeps its version, who gets a copy, and what is counted."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.manifests import comparer, istio, model_server, network, prometheus, route
from components.manifests.route import Mirror
from settings.exposure import Exposure
from settings.model import Canary
from settings.rollout import Sticky

CANARY = Canary(version=2, weight=10)
HEADER, COOKIE = Sticky(header="x-user"), Sticky(cookie="ab", ttl="2h")
MIRROR = Mirror("comparer", 25)


def routes(
    canary: Canary | None = CANARY, sticky: Sticky | None = None, mirror: Mirror | None = None
) -> list[dict[str, Any]]:
    spec = route.virtual_service("churn", "g", "stable", "canary", canary, sticky, mirror)
    found: list[dict[str, Any]] = spec["http"]
    return found


def patched(sticky: Sticky) -> dict[str, Any]:
    """Name of a route -> what the filter puts into it."""
    spec = route.sticky_filter("churn", sticky, {"istio": "ingress"})
    assert spec["workloadSelector"] == {"labels": {"istio": "ingress"}}
    found = {}
    for patch in spec["configPatches"]:
        assert (patch["applyTo"], patch["patch"]["operation"]) == ("HTTP_ROUTE", "MERGE")
        name = patch["match"]["routeConfiguration"]["vhost"]["route"]["name"]
        found[name] = patch["patch"]["value"]["route"]
    return found


def test_a_client_is_known_by_its_header() -> None:
    _, by_header, by_weight = routes(sticky=HEADER)
    assert by_header["name"] == "canary-by-header"
    assert patched(HEADER) == {
        by_weight["name"]: {
            "hash_policy": [{"header": {"header_name": "x-user"}}],
            "weighted_clusters": {"use_hash_policy": True},
        }
    }


def test_a_client_is_known_by_its_cookie_and_before_that_by_the_id_that_becomes_it() -> None:
    known, new = routes(sticky=COOKIE)[2:]
    patches = patched(COOKIE)
    assert list(patches) == [known["name"], new["name"]]
    assert patches[known["name"]]["hash_policy"] == [{"cookie": {"name": "ab"}}]
    assert patches[new["name"]]["hash_policy"] == [{"header": {"header_name": "x-request-id"}}]
    assert all(p["weighted_clusters"] == {"use_hash_policy": True} for p in patches.values())
    assert "headers" not in known
    assert new["headers"]["response"]["add"] == {
        "set-cookie": "ab=%REQ(x-request-id)%; Path=/models/churn/; Max-Age=7200; "
        "HttpOnly; SameSite=Lax"
    }
    assert known["route"] == new["route"]


@pytest.mark.parametrize(
    "header, carries",
    [
        ("ab=1", True),
        ("x=1; ab=1", True),
        ("x=1;ab=1;y=2", True),
        ("ab=", False),
        ("xab=1", False),
        ("x=ab=1", False),
        ("abc=1", False),
        ("ab", False),
        ("", False),
    ],
)
def test_which_requests_bring_the_cookie(header: str, carries: bool) -> None:
    match = routes(sticky=COOKIE)[2]["match"][0]
    assert match["uri"] == {"prefix": "/models/churn/"}
    # Istio's regular expressions are about the whole value.
    assert bool(re.fullmatch(match["headers"]["cookie"]["regex"], header)) is carries


@given(st.integers(0, 100), st.sampled_from([None, HEADER, COOKIE]))
def test_a_weight_stands_in_the_virtual_service_alone(weight: int, sticky: Sticky | None) -> None:
    split = routes(Canary(version=2, weight=weight), sticky)[2:]
    for each in split:
        assert [d["weight"] for d in each["route"]] == [100 - weight, weight]
        # Two destinations, however the weights stand: with one there is nothing to merge into.
        assert [d["destination"]["host"] for d in each["route"]] == ["stable", "canary"]
    if sticky:
        assert {each["name"] for each in split} == set(patched(sticky))
        assert "weight" not in json.dumps(patched(sticky)).replace("weighted_clusters", "")


@pytest.mark.parametrize("sticky", [HEADER, COOKIE])
def test_without_a_canary_no_route_is_one_that_the_filter_changes(sticky: Sticky) -> None:
    alone = routes(None, sticky)
    assert alone == routes(None)
    assert not {each["name"] for each in alone} & set(patched(sticky))


def test_filters_change_their_own_models_routes_alone() -> None:
    names = [
        patch["match"]["routeConfiguration"]["vhost"]["route"]["name"]
        for model in ("churn", "churn-sticky", "sticky", "by-weight")
        for patch in route.sticky_filter(model, COOKIE, {})["configPatches"]
    ]
    assert len(names) == len(set(names)) == 8


@pytest.mark.parametrize("sticky", [None, HEADER, COOKIE])
@pytest.mark.parametrize("canary", [None, CANARY])
def test_what_is_split_by_weight_is_mirrored_and_nothing_else(
    canary: Canary | None, sticky: Sticky | None
) -> None:
    copied = {
        "mirror": {"host": "comparer", "port": {"number": 80}},
        "mirrorPercentage": {"value": 25},
    }
    for bare, each in zip(routes(canary, sticky), routes(canary, sticky, MIRROR), strict=True):
        split = bare["name"] not in ("metrics-are-internal", "canary-by-header")
        assert each == bare | (copied if split else {})


def test_a_comparer_that_does_not_answer_costs_the_gateway_little() -> None:
    policy = route.comparer_rule("comparer")["trafficPolicy"]
    assert policy["connectionPool"]["http"] == {
        "http1MaxPendingRequests": 64,
        "http2MaxRequests": 64,
    }
    assert policy["connectionPool"]["tcp"]["maxConnections"] == 64


def test_a_comparers_pod_is_taken_for_no_model_server() -> None:
    labels = comparer.labels("churn")
    assert not any(label.startswith("slipway.dev/") for label in labels)
    assert comparer.selector("churn").items() <= labels.items()
    served = model_server.selector("churn", 1)
    assert not served.items() <= labels.items()
    spec = comparer.deployment("churn", "image", (1, "http://a"), (2, "http://b"))
    assert spec["template"]["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
    (container,) = spec["template"]["spec"]["containers"]
    env = {item["name"]: item["value"] for item in container["env"]}
    assert (env["STABLE_VERSION"], env["STABLE_URL"]) == ("1", "http://a")
    assert (env["SHADOW_VERSION"], env["SHADOW_URL"]) == ("2", "http://b")


def test_a_comparer_gets_out_to_the_name_server_and_its_two_servers_alone() -> None:
    servers = [network.pods(model_server.selector("churn", version), "ns") for version in (1, 2)]
    policy = comparer.network_policy("churn", [network.everywhere("edge")], servers)
    dns, compared = policy["egress"]
    assert "to" not in dns and {p["port"] for p in dns["ports"]} == {53}
    assert compared == {"to": servers, "ports": [{"protocol": "TCP", "port": 8080}]}
    assert policy["ingress"] == [
        {"from": [network.everywhere("edge")], "ports": [{"protocol": "TCP", "port": 8080}]}
    ]


CLUSTER = "outbound|80||{}.models.svc.cluster.local"


@pytest.mark.parametrize(
    "name, counted",
    [
        ("cluster." + CLUSTER.format("churn-v1") + ";.upstream_rq_completed", True),
        ("cluster." + CLUSTER.format("churn-v1") + ";.upstream_rq_503", True),
        ("cluster." + CLUSTER.format("churn-v1") + ";.upstream_rq_5xx", True),
        ("cluster." + CLUSTER.format("churn-v1") + ";.upstream_rq_time", False),
        ("cluster." + CLUSTER.format("churn-v1") + ";.retry.upstream_rq_503", False),
        ("cluster." + CLUSTER.format("churn-v1") + ";.upstream_cx_total", False),
        ("cluster.outbound|80||mlflow.mlflow.svc.cluster.local;.upstream_rq_503", False),
        ("cluster.outbound|80||a.xmodels.svc.cluster.local;.upstream_rq_503", False),
        ("cluster.outbound|443||a.models.svc.cluster.local;.upstream_rq_503", False),
    ],
)
def test_what_the_gateway_counts(name: str, counted: bool) -> None:
    matcher = json.loads(istio.counted_requests("models"))["proxyStatsMatcher"]
    (pattern,) = matcher["inclusionRegexps"]
    assert bool(re.fullmatch(pattern, name)) is counted
    values = istio.gateway_values(Exposure(), istio.counted_requests("models"))
    assert json.loads(values["podAnnotations"]["proxy.istio.io/config"]) == {
        "proxyStatsMatcher": matcher
    }


def labelled(**labels: str) -> dict[str, str]:
    """The labels of a sample after Prometheus' metric_relabel_configs."""
    pods = json.loads(prometheus.configuration(["models"]))["scrape_configs"][1]
    for rule in pods["metric_relabel_configs"]:
        if rule["action"] == "labeldrop":
            labels = {k: v for k, v in labels.items() if not re.fullmatch(rule["regex"], k)}
            continue
        value = ";".join(labels.get(source, "") for source in rule["source_labels"])
        if found := re.fullmatch(rule["regex"], value):
            labels[rule["target_label"]] = found.expand(rule["replacement"].replace("$", "\\"))
    return labels


@pytest.mark.parametrize(
    "service, model, version",
    [("churn-v1", "churn", "1"), ("x-v1-v23", "x-v1", "23"), ("churn-comparer", None, None)],
)
def test_what_the_gateway_counts_is_a_versions(
    service: str, model: str | None, version: str | None
) -> None:
    given = {"namespace": "istio-ingress", "cluster_name": CLUSTER.format(service)}
    for name in ("envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_completed"):
        found = labelled(__name__=name, **given)
        assert (found.get("model_name"), found.get("model_version")) == (model, version)
    assert "model_name" not in labelled(__name__="envoy_cluster_upstream_cx_total", **given)


def test_a_model_server_cannot_speak_for_the_gateway() -> None:
    own = {"namespace": "models", "model_name": "fraud", "model_version": "3"}
    forged = labelled(
        __name__="envoy_cluster_upstream_rq", cluster_name=CLUSTER.format("churn-v1"), **own
    )
    assert (forged["model_name"], forged["model_version"]) == ("fraud", "3")
