"""GPUs on the real cluster: models with `gpu: 1` go to the node that has some, and those without do
not; what there is no GPU for stays pending.

The one node gets an extended resource, a taint and a label, and loses them at the end. What runs
already stays: the taint is NoSchedule. And what Karpenter is to make of its NodePools is judged by
the API server, by Karpenter's own definitions.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.manifests import karpenter as nodes
from components.manifests import placement
from local.go import go_environment
from settings.aws.gpu import GpuPool
from settings.aws.karpenter import Cpu, Karpenter
from settings.gpu import RESOURCE
from tests.e2e.harness import BODY, GATEWAY, MLFLOW, Walk, ask, http_client, ready, run, until

KARPENTER = f"github.com/aws/karpenter-provider-aws@v{Karpenter().version}"
POOL = f"{placement.POOL_LABEL}={placement.GPU_POOL}"
TAINT = f"{placement.TAINT_KEY}={placement.TAINT_VALUE}:{placement.TAINT_EFFECT}"
# Each a copy of churn's version 1: two with GPUs, one without.
LAB, RACK, DESK = "lab", "rack", "desk"
COPY = f"""
import mlflow
mlflow.set_tracking_uri({MLFLOW!r})
client = mlflow.MlflowClient()
of = client.get_model_version("churn", "1")
for name in {[LAB, RACK, DESK]!r}:
    if not client.search_model_versions(f"name='{{name}}'"):
        client.create_registered_model(name)
        made = of.source.rpartition("/")[2]  # the logged model of `models:/m-…`
        client.create_model_version(name, of.source, run_id=of.run_id, model_id=made)
