"""All judges over many pairs: kept by batches, gone on with after a kill, streamed; whatever the batches and threads."""

from __future__ import annotations

import importlib
import itertools
import json
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from factloop.base import from_scratch
from factloop.corpora.rows import read_rows, write_rows
from factloop.decoding import Hypothesis
from factloop.judges import factcc_stream, qags_stream, quals_stream
from factloop.judges.answer_extractor import new_extractor
from factloop.judges.factcc import new_factcc
from factloop.judges.qags import QagsQuestion
from factloop.judges.question_answerer import new_answerer
from factloop.judges.stream import WINDOW, Pair, stream
from factloop.reader import Reader
from factloop.seq2seq import SEP, Seq2Seq
from factloop.settings import FactccSettings, Network, QagsSettings, QualsSettings, Window
from factloop.steps import judging
from factloop.steps.own import evaluate_summaries
from factloop.steps.qags import load_models
from tasks.predict import Generator
from tests.conftest import ROOT
from tests.test_training import Quiet

pytestmark = pytest.mark.invariant
TEXTS = [f"Mara Velling wrote book number {n} in {1960 + n}." for n in range(30)]
PAIRS = [(" ".join(TEXTS[n % 30 : n % 30 + 1 + n % 3]), TEXTS[7 * n % 30]) for n in range(45)]
CONFIG: dict[str, Any] = {
    "device": "cpu",
    "quals": {"groups": 3, "max_length": 8, "batch_size": 4},
    "qags": {"answer_length": 8, "batch_size": 4},
    "factcc": {"batch_size": 4},
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("judges")

    def base(seed: int) -> Seq2Seq:
        made = from_scratch(TEXTS, Network(32, 1, 1, 2, 500), Window(80, 40), seed)
        with torch.no_grad():  # untrained logits are all alike: make them differ
            for parameter in made.model.parameters():
                parameter.mul_(3)
        return made

    made = {
        "qagen": base(0), "answer-extractor": new_extractor(base(1), 1), "question-generator": base(2),
        "question-answerer": new_answerer(base(3), 3), "factcc": new_factcc(base(4), 4),
    }  # fmt: skip
    for name, model in made.items():
        model.save(folder / name)
    return {name: folder / name for name in made}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, inputs: dict[str, Path]) -> None:
    """The models have learned nothing: what is asked is given, and they answer and score it."""
    model = Seq2Seq.load(inputs["qagen"])
    targets = [Hypothesis(model.ids([["who wrote it", SEP, answer]], 40)[0][:-1], -1.0) for answer in ("Mara", "book", "in 19")]
    quals_module, qags_module = (importlib.import_module(f"factloop.judges.{name}") for name in ("quals", "qags"))
    monkeypatch.setattr(quals_module, "diverse_beam_search", lambda qagen, source, *rest: [targets] * len(source))
    questions = [QagsQuestion(f"Who wrote {what}?", 1.0, "Mara Velling", 1.0, None, 0.0) for what in ("it", "the book")]
    monkeypatch.setattr(qags_module, "ask", lambda models, summaries, settings: [questions] * len(summaries))


def chosen(row: dict[str, Any]) -> list[Any]:
    """What was asked and answered, without numbers."""
    texts = [
        {name: value for name, value in item.items() if isinstance(value, str)} for found in row["evidence"].values() for item in found
    ]
    return [row["statuses"], sorted(map(str, texts))]


