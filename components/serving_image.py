"""The one image that trains, tracks and serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pulumi
from pulumi_docker_build import CompressionType, ExportArgs, ExportRegistryArgs, Image, Platform

from settings import Settings


@dataclass(frozen=True)
class ServingImageArgs:
    """What the image is built from.

    registry: where it goes, as in `127.0.0.1:5000`. builder: the buildx builder; None means the
    user's current one. context: the directory with its Dockerfile. repository, tag: its name in
    the registry. target: a stage of the Dockerfile, as `gpu`; None means its last. base: the image
    it is built on, best by digest; None means the Dockerfile's own. by_digest: push it without a
    tag, for a registry that moves no tag. platform: whom it is for, as in `linux/amd64`; None means
    the builder's own machine.
    """

    registry: pulumi.Input[str]
    builder: str | None = None
    context: str = "serving_image"
    repository: str = "slipway/serving"
    tag: str = "latest"
    target: str | None = None
    base: str | None = None
    by_digest: bool = False
    platform: str | None = None


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
        repository = pulumi.Output.concat(args.registry, "/", args.repository)
        called = repository if args.by_digest else pulumi.Output.concat(repository, f":{args.tag}")
        image = Image(
            f"{name}-image",
            context={"location": args.context},
            target=args.target,
            build_args={"BASE": args.base} if args.base else None,
            # zstd packs the layers in a third of gzip's time; every containerd since 1.5 reads it.
            exports=[
                ExportArgs(
                    registry=ExportRegistryArgs(
                        names=[called],
                        push=True,
                        push_by_digest=True if args.by_digest else None,
                        compression=CompressionType.ZSTD,
                        oci_media_types=True,
                    )
                )
            ],
            push=False,  # the export pushes
            build_on_preview=False,
            builder={"name": args.builder} if args.builder else None,
            platforms=[Platform(args.platform)] if args.platform else None,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ref = pulumi.Output.concat(repository, "@", image.digest)
        self.register_outputs({"ref": self.ref})


def serving_images(
    stack: Settings, args: ServingImageArgs, after: Callable[..., pulumi.ResourceOptions]
) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
    """The image of everything, and the one that models with GPUs are served from: the same, but
    with ONNX Runtime for CUDA, where a model has any and `without_cuda` is not true.
    """
    image = ServingImage("serving", args, after()).ref
    if stack.without_cuda or not any(it.resources.gpu for it in stack.models.values()):
        return image, image
    return image, ServingImage("serving-cuda", replace(args, target="gpu", tag="cuda"), after()).ref
