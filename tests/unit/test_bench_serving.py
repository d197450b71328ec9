"""The serving benchmark's pure parts, and its watch over processes on a real one."""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.serving import environments, measure, picture, plan, processes, report, servers, wrk
from bench.serving.cases import CASES, LOADS, MANY, ONE, ROWS_MANY, ROWS_ONE
from bench.serving.measure import Run
from bench.serving.processes import Memory, Process
from bench.serving.wrk import Measure
from local.console import UserError

_WRK = """Running 1s test @ http://127.0.0.1:8000/invocations
  1 threads and 32 connections
  Latency Distribution
     50%    1.03ms
     99%    2.25ms
  10712 requests in 2.00s, 1.20MB read

@bench {"duration_us": 2000000, "requests": 10712, "p50_us": 1034, "p99_us": 2251, \
"max_us": 9000, "connect": 0, "read": 1, "write": 0, "timeout": 2, "status": 4}
"""


def _measure(per_second: float, p50_ms: float) -> Measure:
    return Measure(100, per_second, p50_ms, 2 * p50_ms, 3 * p50_ms, 0, 0)


def _run(server: str, number: int, speed: float, case: str = "logistic-10") -> Run:
    """A run of a server that answers `speed` requests a second, whatever the load."""
    return Run(
        case=case,
        server=server,
        round=number,
        ready_seconds=1000 / speed,
        loads={load.key: _measure(speed, 1000 / speed) for load in LOADS},
        memory=Memory(100.0, 90.0, 150.0, 120.0, (Process("worker", 1.0, 100.0, 90.0),)),
    )


def test_wrk_figures_are_read_whole() -> None:
    found = wrk.parse(_WRK)
    assert (found.requests, found.per_second) == (10712, 5356.0)
    assert (found.p50_ms, found.p99_ms, found.max_ms) == (1.034, 2.251, 9.0)
    assert (found.failed_status, found.failed_socket) == (4, 3)


@pytest.mark.parametrize(("output", "reason"), [("", "printed nothing"), ("boom", "boom")])
def test_wrk_without_figures_is_one_clear_line(output: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"^wrk: gave no figures: .*{reason}$"):
        wrk.parse(output)


def test_no_wrk_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(wrk, "LINKS", tmp_path)
    with pytest.raises(UserError, match=r"^wrk: not found on PATH; install it \(apt-get install"):
        wrk.find()


def test_a_body_travels_in_the_script_as_it_is() -> None:
    body = json.dumps({"a": ['quote " and \\ backslash', "]]"]}).encode()
    assert f"[==[{body.decode()}]==]" in wrk.script(body)
    with pytest.raises(ValueError, match="end of a Lua string"):
        wrk.script(b'"]==]"')


def test_requests_hold_the_rows_exactly() -> None:
    rows = [[0.1, 1 / 3, -2.5e-17], [4.0, 5.0, 6.0]]
    split = json.loads(json.dumps(servers.SLIPWAY.body(rows)))["dataframe_split"]
    assert split == {"columns": ["c0", "c1", "c2"], "data": rows}
    tensor = json.loads(json.dumps(servers.MLSERVER_PEER.body(rows)))["inputs"][0]
    assert (tensor["shape"], tensor["datatype"]) == ([2, 3], "FP64")
    assert tensor["data"] == rows[0] + rows[1]
    assert servers.BENTOML_PEER.body(rows) == {"rows": rows}


@pytest.mark.parametrize(
    ("peer", "answer"),
    [
        (servers.MLFLOW, {"predictions": [1, 0]}),
        (servers.MLSERVER_PEER, {"outputs": [{"shape": [2, 1], "data": [1, 0]}]}),
        (servers.BENTOML_PEER, [1, 0]),
    ],
)
def test_answers_are_read(peer: servers.Peer, answer: Any) -> None:
    assert peer.read(answer) == [1, 0]


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        ([0, 1], [0, 1], None),
        ([math.nextafter(0.3, 1)], [0.3], None),
        ([0], [0, 1], "1 predictions instead of 2"),
        ([0, 0], [0, 1], "prediction 1 is 0 instead of 1"),
        ([0.3001], [0.3], "prediction 0 is 0.3001 instead of 0.3"),
        (["0"], [0], "prediction 0 is '0' instead of 0"),
        ([None], [0], "prediction 0 is None instead of 0"),
    ],
)
def test_a_wrong_prediction_is_found(
    found: list[Any], expected: list[float], said: str | None
) -> None:
    assert measure.difference(found, expected) == said


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ('# TYPE x\nmodel_compiled{model_name="a",model_version="1"} 1.0\n', True),
        ('model_compiled{model_name="a"} 1', True),
        ("model_compiled 1.0", True),
        ('model_compiled{model_name="a"} 0.0', False),
        ('model_compiled_seconds{model_name="a"} 1.0', False),
        ("", False),
    ],
)
def test_the_metric_of_a_compiled_model(metrics: str, said: bool) -> None:
    assert measure.is_compiled(metrics) is said


