"""Profile `paper` whole, on a mirror and a checkpoint of toy size: all else is as in the real run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Clone
from tests.toy_paper import HOSTILE, toy_digests, write_mirror

pytestmark = pytest.mark.flow
# Sizes, and what goes with them: a network of width 48 needs a larger rate and shorter warm-up to
# learn anything of ten rows, and shares of 30% of six documents meet in none.
SIZES = {
    "device": "cpu",
    "threads": 1,
    "judges.qagen.epochs": 15,
    "judges.qagen.batch_size": 2,
    "judges.qagen.learning_rate": 3.0e-3,
    "judges.qagen.warmup": 5,
    "judges.quals.groups": 12,
    "tables.fine_tuning.epochs": 2,
    "summarizer.contrast.positive_share": 1.0,
    "summarizer.contrast.negative_share": 1.0,
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, Path, Path]:
    """A clone whose sources.yaml has the digests of the toy mirror, that mirror, and a checkpoint."""
    folder = tmp_path_factory.mktemp("paper")
    clone, mirror, checkpoint = Clone(folder / "clone"), folder / "mirror", folder / "bart"
    write_mirror(mirror)
    toy_digests(clone.folder / "data" / "sources.yaml", mirror)
    code = f"from pathlib import Path; from tests.toy_paper import write_checkpoint; write_checkpoint(Path({str(checkpoint)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    return clone, mirror, checkpoint


def test_the_chain_runs_whole(toy: tuple[Clone, Path, Path]) -> None:
    clone, mirror, checkpoint = toy
    sizes = SIZES | {"base.start.checkpoint": checkpoint}
    overrides = [argument for name, value in sizes.items() for argument in ("--set", f"{name}={value}")]
    result = clone.retrain("paper", *overrides, DATA_MIRROR=str(mirror))
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    for expected in ("gate summarizer version", "gate table-qa version", "contrastive - mle", "report  "):
        assert expected in result.stdout
    pages = [path.read_text() for path in (clone.folder / ".factloop").rglob("*.html")]
    assert len(pages) > 5 and not any(HOSTILE in page for page in pages)  # the report and Data Docs
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;" in page for page in pages)
    steps = clone.finished("paper")
    made = {"base", "qagen-training", "qagen-gate", "written-questions", "table-qa-pretraining", "scores", "summarizer-contrastive"}
    assert made <= set(steps)
    assert steps["evaluate-summarizer-contrastive"]["metrics"]["examples"] == 2  # type: ignore[index]
    lock = (clone.folder / "data" / "sources.lock.yaml").read_text()
    assert "newsqa/combined-newsqa-data-v1.json: " in lock and "fetaqa/fetaQA-v1_train.jsonl: " in lock and "xsum" not in lock
    split = clone.folder / "data" / "paper" / "split"
    rows = [json.loads(line) for line in (split / "summaries.train.jsonl").read_text().splitlines()]
    assert len(rows) == 6 and not any("Share this with" in row["document"] for row in rows)
    assert len((split / "questions.train.jsonl").read_text().splitlines()) == 16  # ten of SQuAD, six of NewsQA
    assert len((split / "table_questions.test.jsonl").read_text().splitlines()) == 10


def test_the_data_of_cnndm(toy: tuple[Clone, Path, Path]) -> None:
    clone, mirror, _ = toy
    result = clone.run("-m", "dvc", "repro", "split@paper-cnndm", DATA_MIRROR=str(mirror))
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    split = clone.folder / "data" / "paper-cnndm" / "split"
    rows = [json.loads(line) for line in (split / "summaries.train.jsonl").read_text().splitlines()]
    assert len(rows) == 11  # twelve less the one that people judged
    assert json.loads((split / "counts.json").read_text())["dropped.judged.documents"] == 1
    assert not any(link in row["summary"] for row in rows for link in ("READ", "CLICK HERE", "@highlight"))
