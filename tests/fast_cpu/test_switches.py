"""Every fast path has a switch that works, and gives with it on what it gives with it off."""

import copy
import re
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from trl.trainer.utils import FusedCausalLMOutput, add_fused_lm_head

from hfllm.fast_cpu import NAMES, SWITCH, is_on, stacked_muon
from hfllm.fast_cpu import shared_prefix as prefix
from hfllm.fast_cpu.decoding import rows_can_leave
from hfllm.fast_cpu.trained_head import score_trained_positions, why_kept
from hfllm.inference.generate import Generator
from hfllm.inference.logits import row_logits
from hfllm.inference.loglik import token_scores
from hfllm.modeling.batching import ScoringRequest

TESTS = Path(__file__).parents[1]
Case = namedtuple("Case", "run rtol atol")
FUSED = ("log_probs", "entropy", "is_top1")


def random_ids(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(7, 300, shape, generator=generator)


def count_tokens(model, work):
    """Append the (rows, columns) that the first layer is given, call by call."""
    model.model.layers[0].register_forward_hook(
        lambda _, args, __: work.append(tuple(args[0].shape[:2]))
    )


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def decoding(llama, bpe, work):
    """Greedy answers that end at different steps: their tokens."""
    torch.manual_seed(0)
    for parameter in llama.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    generator = Generator(llama, bpe, batch_size=6)
    prompts = [f"number {' and '.join(map(str, range(n)))}" for n in range(1, 7)]
    generator.stops[:] = False
    free = [answer.ids for answer in generator.answer(prompts, 12)]
    said = [token for ids in free for token in ids[2:9]]
    stop = next(t for t in said if 0 < sum(t in ids for ids in free) < 6)
    generator.stops[stop] = True
    count_tokens(llama, work)
    answers = generator.answer(prompts, 12)
    assert len({len(answer.ids) for answer in answers}) > 1
    return [torch.tensor(answer.ids) for answer in answers]


def shared_context(llama, _, work):
    """Choices behind one context: log-probabilities, and whether each token is the argmax."""
    context = random_ids(20).tolist()
    rows = [ScoringRequest(context + random_ids(n, seed=n).tolist(), 20) for n in (2, 5, 3, 4)]
    count_tokens(llama, work)
    return [tuple(scores) for scores in token_scores(llama.eval(), rows)]


def shared_prefix(llama, _, work):
    """Rows with a system prompt in common: hidden states and gradients."""
    ids = random_ids(4, 60)
    ids[:, :50] = ids[0, :50].clone()
    ids[:, 50] = torch.arange(4)
    count_tokens(llama, work)
    hidden, cut = prefix.last_hidden(llama.model, ids, keep=10)
    assert cut == (50 if is_on("shared_prefix") else 0)
    hidden[:, -10:].square().sum().backward()
    return hidden[:, -10:].detach(), gradients(llama)


def stacked(_, __, work):
    """Five steps on matrices of three shapes: the matrices."""
    params = [
        torch.nn.Parameter(random_ids(*shape, seed=i) / 300 - 0.5)
        for i, shape in enumerate([(24, 8)] * 4 + [(8, 24), (16, 16)])
    ]
    optimizer = stacked_muon.StackedMuon(params, lr=0.02, adjust_lr_fn="match_rms_adamw")
    whole = stacked_muon.orthogonal
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            stacked_muon, "orthogonal", lambda *args: work.append(len(args[0])) or whole(*args)
        )
        for step in range(5):
            for i, p in enumerate(params):
                p.grad = random_ids(*p.shape, seed=100 * step + i) / 300 - 0.5
            optimizer.step()
    moments = [optimizer.state[p]["momentum_buffer"] for p in params]
    return [p.detach() for p in params], moments


def trained_head(llama, _, work):
    """TRL's figures and gradients of a batch, and logits of scored tokens."""
    add_fused_lm_head(llama, outputs=FUSED)
    llama.lm_head.register_forward_hook(lambda _, args, __: work.append(args[0].shape[:-1].numel()))
    assert score_trained_positions(llama, FusedCausalLMOutput) is is_on("trained_head")
    ids = random_ids(3, 16)
    labels = torch.where(random_ids(3, 16, seed=1) < 150, ids, -100)
    out = llama(input_ids=ids, labels=labels, fused_lm_head=True)
    out.loss.backward()
    work.clear()  # trl's head is no module's call
    figures = [getattr(out, name).detach() for name in (*FUSED, "label_mask", "loss")]
    rows = [ScoringRequest(random_ids(n, seed=n).tolist(), n - 3) for n in (9, 14, 20)]
    return figures, gradients(llama), row_logits(llama, rows)


