"""What pods ask for, and how many there are."""

from __future__ import annotations

from typing import Any

from review import risk
from review.pods import restarts, total, workloads
from review.preview import UNKNOWN, State, Step

URN = "urn:pulumi:dev::slipway::kubernetes:"


def container(cpu: str, memory: str, image: str = "a") -> dict[str, Any]:
    return {"image": image, "resources": {"requests": {"cpu": cpu, "memory": memory}}}


def deployment(op: str, *pods: dict[str, Any] | None, replicas: int = 2) -> Step:
    """A Deployment with the pods of now and of then."""
    states = [
        State(
            {"metadata": {"name": "web"}, "spec": {"replicas": replicas, "template": {"spec": p}}}
        )
        if p is not None
        else None
        for p in pods
    ]
    return Step(op, f"{URN}apps/v1:Deployment::web", states[0], states[1])


def test_a_pod_asks_for_all_its_containers_or_for_the_greediest_before_them() -> None:
    two = {"containers": [container("100m", "64Mi"), container("150m", "64Mi")]}
    assert total(workloads([deployment("create", None, two)])) == "2 new pods, +0.5 CPU, +256 MiB"
    first = two | {"initContainers": [container("500m", "32Mi"), container("1", "1Gi")]}
    assert total(workloads([deployment("create", None, first)])) == "2 new pods, +2 CPU, +2 GiB"
    gone = deployment("delete", two, None, replicas=1)
    assert total(workloads([gone])) == "1 pod goes, -0.25 CPU, -128 MiB"
    assert total(workloads([deployment("create", None, {"containers": "odd"})])) == "2 new pods"


def test_what_restarts_and_why() -> None:
    old = {"containers": [container("1", "1Gi")]}
    new = {"containers": [container("1000m", "2Gi", "b")]}
    (found,) = workloads([deployment("update", old, new)])
    assert restarts(found) == (
        "2 pods restart (image, resources), a pod asks for 2 GiB instead of 1 GiB"
    )
    (found,) = workloads([deployment("replace", old, old, replicas=1)])
    assert restarts(found) == "1 pod restarts (replaced)"
    unknown = {"containers": [container("1", "1Gi", UNKNOWN)]}
    (found,) = workloads([deployment("update", old, unknown)])
    assert restarts(found) == "2 pods may restart (image, known only during the update)"
    # Beside what is not known something is, and that is reason enough.
    both = {"containers": [container("2", "1Gi", UNKNOWN)]}
    (found,) = workloads([deployment("update", old, both)])
    assert restarts(found).startswith("2 pods restart (image, resources)")
    # The same said in another way is no change.
    (found,) = workloads([deployment("update", old, {"containers": [container("1000m", "1Gi")]})])
    assert found.fate == "stays"


def test_a_volume_that_grows_is_no_risk() -> None:
    def volume(size: str) -> State:
        return State({"spec": {"resources": {"requests": {"storage": size}}}})

    kind = f"{URN}core/v1:PersistentVolumeClaim::disk"
    assert risk.data([Step("update", kind, volume("5Gi"), volume("6Gi"))]) == []
    assert risk.data([Step("update", kind, volume("1Gi"), volume("1024Mi"))]) == []
    assert len(risk.data([Step("update", kind, volume("6Gi"), volume("5Gi"))])) == 1
