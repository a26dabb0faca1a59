"""Which answers are chosen, on scores written by hand; how functions' scores are added."""

import pytest

from hfllm.rl.best_answers import Rules, SampledAnswer, choose_answers, why_left_out
from hfllm.rl.score_answers import AnswerScorer


def answer(score, text=None, ended=True, control=False):
    said = f"said {score}" if text is None else text
    return SampledAnswer(said, 3, ended, control, score, {"pays": score})


GROUPS = [
    [answer(1.0), answer(3.0), answer(2.0)],
    [answer(2.0, "a"), answer(2.0, "b")],
    [answer(5.0, ended=False), answer(0.5), answer(0.0)],
    [answer(None), answer(7.0, control=True), answer(9.0, " ")],
    [answer(4.0, "same"), answer(4.0 + 1e-7, "same ")],
]


def test_best_and_worst_are_chosen_and_every_other_prompt_has_a_reason():
    chosen = choose_answers(GROUPS, Rules())
    assert chosen.chats == {0: 1, 1: 0, 2: 1, 4: 1}
    assert chosen.pairs == {0: (1, 0), 2: (1, 2)}
    assert chosen.no_chat == {"no usable answer": 1}
    assert chosen.no_pair == {"equal scores": 2, "fewer than two usable answers": 1}
    assert chosen.left_out == {"unended": 1, "unscored": 1, "control_tokens": 1, "empty": 1}
    assert why_left_out(GROUPS[2][0], Rules(keep_unended=True)) is None


def test_rules_leave_out_what_they_say():
    assert choose_answers(GROUPS, Rules(keep_unended=True)).chats[2] == 0
    best = choose_answers(GROUPS, Rules(min_score=3.0))
    assert best.chats == {0: 1, 4: 1} and best.no_chat["below min_score"] == 2
    half = choose_answers(GROUPS, Rules(top=0.5))
    assert half.chats == {0: 1, 4: 1} and half.no_chat["not in top"] == 2
    far = choose_answers(GROUPS, Rules(min_margin=1.0))
    assert far.pairs == {0: (1, 0)} and far.no_pair["below min_margin"] == 1


def pays_two(completions, **_):
    return [2.0] * len(completions)


def pays_some(completions, answer, log_metric, **_):
    log_metric("share", 0.25)
    return answer


async def waits(completions, trainer_state, **_):
    return [float(trainer_state.global_step)] * len(completions)


def test_scores_are_the_weighted_sums_of_what_is_scored():
    scorer = AnswerScorer([pays_two, pays_some, waits, waits], [1.0, 10.0, 1.0, 1.0])
    rows = [{"prompt": [{"role": "user", "content": "?"}], "answer": one} for one in (3.0, None)]
    found = scorer(rows, ["x", "y"], [[1], [2]])
    assert [one.score for one in found] == [32.0, 2.0]
    assert list(found[0].by_function) == ["pays_two", "pays_some", "waits", "waits_2"]
    assert found[1].by_function["pays_some"] is None and scorer.logged == {"share": [0.25]}
    (none,) = AnswerScorer([pays_some], None)(rows[1:], ["y"], [[2]])
    assert none.score is None


def test_a_score_that_is_no_number_is_one_line():
    def broken(completions, **_):
        return [float("nan")] * len(completions)

    with pytest.raises(ValueError, match="reward function broken gave nan"):
        AnswerScorer([broken], None)([{"prompt": [{"content": "?"}]}], ["x"], [[1]])
