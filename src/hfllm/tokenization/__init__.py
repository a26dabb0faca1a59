"""Byte-level BPE, the chat template, encoding, and what a tokenizer does to text."""
