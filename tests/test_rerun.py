"""A recorded run made again: verdicts, what is refused, a clean worktree, and a real rerun in a new clone."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.tracking import MlflowClient

import mlflow
from flows import rerun as verb
from tasks import memo, origin, parent, rerun, scratch
from tasks.origin import Origin, Refused
from tasks.verdicts import Step, explained, first_divergence, judge, overall, verdict_of
from tests.conftest import Clone, Undisturbed
from tests.soundness import Killed

POINTS = ("rerun:begun", "rerun:told")
PARTS = {
    "step": "factloop.steps.base:train", "config": {"seed": 1, "training": {"steps": 2}}, "inputs": {"base": "b1", "questions": "q1"},
    "code": "c1", "device": "cpu float32", "libraries": {"torch": "2.13.0", "numpy": "2.4.6"},
}  # fmt: skip
CPU = {"processor": "EPYC", "instructions": "AVX2"}


def step(name: str, metrics: dict[str, float] | None = None, made: str = "m", hardware: dict[str, str] | None = None, **parts: Any) -> Step:
    return Step(name, metrics or {"loss": 0.5}, f"key of {name}", made, PARTS | parts, hardware or CPU)


@pytest.mark.parametrize(
    ("recorded", "again", "expected"),
    [
        (0.5, 0.5, "identical"), (math.nan, math.nan, "identical"), (0.0, 0.0, "identical"), (0.5, 0.5 + 4e-7, "within"), (0.0, 1e-13, "within"),
        (0.5, 0.5 + 6e-7, "different"), (0.0, 1e-9, "different"), (0.5, math.nan, "different"), (0.5, None, "different"), (None, 0.5, "different"),
    ],
)  # fmt: skip
def test_a_metric_is_identical_within_or_different(recorded: float | None, again: float | None, expected: str) -> None:
    assert verdict_of(recorded, again, 1e-6) == expected


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"code": "c2"}, "code (factloop.steps.base or what it imports)"),
        ({"config": PARTS["config"] | {"seed": 2}}, "config (seed: 1 -> 2)"),  # type: ignore[operator]
        ({"inputs": {"base": "b1", "questions": "q2"}}, "data (questions)"),
        ({"libraries": {"torch": "2.14.1", "numpy": "2.4.6"}}, "library (torch: 2.13.0 -> 2.14.1)"),
        ({"device": "cuda float32"}, "hardware (cpu float32 -> cuda float32)"),
        ({"hardware": {"processor": "EPYC", "instructions": "AVX512"}}, "hardware (instructions: AVX2 -> AVX512)"),
        ({}, "the step does not compute the same twice"),
    ],
)
def test_the_first_step_that_diverged_is_named_with_what_differs(other: dict[str, Any], told: str) -> None:
    recorded = [
        step("data"),
        step("base", made="b1"),
        step("scores", made="s1"),
        step("evaluate", {"rougeL": 40.0, "examples_per_second": 9.0}),
    ]
    again = [
        recorded[0], step("base", {"loss": 0.5000001}, "b2", **other), step("scores", made="s2", inputs={"base": "b2", "questions": "q1"}),
        step("evaluate", {"rougeL": 41.0, "examples_per_second": 3.0}),
    ]  # fmt: skip
    judged = judge(recorded, again)
    first = first_divergence(judged)
    assert first and first.name == "base" and told in explained(first)
    assert judged[2].differs == {"earlier step": ["base, made by base"]}
    assert [one.count("different") for one in judged] == [0, 0, 0, 1] and overall(judged) == "different"
    assert overall(judge(recorded, again, 0.1)) == "within" and overall(judge(recorded, again, 0)) == "different"


def test_a_metric_changed_after_it_was_logged_a_missing_step_and_a_second_of_a_name() -> None:
    recorded = [step("base"), step("evaluate", {"rougeL": 40.0}), step("evaluate", {"rougeL": 38.0}, "champion's")]
    assert overall(judge(recorded, recorded[:2])) == "identical" and first_divergence(judge(recorded, recorded[:2])) is None
    judged = judge(recorded, [step("base"), step("evaluate", {"rougeL": 40.5})])
    assert "the same files, byte for byte" in explained(judged[1])
    missing = judge(recorded, [step("base")])
    assert overall(missing) == "different" and explained(missing[1]) == "the chain: the rerun does not have this step"
    assert overall(judge([step("base")], recorded)) == "different"


def run_git(folder: Path, *arguments: str) -> str:
    named = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(named, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit and a state folder, which the tasks take for their clone."""
    root = tmp_path / "project"
    files = {
        "factloop/a.py": "A = 1\n \n",
        "dvc.lock": "stages: {}\n",
        ".gitignore": ".factloop/\n",
        ".dvc/config": "[cache]\n    dir = ../.factloop/dvc-cache\n",
        "configs/t.yaml": "a: 1\r\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    (root / ".factloop").mkdir()
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        run_git(root, *command)
    for module in (parent, scratch, memo, origin):
        for name, value in (("ROOT", root), ("STATE", root / ".factloop"), ("FOLDER", root / ".factloop" / "rerun")):
            monkeypatch.setattr(module, name, value, raising=False)
    return root


def made_from(root: Path, diff: bytes) -> Origin:
    commit = run_git(root, "rev-parse", "HEAD").strip()
    return Origin(None, "retrain", "t", commit, {"name": "t"}, "stages: {a: 1}\n", {}, diff)  # type: ignore[arg-type]


@pytest.mark.flow
def test_a_dirty_tree_is_recorded_and_made_again_new_files_too(project: Path) -> None:
    assert parent.dirty_diff() == b""
    (project / "factloop" / "a.py").write_text("A = 2\n \n")
    (project / "configs" / "t.yaml").write_bytes(b"a: 2\r\n")
    (project / "configs" / "new.yaml").write_text("b: 1\n\n")
    (project / "dvc.lock").write_text("stages: {b: 1}\n")
    (project / "notes.txt").write_text("mine")
    before, diff = run_git(project, "status", "--porcelain"), parent.dirty_diff()
    assert run_git(project, "status", "--porcelain") == before and b"notes" not in diff and b"dvc.lock" not in diff
    hook = project / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    with scratch.scratch_folder("run", None) as folder:
        tree = folder / "tree-0"
        scratch.make_tree(tree, made_from(project, diff))
        for name in ("factloop/a.py", "configs/t.yaml", "configs/new.yaml"):
            assert (tree / name).read_bytes() == (project / name).read_bytes(), name
        assert (
            (tree / "dvc.lock").read_text() == "stages: {a: 1}\n" and not (tree / "hooked").exists() and not (tree / "notes.txt").exists()
        )
    assert not folder.exists() and "tree-0" not in run_git(project, "worktree", "list")


@pytest.mark.flow
def test_a_diff_cannot_write_outside_the_worktree(project: Path) -> None:
    for path in ("../../../../escaped", "/tmp/escaped-from-rerun"):
        diff = f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n".encode()
        with pytest.raises(Refused, match="git apply"), scratch.scratch_folder("run", None) as folder:
            scratch.make_tree(folder / "tree-0", made_from(project, diff))
        assert not [*project.parent.rglob("escaped*"), *Path("/tmp").glob("escaped-from-rerun")]
    assert list(scratch.FOLDER.glob("*")) == []


@pytest.mark.flow
def test_a_scratch_folder_goes_after_an_error_after_ctrl_c_and_after_a_kill(project: Path, tmp_path: Path) -> None:
    (scratch.FOLDER / "killed").mkdir(parents=True)
    with memo.lease("rerun-under-way"), pytest.raises(KeyboardInterrupt), scratch.scratch_folder("run", None) as folder:
        (scratch.FOLDER / "under-way").mkdir()
        with scratch.scratch_folder("another", None):
            assert not (scratch.FOLDER / "killed").exists() and (scratch.FOLDER / "under-way").exists() and folder.exists()
        with pytest.raises(memo.Conflict), scratch.scratch_folder("run", None):
            pass
        raise KeyboardInterrupt
    assert not folder.exists()
    kept = tmp_path / "kept"
    with scratch.scratch_folder("run", kept) as folder:
        (folder / "tree-0" / ".dvc").mkdir(parents=True)
        (folder / "tree-0" / ".dvc" / "config.local").write_text("password = secret")
    assert (kept / "tree-0" / ".dvc").exists() and not (kept / "tree-0" / ".dvc" / "config.local").exists()
    with pytest.raises(Refused, match="not an empty folder"), scratch.scratch_folder("run", kept):
        pass


@pytest.mark.flow
def test_data_that_nothing_has_are_made_again_and_must_come_out_as_recorded(project: Path) -> None:
    command = "mkdir -p data/t && echo one > data/t/claims"
    stage = {"cmd": command.replace("/t", "/${item}"), "outs": ["data/${item}/claims"]}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"claims": {"foreach": ["t"], "do": stage}}}))
    run_git(project, "add", "-A")
    run_git(project, "commit", "-qm", "data")
    right = hashlib.md5(b"one\n", usedforsecurity=False).hexdigest()
    copy = project / ".factloop" / "dvc-cache" / "files" / "md5" / right[:2] / right[2:]
    copy.parent.mkdir(parents=True)
    copy.write_text("0ne\n")  # a damaged one, which is worth what none is
    for md5, size in ((right, 4), ("0" * 32, 4)):
        out = {"path": "data/t/claims", "hash": "md5", "md5": md5, "size": size}
        lock = yaml.safe_dump({"schema": "2.0", "stages": {"claims@t": {"cmd": command, "outs": [out]}}})
        said: list[str] = []
        with scratch.scratch_folder("run", None) as folder:
            recorded = replace(made_from(project, b""), lock=lock)
            scratch.make_tree(folder / "tree-0", recorded)
            if md5 == right:
                scratch.get_data(folder / "tree-0", Path(sys.executable), recorded, said.append)
                assert said == ["data  as recorded, made again"] and (folder / "tree-0" / "data" / "t" / "claims").read_text() == "one\n"
                shutil.rmtree(project / ".factloop" / "dvc-cache")
                continue
            with pytest.raises(Refused, match="made again, data/t/claims came out otherwise than recorded"):
                scratch.get_data(folder / "tree-0", Path(sys.executable), recorded, said.append)


