"""The user's own gates: a query, a webhook, a person's approval, the predictions themselves.

Silence is never an opening: who does not answer, or not with one number, leaves a gate shut.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

import numpy as np

from rollout.adapters.exchange import Answer, NoAnswerError, exchange, place
from rollout.adapters.prometheus import (
    MODELS_NAMESPACE,
    Prometheus,
    PrometheusError,
    quoted,
)
from rollout.journal import Rollout
from settings.rollout import Gate, Predictions

State = Literal["open", "closed", "silent"]

ALPHA: Final = 0.01
"""The most of canaries within `max_disagreement` that are ever refused, however often one looks."""
MIN_COMPARISONS: Final = 500
"""From here on the share of disagreements is taken as it is, where nothing is proven."""
MIN_PSI: Final = 200
"""Comparisons before a population stability index says anything."""
SURE_PSI: Final = 2000
"""Comparisons before one that is too high is no accident of few values in ten bins."""
REFUSALS: Final = (403, 409, 422)
"""Statuses by which a webhook refuses; any other but 200 to 299 is no answer."""
WEBHOOK_SECONDS: Final = 5.0
WEBHOOK_BYTES: Final = 65536
PREDICTIONS: Final = "predictions"
"""What the check of the predictions is called among the gates."""


@dataclass(frozen=True)
class GateAnswer:
    """What a gate says. `then`: what follows if it is closed. `line`: why, for a person."""

    name: str
    state: State
    line: str
    then: Literal["hold", "roll back"] = "hold"


@dataclass(frozen=True)
class Context:
    """What a gate is asked about: `before` what, at which step (0 is the first) and weight."""

    model: str
    canary: int
    stable: int
    step: int
    weight: int
    before: Literal["step", "promotion"]


def opinions(rollout: Rollout, prometheus: Prometheus, advancing: bool) -> list[GateAnswer]:
    """What the gates of a rollout say now.

    Where it would not advance anyway, because it is not `advancing`, paused or promoted, only
    those that ask for a rollback are asked, and no webhook; they are given only where they do.
    """
    last = rollout.step == len(rollout.steps) - 1
    context = Context(
        rollout.model,
        rollout.canary,
        rollout.stable,
        rollout.step,
        rollout.weight,
        "promotion" if last else "step",
    )
    rules = rollout.rules
    if advancing and rollout.paused is None and rollout.promoted is None:
        found = open_gates(rules.gates, context, prometheus, rollout.approvals)
        if rules.predictions:
            found.append(compare(rules.predictions, context, prometheus))
        return found
    watching = [gate for gate in rules.gates if gate.promql and gate.then == "roll back"]
    found = open_gates(watching, context, prometheus, rollout.approvals)
    if rules.predictions:
        found.append(compare(rules.predictions, context, prometheus))
    return [answer for answer in found if answer.state == "closed" and answer.then == "roll back"]


def open_gates(
    gates: Sequence[Gate],
    context: Context,
    prometheus: Prometheus,
    approvals: set[tuple[str, int]],
) -> list[GateAnswer]:
    """What those of the `gates` say that are due in this context.

    Args:
        approvals: the name of a gate and the step at which a person opened it.
    """
    due = [gate for gate in gates if gate.before == "each step" or context.before == "promotion"]
    found = []
    for gate in due:
        if gate.promql:
            state, line = _query(gate, context, prometheus)
        elif gate.webhook:
            state, line = _webhook(gate.webhook, context)
        else:
            state, line = _approval(gate.name, context, approvals)
        found.append(GateAnswer(gate.name, state, f"gate {gate.name}: {line}", gate.then))
    return found


def filled(promql: str, model: str, canary: int, stable: int) -> str:
    """The query with `$model`, `$canary`, `$stable` and `$namespace` replaced.

    They stand inside a string of PromQL, so they are escaped for one.
    """
    values = {
        "model": model,
        "canary": str(canary),
        "stable": str(stable),
        "namespace": MODELS_NAMESPACE,
    }
    return re.sub(
        rf"\$({'|'.join(values)})\b", lambda found: quoted(values[found[1]])[1:-1], promql
    )


def compare(wanted: Predictions, context: Context, prometheus: Prometheus) -> GateAnswer:
    """Whether the canary's predictions are stable's, from a comparer's counts of both.

    Closed where it is proven that more than `max_disagreement` differ, or where their distribution
    has moved by more than `max_psi`. Open where it is proven that fewer differ, or where fewer
    do among MIN_COMPARISONS or more, and the distribution has not moved.
    """
    state, line = _compared(wanted, context, prometheus)
    return GateAnswer(PREDICTIONS, state, f"{PREDICTIONS}: {line}", "roll back")


def log_wealth(hits: float, trials: float, share: float, above: bool) -> float:
    """The log of the wealth against "the share of hits is at most `share`", or, unless `above`,
    "at least `share`"; proof from log(1/alpha) on, whenever one looks.

    A mixture of likelihood ratios, each of an alternative beyond `share` to `share` itself. Under
    every share on the other side a ratio is a supermartingale, for a hit moves it the way of its
    alternative; so is the mixture, and Ville's inequality bounds the chance that it ever reaches
    1/alpha by alpha. (Robbins: Statistical methods related to the law of the iterated logarithm,
    1970.) It takes nothing but the counts so far, so that a restart forgets nothing.

    Args:
        share: more than 0 and less than 1.
    """
    distances = np.geomspace(1e-3, 0.999, 48)
    others = share + (1 - share) * distances if above else share * (1 - distances)
    ratios = hits * np.log(others / share) + (trials - hits) * np.log((1 - others) / (1 - share))
    return float(np.logaddexp.reduce(ratios)) - math.log(len(others))


def _query(gate: Gate, context: Context, prometheus: Prometheus) -> tuple[State, str]:
    promql = filled(gate.promql or "", context.model, context.canary, context.stable)
    number = prometheus.number(promql)
    if isinstance(number, str):
        return "silent", f"its query {number}" if number.startswith("gives") else number
    if gate.max is not None and number > gate.max:
        return "closed", f"{number:g} is more than {gate.max:g}"
    if gate.min is not None and number < gate.min:
        return "closed", f"{number:g} is less than {gate.min:g}"
    return "open", f"{number:g} is within bounds"


def _webhook(url: str, context: Context) -> tuple[State, str]:
    try:
        answer = exchange(url, body=asdict(context), timeout=WEBHOOK_SECONDS, limit=WEBHOOK_BYTES)
    except NoAnswerError as error:
        return "silent", str(error)
    if 200 <= answer.status < 300:
        refusal = _refusal(answer)
        if refusal is not None:
            return "closed", f"{place(url)} refuses{refusal}"
        return "open", f"{place(url)} agrees"
    state: State = "closed" if answer.status in REFUSALS else "silent"
    return state, f"{place(url)} answered with status {answer.status}"


def _refusal(answer: Answer) -> str | None:
    """The reason of a refusal in the body; None where there is no refusal."""
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("open") is not False:
        return None
    reason = " ".join(str(said.get("reason") or "").split())[:200]
    return f": {reason}" if reason else ""


def _approval(name: str, context: Context, approvals: set[tuple[str, int]]) -> tuple[State, str]:
    if (name, context.step) in approvals:
        return "open", "approved"
    return "closed", f"waits for a person: slipway approve {context.model} {name}"


def _compared(wanted: Predictions, context: Context, prometheus: Prometheus) -> tuple[State, str]:
    of = (
        f"model_name={quoted(context.model)},"
        f'model_version="{context.canary}",against="{context.stable}"'
    )
    # The maximum of the indices, the sum of the counts, in one look, so that they go together.
    asked = {
        "comparisons": f"sum(model_comparisons_total{{{of}}})",
        "disagreements": f"sum(model_disagreements_total{{{of}}})",
        "unanswered": f'sum(model_comparison_errors_total{{{of},side="shadow"}})',
        "psi": f"max(model_prediction_psi{{{of}}})",
    }
    query = " or ".join(
        f'label_replace({promql}, "is", "{key}", "", "")' for key, promql in asked.items()
    )
    try:
        found = {labels.get("is", ""): value for labels, value in prometheus.table(query)}
    except PrometheusError as error:
        return "silent", str(error)
    nothing = math.nan
    trials, hits = found.get("comparisons", nothing), found.get("disagreements", nothing)
    # What stable answered and the canary did not is as different as can be.
    unanswered = found.get("unanswered", 0.0)
    if not (0 <= hits <= trials < math.inf and 0 <= unanswered < math.inf):
        return "silent", "no comparisons of canary and stable are known"
    hits, trials = hits + unanswered, trials + unanswered
    seen = f"{hits:g} of {trials:g} predictions differ"
    seen += f", {unanswered:g} of them for want of an answer" if unanswered else ""
    state = _disagreement(hits, trials, wanted.max_disagreement)
    if state == "closed":
        return "closed", f"{seen}, which is surely more than {wanted.max_disagreement:.4g}"
    psi = found.get("psi", nothing)
    over = f"the population stability index {psi:.3g} is over {wanted.max_psi:g}"
    if trials >= MIN_PSI and psi > wanted.max_psi:
        if trials >= SURE_PSI:
            return "closed", over
        return (
            "silent",
            f"{over}, which {SURE_PSI} comparisons tell for sure, and {trials:g} do not",
        )
    if state == "silent" or trials < MIN_PSI:
        return "silent", f"{seen}: not known yet on which side of {wanted.max_disagreement:.4g}"
    if not psi <= wanted.max_psi:
        return "silent", f"{seen}, but there is no population stability index"
    return "open", f"{seen}; the population stability index is {psi:.3g}"


def _disagreement(hits: float, trials: float, most: float) -> State:
    if most >= 1:
        return "open" if trials >= MIN_COMPARISONS else "silent"
    proof = math.log(1 / ALPHA)
    if log_wealth(hits, trials, most, above=True) >= proof:
        return "closed"
    if log_wealth(hits, trials, most, above=False) >= proof:
        return "open"
    return "open" if trials >= MIN_COMPARISONS and hits <= most * trials else "silent"
