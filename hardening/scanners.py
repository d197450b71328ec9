"""kube-score, checkov and pip-audit: how each is run, and what its answer means.

An answer that does not name all that the scanner was given is no answer: checkov, say, passes over
a file it cannot read, and ends with 0.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardening.findings import Finding, Level, ScannerError
from hardening.render import Rendered

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "hardening/.venv"
DOCKERFILE = "serving_image/Dockerfile"
# The serving cluster's version; checks for what it has deprecated depend on it.
KUBERNETES = "v1.34"
# Kinds that the scanner has checks for, so all objects of them must be in its answer.
KUBE_SCORE_KINDS = (
    "Deployment",
    "HorizontalPodAutoscaler",
    "Job",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
)
CHECKOV_KINDS = ("ClusterRole", "Deployment", "Job", "Role", "Secret", "Service", "ServiceAccount")
_GRADES = {1: Level.HIGH, 5: Level.MEDIUM, 7: Level.LOW}
_SECONDS = 300


def kube_score(stack: Rendered) -> list[Finding]:
    """All its checks, the optional ones too, over a stack; annotations excuse nothing.

    Raises:
        ScannerError: it failed, or left something out.
    """
    command = [str(ROOT / ".slipway/bin/kube-score"), "score", "-o", "json"]
    command += ["--kubernetes-version", KUBERNETES, "--all-default-optional"]
    command += ["--disable-ignore-checks-annotations", "--disable-optional-checks-annotations"]
    answer = _json("kube-score", [*command, str(stack.file)], (0, 1))
    return of_kube_score(answer, stack.stack, stack.subjects(*KUBE_SCORE_KINDS))


def of_kube_score(answer: Any, place: str, subjects: Collection[str]) -> list[Finding]:
    """The findings in an answer of kube-score 1.20 (`-o json`, version 2 of that format). A grade
    is 1 (critical), 5 (warning), 7 (almost right) or 10.

    Raises:
        ScannerError: one of `subjects` is not in it, or it is another format.
    """
    findings, seen = [], set()
    try:
        for each in answer:
            names = (
                each["type_meta"]["kind"],
                each["object_meta"].get("namespace"),
                each["object_meta"]["name"],
            )
            subject = "/".join(filter(None, names))
            seen.add(subject)
            for result in each["checks"]:
                check = result["check"]["id"]
                if result["skipped"] or result["grade"] >= 10:
                    continue
                level = _GRADES[result["grade"]]
                for comment in result["comments"] or [{}]:
                    message = comment.get("summary") or result["check"]["comment"]
                    if comment.get("path"):
                        message = f"{comment['path']}: {message}"
                    advice = comment.get("description") or ""
                    findings.append(
                        Finding("kube-score", check, subject, place, level, message, advice)
                    )
    except (AttributeError, KeyError, TypeError) as error:
        raise ScannerError(f"kube-score: an answer of another format: {error!r}") from None
    _all_there("kube-score", place, subjects, seen)
    return findings


def checkov(stack: Rendered) -> list[Finding]:
    """All its checks of Kubernetes over a stack, without calls home.

    Raises:
        ScannerError: it failed, or left something out.
    """
    answer = _checkov("kubernetes", "-d", str(stack.directory))
    return of_checkov(answer, stack.stack, stack.subjects(*CHECKOV_KINDS))


def checkov_dockerfile() -> list[Finding]:
    """All its checks of the serving image's Dockerfile.

    Raises:
        ScannerError: it failed.
    """
    return of_checkov(_checkov("dockerfile", "-f", DOCKERFILE), "the serving image", {DOCKERFILE})


def of_checkov(answer: Any, place: str, subjects: Collection[str]) -> list[Finding]:
    """The findings in an answer of checkov 3 (`-o json`). Without its maker's platform it has no
    levels. What an annotation or a comment skips is a finding all the same.

    Raises:
        ScannerError: one of `subjects` is not in it, a file could not be read, or it is another
            format.
    """
    findings, seen = [], set()
    try:
        # Without a single resource it writes a summary alone.
        results = answer.get("results", {})
        if results.get("parsing_errors"):
            raise ScannerError(f"checkov: {place}: cannot read {results['parsing_errors']}")
        for outcome in ("passed_checks", "failed_checks", "skipped_checks"):
            for each in results.get(outcome, []):
                subject = _checkov_subject(each["resource"], each["file_path"])
                seen.add(subject)
                if outcome != "passed_checks":
                    skipped = " (skipped where it stands)" if outcome == "skipped_checks" else ""
                    findings.append(
                        Finding(
                            "checkov",
                            each["check_id"],
                            subject,
                            place,
                            Level.UNRATED,
                            each["check_name"] + skipped,
                        )
                    )
    except (AttributeError, KeyError, TypeError) as error:
        raise ScannerError(f"checkov: an answer of another format: {error!r}") from None
    _all_there("checkov", place, subjects, seen)
    return findings


def _checkov_subject(resource: str, file: str) -> str:
    """Its `Deployment.mlflow.mlflow` (a template's pod has its labels behind that) as ours."""
    if file.endswith("Dockerfile"):
        return file.lstrip("/")
    kind, namespace, name = resource.split(".", 2)
    if kind == "Pod":
        name = name.split(".")[0]
    # It says `default` of what is in no namespace.
    return f"{kind}/{name}" if kind.startswith("Cluster") else f"{kind}/{namespace}/{name}"


def pip_audit(requirements: str) -> list[Finding]:
    """Known vulnerabilities of the packages that a requirements file pins, as PyPI knows them.

    Raises:
        ScannerError: it failed, or PyPI does not tell about a package.
    """
    command = [str(ENVIRONMENT / "bin/pip-audit"), "--requirement", str(ROOT / requirements)]
    command += ["--require-hashes", "--disable-pip", "--format", "json", "--desc", "off"]
    command += ["--progress-spinner", "off", "--timeout", "30"]
    pins = {
        line.split("==")[0].split("[")[0]
        for line in (ROOT / requirements).read_text().splitlines()
        if "==" in line and line[0].isalnum()
    }
    return of_pip_audit(_json("pip-audit", command, (0, 1)), requirements, pins)


def of_pip_audit(answer: Any, place: str, packages: Collection[str]) -> list[Finding]:
    """The findings in an answer of pip-audit 2 (`--format json`). It has no levels, and a package
    it knows nothing of it leaves out, with 0: here that is a failure.

    Raises:
        ScannerError: one of `packages` was not audited, or it is another format.
    """
    findings, seen = [], set()
    try:
        left_out = [each for each in answer["dependencies"] if "skip_reason" in each]
        if left_out:
            raise ScannerError(
                f"pip-audit: {place}: {len(left_out)} of {len(answer['dependencies'])} packages "
                f"not audited, {left_out[0]['name']} for one: {left_out[0]['skip_reason']}. It "
                "asks https://pypi.org/pypi/<name>/<version>/json, which a mirror may not have"
            )
        for each in answer["dependencies"]:
            seen.add(each["name"])
            for found in each["vulns"]:
                fixed = ", ".join(found["fix_versions"])
                findings.append(
                    Finding(
                        "pip-audit",
                        found["id"],
                        f"{each['name']}=={each['version']}",
                        place,
                        Level.UNRATED,
                        " ".join(["known vulnerability", *found.get("aliases", [])]),
                        f"Fixed in {fixed}" if fixed else "No version mends it",
                    )
                )
    except (AttributeError, KeyError, TypeError) as error:
        raise ScannerError(f"pip-audit: an answer of another format: {error!r}") from None
    _all_there("pip-audit", place, packages, seen)
    return findings


def _all_there(scanner: str, place: str, given: Collection[str], seen: Collection[str]) -> None:
    missing = sorted(set(given) - set(seen))
    if missing or not given:
        raise ScannerError(
            f"{scanner}: {place}: looked at {len(given) - len(missing)} of {len(given)}; "
            f"not at {', '.join(missing[:3]) or 'anything'}"
        )


def _checkov(framework: str, *what: str) -> Any:
    command = [str(ENVIRONMENT / "bin/checkov"), "--skip-download", "--framework", framework]
    return _json("checkov", [*command, "--compact", "-o", "json", *what], (0, 1))


def _json(scanner: str, command: Sequence[str], codes: Collection[int]) -> Any:
    """The JSON that the command prints.

    Raises:
        ScannerError: it does not run, end in time, end with one of `codes`, or print JSON.
    """
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except OSError as error:
        raise ScannerError(f"{scanner}: {command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ScannerError(f"{scanner}: not done after {_SECONDS} s") from None
    last = (done.stderr.strip().splitlines() or ["it printed no error"])[-1]
    if done.returncode not in codes:
        raise ScannerError(f"{scanner}: failed with status {done.returncode}: {last[:500]}")
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise ScannerError(f"{scanner}: its answer is no JSON: {last[:500]}") from None


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Less what would turn checks off, or send results to somebody's platform."""
    drop = ("CKV_", "CHECKOV_", "BC_", "PRISMA_", "PIP_AUDIT_", "PYTHON")
    return {key: value for key, value in given.items() if not key.startswith(drop)} | {
        "LOG_LEVEL": "ERROR"
    }