@pytest.mark.flow
def test_another_version_makes_another_environment_and_one_that_there_is_not_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    here = {"PyYAML": yaml.__version__, "torch": torch.__version__.partition("+")[0]}
    assert scratch.environment(tmp_path, here, print) == Path(sys.executable)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    said: list[str] = []
    with pytest.raises(Refused, match="No matching distribution found for nowhere-to-be-had==0.0.1"):
        scratch.environment(tmp_path, {"nowhere-to-be-had": "0.0.1"}, said.append)
    assert said == ["its environment is made anew: 1 of its 1 packages are here in another version (nowhere-to-be-had 0.0.1, here none)"]


def test_the_recorded_config_is_given_back_by_sections() -> None:
    here = {"name": "t", "data": {"kind": "world"}, "seed": 1, "base": {"rate": 1e-5, "text": "no"}}
    assert scratch.overrides(here, here) == []
    asked = scratch.overrides(here | {"seed": 2, "base": {"rate": 1e-6, "text": "yes", "deep": {"a": [1, None]}}}, here)
    found = {name: yaml.safe_load(value) for name, _, value in (override.partition("=") for override in asked)}
    assert found == {"seed": 2, "base": {"rate": 1e-6, "text": "yes", "deep": {"a": [1, None]}}}
    with pytest.raises(Refused, match="data in its config is not what its commit and diff have"):
        scratch.overrides(here | {"data": {"kind": "sources"}}, here)


