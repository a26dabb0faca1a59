"""Data: read sources into examples, curate documents, pack training rows, count all in a ledger."""
