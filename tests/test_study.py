"""A study by people: its statistics, what raters are given, what is read back and what is refused."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from factloop.corpora.rows import BadRow
from factloop.statistics.study import fleiss_kappa, majority, outcome, sign_test
from factloop.study import AXES, blind_pairs, read_answers, sheets
from tasks.study import NoStudy, Rated, Study, read_study, write_study
from tests.browser import Browser
from tests.conftest import Clone

SMOKE = tuple[Clone, subprocess.CompletedProcess[str]]
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="window.alerted = 1">"\'&'

# Statistics

# Psychiatric diagnoses of 30 patients by 6 raters each, 5 categories: table 1 of Fleiss (1971), whose kappa is .430.
DIAGNOSES = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""


@pytest.mark.unit
def test_kappa_of_the_table_that_fleiss_published() -> None:
    counts = [[int(digit) for digit in row] for row in DIAGNOSES.split()]
    assert np.sum(counts, 0).tolist() == [26, 26, 30, 55, 43]
    found = fleiss_kappa(counts)
    assert found and found.value == pytest.approx(0.430, abs=5e-4) and found.low < found.value < found.high
    fourteen = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0], [3, 2, 6, 3, 0],
                [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]  # fmt: skip
    assert fleiss_kappa(fourteen).value == pytest.approx(0.210, abs=5e-4)  # type: ignore[union-attr]  # another that is often printed


@pytest.mark.unit
def test_kappa_at_its_ends_and_where_there_is_none() -> None:
    assert fleiss_kappa([[3, 0], [0, 3], [3, 0]]).value == 1  # type: ignore[union-attr]
    assert fleiss_kappa([[1, 1], [1, 1]]).value == -1  # type: ignore[union-attr]
    assert fleiss_kappa([[1, 0], [0, 1]]) is None and fleiss_kappa([[3, 0], [3, 0]]) is None
    with pytest.raises(ValueError, match="2 to 3"):
        fleiss_kappa([[3, 0], [1, 1]])
    rng = np.random.default_rng(0)
    chance = fleiss_kappa(rng.multinomial(3, [0.5, 0.3, 0.2], 2000))
    assert chance and abs(chance.value) < 0.03 and chance.low < 0 < chance.high


@pytest.mark.unit
@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1), (1, 0, 1), (5, 5, 1), (10, 0, 2 / 1024), (8, 2, 0.109375), (9, 1, 22 / 1024), (3, 12, 1152 / 32768), (0, 6, 0.03125)],
)
def test_the_sign_test_is_the_exact_binomial_one(better: int, worse: int, p: float) -> None:
    assert sign_test(better, worse).p == pytest.approx(p, rel=1e-12)


@pytest.mark.unit
def test_the_sign_test_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    for better, worse in ((30, 17), (210, 151), (1, 99)):
        assert sign_test(better, worse).p == pytest.approx(binomtest(better, better + worse).pvalue, rel=1e-9)


@pytest.mark.unit
def test_shares_majorities_and_tests_of_known_verdicts() -> None:
    table = [[1, 1, -1], [1, 0, -1], [-1, -1, -1], [0, 0, 1], [1, 1, 1], [1, 1, 0]]
    assert majority(table).tolist() == [1, 0, -1, 0, 1, 1]
    found = outcome(table)
    assert {name: round(share.value * 18) for name, share in found.shares.items()} == {"better": 9, "worse": 5, "equal": 4}
    assert (found.majority.better, found.majority.worse) == (3, 1) and (found.judgements.better, found.judgements.worse) == (9, 5)
    assert all(share.low <= share.value <= share.high for share in found.shares.values())
    assert outcome([[1], [-1], [0]]).kappa is None
    assert majority([[1, -1], [1, 0], [1, 1]]).tolist() == [0, 0, 1]  # of two raters both must say so


@pytest.mark.unit
def test_the_interval_of_a_share_is_over_examples_not_over_judgements() -> None:
    alike = np.repeat(np.random.default_rng(0).choice([1, -1], 40)[:, None], 5, 1)
    one, five = outcome(alike[:, :1]).shares["better"], outcome(alike).shares["better"]
    assert (five.low, five.high) == (one.low, one.high)  # raters who only repeat each other add nothing


# Pairs and sheets


def written(texts: list[str]) -> list[dict[str, Any]]:
    return [{"id": f"e{i}", "document": f"Document {i} {HOSTILE}", "output": text} for i, text in enumerate(texts)]


def small_study(count: int = 12, raters: int = 2) -> Study:
    pairs, identical = blind_pairs(
        written([f"A{i}" for i in range(20)]), written([f"B{i}" if i % 5 else f"A{i}\n" for i in range(20)]), count, 1
    )
    found = Study("", (Rated("one", "1" * 32), Rated("two", "2" * 32)), 1, 20, identical, pairs, sheets(pairs, raters, 1))
    from tasks.study import _id

    return Study(**{**vars(found), "id": _id(found)})


@pytest.mark.unit
def test_pairs_are_drawn_by_seed_from_those_that_differ() -> None:
    study = small_study()
    assert study.identical == 4 and len(study.pairs) == 12 and len({pair.id for pair in study.pairs}) == 12
    assert all(pair.summaries == (f"A{pair.example[1:]}", f"B{pair.example[1:]}") for pair in study.pairs)
    assert small_study() == study
    first, second = written(["a", "b", "c"]), written(["x", "y", "z"])
    draws = {tuple(pair.example for pair in blind_pairs(first, second, 1, seed)[0]) for seed in range(20)}
    assert len(draws) == 3 and len(blind_pairs(first, second, 50, 1)[0]) == 3
    with pytest.raises(ValueError, match="2 against 3; 0 and 1 of them"):
        blind_pairs(first[:2], second, 5, 1)
    with pytest.raises(ValueError, match="same of all 3"):
        blind_pairs(first, first, 5, 1)


@pytest.mark.unit
def test_each_rater_has_an_order_of_their_own_in_which_neither_system_stands_first_more_often() -> None:
    study = small_study(raters=3)
    orders = [[pair for pair, _ in sheet.order] for sheet in study.sheets]
    assert all(sorted(order) == sorted(orders[0]) for order in orders) and len({tuple(order) for order in orders}) == 3
    assert [sum(place for _, place in sheet.order) for sheet in study.sheets] == [6, 6, 6]
    assert len({tuple(sorted(sheet.order)) for sheet in study.sheets}) == 3


# What raters are given


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.unit
def test_a_page_runs_its_own_script_and_nothing_else_and_does_not_tell_who_is_who(tmp_path: Path) -> None:
    study = small_study()
    write_study(study, tmp_path / "s")
    for sheet in study.sheets:
        page = (tmp_path / "s" / "for-raters" / f"rater-{sheet.rater}.html").read_text(encoding="utf-8")
        tags = Tags(page).found
        assert [tag for tag, _ in tags].count("script") == 1 and not {"img", "link", "iframe", "object"} & {tag for tag, _ in tags}
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name in ("src", "href", "style")]
        (policy,) = (a["content"] for tag, a in tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
        for tag in ("script", "style"):
            (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
            allowed = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{allowed}'" in str(policy)
        assert str(policy).startswith("default-src 'none'") and "unsafe" not in str(policy)
        assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
        with (tmp_path / "s" / "for-raters" / f"rater-{sheet.rater}.csv").open(encoding="utf-8-sig", newline="") as stream:
            form = list(csv.DictReader(stream))
        shown = [a["data-pair"] for tag, a in tags if tag == "article"]
        assert shown == [row["pair"] for row in form] == [pair for pair, _ in sheet.order]
        places = dict(sheet.order)
        assert all(row["first"].startswith("AB"[places[row["pair"]]]) for row in form)
        for secret in ("one", "two", "1" * 32, "2" * 32):
            assert not re.search(rf"\b{secret}\b", re.sub(r"<script>.*?</script>|<p>Below are.*?</p>|<noscript>.*?</noscript>", "", page, flags=re.DOTALL)
                                 .replace("Which one", "").replace("next one that", ""))  # fmt: skip
    assert read_study(tmp_path / "s") == study
    with pytest.raises(NoStudy, match="not an empty folder"):
        write_study(study, tmp_path / "s")


@pytest.mark.unit
def test_a_formula_in_a_summary_is_text_in_the_form(tmp_path: Path) -> None:
    pairs, _ = blind_pairs(written(["=cmd()"]), written(["-1+1"]), 5, 1)
    study = Study("x" * 12, (Rated("one", "1"), Rated("two", "2")), 1, 1, 0, pairs, sheets(pairs, 1, 1))
    write_study(study, tmp_path / "s")
    with (tmp_path / "s" / "for-raters" / "rater-1.csv").open(encoding="utf-8-sig", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert {row["first"], row["second"]} == {"'=cmd()", "'-1+1"}


@pytest.mark.unit
@pytest.mark.parametrize("break_", [lambda t: t[:-9], lambda t: t.replace('"seed": 1', '"seed": 2'), lambda t: "[]", lambda t: "{}"])
def test_a_key_that_is_not_as_exported_is_refused(tmp_path: Path, break_: Any) -> None:
    write_study(small_study(), tmp_path / "s")
    path = tmp_path / "s" / "key.json"
    path.write_text(break_(path.read_text()))
    with pytest.raises(NoStudy, match=re.escape(str(path))):
        read_study(tmp_path / "s")


# What is read back

HEADER = ["study", "rater", "pair", *AXES]


def answers(path: Path, study: Study, rater: int, says: Any) -> Path:
    """A file of answers: `says` gives the place of the better system, or None for equal, of a pair and an axis."""
    rows = []
    for pair, first in study.sheets[rater - 1].order:
        better = [says(pair, axis) for axis in AXES]
        rows.append([study.id, str(rater), pair, *("equal" if b is None else "first" if b == first else "second" for b in better)])
    return save(path, [HEADER, *rows])


def save(path: Path, rows: list[list[str]], **options: Any) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, **options).writerows(rows)
    return path


@pytest.mark.unit
def test_answers_are_read_back_as_they_were_meant_whoever_stood_first(tmp_path: Path) -> None:
    study = small_study()
    meant = {
        pair.id: {"consistency": 0, "informativeness": 1, "grammar": None if place % 2 else 0} for place, pair in enumerate(study.pairs)
    }
    files = [answers(tmp_path / f"{r}.csv", study, r, lambda pair, axis: meant[pair][axis]) for r in (1, 2)]
    found = read_answers(files, study.id, study.sheets)
    expected = {pair: {axis: {0: 1, 1: -1, None: 0}[place] for axis, place in said.items()} for pair, said in meant.items()}  # type: ignore[index]
    assert found == {1: expected, 2: expected}


@pytest.mark.unit
def test_a_form_filled_in_by_hand_is_an_answer_too(tmp_path: Path) -> None:
    study = small_study()
    write_study(study, tmp_path / "s")
    path = tmp_path / "s" / "for-raters" / "rater-2.csv"
    with path.open(encoding="utf-8-sig", newline="") as stream:
        header, *rows = csv.reader(stream)
    save(path, [header, *([*row[:-3], " First", "second ", "EQUAL"] for row in reversed(rows))])
    found = read_answers([path], study.id, study.sheets)[2]
    assert {v for said in found.values() for v in (said["grammar"],)} == {0}
    places = dict(study.sheets[1].order)
    assert all(said["consistency"] == (1 if places[pair] == 0 else -1) == -said["informativeness"] for pair, said in found.items())


def change(row: int, column: int, value: str) -> Any:
    return lambda rows: [[value if (i, j) == (row, column) else cell for j, cell in enumerate(cells)] for i, cells in enumerate(rows)]


BAD = {
    "nothing": (lambda rows: [], r"row 1: the file has no rows"),
    "header only": (lambda rows: rows[:1], r"row 1: the file has no rows"),
    "no column": (lambda rows: [row[:-1] for row in rows], r"row 1: there is no column 'grammar'$"),
    "another study": (change(3, 0, "abc"), r"row 4: study 'abc' is another one"),
    "another rater": (change(5, 1, "2"), r"row 6: rater '2' in a file of rater '1'"),
    "no such rater": (lambda rows: [rows[0], *([row[0], "7", *row[2:]] for row in rows[1:])], r"row 2: there is no rater '7'; the study has 1, 2"),
    "odd rater": (lambda rows: [rows[0], *([row[0], "²", *row[2:]] for row in rows[1:])], r"row 2: there is no rater '²'"),
    "unknown pair": (change(2, 2, "p99"), r"row 3: there is no pair 'p99'"),
    "twice": (lambda rows: [*rows, rows[4]], r"row 14: pair 'p\d\d' is answered twice"),
    "no answer": (change(2, 4, ""), r"row 3: informativeness has no answer; first, second or equal"),
    "wrong value": (change(12, 3, "third"), r"row 13: consistency is 'third'; first, second or equal"),
    "missing": (lambda rows: rows[:7], r"row 8: 6 of 12 pairs have no answer: p\d\d, .* and 1 more"),
    "narrow": (lambda rows: [*rows[:3], rows[3][:2]], r"row 4: 2 fields where the header has 6"),
}  # fmt: skip


@pytest.mark.unit
@pytest.mark.parametrize("name", BAD)
def test_answers_that_are_none_are_refused_with_file_row_and_rule(name: str, tmp_path: Path) -> None:
    study = small_study()
    spoil, says = BAD[name]
    good = answers(tmp_path / "good.csv", study, 2, lambda pair, axis: 0)
    path = answers(tmp_path / "bad.csv", study, 1, lambda pair, axis: None)
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    save(path, spoil(rows))
    with pytest.raises(BadRow, match=f"^{re.escape(str(path))}: {says}"):
        read_answers([good, path], study.id, study.sheets)


@pytest.mark.unit
def test_two_files_of_one_rater_and_semicolons_are_refused(tmp_path: Path) -> None:
    study = small_study()
    files = [answers(tmp_path / f"{name}.csv", study, 1, lambda pair, axis: 0) for name in "ab"]
    with pytest.raises(BadRow, match=r"b\.csv: row 2: rater 1 has answered already, in .*a\.csv"):
        read_answers(files, study.id, study.sheets)
    with files[0].open(newline="") as stream:
        save(files[1], list(csv.reader(stream)), delimiter=";")
    with pytest.raises(BadRow, match="b.csv: row 1: there is no column 'study'; its fields are parted by semicolons"):
        read_answers(files[1:], study.id, study.sheets)


@pytest.mark.unit
def test_a_person_fills_the_page_in_by_keyboard_goes_away_and_comes_back(tmp_path: Path) -> None:
    study = small_study()
    write_study(study, tmp_path / "s")
    page = tmp_path / "s" / "for-raters" / "rater-1.html"
    with Browser(tmp_path) as browser:
        browser.open(page)
        assert browser.ask("document.querySelectorAll('article:not([hidden])').length") == 1
        browser.press("120n" * 5 + "1")  # five documents, and one count of the sixth
        browser.open(page)
        assert browser.ask("document.getElementById('count').textContent") == "5 of 12 answered"
        assert browser.ask("[document.querySelector('article:not([hidden])').ariaLabel, document.querySelectorAll('input:checked').length]") == [
            "document 6 of 12", 16,
        ]  # fmt: skip
        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        browser.press("p")
        browser.ask("document.getElementById('download').click()")  # not yet: it goes to the first that is open
        assert "Not yet: 7 of 12" in browser.ask("document.getElementById('told').textContent")
        browser.press("20" + "u120" * 6)
        browser.ask("document.getElementById('download').click()")
        file = tmp_path / f"answers-{study.id}-rater-1.csv"
        for _ in range(200):
            if file.exists():
                break
            time.sleep(0.05)
        assert browser.ask("window.alerted") is None
    said = read_answers([file], study.id, study.sheets)[1]
    first = dict(study.sheets[0].order)
    for pair, verdict in said.items():
        stood = 1 if first[pair] == 0 else -1
        assert verdict == {"consistency": stood, "informativeness": -stood, "grammar": 0}


# The whole of it


def commands(clone: Clone, *lines: list[str]) -> list[tuple[int, str, str]]:
    """Run the command so often in one process of the clone: status, what it said, and what it said of errors."""
    found = clone.ask(f"""
