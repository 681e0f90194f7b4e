"""Mining of whole files, by processes of this machine or by Ray Data, in memory that does not grow with the corpus."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from ..corpora.formats import FORMATS
from ..corpora.readers import rows_of
from ..corpora.rows import BadRow, Row, Rule
from ..lifetime import end_with
from ..settings import MiningSettings
from .mining import mine

Task = TypeVar("Task")
Result = TypeVar("Result")

ENDINGS = {
    (".tar", ".tar.gz", ".tgz"): "wikipedia",
    (".html", ".htm"): "html",
    (".jsonl", ".jsonl.gz"): "tables",
    (".zip",): "wikitables",
}  # fmt: skip
BATCH = 8  # documents that a worker takes at a time


@dataclass
class Mined:
    """What a batch of documents gave."""

    documents: int = 0
    rows: list[Row] = field(default_factory=list)
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    """File, number of the document in it, and the rule that it or one of its tables breaks."""
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Rules:
    """How to mine, and the titles of pages to leave out."""

    settings: MiningSettings = MiningSettings()
    left_out: frozenset[str] = frozenset()


def reader_of(path: Path) -> str:
    """The name of the format that a file has by its ending; BadRow if it has none of them, or is no file."""
    if not path.is_file():
        raise BadRow(path, 1, "there is no such file")
    for endings, name in ENDINGS.items():
        if path.name.endswith(endings):
            return name
    raise BadRow(path, 1, f"the file's name must end with one of {', '.join(ending for endings in ENDINGS for ending in endings)}")


def records(path: Path) -> Iterator[tuple[int, Any]]:
    """The documents of a file, as they lie there, by their number from 1; BadRow where it cannot be read."""
    try:
        yield from FORMATS[reader_of(path)].records(path)
    except Rule as rule:
        raise BadRow(path, 1, str(rule)) from None


def mine_documents(path: Path, documents: Iterable[tuple[int, Any]], rules: Rules) -> Mined:
    """All that some documents of a file give; pages that are left out and tables that break a rule give nothing."""
    form = FORMATS[reader_of(path)]
    found = Mined()
    for number, document in documents:
        found.documents += 1
        for page in rows_of(form, document):
            if isinstance(page, Rule):
                found.refused.append((str(path), number, str(page)))
            elif page["page"] in rules.left_out:
                found.counts["tables left out by title"] += 1
            else:
                found.rows += mine(page, rules.settings, found.counts)
    return found


def batches(path: Path) -> Iterator[tuple[Path, list[tuple[int, Any]]]]:
    batch: list[tuple[int, Any]] = []
    for record in records(path):
        batch.append(record)
        if len(batch) == BATCH:
            yield path, batch
            batch = []
    if batch:
        yield path, batch


class Work:
    """`mine_documents` with its rules, so that it can be sent to another process."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def __call__(self, batch: tuple[Path, list[tuple[int, Any]]]) -> Mined:
        return mine_documents(*batch, self.rules)


def with_processes(paths: Sequence[Path], rules: Rules, workers: int) -> Iterator[Mined]:
    """What each batch gave, in the order of the files; with one worker in this process."""
    tasks = (batch for path in paths for batch in batches(path))
    yield from map(Work(rules), tasks) if workers == 1 else in_order(Work(rules), tasks, workers)


def in_order(work: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """`map` over processes; never more than a few tasks are under way, whatever their number."""
    waiting: deque[Future[Result]] = deque()
    pool = ProcessPoolExecutor(workers, get_context("spawn"), end_with, (os.getpid(),))
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def unique(rows: Iterable[Row], counts: Counter[str]) -> Iterator[Row]:
    """The rows whose sentence none before had; the digests of those seen are on disk, not in memory."""
    with tempfile.TemporaryDirectory() as scratch:
        seen = sqlite3.connect(Path(scratch) / "seen.db", isolation_level=None)
        seen.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-512;")
        seen.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        try:
            for row in rows:
                digest = hashlib.sha256(row["sentence"].encode()).digest()[:16]
                if seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount:
                    yield row
                else:
                    counts["repeated sentence"] += 1
        finally:
            seen.close()


def mine_files(
    paths: Sequence[Path],
    rules: Rules,
    counts: Counter[str],
    refuse: Callable[[tuple[str, int, str]], None],
    engine: str = "processes",
    workers: int = 1,
    ended: Callable[[int], None] = lambda documents: None,
) -> Iterator[Row]:
    """Mined rows in the order of the files, each sentence once, whatever the engine and the workers.

    `refuse` is told of each document or table that breaks a rule, `ended` how many documents are done.
    BadRow if a file cannot be read.
    """
    if engine == "ray":
        from .ray_engine import with_ray as run
    else:
        run = with_processes
    for path in paths:
        reader_of(path)

    def rows() -> Iterator[Row]:
        for found in run(paths, rules, workers):
            counts.update(found.counts)
            counts["documents"] += found.documents
            for bad in found.refused:
                refuse(bad)
            yield from found.rows
            ended(found.documents)

    for row in unique(rows(), counts):
        counts["kept"] += 1
        yield row
