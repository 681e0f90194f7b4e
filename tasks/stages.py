"""The stages of dvc.yaml: `python -m tasks.stages ingest world`. No model, no Prefect here.

ingest writes rows in the project's shapes, validate checks their contracts, mine finds table
sentences and draws grammar questions, split parts everything by near-duplicate cluster.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from factloop.corpora.clusters import assign, clusters
from factloop.corpora.readers import READERS
from factloop.corpora.rows import Row, read_rows, write_rows
from factloop.tables.grammar import draw_question
from factloop.tables.mining import mine as mine_page
from factloop.world import generate
from factloop.world.vocabulary import make_world

from .environment import ROOT, prepare
from .keys import file_digest
from .profiles import MirrorData, Profile, WorldData, load_profile

SHAPES = ("documents", "questions", "pages", "table_questions")


class SourceError(ValueError):
    """A source that cannot be had or is not what was promised."""


def folder(profile: Profile) -> Path:
    return ROOT / "data" / profile.name


def ingest(profile: Profile) -> None:
    data = profile.data.source
    rows = _world(data) if isinstance(data, WorldData) else _sources(data)
    for shape in SHAPES:
        write_rows(folder(profile) / "ingested" / f"{shape}.jsonl", rows[shape]())


def _world(data: WorldData) -> dict[str, Callable[[], Iterator[Row]]]:
    world = make_world(data.seed)
    noise = generate.Noise(data.omission, data.fill_in, data.typical)

    def table_questions() -> Iterator[Row]:
        # Other pages than those that are mined, so that pretraining sees none of these tables.
        for page in generate.tables(world, data.seed + 1, data.table_questions, data.omission):
            for index, question in enumerate(page["questions"]):
                table = {name: page[name] for name in ("title", "header", "rows")}
                yield {"id": f"{page['id']}/{index}", "page": page["id"], **table, **question}

    def pages() -> Iterator[Row]:
        for page in generate.tables(world, data.seed, data.pages, data.omission):
            yield {"page": page["id"]} | {name: page[name] for name in ("id", "title", "header", "rows", "text")}

    return {
        "documents": lambda: generate.documents(world, data.seed, data.documents, noise),
        "questions": lambda: generate.passages(world, data.seed, data.passages, data.passage_omission),
        "pages": pages,
        "table_questions": table_questions,
    }


def _sources(data: MirrorData) -> dict[str, Callable[[], Iterator[Row]]]:
    declared = yaml.safe_load((ROOT / "data" / "sources.yaml").read_text(encoding="utf-8"))
    wanted = {shape: getattr(data, shape) for shape in SHAPES}
    paths = {name: find_source(name, declared, data.non_commercial) for names in wanted.values() for name in names}

    def rows_of(shape: str) -> Iterator[Row]:
        for name, most in wanted[shape].items():
            rows = list(READERS[declared[name]["reader"]](paths[name]))
            # A seeded draw, not the head of the file: files are often sorted by topic.
            for row in random.Random(name).sample(rows, min(most, len(rows))):
                yield row | {"id": f"{name}/{row['id']}", "source": name}

    return {shape: (lambda shape=shape: rows_of(shape)) for shape in SHAPES}  # type: ignore[misc]


def find_source(name: str, declared: dict[str, Any], non_commercial: bool) -> Path:
    """The file of a source in the mirror, checked against its SHA-256 and licence."""
    if name not in declared:
        raise SourceError(f"there is no source {name!r}; data/sources.yaml has {sorted(declared)}")
    source = declared[name]
    if source.get("non_commercial") and not non_commercial:
        raise SourceError(f"source {name!r} is under {source['licence']}: set data.source.non_commercial to true in the profile to use it")
    mirror = os.environ.get("DATA_MIRROR")
    if not mirror:
        raise SourceError(
            f"source {name!r} ({source['origin']}) is needed: set DATA_MIRROR=<folder> to a folder that holds {source['file']}"
        )
    root = Path(mirror).expanduser().resolve()
    path: Path = (root / source["file"]).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise SourceError(f"the mirror {root} lacks {source['file']} (source {name!r}, {source['origin']})")
    found = file_digest(path)
    if found != source["sha256"]:
        raise SourceError(f"{path}: SHA-256 is {found}, data/sources.yaml says {source['sha256']}")
    return path


def validate(profile: Profile) -> None:
    from .contracts import check

    ingested = folder(profile) / "ingested"
    results = []
    for suite, shape in (("documents", "documents"), ("summaries", "documents"), *((s, s) for s in SHAPES[1:])):
        path = ingested / f"{shape}.jsonl"
        results.append(check(suite, list(read_rows(path)), path, profile.name))
    _write_json(folder(profile) / "validation.json", results)


def mine(profile: Profile) -> None:
    from .contracts import check

    pages = list(read_rows(folder(profile) / "ingested" / "pages.jsonl"))
    mined = [row for page in pages for row in mine_page(page)]
    short = []
    for page in pages:
        rng = random.Random(page["id"])
        drawn = [draw_question(page, rng) for _ in range(profile.data.short_questions_per_page)]
        for index, question in enumerate({item["question"]: item for item in drawn if item}.values()):
            table = {name: page[name] for name in ("page", "title", "header", "rows")}
            short.append({"id": f"{page['id']}/short-{index}", **table, **question})
    for suite, rows in (("mined", mined), ("short_questions", short)):
        check(suite, rows, folder(profile) / "mined" / f"{suite}.jsonl", profile.name)
        write_rows(folder(profile) / "mined" / f"{suite}.jsonl", rows)


def split(profile: Profile) -> None:
    """Parts by cluster; training references of the world are the noisy ones, its others clean."""
    source, shares = folder(profile), profile.data.split
    target = source / "split"

    def parts(rows: list[Row], texts: list[str]) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
        for row, cluster in zip(rows, clusters(texts), strict=True):
            found[assign(cluster, shares.validation, shares.test)].append(row)
        return found

    documents = list(read_rows(source / "ingested" / "documents.jsonl"))
    counts = {}
    for part, rows in parts(documents, [row["document"] for row in documents]).items():
        if part == "train":
            rows = [{"id": r["id"], "document": r["document"], "summary": r.get("training_summary", r["summary"])} for r in rows]
        else:
            rows = [{name: value for name, value in r.items() if name != "training_summary"} for r in rows]
        counts[f"summaries.{part}"] = write_rows(target / f"summaries.{part}.jsonl", rows)
    for name in ("questions", "table_questions"):
        rows = list(read_rows(source / "ingested" / f"{name}.jsonl"))
        texts = [row["passage"] if name == "questions" else f"{row['page']} {row['title']} {row['rows']}" for row in rows]
        for part, chosen in parts(rows, texts).items():
            counts[f"{name}.{part}"] = write_rows(target / f"{name}.{part}.jsonl", chosen)
    examined = {row["page"] for part in ("validation", "test") for row in read_rows(target / f"table_questions.{part}.jsonl")}
    for name in ("mined", "short_questions"):  # pretraining never sees a page that is asked about later
        rows = [row for row in read_rows(source / "mined" / f"{name}.jsonl") if row["page"] not in examined]
        counts[name] = write_rows(target / f"{name}.jsonl", rows)
    empty = sorted(name for name, count in counts.items() if not count and not name.endswith("validation"))
    if empty:
        raise SourceError(
            f"profile {profile.name}: nothing is left for {', '.join(empty)} (all counts: {counts}); take more data or other shares"
        )
    _write_json(target / "counts.json", counts)


def _write_json(path: Path, value: Any) -> None:
    scratch = path.with_name(path.name + ".unfinished")
    scratch.write_text(json.dumps(value, indent=1) + "\n")
    scratch.replace(path)


STAGES: dict[str, Callable[[Profile], None]] = {stage.__name__: stage for stage in (ingest, validate, mine, split)}

if __name__ == "__main__":
    prepare()
    try:
        STAGES[sys.argv[1]](load_profile(sys.argv[2]))
    except ValueError as error:  # BadRow, SourceError, ProfileError, ContractBroken
        sys.exit(f"{sys.argv[1]}: {error}")
