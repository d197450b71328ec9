"""The review of a preview: everything that is to be said, before it is said in some form. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from review import cost, cost_text, meaning, platform, pods, risk
from review.cost import Costs, Lookup
from review.preview import SECRET, Preview, Step
from review.values import ABSENT, differences, show
from review.words import Data, Line, Part, Strong

_SIGNS: Final = {"create": "+", "delete": "-", "update": "~", "replace": "±"}
_WORDS: Final = {"create": "new", "update": "changed", "replace": "replaced", "delete": "deleted"}
_MOST: Final = 5
_NO_REASON: Final = "preview failed"


@dataclass(frozen=True)
class Section:
    """Sentences under one title."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class DiffLine:
    """A line of the full difference; sign: as in a patch, and `~` and `±` of what changes."""

    sign: Literal["+", "-", "~", "±", " "]
    text: str


@dataclass(frozen=True)
class Review:
    """What there is to say of a stack's preview.

    errors: why it failed. refused: a policy objects that must be kept. sections: the most telling
    first. difference: all of it. drift: it is not of what an update would do, but of what somebody
    has done without one. costs: of a stack on AWS whose region has prices.
    """

    stack: str
    summary: str
    errors: tuple[str, ...]
    refused: bool
    sections: tuple[Section, ...]
    difference: tuple[DiffLine, ...]
    drift: bool = False
    costs: Costs | None = None

    @property
    def good(self) -> bool:
        """Whether an update could follow."""
        return not self.errors and not self.refused


def review(
    stack: str, preview: Preview, lookup: Lookup | None = None, *, drift: bool = False
) -> Review:
    """All that is to be said of the preview of `stack`; of costs only with `lookup`, which finds a
    region's prices, and on AWS.

    drift: the preview is that of a refresh.
    """
    steps = preview.steps
    running = pods.workloads(steps)
    told = [*meaning.of_models(steps, running), *platform.of_platform(steps, running)]
    if not told and any(step.changes and not step.component for step in steps):
        told = [("nothing that a model's clients would notice",)]
    # A preview that failed has not seen all there is.
    known = preview.complete and not drift
    costs = cost.of_preview(steps, lookup) if lookup and known else None
    sections = [
        Section("What it means", tuple(told)),
        Section("Replaced or deleted", (*risk.replaced(steps), *risk.deleted(steps))),
        Section("Data at risk", tuple(risk.data(steps))),
        # What is there already is no policy's to refuse.
        Section("Policies", () if drift else tuple(_findings(preview))),
        *([Section(cost_text.title(costs), tuple(cost_text.lines(costs)))] if costs else []),
        Section("Warnings", tuple((Data(text),) for text in preview.warnings)),
    ]
    refused = any(one.mandatory for one in preview.findings)
    # Of a policy that objects Pulumi says no more than that the preview has failed.
    errors = tuple(text for text in preview.errors if not (refused and text == _NO_REASON))
    return Review(
        stack=stack,
        summary=_summary(preview),
        errors=errors,
        refused=refused,
        sections=tuple(section for section in sections if section.lines),
        difference=tuple(_difference(steps)),
        drift=drift,
        costs=costs if costs and costs.prices else None,
    )


def _summary(preview: Preview) -> str:
    own = [step for step in preview.steps if not step.component]
    found = [
        f"{number} {word}"
        for op, word in _WORDS.items()
        if (number := sum(step.op == op for step in own))
    ]
    other = sum(step.changes and step.op not in _WORDS for step in own)
    if other:
        found.append(f"{other} touched")
    if not found:
        if preview.errors:
            return "the preview failed"
        return "nothing changes" if preview.complete else "nothing is known to change"
    changed = sum(step.changes for step in own)
    return f"{', '.join(found)} {'resource' if changed == 1 else 'resources'}"


def _findings(preview: Preview) -> list[Line]:
    """The worst first; what one policy says of several resources is said once."""
    if not preview.judged:
        return [("no policy was asked",)] if preview.complete else []
    groups: dict[tuple[str, str, str, bool], list[str]] = {}
    for one in preview.findings:
        key = (one.policy, one.message, one.severity, one.mandatory)
        groups.setdefault(key, []).append(one.urn)
    lines: list[Line] = []
    for (policy, message, severity, mandatory), urns in groups.items():
        rank = severity or "no severity"
        head: Part = Strong(f"{rank}, the update is refused") if mandatory else rank
        parts: list[Part] = [head, ": ", Data(policy)]
        for index, urn in enumerate(urns[:_MOST]):
            parts += [", " if index else " on ", Data(_short(urn))]
        more = len(urns) - _MOST
        parts += [f" and {more} more"] if more > 0 else []
        for text in filter(None, map(str.strip, message.splitlines())):
            parts += ["; ", Data(text)]
        lines.append(tuple(parts))
    if set(preview.errors) - {_NO_REASON}:
        # A policy that crashed, or a preview that ended early, is no pass.
        return [*lines, ("not every policy was asked of everything, for the preview failed",)]
    return lines or [("no policy objects",)]


def _short(urn: str) -> str:
    parts = urn.split("::", 3)
    return f"{parts[2].rsplit(':', 1)[-1]} {parts[3]}" if len(parts) == 4 else urn


def _difference(steps: Iterable[Step]) -> Iterable[DiffLine]:
    for step in steps:
        if not step.changes:
            continue
        sign: Any = _SIGNS.get(step.op, "~")
        own = " (a component)" if step.component else ""
        word = "" if step.op in _SIGNS else f" ({step.op})"
        yield DiffLine(sign, f"{step.type} {step.name}{own}{word}")
        if step.op == "delete":
            continue
        for one in differences(step):
            # A path that is empty is the whole resource.
            path = one.path or "inputs"
            if _hidden(step, path):
                yield DiffLine("~", f"  {path}: {SECRET}")
                continue
            if one.old is ABSENT and one.new is ABSENT:
                # It is computed, not put in.
                yield DiffLine("~", f"  {path}")
            for mark, value in (("-", one.old), ("+", one.new)):
                if value is not ABSENT:
                    yield from _value(mark, path, value, step)


def _value(mark: Any, path: str, value: Any, step: Step) -> Iterable[DiffLine]:
    """A value; one that is large, a line for each of its parts."""
    if isinstance(value, dict) and value and (step.op == "create" or len(value) > 1):
        for key in sorted(value):
            inner = f"{path}.{key}" if path != "inputs" else str(key)
            if _hidden(step, inner):
                yield DiffLine(mark, f"  {inner}: {SECRET}")
            else:
                yield from _value(mark, inner, value[key], step)
    else:
        yield DiffLine(mark, f"  {path}: {show(value)}")


def _hidden(step: Step, path: str) -> bool:
    """Whatever a program calls it, what a Secret holds is not shown."""
    return step.type == "kubernetes:core/v1:Secret" and path.split(".", 1)[0].split("[", 1)[0] in (
        "data",
        "stringData",
    )
