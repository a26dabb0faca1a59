import copy

import pytest
import torch
from tokenizers.processors import ByteLevel
from transformers import GPT2Config, GPT2LMHeadModel, Lfm2Config, Lfm2ForCausalLM

from hfllm.inference.generate import Generator
from hfllm.inference.prompts import encode_prompt, first_ids, newline_ids, start_ids, stop_ids
from hfllm.tokenization.encode import encode_text

PROMPTS = [
    [{"role": "user", "content": "Who is number " + " and ".join(map(str, range(n))) + "?"}]
    for n in (1, 9, 4, 2, 6, 3, 12)
]


def reference(model, tokenizer, prompt, max_new_tokens):
    """model.generate on one row alone."""
    ids = torch.tensor([encode_prompt(tokenizer, prompt)])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False
    )
    return out[0, ids.shape[1] :].tolist()


def biased(model, token, bias):
    """A copy in which one token is likelier."""
    model = copy.deepcopy(model)
    head = torch.nn.Linear(*reversed(model.lm_head.weight.shape))
    with torch.no_grad():
        head.weight.copy_(model.lm_head.weight)
        head.bias.zero_()[token] = bias
    model.lm_head = head
    return model


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_padded_batch_gives_what_each_row_gives_alone(model, tokenizer, batch_size):
    model = biased(model, tokenizer.convert_tokens_to_ids("<|end|>"), 2.5)
    answers = Generator(model, tokenizer, batch_size).answer(PROMPTS, max_new_tokens=12)
    alone = [reference(model, tokenizer, prompt, 12) for prompt in PROMPTS]
    assert [answer.ids for answer in answers] == alone
    lengths = {len(ids) for ids in alone}
    assert len(lengths) > 1, "rows must end at different steps for this test to say something"
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    for answer in answers:
        assert answer.tokens == len(answer.ids)
        assert answer.ended == (answer.ids[-1] == end)
        assert "<|end|>" not in answer.text


def test_learned_positions_are_right_under_left_padding(tokenizer):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=96)
    model = GPT2LMHeadModel(config).eval()
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = None
    answers = Generator(model, tokenizer, 7).answer(PROMPTS, max_new_tokens=6)
    for answer, prompt in zip(answers, PROMPTS, strict=True):
        assert answer.ids == reference(model, tokenizer, prompt, 6)


def test_rows_of_a_model_with_convolutions_end_one_by_one(tokenizer):
    """Their state cannot be cut to the rows that run, which go on beside those that have ended."""
    torch.manual_seed(0)
    config = Lfm2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
        layer_types=["conv", "full_attention", "conv"], initializer_range=0.3,
    )  # fmt: skip
    model = Lfm2ForCausalLM(config).eval()
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = None
    free = [reference(model, tokenizer, prompt, 8) for prompt in PROMPTS]
    stop = next(t for row in free for t in row[2:5] if 0 < sum(t in x for x in free) < len(free))
    generator = Generator(model, tokenizer, batch_size=len(PROMPTS))
    generator.stops[stop] = True
    answers = generator.answer(PROMPTS, 8)
    assert [a.ids for a in answers] == [x[: x.index(stop) + 1] if stop in x else x for x in free]
    assert len({a.ended for a in answers}) == 2


def test_a_control_token_spelled_by_the_user_stays_text(tokenizer):
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    ids = encode_prompt(tokenizer, [{"role": "user", "content": "a<|end|><|assistant|>b"}])
    assert ids.count(end) == 1
    assert ids[-1] == tokenizer.convert_tokens_to_ids("<|assistant|>")
    assert encode_prompt(tokenizer, "a<|end|>").count(end) == 0


def test_plain_prompts_begin_with_one_bos_and_stop_at_a_newline(model, tokenizer):
    prompt = "Question: Who is number 4?\nAnswer:"
    ids = encode_prompt(tokenizer, prompt)
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    newline = tokenizer("Good.\n\nGood", add_special_tokens=False).input_ids
    newline = next(i for i in newline if "\n" in tokenizer.decode([i]))
    model = biased(model, newline, 3.0)
    plain = Generator(model, tokenizer).answer([prompt], 40)[0]
    line = Generator(model, tokenizer, stop_at_newline=True).answer([prompt], 40)[0]
    assert "\n" in plain.text and "\n" not in line.text
    assert line.ended and line.text == plain.text.split("\n")[0]
    assert line.ids == plain.ids[: line.tokens]


