"""This machine: the programs that a stack on AWS needs beside Pulumi."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from preflight_aws.asking import Finding, note
from preflight_aws.wanted import Wanted

HELPER = "docker-credential-ecr-login"


def findings(asked: Wanted) -> list[Finding]:
    """A fault without `aws` on PATH, a note without credentials for the registry of images."""
    found = []
    if not shutil.which("aws"):
        found.append(
            Finding(
                "slipway:aws: there is no aws on PATH, which gets the cluster's tokens; install "
                "the AWS CLI, version 2"
            )
        )
    if not _signs_in(asked.image_registry):
        found.append(
            note(
                "aws.registry",
                f"docker has no credentials for {asked.image_registry}, so the serving image may "
                f'not be pushed; install {HELPER}, and in docker\'s config.json: "credHelpers": '
                f'{{"{asked.image_registry}": "ecr-login"}}',
            )
        )
    return found


def _signs_in(registry: str) -> bool:
    """Whether docker's configuration has a way to credentials for `registry`; reads no secret."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        told = json.loads((folder / "config.json").read_text())
        helper = told.get("credHelpers", {}).get(registry) or told.get("credsStore")
        logged_in = any(registry in key for key in told.get("auths", {}))
    except (OSError, ValueError, AttributeError, TypeError):
        return False
    return logged_in or bool(helper and shutil.which(f"docker-credential-{helper}"))
