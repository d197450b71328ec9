"""CONTEXT=… REGISTRY=…: the same stack on a cluster and a registry that exist.

The test's own instance stands in for them, once its stack `dev` is destroyed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.harness import PORTS, Walk

PLACE = ("--context", "slipway", "--registry", f"127.0.0.1:{PORTS['registry']}")


def namespaces(walk: Walk) -> set[str]:
    """The namespaces that there are."""
    return set(walk.kubectl("get", "namespaces", "-o", "name").out.split())


def test_destroy_ends(walk: Walk) -> None:
    """`pulumi destroy` takes everything away and does not hang on a webhook or a finalizer."""
    done = walk.pulumi("destroy", "--yes", "--skip-preview", seconds=240)
    walk.note(f"pulumi destroy: {done.seconds:.1f} s")
    assert not {name for name in namespaces(walk) if re.search("istio|models|mlflow|monit", name)}
    assert json.loads(walk.pulumi("stack", "export").out)["deployment"].get("resources", []) == []


@pytest.fixture(scope="module")
def person(walk: Walk) -> Iterator[dict[str, str]]:
    """The environment of somebody with a kubeconfig and a current buildx builder, and no more."""
    docker = walk.home / "docker"
    shutil.copytree(walk.state / "docker", docker)
    instance = json.loads((docker / "buildx/instances/slipway").read_text())
    current = {"Key": "", "Name": instance["Name"], "Global": True}
    (docker / "buildx/current").write_text(json.dumps(current))
    # A file of their own: what points into the one-machine cluster's state is left aside.
    kubeconfig = docker / "kubeconfig"
    shutil.copy2(walk.environment["KUBECONFIG"], kubeconfig)
    yield {
        "KUBECONFIG": str(kubeconfig),
        "DOCKER_CONFIG": str(docker),
    }
    shutil.rmtree(docker)


def test_existing_cluster(walk: Walk, person: dict[str, str]) -> None:
    """The stack goes up beside no other, answers through a port-forward, and goes down."""
    drop = ("PULUMI_", "KUBECONFIG", "DOCKER_")
    outer = walk.environment
    walk.environment = {
        key: value for key, value in outer.items() if not key.startswith(drop)
    } | person
    try:
        up = walk.local("up", *PLACE, seconds=400)
        walk.note(f"up CONTEXT=… REGISTRY=…: {up.seconds:.1f} s; {' '.join(up.lines('up in'))}")
        assert "300 predictions through http://127.0.0.1:" in up.out
        rows = re.findall(r"^ +(\d+) +(\d+) +\d+\.\d% +(\d+) ", up.out, re.M)
        assert rows == [("2", "300", "0")]
        assert (walk.project / "Pulumi.slipway.yaml").exists()
        down = walk.local("down", *PLACE, seconds=240)
        walk.note(f"down CONTEXT=… REGISTRY=…: {down.seconds:.1f} s")
        assert not {name for name in namespaces(walk) if re.search("istio|models|mlflow", name)}
    finally:
        walk.environment = outer
