"""The MLflow tracking server and model registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import PersistentVolumeClaim, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from settings.mlflow import Mlflow

from .manifests import bucket as own_bucket
from .manifests import common, mesh, mlflow_database, network, prometheus
from .manifests import mlflow as manifests
from .mlflow_database import Database, DatabaseAccess, DatabaseAccessArgs
from .options import child
from .sidecars import Sidecars

_AWS = "us-east-1"


class Bucket(Protocol):
    """A bucket's name, the URL of its S3 service, and the Secret with the keys, in MLflow's
    namespace. On AWS the last two are None: the endpoint is AWS' own, and MLflow's service account
    has credentials by Pod Identity.

    It may have a plain `region`, of AWS, and a `destination`: the s3:// URL of MLflow's artifacts.
    """

    @property
    def bucket(self) -> pulumi.Output[str]: ...

    @property
    def endpoint(self) -> pulumi.Output[str] | None: ...

    @property
    def credentials(self) -> pulumi.Output[str] | None: ...


@dataclass(frozen=True)
class MlflowServerArgs:
    """What the tracking server needs.

    namespace: where it runs. image: one with the `mlflow` command.
    bucket: an ArtifactBucket, or another with its outputs.
    client_namespaces: whose pods may reach it, to read. exposure: how the outside does.
    storage_class: of its database's volume; None means the cluster's default.
    scraper: the peer that reads the server's metrics, as a NetworkPolicy names it.
    sidecars: of the mesh that the pod is in, if it has one. Then its own namespace may ask it, the
        client namespaces may read, and from outside comes whoever has a way that is configured.
        Without any, who gets there may do anything.
    database: a PostgreSQL; None means SQLite on a volume. authorities: the PEM that vouches for it;
        None where `exposure.database.sslmode` is `require`.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    bucket: Bucket
    client_namespaces: tuple[pulumi.Input[str], ...] = ()
    exposure: Mlflow = field(default_factory=Mlflow)
    storage_class: str | None = None
    scraper: common.Manifest = field(default_factory=prometheus.peer)
    sidecars: Sidecars | None = None
    database: Database | None = None
    authorities: str | None = None


