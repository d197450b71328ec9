"""Grafana, which shows the dashboards of the stack."""

from __future__ import annotations

from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, Secret, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings.monitoring import Grafana as Exposure
from settings.platform import Images

from .manifests import common, network
from .manifests import grafana as manifests
from .options import child, inside_url


@dataclass(frozen=True)
class GrafanaArgs:
    """What Grafana needs.

    namespace: where it runs. prometheus_url: where it asks; that Prometheus must let
    `manifests.grafana.selector()` in. password: of user `admin`; it is kept secret, whether it
    comes as a secret or not. image: of Grafana 12. exposure: how the outside reaches it.
    alertmanager_url: where it looks up alerts and silences; None: nowhere.
    """

    namespace: pulumi.Input[str]
    prometheus_url: pulumi.Input[str]
    password: pulumi.Input[str]
    image: pulumi.Input[str] = Images().grafana
    exposure: Exposure = field(default_factory=Exposure)
    alertmanager_url: pulumi.Input[str] | None = None


class Grafana(pulumi.ComponentResource):
    """Grafana with the stack's data sources and dashboards, read only, behind a password.

    It keeps nothing: what somebody makes in it by hand is gone with its pod. Another password
    makes a new Secret under a new name, so the pod that reads it is renewed.

    Output: `url`.
    """

    url: pulumi.Output[str]

    def __init__(
        self, name: str, args: GrafanaArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        # The types of the dashboards take a while to load, and most stacks have no Grafana.
        from . import dashboards

        super().__init__("slipway:index:Grafana", name, None, opts)
        exposure = args.exposure
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
        sources = pulumi.Output.all(args.prometheus_url, args.alertmanager_url).apply(
            lambda urls: manifests.datasources(urls[0], urls[1])
        )
        provider = manifests.provider(dashboards.FOLDER)
        config = ConfigMap(
            f"{name}-config",
            metadata=metadata,
            data={manifests.DATASOURCES_FILE: sources, manifests.PROVIDER_FILE: provider},
            opts=child(self),
        )
        boards = {
            file: self._board(name, args, file, text) for file, text in dashboards.every().items()
        }
        secret = Secret(
            f"{name}-password",
            metadata={"namespace": args.namespace, "labels": manifests.labels()},
            immutable=True,
            string_data={manifests.PASSWORD_KEY: pulumi.Output.secret(args.password)},
            opts=pulumi.ResourceOptions(parent=self),
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
                args.image,
                exposure,
                manifests.SERVER,
                {file: _board_name(file) for file in boards},
                secret.metadata.apply(lambda it: it.name or ""),
                sources.apply(lambda text: manifests.digest(text, provider)),
            ),
            opts=child(
                self, [account, config, *boards.values(), secret, service, policy], timeout="5m"
            ),
        )
        inside = inside_url(manifests.SERVER, args.namespace, manifests.PORT)
        self.url = pulumi.Output.from_input(exposure.url) if exposure.url else inside
        self.register_outputs({"url": self.url})

    def _board(self, name: str, args: GrafanaArgs, file: str, text: str) -> ConfigMap:
        return ConfigMap(
            f"{name}-dashboard-{file.removesuffix('.json')}",
            metadata=common.metadata(_board_name(file), args.namespace, manifests.labels()),
            data={file: text},
            opts=child(self),
        )


def _board_name(file: str) -> str:
    return f"{manifests.SERVER}-dashboard-{file.removesuffix('.json')}"
