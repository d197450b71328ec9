"""How AWS is asked: by boto3, bounded in time, and what its refusals mean."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preflight_aws.wanted import Wanted

# What is said where a page of a proxy, say, came in place of AWS' answer.
UNREAD = "AWS' answer could not be read; is a proxy between?"
# Of an error's own text: a proxy's may be a whole page.
TOLD_CHARACTERS = 400
CONNECT_SECONDS = 2.0
READ_SECONDS = 4.0
DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "Forbidden",
    "UnauthorizedOperation",
    "403",
}


@dataclass(frozen=True)
class Finding:
    """A line about a key of the configuration.

    note: it does not speak against the update. ends: nothing more can be asked. in_preview: a
    note there, for a preview may be by others than the update.
    """

    line: str
    note: bool = False
    ends: bool = False
    in_preview: bool = False


# (service, region) -> a client of boto3; service -> one of a region.
Clients = Callable[[str, str], Any]
At = Callable[[str], Any]


@dataclass(frozen=True)
class Question:
    """key: whose value is asked about. answer: what is found, with clients of `region`; by default
    of the stack's.
    """

    key: str
    answer: Callable[[At, Wanted], Iterable[Finding]]
    region: str | None = None


def fault(key: str, value: object, said: str) -> Finding:
    """`slipway:<key>: <value> <said>`."""
    return Finding(f"slipway:{key}: {json.dumps(value, ensure_ascii=False)} {said}")


def note(key: str, said: str) -> Finding:
    """`slipway:<key>: <said>`, which stops nothing."""
    return Finding(f"slipway:{key}: {said}", note=True)


class _Boto:
    """Clients of the ambient credentials, each made once. Making one is not safe in threads."""

    def __init__(self) -> None:
        self._lock, self._made = threading.Lock(), dict[tuple[str, str], Any]()
        self._session: Any = None

    def __call__(self, service: str, region: str) -> Any:
        # A quarter of a second, which stacks elsewhere do without.
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]

        with self._lock:
            if (service, region) not in self._made:
                self._session = self._session or boto3.Session()
                config = Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"total_max_attempts": 2, "mode": "standard"},
                )
                self._made[service, region] = self._session.client(
                    service, region_name=region, config=config
                )
            return self._made[service, region]


def boto() -> Clients:
    """Clients of the ambient credentials, as they are now."""
    return _Boto()


AWS: Clients = _Boto()


def ask(question: Question, clients: Clients, asked: Wanted) -> list[Finding]:
    """What is found; a note if AWS refuses to tell, or does not answer in time."""
    from botocore.exceptions import (  # type: ignore[import-untyped]
        BotoCoreError,
        ClientError,
        ConnectionError,
        HTTPClientError,
    )

    def unknown(why: str) -> list[Finding]:
        return [note(question.key, f"not checked: {why}")]

    region = question.region or asked.region
    try:
        return list(question.answer(lambda service: clients(service, region), asked))
    except ClientError as error:
        if code(error) in DENIED:
            return unknown(f"these credentials may not ask ({error.operation_name})")
        return unknown(f"AWS answers {code(error)} to {error.operation_name}")
    except (ConnectionError, HTTPClientError):
        return unknown("AWS does not answer in time")
    except unreadable():
        return unknown(UNREAD)
    except BotoCoreError as error:
        # Its text may hold what a program printed that fetches credentials.
        return unknown(f"AWS cannot be asked ({type(error).__name__})")


def unreadable() -> tuple[type[Exception], ...]:
    """What an answer raises that is not AWS': as text that is no XML, or without what is asked."""
    from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

    return ResponseParserError, KeyError


def brief(said: object) -> str:
    """In one line, and cut where it is a page of HTML rather than a sentence."""
    line = " ".join(str(said).split())
    return line if len(line) <= TOLD_CHARACTERS else f"{line[: TOLD_CHARACTERS - 1]}…"


def code(error: Any) -> str:
    """AWS' word for what is wrong, as in `NoSuchHostedZone`."""
    return str(error.response.get("Error", {}).get("Code", ""))
