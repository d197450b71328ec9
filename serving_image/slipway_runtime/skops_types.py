"""Which types a skops file may ask to be trusted without being as good as a pickle.

skops builds nothing but types it knows to be harmless, and those that whoever loads the file says
it trusts. MLflow takes that list from the model's own ``MLmodel``: a model that trusts
``os.system`` runs it. So the list is held against this one, of types whose construction does
nothing but keep numbers: scikit-learn's own classes, and what scikit-learn, XGBoost and LightGBM
models are made of. Everything else a model wants trusted counts as code.

Source: skops 0.16, ``skops.io``; what it does not trust by itself was found by saving every
estimator of scikit-learn 1.9.
"""

import re
from typing import Final

# Packages of estimators. Not among them: datasets and externals, which read files, and utils,
# which holds test helpers that run what they are given.
_PACKAGES: Final = (
    "calibration|cluster|compose|covariance|cross_decomposition|decomposition"
    "|discriminant_analysis|dummy|ensemble|feature_extraction|feature_selection|gaussian_process"
    "|impute|isotonic|kernel_approximation|kernel_ridge|linear_model|_loss|manifold|metrics"
    "|mixture|model_selection|multiclass|multioutput|naive_bayes|neighbors|neural_network|pipeline"
    "|preprocessing|random_projection|semi_supervised|svm|tree"
)
# Classes only, by the way they are written: a function is not built, but called.
SKLEARN_CLASS: Final = re.compile(rf"sklearn\.({_PACKAGES})(\.[a-z_0-9]+)*\._?[A-Z][A-Za-z0-9_]*")

HARMLESS: Final = frozenset(
    {
        "collections.Counter",
        "collections.OrderedDict",
        "collections.defaultdict",
        "datetime.date",
        "datetime.datetime",
        "datetime.timedelta",
        "datetime.timezone",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMModel",
        "lightgbm.sklearn.LGBMRanker",
        "lightgbm.sklearn.LGBMRegressor",
        "numpy.dtype",
        "numpy.max",
        "numpy.mean",
        "numpy.median",
        "numpy.min",
        "numpy.sum",
        "scipy.interpolate._bsplines.BSpline",
        "scipy.sparse._csc.csc_matrix",
        "scipy.sparse._csr.csr_matrix",
        "sklearn.cluster._kmeans._kmeans_single_elkan",
        "sklearn.cluster._kmeans._kmeans_single_lloyd",
        "sklearn.feature_selection._mutual_info.mutual_info_classif",
        "sklearn.feature_selection._mutual_info.mutual_info_regression",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBModel",
        "xgboost.sklearn.XGBRFClassifier",
        "xgboost.sklearn.XGBRFRegressor",
        "xgboost.sklearn.XGBRanker",
        "xgboost.sklearn.XGBRegressor",
    }
)


def is_harmless(name: object) -> bool:
    """Says whether ``name``, as in ``skops_trusted_types``, names a type of the list above."""
    return isinstance(name, str) and (name in HARMLESS or SKLEARN_CLASS.fullmatch(name) is not None)
