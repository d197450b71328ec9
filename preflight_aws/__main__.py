"""What AWS says of a stack, without Pulumi: `python -m preflight_aws check --stack prod`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from preflight_aws import account, check
from preflight_aws.adoption import taken_up
from preflight_aws.asking import AWS, UNREAD, Clients, brief, unreadable
from preflight_aws.leftovers import leftovers
from preflight_aws.wanted import Wanted, wanted
from settings import SettingsError, of_stack
from settings.aws import Aws
from settings.aws.entrance import Entrance


class UserError(Exception):
    """A mistake of the caller's, a line each."""


def main(arguments: list[str], directory: Path = Path(), clients: Clients = AWS) -> int:
    """0: nothing speaks against an update, or nothing is left, or something is taken up. 1: not so.
    2: not asked.
    """
    parser = argparse.ArgumentParser(prog="preflight_aws", description=__doc__)
    parser.add_argument("what", choices=["check", "leftovers", "take-up"])
    parser.add_argument("--stack", required=True, help="as in Pulumi.<stack>.yaml")
    parser.add_argument(
        "--file", type=Path, help="take-up: of pulumi preview --import-file; the ids go into it"
    )
    told = parser.parse_args(arguments)
    stack = told.stack.rpartition("/")[2]
    try:
        if told.what == "take-up":
            if told.file is None:
                raise UserError("take-up takes --file, of pulumi preview --import-file")
            return _take_up(stack, directory, clients, told.file)
        run = _check if told.what == "check" else _leftovers
        return run(stack, directory, clients)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def _check(stack: str, directory: Path, clients: Clients) -> int:
    found = check(stack, _settings(stack, directory), clients)
    for finding in found:
        print(f"{'note' if finding.note else 'fault'}: {finding.line}")
    faults = [finding for finding in found if not finding.note]
    if not faults:
        if any(finding.ends for finding in found):
            return 2
        print(f"{stack}: nothing speaks against an update")
    return 1 if faults else 0


def _leftovers(stack: str, directory: Path, clients: Clients) -> int:
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    aws = _settings(stack, directory)
    asked = Wanted(stack, aws.account, aws.region, Entrance.model_construct())
    if refused := account.who(clients, asked):
        raise UserError("\n".join(finding.line for finding in refused))
    replica = aws.bucket.replica
    regions = [aws.region, *([replica.region] if replica else [])]
    try:
        found = [each for region in regions for each in leftovers(stack, region, clients)]
    except (BotoCoreError, ClientError) as error:
        raise UserError(f"slipway:aws: AWS does not tell what is left: {brief(error)}") from None
    except unreadable():
        raise UserError(f"slipway:aws: {UNREAD}") from None
    for left in found:
        word = "going" if left.going else "kept" if left.kept else "left"
        print(f"{word}  {left.kind}  {left.arn}")
        if left.command:
            print(f"      {left.command} --region {left.region}")
    rest = sum(not left.kept for left in found)
    kept = sum(left.kept and not left.going for left in found)
    print(f"{stack}: {rest or 'nothing'} left, {kept or 'nothing'} kept on purpose")
    if len(found) > rest + kept:
        print("A key that is going takes what was written under it along: backups and snapshots.")
    return 1 if rest else 0


def _take_up(stack: str, directory: Path, clients: Clients, file: Path) -> int:
    from botocore.exceptions import BotoCoreError, ClientError

    asked = wanted(stack, _settings(stack, directory))
    try:
        read = json.loads(file.read_text())
        entries = list(read["resources"])
    except (OSError, ValueError, TypeError, KeyError):
        raise UserError(f"{file}: is no file of pulumi preview --import-file") from None
    # Who is signed in may be no admin of the cluster; that is another question.
    if refused := account.who(clients, replace(asked, admins=())):
        raise UserError("\n".join(finding.line for finding in refused))
    try:
        found = taken_up(entries, clients, asked)
    except (BotoCoreError, ClientError) as error:
        raise UserError(f"slipway:aws: AWS does not tell what was kept: {brief(error)}") from None
    except unreadable():
        raise UserError(f"slipway:aws: {UNREAD}") from None
    if not found:
        print(f"{stack}: nothing was kept that is not in its state")
        return 1
    file.write_text(json.dumps({**read, "resources": found}, indent=2) + "\n")
    for each in found:
        if "id" in each:
            print(f"{each['type']}  {each['name']}  {each['id']}")
    return 0


def _settings(stack: str, directory: Path) -> Aws:
    file = directory / f"Pulumi.{stack}.yaml"
    try:
        read: Any = yaml.safe_load(file.read_text())
        config = dict((read or {}).get("config") or {})
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        if mark := getattr(error, "problem_mark", None):
            raise UserError(f"{file}:{mark.line + 1}: is no YAML") from None
        raise UserError(f"{file}: cannot be read ({why}); is this the stack's project?") from None
    try:
        aws = of_stack(config, stack).aws
    except SettingsError as error:
        raise UserError(str(error)) from None
    if aws is None:
        raise UserError(f"{file}: has no slipway:aws, so nothing of it is on AWS")
    return aws


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
