"""What runs on every node with GPUs."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import DaemonSet
from pulumi_kubernetes.core.v1 import ConfigMap, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings import Settings
from settings.gpu import Sharing
from settings.platform import Images

from .isolated_namespace import IsolatedNamespace, IsolatedNamespaceArgs
from .manifests import common, network, placement
from .manifests import gpu_support as manifests
from .options import child


@dataclass(frozen=True)
class GpuSupportArgs:
    """What is brought, and for which nodes.

    pool: the nodes. images: of the device plugin and the exporter. scraper: the peer that reads
    the exporter's metrics. plugin, exporter: which of the two. sharing: of the GPUs. mig_parts:
    into how many parts each GPU is cut; None where they are cut already, or not at all.
    """

    pool: placement.GpuPool
    images: Images
    scraper: common.Manifest
    plugin: bool = True
    exporter: bool = True
    sharing: Sharing | None = None
    mig_parts: int | None = None


class GpuSupport(pulumi.ComponentResource):
    """NVIDIA's device plugin and DCGM exporter, on the nodes with GPUs alone, in a namespace of
    their own: its Pod Security level lets the plugin have the kubelet's directory of sockets.

    Nothing waits for their pods: a pool may have no node.

    Output: `namespace`, for Prometheus to read the exporter's pods.
    """

    namespace: pulumi.Output[str]

    def __init__(
        self, name: str, args: GpuSupportArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:GpuSupport", name, None, opts)
        home = IsolatedNamespace(
            name,
            IsolatedNamespaceArgs(
                manifests.NAMESPACE, "privileged" if args.plugin else "restricted"
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.namespace = home.namespace
        if args.plugin:
            files = {manifests.PLUGIN_FILE: manifests.plugin_config(args.sharing)}
            cutter = None
            if args.sharing and args.sharing.mig and args.mig_parts:
                cutter = args.images.mig_parted
                files[manifests.PARTS_FILE] = manifests.parts_config(
                    args.sharing.mig, args.mig_parts
                )
            self._part(
                f"{name}-plugin",
                manifests.PLUGIN,
                files,
                manifests.plugin(
                    args.images.device_plugin,
                    files,
                    manifests.PLUGIN,
                    args.pool,
                    args.sharing,
                    cutter,
                ),
                {"podSelector": {"matchLabels": manifests.selector(manifests.PLUGIN)}}
                | network.nowhere(),
            )
        if args.exporter:
            self._part(
                f"{name}-exporter",
                manifests.EXPORTER,
                {manifests.COUNTERS_FILE: manifests.counters()},
                manifests.exporter(args.images.dcgm_exporter, manifests.EXPORTER, args.pool),
                network.ingress(
                    manifests.selector(manifests.EXPORTER), manifests.EXPORTER_PORT, [args.scraper]
                )
                | network.nowhere(),
            )
        self.register_outputs({"namespace": self.namespace})

    def _part(
        self,
        name: str,
        part: str,
        files: dict[str, str],
        spec: common.Manifest,
        policy: common.Manifest,
    ) -> None:
        metadata = common.metadata(part, self.namespace, manifests.labels(part))
        before = [
            ServiceAccount(
                f"{name}-account",
                metadata=metadata,
                automount_service_account_token=False,
                opts=child(self),
            ),
            ConfigMap(f"{name}-config", metadata=metadata, data=files, opts=child(self)),
            NetworkPolicy(f"{name}-policy", metadata=metadata, spec=policy, opts=child(self)),
        ]
        DaemonSet(
            f"{name}-daemons",
            metadata=common.metadata(
                part, self.namespace, manifests.labels(part), common.SKIP_AWAIT
            ),
            spec=spec,
            opts=child(self, before),
        )


def gpu_pool(stack: Settings) -> placement.GpuPool | None:
    """The nodes with GPUs that the stack knows: its own on AWS, or those of a cluster that exists.
    None where it knows of none.
    """
    if stack.aws is not None:
        return placement.own() if stack.aws.gpu else None
    return placement.existing(stack.gpu) if stack.gpu else None


def gpu_support(stack: Settings, scraper: common.Manifest) -> GpuSupportArgs | None:
    """What the stack brings to its nodes with GPUs: on AWS both parts, elsewhere what is asked
    for. None where that is nothing.
    """
    pool = gpu_pool(stack)
    if pool is None:
        return None
    if stack.aws is not None and (own := stack.aws.gpu) is not None:
        return GpuSupportArgs(
            pool, stack.images, scraper, sharing=own.sharing, mig_parts=own.mig_parts
        )
    if stack.gpu is None or not (stack.gpu.plugin or stack.gpu.exporter):
        return None
    return GpuSupportArgs(
        pool, stack.images, scraper, stack.gpu.plugin, stack.gpu.exporter, stack.gpu.sharing
    )
