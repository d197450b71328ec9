"""MLflow's scoring protocol: from a request's body to a prediction's body.

Source: ``mlflow/pyfunc/scoring_server/__init__.py`` of MLflow 3.17. Bodies are parsed, schemas
enforced and predictions written by MLflow's own functions, so answers are MLflow's, byte for byte,
and so are the statuses. What differs, deliberately:

- Errors have messages of our own: MLflow's quote the request and carry stack traces.
- A body that MLflow's parsers fail on in a way MLflow did not foresee (a number of 5,000 digits,
  JSON nested too deep) is 400 and not 500: a client must not be able to make a version look broken.
- A request without a content type is 415 and not 500.
- The model's own failure is 500, so that it counts against the version: an exception of its code
  on an input that the signature allows and that is not empty and holds no missing, infinite or
  huge number. Without a signature nobody can say whose fault it is, and it stays 400.

It also answers the Open Inference Protocol (see `v2`) with the same model.

This module knows nothing of HTTP beyond the content type. Importing it imports MLflow, which takes
seconds: import it where a model is about to be loaded.
"""

import contextlib
import inspect
import io
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models.utils import _enforce_params_schema, _enforce_schema
from mlflow.pyfunc import PyFuncModel, scoring_server
from mlflow.version import VERSION as MLFLOW_VERSION

from slipway_runtime import native, v2
from slipway_runtime.errors import ErrorType, RequestError
from slipway_runtime.modelfile import ModelFile
from slipway_runtime.trace_context import UNTOLD, Steps

__all__ = ["MLFLOW_VERSION", "Scorer", "load_model"]

_FORMATS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
_NAMES_SHOWN: Final = 20
# Beyond it a number is infinite in the single precision that many models compute in.
_LARGEST: Final = float(np.finfo(np.float32).max)
_FAILED_COLUMN: Final = re.compile(r"Failed to convert column (.*?) to type '", re.DOTALL)


def load_model(path: Path) -> PyFuncModel:
    """Loads the MLflow model in folder ``path`` and switches MLflow to serving.

    ``SERVING_MODEL_CONFIG`` (a JSON object) is handed to the model, as MLflow's server does.

    Raises:
        Exception: whatever MLflow or the model's flavor raises.
    """
    # As MLflow's own server does: type hints are then enforced as for a request.
    os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
    # Or each schema error would print the whole input into a message that nobody gets to see.
    os.environ["MLFLOW_DISABLE_SCHEMA_DETAILS"] = "true"
    model: PyFuncModel = scoring_server.load_model_with_mlflow_config(str(path))
    return model


