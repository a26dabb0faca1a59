"""The kinds of held-out tests, one module each, with one of two interfaces (run.py lists them).

- `score(tested, name, spec) -> (results, items)`: rows are scored by likelihood (bits_per_byte,
  choices, continuation) or by the reward model (preference). An item is the record of one row, a
  line of items.jsonl.
- `ask(tested, task, spec) -> samples` and `summarize(samples) -> results`: the model answers and
  the answers are graded (answers, replies, instructions, ifeval). They are two functions because
  rewards and relevance are added between them, and because best-of-n calls `ask` alone.

`name` and `task` are the task's name in the recipe; results of a subset of its rows are called
`name/subset`.
"""
