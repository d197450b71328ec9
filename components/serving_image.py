"""The one image that trains, tracks and serves."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_docker_build import CompressionType, ExportArgs, ExportRegistryArgs, Image


@dataclass(frozen=True)
class ServingImageArgs:
    """What the image is built from.

    registry: where it goes, as in `127.0.0.1:5000`. builder: the buildx builder; None means the
    user's current one. context: the directory with its Dockerfile. repository: its name in the
    registry. target: a stage of the Dockerfile, as `gpu`; None means its last. base: the image it
    is built on, best by digest; None means the Dockerfile's own.
    """

    registry: str
    builder: str | None = None
    context: str = "serving_image"
    repository: str = "slipway/serving"
    target: str | None = None
    base: str | None = None


class ServingImage(pulumi.ComponentResource):
    """The serving image, built and pushed when its context changed. A build that fails fails the
    update.

    Output: `ref`, the image by digest, which is all that is ever deployed.
    """

    ref: pulumi.Output[str]

    def __init__(
        self, name: str, args: ServingImageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:ServingImage", name, None, opts)
        repository = f"{args.registry}/{args.repository}"
        image = Image(
            f"{name}-image",
            context={"location": args.context},
            target=args.target,
            build_args={"BASE": args.base} if args.base else None,
            # zstd packs the layers in a third of gzip's time; every containerd since 1.5 reads it.
            exports=[
                ExportArgs(
                    registry=ExportRegistryArgs(
                        names=[f"{repository}:latest"],
                        push=True,
                        compression=CompressionType.ZSTD,
                        oci_media_types=True,
                    )
                )
            ],
            push=False,  # the export pushes
            build_on_preview=False,
            builder={"name": args.builder} if args.builder else None,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ref = pulumi.Output.concat(repository, "@", image.digest)
        self.register_outputs({"ref": self.ref})
