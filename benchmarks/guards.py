"""Take each guard against sudden death away, and see that a test notices.

    python -m benchmarks.guards               # all
    python -m benchmarks.guards SIGTERM twin  # those whose name holds one of these words

Each guard is one replacement in the source of a temporary clone, and one test that must pass
with the guard and fail without it. Written to `benchmarks/results/guards.json`, each with the commit at which it was tried last.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.run import ROOT, commit_of
from tests.conftest import Clone

RESULT = ROOT / "benchmarks" / "results" / "guards.json"


class Guard(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    test: str


MEMO, RECORD, SERVING, DATA = "tasks/memo.py", "tasks/record.py", "tasks/serving.py", "tasks/data.py"
TRACKING, PROGRESS, FAILURES, FIT = "tasks/tracking.py", "tasks/progress.py", "tasks/failures.py", "factloop/training/fit.py"
CHECKPOINTS, TESTS = "factloop/training/checkpoints.py", "tests/test_memo.py::test_"
RELIABILITY, KEYS = "tests/test_reliability.py::test_", "tests/test_keys_and_profiles.py::test_"
SOURCES, SOURCE_TESTS = "tasks/sources.py", "tests/test_sources.py::test_"
GUARDS = (
    Guard("lease on a key", MEMO, "        lock.acquire()\n", "        pass\n", TESTS + "a_key_is_held_by_one"),
    Guard("digest check on recall", MEMO, 'if found != tags.get("digest"):', "if False:", TESTS + "a_step_runs_once_and_damaged_files_are_found_and_made_again_once"),
    Guard("corrupt mark", MEMO, 'if "corrupt" not in run.data.tags]', "if True]", TESTS + "a_step_runs_once_and_damaged_files_are_found_and_made_again_once"),
    Guard("unfinished run taken up", MEMO, "begin(client, unfinished,", "begin(client, None,", TESTS + "a_killed_run_is_taken_up_and_described_whole"),
    Guard("described on each attempt", MEMO, "        describe(client, run_id, name, parts)\n", "", TESTS + "a_killed_run_is_taken_up_and_described_whole"),
    Guard("finished means digest set", MEMO, '("digest" in run.data.tags and run.info.status == "FINISHED")', '(run.info.status == "FINISHED")', TESTS + "a_killed_run_is_taken_up_and_described_whole"),
    Guard("aliases given on recall", MEMO, "            _give_aliases(client, context, served, recalled)\n", "", TESTS + "a_model_registered_before_the_kill_is_found_again"),
    Guard("work removed on recall", MEMO, "            shutil.rmtree(work, ignore_errors=True)\n            return recalled", "            return recalled", TESTS + "a_finished_step_leaves_no_work_behind_however_it_was_killed"),
    Guard("aliases of a damaged version taken over", MEMO, "[*served.aliases, *replaced]", "served.aliases", TESTS + "a_model_made_again_takes_over_the_aliases_of_the_damaged_one"),
    Guard("a damaged model in use is refused", MEMO, "    if done is None:\n        used = ", "    if version is None:\n        used = ", TESTS + "a_model_made_again_takes_over_the_aliases_of_the_damaged_one"),
    Guard("alias after the run is finished", SERVING, '    kill_point("model:registered", step)\n', '    client.set_registered_model_alias(registered, "champion", version.version)\n    kill_point("model:registered", step)\n', TESTS + "a_model_registered_before_the_kill_is_found_again"),
    Guard("version found by key", SERVING, "            return model_id, _only(client, registered, run_id, version)\n", "            break\n", TESTS + "a_model_registered_before_the_kill_is_found_again"),
    Guard("version verified before it is found again", SERVING, "if digest(folder_digests(model_folder(model_id))) == made:", "if True:", TESTS + "a_model_damaged_before_its_run_was_finished_is_replaced"),
    Guard("unfinished logged models deleted", SERVING, "        client.delete_logged_model(unfinished.model_id)\n", "        pass\n", TESTS + "a_model_registered_before_the_kill_is_found_again"),
    Guard("stored equals written", RECORD, "if digest(folder_digests(path)) != made:", "if False:", TESTS + "what_is_stored_must_be_what_was_written"),
    Guard("curve logged once", PROGRESS, "if point.step > newest[point.key]:", "if True:", TESTS + "a_curve_is_not_logged_twice"),
    Guard("origin logged last of all, or again", "tasks/parent.py", "if ORIGIN not in run.data.tags:", "if not found:", TESTS + "a_parent_run_killed_as_it_was_opened_gets_its_origin"),
    Guard("store renamed when whole", "tasks/parent.py", 'scratch = database.with_suffix(".unfinished")', "scratch = database", TESTS + "the_store_is_there_whole_or_not_at_all"),
    Guard("rows renamed when whole", "factloop/corpora/rows.py", 'path.with_name(path.name + ".unfinished")', "path", TESTS + "rows_are_written_whole_or_not_at_all"),
    Guard("checkpoint renamed when whole", CHECKPOINTS, 'scratch = folder / "unfinished"', 'scratch = folder / f"step-{step:08d}.0"', TESTS + "a_checkpoint_is_synced_before_it_is_sealed_and_the_last_one_stays_until_then"),
    Guard("checkpoint synced before its seal", CHECKPOINTS, "        sync(scratch / name)\n", "        pass\n", TESTS + "a_checkpoint_is_synced_before_it_is_sealed_and_the_last_one_stays_until_then"),
    Guard("last checkpoint kept until the next is whole", CHECKPOINTS, "    scratch.mkdir()\n", '    scratch.mkdir()\n    for older in folder.glob("step-*"):\n        shutil.rmtree(older)\n', TESTS + "a_checkpoint_is_synced_before_it_is_sealed_and_the_last_one_stays_until_then"),
    Guard("manifest checked", CHECKPOINTS, "        if is_complete(checkpoint):\n", "        if True:\n", "tests/test_training.py::test_a_damaged_or_unfinished_checkpoint_is_passed_over"),
    Guard("data checked against dvc.lock", DATA, 'if _md5(root / out["path"]) != out["md5"]', "if False", TESTS + "a_flipped_bit_in_data_is_found_though_size_and_time_are_the_same"),
    Guard("dvc.lock of before a killed dvc restored", DATA, "        BEFORE.replace(LOCK)\n", "        BEFORE.unlink()\n", TESTS + "a_killed_dvc_leaves_no_lock_of_its_own_and_the_record_of_before"),
    Guard("earlier data kept where a stage fails", "dvc.yaml", "&kept {persist: true}", "&kept {persist: false}", "tests/test_damage.py::test_a_data_stage_that_fails_leaves_what_was_there"),
    Guard("locks of a killed dvc removed", DATA, '        (ROOT / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)\n', "", TESTS + "a_killed_dvc_leaves_no_lock_of_its_own_and_the_record_of_before"),
    Guard("never two dvc at once", DATA, 'with lease("dvc", wait=600):', "if True:", TESTS + "never_two_dvc_at_once"),
    Guard("contract checked until it held", "tasks/table_qa.py", "HELD not in client.get_run(written.run_id).data.tags:", "not written.reused:", "tests/test_damage.py::test_a_broken_contract_of_what_a_model_wrote_stays_broken_when_asked_again"),
    Guard("an unsettled move of the champion taken up", "tasks/history.py", "if last and not last.settled and", "if False and", "tests/test_promote.py::test_killed_and_asked_again_it_is_one_move"),
    Guard("moves that were never made told apart", "tasks/history.py", "        if entry.version != found:\n            continue\n", "", "tests/test_promote.py::test_a_move_that_a_kill_kept_from_being_made_is_not_gone_back_to"),
    Guard("a version put by hand is verified", "flows/promote.py", "    _usable(client, registered, wanted)\n", "", "tests/test_promote.py::test_what_cannot_become_champion_is_refused_and_nothing_moves"),
    Guard("a verdict begun by a killed rerun taken up", "tasks/rerun.py", "begin(client, begun[0] if begun else None,", "begin(client, None,", "tests/test_rerun.py::test_killed_while_it_is_kept_a_verdict_is_one_run_and_the_next_rerun_has_its_own"),
    Guard("what a killed rerun left removed", "tasks/scratch.py", "                with lease(f\"rerun-{left.name}\"):\n                    _remove(left)\n", "                pass\n", "tests/test_rerun.py::test_a_scratch_folder_goes_after_an_error_after_ctrl_c_and_after_a_kill"),
    Guard("one run of a profile at a time", "flows/retrain.py", 'with lease(f"retrain-{profile.name}"), prefect_api():', "with prefect_api():", "tests/test_fault.py::test_two_runs_at_once_one_goes_on_and_the_other_says_why"),
    Guard("one Prefect server at a time", "tasks/server.py", "with _alone(), _own() as url", "with _own() as url", "tests/test_fault.py::test_a_run_of_another_profile_waits_for_the_first_to_end"),
    Guard("twins of a run deleted", TRACKING, "                client.delete_run(twin.info.run_id)\n", "                pass\n", RELIABILITY + "killed_after_a_response_was_lost_there_is_one_run_and_one_version"),
    Guard("a twin told from another process's run", TRACKING, "uuid.uuid4().hex", '"same"', RELIABILITY + "with_every_response_lost_once_there_is_one_run_and_one_version"),
    Guard("twins of a version deleted", SERVING, "                client.delete_model_version(registered, twin.version)\n", "                pass\n", RELIABILITY + "with_every_response_lost_once_there_is_one_run_and_one_version"),
    Guard("what is deleted already is no error", TRACKING, 'if error.error_code != "RESOURCE_DOES_NOT_EXIST":', "if True:", RELIABILITY + "with_every_response_lost_once_there_is_one_run_and_one_version"),
    Guard("a version registered with its model's id", SERVING, "tags=tags, model_id=info.model_id)", "tags=tags)", RELIABILITY + "with_every_response_lost_once_there_is_one_run_and_one_version"),
    Guard("a server that is away waited for", MEMO, "    wait(name)\n    with lease(key):", "    with lease(key):", RELIABILITY + "a_server_that_is_away_at_the_start_is_waited_for_and_then_told"),
    Guard("a server that is away told", FAILURES, "if not known and _lost_tracking(error):", "if False:", RELIABILITY + "a_verb_whose_server_does_not_answer_says_so"),
    Guard("training goes on without the server", PROGRESS, "        if not here():\n            return False\n", '        if not here():\n            raise mlflow.MlflowException("away")\n', RELIABILITY + "while_the_server_is_away_training_goes_on_and_its_curve_comes_once"),
    Guard("what the server has asked for again after a failure", PROGRESS, "        self.logged = {}  #", "        #", RELIABILITY + "a_point_that_came_though_its_response_was_lost_is_not_sent_again"),
    Guard("a point that was cut off kept apart", PROGRESS, """"\\n" + json.dumps(point) for""", """json.dumps(point) + "\\n" for""", TESTS + "a_point_whose_keeping_a_kill_cut_off_spoils_none_after_it"),
    Guard("what is kept sent before a step is done", MEMO, "            progress.send()  # what is kept since the server was away\n", "", RELIABILITY + "what_is_kept_at_the_end_is_sent_before_the_step_counts_as_done"),
    Guard("a disk without room told", FAILURES, "    trouble = _disk_trouble(error)\n", "    trouble = None\n", RELIABILITY + "a_disk_without_room_is_told_and_with_room_it_goes_on"),
    Guard("checkpoint when asked to end", FIT, "(ends or step % settings.checkpoint_every == 0)", "(step % settings.checkpoint_every == 0)", RELIABILITY + "asked_to_end_training_keeps_where_it_is_and_the_next_run_goes_on[None]"),
    Guard("SIGTERM told", FAILURES, "        signal.signal(signal.SIGTERM, _end)\n", "        pass\n", RELIABILITY + "asked_to_end_training_keeps_where_it_is_and_the_next_run_goes_on[None]"),
    Guard("draws that depend on the step", FIT, "        torch.manual_seed((seed[0] * 1_000_003 + seed[1]) * 1009 + number)\n", "", RELIABILITY + "no_more_than_one_checkpoint_interval_is_trained_again"),
    Guard("a checkpoint every so many steps", FIT, "step % settings.checkpoint_every == 0", "step % 1000 == 0", RELIABILITY + "no_more_than_one_checkpoint_interval_is_trained_again"),
    Guard("checkpoint renamed within its file system", CHECKPOINTS, 'scratch = folder / "unfinished"', 'scratch = Path("/tmp") / "unfinished-checkpoint"', RELIABILITY + "checkpoints_on_another_file_system_are_whole_or_not_there"),
    Guard("an unchanged step recalled", MEMO, "        if recalled:\n", "        if False:\n", TESTS + "a_step_runs_once_and_damaged_files_are_found_and_made_again_once"),
    Guard("code in the key", "tasks/keys.py", 'code_digest(step.partition(":")[0])', '""', KEYS + "each_part_of_a_key_counts"),
    Guard("inputs in the key", "tasks/keys.py", '"inputs": dict(inputs)', '"inputs": {}', KEYS + "each_part_of_a_key_counts"),
    Guard("stage folder renamed when whole", "tasks/stages.py", '    scratch = out.with_name(f"{name}.unfinished")\n', "    shutil.rmtree(out, ignore_errors=True)\n    out.mkdir(parents=True)\n    return make(profile, out)\n    scratch = out\n", "tests/test_data.py::test_a_stage_that_a_kill_strikes_leaves_nothing_of_its_own"),
    Guard("page renamed when whole", "tasks/report.py", 'scratch = path.with_suffix(".unfinished")', "scratch = path", TESTS + "a_page_and_a_table_of_scores_are_written_whole_or_the_old_one_stays"),
    Guard("table of scores renamed when whole", "tasks/own.py", 'scratch = path.with_name(path.name + ".unfinished")', "scratch = path", TESTS + "a_page_and_a_table_of_scores_are_written_whole_or_the_old_one_stays"),
    Guard("table of scores written last", "tasks/own.py", "    table = scores_table(done)\n    client.", "    table = scores_table(done)\n    write_scores(table, scores)\n    client.", "tests/test_killed_verbs.py::test_an_evaluation_of_a_persons_own_file"),
    Guard("download verified before it is renamed", SOURCES, "        _checked(file, scratch)\n    except SourceError:\n        scratch.unlink()", "        _checked(file, scratch.replace(target))\n        target.replace(scratch)\n    except SourceError:\n        target.replace(scratch)", SOURCE_TESTS + "a_download_is_there_once_it_is_verified_however_it_was_killed"),
    Guard("digests of first copies renamed when whole", SOURCES, 'scratch = LOCK.with_name(LOCK.name + ".unfinished")', "scratch = LOCK", SOURCE_TESTS + "the_digest_of_a_first_copy_is_noted_whole_or_not_at_all"),
    Guard("traces begun by a killed run removed", "tasks/evidence.py", "        client.delete_traces(experiment, trace_ids=known)\n", "        pass\n", TESTS + "examples_are_traced_once_however_often_that_is_killed"),
    Guard("traces ended by a killed run removed", "tasks/evidence.py", "        client.delete_traces(experiment, trace_ids=[trace.info.trace_id for trace in ended])\n", "        break\n", TESTS + "examples_are_traced_once_however_often_that_is_killed"),
    Guard("examples traced once", "tasks/evidence.py", "    if int(run.data.tags.get(TAG, -1)) >= count:\n", "    if False:\n", TESTS + "examples_are_traced_once_however_often_that_is_killed"),
    Guard("kept parts of interrupted judging", "factloop/steps/judging.py", "        if judge and not part.exists():\n", "        if judge:\n", "tests/test_quals.py::test_an_interrupted_judging_goes_on_and_asks_nothing_twice"),
    Guard("damaged copies dropped from DVC's cache", DATA, "            path.unlink()\n", "            pass\n", TESTS + "damaged_copies_go_from_the_cache_before_the_out_and_others_stay"),
    Guard("damaged copies dropped before the out", DATA, '    for path in copies().glob("??/*"):\n', '    for path in damaged:\n        shutil.rmtree(path)\n        kill_point("out:dropped", path.name)\n    for path in copies().glob("??/*"):\n', TESTS + "damaged_copies_go_from_the_cache_before_the_out_and_others_stay"),
    Guard("share of bad rows held for each source", "tasks/stages.py", "hold(data.quarantine, name, aside, len(aside) + len(rows))", "hold(data.quarantine, name, aside, 10**6)", "tests/test_data.py::test_a_small_broken_source_does_not_hide_in_a_large_one"),
    Guard("champion moved on a verdict alone", "tasks/gate.py", 'if verdict.outcome == "promote":', "if True:", "tests/test_promote.py::test_the_gate_says_what_it_could_see_and_keeps_a_record"),
)  # fmt: skip


def passes(clone: Clone, test: str) -> bool:
    result = clone.run("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test)
    if result.returncode not in (0, 1):
        raise SystemExit(f"{test} could not be run:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.returncode == 0


def main() -> int:
    guards = [guard for guard in GUARDS if not sys.argv[1:] or any(word in guard.name for word in sys.argv[1:])]
    commit = commit_of(ROOT)
    with tempfile.TemporaryDirectory() as scratch:
        clone = Clone(Path(scratch) / "clone")
        with_guards = {test: passes(clone, test) for test in dict.fromkeys(guard.test for guard in guards)}
        outcomes = {}
        for guard in guards:
            path = clone.folder / guard.file
            source = path.read_text()
            if source.count(guard.old) != 1:
                raise SystemExit(f"{guard.name}: {guard.file} has {source.count(guard.old)} times {guard.old!r}, not once")
            path.write_text(source.replace(guard.old, guard.new))
            caught = with_guards[guard.test] and not passes(clone, guard.test)
            path.write_text(source)
            outcomes[guard.name] = {"guard": guard.name, "file": guard.file, "test": guard.test, "caught": caught, "commit": commit}
            print(f"{'caught' if caught else 'MISSED':7} {guard.name}", flush=True)
    found = sum(bool(outcome["caught"]) for outcome in outcomes.values())
    print(f"{found} of {len(guards)} guards are caught by their test")
    before = {outcome["guard"]: outcome for outcome in json.loads(RESULT.read_text())["guards"]} if RESULT.exists() else {}
    known = before | outcomes
    listed = [known[guard.name] for guard in GUARDS if guard.name in known]
    counts = {"caught": sum(outcome["caught"] for outcome in listed), "of": len(GUARDS)}
    RESULT.write_text(json.dumps({"command": "python -m benchmarks.guards", **counts, "guards": listed}, indent=1) + "\n")
    return 0 if found == len(guards) else 1


if __name__ == "__main__":
    sys.exit(main())