class Store:
    """A store with one finished retrain of profile fault, made by hand."""

    def __init__(self, folder: Path) -> None:
        self.client, self.folder = MlflowClient(), folder
        self.experiment = self.client.create_experiment("factloop-fault", artifact_location=(folder / "artifacts").as_uri())

    def retrain(self, files: dict[str, str | None] | None = None, status: str = "FINISHED", **tags: str) -> str:
        head = parent.git("rev-parse", "HEAD")
        told = {"step": "retrain", "profile": "fault", "data_version": "d", "git_commit": head, "run_key": "k", "origin": "logged"} | tags
        run_id = str(self.client.create_run(self.experiment, tags={name: value for name, value in told.items() if value}).info.run_id)
        whole = {"config.yaml": "name: fault\n", "dvc.lock": "stages: {}\n", "constraints.txt": "# one\npyyaml==0.1\n", "dirty.diff": ""}
        for name, text in (whole | (files or {})).items():
            if text is not None:
                self.client.log_text(run_id, text, f"origin/{name}")
        self.client.log_dict(run_id, {"steps": []}, "steps.json")
        self.client.set_terminated(run_id, status)
        return run_id


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(memo, "STATE", tmp_path / "state")
    monkeypatch.setattr(scratch, "FOLDER", tmp_path / "state" / "rerun")
    yield Store(tmp_path)
    mlflow.set_tracking_uri(before)


