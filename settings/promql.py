"""PromQL in the configuration, checked before anything is deployed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import promql_parser
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

# Of Prometheus 3.13: what it parses only with a flag that the stack's own has not set.
_EXPERIMENTAL = (
    "double_exponential_smoothing",
    "end",
    "first_over_time",
    "histogram_quantiles",
    "info",
    "limit_ratio",
    "limitk",
    "mad_over_time",
    "max_of",
    "min_of",
    "range",
    "sort_by_label",
    "sort_by_label_desc",
    "start",
    "step",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
)


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("slipway", message)


def _promql(value: object) -> object:
    if not isinstance(value, str) or not value.strip():
        raise _fault("is not PromQL")
    try:
        found = promql_parser.parse(value)
    except ValueError as error:
        raise _fault(f"is not PromQL: {str(error).splitlines()[0]}") from None
    if isinstance(found, promql_parser.MatrixSelector | promql_parser.StringLiteral):
        raise _fault("gives a range or a text, not values of now; take a function of it")
    # Prometheus does not start with a rule that it cannot parse.
    if experimental := sorted(_experimental(found)):
        raise _fault(f"uses {experimental[0]}, which Prometheus has switched off: experimental")
    return value


def _experimental(part: object) -> Iterator[str]:
    """Names of the experimental functions and aggregations in a part of a query."""
    name = ""
    if isinstance(part, promql_parser.Call):
        name = part.func.name
    elif isinstance(part, promql_parser.AggregateExpr):
        name = str(part.op)
    if name in _EXPERIMENTAL:
        yield name
    for side in ("lhs", "rhs", "expr", "param"):
        if (inner := getattr(part, side, None)) is not None:
            yield from _experimental(inner)
    for inner in getattr(part, "args", ()):
        yield from _experimental(inner)


Promql = Annotated[str, BeforeValidator(_promql)]
