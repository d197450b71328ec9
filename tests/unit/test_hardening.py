"""What scanners say, compared with what is accepted. Pure: no scanner runs."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

from hardening import __main__ as command
from hardening import accepted, scanners
from hardening.accepted import AcceptedError
from hardening.findings import Accepted, Finding, Level, ScannerError, judge

MLFLOW = "Deployment/mlflow/mlflow"
BAD = Finding("kube-score", "probes", MLFLOW, "dev", Level.HIGH, "No probe", "Add one.")
EXCUSED = Accepted("kube-score", "probes", ("Deployment/mlflow/*",), "It is slow.")
NAMES = ("checkov", "kube-score")


def test_a_new_finding_fails_with_all_that_is_known_of_it() -> None:
    verdict = judge([BAD, BAD], [], NAMES)
    assert not verdict.passed
    assert verdict.unlisted == (BAD,)
    assert verdict.counts["kube-score", Level.HIGH] == 1
    assert BAD.line() == (
        "kube-score probes (high): Deployment/mlflow/mlflow of dev: No probe. Add one. Mend it, or "
        "list it with a reason in hardening/accepted.yaml"
    )


def test_an_accepted_finding_passes_and_is_counted() -> None:
    verdict = judge([BAD], [EXCUSED], NAMES)
    assert verdict.passed
    assert verdict.counts["kube-score", Level.HIGH] == 1


@pytest.mark.parametrize(
    "other",
    [
        {"scanner": "checkov"},
        {"check": "limits"},
        {"subject": "Deployment/models/mlflow"},
    ],
)
def test_an_exception_excuses_nothing_else(other: dict[str, str]) -> None:
    finding = Finding(**{**vars(BAD), **other})
    verdict = judge([BAD, finding], [EXCUSED], NAMES)
    assert verdict.unlisted == (finding,)
    assert not verdict.dead


@pytest.mark.parametrize(
    ("level", "passes"),
    [(Level.LOW, True), (Level.UNRATED, False), (Level.MEDIUM, False), (Level.HIGH, False)],
)
def test_low_alone_needs_no_reason(level: Level, passes: bool) -> None:
    finding = Finding("checkov", "C1", MLFLOW, "dev", level, "so")
    assert judge([finding], [], NAMES).passed is passes


def test_an_exception_that_excuses_nothing_fails_by_its_pattern() -> None:
    both = Accepted("kube-score", "probes", (MLFLOW, "Job/*"), "It is slow.")
    verdict = judge([BAD], [both], NAMES)
    assert not verdict.passed and not verdict.unlisted
    assert verdict.dead == (
        "kube-score probes: Job/*: nothing is found there any more; remove it from "
        "hardening/accepted.yaml",
    )
    low = Finding(**{**vars(BAD), "level": Level.LOW})
    assert judge([low], [EXCUSED], NAMES).dead, "what is low needs no exception"


def test_exceptions_of_a_scanner_that_did_not_run_are_left_alone() -> None:
    assert judge([], [EXCUSED], ["pip-audit"]).passed


# The file

ENTRY = "- {scanner: checkov, check: C1, objects: [a], reason: so}\n"


def test_the_file_of_the_project_is_read() -> None:
    found = accepted.load()
    assert found and all(len(entry.reason) > 40 or "above" in entry.reason for entry in found)
    assert accepted.parse(ENTRY) == (Accepted("checkov", "C1", ("a",), "so"),)
    assert accepted.parse("[]") == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            ENTRY.replace("}", ", severity: low}"),
            "accepted.yaml: entry 1: severity: there is no such key; allowed: scanner, check, "
            "objects, reason",
        ),
        (ENTRY.replace(", reason: so", ""), "accepted.yaml: entry 1: reason: is not there"),
        (ENTRY.replace("reason: so", "reason: ' '"), "accepted.yaml: entry 1: reason: ' ' is"),
        (ENTRY + ENTRY.replace("C1", "7"), "accepted.yaml: entry 2: check: 7 is not a text"),
        (
            ENTRY.replace("checkov", "trivy"),
            "accepted.yaml: entry 1: scanner: 'trivy' is none of checkov, kube-score, pip-audit",
        ),
        (ENTRY.replace("[a]", "[]"), "accepted.yaml: entry 1: objects: [] is not a list of"),
        (ENTRY.replace("[a]", "a"), "accepted.yaml: entry 1: objects: 'a' is not a list of"),
        ("- nothing\n", "accepted.yaml: entry 1: 'nothing' is not a mapping with the keys"),
        ("a: 1\n", "accepted.yaml: is not a list of exceptions"),
        ("", "accepted.yaml: is not a list of exceptions"),
        ("- a\n- [", "accepted.yaml: is no YAML at line"),
    ],
)
def test_a_fault_in_the_file_is_named(text: str, line: str) -> None:
    with pytest.raises(AcceptedError) as caught:
        accepted.parse(text)
    assert str(caught.value).startswith(line)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AcceptedError, match=r"none\.yaml: No such file"):
        accepted.load(tmp_path / "none.yaml")


# Answers of scanners

KUBE_SCORE: list[dict[str, Any]] = [
    {
        "type_meta": {"kind": "Deployment", "apiVersion": "apps/v1"},
        "object_meta": {"name": "mlflow", "namespace": "mlflow"},
        "checks": [
            {
                "check": {"id": "tag", "comment": "A tag"},
                "grade": grade,
                "skipped": skipped,
                "comments": comments,
            }
            for grade, skipped, comments in (
                (1, False, [{"path": "server", "summary": "Bad", "description": "Do"}]),
                (5, False, None),
                (7, False, [{"summary": "Nearly"}]),
                (10, False, None),
                (1, True, [{"summary": "Skipped"}]),
            )
        ],
    }
]
CHECKOV: dict[str, Any] = {
    "results": {
        "passed_checks": [],
        "failed_checks": [
            {
                "check_id": "CKV_1",
                "check_name": "Tag",
                "resource": "Pod.mlflow.mlflow.app.kubernetes.io/name-mlflow",
                "file_path": "/objects.yaml",
            }
        ],
        "skipped_checks": [
            {
                "check_id": "CKV_2",
                "check_name": "Root",
                "resource": "ClusterRole.default.slipway",
                "file_path": "/objects.yaml",
            }
        ],
        "parsing_errors": [],
    }
}
AUDIT: dict[str, Any] = {
    "dependencies": [
        {"name": "safe", "version": "1", "vulns": []},
        {
            "name": "old",
            "version": "1.0",
            "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": ["CVE-1"]}],
        },
    ]
}


def test_an_answer_of_kube_score() -> None:
    found = scanners.of_kube_score(KUBE_SCORE, "dev", {MLFLOW})
    assert [(it.check, it.subject, it.level, it.message, it.advice) for it in found] == [
        ("tag", MLFLOW, Level.HIGH, "server: Bad", "Do"),
        ("tag", MLFLOW, Level.MEDIUM, "A tag", ""),
        ("tag", MLFLOW, Level.LOW, "Nearly", ""),
    ]


def test_an_answer_of_checkov() -> None:
    found = scanners.of_checkov(CHECKOV, "dev", {"Pod/mlflow/mlflow"})
    assert [(it.check, it.subject, it.level, it.message) for it in found] == [
        ("CKV_1", "Pod/mlflow/mlflow", Level.UNRATED, "Tag"),
        ("CKV_2", "ClusterRole/slipway", Level.UNRATED, "Root (skipped where it stands)"),
    ]


def test_an_answer_of_pip_audit() -> None:
    (found,) = scanners.of_pip_audit(AUDIT, "requirements.txt", {"safe", "old"})
    assert (found.check, found.subject) == ("PYSEC-1", "old==1.0")
    assert "CVE-1" in found.line() and "Fixed in 1.1" in found.line()


@pytest.mark.parametrize(
    ("read", "answer", "names"),
    [
        (scanners.of_kube_score, KUBE_SCORE, {MLFLOW}),
        (scanners.of_checkov, CHECKOV, {"Pod/mlflow/mlflow"}),
        (scanners.of_pip_audit, AUDIT, {"safe", "old"}),
    ],
)
def test_an_answer_that_leaves_something_out_is_none(read: Any, answer: Any, names: Any) -> None:
    with pytest.raises(ScannerError, match="not at Service/a/b"):
        read(answer, "dev", names | {"Service/a/b"})
    with pytest.raises(ScannerError, match="not at anything"):
        read(answer, "dev", set())
    for other in (None, [], {}, {"results": {}}, [{}], "text", 7):
        with pytest.raises(ScannerError):
            read(other, "dev", names)


def test_a_file_that_checkov_cannot_read_is_a_failure() -> None:
    answer = copy.deepcopy(CHECKOV)
    answer["results"]["parsing_errors"] = ["/objects.yaml"]
    with pytest.raises(ScannerError, match="cannot read"):
        scanners.of_checkov(answer, "dev", {"Pod/mlflow/mlflow"})


def test_a_package_that_was_not_audited_is_a_failure() -> None:
    answer = {"dependencies": [*AUDIT["dependencies"], {"name": "new", "skip_reason": "Not found"}]}
    with pytest.raises(ScannerError, match="1 of 3 packages not audited, new for one: Not found"):
        scanners.of_pip_audit(answer, "requirements.txt", {"safe", "old", "new"})


# The command


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `python -m hardening scan` with one scan in the place of all."""

    def run(one: Any, excused: tuple[Accepted, ...] = ()) -> int:
        monkeypatch.setattr(command.environment, "ensure", lambda: None)
        monkeypatch.setattr(command.accepted, "load", lambda: excused)
        monkeypatch.setattr(command, "scan", lambda _: {"kube-score dev": one})
        return command.main(["scan"])

    return run


