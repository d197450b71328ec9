"""Kubernetes: whether EKS offers this version, and its add-ons in theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from preflight_aws.asking import At, Finding, Question, fault, note
from preflight_aws.wanted import Wanted

_VERSION, _ADD_ONS = "aws.cluster.version", "aws.cluster.add_ons"
_SHOWN = 3


def questions(asked: Wanted) -> Iterator[Question]:
    """One about the version, and one about each add-on."""
    if asked.kubernetes:
        yield Question(_VERSION, _version)
        for name in asked.add_ons:
            yield Question(f"{_ADD_ONS}.{name}", partial(_add_on, name))


def _version(at: At, asked: Wanted) -> Iterable[Finding]:
    found = at("eks").describe_cluster_versions(includeAll=True)["clusterVersions"]
    offered = {
        each["clusterVersion"]: each.get("versionStatus", "")
        for each in found
        if each.get("versionStatus") != "UNSUPPORTED"
    }
    if asked.kubernetes not in offered:
        known = ", ".join(sorted(offered)) or "none"
        said = f"is no version that EKS offers (offered: {known})"
        yield fault(_VERSION, asked.kubernetes, said)
    elif offered[asked.kubernetes] == "EXTENDED_SUPPORT":
        said = f'"{asked.kubernetes}" is out of standard support: AWS bills more for it'
        yield note(_VERSION, said)


def _add_on(name: str, at: At, asked: Wanted) -> Iterable[Finding]:
    wanted = asked.add_ons[name]
    pages = at("eks").get_paginator("describe_addon_versions")
    found = [
        version["addonVersion"]
        for page in pages.paginate(kubernetesVersion=asked.kubernetes, addonName=name)
        for add_on in page["addons"]
        for version in add_on["addonVersions"]
    ]
    if wanted not in found:
        newest = ", ".join(found[:_SHOWN]) or "none"
        said = f"is no version that EKS offers for {asked.kubernetes} (newest: {newest})"
        yield fault(f"{_ADD_ONS}.{name}", wanted, said)
