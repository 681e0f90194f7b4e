"""Real files of a mirror through the data stages. Skips without DATA_MIRROR, and says so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from tasks.stages import SourceError, find_source
from tests.conftest import ROOT, Clone

MIRROR = os.environ.get("DATA_MIRROR")
pytestmark = [pytest.mark.real, pytest.mark.skipif(not MIRROR, reason="DATA_MIRROR is not set: no real data to read")]


def test_the_data_of_profile_news_passes_its_contracts(clone: Clone) -> None:
    result = clone.run("-m", "dvc", "repro", "split@news", DATA_MIRROR=str(MIRROR))
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    split = clone.folder / "data" / "news" / "split"
    counts = json.loads((split / "counts.json").read_text())
    assert counts["mined"] > 200 and counts["summaries.test"] > 50 and counts["table_questions.test"] > 50
    pages = {part: {json.loads(line)["page"] for line in (split / f"table_questions.{part}.jsonl").open()} for part in ("train", "test")}
    mined = {json.loads(line)["page"] for line in (split / "mined.jsonl").open()}
    assert not mined & pages["test"]


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
