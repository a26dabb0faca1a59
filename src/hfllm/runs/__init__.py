"""The run folder: layout, manifests, fingerprints, the lock and the pipeline."""
