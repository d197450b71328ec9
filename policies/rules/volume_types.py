"""Pods mount no part of the node."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Pod, of_pods
from engine.rule import Given, Rule, patterns
from engine.values import get, items, mapping

_ALLOWED = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def _messages(pod: Pod, given: Given) -> Iterator[str]:
    for volume in items(pod.spec, "volumes"):
        path = f"{pod.resource.place}:{get(volume, 'hostPath', 'path')}"
        for kind in sorted(set(mapping(volume)) - {"name"} - _ALLOWED):
            if kind == "hostPath" and given.listed("host_paths", path):
                continue
            yield f"volume {get(volume, 'name')}: is of kind {kind}"


RULE = Rule(
    name="volume-types",
    title="No host paths",
    description="Pods mount neither host paths nor other volumes beyond the restricted level's.",
    severity="critical",
    remediation="Use a PersistentVolumeClaim, an emptyDir, a ConfigMap or a Secret.",
    references=("https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted",),
    check=of_pods(_messages),
    knobs={
        "host_paths": patterns(
            "paths of the node that single workloads may mount, as patterns of namespace/name:path"
        )
    },
)
