"""Asks both servers of one model and counts how their answers compare."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings

from .compare import Case, Verdict, compare
from .corpus import corpus
from .requests import Request, requests, single_cells
from .servers import Pair

_ALL: Final = slice(None)
_FINDINGS_LIMIT: Final = 25


@dataclass(frozen=True)
class Finding:
    """A difference that nothing explains, with the smallest request that shows it."""

    case: Case
    why: str

    def __str__(self) -> str:
        return (
            f"{self.case.model.name}: {self.why}\n  request  {self.case.request!r}\n"
            f"  MLflow   {self.case.theirs!r}\n  runtime  {self.case.ours!r}"
        )


@dataclass
class Tally:
    """How the answers compared.

    Attributes:
        tried: requests tried, those of shrinking included.
        kinds: how many of them by kind of verdict, and by name of a difference on purpose.
        predictions: requests that MLflow answered with a prediction.
        compiled: requests that the runtime answered without MLflow, from a compiled model.
        findings: what is not explained, each once.
    """

    tried: int = 0
    predictions: int = 0
    compiled: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{name}: {count}" for name, count in sorted(self.kinds.items()))
        return (
            f"tried {self.tried}, predictions {self.predictions}, compiled {self.compiled}; {kinds}"
        )


class _UnexplainedError(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.why)
        self.finding = finding


def _mark(finding: Finding) -> tuple[object, ...]:
    """Returns what two requests that show the same fault have in common."""
    case = finding.case
    return (finding.why, case.theirs.error_code(), case.ours.error_code())


def explore(
    pair: Pair, examples: int, first_seed: int, strict: bool, by_hand: slice = _ALL
) -> Tally:
    """Asks a pair of servers the corpus and then generated requests.

    Args:
        pair: the servers.
        examples: how many generated requests, those of shrinking a finding not counted.
        first_seed: what the requests are generated from.
        strict: see `compare.Case`.
        by_hand: which requests of the corpus.

    Raises:
        ServerError: MLflow's server does not answer.
    """
    tally = Tally()
    known: set[tuple[object, ...]] = set()

    def ask(request: Request) -> Finding | None:
        theirs, ours = pair.post(request)
        case = Case(pair.model, request, theirs, ours, strict)
        verdict: Verdict = compare(case)
        tally.tried += 1
        tally.predictions += theirs.status == 200
        name = verdict.why if verdict.kind == "on purpose" else verdict.kind
        tally.kinds[name] += 1
        return Finding(case, verdict.why) if verdict.kind == "unexplained" else None

    for request in [*corpus(pair.model), *single_cells(pair.model)][by_hand]:
        finding = ask(request)
        if finding is not None and _mark(finding) not in known:
            known.add(_mark(finding))
            tally.findings.append(finding)

    def check(request: Request) -> None:
        finding = ask(request)
        if finding is not None and _mark(finding) not in known:
            raise _UnexplainedError(finding)

    left = examples
    for number in range(_FINDINGS_LIMIT):
        if left <= 0:
            break
        before = tally.tried
        try:
            seed(first_seed + number)(_limits(left)(given(requests(pair.model))(check)))()
        except _UnexplainedError as error:
            # Hypothesis raises the smallest; on with another seed, past what is known now.
            known.add(_mark(error.finding))
            tally.findings.append(error.finding)
        left -= tally.tried - before
    tally.compiled = pair.ours.metric("model_compiled_predictions_total")
    return tally


def _limits(examples: int) -> settings:
    return settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
