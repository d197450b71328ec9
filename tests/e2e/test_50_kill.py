"""kill -9 and restarts under load: what ends comes back, and no request is lost."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.harness import Load, Walk, ready, until


def kill(walk: Walk, name: str) -> float:
    """kill -9 the instance's process of this name; the seconds until there is another."""
    old = walk.process(name)
    assert old, f"{name} does not run"
    start = time.monotonic()
    os.kill(old, signal.SIGKILL)
    until(f"another {name}", lambda: walk.process(name) not in (None, old), 30, 0.1)
    return time.monotonic() - start


def restarts(walk: Walk) -> dict[str, int]:
    """How often each container of the model servers was started again, by pod."""
    return {
        name: pod["status"]["containerStatuses"][0]["restartCount"]
        for version in (1, 2)
        for name, pod in walk.pods(version).items()
        if pod["status"].get("containerStatuses")
    }


def node_is_ready(walk: Walk) -> bool:
    """Whether the node is Ready."""
    done = walk.kubectl("get", "nodes", "-o", "json", check=False)
    return done.code == 0 and all(ready(node) for node in json.loads(done.out)["items"])


@pytest.fixture
def load() -> Iterator[Load]:
    """Requests before, during and after what the test does; none may fail."""
    with Load() as running:
        time.sleep(2)
        yield running
        time.sleep(3)
    running.assert_no_failure()


def test_kubelet(walk: Walk, load: Load) -> None:
    """The kubelet comes back, reports its node and serves again; the pods know nothing of it."""
    pod, *_ = [sorted(walk.servers(version))[0] for version in (1, 2)]
    was = restarts(walk)
    killed = datetime.now(UTC)
    seconds = kill(walk, "kubelet")
    command = ["exec", "-n", "models", pod, "--", "python", "-c", "print(6 * 7)"]
    until("the kubelet serves", lambda: walk.kubectl(*command, check=False).out == "42\n")
    until("the node is Ready", lambda: node_is_ready(walk))

    def renewed() -> bool:
        done = walk.kubectl("get", "lease", "-n", "kube-node-lease", "-o", "json")
        renewal = json.loads(done.out)["items"][0]["spec"]["renewTime"]
        return datetime.fromisoformat(renewal) > killed + timedelta(seconds=seconds)

    until("the node's lease is renewed", renewed)
    now = restarts(walk)
    assert {name: now[name] for name in was.keys() & now.keys()} == was
    walk.note(f"kill -9 kubelet: another after {seconds:.1f} s")


def test_etcd(walk: Walk, load: Load) -> None:
    """etcd comes back with its data, and the API takes writes again."""
    uid = ["get", "namespace", "models", "-o", "jsonpath={.metadata.uid}"]
    was = walk.kubectl(*uid).out
    seconds = kill(walk, "etcd")
    name = f"written-after-{os.getpid()}"
    create = ["create", "configmap", "-n", "default", name, "--from-literal=a=b"]
    until("the API takes writes", lambda: walk.kubectl(*create, check=False).code == 0)
    assert walk.kubectl(*uid).out == was
    read = ["get", "configmap", "-n", "default", name, "-o", "jsonpath={.data.a}"]
    assert walk.kubectl(*read).out == "b"
    walk.kubectl("delete", "configmap", "-n", "default", name)
    until("the node is Ready", lambda: node_is_ready(walk))
    walk.note(f"kill -9 etcd: another after {seconds:.1f} s")


def test_model_servers(walk: Walk, load: Load) -> None:
    """A model server of each version dies amid its requests: they are asked again of another
    pod, and it is started again in place.
    """
    victims = {version: sorted(walk.servers(version).items())[0] for version in (1, 2)}
    was = restarts(walk)
    start = time.monotonic()
    for _, pod in victims.values():
        os.kill(walk.container(pod), signal.SIGKILL)

    def back() -> bool:
        for version, (name, pod) in victims.items():
            now = walk.pods(version)[name]
            assert now["metadata"]["uid"] == pod["metadata"]["uid"]
            if restarts(walk)[name] != was[name] + 1 or not ready(now):
                return False
        return True

    until("both are started again and ready", back, 90)
    walk.note(f"kill -9 of two model servers: ready again after {time.monotonic() - start:.1f} s")
    others = was.keys() - {name for name, _ in victims.values()}
    now = restarts(walk)
    assert {name: now[name] for name in others & now.keys()} == {
        name: was[name] for name in others & now.keys()
    }


def test_every_process_comes_back(walk: Walk, load: Load) -> None:
    """The rest of the control plane too, all of it at once; the data path does not depend on it."""
    names = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"]
    names += ["coredns", "metrics-server", "local-path-provisioner", "kube-router", "containerd"]
    old = {name: walk.process(name) for name in names}
    assert None not in old.values(), old
    for pid in old.values():
        assert pid
        os.kill(pid, signal.SIGKILL)
    for name in names:
        until(f"another {name}", lambda: walk.process(name) not in (None, old[name]), 60)  # noqa: B023
    until("the node is Ready", lambda: node_is_ready(walk))
    command = ["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"]
    until("metrics", lambda: walk.kubectl(*command, check=False).code == 0)


def test_pulumi_finds_nothing_to_mend(walk: Walk) -> None:
    """After all that the cluster is what the program says."""
    walk.pulumi("refresh", "--yes", "--skip-preview")
    walk.pulumi("preview", "--expect-no-changes")


def test_a_rolling_restart(walk: Walk, load: Load) -> None:
    """Every pod of a version is replaced, one after the other."""
    was = set(walk.servers(1))
    start = time.monotonic()
    walk.kubectl("rollout", "restart", "-n", "models", "deployment/churn-v1")

    def replaced() -> bool:
        pods = walk.pods(1)
        return bool(pods) and not was & pods.keys() and all(map(ready, pods.values()))

    until("the pods are replaced", replaced, 240)
    walk.note(f"rolling restart under load: {time.monotonic() - start:.1f} s")
