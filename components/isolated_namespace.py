"""A namespace that lets nothing in by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from .manifests import common, mesh, network
from .options import child


@dataclass(frozen=True)
class IsolatedNamespaceArgs:
    """`namespace`: its name in the cluster. `level`: the Pod Security level that is enforced in
    it. `sidecars`: whether its pods get one; make them after the mesh.
    """

    namespace: str
    level: Literal["restricted", "baseline", "privileged"] = "restricted"
    sidecars: bool = False


class IsolatedNamespace(pulumi.ComponentResource):
    """A namespace with an enforced Pod Security level, whose pods only get the traffic that a
    policy lets in.
    """

    namespace: pulumi.Output[str]

    def __init__(
        self, name: str, args: IsolatedNamespaceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:IsolatedNamespace", name, None, opts)
        security = {
            f"pod-security.kubernetes.io/{mode}": args.level
            for mode in ("enforce", "audit", "warn")
        }
        injected = mesh.INJECTED if args.sidecars else {}
        namespace = Namespace(
            f"{name}-namespace",
            metadata={"name": args.namespace, "labels": common.OWNED | security | injected},
            opts=child(self),
        )
        self.namespace = namespace.metadata.apply(lambda metadata: metadata.name or args.namespace)
        NetworkPolicy(
            f"{name}-default-deny",
            metadata=common.metadata("default-deny", self.namespace, common.OWNED),
            spec=network.default_deny(),
            opts=child(self),
        )
        self.register_outputs({"namespace": self.namespace})
