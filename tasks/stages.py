"""The stages of dvc.yaml: `python -m tasks.stages ingest world`. No model, no Prefect here.

ingest writes rows in the project's shapes, validate passes on those that keep their contracts,
mine finds table sentences and draws grammar questions, split parts everything by near-duplicate
cluster and drops what people have judged, claims states right and wrong things about the training
documents. Bad rows stop a stage, or go to a file of their own with file, row and rule, as far as
the profile's `quarantine` allows for each source.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from factloop.claims import claim_rows, pattern_mentions, spacy_mentions
from factloop.corpora.clusters import SPLITS, assign_all, clusters, leaked
from factloop.corpora.formats import FORMATS
from factloop.corpora.readers import read, stop
from factloop.corpora.rows import BadRow, Row, read_rows, write_rows
from factloop.faults import kill_point
from factloop.tables.corpus import unique
from factloop.tables.mining import mine as mine_page
from factloop.tables.questions import draw_questions
from factloop.world import generate
from factloop.world.vocabulary import make_world

from .environment import ROOT, prepare
from .keys import digest
from .profiles import MirrorData, Profile, WorldData, load_profile
from .sources import SourceError, find_source

SHAPES = ("documents", "questions", "pages", "table_questions")


def folder(profile: Profile) -> Path:
    return ROOT / "data" / profile.name


def ingest(profile: Profile, target: Path) -> None:
    """Rows of each shape, and `refused.jsonl`: those that their format does not allow."""
    data = profile.data.source
    refused: list[Row] = []
    rows = _world(data) if isinstance(data, WorldData) else _sources(data, refused)
    for shape in rows:
        write_rows(target / f"{shape}.jsonl", rows[shape]())
    write_rows(target / "refused.jsonl", refused)


def hold(most: float, source: str, bad: list[Row], total: int) -> None:
    """Raise SourceError if more than this share of a source's rows is bad: of each by itself, or a large one would hide a small one."""
    if len(bad) > most * total:
        first = "\n".join(f"  {row['file']}: row {row['row']}: {row['rule']}" for row in bad[:5])
        raise SourceError(f"{len(bad)} of {total} rows of {source} are bad; data.source.quarantine allows {most:.1%}:\n{first}")


def _world(data: WorldData) -> dict[str, Callable[[], Iterator[Row]]]:
    world = make_world(data.seed)
    noise = generate.Noise(data.omission, data.fill_in, data.typical)

    def table_questions() -> Iterator[Row]:
        # Other pages than those that are mined, so that pretraining sees none of these tables.
        for page in generate.tables(world, data.seed + 1, data.table_questions, data.omission):
            for index, question in enumerate(page["questions"]):
                table = {name: page[name] for name in ("title", "header", "rows")}
                yield {"id": f"{page['id']}/{index}", "page": f"asked {page['id']}", **table, **question}

    def pages() -> Iterator[Row]:
        for page in generate.tables(world, data.seed, data.pages, data.omission):
            yield {"page": page["id"]} | {name: page[name] for name in ("id", "title", "header", "rows", "text")}

    return {
        "documents": lambda: generate.documents(world, data.seed, data.documents, noise),
        "questions": lambda: generate.passages(world, data.seed, data.passages, data.passage_omission),
        "pages": pages,
        "table_questions": table_questions,
    }


def _sources(data: MirrorData, refused: list[Row]) -> dict[str, Callable[[], Iterator[Row]]]:
    """Rows by shape; those that their format does not allow go to `refused`, as far as the profile lets them."""
    declared = yaml.safe_load((ROOT / "data" / "sources.yaml").read_text(encoding="utf-8"))
    wanted = {shape: getattr(data, shape) for shape in SHAPES} | {"judged": dict.fromkeys(data.judged)}
    if not data.non_commercial:  # opt-in: named in the profile, left out until it says so
        wanted = {
            shape: {name: most for name, most in names.items() if not declared.get(name, {}).get("non_commercial")}
            for shape, names in wanted.items()
        }
    paths = {name: find_source(name, declared, data.non_commercial) for names in wanted.values() for name in names}

    def rows_of(shape: str) -> Iterator[Row]:
        for name, most in wanted[shape].items():
            bad: list[BadRow] = []
            rows = list(read(paths[name], FORMATS[declared[name]["reader"]], bad.append if data.quarantine else stop))
            aside: list[Row] = [{"file": Path(row.path).name, "row": row.number, "rule": row.rule} for row in bad]
            hold(data.quarantine, name, aside, len(aside) + len(rows))
            refused.extend(aside)
            split = {"split": declared[name]["split"]} if "split" in declared[name] else {}
            # A seeded draw, not the head of the file: files are often sorted by topic.
            for row in random.Random(name).sample(rows, min(most or len(rows), len(rows))):
                yield row | {"id": f"{name}/{row.get('id')}", "source": name} | split

    return {shape: (lambda shape=shape: rows_of(shape)) for shape in wanted}  # type: ignore[misc]


