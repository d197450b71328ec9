"""`python -m hardening scan`: kube-score and checkov over what the stacks render, and over the
serving image's Dockerfile. `python -m hardening audit`: pip-audit over the pinned packages.

Exits with 0 if every finding above low is accepted with a reason, and every exception excuses
something; with 1 otherwise, and if a scanner does not answer in full.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hardening import accepted, environment, render, scanners
from hardening.findings import Finding, Level, ScannerError, judge
from local.console import UserError, format_seconds, say

AUDITED = (
    "requirements.txt",
    "serving_image/requirements.txt",
    "serving_image/build-requirements.txt",
    "serving_image/gpu-requirements.txt",
    "policies/requirements.txt",
    "hardening/requirements.txt",
)
Scan = Callable[[], list[Finding]]


def scan(directory: Path) -> dict[str, Scan]:
    """What `scan` runs, by what it says of it. Renders the stacks into the directory."""
    runs: dict[str, Scan] = {}
    charts = 0
    for name, configuration in render.stacks().items():
        stack = render.write(name, configuration, directory / name)
        charts = max(charts, stack.charts)
        runs[f"checkov {name}"] = lambda stack=stack: scanners.checkov(stack)  # type: ignore[misc]
        runs[f"kube-score {name}"] = lambda stack=stack: scanners.kube_score(stack)  # type: ignore[misc]
    say(
        f"  hardening: {len(runs) // 2} stacks rendered, without what Helm makes of {charts} charts"
    )
    runs["checkov Dockerfile"] = scanners.checkov_dockerfile
    return runs


def audit() -> dict[str, Scan]:
    """What `audit` runs, by what it says of it."""
    return {
        f"pip-audit {name}": lambda name=name: scanners.pip_audit(name)  # type: ignore[misc]
        for name in AUDITED
    }


def main(arguments: Sequence[str]) -> int:
    """Run one of the two commands; its exit code."""
    if list(arguments) not in (["scan"], ["audit"]):
        say("slipway: python -m hardening: say scan or audit")
        return 2
    try:
        excused = accepted.load()
        environment.ensure()
        with tempfile.TemporaryDirectory(prefix="slipway-hardening-") as directory:
            runs = scan(Path(directory)) if arguments[0] == "scan" else audit()
            findings = _run(runs)
    except (UserError, ScannerError, accepted.AcceptedError) as error:
        for line in str(error).splitlines():
            say(f"slipway: hardening: {line}")
        return 1
    names = {name.split()[0] for name in runs}
    verdict = judge(findings, excused, names)
    for name in sorted(names):
        counts = (f"{verdict.counts[name, level]} {level.name.lower()}" for level in _levels())
        say(f"  hardening: {name}: {', '.join(counts)}")
    for line in [finding.line() for finding in verdict.unlisted] + list(verdict.dead):
        say(f"slipway: hardening: {line}")
    if verdict.passed:
        say(f"  hardening: every finding above low is one of {len(excused)} accepted")
    return 0 if verdict.passed else 1


def _levels() -> list[Level]:
    return sorted(Level, reverse=True)


def _run(runs: dict[str, Scan]) -> list[Finding]:
    """All findings. Raises the first failure, when those under way are done."""

    def timed(name: str) -> list[Finding]:
        start = time.monotonic()
        found = runs[name]()
        seconds = format_seconds(time.monotonic() - start)
        say(f"  hardening: {name}: {len(found)} findings in {seconds}")
        return found

    with ThreadPoolExecutor(max_workers=2) as pool:
        return [finding for found in pool.map(timed, runs) for finding in found]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
