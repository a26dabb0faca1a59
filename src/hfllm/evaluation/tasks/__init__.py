"""The kinds of tests, one a module, each of one of two shapes (run.py has the table).

- `score(tested, name, spec) -> (results, items)`: rows are scored by the model's likelihoods
  (bits_per_byte, choices, continuation) or by the reward model (preference). An item is a record
  of one row, a line of items.jsonl.
- `ask(tested, name, spec) -> samples` and `summarize(samples) -> results`: the model answers, and
  the answers are marked (answers, replies, instructions, ifeval). They are apart because rewards
  and relevance are added between them, and because best of n asks by itself.

`name` is the task's in the recipe; results of a subset of its rows are called `name/subset`.
"""
