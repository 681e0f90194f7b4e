"""Does every answer of the question grammar agree with an executor that shares none of its code?

    DATA_MIRROR=<folder> python -m benchmarks.grammar          # 10,000 questions over OTT-QA's and FeTaQA's tables

Of a question the executor takes its logical form, its table and its answer. It reads cells by pandas
(`to_numeric`, `to_datetime`, periods) after cleaning of its own, and says None where it sees more than one
answer, which counts as a disagreement. Written to `benchmarks/results/grammar.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.run import commit_of
from factloop.corpora.rows import Row, read_rows
from factloop.tables.grammar import ANSWERS, load_grammar
from factloop.tables.questions import draw_questions

ROOT = Path(__file__).resolve().parent.parent
FILES = ("tables/ottqa_tables_with_passages.jsonl.gz", "fetaqa/dev.jsonl", "fetaqa/test.jsonl", "fetaqa/train_20pct.jsonl")
EVERYWHERE = ("lookup", "lookup_by_two", "first", "last", "count")  # rules that nearly every table allows
PER_TABLE = 8
OPERATORS = {"greater": (False, True), "after": (False, True), "less": (True, False), "before": (True, False)}


def cleaned(cells: pd.Series) -> pd.Series:
    """Text without reference marks at its end, one space between words."""
    marks = r"(?:\s*(?:\[\s*(?:\w{1,3}|[Nn]\w*\s*\d+)\s*\]|\*|†|‡|§))+\s*$"
    return cells.astype(str).str.replace(marks, "", regex=True).str.split().str.join(" ")


def numeric(cells: pd.Series) -> pd.Series:
    """Numbers of cells that hold one and no more; NaN elsewhere."""
    texts = cleaned(cells).str.replace(r"^\W*[-\u2212\u2013]", "-", regex=True).str.replace(",", "")
    only = texts.where(texts.str.count(r"\d+\.?\d*|\.\d+") == 1)
    digits = only.str.extract(r"(\d+(?:\.\d+)?|\.\d+)")[0]
    signs = only.str.startswith("-").fillna(False).astype(bool).map({True: -1.0, False: 1.0})
    return pd.to_numeric(digits, errors="coerce") * signs


def unit(cells: pd.Series) -> pd.Series:
    return cleaned(cells).str.casefold().str.replace(r"[-+\u2212\u2013](?=\W?[\d.])|[\d.,\s]", "", regex=True)


def periods(cells: pd.Series) -> list[pd.Period] | None:
    """Days, months or years; None where a cell is no date."""
    texts = cleaned(cells).str.replace(r"\s+([,.])", r"\1", regex=True).str.replace(r"\b(Sept?)\b\.?", "Sep", regex=True, case=False)
    texts = texts.str.replace(r"(\d)(?:st|nd|rd|th)\b", r"\1", regex=True).str.replace(r"\bof\b|,|\.", " ", regex=True)
    texts = texts.str.replace(r"^[A-Za-z]+day\b|^(?:mon|tue|wed|thu|fri|sat|sun)\b", "", regex=True, case=False).str.split().str.join(" ")
    found = []
    for text in texts:
        grain = "Y" if re.fullmatch(r"\d{4}", text) else "M" if re.fullmatch(r"[A-Za-z]+ \d{4}", text) else "D"
        try:
            found.append(pd.to_datetime(text, format="%Y" if grain == "Y" else None).to_period(grain))
        except (ValueError, TypeError):
            return None
    return found


def edges(period: pd.Period) -> tuple[int, int]:
    """First and last day as ordinals."""
    return period.asfreq("D", "start").ordinal, period.asfreq("D", "end").ordinal


def same(cells: pd.Series, value: str) -> pd.Series:
    asked = pd.Series([value])
    alike: pd.Series = cleaned(cells).str.casefold() == cleaned(asked).str.casefold()[0]
    if not re.search(r"\d", value):
        return alike
    by_number = (numeric(cells) == numeric(asked)[0]) & (unit(cells) == unit(asked)[0])
    either: pd.Series = alike | by_number
    return either


def holds(condition: dict[str, Any], cells: pd.Series) -> pd.Series | None:
    """Which rows a condition chooses; None where one is not clear."""
    kind, values = condition["is"], condition["values"]
    if kind == "equal":
        return same(cells, values[0])
    below, above = OPERATORS.get(kind, (True, True))
    if kind in ("greater", "less", "between"):
        numbers, bounds = numeric(cells), numeric(pd.Series(values)).tolist()
        if numbers.isna().any() or pd.isna(bounds).any() or unit(pd.concat([cells, pd.Series(values)])).nunique() > 1:
            return None
        chosen = pd.Series(True, cells.index)
        if above:
            chosen &= numbers > bounds[0]
        return chosen & (numbers < bounds[-1]) if below else chosen
    dates, bounds_ = periods(cells), periods(pd.Series(values))
    if dates is None or bounds_ is None:
        return None
    lines, limits = [edges(date) for date in dates], [edges(date) for date in bounds_]
    if any(line != limit and line[0] <= limit[1] and limit[0] <= line[1] for line in lines for limit in limits):
        return None
    fit = [(not above or line[0] > limits[0][1]) and (not below or line[1] < limits[-1][0]) for line in lines]
    return pd.Series(fit, cells.index)


def ranked(form: dict[str, Any], frame: pd.DataFrame) -> int | None:
    """Label of the row with the wanted rank by a column; None for a tie at or above it."""
    cells, rank = frame[form["by"]], form["rank"]
    if form["take"] in ("highest", "lowest"):
        if numeric(cells).isna().any() or unit(cells).nunique() > 1:
            return None
        order = numeric(cells).sort_values(ascending=form["take"] == "lowest")
        top = order.head(rank + 1)
        return int(order.index[rank - 1]) if top.is_unique and len(top) > rank else None
    dates = periods(cells)
    if dates is None:
        return None
    lines = pd.DataFrame([edges(date) for date in dates], index=cells.index, columns=["first", "last"])
    order_ = lines.sort_values(["first", "last"], ascending=form["take"] == "earliest").head(rank + 1)
    clear = len(order_) > rank and not any(
        a["first"] <= b["last"] and b["first"] <= a["last"]
        for i, (_, a) in enumerate(order_.iterrows())
        for _, b in order_.iloc[:i].iterrows()
    )
    return int(order_.index[rank - 1]) if clear else None


def expected(form: dict[str, Any], frame: pd.DataFrame) -> str | float | None:
    """The answer of a form: text of a cell, or a number; None if there is not exactly one."""
    over_all = form["take"] != "only" or any(part["is"] != "equal" for part in form["where"])
    if over_all and any(re.match(r"\W*(sub-?)?total\b", cell, re.IGNORECASE) for cell in frame.to_numpy().flat):
        return None
    if form["answer"] in ("difference", "time"):
        return apart(form, frame)
    for part in form["where"]:
        chosen = holds(part, frame[part["column"]])
        if chosen is None:
            return None
        frame = frame[chosen]
    if form["answer"] == "count":
        return float(len(frame)) if not frame.duplicated().any() else None
    if form["answer"] == "sum":
        numbers = numeric(frame[form["select"]])
        return float(numbers.sum()) if not numbers.isna().any() and unit(frame[form["select"]]).nunique() == 1 else None
    if form["take"] in ("first", "last"):
        label: int | None = int(frame.index[0 if form["take"] == "first" else -1])
    elif form["take"] == "only":
        label = int(frame.index[0]) if len(frame) == 1 else None
    else:
        label = ranked(form, frame)
    return None if label is None else str(frame.at[label, form["select"]]).strip()


def apart(form: dict[str, Any], frame: pd.DataFrame) -> float | None:
    (part,) = form["where"]
    chosen = [frame[same(frame[part["column"]], value)] for value in part["values"]]
    if any(len(rows) != 1 for rows in chosen):
        return None
    cells = pd.concat(chosen)[form["select"]]
    if form["answer"] == "difference":
        return float(abs(numeric(cells).diff().iloc[1])) if unit(cells).nunique() == 1 else None
    dates = periods(cells)
    if dates is None or {date.freqstr[0] for date in dates} != {form["unit"][0].upper()}:
        return None
    return float(abs(dates[1].ordinal - dates[0].ordinal))


def agrees(found: str | float | None, answer: str, kind: str) -> bool:
    if found is None or kind == "cell" or isinstance(found, str):
        return found == answer
    return abs(float(numeric(pd.Series([answer])).iloc[0]) - found) <= 1e-9 * max(1.0, abs(found))


def named(question: str, form: dict[str, Any]) -> bool:
    """Whether the question says every value of the form."""
    return all(value in question for part in form["where"] for value in part["values"])


def tables(mirror: Path) -> Iterator[Row]:
    for name in FILES:
        for row in read_rows(mirror / name):
            lines = row.get("table_array") or [[cell[0] for cell in line] for line in (row["header"], *row["data"])]
            if len(lines) > 1 and len({len(line) for line in lines}) == 1:
                yield {"title": row.get("title") or row["table_page_title"], "header": lines[0], "rows": lines[1:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=10_000)
    options = parser.parse_args()
    grammar = load_grammar()
    # At their own weights most would be lookups.
    even = replace(grammar, rules=tuple(replace(rule, weight=0.15 if rule.name in EVERYWHERE else 1.0) for rule in grammar.rules))
    found = {json.dumps([row["header"], row["rows"]]): row for row in tables(Path(os.environ["DATA_MIRROR"]))}
    order = random.Random(0).sample(sorted(found), len(found))
    counts: Counter[str] = Counter()
    wrong: list[Row] = []
    used, started = 0, time.perf_counter()
    for key in order:
        table = found[key]
        drawn = draw_questions(table, random.Random(key), PER_TABLE, ANSWERS, even)
        frame = pd.DataFrame(table["rows"])
        used += bool(drawn)
        for item in drawn[: options.questions - counts.total()]:
            counts[item["rule"]] += 1
            answer = expected(item["form"], frame)
            if not agrees(answer, item["short_answer"], item["form"]["answer"]) or not named(item["question"], item["form"]):
                wrong.append({**item, "expected": answer, "title": table["title"]})
        if counts.total() == options.questions:
            break
    commit = commit_of(ROOT)
    result = {
        "command": "DATA_MIRROR=<folder> python -m benchmarks.grammar",
        "commit": commit,
        "tables": used,
        "questions": counts.total(),
        "disagreements": len(wrong),
        "questions_by_rule": dict(sorted(counts.items())),
        "disagreements_by_rule": dict(sorted(Counter(item["rule"] for item in wrong).items())),
    }
    (ROOT / "benchmarks" / "results" / "grammar.json").write_text(json.dumps(result, indent=1) + "\n")
    for item in wrong[:40]:
        print(json.dumps(item, ensure_ascii=False))
    print(f"{counts.total()} questions of {used} tables, {len(wrong)} disagreements, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
