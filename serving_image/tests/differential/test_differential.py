"""The runtime's answers are MLflow's: both servers started for real, request by request."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .compare import ON_PURPOSE, Answer, Case, compare
from .explore import explore
from .models import MODELS
from .requests import Request
from .servers import Fleet

_CORE = [model for model in MODELS.values() if model.core]
_EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "50"))
_SHARES = 6


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The servers of each model in turn."""
    with Fleet(_CORE, tmp_path_factory.mktemp("differential")) as found:
        yield found


@pytest.mark.parametrize("name", [model.name for model in _CORE])
def test_answers_are_mlflows(fleet: Fleet, name: str) -> None:
    with fleet.pair(MODELS[name]) as pair:
        # The corpus is whole for the first model; every other has a share of it, each another.
        at = _CORE.index(pair.model)
        by_hand = slice(at % _SHARES, None, _SHARES) if at else slice(None)
        tally = explore(pair, _EXAMPLES, first_seed=1, strict=True, by_hand=by_hand)
    print(tally)
    assert not tally.findings, "\n".join(map(str, tally.findings))
    # The requests must be such as models answer, and such as they refuse.
    assert tally.predictions > 10
    assert tally.kinds["refused"] > 20
    if name == "lr":
        assert tally.compiled > 20
        assert tally.kinds["no content type is 415"]
        assert tally.kinds["415 in JSON"]
        assert tally.kinds["a body MLflow fails on is 400"]


_GOOD = b'{"predictions": [1.0, NaN]}'
_REFUSAL = b'{"error_code": "BAD_REQUEST", "message": "no"}'
_TYPE = "application/json"


def _verdict(theirs: Answer, ours: Answer, body: bytes = b"{}") -> tuple[str, str]:
    found = compare(Case(MODELS["lr"], Request(body), theirs, ours, strict=True))
    return found.kind, found.why


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (_GOOD, "bytes"),
        (b'{"predictions":[1.0,NaN]}', "json"),
        (b'{"predictions": [1, NaN]}', "unexplained"),
        (b'{"predictions": [1.0, null]}', "unexplained"),
        (b'{"predictions": [1.0000000000000002, NaN]}', "unexplained"),
        (b'{"predictions": [-1.0, NaN]}', "unexplained"),
    ],
)
def test_predictions_are_compared_to_the_last_bit(body: bytes, kind: str) -> None:
    assert _verdict(Answer(200, _TYPE, _GOOD), Answer(200, _TYPE, body))[0] == kind


@pytest.mark.parametrize(
    ("ours", "kind"),
    [
        (Answer(400, _TYPE, _REFUSAL), "refused"),
        (Answer(400, "text/plain", b"no"), "unexplained"),
        (Answer(422, _TYPE, _REFUSAL), "unexplained"),
        (Answer(500, _TYPE, _REFUSAL), "unexplained"),
        (Answer(200, _TYPE, _GOOD), "unexplained"),
        (Answer(0, "", b""), "unexplained"),
        (Answer(400, _TYPE, _REFUSAL.replace(b"BAD_REQUEST", b"OTHER")), "unexplained"),
        (Answer(400, _TYPE, _REFUSAL.replace(b"no", b"sesame-4711")), "unexplained"),
        (Answer(400, _TYPE, _REFUSAL.replace(b"no", b"Traceback")), "unexplained"),
        (Answer(400, _TYPE, _REFUSAL[:-1] + b', "stack_trace": ""}'), "unexplained"),
    ],
)
def test_refusals_are_compared_by_status_and_code(ours: Answer, kind: str) -> None:
    assert _verdict(Answer(400, _TYPE, _REFUSAL), ours)[0] == kind


_MODEL_FAILED = Answer(
    400,
    _TYPE,
    b'{"error_code": "BAD_REQUEST", "message": "Encountered an unexpected error while evaluating '
    b'the model. Verify"}',
)
_FAILURE = Answer(500, _TYPE, b'{"error_code": "INTERNAL_ERROR", "message": "", "request_id": "1"}')


@pytest.mark.parametrize(
    ("model", "body", "ours", "kind"),
    [
        ("moody", b'{"inputs": [1]}', _FAILURE, "on purpose"),
        ("moody", b'{"inputs": [1]}', Answer(400, _TYPE, _REFUSAL), "unexplained"),
        ("moody", b'{"inputs": [null]}', Answer(400, _TYPE, _REFUSAL), "refused"),
        ("moody", b'{"inputs": [1e400]}', Answer(400, _TYPE, _REFUSAL), "refused"),
        ("moody", b'{"inputs": []}', Answer(400, _TYPE, _REFUSAL), "refused"),
        ("lr", b'{"inputs": [1]}', _FAILURE, "unexplained"),
    ],
)
def test_only_a_model_that_fails_is_500(model: str, body: bytes, ours: Answer, kind: str) -> None:
    case = Case(MODELS[model], Request(body), _MODEL_FAILED, ours, strict=True)
    assert compare(case).kind == kind


def test_every_difference_on_purpose_is_documented() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "scoring-protocol.md"
    text = page.read_text(encoding="utf-8")
    assert [name for name in ON_PURPOSE if f"| {name} |" not in text] == []
