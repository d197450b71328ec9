"""Kubernetes manifests as plain data.

Pure functions: they import no Pulumi, need no cluster, and return what `kubectl apply` would
take. A `Text` may be a Pulumi Output of a string; the builders place it and never look inside.
"""
