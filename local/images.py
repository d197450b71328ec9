"""The third-party images of the one-machine cluster, built once and then copied into each registry.

They carry the names they have on Docker Hub, and the node's registry stands in as its mirror, so
the stack's configuration is the same on a cluster that pulls from there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

from local import toolkit, tools
from local.instance import PROJECT, Instance, cache_dir

DOCKERFILE = PROJECT / "local/images/Dockerfile"

# Stage of the Dockerfile → the image's name and tag in the registry.
IMAGES = {
    "busybox": "slipway/busybox:1.35",
    "python": "library/python:3.11-slim-bookworm",
    "pilot": "istio/pilot:1.31.1",
    "proxyv2": "istio/proxyv2:1.31.1",
    "prometheus": "prom/prometheus:v3.13.0",
    "versitygw": "versity/versitygw:v1.8.0",
}

# File of the build context → tool and path below its directory.
FILES = {
    "base.tar": ("base", "base.tar"),
    "busybox": ("busybox", "root/bin/busybox"),
    "pilot-discovery": ("addons", "bin/pilot-discovery"),
    "pilot-agent": ("addons", "bin/pilot-agent"),
    "envoy_bootstrap_tmpl.json": ("istio-charts", "envoy_bootstrap_tmpl.json"),
    "envoy": ("envoy", "site/envoy/_bin/envoy"),
    "prometheus": ("addons", "bin/prometheus"),
    "versitygw": ("versitygw", "bin/versitygw"),
}


def _sources() -> dict[str, Path]:
    return {name: tools.tool_directory(tool) / path for name, (tool, path) in FILES.items()}


def _seed() -> Path:
    """The directory of finished images, named by a hash of all that they are made of."""
    parts = [DOCKERFILE.read_text(), str(IMAGES), *map(str, _sources().values())]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return cache_dir() / "images" / digest


def present(instance: Instance) -> bool:
    """Whether the instance's registry holds every image as it should be now."""
    return _marker(instance).exists()


def _marker(instance: Instance) -> Path:
    return instance.state / "registry" / f"base-images-{_seed().name}"


def restore(instance: Instance) -> bool:
    """Fill a new instance's registry from the cache before it starts; whether it could be."""
    registry = instance.state / "registry"
    if present(instance):
        return True
    if (registry / "docker").exists() or not _seed().exists():
        return False
    partial = registry / "restoring"
    shutil.rmtree(partial, ignore_errors=True)
    toolkit.run(["cp", "-a", "--reflink=auto", f"{_seed()}/docker", str(partial)])
    partial.rename(registry / "docker")
    _marker(instance).touch()
    return True


def build(instance: Instance) -> None:
    """Build every image with the instance's buildkitd, push it to its registry, keep a copy.

    Raises:
        UserError: a build failed.
    """
    context = instance.state / "image-context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    for name, source in _sources().items():
        try:
            os.link(source, context / name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copy2(source, context / name)
    for stage, name in IMAGES.items():
        toolkit.run(
            [
                str(toolkit.LINKS / "bin/buildctl"),
                "--addr",
                f"unix://{instance.state}/buildkit.sock",
            ]
            + ["build", "--frontend", "dockerfile.v0", "--opt", f"target={stage}"]
            + ["--local", f"context={context}", "--local", f"dockerfile={DOCKERFILE.parent}"]
            + ["--output", f"type=image,name={instance.registry}/{name},push=true"]
        )
    shutil.rmtree(context)
    _marker(instance).touch()
    if _seed().exists():
        return
    partial = _seed().with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    toolkit.run(["cp", "-a", f"{instance.state}/registry/docker", f"{partial}/"])
    partial.rename(_seed())
