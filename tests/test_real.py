"""Real files of a mirror through the data stages. Skips without DATA_MIRROR, and says so."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import yaml

from factloop.corpora.formats import FORMATS
from factloop.corpora.readers import read
from tasks.keys import file_digest
from tasks.profiles import load_profile
from tasks.sources import SourceError, find_source
from tasks.stages import SHAPES
from tests.conftest import ROOT, Clone

MIRROR = os.environ.get("DATA_MIRROR")
pytestmark = [pytest.mark.real, pytest.mark.skipif(not MIRROR, reason="DATA_MIRROR is not set: no real data to read")]


def test_the_data_of_profile_news_passes_its_contracts(clone: Clone) -> None:
    result = clone.run("-m", "dvc", "repro", "split@news", DATA_MIRROR=str(MIRROR))
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    split = clone.folder / "data" / "news" / "split"
    counts = json.loads((split / "counts.json").read_text())
    assert counts["mined"] > 1000 and counts["summaries.test"] > 200 and counts["table_questions.test"] == 200
    # Every document of SummEdits-SciTLDR is in SciTLDR's training set; none of the other judged ones is here.
    assert counts["dropped.judged.documents"] == 17
    sources = {
        part: Counter(row["id"].split("/")[0] for row in map(json.loads, (split / f"summaries.{part}.jsonl").open()))
        for part in ("train", "validation", "test")
    }
    assert sources["test"]["scitldr-test"] == 100 and not sources["train"]["scitldr-test"] and not sources["test"]["scitldr-train"]
    assert all(name.startswith(("xsum", "scitldr", "mts")) for part in sources.values() for name in part)  # no licence is waived by default
    pages = {part: {json.loads(line)["page"] for line in (split / f"table_questions.{part}.jsonl").open()} for part in ("train", "test")}
    mined = {json.loads(line)["page"] for line in (split / "mined.jsonl").open()}
    assert len(mined) > 100 and not mined & pages["test"]


NEWS = load_profile("news").data.source


@pytest.mark.parametrize("name", [*(name for shape in SHAPES for name in getattr(NEWS, shape)), *NEWS.judged])  # type: ignore[union-attr]
def test_every_declared_source_reads_without_a_bad_row(name: str) -> None:
    source = yaml.safe_load((ROOT / "data" / "sources.yaml").read_text())[name]
    path = Path(str(MIRROR)) / source["file"]
    assert file_digest(path) == source["sha256"]
    rows = list(read(path, FORMATS[source["reader"]]))
    assert len(rows) >= 200 and len({json.dumps(row) for row in rows}) > 15


def test_a_mirror_that_lacks_or_alters_a_file_is_refused_by_name(clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path))
    result = clone.run("-m", "tasks.stages", "ingest", "news", DATA_MIRROR=str(tmp_path))
    assert result.returncode == 1 and f"the mirror {tmp_path} lacks summaries/xsum_sample.jsonl" in result.stderr
    altered = tmp_path / "summaries" / "xsum_sample.jsonl"
    altered.parent.mkdir()
    altered.write_bytes((Path(str(MIRROR)) / "summaries" / "xsum_sample.jsonl").read_bytes() + b"\n")
    declared = yaml.safe_load((ROOT / "data" / "sources.yaml").read_text())
    with pytest.raises(SourceError, match="SHA-256 is .* data/sources.yaml says"):
        find_source("xsum-sample", declared, non_commercial=False)
    with pytest.raises(SourceError, match="set data.source.non_commercial"):
        find_source("dialogsum-dev", declared, non_commercial=False)
    escaping = declared | {"xsum-sample": declared["xsum-sample"] | {"file": "../outside.jsonl"}}
    with pytest.raises(SourceError, match="lacks ../outside.jsonl"):
        find_source("xsum-sample", escaping, non_commercial=False)
