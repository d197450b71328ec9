"""Whether two answers to one request are the same, and which differences are on purpose."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from .models import Model
from .requests import Request
from .values import MARKER

_TYPE: Final = "application/json"
_OUR_KEYS: Final = frozenset({"error_code", "message", "request_id"})
_LARGE: Final = 1e15
_TEXT: Final = "mood"
_MODEL_FAILED: Final = "Encountered an unexpected error while evaluating the model"


@dataclass(frozen=True)
class Answer:
    """An answer to a request.

    Attributes:
        status: its status; 0 where the connection broke instead.
        content_type: its Content-Type header, without parameters.
        body: its body.
    """

    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        """Returns the body's JSON, or None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def error_code(self) -> str | None:
        """Returns ``error_code`` of an error's body, where it has one."""
        parsed = self.json()
        return (
            str(parsed["error_code"])
            if isinstance(parsed, dict) and "error_code" in parsed
            else None
        )

    def __repr__(self) -> str:
        parsed = self.json()
        shown = repr(self.body[:400])
        if self.status != 200 and isinstance(parsed, dict):
            message = " ".join(str(parsed.get("message", "")).split())
            shown = f"{parsed.get('error_code')}: ...{message[-300:]}"
        return f"{self.status} {self.content_type} {shown}"


@dataclass(frozen=True)
class Case:
    """One request to one model and both servers' answers.

    Attributes:
        model: the model.
        request: the request.
        theirs: the answer of MLflow's server.
        ours: the runtime's answer.
        strict: whether a failure of the model's own code has to be 500; else 400 passes too.
    """

    model: Model
    request: Request
    theirs: Answer
    ours: Answer
    strict: bool


Kind = Literal["bytes", "json", "refused", "on purpose", "unexplained"]


@dataclass(frozen=True)
class Verdict:
    """How two answers compare.

    Attributes:
        kind: ``bytes`` and ``json`` are equal predictions, ``refused`` equal refusals.
        why: the name of the difference on purpose, or what is not explained.
    """

    kind: Kind
    why: str = ""


def _no_content_type(case: Case) -> bool:
    """Without a content type MLflow's server fails."""
    return (
        case.request.content_type is None and case.theirs.status == 500 and case.ours.status == 415
    )


def _plain_text(case: Case) -> bool:
    """MLflow refuses a content type in plain text, which names it."""
    return (
        case.theirs.status == case.ours.status == 415 and case.theirs.content_type == "text/plain"
    )


def _crash(case: Case) -> bool:
    """MLflow's server fails where the request is at fault."""
    return (
        case.theirs.status == 500 and case.theirs.error_code() is None and case.ours.status == 400
    )


def _unwritable(case: Case) -> bool:
    """A prediction that JSON cannot hold: both fail, MLflow's server in plain text."""
    return (
        case.model.fails
        and case.theirs.status == case.ours.status == 500
        and case.theirs.error_code() is None
    )


def _model_failure(case: Case) -> bool:
    """The model's own code failed on input that its signature let through."""
    message = str((case.theirs.json() or {}).get("message", ""))
    return (
        case.model.fails
        and case.theirs.status == 400
        and message.startswith(_MODEL_FAILED)
        and case.ours.status == 500
    )


def _is_blamed(request: Request) -> bool:
    """Whether a request in JSON has no row, other than text as text, or an odd value.

    Odd is one that is missing, not finite or very large.
    """
    try:
        left = [json.loads(request.body)]
    except (ValueError, RecursionError):
        return True
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if not all(isinstance(text, str) for text in _texts(value)):
                return True
            left += value.values()
        elif value == []:
            return True
        elif isinstance(value, list):
            left += value
        elif value is None or (isinstance(value, int | float) and not abs(value) < _LARGE):
            return True
    return False


def _texts(item: dict[str, Any]) -> list[Any]:
    """Returns what an object of a request holds for the one column of text of the moody model."""
    columns, rows = item.get("columns"), item.get("data")
    if isinstance(columns, list) and isinstance(rows, list) and _TEXT in columns:
        place = columns.index(_TEXT)
        return [row[place] for row in rows if isinstance(row, list) and place < len(row)]
    found = item.get(_TEXT, "")
    return found if isinstance(found, list) else [found]


ON_PURPOSE: Final[dict[str, Callable[[Case], bool]]] = {
    "no content type is 415": _no_content_type,
    "415 in JSON": _plain_text,
    "a body MLflow fails on is 400": _crash,
    "an unwritable prediction in JSON": _unwritable,
    "the model's failure is 500": _model_failure,
}
"""By name, as in docs/scoring-protocol.md: what is different, on purpose."""


def _model_is_at_fault(case: Case) -> bool:
    """Whether a model failed where nothing in the request can be blamed for it."""
    message = str((case.theirs.json() or {}).get("message", ""))
    return case.model.fails and message.startswith(_MODEL_FAILED) and not _is_blamed(case.request)


def _canonical(answer: Answer) -> str | None:
    parsed = answer.json()
    # NaN is equal to NaN as text; 1 and 1.0, 0.0 and -0.0 are not.
    return None if parsed is None else json.dumps(parsed, sort_keys=True)


def _leak(answer: Answer) -> str | None:
    """Says what a refusal of ours tells that it must not, or None."""
    parsed = answer.json()
    if answer.content_type != _TYPE or not isinstance(parsed, dict):
        return "our refusal is not a JSON object"
    if not {"error_code", "message"} <= parsed.keys() <= _OUR_KEYS:
        return f"our refusal has the keys {sorted(parsed)}"
    told = answer.body.decode()
    words = (MARKER, "Traceback", "site-packages", 'File \\"')
    return next((f"our refusal tells {word!r}" for word in words if word in told), None)


def compare(case: Case) -> Verdict:
    """Compares both servers' answers to a request."""
    theirs, ours = case.theirs, case.ours
    if ours.status == 0:
        return Verdict("unexplained", "no answer")
    if theirs.status == ours.status == 200:
        if ours.content_type != theirs.content_type:
            return Verdict("unexplained", "another content type")
        if ours.body == theirs.body:
            return Verdict("bytes")
        canonical = _canonical(theirs)
        same = canonical is not None and canonical == _canonical(ours)
        return Verdict("json") if same else Verdict("unexplained", "another prediction")
    if 200 in (theirs.status, ours.status):
        return Verdict("unexplained", f"{ours.status} for {theirs.status}")
    if (leak := _leak(ours)) is not None:
        return Verdict("unexplained", leak)
    for name, is_on_purpose in ON_PURPOSE.items():
        if is_on_purpose(case):
            return Verdict("on purpose", name)
    if ours.status != theirs.status:
        return Verdict("unexplained", f"{ours.status} for {theirs.status}")
    code = theirs.error_code()
    if code is not None and ours.error_code() != code:
        return Verdict("unexplained", f"{ours.error_code()} for {code}")
    if ours.status >= 500 and not case.model.fails:
        return Verdict("unexplained", f"{ours.status} although the model does not fail")
    if case.strict and _model_is_at_fault(case):
        return Verdict("unexplained", f"{ours.status} although it is the model that fails")
    return Verdict("refused")
