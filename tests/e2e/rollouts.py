"""What the end-to-end tests of rollouts share: a model with faulty versions, and the command line.

The model is called `shop` and doubles its one column. Its faults are in its versions, each a model
from code, and none in the runtime.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.harness import GATEWAY, MLFLOW, Done, Load, Walk, run, until

SHOP = f"{GATEWAY}/models/shop/invocations"
BODY = json.dumps({"dataframe_split": {"columns": ["x"], "data": [[1.0], [2.5]]}}).encode()

CODE = """
import os
import random
import signal
import time

import mlflow
from mlflow.pyfunc import PythonModel


class Shop(PythonModel):
    def predict(self, context, model_input, params=None):
        {fault}
        return model_input["x"] * {factor}


mlflow.models.set_model(Shop())
"""

GOOD, OTHER, ERRORS, SLOW, CRASHES, NARROW, TRIPLES = range(1, 8)
FAULTS = {
    GOOD: "pass",
    OTHER: "time.sleep(0.001)",
    ERRORS: "if random.random() < 0.1: raise ValueError('one of ten')",
    SLOW: "time.sleep(1)",
    # The runtime's own first process ends, as at a pod's end, so the container comes and goes.
    CRASHES: "os.kill(1, signal.SIGTERM)",
    NARROW: "pass",
    TRIPLES: "pass",
}
RULES = {
    "steps": [25, 50, 100],
    "interval": "15s",
    "patience": "100s",
    "rollback_window": "15s",
}


def register(walk: Walk) -> None:
    """Register the versions of `shop`, each with its fault, if they are not there."""
    code = walk.project / "shop.py"
    script = f"""
import json, sys
import mlflow, pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
mlflow.set_tracking_uri({MLFLOW!r})
client = mlflow.MlflowClient()
have = {{int(v.version) for v in client.search_model_versions("name='shop'")}}
for number, text in json.load(sys.stdin):
    if number in have:
        continue
    open({str(code)!r}, "w").write(text)
    columns = ["x"] if number != {NARROW} else ["x", "y"]
    signature = ModelSignature(
        Schema([ColSpec("double", name) for name in columns]), Schema([ColSpec("double")]))
    with mlflow.start_run():
        made = mlflow.pyfunc.log_model(name="shop", python_model={str(code)!r},
            signature=signature, pip_requirements=["mlflow"], registered_model_name="shop")
    assert int(made.registered_model_version) == number, made.registered_model_version
client.set_registered_model_alias("shop", "challenger", {OTHER})
"""
    texts = [
        [number, CODE.format(fault=fault, factor=3 if number == TRIPLES else 2)]
        for number, fault in FAULTS.items()
    ]
    python = str(walk.project / ".venv/bin/python")
    environment = walk.environment | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    run([python, "-c", script], environment, stdin=json.dumps(texts), seconds=180)


def serve(
    walk: Walk,
    keys: dict[str, Any] | None = None,
    deploy: Callable[[], object] | None = None,
    **rules: Any,
) -> None:
    """Make version 1 of `shop` the stable one, with nothing else but `keys`, and deploy that,
    beside a churn that leaves it room.
    """
    content = yaml.safe_load(walk.stack_file.read_text())
    wanted = {
        "stable": GOOD,
        "resources": {"cpu": "100m", "memory": "384Mi"},
        "scaling": {"min": 2, "max": 2},
        "rollout": RULES | rules,
        **(keys or {}),
    }
    models = content["config"]["slipway:models"]
    if models.get("shop") == wanted:
        return
    models["shop"] = wanted
    # Three servers of each version of churn would leave no room on the node for those of shop.
    models["churn"]["scaling"]["max"] = 2
    walk.stack_file.write_text(yaml.safe_dump(content, sort_keys=False))
    (deploy or walk.deploy)()


def slipway(walk: Walk, *arguments: str, check: bool = True, seconds: float = 300) -> Done:
    """Run the command line in the copy."""
    command = [str(walk.project / ".slipway/bin/slipway"), "--stack", "dev", *arguments]
    return run(command, walk.environment, cwd=walk.project, seconds=seconds, check=check)


def shop(walk: Walk) -> dict[str, Any]:
    """The configuration of `shop` as the stack file has it."""
    config = yaml.safe_load(walk.stack_file.read_text())["config"]
    found: dict[str, Any] = config["slipway:models"]["shop"]
    return found


def roles(walk: Walk) -> tuple[int, int | None, int | None, int | None]:
    """stable, canary, its weight, and previous, in the configuration."""
    found = shop(walk)
    canary = found.get("canary") or {}
    return found["stable"], canary.get("version"), canary.get("weight"), found.get("previous")


def route(walk: Walk) -> dict[str, int]:
    """The weights that the gateway's route has in the cluster: version -> percent."""
    text = walk.kubectl("get", "virtualservice", "-n", "models", "shop", "-o", "json").out
    last = json.loads(text)["spec"]["http"][-1]["route"]
    return {
        entry["destination"]["host"].split(".")[0].removeprefix("shop-v"): entry.get("weight", 100)
        for entry in last
        if entry.get("weight", 100)
    }


