"""`once` and what it stands on, in one process: killed at a point, damaged, and asked again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mlflow.tracking import MlflowClient

import mlflow
from factloop.corpora.rows import write_rows
from factloop.training import checkpoints
from tasks import data, evidence, memo, own, parent, progress, report
from tasks.profiles import load_profile
from tasks.serving import Served
from tests.soundness import Killed, flip

pytestmark = pytest.mark.fault
NAME = "memo-base"


class Memo:
    """A store of its own and one step, with or without a model, that counts how often it ran."""

    def __init__(self, folder: Path, profile: str = "memo") -> None:
        self.client, self.folder, self.ran = MlflowClient(), folder, 0
        self.experiment = self.client.create_experiment(f"factloop-{profile}", artifact_location=(folder / "artifacts").as_uri())
        self.context = memo.Context(self.experiment, "none", profile, "cpu", 1, {"profile": profile})

    def step(self, config: dict[str, Any], inputs: dict[str, Path], out: Path, **_: Any) -> dict[str, Any]:
        self.ran += 1
        (out / "model").mkdir()
        (out / "model" / "weights").write_text("seven" * 100)
        return {"n": {"value": 2.0, "low": 1.0, "high": 3.0}}

    def once(self, served: bool = False) -> memo.Done:
        model = Served("base", {"text": "a"}, ("text",), {}, ("champion",)) if served else None
        return memo.once(self.context, "base", "factloop.steps.base:train", {"seed": 1}, {}, model)

    def killed(self, served: bool = False) -> None:
        with pytest.raises(Killed):
            self.once(served)

    def runs(self) -> list[Any]:
        return list(self.client.search_runs([self.experiment]))

    def versions(self) -> list[str]:
        return [str(version.version) for version in self.client.search_model_versions(f"name = '{self.context.profile}-base'")]

    def aliases(self) -> dict[str, str]:
        return {alias: str(version) for model in self.client.search_registered_models() for alias, version in model.aliases.items()}


@pytest.fixture
def one(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Memo]:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(memo, "STATE", tmp_path / "state")
    made = Memo(tmp_path)
    monkeypatch.setattr(memo, "load", lambda step, threads: made.step)
    yield made
    mlflow.set_tracking_uri(before)


def test_a_key_is_held_by_one(one: Memo) -> None:
    with memo.lease("a"), pytest.raises(memo.Conflict, match="two runs were started at once"), memo.lease("a"):
        pass
    with memo.lease("a"):
        pass


def test_a_step_runs_once_and_damaged_files_are_found_and_made_again_once(one: Memo) -> None:
    first = one.once()
    assert one.once().reused and one.ran == 1
    flip(Path(first.path) / "model" / "weights")
    again = one.once()
    assert not again.reused and again.digest == first.digest and one.ran == 2
    assert one.once().run_id == again.run_id and one.ran == 2


@pytest.mark.parametrize("point", ["run:created", "run:parameters", "record:measured", "record:logged"])
def test_a_killed_run_is_taken_up_and_described_whole(one: Memo, kill: Callable[[str], None], point: str) -> None:
    kill(point)
    one.killed()
    kill("")
    one.once()
    (run,) = one.runs()
    assert run.info.status == "FINISHED" and run.data.params == {"seed": "1", "name": "base", "threads": "1"}
    assert run.data.metrics == {"n": 2.0, "n.low": 1.0, "n.high": 3.0}
    assert [item.path for item in one.client.list_artifacts(run.info.run_id)] == ["files", "key.json"]


def test_a_finished_step_leaves_no_work_behind_however_it_was_killed(one: Memo, kill: Callable[[str], None]) -> None:
    kill("record:finished")
    one.killed()
    kill("")
    assert one.once().reused and list((one.folder / "state" / "work").iterdir()) == []


def test_what_is_stored_must_be_what_was_written(one: Memo, kill: Callable[[str], None]) -> None:
    kill("record:logged")
    one.killed()
    kill("")
    (run,) = one.runs()
    stray = Path(run.info.artifact_uri.removeprefix("file://")) / "files" / "stray"
    stray.write_text("not of this step")
    with pytest.raises(memo.Damaged, match="is not what was written there; delete that folder"):
        one.once()
    shutil.rmtree(stray.parent)
    one.once()


def test_a_model_registered_before_the_kill_is_found_again(one: Memo, kill: Callable[[str], None]) -> None:
    kill("model:logged")
    one.killed(served=True)
    kill("model:registered")
    one.killed(served=True)
    assert one.aliases() == {}
    kill("record:finished")
    one.killed(served=True)
    assert one.aliases() == {}
    kill("")
    assert one.once(served=True).reused
    assert one.versions() == ["1"] and one.aliases() == {"champion": "1"}
    (model,) = one.client.search_logged_models([one.experiment])
    assert len(one.runs()) == 1 and one.client.get_model_version(NAME, "1").source == f"models:/{model.model_id}"


def test_a_model_damaged_before_its_run_was_finished_is_replaced(one: Memo, kill: Callable[[str], None]) -> None:
    kill("model:registered")
    one.killed(served=True)
    (model,) = one.client.search_logged_models([one.experiment])
    flip(next(Path(model.artifact_location.removeprefix("file://")).rglob("weights")))
    kill("")
    done = one.once(served=True)
    assert one.versions() == [done.version] and one.aliases() == {"champion": done.version}
    assert one.once(served=True).reused


def test_a_model_made_again_takes_over_the_aliases_of_the_damaged_one(one: Memo) -> None:
    first = one.once(served=True)
    one.client.set_registered_model_alias(NAME, "gate", "1")
    version = one.client.get_model_version(NAME, "1")
    assert memo.recall_version("base", version, "").digest == first.digest
    flip(next(Path(first.path).rglob("weights")))
    with pytest.raises(memo.Damaged, match=r"memo-base version 1, which is in use \(.*\), is damaged; do this"):
        memo.recall_version("base", version, "do this")
    again = one.once(served=True)
    assert again.digest == first.digest and one.aliases() == {"champion": again.version, "gate": again.version} and again.version != "1"


def test_a_parent_run_killed_as_it_was_opened_gets_its_origin(one: Memo, kill: Callable[[str], None]) -> None:
    file = one.folder / "rows.jsonl"
    file.write_text("{}\n")
    given = data.Data("version", {"rows": (str(file), "0" * 64)}, {}, {"rows": 1})
    arguments: Any = (load_profile("fault"), given, "retrain", {})
    one.client.create_experiment("factloop-fault", artifact_location=(one.folder / "fault").as_uri())
    for point in ("parent:created", "parent:described"):
        kill(point)
        with pytest.raises(Killed):
            parent.open_parent.fn(*arguments)
    kill("")
    opened = parent.open_parent.fn(*arguments)
    (run,) = one.client.search_runs([opened.experiment])
    assert {"origin/config.yaml", "origin/dvc.lock", "origin/constraints.txt"} < {
        i.path for i in one.client.list_artifacts(opened.parent, "origin")
    }
    assert [item.dataset.name for item in run.inputs.dataset_inputs] == ["rows.jsonl"]


def test_the_store_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: Callable[[str], None]) -> None:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    for module in (parent, memo):
        monkeypatch.setattr(module, "STATE", tmp_path)
    kill("store:made")
    with pytest.raises(Killed):
        parent.make_store()
    assert not (tmp_path / "mlflow.db").exists()
    mlflow.set_tracking_uri(before)


def test_rows_are_written_whole_or_not_at_all(tmp_path: Path, kill: Callable[[str], None]) -> None:
    for point in ("rows:half-written", "rows:written"):
        kill(point)
        with pytest.raises(Killed):
            write_rows(tmp_path / "a.jsonl", ({"n": n} for n in range(5)))
        assert not (tmp_path / "a.jsonl").exists()


def test_a_page_and_a_table_of_scores_are_written_whole_or_the_old_one_stays(tmp_path: Path, kill: Callable[[str], None]) -> None:
    page, table = tmp_path / "page.html", tmp_path / "scores.csv"
    report.save_page(page, "the old page", "any")
    own.write_scores("the old table", table)
    for point in ("page:half-written@any", "page:written"):
        kill(point)
        with pytest.raises(Killed):
            report.save_page(page, "the new page", "any")
        assert page.read_text() == "the old page"
    kill("scores:half-written")
    with pytest.raises(Killed):
        own.write_scores("the new table", table)
    assert table.read_text() == "the old table"


def test_examples_are_traced_once_however_often_that_is_killed(
    one: Memo, kill: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "PART", 2)
    said = {
        "statuses": {"factcc": "scored"},
        "evidence": {"factcc": [{"text": "Mara.", "correct": 0.1, "source": [0, 4], "claim": [0, 4]}]},
    }
    rows = [{"document": "Mara won.", "output": "Mara.", "scores": {"quals": n}} | said for n in range(3)]
    write_rows(one.folder / "made" / "examples.jsonl", rows)
    run_id = one.client.create_run(one.experiment).info.run_id
    done = memo.Done("evaluate", run_id, "", str(one.folder / "made"), "", {}, 0, False, "")
    with monkeypatch.context() as dying, pytest.raises(Killed):  # in the midst of one, which then does not know its run
        dying.setattr(evidence.MlflowClient, "end_trace", lambda *_: (_ for _ in ()).throw(Killed("end_trace")))
        evidence.trace_examples.fn(done)
    mlflow.flush_trace_async_logging()  # the thread that writes them outlives these kills
    kill("trace:logged@evaluate")
    for _ in range(2):
        with pytest.raises(Killed):
            evidence.trace_examples.fn(done)
        mlflow.flush_trace_async_logging()
    kill("")
    for count in (1, 20):
        evidence.trace_examples.fn(done, count)
        traces = one.client.search_traces(locations=[one.experiment], include_spans=False)
        assert len(traces) == min(count, 3)
        evidence.trace_examples.fn(done, count)
        again = one.client.search_traces(locations=[one.experiment], include_spans=False)
        assert {trace.info.trace_id for trace in again} == {trace.info.trace_id for trace in traces}
    assert {trace.info.trace_metadata["mlflow.sourceRun"] for trace in traces} == {run_id}


def test_a_checkpoint_is_synced_before_it_is_sealed_and_the_last_one_stays_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: Callable[[str], None]
) -> None:
    checkpoints.save_checkpoint(tmp_path, 1, {"a": torch.zeros(2)}, {})
    synced, sync = [], checkpoints.sync
    monkeypatch.setattr(checkpoints, "sync", lambda path: (synced.append(path.name), sync(path)))
    for point, files in (("checkpoint:unsealed", []), ("checkpoint:sealed", [checkpoints.MANIFEST])):
        synced.clear()
        kill(point)
        with pytest.raises(Killed):
            checkpoints.save_checkpoint(tmp_path, 2, {"a": torch.ones(2)}, {})
        assert synced == ["facts.json", "state.safetensors", *files]
        found = checkpoints.load_checkpoint(tmp_path)
        assert found and found[0] == 1


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`data/fault/split` with one file, recorded as DVC does."""
    for name, value in (("ROOT", tmp_path), ("LOCK", tmp_path / "dvc.lock"), ("BEFORE", tmp_path / "before")):
        monkeypatch.setattr(data, name, value)
    monkeypatch.setattr(memo, "STATE", tmp_path)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    rows = tmp_path / "data" / "fault" / "split" / "rows.jsonl"
    write_rows(rows, [{"n": 1}])
    listed = json.dumps([{"md5": hashlib.md5(rows.read_bytes()).hexdigest(), "relpath": "rows.jsonl"}])
    out = {"path": "data/fault/split", "hash": "md5", "md5": hashlib.md5(listed.encode()).hexdigest() + ".dir"}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": {"split@fault": {"outs": [out]}}}))
    return tmp_path


