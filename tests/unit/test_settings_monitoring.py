"""Objectives, alerts and the kind of monitoring: what is taken, and what is said of a bad one."""

from __future__ import annotations

from typing import Any

import pytest

from components.manifests import rules
from settings import Settings, SettingsError, parse
from settings.monitoring import BUILT_IN, Alerts, Objectives

BASE = {"context": "c", "registry": "r", "models": {"churn": {"stable": 1}}}
OPS = {"kind": "webhook", "url": "https://hooks.example/ops"}
RULE = {"name": "QueueTooLong", "promql": "queue > 3", "summary": "the queue is long"}


def faults(**keys: Any) -> list[str]:
    """What is said of these keys beside good ones."""
    with pytest.raises(SettingsError) as caught:
        parse(BASE | keys)
    return [line.removeprefix("slipway:") for line in caught.value.faults]


def alerts(**keys: Any) -> list[str]:
    """What is said of these keys of `alerts`."""
    return [line.removeprefix("alerts.") for line in faults(alerts=keys)]


def objectives(**keys: Any) -> list[str]:
    """What is said of these objectives of a model."""
    said = faults(models={"churn": {"stable": 1, "objectives": keys}})
    return [line.removeprefix("models.churn.objectives.") for line in said]


def test_defaults() -> None:
    found: Settings = parse(BASE)
    assert found.monitoring == "bundled"
    assert (found.alerts, found.models["churn"].objectives) == (Alerts(), Objectives())
    assert found.models["churn"].objectives.availability == 99.5
    assert not found.grafana.enabled


@pytest.mark.parametrize("value", [100, 100.0, 99.9999, 94.9, 0, -1, "99", True, None])
def test_an_objective_leaves_room_for_failure(value: object) -> None:
    (line,) = objectives(availability=value)
    assert line.startswith("availability: ")
    assert "is not a percentage from 95 to 99.999: 100 leaves no room" in line
    (line,) = objectives(latency={"percent": value})
    assert line.startswith("latency.percent: ")


def test_a_latency_objective_is_a_bound_of_a_bucket() -> None:
    (line,) = objectives(latency={"threshold": "300ms"})
    assert line.startswith('latency.threshold: "300ms" is no bound of the latency buckets (1ms, ')
    assert parse(BASE | {"models": {"m": {"stable": 1, "objectives": {"latency": {
        "threshold": "250ms", "percent": 99.9}}}}})  # fmt: skip


def test_a_webhook_is_a_url() -> None:
    (line,) = alerts(receivers={"ops": {"kind": "webhook", "url": "hooks.example"}}, default="ops")
    assert line.startswith('receivers.ops.url: "hooks.example" is not a URL')


def test_keys_belong_to_their_kind_of_receiver() -> None:
    (line,) = alerts(receivers={"ops": {"kind": "pagerduty", "url": OPS["url"]}}, default="ops")
    assert "receivers.ops.url: " in line
    assert "belongs to a receiver of kind webhook; this one is of kind pagerduty" in line
    (line,) = alerts(receivers={"ops": {"kind": "webhook", "channel": "#ops"}}, default="ops")
    assert "belongs to a receiver of kind slack" in line
    (line,) = alerts(receivers={"ops": {"kind": "slack"}}, default="ops")
    assert line == 'receivers.ops.kind: "slack" needs a channel beside it'
    (line,) = alerts(receivers={"ops": {"kind": "mail"}}, default="ops")
    assert "is not one of webhook, slack or pagerduty" in line


