"""Makes a compiled model of a native one, where the kind of model is known to the last operation.

Known are scikit-learn's linear models, decision trees, forests and gradient boosting, also behind
scalers in a pipeline. What is not known is not guessed at: `compile_model` says why, and the
native model serves.

Sources: scikit-learn 1.9's own predict methods (linear_model/_base.py, linear_model/_logistic.py,
tree/_classes.py, ensemble/_forest.py, ensemble/_gb.py). Trees become the operator TreeEnsemble of
ONNX' domain ai.onnx.ml, version 5, in float64: the one that adds up in double precision.
scikit-learn rounds the inputs of a tree to float32 and compares them with float64 thresholds, so
the graph does as much.
"""

from typing import Any, Final

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.linear_model._base import (
    LinearClassifierMixin,
    LinearModel,
    MultiOutputLinearModel,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from slipway_runtime.compiled import Array, Compiled, Finish, Scaling
from slipway_runtime.processes import memory_limit
from slipway_runtime.treegraph import Ensemble, Tree

_FORESTS: Final = (
    RandomForestClassifier,
    RandomForestRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
)
_TREES: Final = (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)
_CLASSIFIERS: Final = (
    RandomForestClassifier,
    ExtraTreesClassifier,
    DecisionTreeClassifier,
    ExtraTreeClassifier,
)
# The methods that do no more than call the first of them.
_LINEAR_PREDICTS: Final = (
    LinearModel.predict,
    MultiOutputLinearModel.predict,
    Ridge.predict,
    RidgeCV.predict,
)
_NODES_LIMIT: Final = 2_000_000
# Of the memory limit, for each node: about 400 bytes while the graph is made, a quarter of it all.
_NODE_BYTES: Final = 1600


class CannotCompileError(Exception):
    """This model is served natively; the message says why, in a few words."""


def compile_model(model: Any, predict_fn: str, dtype: str) -> tuple[Compiled, list[Array]]:
    """Returns the compiled form of a fitted scikit-learn model, and where to try it.

    The second value holds, for each column, thresholds of the trees; it is empty where there are
    none, or where they are not those of the input because it is scaled first.

    Args:
        model: the estimator or pipeline.
        predict_fn: the method that answers requests, e.g. ``predict`` or ``predict_proba``.
        dtype: the type NumPy gives the model's input table, e.g. ``float64``.

    Raises:
        CannotCompileError: its kind is not known.
    """
    scalings: list[Scaling] = []
    while isinstance(model, Pipeline):
        *steps, (_, last) = model.steps
        for _, step in steps:
            scalings += _scaling(step)
        model = last
    if scalings and dtype == "float32":
        raise CannotCompileError("scaled in single precision")
    # Exactly these classes: a subclass may do anything in its own predict.
    kind = type(model)
    ensemble: Ensemble | None = None
    if kind in _FORESTS or kind in _TREES:
        compiled, ensemble = _forest(model, predict_fn)
    elif kind in (GradientBoostingClassifier, GradientBoostingRegressor):
        compiled, ensemble = _boosted(model, predict_fn)
    else:
        compiled = _linear(model, predict_fn)
    if ensemble is not None:
        limit = min(_NODES_LIMIT, (memory_limit() or 2**62) // _NODE_BYTES)
        if ensemble.nodes > limit:
            raise CannotCompileError(f"{ensemble.nodes} nodes are more than {limit}")
        compiled.trees = ensemble.serialize()
    compiled.scalings = scalings
    return compiled, [] if ensemble is None or scalings else ensemble.thresholds()


def _scaling(step: Any) -> list[Scaling]:
    if step is None or step == "passthrough":
        return []
    if type(step) is StandardScaler:
        found = []
        if step.with_mean:
            found.append(Scaling("subtract", np.asarray(step.mean_)))
        if step.with_std:
            found.append(Scaling("divide", np.asarray(step.scale_)))
        return found
    if type(step) is MinMaxScaler and not step.clip:
        return [Scaling("multiply", step.scale_), Scaling("add", step.min_)]
    if type(step) is MaxAbsScaler and not getattr(step, "clip", False):
        return [Scaling("divide", step.scale_)]
    raise CannotCompileError(f"the pipeline's step {type(step).__name__} is not known")


def _linear(model: Any, predict_fn: str) -> Compiled:
    kind = type(model)
    predict = getattr(kind, "predict", None)
    if predict is LinearClassifierMixin.predict:
        if kind.decision_function is not LinearClassifierMixin.decision_function:
            raise _unknown(model, predict_fn)
        weights = _dense(model.coef_.T if model.coef_.ndim == 2 else model.coef_)
        scores = weights.shape[1] if weights.ndim == 2 else 1
        intercept = np.asarray(model.intercept_)
        classes = _labels(model.classes_)
        if predict_fn == "predict":
            finish: Finish = "positive" if scores == 1 else "argmax"
            return Compiled("linear", finish, [], weights, intercept, classes=classes)
        if predict_fn == "predict_proba" and kind is LogisticRegression:
            finish = "sigmoid" if len(model.classes_) <= 2 else "softmax"
            return Compiled("linear", finish, [], weights, intercept)
    elif predict in _LINEAR_PREDICTS and predict_fn == "predict":
        weights = _dense(model.coef_ if model.coef_.ndim == 1 else model.coef_.T)
        return Compiled("linear", "scores", [], weights, np.asarray(model.intercept_))
    raise _unknown(model, predict_fn)


def _dense(weights: Any) -> Array:
    if not isinstance(weights, np.ndarray):
        raise CannotCompileError("sparse coefficients")
    return weights


def _labels(classes: Any) -> Array:
    labels = np.asarray(classes)
    if labels.dtype == object:
        if not all(isinstance(label, str) for label in labels):
            raise CannotCompileError("labels of mixed types")
        labels = labels.astype(np.str_)
    return labels


def _forest(model: Any, predict_fn: str) -> tuple[Compiled, Ensemble]:
    if model.n_outputs_ != 1:
        raise CannotCompileError("more than one output")
    single = type(model) in _TREES
    trees = [model.tree_] if single else [tree.tree_ for tree in model.estimators_]
    divisor = 1 if single else len(trees)
    if type(model) not in _CLASSIFIERS:
        if predict_fn != "predict":
            raise _unknown(model, predict_fn)
        ensemble = Ensemble(model.n_features_in_, 1)
        for tree in trees:
            ensemble.add(Tree.of(tree), tree.value[:, 0, 0], 0)
        return Compiled("trees", "mean", divisor=divisor), ensemble
    if predict_fn not in ("predict", "predict_proba"):
        raise _unknown(model, predict_fn)
    if single and predict_fn != "predict":
        raise _unknown(model, predict_fn)
    ensemble = Ensemble(model.n_features_in_, len(model.classes_))
    for tree in trees:
        ensemble.add_votes(Tree.of(tree), tree.value[:, 0, :])
    finish: Finish = "argmax" if predict_fn == "predict" else "scores"
    return Compiled("trees", finish, divisor=divisor, classes=_labels(model.classes_)), ensemble


def _boosted(model: Any, predict_fn: str) -> tuple[Compiled, Ensemble]:
    if predict_fn != "predict":
        raise _unknown(model, predict_fn)
    if type(model.init_).__name__ not in ("DummyClassifier", "DummyRegressor", "str"):
        raise CannotCompileError("a model of one's own to start from")
    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0]
    ensemble = Ensemble(model.n_features_in_, len(start))
    for target, score in enumerate(start):
        ensemble.add(Tree.leaf(), np.array([score]), target)
    for stage in model.estimators_:
        for target, tree in enumerate(stage):
            values = model.learning_rate * tree.tree_.value[:, 0, 0]
            ensemble.add(Tree.of(tree.tree_), values, target)
    if type(model) is GradientBoostingRegressor:
        return Compiled("trees", "mean"), ensemble
    finish: Finish = "not_negative" if len(start) == 1 else "argmax"
    return Compiled("trees", finish, classes=_labels(model.classes_)), ensemble


def _unknown(model: Any, predict_fn: str) -> CannotCompileError:
    return CannotCompileError(f"{type(model).__name__}.{predict_fn} is not known")