def test_a_flipped_bit_in_data_is_found_though_size_and_time_are_the_same(repository: Path) -> None:
    assert data._damaged("fault") == []
    flip(repository / "data" / "fault" / "split" / "rows.jsonl")
    assert data._damaged("fault") == [repository / "data" / "fault" / "split"]


def test_a_killed_dvc_leaves_no_lock_of_its_own_and_the_record_of_before(repository: Path) -> None:
    whole = (repository / "dvc.lock").read_text()
    (repository / "before").write_text(whole)
    (repository / "dvc.lock").write_text("stages:\n")
    (repository / ".dvc" / "tmp" / "rwlock").write_text("{")
    data._mend()
    assert (repository / "dvc.lock").read_text() == whole
    assert not (repository / "before").exists() and not (repository / ".dvc" / "tmp" / "rwlock").exists()


def test_damaged_copies_go_from_the_cache_before_the_out_and_others_stay(repository: Path, kill: Callable[[str], None]) -> None:
    (repository / ".dvc" / "config").write_text("[cache]\n    dir = ../cache\n")
    for content in (b"whole", b"damaged"):
        md5 = hashlib.md5(content).hexdigest()
        copy = repository / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        copy.parent.mkdir(parents=True)
        copy.write_bytes(content)
    flip(copy)
    kill("out:dropped")
    with pytest.raises(Killed):
        data.drop([repository / "data" / "fault" / "split"])
    (left,) = (path for path in (repository / "cache").rglob("*") if path.is_file())
    assert left.read_bytes() == b"whole" and not (repository / "data" / "fault" / "split").exists()


