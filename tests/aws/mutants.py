"""Documents of IAM with one narrowing removed each: what a table of requests must notice."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from tests.aws.access import Access, Document
from tests.aws.evaluate import Request, carried_by, evaluate, simulate, simulation

Expected = Sequence[tuple[Request, bool]]
AT_A_TIME = 24


def surprises(access: Access, expected: Expected) -> list[str]:
    """The requests that AWS would answer otherwise than expected, one line each."""
    verdicts = evaluate(access, [request for request, _ in expected])
    return [
        f"{verdict.request}: {verdict.why}"
        for verdict, (_, allowed) in zip(verdicts, expected, strict=True)
        if verdict.allowed != allowed
    ]


def survivors(access: Access, expected: Expected) -> list[str]:
    """The mutants whose every answer is the expected one: nobody would notice them.

    Raises:
        AssertionError: the documents themselves are not as expected.
    """
    assert surprises(access, expected) == []
    made = list(mutants(access))
    # Mutants let more happen, so what is refused tells of them; and where no document that bears
    # on a request has changed, the answer is the same.
    open_ = {
        index: [
            (one, simulation(mutant, one))
            for one, allowed in expected
            if not allowed and bears(access, one) != bears(mutant, one)
        ]
        for index, (_, mutant) in enumerate(made)
    }
    noticed: set[int] = set()
    # A few requests for each at a time: most mutants are noticed early.
    while asked := [
        (index, *pair)
        for index, pairs in open_.items()
        if index not in noticed
        for pair in pairs[:AT_A_TIME]
    ]:
        verdicts = simulate([(one, told) for _, one, told in asked])
        noticed |= {
            index for (index, _, _), verdict in zip(asked, verdicts, strict=True) if verdict.allowed
        }
        open_ = {index: pairs[AT_A_TIME:] for index, pairs in open_.items()}
    return [what for index, (what, _) in enumerate(made) if index not in noticed]


def bears(access: Access, request: Request) -> tuple[Any, Any]:
    """The documents that bear on a request."""
    return access.identity.get(request.who), carried_by(access, request)


def mutants(access: Access) -> Iterator[tuple[str, Access]]:
    """(what was removed, the documents without it), one for each narrowing."""
    places = [("trust", role, "") for role in access.roles]
    places += [("identity", role, name) for role in access.roles for name in access.identity[role]]
    places += [("resource", arn, "") for arn in access.resource]
    for place in places:
        for index, statement in enumerate(_at(access, *place)["Statement"]):
            for what, changed in wider(statement):
                mutant = copy.deepcopy(access)
                found = _at(mutant, *place)["Statement"]
                found[index : index + 1] = [changed] if changed else []
                named = " ".join(filter(None, place))
                yield f"{named}, {statement.get('Sid', index)}: {what}", mutant


def _at(access: Access, kind: str, carrier: str, name: str) -> Document:
    held: Any = getattr(access, kind)[carrier]
    found: Document = held[name] if name else held
    return found


def wider(statement: Document) -> Iterator[tuple[str, Document | None]]:
    """Statements that let more happen; None for one that is gone."""
    if statement["Effect"] == "Deny":
        yield "gone", None
        for key in ("Action", "Resource"):
            for item in _listed(statement.get(key))[1:]:
                yield f"without {item}", statement | {key: _without(statement[key], item)}
        return
    for operator, keys in statement.get("Condition", {}).items():
        for key in keys:
            yield f"without {operator} {key}", _unconditional(statement, operator, key)
    if statement.get("Principal") not in (None, "*"):
        yield "any principal", statement | {"Principal": {"AWS": "*"}}
    for item in _listed(statement.get("Resource")):
        rest = _without(statement["Resource"], item)
        for wide in sorted({"*", _parent(item)} - {item}):
            yield f"{wide} for {item}", statement | {"Resource": [*rest, wide]}
    services = sorted({action.split(":")[0] for action in _listed(statement["Action"])})
    for service in services:
        if f"{service}:*" not in _listed(statement["Action"]) and service != "sts":
            yield (
                f"{service}:*",
                statement | {"Action": [*_listed(statement["Action"]), f"{service}:*"]},
            )


def _unconditional(statement: Document, operator: str, key: str) -> Document:
    changed = copy.deepcopy(statement)
    del changed["Condition"][operator][key]
    if not changed["Condition"][operator]:
        del changed["Condition"][operator]
    return changed


def _parent(resource: str) -> str:
    """One step up: `…/mlflow/*` becomes `…/*`."""
    base = resource.removesuffix("/*").removesuffix("*")
    return f"{base.rsplit('/', 1)[0]}/*" if "/" in base else resource


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _without(value: Any, item: str) -> list[str]:
    return [other for other in _listed(value) if other != item]
