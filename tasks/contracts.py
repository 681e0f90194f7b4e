"""Data contracts: Great Expectations suites, declared in `data/contracts.yaml`.

A suite sees a frame of row-level facts: of each row its text fields, and of a table its width
and height, so that rules about nested values are plain column rules.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from factloop.corpora.rows import read_rows
from factloop.lifetime import end_with

from .environment import ROOT, STATE, prepare

BROKEN = 2  # exit code


class ContractBroken(ValueError):
    """Data broke its contract; the message names file, rule and offending rows."""


def facts(row: dict[str, Any]) -> dict[str, Any]:
    """The columns that suites see of a row."""
    columns: dict[str, Any] = {name: value for name, value in row.items() if isinstance(value, str)}
    if "rows" in row:
        columns |= {
            "columns": len(row["header"]),
            "height": len(row["rows"]),
            "uneven_rows": sum(len(line) != len(row["header"]) for line in row["rows"]),
        }
    if "questions" in row:
        columns |= {
            "asked": len(row["questions"]),
            "answers_absent": sum(item["answer"].lower() not in row["passage"].lower() for item in row["questions"]),
        }
    if "cells" in row:
        columns["cells"] = len(row["cells"])
        columns["cells_absent"] = sum(not _stated(cell, row) for cell in row["cells"])
    if "claims" in row:
        columns |= {
            "claimed": len(row["claims"]),
            "share_correct": sum(claim["label"] == "CORRECT" for claim in row["claims"]) / max(1, len(row["claims"])),
            "unlabelled": sum(claim["label"] not in ("CORRECT", "INCORRECT") for claim in row["claims"]),
            "spans_outside": sum(
                not 0 <= span[0] < span[1] <= len(text)
                for claim in row["claims"]
                for span, text in ((claim["source"], row["document"]), (claim["error"], claim["claim"]))
                if span
            ),
        }
    if "summary" in row:
        columns |= {"document_length": len(row["document"]), "summary_length": len(row["summary"])}
    texts = [value for value in columns.values() if isinstance(value, str)]
    return columns | {"longest_text": max(map(len, texts), default=0)}


def _stated(cell: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a mined cell stands in its table where it says, and in the sentence."""
    begin, end = cell["span"]
    value: str = row["rows"][cell["row"]][cell["column"]]
    said: str = row["sentence"][begin:end]
    return value == cell["value"] and said.lower() == value.strip().lower()


class _Raise(logging.Handler):
    """Raises the error that is being logged."""

    def emit(self, record: logging.LogRecord) -> None:
        if error := sys.exception():
            raise error


@contextmanager
def _whole_docs() -> Iterator[None]:
    """Great Expectations logs what keeps it from writing a page of Data Docs, and goes on without that page: here it is raised."""
    from great_expectations.render.renderer.site_builder import logger

    handler = _Raise(logging.ERROR)
    logger.addHandler(handler)
    logger.disabled = False  # which a library that configures logging may have made it
    try:
        yield
    finally:
        logger.removeHandler(handler)


def check(suite: str, rows: list[dict[str, Any]], source: Path | str, profile: str, quarantine: bool = False) -> dict[str, Any]:
    """Validate rows by a suite, keep a page of Data Docs, and return {suite, expectations, rows, broken}.

    Raises ContractBroken, naming each rule broken and the first offending values. With
    `quarantine`, rules about single rows do not raise: `broken` maps a row's index to its rule.
    """
    if not rows:
        raise ContractBroken(f"{source}: no rows at all")
    import great_expectations as gx
    import pandas as pd
    from great_expectations.checkpoint.actions import UpdateDataDocsAction

    rules = yaml.safe_load((ROOT / "data" / "contracts.yaml").read_text(encoding="utf-8"))[suite]
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}  # type: ignore[assignment]
    site: Any = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(STATE / "data-docs" / profile / suite)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    context.add_data_docs_site(site_name=suite, site_config=site)
    expectations = [getattr(gx.expectations, name)(**arguments) for rule in rules for name, arguments in rule.items()]
    batch = context.data_sources.add_pandas(suite).add_dataframe_asset(suite).add_batch_definition_whole_dataframe(suite)
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(
            name=suite, data=batch, suite=context.suites.add(gx.ExpectationSuite(name=suite, expectations=expectations))
        )
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=suite,
            validation_definitions=[definition],
            actions=[UpdateDataDocsAction(name="docs", site_names=[suite])],
            # Data Docs show this many bad values; every index only where rows are set aside by it.
            result_format={"result_format": "COMPLETE" if quarantine else "SUMMARY", "partial_unexpected_count": 3},
        )
    )
    with _whole_docs():
        outcome = checkpoint.run(batch_parameters={"dataframe": pd.DataFrame([facts(row) for row in rows])})
    broken: dict[int, str] = {}
    failed = []
    for result in next(iter(outcome.run_results.values())).results:
        if result.success:
            continue
        rule: Any = result.expectation_config
        column = rule.kwargs.get("column", "table")
        of_rows = result.result.get("unexpected_index_list")
        if quarantine and of_rows and "mostly" not in rule.kwargs:
            broken |= {int(index): f"{column}: {rule.type} {_limits(rule.kwargs)}".rstrip() for index in of_rows}
            continue
        sample = result.result.get("partial_unexpected_list") or result.exception_info or result.result
        at = [f"row {index + 1}: {rows[index].get('id')}" for index in result.result.get("partial_unexpected_index_list") or []]
        failed.append(f"  {column}: {rule.type}: {str(sample)[:300]} ({', '.join(at)})".removesuffix(" ()"))
    if failed:
        raise ContractBroken(
            f"{source}: broke {len(failed)} of {len(expectations)} rules of {suite!r} (data/contracts.yaml):\n" + "\n".join(failed)
        )
    return {"suite": suite, "expectations": len(expectations), "rows": len(rows), "broken": broken}


def _limits(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in arguments.items() if name not in ("column", "batch_id"))


def check_apart(suite: str, path: Path, profile: str) -> None:
    """`check` of a file in a process of its own: others can work in the seconds that Great Expectations takes to import."""
    ran = subprocess.run([sys.executable, "-m", "tasks.contracts", suite, str(path), profile], cwd=ROOT, capture_output=True, text=True)
    if ran.returncode:
        raise (ContractBroken if ran.returncode == BROKEN else RuntimeError)(ran.stderr.strip()[-5000:])


if __name__ == "__main__":
    prepare()
    end_with(os.getppid())
    try:
        check(sys.argv[1], list(read_rows(Path(sys.argv[2]))), sys.argv[2], sys.argv[3])
    except ContractBroken as error:
        print(error, file=sys.stderr)
        sys.exit(BROKEN)
