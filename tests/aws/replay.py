"""A recorded program, put to a server that speaks AWS' API: moto, in server mode.

Each resource becomes the calls that the provider would make to create it. Parameters come from
the resource's inputs by the API's model, references from what the server answered to earlier
calls. What the model or the server refuses is a failure; what neither could check is said.
"""

from __future__ import annotations

import functools
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import jmespath
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from moto.core.config import default_user_config
from moto.server import ThreadedMotoServer

from tests.aws import wire
from tests.aws_mocks import REGION
from tests.conftest import Program, Recorded

Made = Mapping[str, Any]


class Refused(Exception):  # noqa: N818
    """What the API does not take."""


class Missing(Exception):  # noqa: N818
    """What moto does not have."""


@dataclass(frozen=True)
class Entry:
    """How a type is made: one call, or a function of one's own.

    renames: input -> the API's parameter; None for an input that is no parameter. returns:
    output -> where it is in the response (jmespath).
    """

    service: str
    operation: str
    renames: Mapping[str, str | None] = field(default_factory=dict)
    returns: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


Maker = Callable[["Api", "Wanted"], Made]
Table = Mapping[str, Entry | Maker]


@dataclass(frozen=True)
class Wanted:
    """A resource to be made: its inputs with references resolved, and what the mocks made up."""

    type: str
    name: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]

    @property
    def called(self) -> str:
        """Its physical name."""
        return str(self.inputs.get("name") or self.outputs.get("name"))


@dataclass
class Replay:
    """done: what the server made. failures: what was refused, a line each. unsupported: type ->
    why it was not put to the server. left_out: type -> inputs that no call carried.
    """

    done: list[tuple[str, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    unsupported: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, set[str]] = field(default_factory=dict)


def text(value: Any) -> str:
    """A value as the API's attributes have it, all of them text."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


class Api:
    """Clients of one server, whose calls are held to the API's model before they are sent.

    region: the one that is asked; may be set between calls.
    """

    def __init__(self, endpoint: str) -> None:
        self.region = REGION
        self.left_out: set[str] = set()
        self.made: list[str] = []
        # A made-up key: the server asks for one, and looks at none.
        self._client = functools.cache(
            lambda service, region: boto3.client(
                service,
                region_name=region,
                endpoint_url=endpoint,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
            )
        )

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call `CreateVpc` of `ec2` with parameters, None for those to leave out.

        Raises:
            Refused: the model, botocore or the server doesn't take them.
            Missing: moto doesn't have the operation; the model took the parameters.
        """
        client: BaseClient = self._client(service, self.region)
        shape = client.meta.service_model.operation_model(operation).input_shape
        told = {key: value for key, value in parameters.items() if value is not None}
        fitted = wire.fit(shape, told, self.left_out) if shape else {}
        if wrong := list(wire.faults(shape, fitted)) if shape else []:
            raise Refused(f"{operation}: {'; '.join(wrong)}")
        method = next(
            name for name, one in client.meta.method_to_api_mapping.items() if one == operation
        )
        try:
            answer: dict[str, Any] = getattr(client, method)(**fitted)
        except ResponseParserError:
            # No answer of AWS', but a page of the web server's: moto fell over.
            raise Missing(f"moto breaks on {operation}; its parameters fit the API") from None
        except ClientError as refusal:
            if lacking := _lacking(refusal):
                said = f"moto {lacking} {operation}; its parameters fit the API"
                raise Missing(said) from None
            raise Refused(str(refusal)) from None
        except BotoCoreError as refusal:
            raise Refused(f"{operation}: {refusal}") from None
        self.made.append(operation)
        return answer

    def create(self, entry: Entry, one: Wanted) -> Made:
        """Make a resource by one call; its inputs by the API's names."""
        told = dict(entry.extra)
        for key, value in one.inputs.items():
            if (name := entry.renames.get(key, key)) is not None:
                told[name] = value
        if "name" in entry.renames:
            told[str(entry.renames["name"])] = one.called
        answer = self.call(entry.service, entry.operation, **told)
        return {key: jmespath.search(path, answer) for key, path in entry.returns.items()}


def _lacking(refusal: ClientError) -> str | None:
    """What the answer says of moto itself; None for one that AWS could have given."""
    status = refusal.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = refusal.response["Error"]["Code"]
    if status == 501 or "not been implemented" in str(refusal) or code in ("404", "405"):
        return "has no"
    return "breaks on" if status == 500 and code in ("500", "") else None


@contextmanager
def server() -> Iterator[str]:
    """A server of moto in this process, on a free port; the address. It ends with the block."""
    # AWS' own policies too, by their names: no request can ask for them.
    default_user_config["iam"] = {"load_aws_managed_policies": True}
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        running.stop()


def replay(
    program: Program,
    endpoint: str,
    table: Table,
    existing: Callable[[Api], Mapping[str, str]] = lambda _: {},
) -> Replay:
    """Put all of AWS' resources to the server, which forgets what it had, in the order in which
    they were registered: one whose inputs come from another is registered after it.

    existing: makes what the program finds in its account, as a zone; what the program calls it ->
    what the server does.
    """
    urllib.request.urlopen(f"{endpoint}/moto-api/reset", b"", timeout=30).close()
    api, found = Api(endpoint), Replay()
    known = dict(existing(api))
    regions = {each.name: str(each.inputs.get("region") or REGION) for each in program.of("aws")}
    for one in program.custom():
        if not one.type.startswith("aws:"):
            continue
        kind = one.type.removeprefix("aws:")
        if (entry := table.get(kind)) is None:
            found.unsupported[kind] = "no entry: not put to the server"
            continue
        inputs = resolved(one.inputs, known)
        wanted = Wanted(kind, one.name, inputs, one.outputs)
        api.left_out.clear()
        api.region = regions.get(one.provider, REGION)
        try:
            made = api.create(entry, wanted) if isinstance(entry, Entry) else entry(api, wanted)
        except Refused as refusal:
            found.failures.append(f"{one.type} {one.name}: {refusal}")
        except Missing as missing:
            found.unsupported[kind] = str(missing)
        else:
            found.done.append((one.type, one.name))
            known |= _learnt(one, made)
        if api.left_out:
            found.left_out.setdefault(kind, set()).update(api.left_out)
    return found


def _learnt(one: Recorded, made: Made) -> dict[str, str]:
    """What the mocks made up -> what the server answered in its place."""
    return dict(_pairs({**one.outputs, "id": one.id}, made))


def _pairs(before: Any, made: Any) -> Iterator[tuple[str, str]]:
    if isinstance(before, dict) and isinstance(made, Mapping):
        for key in made.keys() & before.keys():
            yield from _pairs(before[key], made[key])
    elif isinstance(before, str) and isinstance(made, str) and before not in ("", made):
        yield before, made


def resolved(value: Any, known: Mapping[str, str]) -> Any:
    """A value whose every reference, in any text, is the server's."""
    if not known:
        return value
    longest = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w-])(?:{longest})(?![\w-])")

    def walk(part: Any) -> Any:
        if isinstance(part, str):
            return pattern.sub(lambda match: known[match[0]], part)
        if isinstance(part, dict):
            return {key: walk(item) for key, item in part.items()}
        return [walk(item) for item in part] if isinstance(part, list) else part

    return walk(value)