class Scorer:
    """Answers prediction requests with one loaded model.

    It keeps no state between calls, so it may be called by many threads at once, as MLflow's own
    server calls its model.

    Args:
        model: the model, from `load_model`.
        facts: what its ``MLmodel`` says.
        identity: its name and version.
        max_values: the most values that a compressed body may hold.
    """

    def __init__(
        self,
        model: PyFuncModel,
        facts: ModelFile,
        identity: tuple[str, str],
        max_values: int = 2_000_000,
    ) -> None:
        self._max_values = max_values
        self._model = model
        self._facts = facts
        self._identity = identity
        self._metadata = model.metadata
        self._input_schema = model.metadata.get_input_schema()
        self._params_schema = model.metadata.get_params_schema()
        schema = self._input_schema
        specs = schema.input_dict() if schema is not None and schema.has_input_names() else {}
        texts = (name for name, spec in specs.items() if _type(spec) == "string")
        self._texts = frozenset(texts)
        self._takes_params = "params" in inspect.signature(model.predict).parameters

    def score(self, body: bytes, content_type: str | None) -> bytes:
        """Returns the JSON body of the prediction for a request.

        Args:
            body: the request's body.
            content_type: the request's Content-Type header, or None where it has none.

        Raises:
            RequestError: there is no prediction; it carries the answer to give instead.
        """
        return self.scored(body, content_type)[0]

    def scored(
        self, body: bytes, content_type: str | None, steps: Steps = UNTOLD
    ) -> tuple[bytes, Any, Any]:
        """Returns what `score` does, the model's input and its prediction.

        How long it took goes to ``steps``.
        """
        data, params, unwrapped = self._parse(body, _media_type(content_type))
        steps.done("parse")
        prediction = self._predict(data, params)
        steps.done("predict")
        output = io.StringIO()
        try:
            if unwrapped:
                scoring_server.unwrapped_predictions_to_json(prediction, output)
            else:
                scoring_server.predictions_to_json(prediction, output)
        except Exception as error:
            message = "The model's prediction cannot be written as JSON."
            raise RequestError(500, "INTERNAL_ERROR", message, "model_error") from error
        answer = output.getvalue().encode()
        steps.done("serialise")
        return answer, data, prediction

    def one_job(self) -> None:
        """Has the model predict as `native.one_job` says, if it is one of scikit-learn."""
        with contextlib.suppress(Exception):
            native.one_job(self._model.get_raw_model())

    def infer(self, body: bytes, header_length: int | None) -> tuple[bytes, int | None]:
        """Answers a request of the Open Inference Protocol.

        Args:
            body: the request's body.
            header_length: of the JSON at its start, where tensors in binary follow it.

        Returns:
            The answer's body and the length of the JSON at its start, if tensors follow.

        Raises:
            RequestError: there is no prediction; it carries the answer to give instead.
        """
        return self.inferred(body, header_length)[0]

    def inferred(
        self, body: bytes, header_length: int | None, steps: Steps = UNTOLD
    ) -> tuple[tuple[bytes, int | None], Any, Any]:
        """Returns what `infer` does, the model's input and its prediction.

        How long it took goes to ``steps``.
        """
        request = v2.decode(body, header_length)
        data = v2.model_input(request, self._facts.inputs)
        steps.done("parse")
        prediction = self._predict(data, v2.params(request))
        steps.done("predict")
        answer = v2.encode(v2.outputs_of(prediction), request, *self._identity)
        steps.done("serialise")
        return answer, data, prediction

    def _predict(self, data: Any, params: Any) -> Any:
        try:
            if self._takes_params:
                return self._model.predict(data, params=params)
            return self._model.predict(data)
        except MlflowException as error:
            self._raise_prediction_error(error, data, params)
        except Exception as error:
            message = "The model could not evaluate this input."
            if self._is_plain(data):
                raise RequestError(500, "INTERNAL_ERROR", message, "model_error") from error
            # Without a signature it may be either's fault, and counts as the model's.
            fault: ErrorType = "model_error" if self._input_schema is None else "invalid_input"
            raise RequestError(400, "BAD_REQUEST", message, fault) from error

    def _is_plain(self, data: Any) -> bool:
        """Tells whether the model got what its signature says, as far as can be seen.

        MLflow's enforcement lets pass a table without rows, a missing number, one that is infinite
        or huge, and anything at all in a column of text. A model may fail on these and not be to
        blame.

        Args:
            data: the input, before enforcement.
        """
        if self._input_schema is None:
            return False
        try:
            given = _enforce_schema(data, self._input_schema)
            if isinstance(given, pd.DataFrame | dict):
                return all(
                    _is_plain_column(column, name in self._texts) for name, column in given.items()
                )
            return _is_plain_column(given, text=False)
        except Exception:
            # Odd enough for MLflow or NumPy to fail on it.
            return False

    def warm_up(self, path: Path) -> bool:
        """Answers the model's own example, so that no client pays for what is done only once.

        Args:
            path: the model's folder.

        Returns:
            False where the model was saved without an example.

        Raises:
            OSError: the example is announced but cannot be read.
            RequestError: the model refuses its own example.
        """
        example = self._metadata.get_serving_input(str(path))
        if example is None:
            return False
        self.score(example.encode(), scoring_server.CONTENT_TYPE_JSON)
        return True

    def _parse(self, body: bytes, media_type: str) -> tuple[Any, Any, bool]:
        """Returns the model's input, its params, and whether the answer is bare predictions."""
        try:
            if media_type == scoring_server.CONTENT_TYPE_JSON:
                return self._parse_json(body)
            if media_type == scoring_server.CONTENT_TYPE_CSV:
                text = io.StringIO(body.decode())
                return scoring_server.parse_csv_input(text, self._input_schema), None, False
            self._check_parquet(body)
            return scoring_server.parse_parquet_input(io.BytesIO(body)), None, False
        except (RequestError, MemoryError):
            raise
        except UnicodeDecodeError as error:
            raise _invalid("The body is not valid UTF-8.") from error
        except Exception as error:
            kind = media_type.rsplit(".", 1)[-1].rsplit("/", 1)[-1].upper()
            raise _invalid(f"The body could not be read as a table in {kind}.") from error

    def _check_parquet(self, body: bytes) -> None:
        """Refuses a file that says of itself that it holds more values than allowed.

        Raises:
            RequestError: it does (413).
        """
        from pyarrow.parquet import ParquetFile

        facts = ParquetFile(io.BytesIO(body)).metadata
        if facts.num_rows * max(1, facts.num_columns) > self._max_values:
            message = f"The body has more than {self._max_values} values."
            raise RequestError(413, "PAYLOAD_TOO_LARGE", message, "payload_too_large")

    def _parse_json(self, body: bytes) -> tuple[Any, Any, bool]:
        request = _decode_json(body)
        # Looked at beforehand: MLflow takes "params" out of the object it is given.
        formats = [name for name in _FORMATS if name in request]
        try:
            parsed = scoring_server._parse_json_data(request, self._metadata, self._input_schema)
            return parsed.data, parsed.params, parsed.is_unified_llm_input
        except MemoryError:
            raise
        except Exception as error:
            status, code = 400, "BAD_REQUEST"
            if isinstance(error, MlflowException):
                status, code = error.get_http_status_code(), error.error_code
            if len(formats) == 1:
                message = f"{formats[0]} could not be read{self._unreadable_column(error)}."
            else:
                found = _names(formats) or "none of them"
                message = f"The body must have exactly one of {_names(_FORMATS)}; it has {found}."
            raise RequestError(status, code, message, "invalid_input") from error

    def _unreadable_column(self, error: Exception) -> str:
        """Names the column MLflow could not convert, if the name is one of the model's own."""
        match = _FAILED_COLUMN.search(str(error))
        schema = self._input_schema
        if match is None or schema is None or not schema.has_input_names():
            return ""
        spec = schema.input_dict().get(match[1])
        return f": column {match[1]} is not {_type(spec)}" if spec is not None else ""

    def _raise_prediction_error(self, error: MlflowException, data: Any, params: Any) -> NoReturn:
        """Raises the answer for an exception of MLflow's during the prediction."""
        status, code = error.get_http_status_code(), error.error_code
        if error.error_class == "SCHEMA_ENFORCEMENT_FAILED":
            message = f"The input does not match the model's signature{self._mismatch(data)}."
            raise RequestError(status, code, message, "schema_mismatch") from error
        try:
            _enforce_params_schema(params, self._params_schema)
        except Exception:
            known = _names(spec.name for spec in getattr(self._params_schema, "params", []))
            message = f"params do not match the model's signature, which has: {known}."
            raise RequestError(status, code, message, "schema_mismatch") from error
        message = "The model could not evaluate this input."
        raise RequestError(status, code, message, "model_error") from error

    def _mismatch(self, data: Any) -> str:
        """Says in the signature's own words how ``data`` differs from it."""
        schema = self._input_schema
        if schema is None or not schema.has_input_names():
            return ""
        named = isinstance(data, pd.DataFrame | dict)
        given = {name for name in data if isinstance(name, str)} if named else set()
        missing = [name for name in schema.required_input_names() if name not in given]
        if missing:
            return f": missing {_names(missing)}"
        expected = _names(f"{name} {_type(spec)}" for name, spec in schema.input_dict().items())
        return f", which is: {expected}"


