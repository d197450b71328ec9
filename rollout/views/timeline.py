"""What happened in a rollout, line by line, from the journal's entries. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from rollout import journal
from rollout.journal import Entry, Rollout
from rollout.views.summary import clean, span

Kind = Literal["begin", "decision", "act", "failure", "order", "change", "verdict", "gap", "end"]


@dataclass(frozen=True)
class Event:
    """At `at`, seconds since 1970: `what`, and more of it in `lines`; `by` whom, empty if by the
    rollout itself. `number`: of a decision, from 1. `tone`: a verdict's kind, else empty.
    """

    at: float
    kind: Kind
    what: str
    lines: tuple[str, ...] = ()
    by: str = ""
    number: int | None = None
    tone: str = ""


def events(entries: Iterable[Entry], id: str) -> list[Event]:
    """What happened in rollout `id`, oldest first: of the evidence only where it is missing, of the
    verdicts only the changes. Entries of other rollouts are passed over.

    Raises rollout.journal.JournalError, as `journal.rollouts` does.
    """
    teller, found, mine = _Teller(), list[Rollout](), False
    for entry in entries:
        if entry["kind"] == "begin":
            mine, found = entry["id"] == id, []
        if mine:
            journal.extend(found, entry)
            teller.hear(entry, found[-1])
    return teller.end()


class _Teller:
    """Hears the entries of one rollout, each with the state that it led to."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._begun: Event | None = None
        self._missing: tuple[str, ...] = ()
        self._said = ""

    def hear(self, entry: Entry, now: Rollout) -> None:
        tell = getattr(self, f"_{entry['kind']}")
        tell(entry, now, now.last, clean(entry.get("by", "")))

    def end(self) -> list[Event]:
        self._leave()
        return self._events

    def _tell(self, at: float, kind: Kind, what: str, *lines: str, **more: Any) -> None:
        shown = tuple(clean(line) for line in lines if line)
        self._events.append(Event(at, kind, clean(what), shown, **more))

    def _leave(self) -> None:
        """An act was begun, and whoever began it was killed."""
        if self._begun is not None:
            self._events.append(self._begun)
            self._begun = None

    def _begin(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        notes = [*now.notes]
        if entry.get("adopted"):
            notes.append("the canary was deployed by hand already")
        what = f"begun: canary {now.canary} against stable {now.stable}"
        self._tell(at, "begin", what, *notes, by=by)

    def _decide(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        self._leave()
        what = entry["what"] if entry["step"] is None else f"step {entry['step'] + 1}"
        why = entry["why"]
        if self._events[-1].kind == "verdict" and "; ".join(self._events[-1].lines) == clean(why):
            why = "for the reasons of this verdict"
        self._tell(at, "decision", what, why, by=by, number=len(now.decisions))

    def _act(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        assert now.decision is not None  # noqa: S101
        act = clean(now.decision.acts[entry["index"]])
        if entry["state"] == "begun":
            self._leave()
            self._begun = Event(at, "act", act, ("begun; what came of it is not known",))
            return
        took = f" after {span(at - self._begun.at)}" if self._begun else ""
        self._begun = None
        if entry["state"] == "done":
            self._tell(at, "act", act, f"done{took}")
        else:
            self._tell(at, "failure", act, f"FAILED{took}: {entry['error']}")

    def _evidence(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        if now.missing != self._missing:
            self._missing = now.missing
            what = "evidence is missing" if now.missing else "evidence is complete again"
            self._tell(at, "gap", what, *now.missing)

    def _verdict(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        if entry["verdict"] != self._said:
            self._said = entry["verdict"]
            self._tell(at, "verdict", self._said, *entry["reasons"], tone=self._said)

    def _pause(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        self._tell(at, "order", "paused", entry["why"], by=by)

    def _resume(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        self._tell(at, "order", "resumed", by=by)

    def _refused(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        self._tell(at, "order", f"{entry['order']} refused", entry["why"], by=by)

    def _approve(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        where = f"for step {entry['step'] + 1}"
        self._tell(at, "order", f"gate {entry['gate']} approved", where, by=by)

    def _change(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        found = journal.describe(journal.read_roles(entry["roles"]))
        self._tell(at, "change", f"found: {found}", f"then: {entry['then']}", by=by)

    def _end(self, entry: Entry, now: Rollout, at: float, by: str) -> None:
        self._tell(at, "end", entry["outcome"])
