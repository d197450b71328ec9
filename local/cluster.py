"""Starting, checking and ending the one-machine cluster as a whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from local import images, node, node_files, toolkit
from local.console import UserError, step
from local.instance import Instance


def up(instance: Instance, times: dict[str, float]) -> None:
    """Bring the cluster to where the stack can be deployed; a second call only checks.

    Raises:
        UserError: something did not come up; the message names it and its log.
    """
    with toolkit.exclusive(_lock(instance), f"cluster {instance.name}"):
        _up(instance, times)


def _lock(instance: Instance) -> Path:
    # Beside the state, not in it: `down` removes that.
    return instance.state.with_name(f"{instance.name}.lock")


def _up(instance: Instance, times: dict[str, float]) -> None:
    node.check_owner(instance)
    if node.is_running(instance):
        _wait(instance, "kube-apiserver", lambda: _ready(instance), 60)
    else:
        # Before the images are copied; the start itself looks again.
        node.check(instance)
        (instance.state / "registry").mkdir(parents=True, exist_ok=True)
        images.restore(instance)
        with step("cluster: control plane", times):
            node.start(instance)
            _wait(instance, "kube-apiserver", lambda: _ready(instance), 120)
    if not images.present(instance):
        with step("cluster: base images", times):
            socket = instance.state / "buildkit.sock"
            _wait(instance, "buildkitd", socket.exists, 30)
            images.build(instance)
    node_files.write_manifests(instance)
    with step("cluster: node", times):
        kubectl(
            instance,
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            str(instance.state / "manifests.yaml"),
        )
        _wait(instance, "kubelet", lambda: _node_ready(instance), 120)
        _wait(instance, "metrics-server", lambda: _metrics_ready(instance), 90)


def down(instance: Instance) -> bool:
    """End the cluster and remove its state, whole or half made; False if there was nothing."""
    node.check_owner(instance)
    with toolkit.exclusive(_lock(instance), f"cluster {instance.name}"):
        existed = instance.state.exists()
        node.stop(instance)
        # Mounts lived in a namespace that is gone, so this meets plain directories only.
        shutil.rmtree(instance.state, ignore_errors=True)
        if instance.state.exists():
            toolkit.run(["rm", "-rf", str(instance.state)])
    _lock(instance).unlink(missing_ok=True)
    return existed


def kubectl(instance: Instance, *arguments: str, timeout: float = 60) -> str:
    """Run kubectl against the instance and return what it printed.

    Raises:
        UserError: it failed.
    """
    command = [str(toolkit.LINKS / "bin/kubectl"), "--kubeconfig", str(instance.kubeconfig)]
    try:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"kubectl {' '.join(arguments[:3])}: no answer after {timeout:.0f} s"
        ) from None
    if done.returncode:
        raise UserError(f"kubectl {' '.join(arguments[:3])}: {done.stderr.strip()}")
    return done.stdout


def _wait(instance: Instance, process: str, ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if not node.is_running(instance):
            raise UserError(
                f"cluster: its first process ended; see {instance.state}/logs/init.log, "
                "then run `make up` again"
            )
        if time.monotonic() > deadline:
            raise UserError(
                f"cluster: {process} is not ready after {seconds:.0f} s; "
                f"see {instance.state}/logs/{process}.log, then run `make up` again"
            )
        time.sleep(0.3)


def _answers(instance: Instance, *arguments: str) -> str | None:
    try:
        return kubectl(instance, *arguments, timeout=15)
    except UserError:
        return None


def _ready(instance: Instance) -> bool:
    return _answers(instance, "get", "--raw", "/readyz") == "ok"


def _node_ready(instance: Instance) -> bool:
    text = _answers(instance, "get", "nodes", "-o", "json")
    for item in json.loads(text)["items"] if text else []:
        for condition in item["status"].get("conditions", []):
            if condition["type"] == "Ready" and condition["status"] == "True":
                return True
    return False


def _metrics_ready(instance: Instance) -> bool:
    text = _answers(instance, "get", "apiservice", "v1beta1.metrics.k8s.io", "-o", "json")
    conditions = json.loads(text)["status"].get("conditions", []) if text else []
    return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)
