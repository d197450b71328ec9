"""Prometheus, which reads the metrics of the stack and decides what is an alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, PersistentVolumeClaim, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings.monitoring import Prometheus

from . import access
from .manifests import common, network
from .manifests import prometheus as manifests
from .manifests import prometheus_server as server
from .options import child, inside_url

_CLUSTER_ROLE = "slipway-prometheus"


@dataclass(frozen=True)
class MonitoringArgs:
    """What Prometheus needs.

    namespace: where it runs, with kube-state-metrics beside it. image: of Prometheus.
    scraped: name -> namespace, of the namespaces whose annotated pods it reads. exposure: how the
    outside reaches it, and how much it keeps. storage_class: of its volume; None means the
    cluster's default. rules: `{"groups": [...]}`, recording and alerting rules in the shape of
    Prometheus' rule files. alertmanager: where it is reached, as in
    http://alertmanager.monitoring.svc:9093; None: alerts show here alone. keda: the namespace of
    KEDA's operator; None where it is not installed. clients: the peers in the cluster that ask it,
    as in `manifests.network.pods`. sidecars: whether the scraped pods have one.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    scraped: Mapping[str, pulumi.Input[str]]
    exposure: Prometheus = field(default_factory=Prometheus)
    storage_class: str | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    alertmanager: pulumi.Input[str] | None = None
    keda: pulumi.Input[str] | None = None
    clients: Sequence[common.Manifest] = ()
    sidecars: bool = False


class Monitoring(pulumi.ComponentResource):
    """Prometheus with its data on a volume. It may look for pods in the namespaces it scrapes and
    for nodes, read the nodes' metrics, and do nothing else.

    Every series of a model server has the labels namespace, pod, model_name and model_version.
    Other rules or another configuration are read by a new pod, which goes on with the data.

    Outputs: `url`, where people find it, and `inside_url`, where pods do.

    Raises ValueError if a group of rules is too large for a file.
    """

    url: pulumi.Output[str]
    inside_url: pulumi.Output[str]

    def __init__(
        self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:Monitoring", name, None, opts)
        exposure = args.exposure
        metadata = common.metadata(manifests.SERVER, args.namespace, manifests.labels())
        quiet = common.metadata(
            manifests.SERVER, args.namespace, manifests.labels(), common.SKIP_AWAIT
        )
        rules = server.rule_files(args.rules)
        text = pulumi.Output.all(args.namespace, args.alertmanager, args.keda).apply(
            lambda parts: manifests.configuration(
                sorted(args.scraped),
                parts[0],
                alertmanager=parts[1],
                keda=parts[2],
                rules=[*rules],
                verify_kubelets=exposure.verify_kubelets,
                sidecars=args.sidecars,
            )
        )

        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
        )
        spaces = dict(args.scraped) | ({"keda": args.keda} if args.keda is not None else {})
        bindings: list[pulumi.Resource] = [
            access.grant(
                self,
                f"{name}-{short}",
                common.metadata("prometheus-pod-reader", spaces[short], manifests.labels()),
                server.pod_reader_rules(),
                manifests.SERVER,
                args.namespace,
            )
            for short in sorted(spaces)
        ]
        bindings.append(
            access.grant(
                self,
                f"{name}-nodes",
                {"name": _CLUSTER_ROLE, "labels": manifests.labels()},
                server.node_reader_rules(),
                manifests.SERVER,
                args.namespace,
            )
        )
        config = ConfigMap(
            f"{name}-config",
            metadata=metadata,
            data={server.CONFIG_FILE: text},
            opts=child(self),
        )
        rule_maps = [
            ConfigMap(
                f"{name}-rules-{number}",
                metadata=common.metadata(
                    f"{server.RULES}-{number}", args.namespace, manifests.labels()
                ),
                data={file: rules[file]},
                opts=child(self),
            )
            for number, file in enumerate(rules)
        ]
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
                manifests.selector(),
                manifests.PORT,
                [*args.clients, *network.networks(exposure.allow_from)],
            ),
            opts=child(self),
        )
        Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=server.deployment(
                args.image,
                text.apply(lambda it: server.digest(it, rules)),
                manifests.SERVER,
                manifests.SERVER,
                exposure,
                [f"{server.RULES}-{number}" for number in range(len(rules))],
            ),
            opts=child(
                self,
                [account, *bindings, config, *rule_maps, claim, service, policy],
                timeout="5m",
            ),
        )
        self.inside_url = inside_url(manifests.SERVER, args.namespace, manifests.PORT)
        self.url = pulumi.Output.from_input(exposure.url) if exposure.url else self.inside_url
        self.register_outputs({"url": self.url, "inside_url": self.inside_url})
