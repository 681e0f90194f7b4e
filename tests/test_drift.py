"""Drift: false alarms and power, what is refused, what is kept, and the way from a champion to what it was trained on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

import mlflow
from factloop.corpora.own import read_incoming
from factloop.corpora.rows import BadRow, write_rows
from factloop.drift import TooFew, document_drift, holm_alarm, join, score_drift, sketch, table_drift, test_texts, test_values
from factloop.drift.texts import RIDGE, left_out, permuted
from factloop.world import generate
from factloop.world.vocabulary import make_world
from flows import drift as verb
from tasks import drift as drifting
from tasks import memo, record, trained_on
from tasks.keys import file_digest
from tests import made
from tests.conftest import Clone
from tests.soundness import Killed

POINTS = ("drift:begun", "drift:measured", "page:half-written@drift", "drift:logged")
test_texts.__test__ = test_values.__test__ = False  # type: ignore[attr-defined]  # tests of samples, not of this file


def world(count: int, seed: int = 1) -> list[str]:
    return [row["document"] for row in generate.documents(make_world(1), seed, count, generate.Noise(0.4, 0.6, 0.85))]


def chat(count: int) -> list[str]:
    rng = np.random.default_rng(5)
    words = ["hi", "ok", "so", "when", "you", "pick", "me", "up", "bus", "late", "again", "sorry", "lol", "there", "soon"]
    return [" ".join(f"#{1 + place % 2}: {' '.join(rng.choice(words, 6))}." for place in range(5)) for _ in range(count)]


# The tests themselves


@pytest.mark.unit
def test_without_drift_it_seldom_alarms_and_a_tenth_of_another_source_always_does() -> None:
    home, guest = sketch(world(600)), sketch(chat(12))
    without, replaced = [], []
    for draw in range(40):
        order = np.random.default_rng(draw).permutation(600)
        incoming, old = home.take(order[:120]), home.take(order[120:320])
        without.append(test_texts(incoming, old, draw, 99).p)
        if draw < 10:
            replaced.append(test_texts(join(home.take(order[:108]), guest), old, draw, 99))
    assert sum(p <= 0.05 for p in without) <= 5 and 0.35 < np.mean(without) < 0.65  # 2 are expected, more than 5 once in 70
    assert all(found.p <= 0.02 and 0.07 < found.excess < 0.25 for found in replaced)
    assert all(set(np.argsort(-found.unlike)[:6]) <= set(range(108, 120)) for found in replaced)


@pytest.mark.unit
def test_equal_texts_fall_by_chance_and_not_to_the_sample_that_comes_first() -> None:
    few = sketch(["Coach | Side", "Player | Team", "Author | Work", "Mayor | Town"])
    rng = np.random.default_rng(0)
    found = [test_texts(few.take(rng.integers(0, 4, 60)), few.take(rng.integers(0, 4, 120)), seed, 99).p for seed in range(40)]
    assert sum(p <= 0.05 for p in found) <= 5 and np.mean(found) > 0.35


@pytest.mark.invariant
@pytest.mark.parametrize("width", [7, 60])
def test_predictions_are_those_of_fits_that_leave_each_example_out(width: int) -> None:
    features = np.random.default_rng(0).normal(size=(40, width)).astype(np.float32)
    labels = permuted(np.arange(40) < 10, 2, 0)
    assert (labels.sum(0) == 10).all() and labels[:10, 0].all()
    scaled, middle = (features - features.mean(0)) / features.std(0), labels - labels.mean(0)
    ridge = RIDGE * np.trace(scaled.T @ scaled) / width * np.eye(width)
    for place in range(40):
        rest, targets = np.delete(scaled, place, 0), np.delete(middle, place, 0)
        expected = scaled[place] @ np.linalg.solve(rest.T @ rest + ridge, rest.T @ targets)
        assert left_out(features, labels)[place] == pytest.approx(expected, abs=1e-7)


@pytest.mark.unit
def test_numbers_that_moved_spread_or_went_missing_are_told_from_those_that_did_not() -> None:
    rng = np.random.default_rng(1)
    old = rng.normal(0, 1, 200)
    assert test_values(rng.normal(0.6, 1, 100), old, permutations=199).p <= 0.01
    assert test_values(rng.normal(0, 2, 100), old, permutations=199).p <= 0.02
    assert test_values([None] * 20 + list(rng.normal(0, 1, 80)), list(old), permutations=199).p <= 0.01
    assert test_values([1.0] * 50, [1.0] * 60, permutations=99).p == 1
    found = [test_values(rng.integers(0, 4, 30).astype(float), rng.integers(0, 4, 50).astype(float), seed, 99) for seed in range(200)]
    assert sum(one.p <= 0.05 for one in found) <= 18 and abs(np.mean([one.above for one in found]) - 0.5) < 0.02


@pytest.mark.invariant
def test_the_statistic_orders_samples_as_that_of_scipy() -> None:
    from scipy.stats import permutation_test

    from factloop.drift.values import _anderson_darling

    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 9, 14).astype(float), rng.integers(1, 12, 18).astype(float)

    def statistic(a: Any, b: Any) -> float:
        both = np.concatenate([a, b])
        order = np.argsort(both)
        return float(_anderson_darling(both[order], (np.arange(32) < 14).astype(np.float32)[order][:, None], 14)[0])

    reference = permutation_test((one, other), statistic, n_resamples=999, alternative="greater", rng=0).pvalue
    assert test_values(one, other, seed=4).p == pytest.approx(reference, abs=0.03)


# Documents, tables, scores


@pytest.mark.unit
def test_a_burst_of_copies_counts_once() -> None:
    texts = world(420)
    burst = [f"{texts[0]} {number}." for number in range(80)]
    incoming, old = texts[:120] + burst, texts[120:]
    assert test_texts(sketch(incoming), sketch(old), permutations=99).p <= 0.02  # what would be, were each taken for a text
    found = document_drift(incoming, old)
    assert not holm_alarm(found.parts)[1] and found.parts[0].incoming <= 121
    assert any("of 200 incoming documents repeat other incoming ones" in note for note in found.notes)
    assert any("it takes 300 or more" in note for note in found.notes)
    with pytest.raises(TooFew, match=r"2\d incoming distinct documents: nothing can be told of so few; it takes 50, and 300 to show 10%"):
        document_drift(texts[:24] + burst, old)


@pytest.mark.unit
def test_what_moved_is_named_and_the_same_is_found_again() -> None:
    texts = world(400)
    incoming = texts[:90] + chat(12)
    found, again = document_drift(incoming, texts[90:]), document_drift(incoming, texts[90:])
    adjusted, alarm = holm_alarm(found.parts)
    assert alarm and adjusted["document text"] <= 0.01 and found == again
    assert {"lol", "bus"} & {word.word for word in found.words[:12]} and found.words[0].incoming > found.words[0].old == 0
    assert all(90 <= text.place < 102 and incoming[text.place] == text.text for text in found.unlike[:6])
    assert found.unlike[0].words and not set(found.unlike[0].words) & set(" ".join(texts).lower().split())
    assert document_drift(incoming[:90], texts[90:]).parts != found.parts


def tables(count: int, seed: int, wide: bool = False) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = []
    for place in range(count):
        names = [
            [f"{word} {number}" for word, number in zip(rng.choice(made.WORDS, 3), rng.integers(0, 999, 3), strict=True)] for _ in range(3)
        ]
        body = [[*line, str(rng.integers(0, 99))] if wide else line for line in names]
        header = ["Coach", "Side", "Town", "Won"] if wide else ["Coach", "Side", "Town"]
        rows.append({"id": str(place), "question": f"Who won {names[0][0]}?", "title": "List", "header": header, "rows": body})
    return rows


@pytest.mark.unit
def test_tables_with_other_columns_are_told_from_those_without_and_questions_are_optional() -> None:
    old = tables(150, 0)
    same = document_free = table_drift(tables(60, 1), old)
    assert not holm_alarm(same.parts)[1] and [part.name for part in document_free.parts] == [
        "table header", "table cells", "table question", "table rows", "table columns", "table numbers",
    ]  # fmt: skip
    changed = table_drift([row | {"question": None} for row in tables(60, 1, wide=True)], old)
    adjusted, alarm = holm_alarm(changed.parts)
    assert alarm and "table question" not in adjusted and adjusted["table columns"] <= 0.01 >= adjusted["table numbers"]
    assert "won" in {word.word for word in changed.words}
    asked_twice = tables(60, 1)
    assert table_drift([*asked_twice, *asked_twice], old).parts[0].incoming == 60


@pytest.mark.unit
def test_scores_that_fell_alarm_and_those_of_one_document_count_once() -> None:
    old, worse = made.summary_rows(150), made.summary_rows(150, better=-0.3, seed=1)
    for place, row in enumerate(worse):
        row["document"] += f" {' '.join(np.random.default_rng(place).choice(made.WORDS, 30))}"
    adjusted, alarm = holm_alarm(score_drift(worse, old, ["quals", "qags"]).parts)
    assert alarm and adjusted["score quals"] <= 0.01 < adjusted["score qags"]
    with pytest.raises(TooFew, match="distinct documents judged"):
        score_drift(worse[:4] * 30, old, ["quals"])


# Files of a person


@pytest.mark.unit
def test_incoming_files_are_read_or_refused_with_row_and_rule(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    write_rows(file, [{"body": "Mara wrote.", "n": 1}, {"body": "Jonas left.", "n": 2}])
    assert read_incoming(file, "summaries", {"document": "body", "id": "n"}) == [
        {"id": "1", "document": "Mara wrote."}, {"id": "2", "document": "Jonas left."},
    ]  # fmt: skip
    with pytest.raises(BadRow, match=r"row 1: there is no field 'document'; there are \['body', 'n'\]"):
        read_incoming(file, "summaries")
    write_rows(file, [{"table": [["Coach"], ["Mara"]]}, {"table": [["Coach"], ["Jonas"]], "question": "Who?"}])
    assert [row["question"] for row in read_incoming(file, "tables")] == [None, "Who?"]
    write_rows(file, [{"document": "Mara.", "id": "a"}, {"document": "Jonas.", "id": "a"}])
    with pytest.raises(BadRow, match="the id 'a' is that of row 1 too"):
        read_incoming(file, "summaries")
    file.write_text("")
    with pytest.raises(BadRow, match="the file has no rows"):
        read_incoming(file, "summaries")
    scores = tmp_path / "a.scores.csv"
    scores.write_text("id,status,quals,qags,output\n1,scored,-0.5,,x\n2,scored,0.25,1,x\n")
    assert drifting.read_scores(scores) == [{"scores": {"quals": -0.5, "qags": None}}, {"scores": {"quals": 0.25, "qags": 1.0}}]
    for bad, told in (("much", "row 2: a score is no number"), ("nan", "row 2: a score is not finite")):
        scores.write_text(f"quals\n{bad}\n")
        with pytest.raises(BadRow, match=told):
            drifting.read_scores(scores)


# From the champion to the verdict


class Store:
    """A clone of its own: a champion, the data that it was trained on, and its evaluation."""

    def __init__(self, folder: Path) -> None:
        self.client, self.folder = MlflowClient(), folder
        self.experiment = self.client.create_experiment("factloop-smoke", artifact_location=(folder / "artifacts").as_uri())
        self.training = folder / "data" / "smoke" / "split" / "summaries.train.jsonl"
        write_rows(self.training, [{"id": str(place), "document": text} for place, text in enumerate(world(300))])
        made.version(self.client, self.experiment, folder / "scratch", "smoke-summarizer", "a")
        self.client.set_registered_model_alias("smoke-summarizer", "champion", "1")
        self.version = self.client.get_model_version("smoke-summarizer", "1")
        self.parent = made.parent(self.client, self.experiment, {})
        self.client.set_tag(self.version.run_id, "mlflow.parentRunId", self.parent)
        self.trained("summaries.train", self.training)

    def trained(self, part: str, path: Path) -> None:
        record.log_data(self.client, self.parent, {part: (str(path), file_digest(path))})

    def evaluation(self, rows: list[dict[str, Any]], **more: Any) -> str:
        model = self.client.get_run(self.version.run_id).data.tags["digest"]
        return made.evaluation(self.client, self.experiment, self.folder / "scratch", rows, **({"model": model} | more))

    def incoming(self, texts: list[str]) -> str:
        path = self.folder / "incoming.jsonl"
        write_rows(path, [{"document": text} for text in texts])
        return str(path)

    def kept(self) -> list[Any]:
        return list(self.client.search_runs([self.experiment], "tags.step = 'drift'"))


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    for module in (memo, drifting):
        monkeypatch.setattr(module, "STATE", tmp_path / "state")
    for module in (record, trained_on):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(trained_on, "CACHE", tmp_path / "cache")
    # Prefect runs in the flow test below; here only what it would call.
    monkeypatch.setattr(verb, "prefect_api", nullcontext)
    monkeypatch.setattr(verb, "drift", verb.drift.fn)
    monkeypatch.setattr(verb, "measure", drifting.measure.fn)
    monkeypatch.setattr(verb, "keep", drifting.keep.fn)
    yield Store(tmp_path)
    mlflow.set_tracking_uri(before)


HOSTILE = "<script>alert('{{ 1 + 1 }}')</script> <b>lol</b>"


@pytest.mark.flow
def test_an_alarm_is_exit_code_3_and_kept_once_with_what_moved(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    own = world(100, seed=2)
    assert verb.main(["--profile", "smoke", store.incoming(own)]) == 0
    assert "no drift shown" in capsys.readouterr().out and store.kept()[0].data.metrics["drift/alarm"] == 0
    file = store.incoming(own[:80] + [f"{HOSTILE} {text}" for text in chat(20)])
    assert verb.main(["--profile", "smoke", file]) == 3 == verb.main(["--profile", "smoke", file])
    said = capsys.readouterr().out
    assert "DRIFT" in said and "document text" in said and "document length" in said and "lol" in said
    run, _ = store.kept()  # the newest first; the same again is the same run
    assert run.info.status == "FINISHED" and run.data.metrics["drift/alarm"] == 1
    assert run.data.metrics["drift/document_text.p"] <= run.data.metrics["drift/document_text.p_holm"] <= 0.01
    assert run.data.tags["old.documents"] == "training documents of smoke-summarizer version 1"
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    found = json.loads((folder / "drift.json").read_text())
    assert found["alarm"] and {row["row"] for row in found["unlike"]["documents"][:6]} <= set(range(81, 101))
    page = (folder / f"drift-{run.info.run_id}.html").read_text()
    assert "default-src 'none'" in page and "&lt;script&gt;" in page and "<script" not in page and "{{ 1 + 1 }}" in page


@pytest.mark.flow
def test_an_alarm_starts_the_main_job_where_that_is_asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import retrain

    started: list[list[str]] = []
    monkeypatch.setattr(retrain, "main", lambda arguments: started.append(arguments) or 0)
    own = world(100, seed=2)
    assert verb.main(["--profile", "smoke", store.incoming(own), "--retrain"]) == 0 and started == []
    assert verb.main(["--profile", "smoke", store.incoming(own[:80] + chat(20)), "--retrain"]) == 0
    assert started == [["--profile", "smoke"]]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        verb.main(["--profile", "smoke", *arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.flow
def test_what_cannot_be_told_is_exit_code_2_with_the_reason(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    few = store.incoming(world(20, seed=2))
    assert "20 incoming distinct documents: nothing can be told of so few; it takes 50" in refusal(capsys, few)
    assert "smoke-table-qa has no champion" in refusal(capsys, "--tables", _write(store, [{"table": [["a"], ["b"]]}]))
    assert "there is no field 'text'" in refusal(capsys, few, "--document", "text")
    assert "nothing to compare" in refusal(capsys)
    assert "No such file" in refusal(capsys, str(store.folder / "none.jsonl"))
    assert "no finished evaluation of version 1" in refusal(capsys, "--scores", "0" * 32)
    store.training.write_text('{"id": "1", "document": "others"}\n')  # newer data; DVC has no copy
    assert "version 1 was trained on data/smoke/split/summaries.train.jsonl of data version" in refusal(capsys, few)
    assert store.kept() == []


def _write(store: Store, rows: list[dict[str, Any]]) -> str:
    write_rows(store.folder / "tables.jsonl", rows)
    return str(store.folder / "tables.jsonl")


@pytest.mark.flow
def test_scores_are_compared_by_the_same_judges_only_and_too_few_do_not_hide_the_rest(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.evaluation(made.summary_rows(120))
    recent = made.summary_rows(120, better=-0.4, seed=1)
    for row, text in zip(recent, world(120, seed=3), strict=True):
        row["document"] = text
    fell = store.evaluation(recent, step="evaluate", model="m2")
    assert verb.main(["--profile", "smoke", "--scores", fell]) == 3
    assert "score quals" in capsys.readouterr().out
    other = store.evaluation(recent, step="evaluate", model="m2", judge_keys="qagen-gate:zzz")
    assert "different gate judges" in refusal(capsys, "--scores", other)
    table = store.folder / "mine.scores.csv"
    table.write_text("id,quals\n" + "".join(f"{row['id']},{row['scores']['quals']}\n" for row in recent[:30]))
    assert verb.main(["--profile", "smoke", store.incoming(world(100, seed=2)), "--scores", str(table)]) == 0
    said = capsys.readouterr().out
    assert "30 incoming outputs judged: nothing can be told of so few" in said and "does not say which judges scored" in said


@pytest.mark.flow
def test_data_of_then_are_found_in_the_cache_and_no_name_leaves_the_data(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    own = world(100, seed=2)
    objects = {"1" * 32: store.training.read_bytes()}
    objects["2" * 32 + ".dir"] = json.dumps([{"md5": "1" * 32, "relpath": store.training.name}]).encode()
    for md5, content in objects.items():
        path = store.folder / "cache" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    lock = "stages: {split@smoke: {outs: [{path: data/smoke/split, md5: " + "2" * 32 + ".dir}]}}"
    store.client.log_text(store.parent, lock, "origin/dvc.lock")
    store.training.write_text('{"id": "1", "document": "others"}\n')
    assert verb.main(["--profile", "smoke", store.incoming(own)]) == 0
    (store.folder / "cache" / "11" / ("1" * 30)).write_text("damaged")
    assert "is neither in this clone nor in" in refusal(capsys, store.incoming(own))
    outside = store.folder / "secret.jsonl"
    write_rows(outside, [{"document": text} for text in own])
    store.trained("table_questions.train", outside)
    with pytest.raises(trained_on.Untraced, match="does not say what table_questions.train"):
        trained_on.training_file(store.client, store.version, "table_questions.train")


@pytest.mark.fault
def test_killed_at_every_point_a_verdict_is_kept_once(store: Store, kill: Callable[[str], None]) -> None:
    arguments = ["--profile", "smoke", store.incoming(world(100, seed=2))]
    for point in POINTS:
        kill(point)
        with pytest.raises(Killed):
            verb.main(arguments)
    kill("")
    assert verb.main(arguments) == 0
    (run,) = store.kept()
    assert run.info.status == "FINISHED"
    assert {item.path for item in store.client.list_artifacts(run.info.run_id)} == {"drift.json", f"drift-{run.info.run_id}.html"}


@pytest.mark.flow
def test_incoming_documents_and_tables_of_a_retrain(smoke: tuple[Clone, subprocess.CompletedProcess[str]]) -> None:
    clone, _ = smoke
    split = clone.folder / "data" / "smoke" / "split"
    shutil.copy(split / "summaries.test.jsonl", clone.folder / "incoming.jsonl")
    pages = [json.loads(line) for line in (clone.folder / "data/smoke/validated/pages.jsonl").read_text().splitlines()[:80]]
    drifted = [{"table": {"title": "Prices", "header": ["Item", "Price"], "rows": [[page["id"], "3"]]}} for page in pages]
    write_rows(clone.folder / "tables.jsonl", drifted)
    result = clone.run("-m", "flows.drift", "--profile", "smoke", "incoming.jsonl", "--tables", "tables.jsonl")
    assert result.returncode == 3 and "DRIFT" in result.stdout and "table header" in result.stdout, result.stderr[-3000:]
    page = Path(re.search(r"page +(\S+\.html)", result.stdout)[1])  # type: ignore[index]
    assert "training tables of smoke-table-qa version" in page.read_text()
    found = json.loads(
        clone.ask(f"""
run = client.get_run("{page.stem.removeprefix("drift-")}")
print(json.dumps(open(run.info.artifact_uri.removeprefix("file://") + "/drift.json").read()))""")
    )  # type: ignore[arg-type]
    adjusted = {part["name"]: part["p_holm"] for part in found["parts"]}
    assert adjusted["table header"] <= 0.02 and min(adjusted["document text"], adjusted["document length"]) > 0.05
