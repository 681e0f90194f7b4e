"""Training: resumed equals uninterrupted, damaged checkpoints are not used, divergence stops."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from factloop import hardware
from factloop.base import from_encoder, from_scratch
from factloop.seq2seq import SEP, Seq2Seq
from factloop.settings import Network, TrainingSettings, Window
from factloop.training import TrainingDiverged, fit
from factloop.training.checkpoints import load_checkpoint, save_checkpoint
from factloop.training.fit import batches, make_optimizers
from factloop.training.muon import Muon
from factloop.training.pairs import train_pairs

FIT = sys.modules["factloop.training.fit"]  # the package has a function of that name

TEXTS = [f"Mara Velling wrote book number {n} in {1960 + n}. Jonas Falk did not." for n in range(40)]
PAIRS = [([text], [text.split(". ")[0] + "."]) for text in TEXTS]


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Where the order of sums could differ between two runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


class Quiet:
    name = "test"

    def __init__(self) -> None:
        self.seen: list[tuple[int, dict[str, float]]] = []

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.seen.append((step, metrics))


class Killed(BaseException):
    pass


def tiny(seed: int = 0) -> Seq2Seq:
    return from_scratch(TEXTS, Network(16, 1, 1, 2, 500), Window(32, 32), seed)


def weights(model: Seq2Seq) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.model.named_parameters()}


@pytest.mark.invariant
@pytest.mark.parametrize(("muon", "bf16"), [(0.0, False), (0.01, False), (0.0, True)])
@pytest.mark.parametrize("killed_after", [4, 7, 10])
def test_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, muon: float, bf16: bool, killed_after: int
) -> None:
    monkeypatch.setattr(FIT, "multiplies_bf16", lambda device: True)  # if slowly
    settings = TrainingSettings(steps=10, batch_size=8, learning_rate=1e-3, warmup=2, checkpoint_every=3, muon=muon, bf16=bf16)
    whole, parts = tiny(), tiny()
    curve = train_pairs(whole, PAIRS, settings, 1, tmp_path / "whole", Quiet())

    class Dies(Quiet):
        def log(self, metrics: dict[str, float], step: int) -> None:
            if step == killed_after:
                raise Killed

    with pytest.raises(Killed):
        train_pairs(parts, PAIRS, settings, 1, tmp_path / "parts", Dies())
    fresh = tiny(seed=99)  # the checkpoint alone must bring everything back
    again = Quiet()
    assert train_pairs(fresh, PAIRS, settings, 1, tmp_path / "parts", again) == curve
    assert min(step for step, _ in again.seen) > (killed_after - 1) // 3 * 3  # it did go on, not begin anew
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(fresh)[name]), name


@pytest.mark.unit
@pytest.mark.invariant
def test_gradients_of_states_that_several_targets_share_are_the_same_every_time(tmp_path: Path) -> None:
    """Threads that add to one place in any order gave another model one time in ten, on a busy machine."""
    torch.use_deterministic_algorithms(False)
    states = torch.nn.Parameter(torch.randn(8, 60, 48))
    owner, values = torch.arange(31) // 4, torch.randn(31, 60, 48)
    seen: set[bytes] = set()
    states.register_hook(lambda gradient: seen.add(gradient.numpy().tobytes()))
    settings = TrainingSettings(steps=300, batch_size=1, learning_rate=0.0, checkpoint_every=1000)
    fit(torch.nn.ParameterList([states]), lambda batch: {"loss": (states[owner] * values).sum()}, [0], [1], settings, 0, tmp_path, Quiet())
    assert len(seen) == 1 and torch.are_deterministic_algorithms_enabled()


def test_bf16_is_close_to_float32_and_float32_where_the_machine_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = []
    for bf16, fast in ((False, True), (True, True), (True, False)):
        monkeypatch.setattr(FIT, "multiplies_bf16", lambda device, fast=fast: fast)
        settings = TrainingSettings(steps=10, batch_size=8, learning_rate=1e-3, warmup=2, bf16=bf16)
        model = tiny()
        losses.append(train_pairs(model, PAIRS, settings, 1, tmp_path / f"{bf16}-{fast}", Quiet())[-1]["loss"])
        assert {value.dtype for value in weights(model).values()} == {torch.float32}
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[2] == losses[0]


def test_hardware_for_bf16_is_read_from_the_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (text, has) in enumerate([
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16 fma\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("model name\t: the bf16 one\nflags\t\t: fpu avx2 avx512f\n", False),
    ]):  # fmt: skip
        (tmp_path / str(number)).write_text(text)
        monkeypatch.setattr(hardware, "CPUINFO", tmp_path / str(number))
        assert hardware.multiplies_bf16.__wrapped__("cpu") is has
        assert hardware.multiplies_bf16.__wrapped__("cuda:0")


@pytest.mark.invariant
def test_muon_is_that_of_torch_but_for_its_rounding() -> None:
    ends = []
    for kind in (torch.optim.Muon, Muon, functools.partial(Muon, bf16=True)):
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in [(24, 24), (24, 24), (24, 60), (60, 24)]]
        optimizer = kind(parameters, lr=0.02, weight_decay=0.1)
        for _ in range(20):
            for parameter in parameters[:-1]:  # the last has no gradient
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        ends.append([parameter.detach() for parameter in parameters])
    torch.manual_seed(0)
    start = torch.randn(24, 24)
    theirs, *ours = ends
    assert (theirs[0] - start).abs().max() > 0.1
    assert not torch.equal(ours[0][0], ours[1][0])  # one in float32, one in bfloat16
    for own in ours:
        for one, other in zip(own, theirs, strict=True):
            assert torch.allclose(one, other, atol=2e-3)


@pytest.mark.invariant
def test_a_batch_in_parts_is_the_batch_and_epochs_are_steps(tmp_path: Path) -> None:
    whole, parts = tiny(), tiny()
    lengths = [len(ids) for ids in whole.targets([target for _, target in PAIRS])]
    alike = [pair for pair, length in zip(PAIRS, lengths, strict=True) if length == lengths[0]]  # so means of parts average
    settings = TrainingSettings(0, 4, 1e-3, warmup=2, epochs=2, final_rate=0.0, clip=0.1)
    curves = [
        train_pairs(model, alike, replace(settings, parts=count), 1, tmp_path / str(count), Quiet())
        for model, count in ((whole, 1), (parts, 3))
    ]
    assert [entry["step"] for entry in curves[0]][-1] == settings.over(len(alike)).steps == 2 * -(-len(alike) // 4)
    assert [entry["loss"] for entry in curves[0]] == pytest.approx([entry["loss"] for entry in curves[1]], rel=1e-4)
    for name, value in weights(whole).items():
        assert torch.allclose(value, weights(parts)[name], atol=1e-5), name


@pytest.mark.unit
def test_a_damaged_or_unfinished_checkpoint_is_passed_over(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 5, {"a": torch.ones(3)}, {"x": 1})
    (tmp_path / "step-00000009").mkdir()  # no manifest
    (tmp_path / "unfinished").mkdir()
    found = load_checkpoint(tmp_path)
    assert found and found[0] == 5 and torch.equal(found[1]["a"], torch.ones(3))
    state = tmp_path / "step-00000005" / "state.safetensors"
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(data)
    assert load_checkpoint(tmp_path) is None


@pytest.mark.unit
def test_a_loss_that_is_not_a_number_stops_with_the_numbers(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1)
    settings = TrainingSettings(steps=10, batch_size=2, learning_rate=0.5)
    with pytest.raises(TrainingDiverged, match=r"nan at step 1 of 10.*0\.5"):
        fit(model, lambda batch: {"loss": model.weight.sum() * float("nan")}, [0, 1, 2], [1, 1, 1], settings, 0, tmp_path, Quiet())


@pytest.mark.unit
def test_batches_cover_every_example_once_an_epoch_and_are_of_like_length() -> None:
    lengths = [n % 50 for n in range(1000)]
    stream = batches(lengths, 10, 3)
    epoch = [next(stream) for _ in range(100)]
    assert sorted(index for batch in epoch for index in batch) == list(range(1000))
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in epoch]
    assert sum(spread) / len(spread) < 5
    assert next(batches(lengths, 10, 4)) != epoch[0]


@pytest.mark.unit
def test_the_optimizers_take_every_parameter_once() -> None:
    model = tiny().model
    for muon in (0.0, 0.01):
        settings = TrainingSettings(steps=1, batch_size=1, learning_rate=1e-3, muon=muon)
        taken = [id(p) for o in make_optimizers(model, settings, bf16=False) for g in o.param_groups for p in g["params"]]
        assert sorted(taken) == sorted(map(id, model.parameters()))


@pytest.mark.unit
def test_text_that_looks_like_a_special_token_stays_text(tmp_path: Path) -> None:
    model = tiny()
    ids = model.ids([["a<sep>b", SEP, "c"]], 32)[0]
    assert ids.count(model.special(SEP)) == 1
    assert model.decode(model.ids([["say <sep> or </s>"]], 32)[0]) == "say <sep> or </s>"
    model.save(tmp_path / "m")
    assert Seq2Seq.load(tmp_path / "m").ids([["a<sep>b", SEP, "c"]], 32)[0] == ids


@pytest.mark.unit
def test_a_model_made_from_an_encoder_has_no_dropout_when_loaded_again_either(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]))
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    shape = BertConfig(vocab_size=13, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    assert shape.hidden_dropout_prob > 0
    BertModel(shape).save_pretrained(tmp_path)
    from_encoder(str(tmp_path), 1, Window(16, 16), 0).save(tmp_path / "made")
    model = Seq2Seq.load(tmp_path / "made").model
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