class MlflowServer(pulumi.ComponentResource):
    """MLflow with its database on a volume, or a PostgreSQL, and artifacts proxied to a bucket:
    clients need no keys to it.

    With a PostgreSQL a Job brings that to the schema of the image before a server of it starts,
    there may be several servers, and they reach nothing but the name server, the database and the
    bucket.

    Outputs: `tracking_uri`, for clients in the cluster; `url`, for people; `access`, the way to the
    PostgreSQL, for what else needs it.
    """

    tracking_uri: pulumi.Output[str]
    url: pulumi.Output[str]
    access: DatabaseAccess | None

    def __init__(
        self, name: str, args: MlflowServerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:MlflowServer", name, None, opts)
        exposure = args.exposure
        metadata = common.metadata(manifests.SERVER, args.namespace, manifests.labels())
        quiet = common.metadata(
            manifests.SERVER, args.namespace, manifests.labels(), common.SKIP_AWAIT
        )

        before: list[pulumi.Resource] = []
        if args.database is None:
            before.append(
                PersistentVolumeClaim(
                    f"{name}-volume",
                    metadata=quiet,
                    spec=common.volume_claim(exposure.size, args.storage_class),
                    opts=child(self, holds_data=True),
                )
            )
        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
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
            spec=self._policy(args),
            opts=child(self),
        )
        if args.sidecars:
            before += self._allow(name, args, args.sidecars, metadata)
        self.access = None
        if args.database is not None:
            wanted = exposure.database
            self.access = DatabaseAccess(
                f"{name}-database",
                DatabaseAccessArgs(
                    args.namespace,
                    args.image,
                    args.database,
                    wanted.sslmode if wanted else "verify-full",
                    args.authorities,
                    tuple(wanted.networks) if wanted else (),
                    args.sidecars is not None,
                ),
                pulumi.ResourceOptions(parent=self, depends_on=[account]),
            )
            before += self.access.ready
            if exposure.replicas > 1:
                PodDisruptionBudget(
                    f"{name}-disruption-budget",
                    metadata=metadata,
                    spec=common.disruption_budget(manifests.selector()),
                    opts=child(self),
                )
        pod = manifests.pod(
            args.image,
            manifests.SERVER,
            _destination(args),
            args.bucket.endpoint,
            args.bucket.credentials,
            pulumi.Output.from_input(args.namespace).apply(
                lambda it: manifests.allowed_hosts(it, [exposure.url])
            ),
            region=getattr(args.bucket, "region", _AWS),
            origins=[exposure.url] if exposure.sign_in and exposure.url else [],
            database=(self.access.connection, self.access.address) if self.access else None,
        )
        workload = manifests.deployment(pod, exposure.replicas if self.access else None)
        deployment = Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=mesh.injected(workload, args.sidecars.version) if args.sidecars else workload,
            opts=child(self, [*before, account, service, policy], timeout="5m"),
        )
        # By way of the Deployment: who takes the address gets it once the server answers.
        self.tracking_uri = pulumi.Output.all(deployment.id, args.namespace).apply(
            lambda parts: f"http://{manifests.SERVER}.{parts[1]}.svc.cluster.local:{manifests.PORT}"
        )
        self.url = pulumi.Output.from_input(exposure.url) if exposure.url else self.tracking_uri
        self.register_outputs({"tracking_uri": self.tracking_uri, "url": self.url})

    def _policy(self, args: MlflowServerArgs) -> common.Manifest:
        exposure = args.exposure
        clients = [
            network.everywhere(namespace) for namespace in (args.namespace, *args.client_namespaces)
        ] + [args.scraper]
        spec = network.ingress(
            manifests.selector(), manifests.PORT, clients + network.networks(exposure.allow_from)
        )
        if args.database is not None:
            spec |= self._way_out(args, args.database)
        return mesh.beside_sidecar(spec, args.scraper) if args.sidecars else spec

    def _allow(
        self, name: str, args: MlflowServerArgs, sidecars: Sidecars, metadata: common.Manifest
    ) -> list[pulumi.Resource]:
        """Who may ask it, and whoever comes without a sidecar where it is exposed."""
        pods, outside = manifests.selector(), args.exposure.service_type != "ClusterIP"
        own, others = [args.namespace], args.client_namespaces
        rules = [mesh.callers(manifests.PORT, namespaces=own)]
        if others:
            reading = ["GET", "HEAD"]
            rules.append(mesh.callers(manifests.PORT, namespaces=others, methods=reading))
        rules += [mesh.strangers(manifests.PORT)] if outside else []
        allowed: list[pulumi.Resource] = [sidecars.allow(self, name, metadata, pods, rules)]
        if outside:
            allowed.append(sidecars.leave_plain(self, name, metadata, pods, manifests.PORT))
        return allowed

    def _way_out(self, args: MlflowServerArgs, database: Database) -> common.Manifest:
        wanted = args.exposure.database
        aws = args.bucket.endpoint is None
        rules = mlflow_database.way_out(database.port, wanted.networks if wanted else [], aws=aws)
        if not aws:
            store = network.pods(own_bucket.selector(), args.namespace)
            rules.append({"to": [store], "ports": [network.tcp(own_bucket.PORT)]})
        return network.egress(rules)


def _destination(args: MlflowServerArgs) -> pulumi.Input[str]:
    """Where the artifacts lie: under a prefix where there is something else in the bucket."""
    given: str | None = getattr(args.bucket, "destination", None)
    if given is not None:
        return given
    prefix = f"/{manifests.PREFIX}" if args.database is not None else ""
    return pulumi.Output.concat("s3://", args.bucket.bucket, prefix)
