"""The third-party images of the one-machine cluster, built once and then copied into each registry.

They carry the names they have on public registries, and the node's registry stands in as the mirror
of those, so the stack's configuration is the same on a cluster that pulls from there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from local import catalogue, node_files, optional, toolkit, tools
from local.instance import PROJECT, Instance, cache_dir

DOCKERFILE = PROJECT / "local/images/Dockerfile"


@dataclass(frozen=True)
class Group:
    """Images that are made together.

    `images`: stage of the Dockerfile → the image's name and tag in the registry. `files`: file of
    the build context → tool and path below its directory.
    """

    name: str
    images: dict[str, str]
    files: dict[str, tuple[str, str]]

    @property
    def sources(self) -> dict[str, Path]:
        """File of the build context → where it comes from."""
        return {
            name: tools.tool_directory(tool) / path for name, (tool, path) in self.files.items()
        }

    @property
    def digest(self) -> str:
        """A hash of all that the images are made of."""
        parts = [DOCKERFILE.read_text(), str(self.images), *map(str, self.sources.values())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


BASE = Group(
    "base",
    {
        "busybox": "slipway/busybox:1.35",
        "python": "library/python:3.11-slim-bookworm",
        "pilot": f"istio/pilot:{catalogue.ISTIO_VERSION}",
        "proxyv2": f"istio/proxyv2:{catalogue.ISTIO_VERSION}",
        "prometheus": f"prom/prometheus:v{catalogue.PROMETHEUS_VERSION}",
        "alertmanager": f"prom/alertmanager:v{catalogue.ALERTMANAGER_VERSION}",
        "kube-state-metrics": "kube-state-metrics/kube-state-metrics:"
        f"v{catalogue.KUBE_STATE_METRICS_VERSION}",
        "versitygw": "versity/versitygw:v1.8.0",
    },
    {
        "base.tar": ("base", "base.tar"),
        "busybox": ("busybox", "root/bin/busybox"),
        "pilot-discovery": ("addons", "bin/pilot-discovery"),
        "pilot-agent": ("addons", "bin/pilot-agent"),
        "envoy_bootstrap_tmpl.json": ("istio-charts", "envoy_bootstrap_tmpl.json"),
        "envoy": ("envoy", "site/envoy/_bin/envoy"),
        "prometheus": ("addons", "bin/prometheus"),
        "alertmanager": ("alertmanager", "bin/alertmanager"),
        "amtool": ("alertmanager", "bin/amtool"),
        "kube-state-metrics": ("kube-state-metrics", "bin/kube-state-metrics"),
        "versitygw": ("versitygw", "bin/versitygw"),
    },
)
# Made where a stack asks for it, and quickly: not kept for the next instance.
KEDA = Group(
    "keda",
    {
        "keda": f"kedacore/keda:{catalogue.KEDA_VERSION}",
        "keda-adapter": f"kedacore/keda-metrics-apiserver:{catalogue.KEDA_VERSION}",
    },
    {
        "base.tar": ("base", "base.tar"),
        "keda": ("keda", "bin/keda"),
        "keda-adapter": ("keda", "bin/keda-adapter"),
    },
)
# As KEDA's: where a stack's pods have sidecars.
ISTIO_CNI = Group(
    "istio-cni",
    {"install-cni": f"istio/install-cni:{catalogue.ISTIO_VERSION}"},
    {
        "base.tar": ("base", "base.tar"),
        "iptables.tar": ("istio-cni", "iptables.tar"),
        "install-cni": ("istio-cni", "bin/install-cni"),
        "istio-cni": ("istio-cni", "bin/istio-cni"),
    },
)
SIGN_IN = Group(
    "oauth2-proxy",
    {"oauth2-proxy": f"oauth2-proxy/oauth2-proxy:v{catalogue.OAUTH2_PROXY_VERSION}"},
    {"base.tar": ("base", "base.tar"), "oauth2-proxy": ("oauth2-proxy", "bin/oauth2-proxy")},
)
POSTGRESQL = Group(
    "postgresql",
    {"postgresql": f"library/postgres:{catalogue.POSTGRESQL_VERSION}-bookworm"},
    {"postgresql.tar": ("postgresql", "base.tar")},
)
_OPTIONAL = {
    optional.KEDA: KEDA,
    optional.SIGN_IN: SIGN_IN,
    optional.POSTGRESQL: POSTGRESQL,
    optional.SIDECARS: ISTIO_CNI,
}
EVERY = (BASE, *_OPTIONAL.values())


def present(instance: Instance) -> bool:
    """Whether the instance's registry holds every image as it should be now."""
    return not _missing(instance)


def _missing(instance: Instance) -> list[Group]:
    asked = optional.wanted()
    wanted = [BASE, *(group for name, group in _OPTIONAL.items() if name in asked)]
    return [group for group in wanted if not _marker(instance, group).exists()]


def _marker(instance: Instance, group: Group) -> Path:
    return instance.state / "registry" / f"{group.name}-images-{group.digest}"


def _seed() -> Path:
    """The directory of finished base images."""
    return cache_dir() / "images" / BASE.digest


def restore(instance: Instance) -> bool:
    """Fill a new instance's registry with the base images, from the cache, before it starts;
    whether it could be.
    """
    registry = instance.state / "registry"
    if _marker(instance, BASE).exists():
        return True
    if (registry / "docker").exists() or not _seed().exists():
        return False
    partial = registry / "restoring"
    shutil.rmtree(partial, ignore_errors=True)
    toolkit.run(["cp", "-a", "--reflink=auto", f"{_seed()}/docker", str(partial)])
    partial.rename(registry / "docker")
    _marker(instance, BASE).touch()
    return True


def build(instance: Instance) -> None:
    """Build what is missing with the instance's buildkitd, push it to its registry, and keep a
    copy of the base images.

    Raises:
        UserError: a build failed.
    """
    # An instance that an older version of this project has started knows of fewer.
    node_files.write_mirrors(instance)
    for group in _missing(instance):
        _build(instance, group)
        if group is BASE and not _seed().exists():
            partial = _seed().with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            toolkit.run(["cp", "-a", f"{instance.state}/registry/docker", f"{partial}/"])
            partial.rename(_seed())


def _build(instance: Instance, group: Group) -> None:
    context = instance.state / "image-context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    for name, source in group.sources.items():
        try:
            os.link(source, context / name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copy2(source, context / name)
    for stage, name in group.images.items():
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
    _marker(instance, group).touch()
