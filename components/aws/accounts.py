"""How the providers of AWS are set up: for one account, and with tags on all that they make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from settings.aws import Aws

from . import naming


def accounts(aws: Aws, stack: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and arguments of the stack's provider, and of one for the region that its bucket is
    copied to, where it is. They refuse every other account, whatever credentials there are.
    """
    regions = {"aws": aws.region}
    if aws.bucket.replica:
        regions["aws-replica"] = aws.bucket.replica.region
    for name, region in regions.items():
        yield (
            name,
            {
                "region": region,
                "allowed_account_ids": [aws.account],
                "default_tags": {"tags": {**aws.tags, naming.STACK_TAG: stack}},
            },
        )
