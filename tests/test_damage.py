"""Damaged files, a full or read-only disk, a taken port: noticed, and mended or told in one paragraph."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.conftest import Clone, Undisturbed
from tests.soundness import data_digests, flaws, flip, outcome, step_files

pytestmark = pytest.mark.fault


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_damaged_data_results_and_champion_are_noticed_and_made_again(undisturbed: Undisturbed) -> None:
    clone = undisturbed.clone
    flip(clone.folder / "data" / "fault" / "split" / "summaries.train.jsonl")
    truncate(clone.folder / "data" / "fault" / "mined" / "short_questions.jsonl")  # this DVC itself sees
    flip(clone.folder / "data" / "fault" / "ingested" / "pages.jsonl")
    truncate(step_files(clone.folder, "fault", "evaluate-summarizer-mle") / "examples.jsonl")
    flip(next(step_files(clone.folder, "fault", "summarizer-contrastive").rglob("model.safetensors")))
    (step_files(clone.folder, "fault", "scores") / "scores.jsonl").unlink()
    result = clone.retrain("fault")
    assert result.returncode == 0, result.stderr[-3000:]
    assert re.search(r"data: .*ingested, .*split changed since made; restored", result.stdout)
    again = set(re.findall(r"([\w-]+): the files of run \w+ are damaged; it is done again", result.stdout))
    assert again == {"evaluate-summarizer-mle", "summarizer-contrastive", "scores"}
    assert outcome(clone.folder, "fault") == undisturbed.outcome
    assert list(flaws(clone.folder, "fault", undisturbed.outcome["data"])) == []


def test_a_damaged_judge_is_refused_and_comes_back_by_the_command_that_is_named(undisturbed: Undisturbed) -> None:
    clone = undisturbed.clone
    truncate(next(step_files(clone.folder, "fault", "qagen-gate").rglob("model.safetensors")))
    refused = clone.retrain("fault")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert re.search(r"retrain: fault-qagen version \d+, which is in use \(\w+, \w+\), is damaged", refused.stderr)
    assert "python -m flows.train_judges --profile fault --replace" in refused.stderr
    mended = clone.run("-m", "flows.train_judges", "--profile", "fault", "--replace")
    assert mended.returncode == 0, mended.stderr[-3000:]
    result = clone.retrain("fault")
    assert result.returncode == 0 and "nothing changed" in result.stdout
    found = outcome(clone.folder, "fault")
    found["steps"].pop("train_judges")
    assert found == undisturbed.outcome


def test_a_damaged_dvc_lock_is_told_and_one_that_says_otherwise_changes_no_data(undisturbed: Undisturbed) -> None:
    clone = undisturbed.clone
    lock = clone.folder / "dvc.lock"
    whole = lock.read_text()
    truncate(lock)
    lock.write_text(lock.read_text() + "\n  ]")
    refused = clone.retrain("fault")
    assert refused.returncode == 2 and "dvc.lock" in refused.stderr and "Traceback" not in refused.stderr
    recorded = re.search(r"path: data/fault/split\n +hash: md5\n +md5: (\w+)", whole)
    assert recorded
    lock.write_text(whole.replace(recorded[1], "0" * 32))
    result = clone.retrain("fault")
    assert result.returncode == 0 and "nothing changed" in result.stdout
    assert data_digests(clone.folder, "fault") == undisturbed.outcome["data"]


def test_data_damaged_with_its_only_copy_is_made_again(undisturbed: Undisturbed) -> None:
    clone = undisturbed.clone
    file = clone.folder / "data" / "fault" / "split" / "mined.jsonl"
    cached = [
        path for path in (clone.folder / ".factloop" / "dvc-cache").rglob("*") if path.is_file() and path.read_bytes() == file.read_bytes()
    ]
    assert cached
    for path in (file, *cached):
        flip(path)
    result = clone.retrain("fault")
    assert result.returncode == 0 and "split changed since made; restored" in result.stdout and "nothing changed" in result.stdout
    assert data_digests(clone.folder, "fault") == undisturbed.outcome["data"]
    assert cached[0].read_bytes() == file.read_bytes(), "the damaged copy is still there, to be pushed"


def test_a_data_stage_that_fails_leaves_what_was_there(undisturbed: Undisturbed) -> None:
    contracts = undisturbed.clone.folder / "data" / "contracts.yaml"
    whole = contracts.read_text()
    contracts.write_text(whole.replace("{column: asked, min_value: 1}", "{column: asked, min_value: 99}"))
    refused = undisturbed.clone.retrain("fault")
    assert refused.returncode == 2 and "broke 1 of 5 rules of 'questions'" in refused.stderr
    assert data_digests(undisturbed.clone.folder, "fault") == undisturbed.outcome["data"]
    contracts.write_text(whole)
    again = undisturbed.clone.retrain("fault")
    assert again.returncode == 0 and "nothing changed" in again.stdout


def test_a_broken_contract_of_what_a_model_wrote_stays_broken_when_asked_again(undisturbed: Undisturbed) -> None:
    told = []
    for _ in range(2):
        result = undisturbed.clone.retrain("fault", "--set", "tables.check_questions=true")
        assert result.returncode == 2 and "Traceback" not in result.stderr
        told.append(result.stderr.strip().splitlines()[-1])
    assert told[0] == told[1] and "questions.jsonl: no rows at all" in told[0]


def test_a_disk_that_fills_up_is_told_and_with_room_it_goes_on(undisturbed: Undisturbed, tmp_path: Path, prefect_server: str) -> None:
    """A real small disk under the state folder and the data, grown after each run that it was too small for."""
    clone = Clone(tmp_path / "clone")
    sizes = [200, 6000, 30000, 200000]  # KiB
    script = "set -e; mkdir .factloop data/fault; mount -t tmpfs -o size=1k tmpfs .factloop\n"
    for size in sizes:
        script += f'mount -o remount,size={size}k .factloop; echo "size {size}" >&2\n'
        script += 'python -m flows.retrain --profile fault && code=0 || code=$?; echo "code $code" >&2\n'
    result = clone.shell(script, PREFECT_API_URL=prefect_server)
    codes = [int(code) for code in re.findall(r"^code (\d+)", result.stderr, re.MULTILINE)]
    assert codes == [2, 2, 2, 0], result.stderr[-6000:]
    assert "Traceback" not in result.stderr
    for told in re.split(r"^size \d+", result.stderr, flags=re.MULTILINE)[1:-1]:
        assert re.search(r"no space left; make room or allow writing, and start this again", told), told


def test_no_room_for_a_data_file_is_told_and_leaves_none_half_written(
    undisturbed: Undisturbed, tmp_path: Path, prefect_server: str
) -> None:
    clone = Clone(tmp_path / "clone")
    script = "mkdir -p data/fault; mount -t tmpfs -o size=200k tmpfs data/fault; python -m flows.retrain --profile fault; code=$?; ls -R data/fault; exit $code"
    result = clone.shell(script, PREFECT_API_URL=prefect_server)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert re.search(r"ingest: \S+/data/fault: No space left on device", result.stderr)
    assert "jsonl" not in result.stdout


def test_a_read_only_state_folder_is_told(undisturbed: Undisturbed) -> None:
    result = undisturbed.clone.shell(
        "mount --bind .factloop .factloop; mount -o remount,bind,ro .factloop; python -m flows.retrain --profile fault"
    )
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and "read-only; make room or allow writing" in result.stderr


@pytest.mark.parametrize("server", ["mlflow", "prefect"])
def test_pages_on_a_taken_port_say_how_to_choose_another(undisturbed: Undisturbed, server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = undisturbed.clone.run("-m", "flows.ui", f"--{server}-port", str(port))
    assert result.returncode == 2
    assert result.stderr.strip() == f"ui: port {port} is in use; choose another with --{server}-port"
