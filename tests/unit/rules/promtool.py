"""Rules tried by `promtool test rules`, many files in one run."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from components.manifests import rules
from settings import Settings, parse

ROOT = Path(__file__).resolve().parents[3]
PROMTOOL = ROOT / ".slipway" / "bin" / "promtool"

STACK: Settings = parse(
    {
        "context": "test",
        "registry": "registry.test:5000",
        "models": {
            "churn": {"stable": 1},
            "fraud": {
                "stable": 3,
                "sticky": {"header": "x-user"},
                "objectives": {
                    "availability": 99.9,
                    "latency": {"threshold": "250ms", "percent": 95},
                },
            },
            "nightly": {"stable": 1, "scaling": {"min": 0, "requests_per_second": 10}},
        },
        "alerts": {"canary_stuck": "6h"},
    }
)
RULES: dict[str, Any] = rules.groups(STACK.models, STACK.alerts)
GROUPS: dict[str, dict[str, Any]] = {group["name"]: group for group in RULES["groups"]}


def by_key(groups: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The alerts of groups by the key under which each is tried: its name, and behind that its
    severity where another has the same name.
    """
    found = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    names = [rule["alert"] for rule in found]
    keys = [
        name if names.count(name) == 1 else f"{name}_{rule['labels']['severity']}"
        for name, rule in zip(names, found, strict=True)
    ]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, found, strict=True))


ALERTS: dict[str, dict[str, Any]] = by_key(GROUPS.values())

Fired = tuple[Mapping[str, str], str]  # labels beside severity, summary


@dataclass(frozen=True)
class Case:
    """`alert`, a key of ALERTS, is tried on `series`, sampled each `every` and evaluated as often,
    or each `evaluated`; `at` that time it fires as `fires` says, or not at all. `recording` are
    groups of rules that come before it.
    """

    alert: str
    name: str
    series: Mapping[str, str]
    at: str
    fires: Sequence[Fired] = ()
    every: str = "1m"
    evaluated: str = ""
    recording: Sequence[str] = ()


@dataclass(frozen=True)
class Recorded:
    """Queries, and what they must give at a time: label sets with values, to six digits."""

    name: str
    groups: Sequence[str]
    series: Mapping[str, str]
    at: str
    values: Mapping[str, Mapping[str, float]]
    every: str = "15s"
    evaluated: str = "15s"


def run(folder: Path, files: Sequence[Mapping[str, Any]]) -> list[str]:
    """Runs test files, given in promtool's own words but for `rules`, which are groups. Returns
    what promtool says of each test that fails.
    """
    paths = []
    for number, file in enumerate(files):
        rule_file = folder / f"{number}.rules"
        rule_file.write_text(json.dumps({"groups": file["rules"]}))
        order = {"group_eval_order": [group["name"] for group in file["rules"]]}
        content = {**file, **order, "rule_files": [rule_file.name]}
        del content["rules"]
        paths.append(folder / f"{number}.json")
        paths[-1].write_text(json.dumps(content))
    report = folder / "junit.xml"
    command = [str(PROMTOOL), "test", "rules", f"--junit={report}", *map(str, paths)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120)
    assert report.exists(), done.stderr
    root = ElementTree.parse(report).getroot()
    assert len(list(root.iter("testcase"))) == sum(len(file["tests"]) for file in files)
    failures = [it.text or "" for kind in ("failure", "error") for it in root.iter(kind)]
    assert bool(failures) == bool(done.returncode), done.stderr
    return failures


def files_of(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Test files of cases, in each of which the alert stands beside its mutants, so that series
    are loaded once for all of them. Behind recording rules the alert stands alone.
    """
    together: dict[tuple[str, str, tuple[str, ...]], list[Case]] = {}
    for case in cases:
        evaluated = case.evaluated or case.every
        together.setdefault((case.alert, evaluated, tuple(case.recording)), []).append(case)
    return [
        {
            "evaluation_interval": evaluated,
            "rules": [
                *(GROUPS[name] for name in recording),
                {"name": "tried", "rules": _tried(alert, recording)},
            ],
            "tests": [_test(case) for case in some],
        }
        for (alert, evaluated, recording), some in together.items()
    ]


def file_of(recorded: Recorded) -> dict[str, Any]:
    """The test file of recorded values."""
    queries = [
        {
            "expr": f"round({query}, 1e-6)",
            "eval_time": recorded.at,
            "exp_samples": [{"labels": at, "value": value} for at, value in samples.items()],
        }
        for query, samples in recorded.values.items()
    ]
    test = {
        "name": recorded.name,
        "interval": recorded.every,
        "input_series": _series(recorded.series),
        "promql_expr_test": queries,
    }
    groups = [GROUPS[name] for name in recorded.groups]
    return {"evaluation_interval": recorded.evaluated, "rules": groups, "tests": [test]}


def mutants(key: str) -> dict[str, Mapping[str, Any]]:
    """The alert of that key with one number, or its `for`, moved: what was moved -> the rule, under
    a name of its own.

    Whole numbers below ten move by one, or from 0 by two; others by a tenth; `for` to half and
    to twice as long. Where series are compared with series alone, `>` and `>=` change places.
    """
    alert = ALERTS[key]
    expr: str = alert["expr"]
    blank = re.sub(r'"[^"]*"|\[[^\]]*\]|offset \w+', lambda found: "#" * len(found[0]), expr)
    found: dict[str, Mapping[str, Any]] = {}
    for number in re.finditer(r"(?<![\w:.])\d+(?:\.\d+)?(?![\w:.])", blank):
        for moved in _moved(number[0]):
            text = expr[: number.start()] + moved + expr[number.end() :]
            found[f"{number[0]} at {number.start()} -> {moved}"] = {**alert, "expr": text}
    if not found:
        for sign in re.finditer(r">=?", blank):
            text = expr[: sign.start()] + {">": ">=", ">=": ">"}[sign[0]] + expr[sign.end() :]
            found[f"{sign[0]} at {sign.start()}"] = {**alert, "expr": text}
    if "for" in alert:
        minutes = int(alert["for"].removesuffix("m"))
        for seconds in (minutes * 30, minutes * 120):
            found[f"for -> {seconds}s"] = {**alert, "for": f"{seconds}s"}
    return {
        what: {**rule, "alert": mutant_name(key, number)}
        for number, (what, rule) in enumerate(found.items())
    }


def mutant_name(key: str, number: int) -> str:
    """The name under which the mutant of that number is tried."""
    return f"{key}_{number}"


def _tried(alert: str, recording: Sequence[str]) -> list[Mapping[str, Any]]:
    """What stands under that key, by its key for a name, and its mutants."""
    rule = {**ALERTS[alert], "alert": alert}
    return [rule, *(() if recording else mutants(alert).values())]


def _moved(number: str) -> tuple[str, str]:
    value = float(number)
    if "." in number or value >= 10:
        return f"{value * 0.9:.6g}", f"{value * 1.1:.6g}"
    return (f"{value - 1:g}", f"{value + (1 if value else 2):g}")


def _test(case: Case) -> dict[str, Any]:
    rule = ALERTS[case.alert]
    names = [tried["alert"] for tried in _tried(case.alert, case.recording)]
    expected = [
        {
            "exp_labels": {**labels, **rule["labels"]},
            "exp_annotations": {**rule["annotations"], "summary": summary},
        }
        for labels, summary in case.fires
    ]
    return {
        "name": case.name,
        "interval": case.every,
        "input_series": _series(case.series),
        "alert_rule_test": [
            {"eval_time": case.at, "alertname": name, "exp_alerts": expected} for name in names
        ],
    }


def _series(series: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series.items()]
