"""A stack on AWS: the account and region, and what is made there for the cluster to stand on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator, model_validator

from settings.aws.cluster import EksCluster, admins_fault
from settings.aws.entrance import Entrance, certificate_fault
from settings.aws.gpu import GpuPool
from settings.aws.network import Network, faults
from settings.aws.nodes import Karpenter, NodePool
from settings.aws.storage import Bucket, Database, ImageRegistry, credentials_fault
from settings.aws.values import partition
from settings.faults import fault
from settings.types import Section, matching

Account = Annotated[str, matching(r"\d{12}", "is not an account's number: twelve digits, as text")]
Region = Annotated[
    str, matching(r"[a-z]{2,3}(-[a-z]+)+-\d", "is not a region of AWS, as in eu-central-1")
]
TagKey = Annotated[
    str,
    # Validators run from the last to the first.
    matching(
        r"(?!(?i:aws|eks|slipway):|([a-z0-9-]+\.)*(k8s\.io|kubernetes\.io|karpenter\.sh|k8s\.aws)/).*",
        "is a tag's key that AWS, Kubernetes, Karpenter or Slipway set themselves; take another",
    ),
    matching(r"[\w .:/=+@-]{1,128}", "is not a tag's key: at most 128 characters"),
]
TagValue = Annotated[
    str, matching(r"[\w .:/=+@-]{0,256}", "is not a tag's value: at most 256 characters")
]


class Aws(Section):
    """Where on AWS, and what. `account`, `region`, `cluster` and `entrance` have no default."""

    account: Account = Field(description="the number of the account; no other is ever touched")
    region: Region = Field(description="the region, as in eu-central-1")
    tags: dict[TagKey, TagValue] = Field(
        default_factory=dict, description="of all that is made, such as its owner and cost-center"
    )
    network: Network = Network()
    cluster: EksCluster = Field(description="an object with admins, who may do all in the cluster")
    nodes: NodePool = NodePool()
    gpu: GpuPool | None = None
    karpenter: Karpenter | None = None
    bucket: Bucket = Bucket()
    database: Database = Database()
    registry: ImageRegistry = ImageRegistry()
    entrance: Entrance = Field(description="how requests come in: an object with a domain at least")

    @field_validator("cluster")
    @classmethod
    def _entered_by_this_program(cls, value: EksCluster, info: ValidationInfo) -> EksCluster:
        account = info.data.get("account")
        if account and (found := admins_fault(value.admins, account)):
            raise found
        return value

    @field_validator("registry")
    @classmethod
    def _beside_the_registry(cls, value: ImageRegistry, info: ValidationInfo) -> ImageRegistry:
        place = info.data.get("account"), info.data.get("region")
        secret = value.docker_hub_credentials
        if all(place) and (found := credentials_fault(secret, *map(str, place))):
            raise found
        return value

    @field_validator("entrance")
    @classmethod
    def _beside_the_balancer(cls, value: Entrance, info: ValidationInfo) -> Entrance:
        place = info.data.get("account"), info.data.get("region")
        if all(place) and (found := certificate_fault(value.certificate, *map(str, place))):
            raise found
        return value

    @model_validator(mode="after")
    def _network_of_the_region(self) -> Aws:
        for found in faults(self.network, self.region):
            raise found
        return self

    @model_validator(mode="after")
    def _nodes_of_the_version(self) -> Aws:
        release = self.gpu.release if self.gpu else None
        if release and not release.startswith(f"{self.cluster.version}."):
            raise fault(
                "gpu.release",
                release,
                f"is of another version of Kubernetes than cluster.version, {self.cluster.version}",
            )
        return self

    @model_validator(mode="after")
    def _replica_elsewhere(self) -> Aws:
        replica = self.bucket.replica
        if replica and partition(replica.region) != partition(self.region):
            raise fault(
                "bucket.replica.region",
                replica.region,
                f"is of another partition of AWS than {self.region}, and S3 copies to none",
            )
        if replica and replica.region == self.region:
            raise fault(
                "bucket.replica.region",
                replica.region,
                "is the region of the stack; a replica is in another one",
            )
        return self
