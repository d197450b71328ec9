"""Tree ensembles as an ONNX graph in double precision.

Source: the operator TreeEnsemble, version 5 of the domain ai.onnx.ml (onnx/docs/Operators-ml.md).
Its leaves add one weight to one score each, in the order of the trees.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper

from slipway_runtime.compiled import Array

_LESS_OR_EQUAL: Final = 0
_SUM: Final = 1
_WHOLE: Final = {
    "nodes_featureids": "feature",
    "nodes_truenodeids": "true",
    "nodes_falsenodeids": "false",
    "nodes_trueleafs": "true_is_leaf",
    "nodes_falseleafs": "false_is_leaf",
    "leaf_targetids": "score",
}
_IR_VERSION: Final = 10
_OPSET: Final = 21
_ML_OPSET: Final = 5


@dataclass(frozen=True)
class Tree:
    """The shape of one binary tree; row ``n`` of each array is node ``n``, the root is node 0.

    Attributes:
        left: the child taken where ``feature <= threshold``, or -1 for a leaf.
        right: the other child, or -1.
        feature: the column looked at.
        threshold: what it is compared with.
    """

    left: Array
    right: Array
    feature: Array
    threshold: Array

    @classmethod
    def of(cls, tree: Any) -> "Tree":
        """Returns the shape of scikit-learn's ``tree_``."""
        return cls(tree.children_left, tree.children_right, tree.feature, tree.threshold)

    @classmethod
    def leaf(cls) -> "Tree":
        """Returns a tree that is one leaf."""
        none = np.array([-1])
        return cls(none, none, np.array([0]), np.array([0.0]))


class Ensemble:
    """Collects trees and writes their graph.

    Args:
        columns: of the input.
        scores: the number of scores, each a sum over trees.

    Attributes:
        nodes: the number of nodes so far, leaves not counted.
    """

    def __init__(self, columns: int, scores: int) -> None:
        self._columns = columns
        self._scores = scores
        self.nodes = 0
        self._leaves = 0
        self._parts: dict[str, list[Array]] = {}
        self._roots: list[int] = []

    def add(self, tree: Tree, values: Array, score: int) -> None:
        """Adds a tree whose node ``n``, if it is a leaf, adds ``values[n]`` to one score."""
        self.add_labelled(tree, values, np.full(len(values), score))

    def add_votes(self, tree: Tree, values: Array) -> None:
        """Adds a tree whose leaf ``n`` adds ``values[n, s]`` to every score ``s``.

        A leaf of the graph adds to one score only, so a tree is there once for each score, unless
        each of its leaves has a single one that is not zero.
        """
        leaves = tree.left < 0
        if ((values[leaves] != 0).sum(axis=1) <= 1).all():
            best = values.argmax(axis=1)
            self.add_labelled(tree, values[np.arange(len(values)), best], best)
            return
        for score in range(self._scores):
            self.add(tree, values[:, score], score)

    def add_labelled(self, tree: Tree, values: Array, scores: Array) -> None:
        """Adds a tree whose leaf ``n`` adds ``values[n]`` to the score ``scores[n]``."""
        inner = np.flatnonzero(tree.left >= 0)
        leaves = np.flatnonzero(tree.left < 0)
        places = np.empty(len(tree.left), dtype=np.int64)
        places[inner] = self.nodes + np.arange(len(inner))
        places[leaves] = self._leaves + np.arange(len(leaves))
        self._roots.append(self.nodes)
        if len(inner):
            left, right = tree.left[inner], tree.right[inner]
            self._extend("feature", tree.feature[inner])
            self._extend("threshold", tree.threshold[inner])
            self._extend("true", places[left])
            self._extend("true_is_leaf", tree.left[left] < 0)
            self._extend("false", places[right])
            self._extend("false_is_leaf", tree.left[right] < 0)
            self.nodes += len(inner)
        else:
            # The graph has no tree without a node: this one leads to its leaf either way.
            self._extend("feature", np.array([0]))
            self._extend("threshold", np.array([0.0]))
            for side in ("true", "false"):
                self._extend(side, places[leaves])
                self._extend(f"{side}_is_leaf", np.array([True]))
            self.nodes += 1
        self._extend("weight", values[leaves])
        self._extend("score", scores[leaves])
        self._leaves += len(leaves)

    def _extend(self, name: str, values: Array) -> None:
        self._parts.setdefault(name, []).append(values)

    def thresholds(self) -> list[Array]:
        """Returns, for each column, the values that nodes compare it with."""
        features = np.concatenate(self._parts["feature"])
        values = np.concatenate(self._parts["threshold"])
        return [values[features == column] for column in range(self._columns)]

    def serialize(self) -> bytes:
        """Returns the ONNX model: input ``x`` (rows, columns), output ``scores`` (rows, scores)."""
        parts = {name: np.concatenate(arrays) for name, arrays in self._parts.items()}
        ensemble = helper.make_node(
            "TreeEnsemble",
            ["doubles"],
            ["scores"],
            domain="ai.onnx.ml",
            nodes_splits=_doubles("splits", parts["threshold"]),
            nodes_modes=helper.make_tensor(
                "modes",
                TensorProto.UINT8,
                [self.nodes],
                np.full(self.nodes, _LESS_OR_EQUAL, dtype=np.uint8).tobytes(),
                raw=True,
            ),
            leaf_weights=_doubles("weights", parts["weight"]),
            tree_roots=self._roots,
            n_targets=self._scores,
            post_transform=0,
            aggregate_function=_SUM,
        )
        for attribute, name in _WHOLE.items():
            # One list of Python's numbers at a time: they take five times an array's memory.
            numbers = parts.pop(name).astype(np.int64).tolist()
            ensemble.attribute.append(helper.make_attribute(attribute, numbers))
        graph = helper.make_graph(
            [
                helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
                helper.make_node("Cast", ["floats"], ["doubles"], to=TensorProto.DOUBLE),
                ensemble,
            ],
            "trees",
            [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, self._columns])],
            [helper.make_tensor_value_info("scores", TensorProto.DOUBLE, [None, self._scores])],
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        serialized: bytes = model.SerializeToString()
        return serialized


def _doubles(name: str, values: Array) -> Any:
    raw = values.astype("<f8").tobytes()
    return helper.make_tensor(name, TensorProto.DOUBLE, [len(values)], raw, raw=True)
