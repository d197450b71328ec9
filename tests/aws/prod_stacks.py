"""The stack of Pulumi.prod.yaml and its variants, each rendered once in a process."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import Any

from tests import prod
from tests.conftest import Program

GPU = {"instance_types": ["g6.xlarge"]}
ARTIFACTS = {"experiments": ["3", "14"]}
EVERY_ENDPOINT = ["ec2", "ecr", "eks", "eks-auth", "kms", "logs", "secretsmanager", "sts"]
# Variant -> what it has beside Pulumi.prod.yaml, by section; None takes a key out.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "prod": {},
    "gpu": {
        "aws": {"gpu": GPU | {"size": 2}},
        "models": {"churn": {"canary": None, "resources": {"gpu": 1}}},
    },
    "karpenter": {
        "aws": {
            "gpu": GPU,
            "karpenter": {},
            "registry": {"pull_through": ["quay.io", "registry.k8s.io"]},
        },
        "models": {"fraud": {"stable": 7, **ARTIFACTS}, "iris": {"stable": 1}},
    },
    "waf": {"aws": {"entrance": {"waf": {"rate_limit": 2000}}}},
    "replica": {"aws": {"bucket": {"replica": {"region": "eu-west-1"}}}},
    "zones": {
        "aws": {"network": {"nat": "zone", "endpoints": EVERY_ENDPOINT, "peers": ["10.1.0.0/16"]}}
    },
    "oidc": {
        "mlflow": {
            "sign_in": {
                "basic": None,
                "oidc": {
                    "issuer": "https://login.example.com",
                    "client_id": "mlflow",
                    "emails": ["@example.com"],
                },
            }
        }
    },
    "private": {"aws": {"cluster": {"allow_from": []}}},
    # What changes of a running stack make of it.
    "weight": {"models": {"churn": {"canary": {"weight": 5}}}},
    "scaling": {"models": {"churn": {"scaling": {"min": 3, "max": 9}}}},
    "nodes": {"aws": {"nodes": {"size": 4, "max": 8}}},
    "alone": {"models": {"churn": {"canary": None}}},
}
# Those that are stacks of their own kind, not a step of prod's.
KINDS = ("prod", "gpu", "karpenter", "waf", "replica", "zones", "oidc", "private")
OIDC = {"client_secret": "of-the-tests-of-the-tests", "cookie_secret": "c" * 32}


@functools.cache
def variant(name: str) -> Program:
    """The stack of this variant."""
    secrets = {"mlflowSignIn": OIDC} if name == "oidc" else {}
    return prod.render(configuration(name), **secrets)


@functools.cache
def staging() -> Program:
    """A second stack by the same configuration."""
    return prod.render(prod.configuration(), "staging")


def configuration(name: str) -> dict[str, Any]:
    """The configuration of a variant, to be changed."""
    return merged(prod.configuration(), VARIANTS[name])


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Sections into one another; None takes a key out."""
    found = copy.deepcopy(dict(values))
    for key, value in more.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
            found[key] = merged(found[key], value)
        else:
            found[key] = copy.deepcopy(value)
    return found
