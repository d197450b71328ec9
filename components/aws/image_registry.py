"""Images on ECR: the serving image, and copies of others' that are pulled through."""

from __future__ import annotations

from dataclasses import dataclass, field

import pulumi
from pulumi_aws.ecr.lifecycle_policy import LifecyclePolicy
from pulumi_aws.ecr.pull_through_cache_rule import PullThroughCacheRule
from pulumi_aws.ecr.registry_scanning_configuration import RegistryScanningConfiguration
from pulumi_aws.ecr.repository import Repository
from pulumi_aws.ecr.repository_creation_template import RepositoryCreationTemplate
from pulumi_aws.ecr.repository_policy import RepositoryPolicy

from settings.aws import storage

from . import data_documents, documents, naming
from .data_key import data_key
from .options import child

# Registry -> its part of the prefix, which has at most 30 characters and the stack's 24 of them.
_SHORT = {"quay.io": "quay", "registry.k8s.io": "k8s", "public.ecr.aws": "ecr", "docker.io": "hub"}
_DOCKER_HUB = "registry-1.docker.io"


@dataclass(frozen=True)
class ImageRegistryArgs:
    """Which registry. prefix: of the stack's fixed names. account, region: where it lies.
    images: as configured.
    """

    prefix: str
    account: str
    region: str
    images: storage.ImageRegistry = field(default_factory=storage.ImageRegistry)


class ImageRegistry(pulumi.ComponentResource):
    """A repository for the serving image, where a tag stands for one image for ever, and rules by
    which others' images are pulled through.

    Outputs: `registry`, `<host>/<prefix>`, known once the repository is there. Plain: `host`;
    `mirrors`, registry -> what to write in its place; `pulling`, statements that the nodes' role
    needs where there are mirrors.
    """

    registry: pulumi.Output[str]
    host: str
    mirrors: dict[str, str]
    pulling: list[documents.Statement]

    def __init__(
        self, name: str, args: ImageRegistryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:ImageRegistry", name, None, opts)
        self.host = naming.image_host(args.account, args.region)
        lifecycle = data_documents.image_lifecycle(args.images.keep)
        key = data_key(
            self,
            f"{name}-key",
            alias=f"{args.prefix}-images",
            purpose=f"the images of {args.prefix}",
            account=args.account,
            region=args.region,
        )
        repository = Repository(
            f"{name}-repository",
            name=f"{args.prefix}/{naming.REPOSITORY}",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[{"encryption_type": "KMS", "kms_key": key.arn}],
            opts=child(self, keep=True, fixed_name=True),
        )
        policy = RepositoryPolicy(
            f"{name}-policy",
            repository=repository.name,
            policy=documents.text(data_documents.repository_policy(args.account)),
            opts=child(self, keep=True),
        )
        LifecyclePolicy(
            f"{name}-lifecycle",
            repository=repository.name,
            policy=lifecycle,
            opts=child(self, keep=True),
        )
        through: list[str] = [*args.images.pull_through]
        if args.images.docker_hub_credentials:
            through.append("docker.io")
        if args.images.enhanced_scanning:
            RegistryScanningConfiguration(
                f"{name}-scanning",
                scan_type="ENHANCED",
                rules=[
                    {
                        "scan_frequency": "CONTINUOUS_SCAN",
                        "repository_filters": [
                            {"filter": f"{args.prefix}/*", "filter_type": "WILDCARD"}
                        ],
                    }
                ],
                opts=child(self),
            )
        self.mirrors = {}
        for registry in through:
            short = _SHORT[registry]
            prefix = f"{args.prefix}/{short}"
            login = args.images.docker_hub_credentials if registry == "docker.io" else None
            template = RepositoryCreationTemplate(
                f"{name}-{short}-template",
                prefix=prefix,
                applied_fors=["PULL_THROUGH_CACHE"],
                description=f"Copies of images of {registry}",
                # Their tags move, as they do where they come from.
                image_tag_mutability="MUTABLE",
                lifecycle_policy=lifecycle,
                opts=child(self, fixed_name=True),
            )
            PullThroughCacheRule(
                f"{name}-{short}-rule",
                ecr_repository_prefix=prefix,
                upstream_registry_url=_DOCKER_HUB if registry == "docker.io" else registry,
                credential_arn=login,
                opts=child(self, [template], fixed_name=True),
            )
            self.mirrors[registry] = f"{self.host}/{prefix}"
        prefixes = [f"{args.prefix}/{_SHORT[registry]}" for registry in through]
        self.pulling = (
            data_documents.pull_through(args.account, args.region, prefixes) if prefixes else []
        )
        # By way of the policy: who pushes finds the repository guarded.
        self.registry = policy.repository.apply(
            lambda repository: f"{self.host}/{repository.removesuffix(f'/{naming.REPOSITORY}')}"
        )
        self.register_outputs({"registry": self.registry})
