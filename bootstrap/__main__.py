"""`python -m bootstrap --region eu-central-1 [--name …]`: the bucket of Pulumi's state, and the
key of its secrets, on AWS; then what to run with them.

Credentials are found as boto3 finds them. Exit code 0, or 1 with one line on standard error. It
may be run again at any time.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from bootstrap.state_bucket import Clients, StateBucketError, make


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bootstrap", description=__doc__)
    parser.add_argument("--region", required=True, help="of AWS, as in eu-central-1")
    parser.add_argument("--name", help="the bucket's; by default with account and region")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"[a-z]{2,3}(-[a-z]+)+-\d", options.region):
        return _fail(f"REGION: {options.region!r} is not a region of AWS, as in eu-central-1")
    try:
        made = make(_clients(options.region), options.name or None, _progress)
    except StateBucketError as error:
        return _fail(str(error))
    print("\n".join(("", "Now run:", *(f"  {line}" for line in made.lines))))
    return 0


def _clients(region: str) -> Clients:
    from boto3.session import Session  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

    try:
        session = Session(region_name=region)
        kms, s3, sts = (session.client(service) for service in ("kms", "s3", "sts"))
    except BotoCoreError as error:  # such as a profile that is not there
        raise StateBucketError(" ".join(str(error).split())) from None
    return Clients(kms, s3, sts, region)


def _progress(line: str) -> None:
    print(f"  state bucket: {line}", flush=True)


def _fail(line: str) -> int:
    print(f"slipway: state bucket: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