def test_routes_name_receivers_and_models_there_are() -> None:
    both = {"receivers": {"ops": OPS}, "default": "ops"}
    some = {"receiver": "ops", "severity": "critical"}
    (line,) = alerts(**both, routes=[some, some | {"receiver": "nobody"}])
    assert line == 'routes[1].receiver: "nobody" is no receiver (there: ops)'
    (line,) = alerts(receivers={"ops": OPS}, default="nobody")
    assert line == 'default: "nobody" is no receiver (there: ops)'
    (line,) = alerts(receivers={"ops": OPS})
    assert line.startswith("default: is not set; it takes")
    assert "takes the receiver of what no route fits (ops)" in line
    (line,) = alerts(**both, routes=[{"receiver": "ops", "models": ["churn", "other"]}])
    assert line == 'routes[0].models: "other" is no model of this stack (there: churn)'


@pytest.mark.parametrize("promql", ["sum(", "up{", "rate(up)", "", 3, "up >"])
def test_promql_is_parsed_beforehand(promql: object) -> None:
    (line,) = alerts(rules=[RULE | {"promql": promql}])
    assert line.startswith("rules[0].promql: ")
    assert "is not PromQL" in line


@pytest.mark.parametrize("promql", ["up[5m]", '"text"'])
def test_a_rule_gives_values_of_now(promql: str) -> None:
    (line,) = alerts(rules=[RULE | {"promql": promql}])
    assert "gives a range or a text, not values of now" in line


@pytest.mark.parametrize(
    "promql",
    [
        "first_over_time(up[5m]) > 0",
        "1 + sum(limitk(3, up))",
        "abs(-info(up))",
        "max(up) > start()",
    ],
)
def test_what_prometheus_has_switched_off_is_refused(promql: str) -> None:
    (line,) = alerts(rules=[RULE | {"promql": promql}])
    assert "which Prometheus has switched off: experimental" in line


def test_built_in_names_are_those_of_the_rules() -> None:
    assert set(rules.alert_names()) == BUILT_IN
    (line,) = alerts(rules=[RULE | {"name": "ModelServerDown"}])
    assert line.startswith('rules[0].name: "ModelServerDown" is the name of an alert that every')


def test_a_route_takes_some_alerts_and_not_all() -> None:
    (line,) = alerts(receivers={"ops": OPS}, default="ops", routes=[{"receiver": "ops"}])
    assert line.startswith('routes[0].receiver: "ops" would take every alert')


def test_an_operators_labels_are_labels() -> None:
    there = {"monitoring": "operator", "prometheus": {"url": "http://prom:9090"}}
    for key, value in (("bad key!", "v"), ("key", "v v")):
        (line,) = faults(**there, operator={"labels": {key: value}})
        assert line.startswith("operator.labels.")
    (line,) = faults(**there, operator={"namespace": "No Such"})
    assert line.startswith('operator.namespace: "No Such" is not a namespace')


def test_times_have_an_end() -> None:
    (line,) = faults(prometheus={"retention": "9" * 400 + "d"})
    assert line.startswith("prometheus.retention: ")
    assert "is not a time such as" in line


def test_rules_have_names_of_their_own() -> None:
    (line,) = alerts(rules=[RULE, RULE])
    assert "has two rules called QueueTooLong" in line
    (line,) = alerts(rules=[RULE | {"name": "queue too long"}])
    assert "is not an alert's name" in line
    assert parse(BASE | {"alerts": {"rules": [RULE]}}).alerts.rules[0].after == "5m"


def test_the_operators_prometheus_has_a_url() -> None:
    (line,) = faults(monitoring="operator")
    assert line.startswith("prometheus.url: is not set; ")
    assert "takes the URL of the Prometheus there is" in line
    assert parse(BASE | {"monitoring": "operator", "prometheus": {"url": "http://prom:9090"}})
    (line,) = faults(monitoring="other")
    assert "is not one of bundled or operator" in line


def test_receivers_are_of_the_stacks_own_alertmanager() -> None:
    (line,) = faults(
        monitoring="operator",
        prometheus={"url": "http://prom:9090"},
        alerts={"receivers": {"ops": OPS}, "default": "ops"},
    )
    assert line.startswith('alerts.receivers: ["ops"] are of the stack\'s own Alertmanager')
