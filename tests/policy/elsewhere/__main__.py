"""A workload that keeps every rule, and beside it, where asked for, ones that do not."""

import os

import pulumi
from pulumi_kubernetes import Provider
from pulumi_kubernetes.core.v1 import ConfigMap, Namespace, Pod
from pulumi_kubernetes.networking.v1 import NetworkPolicy

files = pulumi.ResourceOptions(
    provider=Provider("files", render_yaml_to_directory=os.environ["RENDER_TO"])
)
asked = os.environ.get("ALSO", "")
level = {"pod-security.kubernetes.io/enforce": "restricted"}
Namespace("shop", metadata={"name": "shop", "labels": level}, opts=files)
NetworkPolicy(
    "shut",
    metadata={"name": "shut", "namespace": "shop"},
    spec={"podSelector": {}, "policyTypes": ["Ingress"]},
    opts=files,
)


def pod(name: str, image: pulumi.Input[str], **context: object) -> None:
    """A pod at the restricted level, but for `context`."""
    small = {"cpu": "100m", "memory": "64Mi"}
    Pod(
        name,
        metadata={"name": name, "namespace": "shop"},
        spec={
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "resources": {"requests": small, "limits": small},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    }
                    | context,
                }
            ],
        },
        opts=files,
    )


pinned = "registry.k8s.io/pause@sha256:" + "7" * 64
pod("good", pinned)
if asked == "bad":
    pod("bad", "registry.k8s.io/pause:3.10", readOnlyRootFilesystem=False)
if asked == "unknown":
    told = ConfigMap("told", metadata={"namespace": "shop"}, opts=files)
    pod("unknown", told.id.apply(lambda _: pinned))
