"""The documentation names what exists, and its recipe for one's own data works as written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Clone

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_the_documentation_exist(page: Path) -> None:
    text = page.read_text()
    named = re.findall(r"`((?:factloop|tasks|flows|configs|mlflow|benchmarks)/[\w./-]*)`", text)
    linked = [name for name in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in name]
    missing = [name for name in named if not (ROOT / name).exists()] + [name for name in linked if not (page.parent / name).exists()]
    assert not missing


@pytest.mark.unit
def test_the_example_of_reworded_claims_makes_some() -> None:
    page = (ROOT / "docs" / "bring-your-own.md").read_text().split("\n### FactCC's claims, reworded")[1]
    scope: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), scope)
    (row,) = scope["rows"]
    assert "paraphrase" in {claim["kind"] for claim in row["claims"]} and "has won" in row["document"]


@pytest.mark.flow
def test_the_recipe_for_your_own_data_works_as_written(smoke: tuple[Clone, subprocess.CompletedProcess[str]]) -> None:
    clone, _ = smoke
    page = (ROOT / "docs" / "bring-your-own.md").read_text().split("\n## Your own model")[0]
    script = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    retrain = f"DATA_MIRROR=mirror {sys.executable} -m flows.retrain --profile own"
    script = script.replace(".venv/bin/python", sys.executable).replace("make retrain PROFILE=own DATA_MIRROR=mirror", retrain)
    result = clone.run("-c", f"import subprocess; subprocess.run(['bash', '-ec', {script!r}], check=True)")
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    assert "gate summarizer version 3: promote" in result.stdout and "1 quarantined" in result.stdout and "nothing changed" in result.stdout
    refused = json.loads((clone.folder / "data" / "own" / "ingested" / "refused.jsonl").read_text())
    assert refused == {"file": "articles.jsonl", "row": 401, "rule": "field 'summary' is absent"}
