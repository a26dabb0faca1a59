"""metrics.jsonl over a resume, and stopping on a signal."""

import json
import signal
from types import SimpleNamespace

import pytest
import torch

from hfllm.stages.sft import STAGE
from hfllm.training import callbacks
from hfllm.training.callbacks import MetricsLog, SampleText, StopOnSignal, truncate_metrics


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_beyond_the_checkpoint_and_half_lines_are_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": s, "time_s": s * 1.5, "loss": 9.0 - s} for s in range(1, 7)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"step": 7, "ti')
    assert truncate_metrics(path, 4) == 6.0  # seconds that the kept ones had come to
    assert lines(path) == rows[:4]
    assert truncate_metrics(path, 0) == 0.0
    assert path.read_text() == ""
    assert truncate_metrics(tmp_path / "none", 3) == 0.0


def state(step, **changes):
    values = {"global_step": step, "max_steps": 9, "is_world_process_zero": True, **changes}
    return SimpleNamespace(**values)


ARGS = SimpleNamespace(disable_tqdm=True)


def test_every_number_is_kept_with_step_time_and_rate(tmp_path, capsys, monkeypatch):
    clock = iter([0.0, 0.0, 2.0, 2.0, 2.5, 5.0, 5.0, 6.0])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(clock, 6.0))
    log = MetricsLog(tmp_path / "m.jsonl", "sft", STAGE.console, tokens_per_step=100)
    log.on_train_begin(ARGS, state(0), None)
    log.on_log(ARGS, state(4), None, logs={"loss": 2.0, "text": "left out", "grad_norm": 1})
    first = lines(tmp_path / "m.jsonl")[0]
    assert first["step"] == 4
    assert first["tokens_per_s"] == 200.0  # 4 x 100 in 2 s
    assert set(first) == {"step", "time_s", "loss", "grad_norm", "tokens_per_s"}
    assert "step     4/9" in capsys.readouterr().out


def test_what_is_not_finite_is_shown_and_the_file_stays_json(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl", "sft", STAGE.console)
    log.on_log(ARGS, state(1), None, logs={"loss": float("nan"), "grad_norm": float("inf")})
    row = json.loads((tmp_path / "m.jsonl").read_text(), parse_constant=lambda _: 1 / 0)
    assert (row["loss"], row["grad_norm"]) == ("nan", "inf")


def test_another_rank_writes_nothing(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl", "sft", STAGE.console)
    log.on_log(ARGS, state(1, is_world_process_zero=False), None, logs={"loss": 1.0})
    assert not (tmp_path / "m.jsonl").exists()


@pytest.fixture()
def stop(monkeypatch):
    stop = StopOnSignal()
    stop.now = 100.0
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: stop.now)
    stop.on_train_begin(None, state(0), None)
    yield stop
    stop.on_train_end(None, state(1), None)


def ended(stop):
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    stop.on_step_end(None, state(1), control)
    assert control.should_save == control.should_training_stop
    return control.should_training_stop


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_after_the_step_with_its_code(stop, number, code):
    assert not ended(stop)
    stop.exit_if_stopped()
    signal.raise_signal(number)
    assert ended(stop)
    with pytest.raises(SystemExit) as caught:
        stop.exit_if_stopped()
    assert caught.value.code == code


def test_the_same_order_passed_on_twice_is_one_and_a_later_one_is_at_once(stop):
    signal.raise_signal(signal.SIGTERM)
    stop.now += 1.0
    signal.raise_signal(signal.SIGTERM)  # a scheduler and a launcher both
    assert ended(stop)
    stop.now += 1.5
    with pytest.raises(SystemExit) as caught:
        signal.raise_signal(signal.SIGINT)
    assert caught.value.code == 130


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    stop = StopOnSignal()
    stop.on_train_begin(None, state(0), None)
    assert signal.getsignal(signal.SIGTERM) == stop._on_signal
    stop.on_train_end(None, state(1), None)
    assert signal.getsignal(signal.SIGTERM) == before


class Ranks:
    """Stands for torch.distributed: what the other ranks had received, and what comes meanwhile."""

    def __init__(self, monkeypatch):
        self.others, self.meanwhile = 0, None
        monkeypatch.setattr(callbacks.torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(callbacks.torch.distributed, "all_reduce", self.all_reduce)

    def all_reduce(self, found, op):
        assert op == callbacks.torch.distributed.ReduceOp.MAX
        if self.meanwhile:
            signal.raise_signal(self.meanwhile)
        found.fill_(max(found.item(), self.others))


def test_a_signal_while_the_ranks_meet_counts_at_the_next_meeting(stop, monkeypatch):
    """The other ranks have gone on: this one alone would stop, and they would wait for ever."""
    ranks = Ranks(monkeypatch)
    ranks.meanwhile = signal.SIGTERM
    assert not ended(stop)
    ranks.meanwhile = None
    assert ended(stop)


def test_one_ranks_signal_stops_all_with_the_same_code(stop, monkeypatch):
    ranks = Ranks(monkeypatch)
    assert not ended(stop)
    stop.exit_if_stopped()
    ranks.others = int(signal.SIGTERM)
    assert ended(stop)
    with pytest.raises(SystemExit) as caught:
        stop.exit_if_stopped()
    assert caught.value.code == 143


def test_a_signal_after_the_last_step_ends_every_rank_or_none(stop, monkeypatch):
    ranks = Ranks(monkeypatch)
    assert not ended(stop)
    ranks.others = int(signal.SIGINT)  # another rank's, before the model is saved
    with pytest.raises(SystemExit) as caught:
        stop.exit_if_stopped()
    assert caught.value.code == 130


class Words:
    """A tokenizer of which a text's ids are its numbers."""

    def __call__(self, text, **_):
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, ids, **_):
        return " ".join(map(str, ids))


@pytest.mark.parametrize(
    ("eos", "text"), [(0, "3 0"), ([0, 2], "3 0"), (2, "3 0 2"), (None, "3 0 2 1")]
)
def test_a_sample_text_ends_at_the_models_end_whatever_its_id(tmp_path, monkeypatch, eos, text):
    """Pythia and SmolLM2 end with the token 0."""
    monkeypatch.setattr(callbacks, "positions", lambda _: 100)
    monkeypatch.setattr(callbacks, "separators", lambda _: SimpleNamespace(before=[]))

    def decode(model, prompts, most, best, is_done):
        for token in (3, 0, 2, 1):
            yield 0, token
            if is_done(torch.tensor([0]), torch.tensor([token]), torch.tensor([0])).all():
                return

    monkeypatch.setattr(callbacks, "way_of", lambda _: decode)
    model = torch.nn.Module()
    model.device, model.generation_config = "cpu", SimpleNamespace(eos_token_id=eos)
    sample = SampleText(["1"], Words(), tmp_path / "samples.jsonl")
    args = SimpleNamespace(deepspeed_plugin=None, fsdp="")
    sample.on_evaluate(args, state(1), None, model=model)
    (row,) = lines(tmp_path / "samples.jsonl")
    assert row["text"] == text
