"""Alertmanager, which tells people of alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    PersistentVolumeClaim,
    Secret,
    Service,
    ServiceAccount,
)
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings.monitoring import Alerts
from settings.platform import Images

from .manifests import alertmanager as manifests
from .manifests import common, network, prometheus, receiver_secrets
from .options import child, inside_url


@dataclass(frozen=True)
class AlertmanagerArgs:
    """What Alertmanager needs.

    namespace: where it runs; Prometheus of that namespace may reach it, and `clients`. image: of
    Alertmanager. alerts: who is told of what. secrets: a receiver's name -> the URL or key it is
    reached by, for every receiver of `alerts` that has it secret, and no other. storage_class: of
    its volume; None means the cluster's default.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str] = Images().alertmanager
    alerts: Alerts = field(default_factory=Alerts)
    secrets: pulumi.Input[Mapping[str, str]] | None = None
    storage_class: str | None = None
    clients: Sequence[common.Manifest] = ()


class Alertmanager(pulumi.ComponentResource):
    """Alertmanager, with its silences and what it has sent on a volume.

    Secrets are kept secret, whether they come as secrets or not. New ones make a new Secret under
    a new name, so the pod that reads it is renewed. Raises `pulumi.RunError` if a receiver needs a
    secret and there are none.

    Output: `url`, where Prometheus reaches it.
    """

    url: pulumi.Output[str]

    def __init__(
        self, name: str, args: AlertmanagerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        secret_names = receiver_secrets.names(args.alerts)
        if secret_names and args.secrets is None:
            raise pulumi.RunError("\n".join(receiver_secrets.faults(args.alerts, ())))
        super().__init__("slipway:index:Alertmanager", name, None, opts)
        metadata = common.metadata(manifests.SERVER, args.namespace, manifests.labels())
        quiet = common.metadata(
            manifests.SERVER, args.namespace, manifests.labels(), common.SKIP_AWAIT
        )

        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
        )
        config = ConfigMap(
            f"{name}-config",
            metadata=metadata,
            data={manifests.CONFIG_FILE: manifests.configuration(args.alerts)},
            opts=child(self),
        )
        secrets = [self._secrets(name, args)] if secret_names else []
        claim = PersistentVolumeClaim(
            f"{name}-volume",
            metadata=quiet,
            spec=common.volume_claim(manifests.VOLUME, args.storage_class),
            opts=child(self, holds_data=True),
        )
        service = Service(
            f"{name}-service",
            metadata=quiet,
            spec=common.service(manifests.selector(), manifests.PORT, "http"),
            opts=child(self),
        )
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=network.ingress(
                manifests.selector(),
                manifests.PORT,
                [prometheus.peer(args.namespace), *args.clients],
            ),
            opts=child(self),
        )
        self.url = inside_url(manifests.SERVER, args.namespace, manifests.PORT)
        Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=manifests.deployment(
                args.alerts,
                args.image,
                self.url,
                manifests.SERVER,
                manifests.SERVER,
                secrets[0].metadata.apply(lambda it: it.name or "") if secrets else None,
            ),
            opts=child(self, [account, config, *secrets, claim, service, policy], timeout="5m"),
        )
        self.register_outputs({"url": self.url})

    def _secrets(self, name: str, args: AlertmanagerArgs) -> Secret:
        return Secret(
            f"{name}-secrets",
            metadata={"namespace": args.namespace, "labels": manifests.labels()},
            immutable=True,
            string_data=pulumi.Output.secret(args.secrets).apply(lambda it: dict(it or {})),
            opts=pulumi.ResourceOptions(parent=self),
        )
