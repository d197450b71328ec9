"""The parts of Slipway, one ComponentResource a file.

Each takes its name, one Args value and ResourceOptions; bring the providers by `providers`.
Children are named after their parent, and only leaf modules of pulumi_kubernetes are imported:
the whole package costs over a second.
"""

from .activator import Activator, ActivatorArgs
from .artifact_bucket import ArtifactBucket, ArtifactBucketArgs, BucketKeys
from .common_labels import label_all
from .isolated_namespace import IsolatedNamespace, IsolatedNamespaceArgs
from .istio_mesh import IstioMesh, IstioMeshArgs
from .keda import Keda, KedaArgs
from .mlflow_server import MlflowServer, MlflowServerArgs
from .model_route import ModelRoute, ModelRouteArgs, model_output
from .model_server import ModelServer, ModelServerArgs, Surroundings
from .observability import Observability, ObservabilityArgs, scraper
from .serving_image import ServingImage, ServingImageArgs
from .shadow_comparer import ShadowComparer, ShadowComparerArgs
from .training_job import DEMO_VERSIONS, TrainingJob, TrainingJobArgs

__all__ = [
    "Activator",
    "ActivatorArgs",
    "ArtifactBucket",
    "ArtifactBucketArgs",
    "BucketKeys",
    "DEMO_VERSIONS",
    "IsolatedNamespace",
    "IsolatedNamespaceArgs",
    "IstioMesh",
    "IstioMeshArgs",
    "Keda",
    "KedaArgs",
    "MlflowServer",
    "MlflowServerArgs",
    "ModelRoute",
    "ModelRouteArgs",
    "ModelServer",
    "ModelServerArgs",
    "Observability",
    "ObservabilityArgs",
    "ServingImage",
    "ServingImageArgs",
    "ShadowComparer",
    "ShadowComparerArgs",
    "Surroundings",
    "TrainingJob",
    "TrainingJobArgs",
    "label_all",
    "model_output",
    "scraper",
]
