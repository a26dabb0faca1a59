"""Raw documents -> clean documents, one block a file."""
