"""A model's profile as the runtime reads it (see `training_profile` for what it is).

It is in the model's own folder, and so fetched and verified with it: in the file
``slipway_profile.json`` or, where there is none, as a text in the metadata of ``MLmodel``, under
``slipway_profile``. Nothing in it is taken on trust: it may come from anywhere.
"""

import bisect
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from slipway_runtime.modelfile import ModelFile
from slipway_runtime.training_profile import (
    FORMAT,
    MOST_BINS,
    MOST_CHARACTERS,
    MOST_FEATURES,
    PROFILE_KEY,
    is_missing,
    is_output,
)

FILE: Final = f"{PROFILE_KEY}.json"

_MOST_BYTES: Final = 256 * 1024
_SUM_TOLERANCE: Final = 1e-6


class ProfileError(ValueError):
    """A profile that is none; the message says in one line why."""


@dataclass(frozen=True)
class Feature:
    """One input column or output, and its bins.

    Attributes:
        name: the column's name, or ``prediction``.
        edges: upper bounds of all bins but the last two; nothing for texts.
        labels: the texts, each with its bin, or None for numbers.
        shares: expected in each bin; the last is for what is missing.
    """

    name: str
    edges: tuple[float, ...]
    labels: dict[str, int] | None
    shares: tuple[float, ...]

    def bin(self, value: Any) -> int:
        """Returns the bin of a value, whatever it is."""
        missing = len(self.shares) - 1
        if self.labels is not None:
            return missing if is_missing(value) else self.labels.get(str(value), missing - 1)
        if isinstance(value, str | bytes):
            return missing
        try:
            number = float(value)
        except OverflowError:
            number = math.inf if value > 0 else -math.inf
        except (TypeError, ValueError):
            return missing
        return missing if number != number else bisect.bisect_left(self.edges, number)


@dataclass(frozen=True)
class Profile:
    """A model's profile.

    Attributes:
        rows: how many rows it was made of.
        features: at most `MOST_FEATURES`, each with at most `MOST_BINS` bins.
    """

    rows: int
    features: tuple[Feature, ...]

    @property
    def cells(self) -> int:
        """How many bins all features have together."""
        return sum(len(feature.shares) for feature in self.features)

    def places(self) -> Iterator[tuple[int, Feature]]:
        """Yields each feature with the place of its first bin among all of them."""
        start = 0
        for feature in self.features:
            yield start, feature
            start += len(feature.shares)


def load(path: Path, model: ModelFile) -> Profile | None:
    """Returns the profile in a model's folder, or None where it has none.

    Columns that the signature does not name are left out: the model is never asked about them.

    Args:
        path: the folder.
        model: what its ``MLmodel`` says.

    Raises:
        ProfileError: it has one that is none.
    """
    file = path / FILE
    text = model.profile
    try:
        if file.is_file():
            with file.open("rb") as stream:
                text = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"{FILE} cannot be read: {error.strerror}") from error
    if text is None:
        return None
    profile, names = parse(text), input_names(model)
    if names is None:
        return profile
    known = [each for each in profile.features if is_output(each.name) or each.name in names]
    if not known:
        raise ProfileError("none of its features is an output or a column of the signature")
    return Profile(profile.rows, tuple(known))


def input_names(model: ModelFile) -> list[str] | None:
    """Returns the names that the signature's inputs have in a profile, or None without one."""
    if model.matrix is not None:
        return [str(at) for at in range(model.matrix[1])]
    names = [entry.get("name") for entry in model.inputs or ()]
    # A name may be the number 0.
    return [str(name) for name in names] if names and None not in names else None


def parse(text: object) -> Profile:
    """Returns the profile in a text.

    Raises:
        ProfileError: it is none.
    """
    if not isinstance(text, str | bytes):
        raise ProfileError(f"it is no text but {type(text).__name__}")
    if len(text) > _MOST_BYTES:
        raise ProfileError(f"it is longer than {_MOST_BYTES} bytes")
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except ProfileError:
        raise
    except (ValueError, RecursionError) as error:
        raise ProfileError("it is not JSON") from error
    if not isinstance(content, dict) or set(content) != {PROFILE_KEY, "rows", "features"}:
        raise ProfileError(f"it is no object of exactly {PROFILE_KEY}, rows and features")
    if type(content[PROFILE_KEY]) is not int or content[PROFILE_KEY] != FORMAT:
        raise ProfileError(f"its format is not {FORMAT}")
    rows, features = content["rows"], content["features"]
    if type(rows) is not int or rows < 1:
        raise ProfileError("rows is not a whole number from 1 on")
    if not isinstance(features, dict) or not 1 <= len(features) <= MOST_FEATURES:
        raise ProfileError(f"features is no object of 1 to {MOST_FEATURES}")
    return Profile(rows, tuple(_feature(name, entry) for name, entry in features.items()))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProfileError("a key is in it twice")
    return found


def _feature(name: str, entry: object) -> Feature:
    _check_text(name, "a feature's name")
    where = f"feature {name!r}"
    if not isinstance(entry, dict) or set(entry) not in ({"edges", "shares"}, {"labels", "shares"}):
        raise ProfileError(f"{where} is no object of shares and either edges or labels")
    shares = _finite(entry["shares"], f"the shares of {where}")
    # Each by itself first: huge ones have no sum.
    each = all(0 <= share <= 1 + _SUM_TOLERANCE for share in shares)
    if not each or abs(math.fsum(shares) - 1) > _SUM_TOLERANCE:
        raise ProfileError(f"the shares of {where} do not add up to 1")
    edges: tuple[float, ...] = ()
    labels: dict[str, int] | None = None
    if "edges" in entry:
        edges = _finite(entry["edges"], f"the edges of {where}")
        if any(low >= high for low, high in zip(edges, edges[1:], strict=False)):
            raise ProfileError(f"the edges of {where} do not ascend")
        bins = len(edges) + 2
    else:
        labels = _labels(entry["labels"], name)
        bins = len(labels) + 2
    if bins != len(shares) or bins > MOST_BINS:
        raise ProfileError(f"{where} has {len(shares)} shares for {bins} bins, of {MOST_BINS}")
    return Feature(name, edges, labels, shares)


def _labels(entry: object, name: str) -> dict[str, int]:
    if not is_output(name):
        raise ProfileError(f"feature {name!r} has labels, which only a prediction may")
    if not isinstance(entry, list) or not all(isinstance(label, str) for label in entry):
        raise ProfileError(f"the labels of feature {name!r} are no list of texts")
    for label in entry:
        _check_text(label, f"a label of feature {name!r}")
    found = {label: at for at, label in enumerate(entry)}
    if len(found) != len(entry):
        raise ProfileError(f"feature {name!r} has a label twice")
    return found


def _finite(entry: object, what: str) -> tuple[float, ...]:
    """Returns a short list of numbers.

    Raises:
        ProfileError: it is none.
    """
    if not isinstance(entry, list) or len(entry) > MOST_BINS:
        raise ProfileError(f"{what} are no list of at most {MOST_BINS}")
    try:
        if any(type(number) not in (int, float) for number in entry):
            raise ProfileError(f"{what} are not all numbers")
        numbers = tuple(map(float, entry))
    except OverflowError:
        numbers = (math.inf,)
    if not all(map(math.isfinite, numbers)):
        raise ProfileError(f"{what} are not all finite")
    return numbers


def _check_text(text: str, what: str) -> None:
    # It becomes the value of a label: a lone surrogate would break every scrape.
    if not text or len(text) > MOST_CHARACTERS or not text.isprintable():
        raise ProfileError(f"{what} is not 1 to {MOST_CHARACTERS} printable characters")