CASES = {
    "decoding": Case(decoding, 0, 0),
    "shared_context": Case(shared_context, 1e-5, 1e-5),
    "shared_prefix": Case(shared_prefix, 1e-3, 1e-4),
    "stacked_muon": Case(stacked, 0, 2e-3),  # bfloat16 inside; a step moves 0.1
    "trained_head": Case(trained_head, 1e-4, 1e-5),
}
ELSEWHERE = {"unpad": "rl"}  # folders of tests that turn the fast path off


@pytest.mark.parametrize("name", NAMES)
def test_with_the_switch_off_results_are_the_same_by_other_work(name, llama, bpe, monkeypatch):
    if name in ELSEWHERE:
        texts = [path.read_text() for path in (TESTS / ELSEWHERE[name]).glob("test_*.py")]
        assert any(f'"{name}"' in t and ("HFLLM_SLOW" in t or "SWITCH" in t) for t in texts)
        return
    case, found, work = CASES[name], {}, {}
    for value in ("", name, "all"):
        monkeypatch.setenv(SWITCH, value)
        work[value] = []
        found[value] = case.run(copy.deepcopy(llama), bpe, work[value])
    assert work[""] != work[name], "off, another way is taken"
    for value in (name, "all"):
        torch.testing.assert_close(found[""], found[value], rtol=case.rtol, atol=case.atol)


def test_off_no_row_leaves_and_generate_keeps_its_own_loop(llama, monkeypatch):
    assert rows_can_leave(llama)
    monkeypatch.setenv(SWITCH, "decoding")
    assert not rows_can_leave(llama)


def test_a_stopped_row_that_stays_does_not_exceed_the_positions(bpe, monkeypatch):
    monkeypatch.setenv(SWITCH, "decoding")
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(bpe), n_embd=32, n_layer=2, n_head=2, n_positions=48)
    model = GPT2LMHeadModel(config).eval()
    model.generation_config.eos_token_id = None
    generator = Generator(model, bpe)
    generator.stops[:] = False
    answers = generator.answer(["number " * 6, "a"], 100)
    assert {len(a.prompt_ids) + a.tokens for a in answers} == {48}
    assert answers[0].tokens < answers[1].tokens


def test_the_note_names_the_switch(llama, monkeypatch):
    monkeypatch.setenv(SWITCH, "trained_head")
    add_fused_lm_head(llama, outputs=FUSED)
    assert not score_trained_positions(llama, FusedCausalLMOutput)
    assert f"{SWITCH} names trained_head" in why_kept(llama)


def test_the_state_of_one_muon_serves_the_other(monkeypatch):
    made = []
    for off in ("stacked_muon", ""):
        monkeypatch.setenv(SWITCH, off)
        p = torch.nn.Parameter(torch.ones(4, 4))
        p.grad = random_ids(4, 4) / 300
        made.append(stacked_muon.StackedMuon([p], adjust_lr_fn="match_rms_adamw"))
        made[-1].step()
    theirs, ours = (optimizer.state_dict() for optimizer in made)
    assert theirs["param_groups"] == ours["param_groups"]
    torch.testing.assert_close(theirs["state"], ours["state"])
    made[1].load_state_dict(theirs)
    made[1].step()


@pytest.mark.parametrize(
    "value,off",
    [
        ("", set()),
        ("unpad", {"unpad"}),
        ("unpad, decoding", {"unpad", "decoding"}),
        ("unpad decoding,", {"unpad", "decoding"}),
        ("all", set(NAMES)),
    ],
)
def test_the_switch_turns_off_what_it_names(monkeypatch, value, off):
    monkeypatch.setenv(SWITCH, value)
    assert {name for name in NAMES if not is_on(name)} == off


def test_an_unknown_name_is_refused_in_one_line(monkeypatch):
    monkeypatch.setenv(SWITCH, "unpad,decodign")
    with pytest.raises(ValueError) as caught:
        is_on("stacked_muon")
    message = str(caught.value)
    assert "\n" not in message and message.startswith("HFLLM_SLOW: 'decodign' is no fast path")
    assert all(name in message for name in (*NAMES, "all"))
    assert message.endswith("Did you mean: 'decoding'?")


def test_every_fast_path_is_listed_in_the_docs():
    text = (TESTS.parent / "docs" / "fast-paths.md").read_text(encoding="utf-8")
    assert re.findall(r"^## `(\w+)`", text, flags=re.M) == list(NAMES)
