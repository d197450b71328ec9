"""What the name of an instance type of EC2 tells: `m7g.xlarge` is of family m, generation 7, with
a processor of Graviton.

https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
"""

from __future__ import annotations

import re
from typing import NamedTuple

# The processor stands in the attributes after the generation; a1 and mac2 were before that rule.
_NAME = re.compile(r"(?P<family>[a-z]+)(?P<generation>\d+)(?P<attributes>[a-z0-9-]*)\.(?P<size>.+)")
_SHAPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_ACCELERATED = {"dl", "f", "g", "gr", "inf", "p", "trn", "vt"}
# On Xen a node cannot have blocks of addresses for its pods.
_OLD = {"c1", "c3", "c4", "d2", "h1", "i2", "m1", "m2", "m3", "m4", "r3", "r4", "t1", "t2", "x1"}


class Instance(NamedTuple):
    """An instance type, read by its name."""

    family: str
    generation: int
    attributes: str
    size: str

    @property
    def arm(self) -> bool:
        """Its processor is Graviton, Grace or Apple's, and takes no image for amd64."""
        if self.family in ("a", "mac"):
            return f"{self.family}{self.generation}" != "mac1"
        plain, _, chip = self.attributes.partition("-")
        return "g" in plain or chip.startswith("gb")

    @property
    def accelerated(self) -> bool:
        """It has GPUs, or chips like them."""
        return self.family in _ACCELERATED

    @property
    def nitro(self) -> bool:
        """It is built on Nitro, so that a node of it can have blocks of addresses."""
        return f"{self.family}{self.generation}" not in _OLD


def read(name: str) -> Instance | None:
    """The instance type of this name; None where it has not the shape of one."""
    found = _NAME.fullmatch(name) if _SHAPE.fullmatch(name) else None
    if not found:
        return None
    return Instance(found["family"], int(found["generation"]), found["attributes"], found["size"])
