"""What the command line asks for: which servers and models, how long, where to."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from bench.serving.cases import CASES, LOADS, MANY, ONE, ROWS_ONE, Case
from bench.serving.measure import Options
from bench.serving.servers import PEERS, Peer
from local.console import UserError
from local.instance import PROJECT, cache_dir

RESULTS: Final = PROJECT / "bench/results"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """What to measure: runs in this order, with what each takes."""

    cases: Sequence[Case]
    peers: Sequence[Peer]
    rounds: int
    seconds: int
    whole: bool

    def runs(self) -> list[tuple[Case, Peer, int]]:
        """Servers side by side within a round, and the rounds one after the other: what else the
        machine does meanwhile falls on all of them alike."""
        return [
            (case, peer, number)
            for case in self.cases
            for number in range(self.rounds if case.main else 1)
            for peer in self.peers
            if case.main or peer.everywhere
        ]

    def options(self, case: Case, program: str) -> Options:
        """The loads of a run: fewer and shorter where the case is not a main one."""
        if case.main:
            return Options(program, self.seconds, LOADS)
        return Options(program, max(1, self.seconds // 2), (ONE, MANY, ROWS_ONE))


def arguments(description: str, words: Sequence[str] | None = None) -> tuple[Plan, Path]:
    """The plan that the command line asks for, and the folder for its results.

    Raises:
        UserError: a server or a case of that name is not known.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench.serving",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    peers = ",".join(peer.key for peer in PEERS)
    cases = ",".join(case.key for case in CASES)
    parser.add_argument("--quick", action="store_true", help="main cases, one short round")
    parser.add_argument("--only", metavar="SERVERS", help=f"of {peers}")
    parser.add_argument("--cases", metavar="CASES", help=f"of {cases}")
    parser.add_argument("--seconds", type=int, help="of each measure, 1 to 60 (default 2)")
    parser.add_argument("--rounds", type=int, help="of the main cases, 1 to 10 (default 2)")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the results (default bench/results; the cache if not all is measured)",
    )
    chosen = parser.parse_args(words)
    whole = not (chosen.quick or chosen.only or chosen.cases)
    wanted_cases = _pick(chosen.cases, {case.key: case for case in CASES}, "--cases")
    if chosen.quick and not chosen.cases:
        wanted_cases = [case for case in CASES if case.main]
    plan = Plan(
        cases=wanted_cases,
        peers=_pick(chosen.only, {peer.key: peer for peer in PEERS}, "--only"),
        rounds=_within(chosen.rounds, 1 if chosen.quick else 2, 10, "--rounds"),
        seconds=_within(chosen.seconds, 1 if chosen.quick else 2, 60, "--seconds"),
        whole=whole,
    )
    return plan, chosen.out or (RESULTS if whole else cache_dir() / "bench/results")


def _pick(text: str | None, known: dict[str, _T], option: str) -> list[_T]:
    names = list(known) if text is None else text.split(",")
    for name in names:
        if name not in known:
            raise UserError(f"{option}: {name!r} is none of {', '.join(known)}")
    # In our order, whatever theirs: the limit comes first.
    return [value for key, value in known.items() if key in names]


def _within(value: int | None, default: int, high: int, option: str) -> int:
    if value is None:
        return default
    if not 1 <= value <= high:
        raise UserError(f"{option}: {value} is not a whole number from 1 to {high}")
    return value
