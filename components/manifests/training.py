"""The manifests of the Job that registers the demo model at MLflow."""

from __future__ import annotations

import hashlib

from . import common, mlflow
from .common import Manifest, Text

TRAINING = "train-demo"


def selector() -> dict[str, str]:
    """The labels that pick the training Job's pod."""
    return common.selector(TRAINING, TRAINING)


def labels() -> dict[str, str]:
    """The labels of the training Job and its pod."""
    return common.labels(TRAINING, TRAINING, "training")


def job(image: Text, script: str, config_map: Text, tracking_uri: Text, model: str) -> Manifest:
    """The spec of the Job that runs the demo's training `script`, mounted from `config_map`.

    Another script is another Job: the digest of the script stands in the pod.
    """
    digest = hashlib.sha256(script.encode()).hexdigest()
    return {
        "backoffLimit": 2,
        "activeDeadlineSeconds": 540,
        "template": {
            "metadata": {
                "labels": labels(),
                "annotations": {"slipway.dev/script-sha256": digest},
            },
            "spec": common.pod(
                TRAINING,
                restartPolicy="Never",
                containers=[
                    common.container(
                        "train",
                        image,
                        ["python", "/demo/train_churn.py"],
                        env=common.env(
                            {
                                **mlflow.QUIET,
                                "MLFLOW_TRACKING_URI": tracking_uri,
                                "MODEL_NAME": model,
                                # Left alone, the client asks the server for a link to the bucket,
                                # which only the server may reach.
                                "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
                                "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
                            }
                        ),
                        workingDir=common.TMP,
                        resources={
                            "requests": {"cpu": "250m", "memory": "1Gi"},
                            "limits": {"cpu": "2", "memory": "1Gi"},
                        },
                        volumeMounts=[
                            common.mount("script", "/demo", read_only=True),
                            common.mount("tmp", common.TMP),
                        ],
                    )
                ],
                volumes=[
                    {"name": "script", "configMap": {"name": config_map}},
                    common.scratch("tmp", "2Gi"),
                ],
            ),
        },
    }
