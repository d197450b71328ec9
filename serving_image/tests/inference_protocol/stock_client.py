"""A running server held to what the protocol's stock client expects."""

import numpy as np
import pytest
import tritonclient.http as stock
from tritonclient.utils import InferenceServerException

from .requests import NUMERIC, SECRET, stock_inputs


def check_with_stock_client(url: str, model: str, version: str) -> None:
    """Holds a running server to what the stock client of the protocol expects of it.

    Args:
        url: the server's host and port, with a path prefix if it has one, without a scheme.
        model: the name of a model of numeric columns, all required.
        version: its version.
    """
    client = stock.InferenceServerClient(url)
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(model)
        assert client.is_model_ready(model, version)
        assert not client.is_model_ready("no-such-model")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        metadata = client.get_model_metadata(model, version)
        assert (metadata["name"], metadata["versions"]) == (model, [version])
        assert client.get_model_metadata(model) == metadata
        values = {
            tensor["name"]: np.array([0.0, 1.0, 1.0], NUMERIC[tensor["datatype"]])
            for tensor in metadata["inputs"]
        }
        answers = []
        for binary in (False, True):
            outputs = [
                stock.InferRequestedOutput(tensor["name"], binary_data=binary)
                for tensor in metadata["outputs"]
            ]
            for wanted in (outputs, None):
                result = client.infer(
                    model, stock_inputs(values, binary), version, wanted, request_id="42"
                )
                response = result.get_response()
                assert (response["model_name"], response["model_version"]) == (model, version)
                assert response["id"] == "42"
                answers.append([result.as_numpy(t["name"]) for t in response["outputs"]])
        assert answers[0] and all(len(array) == 3 for array in answers[0])
        for answer in answers[1:]:
            for array, first in zip(answer, answers[0], strict=True):
                np.testing.assert_array_equal(array, first)
                assert array.dtype == first.dtype
        inputs = stock_inputs(values, True)
        with pytest.raises(InferenceServerException, match="not an output of this model"):
            client.infer(model, inputs, outputs=[stock.InferRequestedOutput(SECRET)])
        with pytest.raises(InferenceServerException, match=r"^\[40\d\]"):
            client.infer(model, inputs[:-1])
        with pytest.raises(InferenceServerException, match=r"^\[404\]"):
            client.infer("no-such-model", inputs)
        with pytest.raises(InferenceServerException, match=r"^\[404\]"):
            client.get_model_metadata(model, "no-such-version")
    finally:
        client.close()
