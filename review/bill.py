"""What of a stack is billed, before it is priced: resources, and the items of a bill. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from review.preview import Properties, Step, is_unknown
from review.values import quantity
from review.words import Line

# The type of what knows the region.
PROVIDER: Final = "pulumi:providers:aws"


@dataclass(frozen=True)
class Resource:
    """A resource as a program declares it; depends: names of those that its inputs come from."""

    type: str
    name: str
    inputs: Properties
    depends: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Item:
    """One kind of thing on the bill.

    what: in words. key: of its price; empty where it can have none, and `note` says why. low,
    high: how many units are there while nobody asks, and how many there may be; None if that is
    unknown before the update. bounded: False if nothing limits `high`. by_use: it costs by what
    is done, so that there is no telling how much.
    """

    what: Line
    key: str
    low: Decimal | None = Decimal(1)
    high: Decimal | None = Decimal(1)
    bounded: bool = True
    by_use: bool = False
    note: str = ""


@dataclass(frozen=True)
class Stack:
    """The resources at one time, those of each type together."""

    resources: tuple[Resource, ...] = ()
    _types: dict[str, list[Resource]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for one in self.resources:
            self._types.setdefault(one.type, []).append(one)

    def of(self, kind: str) -> list[Resource]:
        """All of this type."""
        return self._types.get(kind, [])

    @property
    def on_aws(self) -> bool:
        """Whether anything of it is on AWS."""
        return any(kind.startswith("aws:") for kind in self._types)

    @property
    def region(self) -> str | None:
        """The region that most is in: that of the provider called `aws`, else of the first."""
        found = {
            one.name: region
            for one in sorted(self.of(PROVIDER), key=lambda one: one.name)
            if isinstance(region := one.inputs.get("region"), str) and not is_unknown(region)
        }
        return found.get("aws") or next(iter(found.values()), None)


def of_steps(steps: Iterable[Step], *, before: bool) -> Stack:
    """The resources of a preview, as they were before or as they are to be."""
    found = []
    for step in steps:
        state = step.old if before else step.new
        if state is not None and not step.component:
            names = frozenset(urn.rsplit("::", 1)[-1] for urn in state.depends)
            found.append(Resource(step.type, step.name, state.inputs, names))
    return Stack(tuple(found))


def by_use(what: str, key: str) -> Item:
    """An item that costs by what is done."""
    return Item((what,), key, None, None, by_use=True)


def number(value: Any, default: int | None = None) -> Decimal | None:
    """A count in inputs; `default` where it is absent, None where it is unknown or none."""
    if value is None:
        return None if default is None else Decimal(default)
    # As quantities are, no number in inputs is negative, and an unknown is text.
    return None if isinstance(value, bool) else quantity(value)


def length(value: Any) -> Decimal | None:
    """How many are in a list; None where that is unknown."""
    return Decimal(len(value)) if isinstance(value, list) else None


def times(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    """The product; None where a factor is unknown."""
    return None if one is None or other is None else one * other


def mapping(value: Any) -> Properties:
    """An object in inputs; an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """A text in inputs; empty where there is none, or it is unknown."""
    return value if isinstance(value, str) and not is_unknown(value) else ""