def _is_plain_column(column: Any, text: bool) -> bool:
    values = np.asarray(column)
    if not values.size:
        return False
    if values.dtype.kind in "fiu":
        return bool(np.isfinite(values).all() and (np.abs(values) <= _LARGEST).all())
    if text:
        return set(map(type, values.ravel().tolist())) <= {str}
    return not pd.isna(values).any() if values.dtype == object else True


def _type(spec: Any) -> str:
    """Returns the type of a column or tensor in the signature's own word, e.g. ``double``."""
    return str(getattr(spec.type, "name", spec.type))


def _invalid(message: str) -> RequestError:
    return RequestError(400, "BAD_REQUEST", message, "invalid_input")


def _unsupported(message: str) -> RequestError:
    return RequestError(415, "UNSUPPORTED_MEDIA_TYPE", message, "unsupported_media_type")


def _names(names: Iterable[object]) -> str:
    """Joins names with commas, the first twenty of them."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - _NAMES_SHOWN} more" if len(listed) > _NAMES_SHOWN else ""
    return ", ".join(listed[:_NAMES_SHOWN]) + more


def _media_type(content_type: str | None) -> str:
    """Returns the media type of a Content-Type header, checked the way MLflow checks it."""
    media_type, *parameters = [part.strip() for part in (content_type or "").split(";")]
    values = {name: value for name, _, value in (part.partition("=") for part in parameters)}
    if values.pop("charset", "utf-8").lower() != "utf-8":
        raise _unsupported("Only the charset UTF-8 is supported.")
    if values:
        raise _unsupported("The content type may have no parameter but charset.")
    if media_type not in scoring_server.CONTENT_TYPES:
        known = ", ".join(scoring_server.CONTENT_TYPES)
        raise _unsupported(f"The content type must be one of {known}.")
    return media_type


def _decode_json(body: bytes) -> dict[str, Any]:
    """Returns the JSON object in ``body``; NaN and Infinity are allowed, as in MLflow."""
    try:
        request = json.loads(body)
    except json.JSONDecodeError as error:
        # Of the decoder's message only its fixed words and the position are told.
        where = f"line {error.lineno}, column {error.colno}"
        raise _invalid(f"The body is not valid JSON: {error.msg} ({where}).") from error
    except UnicodeDecodeError as error:
        raise _invalid("The body is not valid UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise _invalid("The body is JSON with a number too long or nesting too deep.") from error
    if not isinstance(request, dict):
        raise _invalid(f"The body must be a JSON object with exactly one of {_names(_FORMATS)}.")
    return request
