"""Recording and alerting rules, tried by Prometheus' own promtool, and the runbooks beside them."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from components.manifests import alert_rules, recording_rules, rules
from settings import parse
from settings.rollout import LATENCY_BOUNDS
from tests.unit.rules import cases_models, cases_objectives, cases_platform
from tests.unit.rules.promtool import (
    ALERTS,
    GROUPS,
    PROMTOOL,
    ROOT,
    RULES,
    STACK,
    Case,
    file_of,
    files_of,
    mutants,
    run,
)
from tests.unit.rules.recorded import recorded

CASES: list[Case] = [
    *cases_objectives.cases(),
    *cases_models.cases(),
    *cases_platform.cases(),
]
RUNBOOKS = ROOT / "docs" / "runbooks"

# Weights of two versions add up to 100, so the smaller one is 50 at most.
EQUIVALENT = {("ModelCanaryStuck", "100", "90")}

# What is scraped, by where it comes from.
OF_SERVERS = {
    "model_predictions_total",
    "model_prediction_errors_total",
    "model_prediction_latency_seconds_bucket",
    "model_prediction_latency_seconds_count",
    "model_input_size_bytes_sum",
    "model_input_size_bytes_count",
}
OF_DRIFT = {"model_drift_observations_total", "model_drift_expected_ratio"}
OF_GATEWAY = {"envoy_cluster_upstream_rq_completed", "envoy_cluster_upstream_rq"}
OF_CLUSTER = {
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas_available",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_horizontalpodautoscaler_spec_min_replicas",
    "kube_horizontalpodautoscaler_status_current_replicas",
    "kube_pod_container_status_restarts_total",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "slipway_route_weight",
}
OF_MONITORING = {
    "alertmanager_notifications_failed_total",
    "prometheus_notifications_dropped_total",
    "prometheus_rule_evaluation_failures_total",
    "up",
}
OF_RUNBOOKS = {
    "ALERTS",
    "activator_wait_seconds_bucket",
    "container_memory_working_set_bytes",
    "model_active_requests",
    "prometheus_notifications_errors_total",
    "prometheus_tsdb_storage_blocks_bytes",
}
OF_ACTIVATOR = {"activator_requests_total"}
SCRAPED = OF_SERVERS | OF_ACTIVATOR | OF_DRIFT | OF_GATEWAY | OF_CLUSTER | OF_MONITORING


def stack(alerts: dict[str, Any] | None = None, **models: Any) -> dict[str, Any]:
    """The rules of a stack with these models and alerts."""
    raw = {"context": "test", "registry": "registry.test:5000", "models": models}
    settings = parse(raw | ({"alerts": alerts} if alerts else {}))
    return rules.groups(settings.models, settings.alerts)


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """What fails, of all cases on all alerts and their mutants: case, and alert or mutant."""
    said = run(tmp_path_factory.mktemp("rules"), files_of(CASES))
    found = set()
    for text in said:
        what = re.search(r"name: (.*),\n\s+alertname: (\w+),", text)
        assert what, text
        found.add((what[1], what[2]))
    return found


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_fires_when_it_should_and_not_beside_that(
    alert: str, failures: set[tuple[str, str]]
) -> None:
    assert [case for case, name in failures if name == alert] == []


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_each_number_of_an_alert_is_held_by_a_case(
    alert: str, failures: set[tuple[str, str]]
) -> None:
    killed = {name for _, name in failures}
    moved = mutants(alert)
    assert moved
    alive = [
        what
        for what, rule in moved.items()
        if rule["alert"] not in killed
        and (alert, what.split()[0], what.split()[-1]) not in EQUIVALENT
    ]
    assert alive == []


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    for alert in ALERTS:
        mine = [case for case in CASES if case.alert == alert]
        assert any(case.fires for case in mine), alert
        assert any(not case.fires for case in mine), alert
        assert len({case.name for case in mine}) == len(mine), alert
    assert {case.alert for case in CASES} == set(ALERTS)
    assert {rule["alert"] for rule in ALERTS.values()} == set(rules.alert_names())


def test_two_alerts_of_one_name_stand_beside_each_other(tmp_path: Path) -> None:
    """The stable version and its shadow are down, and each has its own severity."""
    group = GROUPS["slipway-models"]
    series = {'model_version:route_weight:percent{model_name="churn", model_version="1"}': "100x20"}
    expected = []
    for version, severity in ((1, "critical"), (2, "warning")):
        of = f'{{namespace="models", deployment="churn-v{version}"}}'
        series[f"kube_deployment_spec_replicas{of}"] = "1x20"
        series[f"kube_deployment_status_replicas_available{of}"] = "0x20"
        labels = {"model_name": "churn", "model_version": str(version), "severity": severity}
        texts = ALERTS[f"ModelServerDown_{severity}"]["annotations"]
        summary = f"churn version {version}: none of 1 pods is available"
        expected.append(
            {
                "exp_labels": {
                    **labels,
                    "namespace": "models",
                    "deployment": f"churn-v{version}",
                },
                "exp_annotations": {**texts, "summary": summary},
            }
        )
    test = {
        "name": "both",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": "10m", "alertname": "ModelServerDown", "exp_alerts": expected}
        ],
    }
    assert run(tmp_path, [{"evaluation_interval": "1m", "rules": [group], "tests": [test]}]) == []


@pytest.mark.parametrize("what", recorded(), ids=lambda what: what.name)
def test_recorded_values(what: Any, tmp_path: Path) -> None:
    assert run(tmp_path, [file_of(what)]) == []


def test_every_recording_rule_has_a_value_that_is_tried() -> None:
    tried = {name for what in recorded() for name in what.values}
    inner = {  # seen through the ratios that are made of them
        "model:gateway_requests:increase5m",
        "model:predictions:increase5m",
        "model:slow_predictions:increase5m",
        "model_version_feature_bin:drift_observations:increase1m",
    }
    assert set(recording_rules.names()) - inner == tried - inner


def expressions(found: dict[str, Any] = RULES) -> Iterator[tuple[str, str]]:
    for group in found["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]


def metrics(expr: str) -> set[str]:
    """The names of all series that an expression asks for."""
    promql_parser.parse(expr)
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', " ", expr)
    bare = re.sub(r"\b(by|on|group_left|ignoring) \([^)]*\)", " ", bare)
    words = {"and", "or", "unless", "offset"}
    return {
        name
        for name in re.findall(r"(?<![\w:.])[a-z][\w:]*(?![\w:]|\s*\()", bare)
        if name not in words
    }


def test_only_series_that_there_are_are_asked_for() -> None:
    known = SCRAPED | set(recording_rules.names())
    asked = {name: metrics(expr) - known for name, expr in expressions()}
    assert {name: unknown for name, unknown in asked.items() if unknown} == {}
    everything = set().union(*(metrics(expr) for _, expr in expressions()))
    assert everything >= SCRAPED


def test_the_runtime_exports_what_is_asked_of_servers() -> None:
    text = (ROOT / "serving_image/slipway_runtime/metrics.py").read_text()
    for name in OF_SERVERS:
        assert re.search(rf'"{re.sub("_(bucket|count|sum)$", "", name)}"', text), name


def test_promtool_finds_no_fault_and_no_duplicate(tmp_path: Path) -> None:
    awkward = ["{{", "}} {{ $value", "{{ template }}", "{{ $labels.pod }} {{ $value | humanize }}"]
    awkward += ["load {{{ $value }}}", "{{ $value }}{{{ $value }}}"]
    # Every short row of what a template is made of.
    parts = ["{", "{{", "}}", '"', "{{ $value }}", "{{ $labels.pod | humanize }}"]
    awkward += ["".join(row) for row in itertools.product(parts, repeat=3)]
    own = [
        {"name": f"Own{number}", "promql": "vector(1) > 2", "summary": text, "after": "1.5h"}
        for number, text in enumerate(awkward)
    ]
    for number, found in enumerate([RULES, stack(), stack({"rules": own}, churn={"stable": 1})]):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(found))
        command = [str(PROMTOOL), "check", "rules", "--lint=all", "--lint-fatal", str(file)]
        done = subprocess.run(command, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_weight_and_no_version_changes_a_rule() -> None:
    churn = {"stable": 1}
    assert stack(churn=churn) == stack(churn={"stable": 4, "previous": 1})
    canary = {"stable": 1, "canary": {"version": 2, "weight": 5}}
    shadow = {"shadow": {"version": 3, "percent": 10}, "scaling": {"max": 30}}
    assert stack(churn=churn) == stack(churn=canary) == stack(churn={**canary, **shadow})


def test_equal_input_gives_equal_bytes() -> None:
    one, other = {"stable": 1}, {"stable": 2, "sticky": {"header": "x-user"}}
    ways = stack(a=one, b=other, c=one), stack(c=one, b=other, a=one)
    assert json.dumps(ways[0]) == json.dumps(ways[1])
    assert json.dumps(ways[0]) != json.dumps(stack(a=one, b=one, c=one))


def test_each_bound_of_the_buckets_is_written_as_prometheus_does() -> None:
    """Source: https://prometheus.io/docs/prometheus/latest/migration/, "le and quantile label
    values": a float always has a point.
    """
    for bound in LATENCY_BOUNDS:
        threshold = {"threshold": f"{bound * 1000:g}ms"}
        found = stack(churn={"stable": 1, "objectives": {"latency": threshold}})
        (slow,) = (expr for name, expr in expressions(found) if name.startswith("model:slow"))
        (le,) = re.findall(r'le="([^"]*)"', slow)
        assert float(le) == bound
        assert re.fullmatch(r"\d+\.\d+", le)


def test_an_objective_has_no_noise() -> None:
    found = stack(churn={"stable": 1, "objectives": {"availability": 99.999}})
    assert ("model:availability_objective:ratio", "vector(0.99999)") in expressions(found)


def test_each_alert_says_what_and_how_urgent_and_where_to_read_on() -> None:
    for name, rule in ALERTS.items():
        assert list(rule["labels"]) == ["severity"], name
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        texts = rule["annotations"]
        assert list(texts) == ["summary", "description", "runbook_url"], name
        assert "\n" not in texts["summary"], name
        assert "{{" not in texts["description"], name
        assert (ROOT / texts["runbook_url"]).is_file(), name


def test_runbooks_are_where_the_configuration_says() -> None:
    for base in ("https://docs.example/runbooks", "https://docs.example/runbooks/"):
        found = stack({"runbooks": base})
        urls = {
            rule["alert"]: rule["annotations"]["runbook_url"]
            for group in found["groups"]
            for rule in group["rules"]
            if "alert" in rule
        }
        assert urls["ModelServerDown"] == "https://docs.example/runbooks/model-server-down.md"


def test_there_is_a_page_for_each_alert_and_no_other() -> None:
    index = (RUNBOOKS / "README.md").read_text()
    pages = {page.name for page in RUNBOOKS.glob("*.md")} - {"README.md"}
    assert pages == set(alert_rules.RUNBOOKS.values())
    for alert, page in alert_rules.RUNBOOKS.items():
        text = (RUNBOOKS / page).read_text()
        assert text.startswith(f"# {alert}\n"), page
        (listed,) = re.findall(rf"^\| \[{alert}\]\({re.escape(page)}\) \| (.+?) \|", index, re.M)
        severities = [
            rule["labels"]["severity"] for rule in ALERTS.values() if rule["alert"] == alert
        ]
        assert listed == ", ".join(severities), page
        assert all(f"`{severity}`" in text for severity in severities), page


def test_queries_of_the_runbooks_ask_for_what_there_is() -> None:
    known = SCRAPED | set(recording_rules.names()) | OF_RUNBOOKS
    found = 0
    for page in RUNBOOKS.glob("*.md"):
        for block in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL):
            for query in filter(None, block.splitlines()):
                assert metrics(query) <= known, (page.name, query)
                found += 1
    assert found >= len(ALERTS)


def test_own_rules_become_a_group() -> None:
    own = {
        "name": "QueueTooLong",
        "promql": "queue_length > 5",
        "after": "1.5m",
        "severity": "critical",
        "summary": "{{ $labels.queue }} has {{ $value }} and {{ more }}",
        "runbook": "https://docs.example/queue",
    }
    plain = {"name": "Other", "promql": "up == 0", "summary": "down"}
    group = stack({"rules": [own, plain]})["groups"][-1]
    assert group == {
        "name": "slipway-own",
        "rules": [
            {
                "alert": "QueueTooLong",
                "expr": "queue_length > 5",
                "for": "90000ms",
                "labels": {"severity": "critical"},
                "annotations": {
                    "summary": '{{ $labels.queue }} has {{ $value }} and {{ "{{" }} more }}',
                    "runbook_url": "https://docs.example/queue",
                },
            },
            {
                "alert": "Other",
                "expr": "up == 0",
                "for": "5m",
                "labels": {"severity": "warning"},
                "annotations": {"summary": "down"},
            },
        ],
    }
    assert "slipway-own" not in GROUPS


def test_another_prometheus_calls_its_jobs_otherwise() -> None:
    found = rules.groups(STACK.models, STACK.alerts, jobs=("monitoring/servers",))
    missing = dict(expressions(found))["TargetMissing"]
    assert 'absent(up{job="monitoring/servers"})' in missing
    assert "kubelet" not in missing


@pytest.mark.parametrize(
    ("text", "taken"),
    [("90s", "90s"), ("1.5h", "5400000ms"), ("0.1ms", "1ms"), ("999999d", "3153600000000ms")],
)
def test_a_time_is_written_as_prometheus_takes_it(text: str, taken: str) -> None:
    assert alert_rules.duration(text) == taken
