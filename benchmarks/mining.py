"""Mining of table sentences: counts by rule, speed, memory, workers; and sheets for readers.

    DATA_MIRROR=~/mirror python -m benchmarks.mining                    # all four
    DATA_MIRROR=~/mirror python -m benchmarks.mining --only counts      # or speed, memory, workers
    DATA_MIRROR=~/mirror python -m benchmarks.mining --sample 50 --seed 1 --out sheet.csv
    python -m benchmarks.mining --agree first.csv second.csv

- Counts over the shipped tables and pages, which are samples of the published ones, beside published counts by table or page.
- Speed on one core: the matching of `factloop/tables` against a loop over cells and substrings, same sentences and same results.
- Peak memory at N and 4N documents, none of whose sentences are alike.
- Two workers against one, whole files.

Each figure replaces its own in `benchmarks/results/mining.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLES, PAGES = "tables/ottqa_tables_with_passages.jsonl.gz", "tables/wikipedia_pages_with_tables.tar.gz"
ROUNDS = 3
SPEED_TABLES = 150
FASTER, QUICK, WORKERS_GAIN, GROWTH = 5.0, 100_000, 1.5, 0.05
# Counts over all 8,891 tables of OTT-QA and all 2,108 pages of WikiTableQuestions, by another implementation of the strict rule.
WHOLE = {
    "tables": {
        "sentences of linked passages": 1_723_197 / 8891, "stating a row": 84_703 / 8891, "and a row that links to the passage": 79_199 / 8891,
        "and exactly one row": 79_930 / 8891, "and three cells": 12_664 / 8891, "stating a row, own text": (1410 + 474) / 8891,
        "share of tables that are stated": 0.76, "after the filters": 64_042 / 8891, "after the filters, each sentence once": 51_256 / 8891,
    },
    "pages": {"sentences": 116_005 / 2108, "stating a row of any table": 4422 / 2108, "share of pages with such a sentence": 880 / 2108},
}  # fmt: skip


def mirror() -> Path:
    if "DATA_MIRROR" not in os.environ:
        raise SystemExit("set DATA_MIRROR=<folder> to a folder that holds the files of data/sources.yaml")
    return Path(os.environ["DATA_MIRROR"])


def mined(file: str, workers: int = 1) -> tuple[list[dict[str, Any]], Counter[str], list[Any]]:
    from factloop.tables.corpus import Rules, mine_files
    from flows.mine import titles

    counts: Counter[str] = Counter()
    refused: list[Any] = []
    rules = Rules(left_out=titles([mirror() / f"fetaqa/{part}.jsonl" for part in ("dev", "test")]))
    return list(mine_files([mirror() / file], rules, counts, refused.append, workers=workers)), counts, refused


def per(counts: Counter[str], name: str, of: str) -> float:
    return counts[name] / counts[of]


def counts() -> dict[str, Any]:
    """Counts by rule of both files, and by table or page beside those of the whole corpora."""
    rows, tables, bad = mined(TABLES)
    linked = "stating.linked passages"
    ours = {
        "sentences of linked passages": per(tables, "sentences.linked passages", "tables"), "stating a row": per(tables, linked, "tables"),
        "and a row that links to the passage": per(tables, f"{linked}.linking row", "tables"),
        "and exactly one row": per(tables, f"{linked}.one row", "tables"), "and three cells": per(tables, f"{linked}.three cells", "tables"),
        "stating a row, own text": per(tables, "stating.own text", "tables"), "share of tables that are stated": per(tables, "tables.stated", "tables"),
        "after the filters": per(tables, "mined from linked passages.one row", "tables"),
        "after the filters, each sentence once": sum(row["kind"] == "one row" and (row["passage"] or "").startswith("/wiki/") for row in rows) / tables["tables"],
    }  # fmt: skip
    found = {"tables": described(TABLES, rows, tables, bad) | {"by table": beside(ours, "tables")}}
    rows, pages, bad = mined(PAGES)
    alone = page_counts()
    ours = {
        "sentences": alone["sentences"] / alone["pages"], "stating a row of any table": alone["stating"] / alone["pages"],
        "share of pages with such a sentence": alone["pages with"] / alone["pages"],
    }  # fmt: skip
    return found | {"pages": described(PAGES, rows, pages, bad) | {"by page": beside(ours, "pages"), "once a page": alone}}


def described(file: str, rows: list[dict[str, Any]], counted: Counter[str], refused: list[Any]) -> dict[str, Any]:
    kinds = Counter(row["kind"] for row in rows)
    return {
        "file": file, "counts": dict(sorted(counted.items())), "kept by kind": dict(kinds), "tables with a kept sentence": len({row["table"] for row in rows}),
        "refused": len(refused),
    }  # fmt: skip


def beside(ours: dict[str, float], which: str) -> dict[str, Any]:
    return {name: {"here": round(value, 3), "whole corpus": round(WHOLE[which][name], 3)} for name, value in ours.items()}


def page_counts() -> dict[str, int]:
    """Sentences of each page once, however many tables it has."""
    from factloop.corpora.rows import Rule
    from factloop.corpora.wikipedia import page_tables, pages_of
    from factloop.tables.matching import CellIndex
    from factloop.tables.mining import stated_rows
    from factloop.tables.sentences import sentences

    found: Counter[str] = Counter()
    for _, (_, content) in pages_of(mirror() / PAGES):
        _, prose, tables = page_tables(content)
        indexes = [CellIndex(table.rows) for table in tables if table and not isinstance(table, Rule)]
        stating = [any(stated_rows(index, index.hits(sentence)) for index in indexes) for sentence in sentences(prose)]
        found.update({"pages": 1, "sentences": len(stating), "stating": sum(stating), "pages with": any(stating), "tables": len(indexes)})
    return dict(found)


def plain_hits(rows: list[list[str]], sentence: str) -> list[Any]:
    """What `CellIndex.hits` finds, cell by cell and substring by substring."""
    from factloop.tables.matching import Hit, is_evidence, is_whole, lowered

    small, found = lowered(sentence), {}
    for row in rows:
        for cell in row:
            if is_evidence(cell):
                value = lowered(cell.strip())
                begin = small.find(value)
                while begin >= 0:
                    if is_whole(small, begin, begin + len(value)) and small[begin + len(value) : begin + len(value) + 1] != ":":
                        found[begin, value] = Hit(begin, begin + len(value), value)
                    begin = small.find(value, begin + 1)
    return sorted(found.values())


def speed() -> dict[str, Any]:
    """Sentences a second of processor time, finding cells and the rows that they state; the index of each table is part of it."""
    from factloop.corpora.formats import FORMATS
    from factloop.corpora.readers import read
    from factloop.tables.matching import CellIndex
    from factloop.tables.mining import stated_rows
    from factloop.tables.sentences import sentences

    pages = list(islice(read(mirror() / TABLES, FORMATS["ottqa"]), SPEED_TABLES))
    work = [(page["rows"], sentences(page["text"])) for page in pages]
    total = sum(len(texts) for _, texts in work)
    seconds: dict[str, list[float]] = {"one pass": [], "substring loop": []}
    stated: dict[str, list[Any]] = {}
    for _ in range(ROUNDS):
        begun = time.process_time()
        stated["one pass"] = [stated_rows(index, index.hits(text)) for rows, texts in work for index in [CellIndex(rows)] for text in texts]
        middle = time.process_time()
        stated["substring loop"] = [
            stated_rows(index, plain_hits(rows, text)) for rows, texts in work for index in [CellIndex(rows)] for text in texts
        ]
        for name, value in (("one pass", middle - begun), ("substring loop", time.process_time() - middle)):
            seconds[name].append(value)
    ratios = [slow / fast for slow, fast in zip(seconds["substring loop"], seconds["one pass"], strict=True)]
    rate = total / statistics.median(seconds["one pass"])
    return {
        "tables": len(work), "sentences": total, "same results": stated["one pass"] == stated["substring loop"],
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "sentences a second": round(rate), "times as fast": {"median": round(statistics.median(ratios), 2), "least": round(min(ratios), 2)},
        "held": {f"{FASTER:.0f} times the substring loop": statistics.median(ratios) >= FASTER, f"{QUICK:,} sentences a second": rate >= QUICK},
    }  # fmt: skip


def document(number: int) -> str:
    """A table of ten rows, with forty sentences about them that no other document has."""
    rows = [[[f"Mara Velling {number} {row}", []], [f"Town {number * 10 + row}", []], [str(1900 + row), []]] for row in range(10)]
    text = " ".join(
        f"Mara Velling {number} {line % 10} moved to Town {number * 10 + line % 10} on day {line} of a long winter." for line in range(40)
    )
    return json.dumps(
        {"uid": str(number), "title": f"Page {number}", "intro": text, "header": [["Person", []], ["Town", []], ["Year", []]], "data": rows}
    )


PEAK = """
import sys
from collections import Counter
from pathlib import Path
from factloop.tables.corpus import Rules, mine_files
from benchmarks.mining import peak
counts = Counter()
kept = sum(1 for _ in mine_files([Path(sys.argv[1])], Rules(), counts, print))
print(kept, peak())
"""


def peak() -> float:
    """Peak resident memory of this process, MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def memory(few: int = 1000) -> dict[str, Any]:
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number in (few, 4 * few):
            path = Path(scratch) / f"{number}.jsonl"
            with path.open("w") as stream:
                stream.writelines(document(one) + "\n" for one in range(number))
            said = subprocess.run(
                [sys.executable, "-c", PEAK, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
            ).stdout.split()
            found[number] = {"kept": int(said[0]), "peak_mib": float(said[1])}
    growth = found[4 * few]["peak_mib"] / found[few]["peak_mib"] - 1
    return {
        "documents": found,
        "growth": round(growth, 4),
        "held": {f"less than {GROWTH:.0%} more memory for 4 times the documents": growth < GROWTH},
    }


def workers() -> dict[str, Any]:
    """Whole files, from bytes to kept sentences, with the start of the processes."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    kept = {}
    for _ in range(ROUNDS):
        for count, times in seconds.items():
            begun = time.perf_counter()
            kept[count] = [row["id"] for file in (TABLES, PAGES) for row in mined(file, count)[0]]
            times.append(time.perf_counter() - begun)
    gains = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    gain = statistics.median(gains)
    return {
        "seconds": {str(count): [round(value, 2) for value in values] for count, values in seconds.items()}, "same rows": kept[1] == kept[2],
        "times as fast": {"median": round(gain, 2), "least": round(min(gains), 2)}, "held": {f"{WORKERS_GAIN} times with two workers": gain >= WORKERS_GAIN},
    }  # fmt: skip


FIGURES = {"counts": counts, "speed": speed, "memory": memory, "workers": workers}


def measure(names: list[str]) -> int:
    from benchmarks.run import commit_of, processor

    path = ROOT / "benchmarks" / "results" / "mining.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    commit = commit_of(ROOT)
    held = True
    for name in names:
        found = FIGURES[name]()
        held &= all(found.get("held", {}).values())
        origin = {
            "command": f"python -m benchmarks.mining --only {name}",
            "commit": commit,
            "machine": f"{os.cpu_count()} cores, {processor()}",
        }
        result[name] = origin | found
        print(json.dumps({name: result[name]}, indent=1))
        path.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if held else 1


def main() -> int:
    from benchmarks.mining_sheet import agree, draw, write_sheet

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=FIGURES, help="one figure (default: all)")
    parser.add_argument("--sample", type=int, metavar="N", help="draw N mined sentences of both files to be labelled, into --out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mining_sheet.csv")
    parser.add_argument("--agree", type=Path, nargs=2, metavar="SHEET", help="read two labelled sheets")
    options = parser.parse_args()
    if options.agree:
        try:
            print(json.dumps(agree(*options.agree), indent=1))
        except (ValueError, OSError) as error:
            raise SystemExit(f"mining: {error}") from None
        return 0
    if options.sample:
        rows = draw([row for file in (TABLES, PAGES) for row in mined(file)[0]], options.sample, options.seed)
        write_sheet(rows, options.out)
        print(f"wrote {options.out}: {len(rows)} sentences")
        return 0
    return measure([options.only] if options.only else list(FIGURES))


if __name__ == "__main__":
    sys.exit(main())
