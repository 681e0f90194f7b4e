"""Profiles `paper` and `paper-cnndm` whole, on a mirror and a checkpoint of toy size: all else is as in the real runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.keys import flatten
from tasks.profiles import load_profile
from tests.conftest import ROOT, Clone
from tests.toy_paper import HOSTILE, toy_digests

pytestmark = pytest.mark.flow
# What both chains make.
MADE = {
    *("base", "qagen-training", "qagen-gate", "answer-extractor-gate", "question-generator-gate", "question-answerer-gate", "factcc-gate"),
    *("written-questions", "table-qa-pretraining", "scores", "summarizer-contrastive"),
}
# All that a run may set: every size that differs is one of the data or of the checkpoint.
SETTABLE = {"device", "threads", "base.start.checkpoint"}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> tuple[Clone, Path, dict[str, object]]:
    """A clone whose sources.yaml has the digests of the toy mirror, that mirror, and what a run there sets."""
    folder = tmp_path_factory.mktemp("paper")
    clone, mirror, checkpoint = Clone(folder / "clone"), folder / "mirror", folder / "bart"
    made = f"checkpoint, mirror = Path({str(checkpoint)!r}), Path({str(mirror)!r})"
    code = f"from pathlib import Path; from tests import toy_paper as toy; {made}; toy.write_checkpoint(checkpoint)"
    subprocess.run([sys.executable, "-c", f"{code}; toy.write_mirror(mirror, checkpoint)"], cwd=ROOT, check=True, capture_output=True)
    toy_digests(clone.folder / "data" / "sources.yaml", mirror)
    clone.warm_up(prefect_server)
    return clone, mirror, {"device": "cpu", "threads": 1, "base.start.checkpoint": checkpoint}


def run_whole(toy: tuple[Clone, Path, dict[str, object]], profile: str) -> dict[str, dict[str, Any]]:
    """What the chain of a profile has made, by step."""
    clone, mirror, overrides = toy
    result = clone.retrain(profile, *settings(overrides), DATA_MIRROR=str(mirror))
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    for expected in ("gate summarizer version", "gate table-qa version", "contrastive - mle", "report  "):
        assert expected in result.stdout
    assert differing(clone, profile) == SETTABLE
    steps: dict[str, dict[str, Any]] = clone.finished(profile)
    assert set(steps) >= MADE
    measured = steps["evaluate-summarizer-contrastive"]["metrics"]
    assert {"rouge1", "rouge2", "rougeL", "bleu", "meteor", "quals", "factcc"} <= set(measured)  # QAGS scores what it can ask about
    assert measured["qags_no_evidence"] == 1 or 0 <= measured["qags"] <= 1
    assert steps["summarizer-contrastive"]["metrics"]["negatives"] == steps["summarizer-contrastive"]["metrics"]["positives"] >= 1
    return steps


def differing(clone: Clone, profile: str) -> set[str]:
    """Fields that the recorded run had otherwise than its profile."""
    (recorded,) = (clone.folder / ".factloop" / "artifacts" / profile).rglob("origin/config.yaml")
    run, real = flatten(yaml.safe_load(recorded.read_text())), flatten(load_profile(profile).model_dump(mode="json"))
    return {name for name in run | real if run.get(name) != real.get(name)}


def lengths(toy: tuple[Clone, Path, dict[str, object]], profile: str) -> list[int]:
    """Tokens of each candidate."""
    clone, _, overrides = toy
    found = clone.ask(f"""
from pathlib import Path
from transformers import AutoTokenizer
run, = client.search_runs([client.get_experiment_by_name("factloop-{profile}").experiment_id], "tags.step = 'candidates'")
rows = map(json.loads, (Path(run.info.artifact_uri.removeprefix("file://")) / "files" / "candidates.jsonl").read_text().splitlines())
tokenizer = AutoTokenizer.from_pretrained({str(overrides["base.start.checkpoint"])!r})
print(json.dumps([len(tokenizer(text, add_special_tokens=False)["input_ids"]) for row in rows for text in row["candidates"]]))""")
    assert isinstance(found, list)
    return found


def settings(overrides: dict[str, object]) -> list[str]:
    return [argument for name, value in overrides.items() for argument in ("--set", f"{name}={value}")]


def rows(clone: Clone, profile: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (clone.folder / "data" / profile / "split" / f"{name}.jsonl").read_text().splitlines()]


def test_the_chain_runs_whole(toy: tuple[Clone, Path, dict[str, object]]) -> None:
    clone, _, _ = toy
    steps = run_whole(toy, "paper")
    pages = [path.read_text() for path in (clone.folder / ".factloop").rglob("*.html")]
    assert len(pages) > 5 and not any(HOSTILE in page for page in pages)  # the report and Data Docs
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;" in page for page in pages)
    assert steps["evaluate-summarizer-contrastive"]["metrics"]["examples"] == 2
    assert max(lengths(toy, "paper")) < 65  # 60 tokens were asked for, which read anew may be a few more
    lock = (clone.folder / "data" / "sources.lock.yaml").read_text()
    assert "newsqa/combined-newsqa-data-v1.json: " in lock and "fetaqa/fetaQA-v1_train.jsonl: " in lock and "xsum" not in lock
    trained = rows(clone, "paper", "summaries.train")
    assert len(trained) == 6 and not any("Share this with" in row["document"] for row in trained)
    assert len(rows(clone, "paper", "questions.train")) == 16  # ten of SQuAD, six of NewsQA
    assert len(rows(clone, "paper", "table_questions.test")) == 10


def test_the_chain_of_cnndm_runs_whole(toy: tuple[Clone, Path, dict[str, object]]) -> None:
    clone, _, _ = toy
    steps = run_whole(toy, "paper-cnndm")
    assert steps["evaluate-summarizer-contrastive"]["metrics"]["examples"] == 4
    trained = rows(clone, "paper-cnndm", "summaries.train")
    assert len(trained) == 11  # twelve less the one that people judged
    counts = json.loads((clone.folder / "data" / "paper-cnndm" / "split" / "counts.json").read_text())
    assert counts["dropped.judged.documents"] == 1
    assert not any(link in row["summary"] for row in trained for link in ("READ", "CLICK HERE", "@highlight"))
    assert min(written := lengths(toy, "paper-cnndm")) > 50 and max(written) > 65  # 55 to 140 tokens were asked for
