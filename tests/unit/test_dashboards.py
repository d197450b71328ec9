"""The dashboards: whole, in order, and asking for nothing that is not measured."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from components.dashboards import (
    REASONS,
    Query,
    every,
    fleet_dashboard,
    model_dashboard,
    panels,
    platform_dashboard,
    queries,
    text,
)
from components.manifests import grafana, prometheus, recording_rules
from components.manifests.kube_state_metrics import WEIGHT
from settings.types import duration_seconds
from tests.unit.rules import promtool

ROOT = Path(__file__).resolve().parents[2]
BOARDS = {
    "slipway-model": model_dashboard(),
    "slipway-fleet": fleet_dashboard(),
    "slipway-platform": platform_dashboard(),
}
VALUES = {"model": "churn", "version": "[0-9]+"}
QUERIES = [(uid, query) for uid, board in BOARDS.items() for query in queries(board, **VALUES)]
PANELS = [(uid, panel) for uid, board in BOARDS.items() for panel in panels(board)]

# The exporters' own metrics, by the document that lists them.
EXPORTED = {
    # https://github.com/kubernetes/kube-state-metrics/tree/main/docs/metrics
    "kube_deployment_status_replicas_unavailable",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_horizontalpodautoscaler_spec_min_replicas",
    "kube_horizontalpodautoscaler_spec_target_metric",
    "kube_horizontalpodautoscaler_status_current_replicas",
    "kube_horizontalpodautoscaler_status_desired_replicas",
    "kube_horizontalpodautoscaler_status_target_metric",
    "kube_pod_container_resource_limits",
    "kube_pod_container_resource_requests",
    "kube_pod_container_status_ready",
    "kube_pod_container_status_restarts_total",
    "kube_pod_info",
    "kube_pod_status_phase",
    "kube_pod_status_ready",
    # https://kubernetes.io/docs/reference/instrumentation/metrics/
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    # https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/statistics, of which
    # Istio's gateways export the server's, the managers', and what `istio.counted_requests` adds
    "envoy_cluster_manager_cds_update_rejected",
    "envoy_cluster_upstream_rq",
    "envoy_cluster_upstream_rq_completed",
    "envoy_listener_manager_lds_update_rejected",
    "envoy_server_live",
    "envoy_server_total_connections",
    # Prometheus' and Alertmanager's own
    "ALERTS",
    "alertmanager_alerts",
    "alertmanager_notifications_failed_total",
    "alertmanager_notifications_total",
    "prometheus_engine_query_duration_seconds",
    "prometheus_notifications_dropped_total",
    "prometheus_rule_evaluation_failures_total",
    "prometheus_rule_group_interval_seconds",
    "prometheus_rule_group_last_duration_seconds",
    "prometheus_tsdb_head_samples_appended_total",
    "prometheus_tsdb_head_series",
    "prometheus_tsdb_retention_limit_bytes",
    "prometheus_tsdb_storage_blocks_bytes",
    "prometheus_tsdb_wal_storage_size_bytes",
    "scrape_duration_seconds",
    "up",
    # https://keda.sh/docs/latest/integrations/prometheus/
    "keda_scaler_active",
    "keda_scaler_metrics_latency_seconds",
    "keda_scaler_metrics_value",
    # https://github.com/NVIDIA/dcgm-exporter, etc/default-counters.csv
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL",
}
COMPARER = {
    "model_comparison_errors_total",
    "model_comparisons_dropped_total",
    "model_comparisons_total",
    "model_disagreements_total",
    "model_prediction_psi",
}


def leaves(node: Any) -> Iterator[Any]:
    """Every selector of series, or of a window of them, below a node of a parsed PromQL."""
    if isinstance(node, promql_parser.VectorSelector | promql_parser.MatrixSelector):
        yield node
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from leaves(node.lhs)
        yield from leaves(node.rhs)
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from leaves(argument)
    elif isinstance(
        node, promql_parser.AggregateExpr | promql_parser.ParenExpr | promql_parser.UnaryExpr
    ):
        yield from leaves(node.expr)


def asked(query: Query) -> list[Any]:
    found = leaves(promql_parser.parse(query.promql))
    return [getattr(leaf, "vector_selector", leaf) for leaf in found]


def titled(pairs: list[tuple[str, Any]]) -> list[str]:
    names = [item.panel if isinstance(item, Query) else item["title"] for _, item in pairs]
    return [
        f"{uid}-{name}-{at}" for at, ((uid, _), name) in enumerate(zip(pairs, names, strict=True))
    ]


@pytest.mark.parametrize(("uid", "query"), QUERIES, ids=titled(QUERIES))
def test_every_query_asks_for_what_is_measured(uid: str, query: Query) -> None:
    source = ROOT / "serving_image" / "slipway_runtime" / "metrics.py"
    described = ast.get_docstring(ast.parse(source.read_text())) or ""
    served = set(re.findall(r"^(model_\w+) +(?:counter|gauge|histogram)", described, re.M))
    assert {"model_predictions_total", "model_input_size_bytes"} <= served
    holding = (source.parent / "activator_metrics.py").read_text()
    held = ast.get_docstring(ast.parse(holding)) or ""
    served |= set(re.findall(r"^(activator_\w+) +(?:counter|gauge|histogram)", held, re.M))
    assert "activator_wait_seconds" in served
    served |= {f"{name}_{part}" for name in set(served) for part in ("bucket", "count", "sum")}
    known = served | COMPARER | EXPORTED | {WEIGHT} | set(recording_rules.names())
    found = asked(query)
    assert found, query.promql
    for selector in found:
        assert selector.name in known, f"{selector.name} in {query.promql}"


@pytest.mark.parametrize(("uid", "query"), QUERIES, ids=titled(QUERIES))
def test_recorded_series_are_asked_by_the_labels_that_they_have(uid: str, query: Query) -> None:
    levels = {
        "model": {"model_name"},
        "model_version": {"model_name", "model_version"},
        "model_version_feature": {"model_name", "model_version", "feature"},
    }
    for selector in asked(query):
        if ":" in selector.name:
            labels = {matcher.name for matcher in selector.matchers.matchers}
            assert labels <= levels[selector.name.partition(":")[0]], query.promql


@pytest.mark.parametrize("query", [query for _, query in QUERIES])
def test_no_variable_of_grafanas_is_left(query: Query) -> None:
    assert "$" not in query.promql.replace('"$1"', "")


def test_a_variable_without_a_value_is_named() -> None:
    with pytest.raises(ValueError, match="no value for variable version"):
        queries(model_dashboard(), model="churn")


def test_values_given_go_before_those_built_in() -> None:
    rates = [
        q.promql for q in queries(platform_dashboard(), __rate_interval="7m") if "rate(" in q.promql
    ]
    assert rates and all("[7m]" in promql for promql in rates)


def test_a_variable_asks_for_its_values() -> None:
    found = {
        q.panel: q.promql for q in queries(model_dashboard(), **VALUES) if q.kind == "variable"
    }
    assert found == {
        "model": 'group by (model_name) (up{model_version!=""})',
        "version": 'group by (model_version) (up{model_name="churn",model_version!=""})',
    }


def test_rollout_steps_are_annotations() -> None:
    steps = [q for q in queries(model_dashboard(), **VALUES) if q.kind == "annotation"]
    assert [q.panel for q in steps] == ["Rollout steps"]
    assert steps[0].needs == "step"
    (annotation,) = model_dashboard()["annotations"]["list"]
    assert annotation["target"]["expr"] == annotation["expr"]
    assert annotation["datasource"]["uid"] == "${datasource}" and annotation["enable"]


# Weights each 15 s. A canary comes at sample 21, is lost from sight at 31 to 34, and goes at 41;
# somebody turns stable down at 60, and up again at 61.
WEIGHTS = {
    "1": "100x20 90x9 _x4 90x5 100x18 95 100x20",
    "2": "_x21 10x9 _x4 10x5 stale",
}
CHANGED = {"1": (0, 21, 41, 60, 61), "2": (21,)}


@pytest.mark.parametrize("step", [15, 30, 60, 300])
def test_each_change_of_a_weight_is_marked_once(step: int, tmp_path: Path) -> None:
    found = queries(model_dashboard(), **VALUES, __interval=f"{step}s")
    (promql,) = [query.promql for query in found if query.kind == "annotation"]
    due = {
        version: {-(-15 * sample // step) * step for sample in samples}
        for version, samples in CHANGED.items()
    }
    series = 'slipway_route_weight{job="kube-state-metrics",model_name="churn",model_version="%s"}'
    test = {
        "interval": "15s",
        "input_series": [{"series": series % it, "values": WEIGHTS[it]} for it in WEIGHTS],
        "promql_expr_test": [
            {
                "expr": promql,
                "eval_time": f"{at}s",
                "exp_samples": [
                    {"labels": f'{{model_version="{version}"}}', "value": 1}
                    for version, times in due.items()
                    if at in times
                ],
            }
            for at in range(0, 1201, step)
        ],
    }
    file = {"evaluation_interval": "15s", "rules": [], "tests": [test]}
    assert promtool.run(tmp_path, [file]) == []


# A metric's job, by the start of its name. What else there is comes from the pods, or from rules.
JOBS = {
    "alertmanager_": "alertmanager",
    "container_": "cadvisor",
    "keda_": "keda",
    "kube_": "kube-state-metrics",
    "kubelet_": "kubelet",
    "prometheus_": "prometheus",
    "slipway_": "kube-state-metrics",
}


def scraped_every(selector: Any) -> float:
    """The seconds between two samples of a series: the longest of the jobs it may come from."""
    config = json.loads(
        prometheus.configuration(["models"], alertmanager="http://alertmanager:9093", keda="keda")
    )
    seconds = {
        job["job_name"]: duration_seconds(
            job.get("scrape_interval", config["global"]["scrape_interval"])
        )
        for job in config["scrape_configs"]
    }
    assert set(JOBS.values()) == set(seconds) - {"pods"}
    if selector.name in ("up", "scrape_duration_seconds") and not selector.matchers.matchers:
        return max(seconds.values())
    jobs = [job for start, job in JOBS.items() if selector.name.startswith(start)]
    return seconds[jobs[0] if jobs else "pods"]


@pytest.mark.parametrize(("uid", "board"), BOARDS.items())
def test_a_query_keeps_to_the_interval_of_its_series(uid: str, board: dict[str, Any]) -> None:
    source = json.loads(grafana.datasources("http://prometheus.test"))["datasources"][0]
    targets = [target for panel in panels(board) for target in panel["targets"]]
    found = [query for query in queries(board, **VALUES) if query.kind == "panel"]
    for target, query in zip(targets, found, strict=True):
        interval = duration_seconds(target.get("interval", source["jsonData"]["timeInterval"]))
        assert interval >= max(map(scraped_every, asked(query))), query.promql


@pytest.mark.parametrize(("uid", "query"), QUERIES, ids=titled(QUERIES))
def test_a_rate_is_taken_over_four_samples(uid: str, query: Query) -> None:
    for leaf in leaves(promql_parser.parse(query.promql)):
        if isinstance(leaf, promql_parser.MatrixSelector) and query.kind == "panel":
            least = 4 * scraped_every(leaf.vector_selector)
            assert leaf.range.total_seconds() >= least, query.promql


def test_a_rate_that_is_not_known_is_not_zero() -> None:
    zeros = {query.panel for _, query in QUERIES if query.promql.endswith(" or vector(0)")}
    assert zeros == {"Alerts", "Alerts that fire"}


def test_pods_are_not_called_servers() -> None:
    for _, panel in PANELS:
        names = [o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]]
        assert "Servers" not in [panel["title"], *names]


def test_the_docs_reach_grafana_where_it_runs() -> None:
    forwards = re.findall(
        r"kubectl -n (\w+) port-forward service/grafana 3000 +# monitoring: (\w+)",
        (ROOT / "docs" / "dashboards.md").read_text(),
    )
    # As __main__.py places it: beside what is bundled, or with the models.
    assert forwards == [("monitoring", "bundled"), ("models", "operator")]


def test_panels_of_gpus_say_when_they_are_empty() -> None:
    gpus = [p for _, p in PANELS if any("DCGM_" in t["expr"] for t in p["targets"])]
    assert len(gpus) == 3
    assert all("Empty without GPUs" in p["description"] for p in gpus)


def test_what_may_be_empty_says_what_it_needs() -> None:
    needed = {(uid, query.needs) for uid, query in QUERIES if query.needs}
    assert needed == {
        ("slipway-model", "step"),
        ("slipway-model", "profile"),
        ("slipway-model", "shadow"),
        ("slipway-model", "zero"),
        ("slipway-fleet", "alert"),
        ("slipway-platform", "keda"),
        ("slipway-platform", "gpu"),
    }
    assert {needs for _, needs in needed} == set(REASONS)
    for _, query in QUERIES:
        names = {selector.name for selector in asked(query)}
        assert (query.needs == "gpu") == any(name.startswith("DCGM") for name in names)
        assert (query.needs == "shadow") == bool(names & COMPARER)
        assert (query.needs == "zero") == any(name.startswith("activator_") for name in names)
        assert (query.needs == "profile") == any("drift" in name for name in names)


def test_uids_are_fixed_and_read_only() -> None:
    for uid, board in BOARDS.items():
        assert board["uid"] == uid and board["editable"] is False and "id" not in board
        assert board["tags"] == ["slipway"]


def test_the_data_source_is_the_readers_choice() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    for board in BOARDS.values():
        first = board["templating"]["list"][0]
        assert (first["name"], first["type"], first["query"]) == (
            "datasource",
            "datasource",
            "prometheus",
        )
        assert all(v["datasource"] == source for v in board["templating"]["list"][1:])
        for panel in panels(board):
            assert panel["datasource"] == source
            assert all(target["datasource"] == source for target in panel["targets"])


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=titled(PANELS))
def test_every_panel_says_what_it_shows_and_what_is_bad(uid: str, panel: dict[str, Any]) -> None:
    assert panel["title"] and re.search(r"\b(bad|good)\b", panel["description"])
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] and panel["options"]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    values = [step["value"] for step in steps]
    assert values[0] is None and values[1:] == sorted(values[1:])
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)
    if panel["type"] == "timeseries":
        assert all(target["legendFormat"] for target in panel["targets"])


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_no_two_panels_overlap_or_share_an_id(board: dict[str, Any]) -> None:
    rows = [row for row in board["panels"] if row["type"] == "row"]
    for shown in (board["panels"], *(row["panels"] for row in rows)):
        taken: dict[tuple[int, int], str] = {}
        for panel in shown:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            for cell in (
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            ):
                assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
                taken[cell] = panel["title"]
    ids = [panel["id"] for panel in [*rows, *panels(board)]]
    assert len(set(ids)) == len(ids)


def test_panels_stand_below_the_title_of_their_row() -> None:
    for board in BOARDS.values():
        places = [(p["gridPos"]["y"], p["gridPos"]["x"]) for p in board["panels"]]
        assert places == sorted(places) and board["panels"][0]["type"] == "row"


def test_gpus_and_keda_ask_for_nothing_until_they_are_opened() -> None:
    rows = {p["title"]: p for p in platform_dashboard()["panels"] if p["type"] == "row"}
    assert [title for title, row in rows.items() if row["collapsed"]] == ["KEDA", "GPU"]
    assert all(bool(row["panels"]) == row["collapsed"] for row in rows.values())


def test_a_table_names_each_of_its_columns() -> None:
    for _, panel in PANELS:
        if panel["type"] != "table":
            continue
        names = panel["transformations"][-1]["options"]["renameByName"]
        overridden = {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]}
        assert overridden <= set(names.values())
        if len(panel["targets"]) > 1:
            values = {f"Value #{target['refId']}" for target in panel["targets"]}
            assert values == {name for name in names if name.startswith("Value")}
        assert all(t["format"] == "table" and t["instant"] for t in panel["targets"])


def test_the_canary_stands_beside_stable() -> None:
    compared = {
        panel["title"]
        for panel in panels(model_dashboard())
        if any("{{model_version}}" in target.get("legendFormat", "") for target in panel["targets"])
    }
    assert {
        "Predictions",
        "Prediction errors",
        "Failures at the gateway",
        "Latency, p50",
        "Latency, p95",
        "Latency, p99",
        "Active requests",
        "Share of traffic and weight",
    } <= compared


def test_json_and_back() -> None:
    for board in BOARDS.values():
        assert json.loads(text(board)) == board


def test_files_are_the_same_in_another_process_and_need_no_pulumi(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        code = (
            "import sys, runpy; sys.modules['pulumi'] = None;"
            f"sys.argv[1:] = [{str(tmp_path / seed)!r}];"
            "runpy.run_module('dashboards', run_name='__main__')"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(ROOT / "components"), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        written = {path.name: path.read_text() for path in (tmp_path / seed).iterdir()}
        assert written == every()


def test_a_directory_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments, line in (
        ([], "usage: python -m dashboards <directory>\n"),
        ([str(tmp_path / "file")], f"{tmp_path}/file: cannot be written to: File exists\n"),
    ):
        result = subprocess.run(
            [sys.executable, "-m", "dashboards", *arguments],
            env={"PYTHONPATH": str(ROOT / "components")},
            capture_output=True,
            text=True,
        )
        assert (result.returncode, result.stderr) == (2, line)