def test_proc_files_are_read() -> None:
    stat = "42 (a) b (c) S 7 42 41 0 -1 4194560 10 0 0 0 150 25 0 0 20 0 1 0 100 1 1"
    assert processes.parse_stat(stat) == (7, 41, 175)
    rollup = "5581 [rollup]\nRss:  2048 kB\nPss:  1536 kB\nPss_Dirty:  9 kB\n"
    assert processes.parse_rollup(rollup) == (2.0, 1.5)
    assert processes.parse_cpu("cpu  10 20 30 1000 5 6 7 40 0 0\ncpu0 1 2 3\n") == 100


@pytest.mark.parametrize(
    ("cmdline", "name"),
    [
        ("/x/python\0-m\0slipway_runtime.server\0", "slipway_runtime.server"),
        ("/x/python\0-u\0/x/bin/mlflow\0models\0-m\0/x/model\0", "mlflow"),
        ("/x/python\0-c\0from x import y\0", "python"),
        ("sleep\0", "sleep"),
    ],
)
def test_processes_are_named_without_paths(cmdline: str, name: str) -> None:
    assert processes.command_name(cmdline) == name


def test_pins_are_read() -> None:
    text = (
        "mlflow==3.17.2 \\\n    --hash=sha256:00==1\n# x==1\ntritonclient[http]==2.73.0 ; extra\n"
    )
    assert environments.parse_pins(text) == {"mlflow": "3.17.2", "tritonclient": "2.73.0"}


def test_every_environment_pins_its_server_with_hashes() -> None:
    for peer in servers.PEERS:
        text = peer.environment.pins.read_text()
        assert not peer.package or peer.package in peer.environment.versions()
        assert len(peer.environment.versions()) <= text.count("--hash=sha256:")


def test_figures_are_medians_over_the_rounds() -> None:
    runs = [_run("limit", number, speed) for number, speed in enumerate((100, 900, 200))]
    runs.append(Run("logistic-10", "limit", 3, faults=["it did not start"]))
    found = report.figures(runs)[("logistic-10", "limit")]
    assert found[f"{MANY.key}.per_second"] == 200
    assert found[f"{ONE.key}.p50_ms"] == 5
    assert (found["rss_mib"], found["pss_mib"], found["ready_s"]) == (100, 120, 5)


def test_a_ratio_needs_both_figures() -> None:
    assert report.ratio({"a": 3.0}, {"a": 2.0}, "a") == 1.5
    assert report.ratio({"a": 3.0}, {}, "a") is None
    assert report.ratio({}, {"a": 2.0}, "a") is None
    assert report.ratio({"a": 3.0}, {"a": 0.0}, "a") is None


def test_goals_are_met_at_their_bounds_and_missed_past_them() -> None:
    runs = [_run("limit", 0, 1000), _run("slipway", 0, 600), _run("mlflow", 0, 60)]
    runs[1].memory = replace(runs[1].memory or pytest.fail(), worker_rss=99.0)
    runs[1].loads[ONE.key] = _measure(600, 1.5)
    runs[1].loads[ROWS_MANY.key] = _measure(599, 1)
    found = {goal.name: goal for goal in report.goals(CASES, runs)}
    assert {name for name, goal in found.items() if goal.met} == {
        "req/s at c=32, of the limit",
        "p50 at c=1, of the limit",
        "100 rows at c=1, of MLflow",
        "RSS of a worker, of MLflow",
        "ready, seconds",
    }
    assert not found["100 rows at c=8, of MLflow"].met
    # As much memory as MLflow is not below it.
    assert not found["memory in all, of MLflow"].met


def test_wrong_answers_meet_no_goal() -> None:
    runs = [_run("limit", 0, 1000), _run("slipway", 0, 5000), _run("mlflow", 0, 10)]
    assert any(goal.met for goal in report.goals(CASES, runs))
    runs[1].faults.append("c32: 3 answers with an error")
    assert not any(goal.met for goal in report.goals(CASES, runs))


def test_a_goal_without_its_measures_is_left_out() -> None:
    names = {goal.name for goal in report.goals(CASES, [_run("slipway", 0, 100)])}
    assert names == {"ready, seconds"}