def same(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> None:
    for a, b in zip(one, other, strict=True):
        assert chosen(a) == chosen(b) and a["scores"].keys() == b["scores"].keys()
        for name, score in a["scores"].items():
            assert (score is None) == (b["scores"][name] is None) and (score is None or score == pytest.approx(b["scores"][name], abs=1e-4))


@pytest.mark.parametrize("judge", ["quals", "qags", "factcc"])
def test_a_judge_that_is_killed_goes_on_and_scores_nothing_twice(
    judge: str, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = {"quals": ["qagen"], "factcc": ["factcc"]}.get(judge, ["answer-extractor", "question-generator", "question-answerer"])
    models = {name: inputs[name] for name in needed}
    whole = list(judging.judge_pairs(CONFIG, models, PAIRS, tmp_path / "whole", Quiet()))
    assert any(row["statuses"][judge] == "scored" for row in whole)
    ask, asked = getattr(judging, f"{judge}_batch"), []

    def counted(model: Any, part: Sequence[Pair], settings: Any) -> Any:
        if len(asked) == 24 and not getattr(counted, "going_on", False):
            raise KeyboardInterrupt
        asked.extend(part)
        return ask(model, part, settings)

    monkeypatch.setattr(judging, f"{judge}_batch", counted)
    with pytest.raises(KeyboardInterrupt):
        judging.judge_pairs(CONFIG, models, PAIRS, tmp_path / "killed", Quiet())
    counted.going_on = True  # type: ignore[attr-defined]
    found = list(judging.judge_pairs(CONFIG, models, PAIRS, tmp_path / "killed", Quiet()))
    assert found == whole and sorted(asked) == sorted(PAIRS)


def test_neither_batches_nor_threads_change_a_score(inputs: dict[str, Path], tmp_path: Path) -> None:
    threads, found = torch.get_num_threads(), {}
    try:
        for count, size in ((1, 4), (2, 4), (2, 13)):
            torch.set_num_threads(count)
            config = CONFIG | {name: CONFIG[name] | {"batch_size": size} for name in judging.JUDGES}
            found[count, size] = list(judging.judge_pairs(config, inputs, PAIRS, tmp_path / f"{count} {size}", Quiet()))
    finally:
        torch.set_num_threads(threads)
    one, *others = found.values()
    assert all(any(row["statuses"][judge] == "scored" for row in one) for judge in judging.JUDGES)
    for other in others:
        same(one, other)


def test_every_judge_takes_an_endless_stream(inputs: dict[str, Path]) -> None:
    device = "cpu"
    streams = [
        lambda pairs: quals_stream(Seq2Seq.load(inputs["qagen"], device), pairs, QualsSettings(**CONFIG["quals"])),
        lambda pairs: qags_stream(load_models(inputs, device), pairs, QagsSettings(**CONFIG["qags"])),
        lambda pairs: factcc_stream(Reader.load(inputs["factcc"], device), pairs, FactccSettings(**CONFIG["factcc"])),
    ]
    for judge in streams:
        taken = itertools.count()

        def endless(taken: Iterator[int] = taken) -> Iterator[Pair]:
            while True:
                yield PAIRS[next(taken) % len(PAIRS)]

        assert len(list(itertools.islice(judge(endless()), 40))) == 40
        assert next(taken) <= 40 + 4 * WINDOW


def test_memory_does_not_grow_with_the_pairs(tmp_path: Path) -> None:
    def judge(part: Sequence[Pair]) -> list[dict[str, Any]]:
        return [{"evidence": [text] * 300} for text, _ in part]

    peaks = []
    for count in (200, 800):
        pairs = ((f"document {n}", "summary") for n in range(count))
        tracemalloc.start()
        total = sum(1 for _ in stream(judging.kept(tmp_path / str(count), judge, "quals"), pairs, 10))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert total == count
    assert peaks[1] < 1.2 * peaks[0]


def test_the_judges_are_called_as_documented(
    inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "judges.md").read_text().split("\n## From Python")[1]
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0].replace(", meteor(references, summaries)", "")  # it has tests of its own
    monkeypatch.chdir(inputs["qagen"].parent)
    documents, summaries = map(list, zip(*PAIRS[:2], strict=True))
    exec(code, {"documents": documents, "summaries": summaries, "references": summaries})
    printed = capsys.readouterr().out
    assert printed.count("scored") >= 4 and "'trigrams': 1.0" in printed and "100.0" in printed


def test_an_answer_extractor_as_it_is_served_reads_a_text_of_any_length(inputs: dict[str, Path]) -> None:
    served = Generator()
    served.kind, served.model = "answer-extractor", Reader.load(inputs["answer-extractor"])
    short, long = (json.loads(line) for line in served.predict(None, pd.DataFrame({"text": [TEXTS[0], " ".join(TEXTS)]}))["answers"])
    assert short == json.loads(served.predict(None, pd.DataFrame({"text": [TEXTS[0]]}))["answers"][0]) and len(long) > len(short) > 0


def test_a_summary_too_long_to_compare_with_its_reference_is_judged(inputs: dict[str, Path], tmp_path: Path) -> None:
    long = "Mara Velling wrote. " * 600
    rows = [{"id": str(n), "document": TEXTS[0], "summary": text, "reference": "Mara"} for n, text in enumerate((TEXTS[1], long, " "))]
    write_rows(tmp_path / "rows.jsonl", rows)
    metrics = evaluate_summaries(CONFIG, inputs | {"rows": tmp_path / "rows.jsonl"}, tmp_path, tmp_path / "kept", Quiet())
    whole, uncompared, empty = read_rows(tmp_path / "examples.jsonl")
    assert whole["status"] == "scored" and whole["scores"]["rougeL"] > 0 and metrics["scored"] == 1
    assert "at most 10000 are compared (reference)" in uncompared["status"] and uncompared["scores"]["rougeL"] is None
    assert uncompared["statuses"]["factcc"] == "scored" and uncompared["scores"]["factcc"] is not None
    assert uncompared["statuses"]["quals"].startswith("too long: summary of ")
    assert empty["status"] == "empty: the model wrote nothing" and empty["scores"]["factcc"] is None
