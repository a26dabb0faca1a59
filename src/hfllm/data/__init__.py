"""Rows in, training rows out: reading, curation, chats, pairs, packing, mixtures, the ledger."""