def validate(profile: Profile, target: Path) -> None:
    """Rows that keep the contracts of `data/contracts.yaml`, and `quarantined.jsonl`: all others."""
    from .contracts import check

    source, data = folder(profile) / "ingested", profile.data.source
    most = data.quarantine if isinstance(data, MirrorData) else 0.0
    quarantined = list(read_rows(source / "refused.jsonl"))  # ingest has held their share to what is allowed
    results = []
    for shape in SHAPES:
        path = source / f"{shape}.jsonl"
        rows = list(read_rows(path))
        suites = ("documents", "summaries") if shape == "documents" else (shape,)
        broken: dict[int, str] = {}
        for suite in suites:
            result = check(suite, rows, path, profile.name, quarantine=bool(most))
            broken |= result.pop("broken")
            results.append(result)
        bad = [{"file": path.name, "row": index + 1, "rule": rule, "id": rows[index]["id"]} for index, rule in sorted(broken.items())]
        for name, total in Counter(row.get("source", shape) for row in rows).items():
            hold(most, name, [row for row in bad if rows[row["row"] - 1].get("source", shape) == name], total)
        quarantined += bad
        write_rows(target / f"{shape}.jsonl", (row for index, row in enumerate(rows) if index not in broken))
    write_rows(target / "quarantined.jsonl", quarantined)
    _write_json(target / "results.json", results)


def mine(profile: Profile, target: Path) -> None:
    """Sentences that state a row of their page's table, and grammar questions about the tables."""
    from .contracts import check

    pages = folder(profile) / "validated" / "pages.jsonl"
    counts: Counter[str] = Counter()
    mined = list(unique((row for page in read_rows(pages) for row in mine_page(page, profile.data.mining, counts)), counts))
    short = []
    for page in read_rows(pages):
        drawn = draw_questions(page, random.Random(page["id"]), profile.data.short_questions_per_page, profile.data.short_answers)
        for index, question in enumerate(drawn):
            table = {name: page[name] for name in ("page", "title", "header", "rows")}
            short.append({"id": f"{page['id']}/short-{index}", **table, **question})
    for suite, rows in (("mined", mined), ("short_questions", short)):
        check(suite, rows, f"{suite} of profile {profile.name}", profile.name)
        write_rows(target / f"{suite}.jsonl", rows)
    _write_json(target / "counts.json", dict(sorted(counts.items())))


TEXTS: dict[str, Callable[[Row], str]] = {
    "documents": lambda row: row["document"],
    "questions": lambda row: row["passage"],
    "pages": lambda row: row["text"],
    "table_questions": lambda row: f"{row['title']} {row['header']} {row['rows']}",
}


