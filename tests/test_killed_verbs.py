"""The verbs beside the main job, killed at every point that has a name: run again, they end as if never killed.

Each has two stores, copies of that of an undisturbed chain: in one it is killed, in the other it is not.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from factloop.corpora.rows import write_rows
from tasks.study import read_study
from tests import made
from tests.conftest import Clone, Store, Undisturbed
from tests.soundness import data_digests, flip
from tests.test_compare import POINTS as COMPARE
from tests.test_data import archive
from tests.test_data import page as html_page
from tests.test_drift import POINTS as DRIFT
from tests.test_drift import world
from tests.test_rerun import POINTS as RERUN
from tests.test_study import answers

pytestmark = pytest.mark.fault
EVALUATE = ("rows:kept", "scores:logged", "scores:half-written", "scores:renamed")
ABLATE = ("ablation:logged", "ablation:measured")
EXPORT, READ = ("study:written",), ("study:told", "study:logged")
MINE, LABELS = ("mined:refused",), ("labels:kept",)
DROPPED, TREE = ("copy:dropped", "out:dropped@split"), ("tree:made",)
POINTS = (*EVALUATE, *ABLATE, *DROPPED, *TREE, *EXPORT, *READ, *MINE, *LABELS)


def same(stores: tuple[Store, Store], asked: str) -> None:
    """One run each, and the same."""
    killed, calm = (store.made(asked) for store in stores)
    assert len(killed) == 1 and killed[0][0] == "FINISHED" and killed == calm


def test_a_comparison(stores: tuple[Store, Store]) -> None:
    killed, calm = stores
    verb = ("-m", "flows.compare", "fault-summarizer/1", "fault-summarizer/2")
    for point in COMPARE:
        killed.dies(point, *verb)
    for store in stores:
        store.ends(*verb)
    same(stores, "tags.step = 'compare'")


def test_a_verdict_on_what_comes_in(stores: tuple[Store, Store], tmp_path: Path) -> None:
    killed, calm = stores
    write_rows(tmp_path / "incoming.jsonl", [{"document": text} for text in world(60, seed=2)])
    verb = ("-m", "flows.drift", "--profile", "fault", str(tmp_path / "incoming.jsonl"))
    for point in DRIFT:
        killed.dies(point, *verb)
    assert killed.ends(*verb).returncode == calm.ends(*verb).returncode
    same(stores, "tags.step = 'drift'")


AGAIN = """
import flows, shutil, sys
from flows.rerun import main
from tasks import rerun
rerun.run_again = lambda tree, *_: shutil.copy("mlflow.db of the recorded run", tree.parent / "mlflow.db")
sys.exit(main(["run"]))"""


def test_a_rerun(stores: tuple[Store, Store]) -> None:
    """All of it but the chain, whose place the record takes: that comes out the same in test_rerun.py, and takes far longer than the rest."""
    killed, calm = stores
    run_id = killed.runs("tags.step = 'retrain' and attributes.status = 'FINISHED'")[0].info.run_id
    left = killed.clone.folder / ".factloop" / "rerun" / run_id
    code = {store: AGAIN.replace("mlflow.db of the recorded run", str(store.path)).replace('"run"', f'"{run_id}"') for store in stores}
    for point in (*TREE, *RERUN):
        killed.dies(point, "-c", code[killed])
        assert (left / "tree-0").exists() == (point in TREE)  # the next takes it away
    for store in stores:
        assert "identical: all" in store.ends("-c", code[store]).stdout
    same(stores, f"tags.rerun_of = '{run_id}'")
    trees = subprocess.run(["git", "worktree", "list"], cwd=killed.clone.folder, capture_output=True, text=True, check=True).stdout
    assert trees.count("\n") == 1 and not left.exists()


def test_an_evaluation_of_a_persons_own_file(stores: tuple[Store, Store], tmp_path: Path) -> None:
    killed, calm = stores
    taken = (killed.clone.folder / "data" / "fault" / "split" / "summaries.test.jsonl").read_text().splitlines()[:3]
    rows = [{name: row[name] for name in ("id", "document", "summary")} for row in map(json.loads, taken)]
    verb = {store: ("-m", "flows.evaluate", str(store.folder / "mine.jsonl"), "--profile", "fault") for store in stores}
    for store in stores:
        write_rows(store.folder / "mine.jsonl", rows)
    table = killed.folder / "mine.scores.csv"
    for point in EVALUATE:
        killed.dies(point, *verb[killed])
        assert table.exists() == (point == "scores:renamed")
    calm.ends(*verb[calm])
    whole = table.read_bytes()
    assert whole == (calm.folder / table.name).read_bytes()
    same(stores, "tags.step = 'evaluate'")  # once the table is there, all the rest is
    refused = killed.run(*verb[killed])
    assert refused.returncode == 2 and "mine.scores.csv exists; --overwrite replaces it" in refused.stderr
    killed.ends(*verb[killed], "--overwrite")
    assert table.read_bytes() == whole
    same(stores, "tags.step = 'evaluate'")
    assert {path.name for path in killed.folder.iterdir()} == {"mlflow.db", "mine.jsonl", table.name}


def test_an_ablation(stores: tuple[Store, Store], tmp_path: Path) -> None:
    killed, calm = stores
    grid = {"reference": "mle", "steps": 2, "metrics": ["fact_recall", "rougeL"], "arms": {"mle": None, "contrastive": {}}}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    verb = ("-m", "flows.ablate", "--profile", "fault", "--grid", str(tmp_path / "grid.yaml"), "--seeds", "1")
    for point in ABLATE:
        killed.dies(point, *verb)
    for store in stores:
        store.ends(*verb)
    same(stores, "tags.step = 'ablate'")


def test_a_study(clone: Clone, tmp_path: Path, empty_store: Path) -> None:
    """Its folder whole or not at all; its answers one point of each metric with both evaluations, which are made by hand."""
    database = Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))
    client = MlflowClient(f"sqlite:///{database}", f"sqlite:///{database}")
    experiment = client.create_experiment("factloop-fault", artifact_location=(tmp_path / "artifacts").as_uri())
    for seed in (1, 2):
        number = made.version(client, experiment, tmp_path / "scratch", "fault-summarizer", str(seed))
        model = client.get_run(client.get_model_version("fault-summarizer", number).run_id).data.tags["digest"]
        made.evaluation(client, experiment, tmp_path / "scratch", made.summary_rows(6, seed=seed), model=model)
    killed, calm = stores = tuple(Store(clone, tmp_path / name, database) for name in ("killed", "calm"))
    folder = tmp_path / "study"
    export = ("-m", "flows.study", "export", "fault-summarizer/2", "fault-summarizer/1", "--examples", "4", "--out", str(folder))
    killed.dies(EXPORT[0], *export)
    assert not folder.exists()
    killed.ends(*export)
    study = read_study(folder)
    file = answers(tmp_path / "1.csv", study, 1, lambda pair, axis: 0)
    read = ("-m", "flows.study", "read", str(folder), str(file))
    for point in READ:
        killed.dies(point, *read)
    for store in stores:
        store.ends(*read)
    found, expected = (store.made("tags.step = 'evaluate-summarizer-contrastive'") for store in stores)
    assert len(found) == 2 and found == expected
    assert [metrics["study/pairs"] for _, _, metrics, _, _ in found] == [(len(study.pairs), 1)] * 2
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


def test_mined_sentences_and_labels(clone: Clone, tmp_path: Path) -> None:
    """Files alone: nothing of them is in a store."""
    archive(tmp_path / "pages.tar.gz", [html_page(number) for number in range(50, 60)] + [""])
    out = tmp_path / "mined.jsonl"
    verb = ("-m", "flows.mine", str(tmp_path / "pages.tar.gz"), "--workers", "1", "--out", str(out))
    assert clone.run(*verb, FACTLOOP_KILL=MINE[0]).returncode == -signal.SIGKILL
    aside = (tmp_path / "mined.jsonl.refused.jsonl").read_text()
    assert not out.exists() and '"row": 11' in aside
    again = clone.run(*verb)
    assert again.returncode == 0 and len(out.read_text().splitlines()) == 10, again.stderr[-3000:]
    assert {path.name for path in tmp_path.iterdir()} == {"clone", "pages.tar.gz", out.name, f"{out.name}.refused.jsonl"}
    write_rows(tmp_path / "labels.jsonl", [{"document": "Mara won in Oslo.", "summary": "Mara won.", "label": 1}])
    code = f"import flows; from pathlib import Path; from flows.calibrate import own_labels; print(own_labels([Path({str(tmp_path / 'labels.jsonl')!r})], ['labelled'])[0])"
    assert clone.run("-c", code, FACTLOOP_KILL=LABELS[0]).returncode == -signal.SIGKILL
    (kept,) = (clone.folder / ".factloop" / "own").iterdir()
    assert clone.run("-c", code).stdout.strip() == str(kept)


def test_data_that_are_damaged_with_their_copy(undisturbed: Undisturbed) -> None:
    clone = undisturbed.clone
    file = clone.folder / "data" / "fault" / "split" / "mined.jsonl"
    whole = file.read_bytes()
    copies = [path for path in (clone.folder / ".factloop" / "dvc-cache").rglob("*") if path.is_file() and path.read_bytes() == whole]
    assert copies
    for path in (file, *copies):
        mode = path.stat().st_mode
        flip(path)
        path.chmod(mode)  # DVC believes a copy that nobody may write to
    for point in DROPPED:
        assert clone.retrain("fault", FACTLOOP_KILL=point).returncode == -signal.SIGKILL, point
        assert file.exists() == (point == "copy:dropped")
    result = clone.retrain("fault")
    assert result.returncode == 0 and "nothing changed" in result.stdout, result.stderr[-3000:]
    assert data_digests(clone.folder, "fault") == undisturbed.outcome["data"] and copies[0].read_bytes() == whole
