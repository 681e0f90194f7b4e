"""Champions by hand and back: the record, the way back, what is refused, and kills."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

import mlflow
from flows import promote as verb
from tasks import memo
from tasks.gate import Gated, gate
from tasks.history import crown, entries, settle
from tasks.profiles import load_profile
from tests import made
from tests.soundness import Killed, flip

pytestmark = pytest.mark.flow
NAME = "smoke-summarizer"


class Registry:
    """A store of its own with four versions of a model, none of them champion."""

    def __init__(self, folder: Path) -> None:
        self.client = MlflowClient()
        self.scratch = folder / "scratch"
        self.experiment = self.client.create_experiment("factloop-smoke", artifact_location=(folder / "artifacts").as_uri())
        for weights in "abcd":
            made.version(self.client, self.experiment, self.scratch, NAME, weights)

    def champion(self) -> str | None:
        return {alias: str(number) for alias, number in self.client.get_registered_model(NAME).aliases.items()}.get("champion")

    def gate(self, version: str) -> None:
        settle(self.client, NAME, crown(self.client, NAME, version, "gate", "quals is better"))

    def judged(self, context: memo.Context, version: str, better: float, champion: memo.Done | None) -> tuple[Gated, memo.Done]:
        """What the gate says of a version whose evaluation is that much better, and that evaluation."""
        rows = made.summary_rows(200, better, seed=int(version))
        evaluation = memo.recall_run(self.client.get_run(made.evaluation(self.client, self.experiment, self.scratch, rows)))
        trained = memo.recall_run(self.client.get_run(self.client.get_model_version(NAME, version).run_id))
        return gate.fn(context, load_profile("smoke"), "summarizer", replace(trained, version=version), evaluation, champion), evaluation

    def damage(self, version: str) -> None:
        flip(next(Path(self.client.get_model_version(NAME, version).source.removeprefix("file://")).iterdir()))


@pytest.fixture
def registry(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(memo, "STATE", tmp_path / "state")
    yield Registry(tmp_path)
    mlflow.set_tracking_uri(before)


def test_the_gate_says_what_it_could_see_and_keeps_a_record(registry: Registry) -> None:
    parent = made.parent(registry.client, registry.experiment, {})
    context = memo.Context(registry.experiment, parent, "smoke", "cpu", 1, {})
    first, evaluation = registry.judged(context, "1", 0.0, None)
    assert (first.outcome, registry.champion()) == ("promote", "1") and "no champion yet" in first.reason
    doubtful, _ = registry.judged(context, "2", 0.05, evaluation)
    tags = registry.client.get_model_version(NAME, "2").tags
    assert doubtful.outcome == "inconclusive" == tags["gate_outcome"] and registry.champion() == "1"
    assert doubtful.reason == tags["gate_reason"] and "200 examples show a true gain of" in doubtful.reason
    better, _ = registry.judged(context, "3", 0.45, evaluation)
    assert (better.outcome, registry.champion()) == ("promote", "3"), better.reason
    moves = entries(registry.client, NAME)
    assert [(move.before, move.version, move.how, move.settled) for move in moves] == [(None, "1", "gate", True), ("1", "3", "gate", True)]
    assert moves[1].why == better.reason and "quals is better" in better.reason
    assert {item.path for item in registry.client.list_artifacts(parent, "gate")} == {"gate/summarizer.json"}
    assert registry.judged(context, "3", 0.45, evaluation)[0].outcome == "champion" and len(entries(registry.client, NAME)) == 2


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        verb.main(list(arguments))
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_rollback_after_rollback_goes_back_one_champion_each(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    registry.gate("1")
    registry.gate("2")
    registry.client.set_registered_model_alias(NAME, "challenger", "3")
    assert verb.main([NAME, "--reason", "read <all> of it"]) == 0 and registry.champion() == "3"
    assert "champion is version 3 (before: 2)" in capsys.readouterr().out
    assert verb.main([NAME]) == 0 and "is the champion already" in capsys.readouterr().out
    verb.main([NAME, "--rollback", "--reason", "dates are wrong"])
    said = capsys.readouterr().out
    assert registry.champion() == "2" and "version 2 -> 3" in said and "by hand of" in said and "read <all> of it" in said
    verb.main([NAME, "--version", "4"])
    verb.main([NAME, "--rollback"])
    assert registry.champion() == "2"
    verb.main([NAME, "--rollback"])
    assert registry.champion() == "1"
    assert "version 1 is the first champion" in refusal(capsys, NAME, "--rollback") and registry.champion() == "1"
    verb.main([NAME, "--history"])
    history = capsys.readouterr().out.splitlines()
    assert len(history) == 7 and "gate of" in history[0] and "rollback of" in history[3] and history[3].endswith("dates are wrong")
    assert [(entry.before, entry.version) for entry in entries(registry.client, NAME)][2:4] == [("2", "3"), ("3", "2")]


def test_what_cannot_become_champion_is_refused_and_nothing_moves(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has no champion" in refusal(capsys, NAME, "--rollback")
    registry.gate("1")
    registry.gate("2")
    registry.damage("3")
    assert "version 3 is damaged" in refusal(capsys, NAME, "--version", "3")
    registry.damage("1")
    assert "version 1 is damaged" in refusal(capsys, NAME, "--rollback")
    shutil.rmtree(Path(registry.client.get_model_version(NAME, "4").source.removeprefix("file://")))
    assert "version 4 is damaged" in refusal(capsys, NAME, "--version", "4")
    assert "has no version 9; its versions are 1, 2, 3, 4" in refusal(capsys, NAME, "--version", "9")
    assert "no such model is registered" in refusal(capsys, "world-summarizer", "--version", "1")
    assert "has no challenger" in refusal(capsys, NAME)
    assert "only models with a gate" in refusal(capsys, "smoke-qagen", "--version", "1")
    assert "only models with a gate" in refusal(capsys, "x' or name = 'y-summarizer", "--history")
    assert "at most 2000" in refusal(capsys, NAME, "--version", "2", "--reason", "x" * 2001)
    assert registry.champion() == "2" and len(entries(registry.client, NAME)) == 2


def test_an_alias_moved_past_the_record_is_not_rolled_back_by_guess(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    registry.gate("1")
    registry.client.set_registered_model_alias(NAME, "champion", "3")  # as in MLflow's pages
    assert "how version 3 became champion is not recorded" in refusal(capsys, NAME, "--rollback")
    verb.main([NAME, "--version", "2"])
    verb.main([NAME, "--rollback"])
    assert registry.champion() == "3"


@pytest.mark.fault
@pytest.mark.parametrize("point", ["champion:told", "champion:moved", "champion:settled"])
@pytest.mark.parametrize("arguments", [["--version", "3"], ["--rollback"]], ids=["by hand", "rollback"])
def test_killed_and_asked_again_it_is_one_move(registry: Registry, kill: Callable[[str], None], point: str, arguments: list[str]) -> None:
    registry.gate("1")
    registry.gate("2")
    kill(point)
    with pytest.raises(Killed):
        verb.main([NAME, *arguments])
    kill("")
    expected = "1" if arguments == ["--rollback"] else "3"
    assert registry.champion() == ("2" if point == "champion:told" else expected)
    if not (point == "champion:settled" and expected == "1"):  # then it was told: asked again, it is another rollback
        assert verb.main([NAME, *arguments]) == 0
    assert registry.champion() == expected and [entry.number for entry in entries(registry.client, NAME)] == [1, 2, 3]
    assert entries(registry.client, NAME)[-1].settled


@pytest.mark.fault
def test_a_move_that_a_kill_kept_from_being_made_is_not_gone_back_to(registry: Registry, kill: Callable[[str], None]) -> None:
    for *moved, never in (("1", "4"), ("2", "3", "4")):
        for version in moved:
            registry.gate(version)
        kill("champion:told")
        with pytest.raises(Killed):
            verb.main([NAME, "--version", never])
        kill("")
    verb.main([NAME, "--rollback"])
    assert registry.champion() == "2"
    verb.main([NAME, "--rollback"])
    assert registry.champion() == "1"
