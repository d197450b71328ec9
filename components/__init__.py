"""The parts of Slipway, one ComponentResource a file.

Each takes its name, one Args value and ResourceOptions; bring the providers by `providers`.
Children are named after their parent, and only leaf modules of pulumi_kubernetes are imported:
the whole package costs over a second.
"""

from .activator import Activator, ActivatorArgs
from .artifact_bucket import ArtifactBucket, ArtifactBucketArgs, BucketKeys, bucket_of
from .common_labels import label_all
from .gpu_support import GpuSupport, GpuSupportArgs, gpu_pool, gpu_support
from .isolated_namespace import IsolatedNamespace, IsolatedNamespaceArgs
from .istio_mesh import IstioMesh, IstioMeshArgs
from .keda import Keda, KedaArgs
from .mlflow_backups import MlflowBackups, MlflowBackupsArgs
from .mlflow_database import GivenDatabase, GivenDatabaseArgs
from .mlflow_server import MlflowServer, MlflowServerArgs
from .mlflow_sign_in import MlflowSignIn, MlflowSignInArgs
from .model_route import ModelRoute, ModelRouteArgs, model_output
from .model_server import ModelServer, ModelServerArgs, Store, Surroundings
from .observability import Observability, ObservabilityArgs, scraper
from .options import by
from .served_models import serve
from .serving_image import ServingImage, ServingImageArgs, serving_images
from .shadow_comparer import ShadowComparer, ShadowComparerArgs
from .sidecars import Sidecars
from .tracking import tracking
from .training_job import DEMO_VERSIONS, TrainingJob, TrainingJobArgs

__all__ = [
    "Activator",
    "ActivatorArgs",
    "ArtifactBucket",
    "ArtifactBucketArgs",
    "BucketKeys",
    "DEMO_VERSIONS",
    "GivenDatabase",
    "GivenDatabaseArgs",
    "GpuSupport",
    "GpuSupportArgs",
    "IsolatedNamespace",
    "IsolatedNamespaceArgs",
    "IstioMesh",
    "IstioMeshArgs",
    "Keda",
    "KedaArgs",
    "MlflowBackups",
    "MlflowBackupsArgs",
    "MlflowServer",
    "MlflowServerArgs",
    "MlflowSignIn",
    "MlflowSignInArgs",
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
    "Sidecars",
    "Store",
    "Surroundings",
    "TrainingJob",
    "TrainingJobArgs",
    "bucket_of",
    "by",
    "gpu_pool",
    "gpu_support",
    "label_all",
    "model_output",
    "scraper",
    "serve",
    "serving_images",
    "tracking",
]
