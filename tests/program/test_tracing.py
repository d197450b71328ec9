"""Traces, against recording mocks: what is there with a collector, and what changes without."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import Program

from .test_program import changed, model

Deploy = Callable[..., Program]
MODELS = {"churn": model()}
INSIDE = {"endpoint": "http://collector.observability.svc:4318", "sample": 5}
OUTSIDE = {"endpoint": "https://otlp.example.com"}
SERVERS = [f"churn-v{version}-{part}" for version in (1, 2) for part in ("deployment", "policy")]
GATEWAY = [f"mesh-tracing-{part}" for part in ("destination", "ids", "telemetry")]


def test_an_empty_section_is_none_at_all(deploy: Deploy) -> None:
    assert changed(deploy(models=MODELS), deploy(models=MODELS, tracing={})) == []


def test_a_collector_changes_the_gateway_and_the_servers_alone(deploy: Deploy) -> None:
    without, inside, outside = (
        deploy(models=MODELS, tracing=section) for section in (None, INSIDE, OUTSIDE)
    )
    assert changed(without, inside) == sorted([*SERVERS, *GATEWAY, "mesh-istiod"])
    more = ["mesh-istiod", "mesh-tracing-entry"]
    assert changed(without, outside) == sorted([*SERVERS, *GATEWAY, *more])
    weighed = deploy(models={"churn": model(weight=50)}, tracing=INSIDE)
    assert changed(inside, weighed) == ["churn-virtual-service"]
    other = deploy(models=MODELS, tracing=INSIDE | {"sample": 50})
    assert changed(inside, other) == ["mesh-tracing-telemetry"], "no pod restarts for a sample"


def test_ids_are_kept_before_anything_is_traced(deploy: Deploy) -> None:
    program = deploy(models=MODELS, tracing=OUTSIDE)
    telemetry = program.one("Telemetry", "mesh-tracing-telemetry")
    assert telemetry.inputs["metadata"]["namespace"] == "istio-ingress"
    before = {"mesh-istiod", "mesh-istio-ingress", "mesh-tracing-destination"}
    before |= {"mesh-tracing-entry", "mesh-tracing-ids"}
    assert before <= set(telemetry.depends_on)
    for kind, name in (("EnvoyFilter", "ids"), ("ServiceEntry", "entry")):
        found = program.one(kind, f"mesh-tracing-{name}")
        assert {"mesh-istiod", "mesh-istio-ingress"} <= set(found.depends_on)
        assert found.inputs["metadata"]["namespace"] == "istio-ingress"