def test_the_table_shows_ratios_gaps_and_faults() -> None:
    slow = _run("mlflow", 0, 10)
    del slow.loads[ROWS_ONE.key]
    slow.faults.append("rows100_c1: status 500")
    runs = [_run("limit", 0, 2000), _run("slipway", 0, 1300), slow]
    lines = report.table(CASES, runs, {"limit": "L", "slipway": "S", "mlflow": "M"}).splitlines()
    assert CASES[0].title in lines
    limit, slipway, mlflow = (next(x for x in lines if x.split()[:1] == [k]) for k in "LSM")
    assert limit.split()[6:8] == ["1.00", "200.0"]
    assert slipway.split()[4:8] == ["1,300", "1.54", "0.65", "130.0"]
    assert mlflow.split()[8] == "-"
    assert lines[lines.index(mlflow) + 1].strip() == "! rows100_c1: status 500"
    # Every column stands under its head.
    assert len({len(line) for line in (limit, slipway, mlflow, lines[1])}) == 1


def test_the_goals_table_marks_what_is_missed() -> None:
    runs = [_run("limit", 0, 1000), _run("slipway", 0, 100)]
    text = report.goal_table(CASES, report.goals(CASES, runs))
    assert "0.10 MISSED" in text
    assert text.endswith("0 of 3 goals met")


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path))
    whole, out = plan.arguments("", [])
    assert out == plan.RESULTS
    assert {peer.key for _, peer, _ in whole.runs()} == {peer.key for peer in servers.PEERS}
    some, out = plan.arguments("", ["--only", "slipway,limit", "--cases", "logistic-3"])
    assert [(case.key, peer.key) for case, peer, _ in some.runs()] == [
        ("logistic-3", "limit"),
        ("logistic-3", "slipway"),
    ]
    # A part does not overwrite the results of the whole.
    assert tmp_path in out.parents
    quick, _ = plan.arguments("", ["--quick"])
    assert (quick.rounds, quick.seconds, {case.main for case in quick.cases}) == (1, 1, {True})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "triton"], "--only: 'triton' is none of limit, slipway, mlflow"),
        (["--cases", "forest"], "--cases: 'forest' is none of logistic-10"),
        (["--seconds", "0"], "--seconds: 0 is not a whole number from 1 to 60"),
        (["--rounds", "11"], "--rounds: 11 is not a whole number from 1 to 10"),
    ],
)
def test_a_wrong_option_is_one_clear_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        plan.arguments("", words)


def test_the_picture_is_drawn_of_a_part_too(tmp_path: Path) -> None:
    medians = {"forest-10": {"slipway": {"ready_s": 1.0}}}
    content = {
        "medians": medians,
        "servers": {"slipway": "Slipway"},
        "cases": {case.key: case.title for case in CASES},
        "machine": {"cpu": "a CPU", "cores": 2},
        "date": "2026-01-01T00:00:00+00:00",
    }
    picture.draw(content, tmp_path / "part.png")
    for case in CASES:
        shares = {MANY.key + ".per_second": 10.0, ONE.key + ".p50_ms": 1.0}
        medians[case.key] = {"limit": shares, "slipway": shares, "mlflow": shares}
    picture.draw(content, tmp_path / "whole.png")
    sizes = [(tmp_path / name).stat().st_size for name in ("part.png", "whole.png")]
    assert (tmp_path / "whole.png").read_bytes().startswith(b"\x89PNG")
    assert 0 < sizes[0] < sizes[1]


_TREE = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal, time\\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\ntime.sleep(60)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sum(range(3_000_000))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_server_is_watched_and_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_STOP_SECONDS", 0.3)
    (port,) = processes.free_ports(1)
    command = [sys.executable, "-c", _TREE, str(port)]
    with processes.running(command, dict(os.environ), tmp_path) as server:
        ready = server.wait_ready(port, "/")
        assert 0 < ready < server.wait_rest() < 60
        before = server.cpu_ticks()
        assert len(before) == 2
        for _ in range(3):
            assert processes.request(port, "GET", "/")[0] == 200
        memory = server.memory(before)
        assert len(memory.processes) == 2
        assert memory.processes[0].cpu_seconds > memory.processes[1].cpu_seconds
        assert memory.worker_rss == memory.processes[0].rss > 1
        assert memory.tree_rss > memory.worker_rss
    # The child ignores being asked: it was ended all the same.
    assert not any(processes.alive(pid) for pid in before)


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        processes.running(command, dict(os.environ), tmp_path) as server,
        pytest.raises(UserError, match="^it ended with status 1: no such model$"),
    ):
        server.wait_ready(1, "/")
