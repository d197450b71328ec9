"""What the pods have in common: names, labels, security, volumes, ports and network rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Manifest: TypeAlias = dict[str, Any]
Text: TypeAlias = Any  # a str, or a Pulumi Output of one

# The one writable directory that every pod has.
TMP = "/tmp"  # noqa: S108

# The numeric user of every pod whose image does not bring its own.
USER = 10001

MODEL_LABEL = "slipway.dev/model"
VERSION_LABEL = "slipway.dev/version"

# Before the name of a model server that may have no pod: on its pods, and on those that hold
# requests until one is there.
SERVES_LABEL = "serves.slipway.dev/"

# Services are not awaited: Pulumi would wait for their endpoints, which the Deployments that
# depend on them have yet to make. The Deployments are awaited.
SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}


# What every object of this program has, also one that belongs to no workload.
OWNED = {"app.kubernetes.io/part-of": "slipway", "app.kubernetes.io/managed-by": "pulumi"}


def selector(name: str, instance: str) -> dict[str, str]:
    """The labels that pick the pods of one workload. They never hold a role, so a promotion
    changes none.
    """
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": instance}


def labels(name: str, instance: str, component: str) -> dict[str, str]:
    """The labels of a workload and all that belongs to it."""
    return selector(name, instance) | {"app.kubernetes.io/component": component} | OWNED


def metadata(
    name: str,
    namespace: Text,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """An object's metadata under a fixed name."""
    return {
        "name": name,
        "namespace": namespace,
        "labels": dict(labels),
        **({"annotations": dict(annotations)} if annotations else {}),
    }


def pod_security(user: int = USER) -> Manifest:
    """A pod's security context at the restricted Pod Security level."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container(name: str, image: Text, command: Sequence[Text], **fields: Any) -> Manifest:
    """A container at the restricted level, on a read-only root, whose last words reach its
    status.
    """
    return {
        "name": name,
        "image": image,
        "command": list(command),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **fields,
    }


def pod(service_account: str, **fields: Any) -> Manifest:
    """A pod at the restricted level, without a token for the API server and without Service
    variables.
    """
    return {
        "serviceAccountName": service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        **fields,
    }


def env(values: Mapping[str, Text]) -> list[Manifest]:
    """Environment variables, in the order given."""
    return [{"name": name, "value": value} for name, value in values.items()]


def scratch(name: str, size: str) -> Manifest:
    """An empty volume that lives and dies with the pod. `size` is a quantity; beyond it the pod
    is evicted.
    """
    return {"name": name, "emptyDir": {"sizeLimit": size}}


def claim_volume(name: str, claim: Text) -> Manifest:
    """A volume that outlives the pod."""
    return {"name": name, "persistentVolumeClaim": {"claimName": claim}}


def mount(name: str, path: str, *, read_only: bool = False) -> Manifest:
    """Where a container sees a volume."""
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}


def http_probe(path: str, port: str, *, period: int, timeout: int, failures: int) -> Manifest:
    """A probe that fails after `failures` times `period` seconds; one try may take `timeout`
    seconds.
    """
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def volume_claim(size: str, storage_class: str | None) -> Manifest:
    """The spec of a claim for one node's use. `storage_class` None means the cluster's default."""
    return {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        **({"storageClassName": storage_class} if storage_class else {}),
    }


def single_replica(selects: Mapping[str, str], template: Manifest) -> Manifest:
    """The spec of a Deployment whose one pod owns its volume: the old pod goes before the new one
    comes.
    """
    return {
        "replicas": 1,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 240,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": dict(selects)},
        "template": template,
    }


def service(
    selects: Mapping[str, str],
    port: int,
    target: str,
    *,
    service_type: str = "ClusterIP",
    node_port: int | None = None,
    allow_from: Sequence[str] = (),
) -> Manifest:
    """The spec of a Service with one HTTP port."""
    outside = (
        {"loadBalancerSourceRanges": list(allow_from)}
        if service_type == "LoadBalancer" and allow_from
        else {}
    )
    listener = {"name": "http", "port": port, "targetPort": target, "protocol": "TCP"}
    return {
        "type": service_type,
        "selector": dict(selects),
        "ports": [listener | ({"nodePort": node_port} if node_port else {})],
        **outside,
    }


def apart(selects: Mapping[str, str]) -> Manifest:
    """The affinity of a pod that is better not on the same node as the others of these."""
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": dict(selects)},
    }
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def disruption_budget(selects: Mapping[str, str]) -> Manifest:
    """The spec of a PodDisruptionBudget: one of these pods at a time may go, so it can always be
    satisfied.
    """
    return {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": dict(selects)},
    }
