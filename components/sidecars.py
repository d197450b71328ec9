"""What a component makes for pods that have a sidecar: who may ask them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from settings.platform import Istio

from .manifests import common, istio
from .manifests import mesh as manifests
from .options import child

_API = "security.istio.io/v1"


@dataclass(frozen=True)
class Sidecars:
    """The mesh that pods are in.

    mesh: whom everything of Istio's kinds depends on. Whoever makes such pods makes them after it.
    version: of their proxies.
    """

    mesh: pulumi.Resource
    version: str = Istio().tag

    def allow(
        self,
        parent: pulumi.Resource,
        name: str,
        metadata: common.Manifest,
        selects: Mapping[str, str],
        rules: Sequence[common.Manifest],
    ) -> CustomResource:
        """The AuthorizationPolicy of the pods that `selects` picks, as a child of `parent`. Nobody
        but those in `rules` (`manifests.mesh.callers`) may ask them.
        """
        return self._of_istio(
            parent,
            "AuthorizationPolicy",
            f"{name}-callers",
            metadata,
            manifests.allow(selects, rules),
        )

    def leave_plain(
        self,
        parent: pulumi.Resource,
        name: str,
        metadata: common.Manifest,
        selects: Mapping[str, str],
        port: int,
    ) -> CustomResource:
        """The PeerAuthentication that lets whoever has no sidecar ask these pods at `port`: a
        NetworkPolicy says who gets there.
        """
        return self._of_istio(
            parent,
            "PeerAuthentication",
            f"{name}-plain",
            metadata,
            manifests.plain_port(selects, port),
        )

    def _of_istio(
        self,
        parent: pulumi.Resource,
        kind: str,
        name: str,
        metadata: common.Manifest,
        spec: common.Manifest,
    ) -> CustomResource:
        return CustomResource(
            name,
            api_version=_API,
            kind=kind,
            metadata=metadata,
            spec=spec,
            opts=child(parent, [self.mesh]),
        )


def account(name: str, namespace: pulumi.Input[str]) -> pulumi.Output[str]:
    """A service account of a namespace, as a rule names it."""
    return pulumi.Output.from_input(namespace).apply(lambda it: manifests.account(name, it))


def gateways() -> str:
    """The service account of the gateway's pods, as a rule names it."""
    return manifests.account(istio.INGRESS, istio.INGRESS_NAMESPACE)
