"""One module per stage: a typed config in, a trainer or an artifact out."""
