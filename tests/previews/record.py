"""Records what Pulumi prints of each case: `.venv/bin/python -m tests.previews.record [case …]`.

It runs Pulumi itself, without a cluster, in the environment of `make env`. What differs from run
to run and what nobody reads (times, places in the source, outputs) is left out, and so are the
resources that stay as they are and are neither workloads nor their autoscalers, components nor
routes. The case `policy` needs the package `pulumi-policy`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

SIZE = {"resources": {"cpu": "250m", "memory": "512Mi"}, "scaling": {"min": 2, "max": 4}}
TEN = {"version": 2, "weight": 10}


def churn(**keys: Any) -> dict[str, Any]:
    """The configuration of the model `churn`."""
    return {"models": {"churn": {**SIZE, **keys}}}


BASE = churn(stable=1, canary=TEN)
BOTH = {"models": {**BASE["models"], "fraud": {**SIZE, "stable": 1}}}
RATE = {"min": 2, "max": 4, "requests_per_second": 50}
SLEEPY = RATE | {"min": 0, "cold_start": "90s"}
AWAKE, ASLEEP = (churn(stable=1, canary=TEN, scaling=scaling) for scaling in (RATE, SLEEPY))
COLLECTOR = "http://collector.observability.svc:4318"
# Case -> the values that are deployed (None: nothing is), and the values that are previewed.
CASES: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "first": (None, BASE),
    "nothing": (BASE, BASE),
    "weight": (BASE, churn(stable=1, canary={"version": 2, "weight": 25})),
    "replaced-canary": (BASE, churn(stable=1, canary={"version": 3, "weight": 10})),
    "rollback": (BASE, churn(stable=1)),
    "resources": (
        BASE,
        churn(stable=1, canary=TEN, resources={"cpu": "500m", "memory": "1Gi"}),
    ),
    "image": (BASE, {**BASE, "test-digest": "2"}),
    "scaling": (BASE, churn(stable=1, canary=TEN, scaling={"min": 3, "max": 8, "cpu": 60})),
    "floor": (BASE, churn(stable=1, canary=TEN, floors={2: 4})),
    "keda": (BASE, churn(stable=1, canary=TEN, scaling=RATE)),
    "sleep": (AWAKE, ASLEEP),
    "wake": (ASLEEP, AWAKE),
    "sleep-floor": (ASLEEP, churn(stable=1, canary=TEN, scaling=SLEEPY, floors={1: 1, 2: 1})),
    "cold-start": (
        ASLEEP,
        churn(stable=1, canary=TEN, scaling=SLEEPY | {"cold_start": "2m", "idle": "15m"}),
    ),
    "new-sleeper": (
        BASE,
        {"models": {**BASE["models"], "night": {**SIZE, "stable": 1, "scaling": SLEEPY}}},
    ),
    "traces": (BASE, {**BASE, "tracing": {"endpoint": COLLECTOR, "sample": 5}}),
    "shadow": (BASE, churn(stable=1, canary=TEN, shadow={"version": 3, "percent": 50})),
    "new-model": (BASE, BOTH),
    "volume-deleted": (BASE, {**BASE, "test-bucket": False}),
    "volume-shrunk": (BASE, {**BASE, "artifact_bucket": {"size": "1Gi"}}),
    "secret": (BASE, BASE),
    "bad-key": (BASE, churn(stable=1, canary={"version": 2, "weight": 110})),
    "policy": (
        BASE,
        churn(stable=1, canary={"version": 2, "weight": 25}, allow_pickle=True),
    ),
    "removed-model": (BOTH, BASE),
    "new-canary": (churn(stable=2), churn(stable=2, canary={"version": 3, "weight": 5})),
    "promotion": (
        churn(stable=1, canary={"version": 2, "weight": 100}),
        churn(stable=2, previous=1),
    ),
    "unknown": ({**BASE, "test-build": 1}, {**BASE, "test-build": 2}),
    "observability": (
        {**BASE, "test-watch": True},
        {
            **churn(stable=1, canary=TEN, objectives={"availability": 99.95}),
            "test-watch": True,
            "prometheus": {"retention": "60d"},
        },
    ),
}
SECRETS = {"bucketAccessKey": "AKIA-of-the-tests", "bucketSecretKey": "the-secret-of-the-tests"}
KEPT = ("op", "urn", "replaceReasons", "detailedDiff", "oldState", "newState")
KEPT_STATE = ("type", "custom", "inputs", "parent", "protect", "retainOnDelete")
TELLING = ("slipway:", "Deployment", "Autoscaler", "ScaledObject", "VirtualService")


def slim(digest: dict[str, Any]) -> dict[str, Any]:
    """The digest of a preview without what is left out of a recording."""
    steps = []
    for step in digest.get("steps") or []:
        kind = step["urn"].split("::")[2].rsplit("$", 1)[-1]
        if step["op"] == "same" and not any(part in kind for part in TELLING):
            continue
        if kind.startswith("pulumi:providers:"):
            # It holds a path of the machine.
            continue
        kept = {key: step[key] for key in KEPT if key in step}
        if step["op"] == "same":
            kept.pop("oldState", None)
        for state in ("oldState", "newState"):
            if state in kept:
                kept[state] = {key: kept[state][key] for key in KEPT_STATE if key in kept[state]}
        steps.append(kept)
    # That a Secret was written to a directory is said of these previews alone.
    told = [one for one in digest.get("diagnostics") or [] if "rendered YAML" not in one["message"]]
    return {**digest, "diagnostics": told, "steps": steps, "duration": 0}


def write(case: str, recorded: dict[str, Any]) -> None:
    """One line for each step, so that a difference between recordings can be read."""
    steps = recorded["preview"].pop("steps")
    head = json.dumps(recorded, indent=1)[:-2]
    lines = ",\n".join(json.dumps(step) for step in steps)
    (HERE / f"{case}.json").write_text(f'{head},\n "steps": [\n{lines}\n]}}\n')


class Recorder:
    """A project with a stack of its own, in a directory that is thrown away."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "project"
        self.folder.mkdir()
        (home / "state").mkdir()
        # A provider that is told of a cluster writes no manifests.
        told = ("PULUMI_", "KUBECONFIG")
        outer = {k: v for k, v in os.environ.items() if not k.startswith(told)}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        self.environment = outer | {
            "PATH": f"{ROOT}/.slipway/bin{os.pathsep}{outer['PATH']}",
            "PULUMI_HOME": os.environ.get("PULUMI_HOME", ""),
            "PULUMI_BACKEND_URL": f"file://{home}/state",
            "PULUMI_CONFIG_PASSPHRASE": "x",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DEBUG_COMMANDS": "true",
            "PYTHONPATH": path,
            "RENDERED": str(home / "rendered"),
        }
        runtime = {"name": "python", "options": {"virtualenv": str(ROOT / ".venv")}}
        project = {"name": "slipway", "runtime": runtime, "main": "."}
        (self.folder / "Pulumi.yaml").write_text(json.dumps(project))
        (self.folder / "__main__.py").write_text((HERE / "program.py").read_text())
        self.pulumi("stack", "init", "dev")
        for key, value in SECRETS.items():
            self.pulumi("config", "set", "--secret", key, value)

    def pulumi(self, *arguments: str, check: bool = True) -> str:
        """What Pulumi prints."""
        command = ["pulumi", "--non-interactive", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        if check and done.returncode:
            sys.exit(f"{' '.join(arguments)}: {done.stdout} {done.stderr}")
        return done.stdout

    def deploy(self, values: dict[str, Any] | None) -> None:
        """Have the stack be what `values` say."""
        if values is not None:
            self.pulumi("config", "set", "values", json.dumps(values))
            self.pulumi("up", "--yes", "--skip-preview")

    def record(self, case: str, values: dict[str, Any]) -> dict[str, Any]:
        """What a preview of `values` prints, and the findings in its log of events."""
        self.pulumi("config", "set", "values", json.dumps(values))
        if case == "secret":
            self.pulumi("config", "set", "--secret", "bucketSecretKey", "another-secret")
        log = self.folder / "events"
        packs = ["--policy-pack", str(HERE / "pack")] if case == "policy" else []
        told = ["--json", "--show-sames", "--event-log", str(log)]
        printed = self.pulumi("preview", *told, *packs, check=False)
        if case == "secret":
            self.pulumi("config", "set", "--secret", "bucketSecretKey", SECRETS["bucketSecretKey"])
        events = [json.loads(line) for line in log.read_text().splitlines()]
        found = [{"policyEvent": e["policyEvent"]} for e in events if "policyEvent" in e]
        return {"preview": slim(json.loads(printed)), "events": found}


def main() -> None:
    """Record the cases that are named, or all."""
    with tempfile.TemporaryDirectory() as home:
        recorder, deployed = Recorder(Path(home)), None
        for case, (before, after) in CASES.items():
            if sys.argv[1:] and case not in sys.argv[1:]:
                continue
            if before != deployed:
                recorder.deploy(before)
                deployed = before
            recorded = recorder.record(case, after)
            write(case, recorded)
            print(case, flush=True)


if __name__ == "__main__":
    main()
