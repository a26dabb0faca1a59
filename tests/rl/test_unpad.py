"""Unpadding and repadding: every token once, in its row and column."""

import torch

from hfllm.rl.unpad import restore_order, sort_by_length, unpad, unpadded_chunks

PROMPTS, ANSWERS = [3, 1, 5, 2, 2], [2, 4, 1, 4, 0]  # tokens of five rows
P, T = 5, 4


def padded():
    """Ids (5, P + T), each its row's number in tens and its place in the row, and the mask."""
    ids, mask = torch.full((5, P + T), 99), torch.zeros((5, P + T), dtype=torch.long)
    for row, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        ids[row, P - prompt : P + answer] = 10 * row + torch.arange(prompt + answer)
        mask[row, P - prompt : P + answer] = 1
    return ids, mask


def test_rows_stand_flush_left_and_only_answers_are_labels():
    rows = unpad(*padded(), T)
    assert rows.ids.shape == (5, 6)  # the longest: 5 + 1 and 2 + 4 tokens
    for row, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        tokens = [10 * row + place for place in range(prompt + answer)]
        assert rows.ids[row, : prompt + answer].tolist() == tokens
        assert rows.mask[row].tolist() == [1] * len(tokens) + [0] * (6 - len(tokens))
        labels = [x for x in rows.labels[row].tolist() if x != -100]
        assert labels == tokens[prompt:]
        assert rows.labels[row, prompt : prompt + answer].tolist() == labels


def test_repad_puts_each_answers_tokens_into_their_places():
    ids, mask = padded()
    rows = unpad(ids, mask, T)
    written = mask[:, P:] > 0
    for given in (rows.ids, rows.ids[:, 1:], rows.ids[:, 2:]):  # a row of 1 + 4 tokens: 1 to spare
        found = rows.repad(given)
        starts = torch.tensor(PROMPTS) >= rows.ids.size(1) - given.size(1)  # nothing cut off
        assert torch.equal((found * written)[starts], (ids[:, P:] * written)[starts])
        assert found.shape == (5, T)


def test_repad_carries_the_gradient():
    x = torch.ones((5, 5), requires_grad=True)
    ids, mask = padded()
    (unpad(ids, mask, T).repad(x) * mask[:, P:]).sum().backward()
    assert x.grad.sum() == sum(ANSWERS)


def test_chunks_hold_every_row_once_and_the_short_ones_together():
    ids, mask = padded()
    chunks = list(unpadded_chunks(ids, mask, T, 2))
    assert sorted(i for numbers, _ in chunks for i in numbers.tolist()) == [0, 1, 2, 3, 4]
    assert [rows.ids.size(1) for _, rows in chunks] == [5, 6, 6]
    assert sum(rows.ids.numel() for _, rows in chunks) < mask.numel()
    assert all(torch.equal(rows.mask.sum(1), mask[numbers].sum(1)) for numbers, rows in chunks)
    whole = restore_order([(numbers, rows.repad(rows.ids)) for numbers, rows in chunks])
    written = mask[:, P:] > 0
    assert torch.equal(whole * written, ids[:, P:] * written)


def test_the_rows_of_a_step_are_put_in_order_of_length_with_all_that_is_theirs():
    ids, mask = padded()
    rows = torch.tensor([2, 1, 0, 3])  # of 6, 5, 5 and 6 tokens

    def batch(numbers):
        parts = {"prompt_mask": mask[numbers, :P], "completion_mask": mask[numbers, P:]}
        names = [str(int(number)) for number in numbers]
        return {
            **parts,
            "ids": ids[numbers],
            "number": numbers,
            "names": names,
            "tokens": torch.tensor(7),
        }

    whole = [batch(rows[:2]), batch(rows[2:])]
    found = sort_by_length(whole, together=2)
    assert [part["number"].tolist() for part in found] == [[1, 0], [2, 3]]
    for part in found:
        assert torch.equal(part["ids"], ids[part["number"]])
        assert torch.equal(part["completion_mask"], mask[part["number"], P:])
        assert part["tokens"] == 7 and part["names"] == list(map(str, part["number"].tolist()))
    apart = sort_by_length(whole, together=1)
    assert [part["number"].tolist() for part in apart] == [[1, 2], [0, 3]]