import contextlib, io
from flows.study import main
from tasks.console import console
found = []
for line in {list(lines)!r}:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(err), console.capture() as capture:
        try:
            status = main(line)
        except SystemExit as ended:
            status = ended.code
    found.append([status, capture.get(), err.getvalue()])
print(json.dumps(found))""")
    return [(status, out, err) for status, out, err in found]  # type: ignore[attr-defined]


def recorded(clone: Clone, study: Study) -> list[tuple[dict[str, list[float]], dict[str, str], dict[str, set[str]]]]:
    """Of both evaluations: each metric's history, the tags, and the files of each reading."""
    client = MlflowClient(f"sqlite:///{clone.folder / '.factloop' / 'mlflow.db'}")
    found = []
    for side in study.rated:
        run = client.get_run(side.run)
        names = [name for name in run.data.metrics if name.startswith("study/")]
        histories = {name: sorted(client.get_metric_history(side.run, name), key=lambda point: point.timestamp) for name in names}
        files = {
            folder.path: {Path(file.path).name for file in client.list_artifacts(side.run, folder.path)}
            for folder in client.list_artifacts(side.run, "study")
        }
        found.append(({name: [point.value for point in points] for name, points in histories.items()}, run.data.tags, files))
    return found


@pytest.mark.flow
def test_a_study_of_two_registered_summarisers_is_recorded_once_with_both(smoke: SMOKE, tmp_path: Path) -> None:
    clone, _ = smoke
    folder = tmp_path / "study"
    export = ["export", "smoke-summarizer@champion", "smoke-summarizer/1", "--examples", "6", "--out", str(folder)]
    made = clone.run("-m", "flows.study", *export)
    assert made.returncode == 0 and re.search(r"\d+ pairs for 3 raters", made.stdout), made.stderr[-3000:]
    study = read_study(folder)
    files = [answers(tmp_path / f"{r}.csv", study, r, lambda pair, axis, r=r: 0 if axis == "grammar" or r < 3 else None) for r in (1, 2, 3)]
    read = ["read", str(folder), *map(str, files)]
    said = clone.run("-m", "flows.study", *read)
    assert said.returncode == 0, said.stderr[-3000:]
    count = len(study.pairs)
    p = sign_test(count, 0).p
    row = rf"grammar +│ 100% \[100%, 100%\] +│ 0% \[0%, 0%\] +│ 0% \[0%, 0%\] +│ {count} : 0, p = {p:.3f}"
    assert re.search(row, said.stdout), said.stdout
    page = Path(re.search(r"report\s+(\S+\.html)", said.stdout)[1]).read_text()  # type: ignore[index]
    assert "smoke-summarizer/1" in page and page.count("<details") == count and "<script" not in page
    for side, (metrics, tags, kept) in enumerate(recorded(clone, study)):
        assert metrics["study/consistency/better"] == [pytest.approx((2 / 3, 0)[side])]
        assert metrics["study/consistency/worse"] == [pytest.approx((0, 2 / 3)[side])]
        assert metrics["study/consistency/p_majority"] == [p] and metrics["study/grammar/better.low"] == [1 - side]
        assert metrics["study/pairs"] == [count] and metrics["study/identical"] == [study.identical] and metrics["study/raters"] == [3]
        assert "study/grammar/kappa" not in metrics and metrics["study/consistency/kappa"][0] < 0  # one of three never agrees
        assert list(kept.values()) == [{"study.html", "study.json", "rater-1.csv", "rater-2.csv", "rater-3.csv"}]
        assert study.rated[1 - side].name in tags[f"study.{study.id}"]

    spoiled = save(tmp_path / "spoiled.csv", [HEADER, [study.id, "2", "nothing", "first", "first", "first"]])
    again, refused, fewer = commands(clone, read, ["read", str(folder), str(files[0]), str(spoiled)], ["read", str(folder), str(files[0])])
    assert again[:2] == (0, said.stdout)
    assert refused[0] == 2 and "spoiled.csv: row 2: there is no pair 'nothing'" in refused[2]
    assert fewer[0] == 0 and "not available" in fewer[1]
    for metrics, _, kept in recorded(clone, study):  # of the three one was new: the same again is no point more, nor is what was refused
        assert metrics["study/raters"] == [3, 1] and len(metrics["study/consistency/kappa"]) == 1 and len(kept) == 2


REFUSED = {
    ("smoke-summarizer@nobody", "smoke-summarizer/1"): "no such registered model or alias",
    ("smoke-summarizer/99", "smoke-summarizer/1"): "smoke-summarizer/99",
    ("0" * 32, "smoke-summarizer/1"): "name@alias or name/version",
    ("smoke-summarizer/1", "models:/smoke-summarizer/1"): "are one evaluation",
    ("smoke-qagen@gate", "smoke-summarizer/1"): "has not been evaluated",
    ("smoke-table-qa@champion", "smoke-summarizer/1"): "is not an evaluation of summaries",
}


@pytest.mark.flow
def test_what_cannot_be_compared_is_refused_and_leaves_nothing(smoke: SMOKE, tmp_path: Path) -> None:
    clone, _ = smoke
    found = commands(clone, *(["export", *sides, "--out", str(tmp_path / "s")] for sides in REFUSED))
    for (status, _, err), says in zip(found, REFUSED.values(), strict=True):
        assert status == 2 and says in err and err.startswith("study: ")
    assert not list(tmp_path.iterdir())
