"""Findings of scanners, and their comparison with what is accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase


class ScannerError(Exception):
    """A scanner did not look at all that it was given, so what it found says nothing."""


class Level(IntEnum):
    """How bad a finding is. What its scanner has no level for is UNRATED, and above LOW."""

    LOW = 1
    UNRATED = 2
    MEDIUM = 3
    HIGH = 4


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that one scanner says of one object.

    place: what was looked at, such as a stack. subject: the object, as in
    `Deployment/mlflow/mlflow`, or the package. advice: what to do, where the scanner says that.
    """

    scanner: str
    check: str
    subject: str
    place: str
    level: Level
    message: str
    advice: str = ""

    def line(self) -> str:
        """What a person reads: scanner, check, object, message, what to do."""
        advice = f" {self.advice.rstrip('.')}." if self.advice else ""
        return (
            f"{self.scanner} {self.check} ({self.level.name.lower()}): {self.subject} of "
            f"{self.place}: {self.message.rstrip('.')}.{advice} Mend it, or list it with a reason "
            "in hardening/accepted.yaml"
        )


@dataclass(frozen=True)
class Accepted:
    """A check that objects are excused from. `objects` are patterns of a shell, one at least."""

    scanner: str
    check: str
    objects: tuple[str, ...]
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether this excuses the finding."""
        return (finding.scanner, finding.check) == (self.scanner, self.check) and any(
            fnmatchcase(finding.subject, pattern) for pattern in self.objects
        )


@dataclass(frozen=True)
class Verdict:
    """unlisted: what nobody has accepted. dead: a line for each exception that excuses nothing.
    counts: findings by scanner and level, listed ones too.
    """

    unlisted: tuple[Finding, ...]
    dead: tuple[str, ...]
    counts: Counter[tuple[str, Level]]

    @property
    def passed(self) -> bool:
        return not self.unlisted and not self.dead


def judge(
    findings: Iterable[Finding], accepted: Sequence[Accepted], scanners: Iterable[str]
) -> Verdict:
    """Compare what these scanners found with what is accepted; other scanners' exceptions are
    left alone.
    """
    found = sorted(set(findings))
    above = [finding for finding in found if finding.level > Level.LOW]
    mine = set(scanners)
    dead = []
    for each in accepted:
        if each.scanner not in mine:
            continue
        for pattern in each.objects:
            one = Accepted(each.scanner, each.check, (pattern,), each.reason)
            if not any(map(one.covers, above)):
                dead.append(
                    f"{each.scanner} {each.check}: {pattern}: nothing is found there any more; "
                    "remove it from hardening/accepted.yaml"
                )
    return Verdict(
        tuple(it for it in above if not any(each.covers(it) for each in accepted)),
        tuple(dead),
        Counter((finding.scanner, finding.level) for finding in found),
    )
