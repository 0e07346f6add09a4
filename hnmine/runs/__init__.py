"""The pipeline from files to a written result, manifests and reproduction, the workspace and its jobs."""
