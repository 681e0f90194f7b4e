"""Mining by Ray Data (`pip install 'ray[data]'`): the same rows in the same order as by processes."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from .corpus import Mined, Rules, mine_documents, records

PARTS = 4  # for each worker, so that one slow part does not keep the others waiting


class EngineAbsent(ImportError):
    """Ray is not installed."""


def with_ray(paths: Sequence[Path], rules: Rules, workers: int) -> Iterator[Mined]:
    """What each part of the files gave, in their order.

    A part is a range of one file's documents. Its worker reads the file itself, so on many machines
    the files must lie at the same paths. RAY_ADDRESS names a cluster; without, one is started
    here and ended at the end.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise EngineAbsent(f"Ray Data is not installed ({error}): pip install 'ray[data]', or use --engine processes") from None
    parts = [part for path in paths for part in split(path, max(1, PARTS * workers // len(paths)))]
    if not parts:
        return
    local = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, logging_level="ERROR", **local)
    try:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        found = ray.data.from_items(parts, override_num_blocks=len(parts)).flat_map(Part(rules))
        for row in found.iter_rows():
            told = json.loads(row["mined"])
            yield Mined(told["documents"], told["rows"], [tuple(bad) for bad in told["refused"]], Counter(told["counts"]))
    finally:
        if ours:
            ray.shutdown()


def split(path: Path, parts: int) -> list[dict[str, Any]]:
    """Ranges of a file's documents, of nearly one size."""
    count = sum(1 for _ in records(path))
    size = max(1, -(-count // parts))
    return [{"path": str(path), "begin": begin, "end": min(count, begin + size)} for begin in range(0, count, size)]


class Part:
    """Mines a range of documents, one after the other. As JSON: what differs from row to row has no Arrow type."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def __call__(self, part: dict[str, Any]) -> Iterator[dict[str, str]]:
        path = Path(part["path"])
        for document in islice(records(path), int(part["begin"]), int(part["end"])):
            found = mine_documents(path, [document], self.rules)
            yield {"mined": json.dumps(vars(found), ensure_ascii=False)}
