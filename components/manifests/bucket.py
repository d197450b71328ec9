"""The manifests of the artifact bucket on a cluster without S3: versitygw on a volume."""

from __future__ import annotations

from . import common
from .common import Manifest, Text

GATEWAY = "versitygw"
PORT = 7070
_OBJECTS, _METADATA = "/data/objects", "/data/metadata"


def selector() -> dict[str, str]:
    """The labels that pick its pod."""
    return common.selector(GATEWAY, GATEWAY)


def labels() -> dict[str, str]:
    """The labels of its objects."""
    return common.labels(GATEWAY, GATEWAY, "artifact-bucket")


def deployment(image: Text, bucket: Text, claim: Text, credentials: Text) -> Manifest:
    """The spec of the Deployment. A directory under the gateway's root is a bucket, so an init
    container makes it.

    Metadata are kept beside the objects, not in extended attributes, so any file system will do.
    """
    data = [common.mount("data", "/data")]
    probe = {"path": "/healthz", "port": "http"}
    pod = common.pod(
        GATEWAY,
        terminationGracePeriodSeconds=20,
        initContainers=[
            common.container(
                "make-bucket",
                image,
                ["/bin/sh", "-c", f'exec mkdir -p "{_OBJECTS}/$BUCKET" "{_METADATA}"'],
                env=common.env({"BUCKET": bucket}),
                resources=_resources(),
                volumeMounts=data,
            )
        ],
        containers=[
            common.container(
                GATEWAY,
                image,
                [
                    "/usr/local/bin/versitygw",
                    "--port",
                    f":{PORT}",
                    "--health",
                    probe["path"],
                    "--quiet",
                ]
                + ["posix", "--sidecar", _METADATA, _OBJECTS],
                env=[
                    _from_secret("ROOT_ACCESS_KEY_ID", credentials, "AWS_ACCESS_KEY_ID"),
                    _from_secret("ROOT_SECRET_ACCESS_KEY", credentials, "AWS_SECRET_ACCESS_KEY"),
                ],
                workingDir=common.TMP,
                ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                resources=_resources(),
                startupProbe=common.http_probe(**probe, period=1, timeout=3, failures=60),
                livenessProbe=common.http_probe(**probe, period=10, timeout=5, failures=4),
                readinessProbe=common.http_probe(**probe, period=5, timeout=5, failures=3),
                volumeMounts=[*data, common.mount("tmp", common.TMP)],
            )
        ],
        volumes=[common.claim_volume("data", claim), common.scratch("tmp", "1Gi")],
    )
    return common.single_replica(selector(), {"metadata": {"labels": labels()}, "spec": pod})


def _resources() -> Manifest:
    return {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}


def _from_secret(variable: str, secret: Text, key: str) -> Manifest:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
