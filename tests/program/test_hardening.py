"""What scanners are given, and what the reasons of accepted findings rest upon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hardening import render
from hardening.render import Rendered


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rendered]:
    """All stacks, rendered once."""
    root: Path = tmp_path_factory.mktemp("stacks")
    return {name: render.write(name, it, root / name) for name, it in render.stacks().items()}


def pods(stack: Rendered) -> dict[str, dict[str, Any]]:
    """The pods' specs, by what makes them."""
    return {
        render.subject(it): it["spec"]["template"]["spec"]
        for it in stack.objects
        if it["kind"] in ("Deployment", "Job")
    }


def test_the_files_hold_the_objects(stacks: dict[str, Rendered]) -> None:
    for stack in stacks.values():
        assert tuple(yaml.safe_load_all(stack.file.read_text())) == stack.objects
        assert all(it["metadata"]["name"] and it["apiVersion"] for it in stack.objects)
        assert isinstance(
            next(it for it in stack.objects if it["kind"] == "Service")["spec"]["ports"][0]["port"],
            int,
        )


def test_everything_has_all_parts(stacks: dict[str, Rendered]) -> None:
    """Each of the components that make pods is among what is scanned."""
    found = set(pods(stacks["everything"]))
    assert {"Deployment/models/activator", "Deployment/models/churn-comparer"} <= found
    assert {"Deployment/mlflow/versitygw", "Deployment/mlflow/mlflow"} <= found
    assert {"Deployment/monitoring/grafana", "Job/mlflow/train-demo"} <= found
    assert found >= set(pods(stacks["dev"])) | set(pods(stacks["prod"]))
    kinds = {it["kind"] for it in stacks["everything"].objects}
    assert {"ScaledObject", "Telemetry"} <= kinds


def test_local_storage_is_bounded(stacks: dict[str, Rendered]) -> None:
    """Why no container has limits of ephemeral storage."""
    for stack in stacks.values():
        for name, pod in pods(stack).items():
            for volume in pod.get("volumes", []):
                if "emptyDir" in volume:
                    assert volume["emptyDir"].get("sizeLimit"), (stack.stack, name, volume)
            for container in pod["containers"] + pod.get("initContainers", []):
                assert container["securityContext"]["readOnlyRootFilesystem"] is True, name


def test_liveness_has_more_patience_than_readiness(stacks: dict[str, Rendered]) -> None:
    """Why the two may ask at one endpoint."""
    for stack in stacks.values():
        for name, pod in pods(stack).items():
            for container in pod["containers"]:
                if "livenessProbe" in container:
                    live, ready = (
                        container[f"{kind}Probe"]["periodSeconds"]
                        * container[f"{kind}Probe"]["failureThreshold"]
                        for kind in ("liveness", "readiness")
                    )
                    assert live >= 2 * ready, (stack.stack, name)


def test_the_bucket_and_the_training_have_no_way_out(stacks: dict[str, Rendered]) -> None:
    policies = {
        it["metadata"]["name"]: it["spec"]
        for it in stacks["everything"].objects
        if it["kind"] == "NetworkPolicy" and it["metadata"]["namespace"] == "mlflow"
    }
    for name in ("versitygw", "train-demo"):
        assert policies[name]["policyTypes"] == ["Ingress", "Egress"]
    assert policies["versitygw"]["egress"] == []
    name_server, tracking = policies["train-demo"]["egress"]
    assert {port["port"] for port in name_server["ports"]} == {53}
    (peer,) = tracking["to"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "mlflow"
    assert policies["train-demo"]["ingress"] == []
