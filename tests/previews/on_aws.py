"""Previews of a stack on AWS, made by hand: no account was there to record them from.

Their inputs are as Pulumi's provider takes them; what is known only during an update is so here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from review.preview import UNKNOWN, Preview, parse
from review.prices import Prices
from review.prices import parse as parse_prices
from review.report import Review, review

HERE = Path(__file__).resolve().parent
REGION = "xx-test-1"
PRICES = parse_prices((HERE / "prices.yaml").read_text())

NODES = {
    "scalingConfig": {"minSize": 2, "maxSize": 6, "desiredSize": 2},
    "instanceTypes": ["m9.large"],
    "launchTemplate": {"id": UNKNOWN, "version": UNKNOWN},
}
TEMPLATE = {
    "blockDeviceMappings": [
        {"deviceName": "/dev/xvda", "ebs": {"volumeSize": 50, "volumeType": "gp3"}}
    ]
}
DATABASE = {
    "engine": "postgres",
    "instanceClass": "db.t9.medium",
    "multiAz": True,
    "storageType": "gp3",
    "allocatedStorage": 20,
    "maxAllocatedStorage": 100,
    "manageMasterUserPassword": True,
}
# Type and name -> inputs, and the names of those that they come from.
STACK: dict[tuple[str, str], tuple[dict[str, Any], tuple[str, ...]]] = {
    ("pulumi:providers:aws", "aws"): ({"region": REGION}, ()),
    ("aws:ec2/vpc:Vpc", "network-vpc"): ({"cidrBlock": "10.64.0.0/16"}, ()),
    ("aws:ec2/eip:Eip", "network-nat-address"): ({}, ()),
    ("aws:ec2/natGateway:NatGateway", "network-nat"): ({"subnetId": UNKNOWN}, ()),
    ("aws:eks/cluster:Cluster", "cluster"): ({"version": "1.31"}, ()),
    ("aws:ec2/launchTemplate:LaunchTemplate", "nodes-template"): (TEMPLATE, ()),
    ("aws:eks/nodeGroup:NodeGroup", "nodes"): (NODES, ("nodes-template",)),
    ("aws:kms/key:Key", "cluster-key"): ({}, ()),
    ("aws:rds/instance:Instance", "database"): (DATABASE, ()),
    ("aws:s3/bucket:Bucket", "artifacts"): ({}, ()),
}
GPUS = {
    "scalingConfig": {"minSize": 0, "maxSize": 4},
    "instanceTypes": ["g9.xlarge", "g8.xlarge"],
    "diskSize": 100,
}


def digest(
    old: dict[tuple[str, str], tuple[dict[str, Any], tuple[str, ...]]],
    new: dict[tuple[str, str], tuple[dict[str, Any], tuple[str, ...]]],
) -> str:
    """What `pulumi preview --json --show-sames` prints of going from one to the other."""
    steps = []
    for key in {**old, **new}:
        kind, name = key
        urn = f"urn:pulumi:prod::slipway::{kind}::{name}"
        states = {}
        for when, them in (("oldState", old), ("newState", new)):
            if key in them:
                inputs, depends = them[key]
                urns = [f"urn:pulumi:prod::slipway::{other[0]}::{other[1]}" for other in them
                        if other[1] in depends]  # fmt: skip
                states[when] = {"urn": urn, "inputs": inputs, "dependencies": urns}
        same = len(states) == 2 and states["oldState"] == states["newState"]
        op = "same" if same else "update" if len(states) == 2 else "create"
        op = "delete" if list(states) == ["oldState"] else op
        steps.append({"op": op, "urn": urn, **states})
    return json.dumps({"steps": steps})


def lookup(region: str) -> Prices | None:
    """The tests' own prices."""
    return PRICES if region == REGION else None


def previews() -> dict[str, Preview]:
    """Name -> preview."""
    more = STACK | {("aws:eks/nodeGroup:NodeGroup", "gpu"): (GPUS, ())}
    more[("aws:rds/instance:Instance", "database")] = (DATABASE | {"multiAz": False}, ())
    elsewhere = STACK | {("pulumi:providers:aws", "aws"): ({"region": "yy-none-1"}, ())}
    return {
        "aws-first": parse(digest({}, STACK)),
        "aws-more": parse(digest(STACK, more)),
        "aws-same": parse(digest(STACK, STACK)),
        "aws-elsewhere": parse(digest({}, elsewhere)),
    }


def reviewed(case: str) -> Review:
    """The review of one of them."""
    return review("prod", previews()[case], lookup)


def main() -> None:
    """Write every comment, to be read before it is committed."""
    from review.markdown import comment

    for case in previews():
        (HERE / f"golden/{case}.md").write_text(comment(reviewed(case)))


if __name__ == "__main__":
    main()