def alias(walk: Walk, name: str) -> int | None:
    """The version that an alias of `shop` points at."""
    query = f"{MLFLOW}/api/2.0/mlflow/registered-models/alias?name=shop&alias={name}"
    done = run(["curl", "-s", query], walk.environment)
    version = json.loads(done.out).get("model_version", {}).get("version")
    return int(version) if version else None


def set_champion(walk: Walk, version: int) -> None:
    """Point the alias @champion of `shop` at a version."""
    body = json.dumps({"name": "shop", "alias": "champion", "version": str(version)})
    url = f"{MLFLOW}/api/2.0/mlflow/registered-models/alias"
    run(["curl", "-sf", "-H", "content-type: application/json", "-d", body, url], walk.environment)


def entries(walk: Walk) -> list[dict[str, Any]]:
    """The journal of `shop`, without a last line that is being written."""
    path = walk.project / ".slipway/rollouts/dev/shop/journal.jsonl"
    if not path.exists():
        return []
    return [
        json.loads(line) for line in path.read_text().splitlines(keepends=True) if line[-1:] == "\n"
    ]


def holder(walk: Walk) -> int | None:
    """The process that has the lease of `shop`."""
    with contextlib.suppress(FileNotFoundError):
        lease = walk.project / ".slipway/rollouts/dev/shop/lease.json"
        return int(json.loads(lease.read_text())["process"]["pid"])
    return None


def outcome(walk: Walk) -> str | None:
    """The outcome of the last rollout, None while it has none."""
    last = entries(walk)[-1]
    return last["outcome"] if last["kind"] == "end" else None


def assert_only(walk: Walk, version: int) -> None:
    """Configuration, route, servers, alias and the next preview say: this version, alone."""
    assert roles(walk) == (version, None, None, None)
    assert "floors" not in shop(walk)
    assert route(walk) == {str(version): 100}
    deployed = walk.objects("deployments", "models", "slipway.dev/model=shop")
    assert [item["metadata"]["name"] for item in deployed] == [f"shop-v{version}"]
    assert alias(walk, "champion") == version
    served = json.loads(walk.pulumi("stack", "output", "--json").out)["models"]["shop"]
    assert (served["stable"], served.get("canary"), served["weight"]) == (version, None, 0)
    walk.pulumi("preview", "--expect-no-changes")


class Runner:
    """`slipway run shop` in the background, in a session of its own."""

    def __init__(self, walk: Walk, *arguments: str) -> None:
        self.lines: list[tuple[float, str]] = []
        self.process = subprocess.Popen(
            [str(walk.project / ".slipway/bin/slipway"), "--stack", "dev"]
            + [*(arguments or ("run", "shop"))],
            cwd=walk.project,
            env=walk.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line.rstrip()))

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def kill(self) -> None:
        """kill -9 of the command alone: an update that it began ends by itself."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """kill -9 of the command and of the update that it began."""
        # All are stopped first, so that none begins another meanwhile.
        tree = _tree(self.process.pid)
        for sent in (signal.SIGSTOP, signal.SIGKILL):
            for pid in tree:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sent)
        self.process.wait()

    def wait(self, seconds: float = 300) -> int:
        """The exit code. Fails with the output if it does not end."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise AssertionError(f"not done after {seconds:.0f} s:\n{self.text}") from None
        self._reader.join(5)
        return code


def _tree(root: int) -> list[int]:
    """A process and all that descend from it, itself first."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def journal_says(walk: Walk, what: Callable[[dict[str, Any]], bool], since: int = 0) -> bool:
    """Whether an entry after the first `since` is one that `what` looks for."""
    return any(what(entry) for entry in entries(walk)[since:])


def shop_load(per_second: float = 40) -> Load:
    """Constant load on `shop`."""
    return Load(url=SHOP, body=BODY, per_second=per_second, workers=6)


def await_stable(walk: Walk) -> None:
    """Until the route answers."""
    until("shop answers", lambda: _answers(walk), 60)


def _answers(walk: Walk) -> bool:
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", SHOP]
    command += ["-H", "content-type: application/json", "-d", BODY.decode()]
    return run(command, walk.environment).out == "200"
