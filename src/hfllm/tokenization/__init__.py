"""Tokenizer training, chat templates, rendering with its loss mask, and encoding of text."""
