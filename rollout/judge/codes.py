"""What the gate's rule says, as arrays over a batch of rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from rollout.judge.sequential import Bools


class Code(IntEnum):
    """A verdict as a number, for a batch."""

    HOLD = 0
    ADVANCE = 1
    ROLL_BACK = 2
    NOT_ENOUGH = 3
    WANT_OF_EVIDENCE = 4


@dataclass(frozen=True)
class Assessment:
    """What the rule found, for a batch. `code` (batch,) of Code; the others say why.

    harm, worse, proven: (batch, metrics); proven harm, a step's own estimate too high for the next
    weight, the bound that the step needs. beyond, high, trouble: (batch, limited metrics); the
    canary above an absolute limit by proof, by estimate; stable above it of late. seen: (batch,);
    requests enough in this step.
    """

    code: NDArray[np.int_]
    harm: Bools
    beyond: Bools
    high: Bools
    trouble: Bools
    worse: Bools
    proven: Bools
    seen: Bools