def split(profile: Profile, target: Path) -> None:
    """Parts by cluster; training references of the world are the noisy ones, its others clean.

    Dropped and counted: near-duplicates of what people judged, copies between published splits,
    and for pretraining every page and table that is asked about later.
    """
    source, shares = folder(profile) / "validated", profile.data.split
    judged_file = folder(profile) / "ingested" / "judged.jsonl"
    judged = list({row["document"]: None for row in read_rows(judged_file)}) if judged_file.exists() else []
    counts: dict[str, int] = {"dropped.quarantined": sum(1 for _ in read_rows(source / "quarantined.jsonl"))}

    def unjudged(shape: str) -> list[Row]:
        rows = list(read_rows(source / f"{shape}.jsonl"))
        kept = [row for row, bad in zip(rows, leaked(map(TEXTS[shape], rows), judged), strict=True) if not bad]
        counts[f"dropped.judged.{shape}"] = len(rows) - len(kept)
        return kept

    asked: list[Row] = []
    for shape, name in (("documents", "summaries"), ("questions", "questions"), ("table_questions", "table_questions")):
        rows = unjudged(shape)
        names = clusters([TEXTS[shape](row) for row in rows])
        placed = assign_all(names, [row.get("split") for row in rows], shares.validation, shares.test)
        counts[f"near_duplicates.{shape}"] = len(names) - len(set(names))
        counts[f"dropped.between_splits.{shape}"] = placed.count(None)
        for part in SPLITS:
            # In an order by hash: whoever takes the first few takes of every source.
            chosen = sorted((row for row, own in zip(rows, placed, strict=True) if own == part), key=lambda row: digest(row["id"]))
            if shape == "documents":
                chosen = [_reference(row, part) for row in chosen]
            if shape == "table_questions" and part != "train":
                asked += chosen
            counts[f"{name}.{part}"] = write_rows(target / f"{name}.{part}.jsonl", chosen)
    examined = {row["page"] for row in asked}
    tables = list({TEXTS["table_questions"](row): None for row in asked})
    kept_pages = {row["id"] for row in unjudged("pages") if row["page"] not in examined}
    for name in ("mined", "short_questions"):
        rows = list(read_rows(folder(profile) / "mined" / f"{name}.jsonl"))
        fit = [row for row in rows if row["id"].rsplit("/", 1)[0] in kept_pages]
        kept = [row for row, bad in zip(fit, leaked(map(TEXTS["table_questions"], fit), tables), strict=True) if not bad]
        counts[f"dropped.asked_later.{name}"] = len(rows) - len(kept)
        counts[name] = write_rows(target / f"{name}.jsonl", kept)
    needed = (
        "summaries.train",
        "summaries.test",
        "questions.train",
        "table_questions.train",
        "table_questions.test",
        *("mined", "short_questions"),
    )
    empty = [name for name in needed if not counts[name]]
    if empty:
        raise SourceError(
            f"profile {profile.name}: nothing is left for {', '.join(empty)} (all counts: {counts}); take more data or other shares"
        )
    _write_json(target / "counts.json", counts)


def _reference(row: Row, part: str) -> Row:
    """A document with the reference of its part: the world's training references are noisy, and its facts unknown."""
    if part == "train":
        return {"id": row["id"], "document": row["document"], "summary": row.get("training_summary", row["summary"])}
    return {name: value for name, value in row.items() if name != "training_summary"}


def claims(profile: Profile, target: Path) -> None:
    """Claims about documents that train, never others; none at all where the documents have nothing to swap or negate."""
    from .contracts import check

    settings = profile.data.claims
    documents = itertools.islice(read_rows(folder(profile) / "split" / "summaries.train.jsonl"), settings.documents)
    rows = list(claim_rows(list(documents), settings, spacy_mentions(settings.spacy) if settings.spacy else pattern_mentions))
    if rows:
        check("claims", rows, f"claims of profile {profile.name}", profile.name)
    write_rows(target / "claims.jsonl", rows)
    made = Counter(f"{claim['label']}.{claim['kind']}" for row in rows for claim in row["claims"])
    _write_json(target / "counts.json", {"documents": len(rows), **dict(sorted(made.items()))})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


STAGES: dict[str, tuple[str, Callable[[Profile, Path], None]]] = {
    "ingest": ("ingested", ingest),
    "validate": ("validated", validate),
    "mine": ("mined", mine),
    "split": ("split", split),
    "claims": ("claims", claims),
}


def run(stage: str, profile: Profile) -> None:
    """Make the folder of a stage under another name and rename it: it is there whole or not at all."""
    name, make = STAGES[stage]
    out = folder(profile) / name
    scratch = out.with_name(f"{name}.unfinished")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        make(profile, scratch)
    except BaseException:
        shutil.rmtree(scratch)
        raise
    kill_point("stage:written", stage)
    shutil.rmtree(out, ignore_errors=True)
    kill_point("stage:cleared", stage)
    scratch.replace(out)
    kill_point("stage:ended", stage)


if __name__ == "__main__":
    prepare()
    try:
        run(sys.argv[1], load_profile(sys.argv[2]))
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.filename or ROOT / 'data' / sys.argv[2]}: {error.strerror or error}")
    except ValueError as error:  # BadRow, SourceError, ProfileError, ContractBroken
        sys.exit(f"{sys.argv[1]}: {error}")
