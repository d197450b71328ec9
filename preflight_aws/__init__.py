"""What AWS can say before the first resource is registered: is all there that an update needs?

`check` asks in parallel, each question within seconds. What could not succeed is a fault; what AWS
does not tell these credentials is a note, for the update itself may be allowed more. A thin edge.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

try:
    from preflight_aws import account, data, entrance, here, kubernetes, machines
    from preflight_aws.asking import AWS, Clients, Finding, Question, ask
    from preflight_aws.wanted import Wanted, wanted
    from settings.aws import Aws
except ModuleNotFoundError:
    # Of `python -m`, before __main__ is read: a python that is not the project's.
    if sys.argv[0] != "-m":
        raise
    sys.exit('preflight_aws: first, in the project\'s directory: eval "$(make -s env STACK=prod)"')

__all__ = ["Finding", "Wanted", "check", "findings", "wanted"]

# At a time; boto3's clients keep ten connections each.
PARALLEL = 12


def check(stack: str, aws: Aws, clients: Clients = AWS) -> list[Finding]:
    """What speaks against an update of `stack`: faults, and notes of what was not checked."""
    return findings(wanted(stack, aws), clients)


def findings(asked: Wanted, clients: Clients = AWS) -> list[Finding]:
    """As `check`. Without credentials of the right account nothing else is asked."""
    found = here.findings(asked)
    for first in (account.who, account.where):
        found += first(clients, asked)
        if any(finding.ends for finding in found):
            return found
    return [*found, *_all(_questions(asked), clients, asked)]


def _questions(asked: Wanted) -> Iterable[Question]:
    yield account.ZONES
    yield from account.replica(asked)
    yield from machines.questions(asked)
    yield from entrance.questions(asked)
    yield from data.questions(asked)
    yield from kubernetes.questions(asked)


def _all(questions: Iterable[Question], clients: Clients, asked: Wanted) -> Iterable[Finding]:
    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = [pool.submit(ask, question, clients, asked) for question in questions]
        return [finding for answer in answers for finding in answer.result()]