@pytest.mark.flow
def test_what_cannot_be_rerun_is_refused_with_the_reason(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(run_id: str, *more: str) -> str:
        with pytest.raises(SystemExit) as ended:
            verb.main([run_id, *more])
        assert ended.value.code == 2
        return capsys.readouterr().err

    for name in ("../../mlflow", "0" * 31, "--help-me", "A" * 32):
        assert "a run id is 32 letters and digits" in refusal("--", name) if name.startswith("-") else refusal(name)
    assert "MLFLOW_TRACKING_URI names the server" in refusal("0" * 32)
    child = store.client.create_run(store.experiment, tags={"step": "base", "mlflow.parentRunId": "f" * 32}).info.run_id
    assert f"a step of parent run {'f' * 32}" in refusal(child) and "a step of" in refusal(child, "--explain")
    assert "what is rerun is retrain and train_judges" in refusal(store.retrain(step="ablate"))
    assert "no record of what it started from" in refusal(store.retrain(origin=""))
    assert "outside a git repository" in refusal(store.retrain(git_commit=""))
    assert "outside a git repository" in refusal(store.retrain(git_commit="--upload-pack=evil"))
    assert "lacks dirty.diff" in refusal(store.retrain({"dirty.diff": None}))
    assert "is not in this clone" in (said := refusal(store.retrain(git_commit="1" * 40))) and "git fetch" in said
    assert "is not finished (it is FAILED)" in refusal(store.retrain(status="FAILED"))
    for path in ("../../outside", "/etc", "configs/fault.yaml", "data/../../x"):
        lock = yaml.safe_dump({"stages": {"split@fault": {"outs": [{"path": path, "md5": "0"}]}}})
        assert "names files outside data/" in refusal(store.retrain({"dvc.lock": lock}))
    assert "its dvc.lock is damaged" in refusal(store.retrain({"dvc.lock": "stages: ["}))
    for line in ("--index-url http://evil", "git+https://evil/x", "-e .", "torch>=2"):
        assert "is not name==version" in refusal(store.retrain({"constraints.txt": line}))
    for profile in ("../x", "other"):
        assert "has no config, or not one of profile" in refusal(store.retrain({"config.yaml": "name: ../x\n"}, profile=profile))
    assert "not an empty folder" in refusal(store.retrain(), "--keep", str(store.folder))
    assert store.client.search_runs([store.experiment], "tags.step = 'rerun'") == []
    for arguments in (["--explain", "--keep", "x"], ["--explain", "--tolerance", "0.1"], ["--tolerance", "nan"], ["--tolerance", "1"]):
        assert refusal(store.retrain(), *arguments).startswith("usage: ")


@pytest.mark.fault
def test_killed_while_it_is_kept_a_verdict_is_one_run_and_the_next_rerun_has_its_own(store: Store, kill: Callable[[str], None]) -> None:
    of = store.client.get_run(store.retrain())
    recorded = [step("base"), step("evaluate", {"rougeL": 40.0, "meteor": math.nan})]
    again = [recorded[0], step("evaluate", {"rougeL": 41.0, "meteor": math.nan}, hardware={"processor": "Xeon"})]
    outcome = rerun.Outcome(of, judge(recorded, again), 1e-6, [])
    for point in POINTS:
        kill(point)
        with pytest.raises(Killed):
            rerun.leave_verdict(store.client, outcome)
    kill("")
    rerun.leave_verdict(store.client, outcome)
    rerun.leave_verdict(store.client, outcome)
    runs = store.client.search_runs([store.experiment], f"tags.rerun_of = '{of.info.run_id}'")
    assert [run.info.status for run in runs] == ["FINISHED"] * 2 and len({run.data.tags["run_key"] for run in runs}) == 2
    assert runs[0].data.metrics == {"rerun/identical": 2.0, "rerun/within": 0.0, "rerun/different": 1.0}
    kept = mlflow.artifacts.load_dict(f"{runs[0].info.artifact_uri}/verdicts.json")
    assert kept["first_divergence"] == "evaluate" and "hardware (processor: EPYC -> Xeon" in kept["what_differs"]
    assert [metric["recorded"] for metric in kept["steps"][1]["metrics"]] == ["nan", 40.0]


class Other(Clone):
    """What `git clone` makes of a clone: its commits, and none of its state."""

    def __init__(self, folder: Path, of: Clone) -> None:
        subprocess.run(["git", "clone", "-q", str(of.folder), str(folder)], check=True)
        self.folder = folder
        self.cool_down()


@pytest.mark.flow
def test_in_a_new_clone_a_rerun_is_identical_on_every_metric(
    undisturbed: Undisturbed, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a record that was changed, or made with another seed, is told from it; `--explain` tells what a change of code costs."""
    first, other, kept = undisturbed.clone, Other(tmp_path / "other", undisturbed.clone), tmp_path / "kept"
    shutil.copy(first.folder / ".factloop" / "mlflow.db", tmp_path / "mlflow.db")  # the server that both machines use
    address = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(address, address)
    experiment = client.get_experiment_by_name("factloop-fault")
    assert experiment
    asked = "tags.step = 'retrain' and attributes.status = 'FINISHED'"
    run = client.search_runs([experiment.experiment_id], asked, order_by=["attributes.start_time ASC"])[0]
    shutil.copytree(first.folder / ".factloop" / "dvc-cache", tmp_path / "remote")  # as `dvc push` lays it out
    (other.folder / ".dvc" / "config.local").write_text(f"[core]\n    remote = team\n['remote \"team\"']\n    url = {tmp_path}/remote\n")
    result = other.run("-m", "flows.rerun", run.info.run_id, "--keep", str(kept), MLFLOW_TRACKING_URI=address)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "data  as recorded, from DVC" in result.stdout and "identical: all" in result.stdout
    (verdict,) = client.search_runs([experiment.experiment_id], f"tags.rerun_of = '{run.info.run_id}'")
    assert verdict.data.tags["verdict"] == "identical" and verdict.info.status == "FINISHED"
    assert verdict.data.metrics["rerun/identical"] > 150 and verdict.data.metrics["rerun/different"] == 0

    made = origin.read_steps(rerun._client(kept), rerun._newest(rerun._client(kept), origin.read_origin(client, run)))
    recorded = origin.read_steps(client, run)
    assert [step.name for step in recorded][:2] == ["data", "base"] and len(recorded) > 20
    scored = next(place for place, step in enumerate(recorded) if step.name == "evaluate-summarizer-mle")
    changed = replace(recorded[scored], metrics={**recorded[scored].metrics, "rougeL": recorded[scored].metrics["rougeL"] + 0.001})
    outcome = rerun.Outcome(run, judge([*recorded[:scored], changed, *recorded[scored + 1 :]], made), 1e-6, [])
    monkeypatch.setattr(verb, "rerun", lambda *asked: outcome)
    assert verb.main([run.info.run_id]) == 1
    said = capsys.readouterr().out
    assert re.search(r"different +evaluate-summarizer-mle rougeL: recorded [\d.]+, rerun [\d.]+", said)
    assert "first step that diverged: evaluate-summarizer-mle" in said and "the same files, byte for byte" in said
    seeded = replace(recorded[1], made="other", parts={**recorded[1].parts, "config": {**recorded[1].parts["config"], "seed": 2}})
    diverged = first_divergence(judge([recorded[0], seeded, *recorded[2:]], made))
    assert diverged and diverged.name == "base" and explained(diverged) == "config (seed: 2 -> 1)"

    for name in ("dvc.lock", "data/fault"):
        source, target = first.folder / name, other.folder / name
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, target)
    with (other.folder / "factloop" / "steps" / "summaries.py").open("a") as stream:
        stream.write("\nCHANGED = True\n")
    told = other.run("-m", "flows.rerun", run.info.run_id, "--explain", MLFLOW_TRACKING_URI=address)
    assert told.returncode == 0, told.stderr[-3000:]
    past, now = told.stdout.split("retrain with this config, now")
    assert re.search(r"│ base +│ ran +│ [\d.]+ +│ first time", past)
    assert re.search(r"│ summarizer-mle +│ reused", now)
    assert re.search(r"│ scores +│ would run │ [\d.]+ +│ code: factloop.steps.summaries or what it imports", now)
    assert re.search(r"│ summarizer-contrastive +│ would run │ [\d.]+ +│ earlier step: scores, made by scores", now)
    assert re.search(r"7 of \d+ steps would run: [\d.]+ s from history", now)
