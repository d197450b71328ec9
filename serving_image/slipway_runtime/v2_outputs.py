"""From a model's prediction to named arrays (see `v2`)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from slipway_runtime.errors import RequestError
from slipway_runtime.v2_response import unwritable
from slipway_runtime.v2_signature import OUTPUT_NAME

_NUMBERS = "biuf"


def outputs_of(prediction: Any) -> list[tuple[str, npt.NDArray[Any]]]:
    """Returns a prediction as named arrays, which `v2_response.encode` can write.

    ================================  ==============================================================
    prediction                        outputs
    ================================  ==============================================================
    ndarray, sparse matrix            ``predict``, with its shape
    list, scalar                      ``predict``; a scalar has the shape [1]
    Series                            its name, or ``predict``
    DataFrame                         one a column, shape [rows]
    dict                              one a key
    ================================  ==============================================================

    Dates become text in ISO 8601, objects such as dicts become JSON texts, and numbers among which
    some are missing become FP64 with NaN.

    Raises:
        RequestError: it is something else, or has two columns of one name (500, model_error).
    """
    try:
        found = _outputs(prediction)
    except (RequestError, MemoryError):
        raise
    except Exception as error:
        raise unwritable() from error
    if not found or len({name for name, _ in found}) != len(found):
        raise unwritable()
    return found


def _outputs(prediction: Any) -> list[tuple[str, npt.NDArray[Any]]]:
    if isinstance(prediction, np.ndarray):
        return [(OUTPUT_NAME, _array(prediction))]
    if isinstance(prediction, Mapping):
        return [(str(name), _any(value)) for name, value in prediction.items()]
    import pandas as pd

    if isinstance(prediction, pd.DataFrame):
        return [
            (str(name), _array(prediction.iloc[:, index]))
            for index, name in enumerate(prediction.columns)
        ]
    if isinstance(prediction, pd.Series) and isinstance(prediction.name, str):
        return [(prediction.name, _array(prediction))]
    return [(OUTPUT_NAME, _any(prediction))]


def _any(value: Any) -> npt.NDArray[Any]:
    """Returns one array of whatever holds its values."""
    import pandas as pd

    if isinstance(value, np.ndarray | pd.Series | pd.Index):
        return _array(value)
    if isinstance(value, list | tuple):
        return _list(list(value))
    if value is None or isinstance(value, str | bytes | bool | int | float | np.generic | dict):
        return _objects([value])
    if callable(getattr(value, "toarray", None)):
        return _array(np.asarray(value.toarray()))
    raise unwritable()


def _array(values: Any) -> npt.NDArray[Any]:
    """Returns an ndarray or a Series as an array of at least one dimension that can be written."""
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        array = np.atleast_1d(np.asarray(values))
        if dtype.kind in _NUMBERS and dtype.itemsize <= 8:
            return array
        if dtype.kind not in "USMOT":
            raise unwritable()
        if dtype.kind == "M":
            import pandas as pd

            return _objects(list(pd.Series(array.ravel()))).reshape(array.shape)
        return _objects(array.ravel().tolist()).reshape(array.shape)
    return _objects(values.astype(object).tolist())


def _list(items: list[Any]) -> npt.NDArray[Any]:
    """Returns a list as an array, a list of lists of one length as one of two dimensions."""
    nested = {type(item) for item in items} <= {list, tuple, np.ndarray}
    if not items or not nested:
        return _objects(items) if items else np.empty(0)
    try:
        array = np.array(items, object)
    except ValueError:
        return _objects(items)
    if array.ndim == 1:
        return _objects(items)
    return _objects(array.ravel().tolist()).reshape(array.shape)


def _objects(items: list[Any]) -> npt.NDArray[Any]:
    """Returns scalars, or objects, as an array of one dimension: numbers where all are."""
    import pandas as pd

    types = {type(item) for item in items}
    missing = {type(None), type(pd.NA), type(pd.NaT)}
    numeric = (bool, int, float, np.number, np.bool_)
    if types and all(issubclass(kind, numeric) for kind in types):
        array = np.asarray(items)
        if array.dtype.kind in _NUMBERS:
            return array
    if types & missing and all(issubclass(kind, numeric) for kind in types - missing):
        return np.array([np.nan if type(item) in missing else item for item in items], np.float64)
    strings = np.empty(len(items), object)
    for index, item in enumerate(items):
        strings[index] = None if type(item) in missing else _string(item)
    return strings


def _string(item: Any) -> str | bytes | None:
    """Returns an element of BYTES: text and bytes as they are, dates as ISO 8601, else JSON."""
    if isinstance(item, str | bytes):
        return item
    if isinstance(item, float) and item != item:
        return None
    if callable(getattr(item, "isoformat", None)):
        return str(item.isoformat())
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(item, option=option).decode()