def test_never_two_dvc_at_once(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(target: str) -> Any:
        with pytest.raises(memo.Conflict), memo.lease("dvc"):
            pass
        raise Killed

    monkeypatch.setattr(data, "_dvc", held)
    with pytest.raises(Killed):
        data.reproduce.fn(load_profile("fault"))


def test_a_curve_is_not_logged_twice(one: Memo, tmp_path: Path) -> None:
    run_id = one.client.create_run(one.experiment).info.run_id
    for _ in range(2):  # the second as a run does that goes on from a checkpoint
        logs = progress.RunProgress("base", one.client, run_id, tmp_path / progress.SPOOL)
        logs.log({"loss": 1.0}, 1)
        logs.log({"loss": 0.5}, 2)
    assert [(p.step, p.value) for p in one.client.get_metric_history(run_id, "train/loss")] == [(1, 1.0), (2, 0.5)]


def test_a_point_whose_keeping_a_kill_cut_off_spoils_none_after_it(one: Memo, tmp_path: Path) -> None:
    run_id = one.client.create_run(one.experiment).info.run_id
    (tmp_path / progress.SPOOL).write_text('\n{"key": "train/loss", "value": 1.0, "timestamp": 1, "step": 1}\n{"key": "train/lo')
    progress.RunProgress("base", one.client, run_id, tmp_path / progress.SPOOL).log({"loss": 0.5}, 2)
    assert [(p.step, p.value) for p in one.client.get_metric_history(run_id, "train/loss")] == [(1, 1.0), (2, 0.5)]
    assert not (tmp_path / progress.SPOOL).exists()