def test_the_command_says_what_it_makes_of_it(
    scan: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan(lambda: [BAD]) == 1
    assert f"slipway: hardening: {BAD.line()}" in capsys.readouterr().out
    assert scan(lambda: [BAD], (EXCUSED,)) == 0
    assert "kube-score: 1 high, 0 medium, 0 unrated, 0 low" in capsys.readouterr().out
    assert scan(list, (EXCUSED,)) == 1
    assert "nothing is found there any more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("import sys; sys.exit('died')", "status 1: died"),
        ("import sys; sys.exit(2)", "status 2: it printed no error"),
        ("import os; os.abort()", "status -6"),
        ("print('no finding')", "its answer is no JSON"),
        ("", "its answer is no JSON"),
        ("print('[]')", "not at Deployment/mlflow/mlflow"),
    ],
)
def test_a_scanner_that_crashes_never_passes(
    scan: Any, capsys: pytest.CaptureFixture[str], program: str, line: str
) -> None:
    words = [sys.executable, "-c", program]

    def crash() -> list[Finding]:
        return scanners.of_kube_score(scanners._json("kube-score", words, (0,)), "dev", {MLFLOW})

    assert scan(crash) == 1
    assert f"slipway: hardening: kube-score: {line}" in capsys.readouterr().out.replace(
        "failed with ", ""
    ).replace("dev: looked at 0 of 1; ", "")


def test_a_scanner_that_is_not_there_never_passes(
    scan: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan(lambda: scanners._json("kube-score", ["/none/kube-score"], (0,))) == 1
    assert "kube-score: /none/kube-score: No such file" in capsys.readouterr().out


def test_nothing_in_the_environment_turns_checks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CKV_SKIP_CHECK", "CKV_K8S_43")
    monkeypatch.setenv("BC_API_KEY", "key")
    program = "import json, os; print(json.dumps(sorted(os.environ)))"
    seen = scanners._json("checkov", [sys.executable, "-c", program], (0,))
    assert "PATH" in seen and not {"CKV_SKIP_CHECK", "BC_API_KEY"} & set(seen)
