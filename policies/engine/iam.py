"""Policy documents of AWS.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.values import MalformedError, get, items, known, mapping


def statements(document: Any, called: str) -> list[Mapping[str, Any]]:
    """The statements of a document, as text or as an object; [] where there is none.

    Raises Undecidable if it is unknown, MalformedError if it is no document.
    """
    document = known(document)
    if document is None or document == "":
        return []
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            raise MalformedError(f"{called} is no JSON") from None
    found = get(document, "Statement")
    if found is None:
        raise MalformedError(f"{called} has no Statement")
    if isinstance(found, Mapping):
        found = [found]
    return [mapping(each) for each in items({"Statement": found}, "Statement")]


def condition(statement: Mapping[str, Any], operator: str) -> dict[str, list[str]]:
    """Key, in lower case, -> the values that the operator demands of it."""
    found: dict[str, list[str]] = {}
    for key, value in mapping(statement, "Condition", operator).items():
        values = known(value)
        found[key.lower()] = [
            # A boolean may stand without quotes.
            str(each).lower() if isinstance(known(each), bool) else str(each)
            for each in (values if isinstance(values, list) else [values])
        ]
    return found
