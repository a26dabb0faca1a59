"""Answers from model folders: batched generation and chat."""
