"""The run folder and how steps are run: layout, manifests, fingerprints, lock, pipeline."""
