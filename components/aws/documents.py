"""Documents of IAM: pure, and always the same text for the same content.

A statement is a dict as AWS' JSON has it. Values may be Outputs; `text` puts the document out.
Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pulumi

Statement: TypeAlias = dict[str, Any]


def allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[Any],
    conditions: Mapping[str, Mapping[str, Any]] | None = None,
) -> Statement:
    """A statement of a role's policy that allows these actions on these ARNs."""
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": list(resources),
        **(
            {"Condition": {key: dict(value) for key, value in conditions.items()}}
            if conditions
            else {}
        ),
    }


def trust_service(
    service: str, conditions: Mapping[str, Mapping[str, Any]] | None = None
) -> Statement:
    """A statement of a trust policy: this service of AWS may assume the role."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": ["sts:AssumeRole"],
        **(
            {"Condition": {key: dict(value) for key, value in conditions.items()}}
            if conditions
            else {}
        ),
    }


def text(statements: Sequence[Statement]) -> pulumi.Output[str]:
    """The document as JSON, its keys in order: no change of order makes a diff."""
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return pulumi.Output.from_input(document).apply(
        lambda known: json.dumps(known, sort_keys=True, separators=(",", ":"))
    )