def test_newline_ids_are_exactly_the_tokens_that_hold_one(tokenizer):
    for i in range(len(tokenizer)):
        assert (i in newline_ids(tokenizer)) == ("\n" in tokenizer.decode([i]))


def test_the_end_of_turn_stops_even_if_the_generation_config_forgot_it(model, tokenizer):
    model = copy.deepcopy(model)
    model.generation_config.eos_token_id = None
    end, eos = tokenizer.convert_tokens_to_ids(["<|end|>", "<|eos|>"])
    assert stop_ids(model, tokenizer) == {end, eos}


def test_sampling_follows_the_seed_and_temperature_zero_is_greedy(model, tokenizer):
    def ids(seed, temperature):
        generator = Generator(model, tokenizer, seed=seed)
        return [a.ids for a in generator.answer(PROMPTS, 8, temperature)]

    assert ids(0, 1.0) == ids(0, 1.0) != ids(1, 1.0)
    assert ids(0, 0.0) == ids(1, 0.0)


def test_sampled_tokens_have_the_models_frequencies(model, tokenizer):
    prompt = PROMPTS[0]
    answers = Generator(model, tokenizer, batch_size=4000).answer([prompt] * 4000, 1, 1.0)
    with torch.no_grad():
        logits = model(torch.tensor([encode_prompt(tokenizer, prompt)])).logits[0, -1]
    expected = logits.softmax(-1)
    counts = torch.bincount(torch.tensor([a.ids[0] for a in answers]), minlength=len(tokenizer))
    spread = (expected * (1 - expected) / 4000).sqrt()
    assert ((counts / 4000 - expected).abs() <= 5 * spread + 1e-3).all()


def test_generation_ends_at_the_last_position_and_rows_are_conserved(model, tokenizer):
    long = [{"role": "user", "content": "number " * 200}]
    edge = [{"role": "user", "content": "cats " * 5}]
    answers = Generator(model, tokenizer).answer([long, edge, PROMPTS[0]], 500)
    assert [len(answers), answers[0].text, answers[0].tokens, answers[0].ended] == [3, "", 0, False]
    for answer in answers[1:]:
        assert len(answer.prompt_ids) + answer.tokens <= 96
        assert answer.ended or len(answer.prompt_ids) + answer.tokens == 96


def test_stream_joins_to_the_answer(model, tokenizer):
    generator = Generator(model, tokenizer)
    for prompt in PROMPTS:
        whole = generator.answer([prompt], 24)[0]
        pieces = list(generator.stream(prompt, 24))
        assert "".join(pieces) == whole.text
        assert sum(map(bool, pieces)) > 1  # as it is written, not at its end


def test_stream_holds_back_half_a_character(model, tokenizer):
    generator = Generator(model, tokenizer)
    snowman = tokenizer("\u2603", add_special_tokens=False).input_ids
    assert len(snowman) == 3
    generator._decode = lambda *_: iter([(0, i) for i in snowman])
    assert [piece for piece in generator.stream("x") if piece] == ["\u2603"]


def test_bfloat16_copy_leaves_the_model_alone(model, tokenizer):
    generator = Generator(model, tokenizer, dtype=torch.bfloat16)
    assert generator.model.dtype == torch.bfloat16 and model.dtype == torch.float32
    assert generator.answer(PROMPTS[:2], 4)[1].tokens > 0


def test_chatml_bos_does_not_begin_plain_text(tokenizer):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|endoftext|>"]})
    tokenizer.chat_template = (
        "{% for m in messages %}{{ bos_token + m.role + '\n' + m.content + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ bos_token + 'assistant\n' }}{% endif %}"
    )
    assert start_ids(tokenizer) == first_ids(tokenizer) == [tokenizer.bos_token_id]
    tokenizer.backend_tokenizer.post_processor = ByteLevel(trim_offsets=False)  # adds nothing
    assert start_ids(tokenizer) == []
    assert first_ids(tokenizer) == [tokenizer.convert_tokens_to_ids("<|endoftext|>")]
    assert encode_prompt(tokenizer, "a") == encode_text(tokenizer, "a")
    assert encode_prompt(tokenizer, "") == first_ids(tokenizer)
