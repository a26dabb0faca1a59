"""Curation: raw documents -> clean documents; one module per block (filter, dedup, PII ...)."""
