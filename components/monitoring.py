"""Prometheus, which reads the model servers' metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, PersistentVolumeClaim, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.rbac.v1 import Role, RoleBinding

from settings_monitoring import Prometheus

from .manifests import common, network
from .manifests import prometheus as manifests
from .options import child


@dataclass(frozen=True)
class MonitoringArgs:
    """What Prometheus needs.

    namespace: where it runs. image: of Prometheus. scraped: name -> namespace, of the namespaces
    whose annotated pods it reads. exposure: how the outside reaches it. storage_class: of its
    volume; None means the cluster's default.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    scraped: Mapping[str, pulumi.Input[str]]
    exposure: Prometheus = field(default_factory=Prometheus)
    storage_class: str | None = None


class Monitoring(pulumi.ComponentResource):
    """Prometheus with its data on a volume. It may look for pods in the namespaces it scrapes,
    and do nothing else.

    Every series of a model server has the labels namespace, pod, model_name and model_version.

    Output: `url`.
    """

    url: pulumi.Output[str]

    def __init__(
        self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:Monitoring", name, None, opts)
        exposure = args.exposure
        metadata = common.metadata(manifests.SERVER, args.namespace, manifests.labels())
        quiet = common.metadata(
            manifests.SERVER, args.namespace, manifests.labels(), common.SKIP_AWAIT
        )
        text = manifests.configuration(sorted(args.scraped))

        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
        )
        bindings = [
            self._reader(name, short, args.scraped[short], args.namespace)
            for short in sorted(args.scraped)
        ]
        config = ConfigMap(
            f"{name}-config",
            metadata=metadata,
            data={manifests.CONFIG_FILE: text},
            opts=child(self),
        )
        claim = PersistentVolumeClaim(
            f"{name}-volume",
            metadata=quiet,
            spec=common.volume_claim(exposure.size, args.storage_class),
            opts=child(self, holds_data=True),
        )
        service = Service(
            f"{name}-service",
            metadata=quiet,
            spec=common.service(
                manifests.selector(),
                manifests.PORT,
                "http",
                service_type=exposure.service_type,
                node_port=exposure.node_port,
                allow_from=exposure.allow_from,
            ),
            opts=child(self),
        )
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=network.ingress(
                manifests.selector(), manifests.PORT, network.networks(exposure.allow_from)
            ),
            opts=child(self),
        )
        Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=manifests.deployment(
                args.image, text, manifests.SERVER, manifests.SERVER, exposure.size
            ),
            opts=child(self, [account, *bindings, config, claim, service, policy], timeout="5m"),
        )
        inside = pulumi.Output.concat(
            "http://",
            manifests.SERVER,
            ".",
            args.namespace,
            ".svc.cluster.local:",
            str(manifests.PORT),
        )
        self.url = pulumi.Output.from_input(exposure.url) if exposure.url else inside
        self.register_outputs({"url": self.url})

    def _reader(
        self, name: str, short: str, scraped: pulumi.Input[str], home: pulumi.Input[str]
    ) -> RoleBinding:
        metadata = common.metadata("prometheus-pod-reader", scraped, manifests.labels())
        role = Role(
            f"{name}-{short}-role",
            metadata=metadata,
            rules=manifests.pod_reader_rules(),
            opts=child(self),
        )
        return RoleBinding(
            f"{name}-{short}-binding",
            metadata=metadata,
            role_ref={
                "api_group": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "prometheus-pod-reader",
            },
            subjects=[{"kind": "ServiceAccount", "name": manifests.SERVER, "namespace": home}],
            opts=child(self, [role]),
        )