"""


def model(gpu: int) -> dict[str, Any]:
    """A model of two pods, each with so many GPUs."""
    return {
        "stable": 1,
        "resources": {"cpu": "50m", "memory": "384Mi", "gpu": gpu},
        "scaling": {"min": 2, "max": 2},
    }


def configure(walk: Walk, models: dict[str, Any], gpu: dict[str, Any] | None) -> None:
    """Have these models beside churn, and this section of GPUs."""
    stored = yaml.safe_load(walk.stack_file.read_text())
    churn = stored["config"]["slipway:models"]["churn"]
    stored["config"]["slipway:models"] = {"churn": churn, **models}
    stored["config"].pop("slipway:gpu", None)
    stored["config"].pop("slipway:without_cuda", None)
    if gpu:
        stored["config"]["slipway:gpu"] = gpu
        # There is no GPU to run it, and it is 2 GB to build.
        stored["config"]["slipway:without_cuda"] = True
    walk.stack_file.write_text(yaml.safe_dump(stored, sort_keys=False))


def node(walk: Walk) -> dict[str, Any]:
    (found,) = json.loads(walk.kubectl("get", "nodes", "-o", "json").out)["items"]
    return dict(found)


def offer(walk: Walk, count: int) -> None:
    """Have the node offer so many GPUs; with 0 it does not know of any."""
    path = f"/status/capacity/{RESOURCE.replace('/', '~1')}"
    change = {"op": "add", "path": path, "value": str(count)}
    if not count:
        change = {"op": "remove", "path": path}
    patch = ["patch", "node", node(walk)["metadata"]["name"], "--subresource", "status"]
    walk.kubectl(*patch, "--type", "json", "-p", json.dumps([change]))
    # The kubelet takes over what it does not make itself.
    until(
        f"{count} GPUs to be had",
        lambda: int(node(walk)["status"]["allocatable"].get(RESOURCE, "0")) == count,
        60,
    )


def pods(walk: Walk, name: str) -> list[dict[str, Any]]:
    """The pods of a model, without those that are going."""
    found = walk.objects("pods", "models", f"slipway.dev/model={name}")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def serves(walk: Walk, name: str) -> bool:
    """Whether the two pods of a model take requests."""
    return [ready(pod) for pod in pods(walk, name)] == [True, True]


def told(walk: Walk, name: str) -> list[str]:
    """What the scheduler says of each pod of a model that it has no node for."""
    return [
        condition.get("message", "")
        for pod in pods(walk, name)
        for condition in pod["status"].get("conditions", [])
        if condition["type"] == "PodScheduled" and condition["status"] == "False"
    ]


def predicts(name: str) -> None:
    """A prediction of the model comes through the gateway."""
    with http_client() as client:
        url = f"{GATEWAY}/models/{name}/invocations"
        until(f"a prediction of {name}", lambda: not ask(client, url, BODY).reason, 30)


@pytest.fixture(scope="module")
def gpus(walk: Walk) -> Iterator[Walk]:
    """The stack with two GPUs on its labelled node; as before at the end."""
    walk.local("up", seconds=400)
    python = str(walk.project / ".venv/bin/python")
    quiet = walk.environment | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    run([python, "-c", COPY], quiet, seconds=60)
    name = node(walk)["metadata"]["name"]
    try:
        offer(walk, 2)
        walk.kubectl("label", "node", name, POOL)
        yield walk
    finally:
        walk.kubectl("taint", "node", name, f"{TAINT}-", check=False)
        walk.kubectl("label", "node", name, f"{placement.POOL_LABEL}-")
        configure(walk, {}, None)
        walk.deploy()
        offer(walk, 0)


def test_models_with_gpus_get_there_and_nothing_else_does(gpus: Walk) -> None:
    """One update with three models; who waits, and for what; and what lets each of them in."""
    section = {"labels": {placement.POOL_LABEL: placement.GPU_POOL}}
    configure(gpus, {LAB: model(1)}, section)
    first = gpus.deploy()
    # Only now: the one node is also Prometheus', which another model's rules renew.
    gpus.kubectl("taint", "node", node(gpus)["metadata"]["name"], TAINT)
    gpus.kubectl("delete", "pods", "-n", "models", "-l", f"slipway.dev/model={LAB}", "--wait=false")
    until("pods of a model with GPUs in spite of the taint", lambda: serves(gpus, LAB), 120)
    predicts(LAB)
    for pod in pods(gpus, LAB):
        assert pod["spec"]["nodeSelector"] == section["labels"]
        assert placement.toleration(RESOURCE, placement.TAINT_VALUE) in pod["spec"]["tolerations"]
    gpus.note(f"a model with gpu: 1 on its node: update in {first.seconds:.1f} s")

    configure(gpus, {LAB: model(1), RACK: model(1), DESK: model(0)}, section)
    update = subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--stack", "dev", "--non-interactive"],
        cwd=gpus.project,
        env=gpus.environment,
        stdin=subprocess.DEVNULL,
        stdout=(log := gpus.project / "gpu-up.log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        until("both models to wait", lambda: [len(told(gpus, it)) for it in (RACK, DESK)] == [1, 1])
        assert all(f"Insufficient {RESOURCE}" in line for line in told(gpus, RACK))
        assert all("untolerated taint" in line for line in told(gpus, DESK)), told(gpus, DESK)
        gpus.note(f"without a GPU left: {told(gpus, RACK)[0]}")
        gpus.note(f"without gpu: {told(gpus, DESK)[0]}")

        gpus.kubectl("taint", "node", node(gpus)["metadata"]["name"], f"{TAINT}-")
        until("the taint gone, the model without GPUs to serve", lambda: serves(gpus, DESK), 90)
        assert len(told(gpus, RACK)) == 1
        offer(gpus, 4)
        until("two more GPUs, the second model to serve", lambda: serves(gpus, RACK), 90)
        assert update.wait(120) == 0, log.read_text()
    finally:
        if update.poll() is None:
            os.killpg(update.pid, 9)
            update.wait()
            gpus.pulumi("cancel", "--yes", check=False)
    for name in (LAB, RACK, DESK):
        predicts(name)
    used = {pod["spec"]["nodeName"] for name in (LAB, RACK, DESK) for pod in pods(gpus, name)}
    assert used == {node(gpus)["metadata"]["name"]}


def objects() -> dict[str, list[dict[str, Any]]]:
    """What the program makes for Karpenter, of the configurations that differ most."""
    ground = nodes.Ground("profile", ["subnet-0a", "subnet-0b"], "sg-0a", {"owner": "risk"}, "prod")
    block = GpuPool(
        instance_types=["p5.48xlarge"],
        capacity="block",
        reservation="cr-0123456789abcdef0",
        zones=["eu-central-1a"],
    )
    usual, reserved = Karpenter(), "cr-0123456789abcdef0"
    spot = GpuPool(instance_types=["g6.xlarge", "g5.xlarge"], capacity="spot", max=2)
    return {
        "EC2NodeClass": [
            nodes.node_class(ground, usual, 50, None),
            nodes.node_class(ground, usual, 100, reserved),
        ],
        "NodePool": [
            nodes.cpu_pool(usual.cpu),
            nodes.cpu_pool(Cpu(families=["m7i", "c7i-flex"], capacity="spot")),
            nodes.gpu_pool(block, usual.gpu),
            nodes.gpu_pool(spot, usual.gpu),
        ],
    }


def test_karpenter_takes_its_objects(walk: Walk, tmp_path: Path) -> None:
    """The API server takes every NodePool and EC2NodeClass, and refuses a misspelt key."""
    done = run(["go", "mod", "download", "-json", KARPENTER], go_environment(), cwd=tmp_path)
    module = Path(json.loads(done.out)["Dir"]) / "pkg/apis/crds"
    definitions = {
        "NodePool": module / "karpenter.sh_nodepools.yaml",
        "EC2NodeClass": module / "karpenter.k8s.aws_ec2nodeclasses.yaml",
    }
    versions = {"NodePool": nodes.POOL_API, "EC2NodeClass": nodes.CLASS_API}
    files = [word for path in definitions.values() for word in ("-f", str(path))]
    walk.kubectl("apply", "--server-side", *files)
    try:
        walk.kubectl("wait", "--for", "condition=Established", "--timeout=60s", *files)

        def judged(kind: str, spec: dict[str, Any]) -> tuple[int, str]:
            whole = {
                "apiVersion": versions[kind],
                "kind": kind,
                "metadata": {"name": "tried"},
                "spec": spec,
            }
            file = tmp_path / "tried.json"
            file.write_text(json.dumps(whole))
            words = ["create", "--dry-run=server", "--validate=strict", "-f", str(file)]
            tried = walk.kubectl(*words, check=False)
            return tried.code, tried.text

        for kind, specs in objects().items():
            for spec in specs:
                code, text = judged(kind, spec)
                assert code == 0, text
        pool = objects()["NodePool"][0]
        bad = pool | {"disruption": pool["disruption"] | {"budgets": [{"node": "10%"}]}}
        code, text = judged("NodePool", bad)
        assert code and 'unknown field "spec.disruption.budgets[0].node"' in text, text
        two = objects()["EC2NodeClass"][0] | {"role": "nodes"}
        code, text = judged("EC2NodeClass", two)
        assert code and "must specify exactly one of ['role', 'instanceProfile']" in text, text
    finally:
        walk.kubectl("delete", *files)
