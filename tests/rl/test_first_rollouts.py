"""A run whose first rollouts teach nothing says so once, and goes on."""

from types import SimpleNamespace

import pytest
import torch

from hfllm.rl.first_rollouts import FirstRollouts

NAN = float("nan")
EQUAL = "all rewards of the first 2 rollouts are equal "
UNENDED = "no answer of the first 2 rollouts ended within 32 tokens: each pays"
ARGS = SimpleNamespace(max_completion_length=32, missing_eos_penalty=1.0)


@pytest.mark.parametrize(
    ("scores", "ended", "words"),
    [
        ([[-1, -1], [-1, NAN]], [[1, 0], [0, 0]], [EQUAL + "(-1)"]),
        ([[-1, -1], [-1, 0]], [[1, 0], [0, 0]], []),
        ([[-1, 1], [2, 3]], [[0, 0], [0, 0]], [UNENDED]),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]], ["no answer", EQUAL + "(0)"]),
        ([[NAN, NAN], [NAN, NAN]], [[1, 1], [1, 1]], []),
        ([[0, 0]], [[0, 0]], []),
    ],
)  # fmt: skip
def test_equal_rewards_and_answers_without_an_end_are_said_once(scores, ended, words):
    said = []
    first = FirstRollouts(lambda x: x, said.append)
    for _ in range(3 if len(scores) > 1 else 1):  # later rollouts are not looked at
        for one, end in zip(scores, ended, strict=True):
            first.see(torch.tensor(one, dtype=torch.float32), torch.tensor(end), ARGS, True)
    assert len(said) == len(words)
    assert all(line.startswith(word) for line, word in zip(said, words, strict=True))


def test_a_trainer_notes_it(build, capsys):
    trainer = build(max_steps=4, num_iterations=1, max_completion_length=1)
    trainer.train()
    (note,) = [note for note in trainer.notes if "ended within 1 tokens" in note]
    assert capsys.readouterr().out.count(note) == 1
