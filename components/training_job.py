"""The Job that trains and registers the demo model."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.batch.v1 import Job
from pulumi_kubernetes.core.v1 import ConfigMap, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from .manifests import common, mesh, mlflow, network
from .manifests import training as manifests
from .options import child

# What the demo's script registers: model -> versions.
DEMO_VERSIONS = {"churn": (1, 2)}


@dataclass(frozen=True)
class TrainingJobArgs:
    """What the training needs.

    namespace: where it runs, beside MLflow, which is all that it reaches. image: one with the
    libraries. script: the text of the program. tracking_uri: the MLflow to register at. model: the
    name to register under. sidecars: whether its pod has one.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    script: str
    tracking_uri: pulumi.Input[str]
    model: str = "churn"
    sidecars: bool = False


class TrainingJob(pulumi.ComponentResource):
    """A Job that runs once for each text of the script.

    The update waits for it; a training that fails fails the update with the script's last words.
    Another script or serving image runs it again, and so does the update after one that failed;
    the script registers nothing twice.
    """

    def __init__(
        self, name: str, args: TrainingJobArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:TrainingJob", name, None, opts)
        metadata = common.metadata(manifests.TRAINING, args.namespace, manifests.labels())
        script = ConfigMap(
            f"{name}-script",
            metadata=metadata,
            data={"train_churn.py": args.script},
            opts=child(self),
        )
        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
        )
        spec = network.ingress(manifests.selector(), mlflow.PORT, []) | network.egress(
            [
                {
                    "to": [network.pods(mlflow.selector(), args.namespace)],
                    "ports": [network.tcp(mlflow.PORT)],
                }
            ]
        )
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=mesh.beside_sidecar(spec) if args.sidecars else spec,
            opts=child(self),
        )
        workload = manifests.job(
            args.image, args.script, manifests.TRAINING, args.tracking_uri, args.model
        )
        Job(
            f"{name}-job",
            # One that failed is replaced by the next update, rather than waited for once more.
            metadata=metadata | {"annotations": {"pulumi.com/replaceUnready": "true"}},
            spec=mesh.injected(workload) if args.sidecars else workload,
            opts=pulumi.ResourceOptions.merge(
                child(self, [script, account, policy], timeout="10m"),
                pulumi.ResourceOptions(replace_on_changes=["spec"]),
            ),
        )
        self.register_outputs({})
