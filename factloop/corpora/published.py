"""The papers' corpora as their authors publish them: archives of articles, NewsQA, tables with passages.

What ConSeq filters (`filter_level=1`) is left out here: lines of the BBC's share widget,
and highlights of CNN and the Daily Mail that only link elsewhere.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from .legible import tidy
from .readers import Format, linked_table
from .rows import Row, Rule, contents, decoded, parsed

Records = Iterator[tuple[int, Any]]

XSUM_SPLITS = "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json"
URL_LISTS = {"train": "all_train.txt", "validation": "all_val.txt", "test": "all_test.txt"}
SHARE_WIDGET = {
    "share this with", "email", "facebook", "messenger", "twitter", "pinterest", "whatsapp", "linkedin", "copy this link",
    "these are external links and will open in a new window",
}  # fmt: skip
LINKS = ("READ", "CLICK HERE")
ENDS = (".", "!", "?", "'", "`", '"', "\u2019", "\u201d", ")")


def prose(lines: list[str]) -> str:
    """Lines as one text, each ended by a full stop where it has no end of its own, as published scripts do."""
    return tidy(" ".join(line if line.endswith(ENDS) else line + "." for line in lines))


def beside(path: Path, name: str) -> bytes:
    other = path.with_name(name)
    if not other.is_file():
        raise Rule(f"needs {name} beside it")
    return other.read_bytes()


def members(path: Path, ending: str) -> Iterator[tuple[int, str, bytes]]:
    """Number, name without ending, and content of the files of a tar archive that end so."""
    try:
        with tarfile.open(path, "r|*") as archive:
            number = 0
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() and member.name.endswith(ending) else None
                if stream:
                    number += 1
                    yield number, PurePosixPath(member.name).name.removesuffix(ending), stream.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Rule(f"not a tar archive, or a broken one ({error})") from None


def xsum_records(path: Path) -> Records:
    """(id, split, content) of the articles in the archive of XSum that its split file names."""
    splits = parsed(decoded(beside(path, XSUM_SPLITS)))
    if not isinstance(splits, dict) or set(splits) != set(URL_LISTS):
        raise Rule(f"{XSUM_SPLITS} must list ids under {', '.join(URL_LISTS)}")
    split_of = {name: split for split, names in splits.items() for name in names}
    for number, name, content in members(path, ".summary"):
        if name in split_of:
            yield number, (name, split_of[name], content)


def xsum(record: tuple[str, str, bytes]) -> list[Row]:
    """XSum (Narayan et al. 2018): the rest of a BBC article, and its first sentence as the summary."""
    name, split, content = record
    parts = re.split(r"^\[SN\]([A-Z-]+)\[SN\]$", decoded(content).replace("\r\n", "\n"), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    absent = [section for section in ("FIRST-SENTENCE", "RESTBODY") if section not in sections]
    if absent:
        raise Rule(f"article {name} has no section {' and no '.join(absent)}")
    body = [line.strip() for line in sections["RESTBODY"].split("\n")]
    document = prose([line for line in body if line and line.lower() not in SHARE_WIDGET])
    summary = prose([line for part in sections["FIRST-SENTENCE"].split("\n") if (line := part.strip())])
    # A few hundred articles are empty; the published scripts pass over them, too.
    return [{"id": name, "document": document, "summary": summary, "split": split}] if document and summary else []


def story_records(path: Path) -> Records:
    """(id, split, content) of the stories in an archive of CNN or the Daily Mail; the id is the SHA-1 of a URL."""
    split_of: dict[str, str] = {}
    for split, name in URL_LISTS.items():
        urls = (line.strip() for line in decoded(beside(path, name)).split("\n"))
        split_of |= {hashlib.sha1(url.encode()).hexdigest(): split for url in urls if url}  # noqa: S324
    for number, name, content in members(path, ".story"):
        if name in split_of:
            yield number, (name, split_of[name], content)


def story(record: tuple[str, str, bytes]) -> list[Row]:
    """A story of CNN/DM (Hermann et al. 2015) with its highlights as the summary."""
    name, split, content = record
    article: list[str] = []
    highlights: list[str] = []
    current = article
    for line in filter(None, (line.strip() for line in decoded(content).split("\n"))):
        if line == "@highlight":
            current = highlights
        elif current is article or not line.startswith(LINKS):
            current.append(line)
    document, summary = prose(article), prose(highlights)
    return [{"id": name, "document": document, "summary": summary, "split": split}] if document and summary else []


def newsqa_records(path: Path) -> Records:
    content = parsed(contents(path))
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise Rule("not combined-newsqa-data-v1.json: it must be an object with a list `data`")
    yield from enumerate(content["data"], 1)


def newsqa(record: Any) -> list[Row]:
    """A story of NewsQA (Trischler et al. 2017) with the questions on whose answer span people agree."""
    splits = {"train": "train", "dev": "validation", "test": "test"}
    text, split = record["text"], splits[record["type"]]
    questions = []
    for item in record["questions"]:
        span = item.get("consensus", {})
        if "s" in span:
            if not 0 <= span["s"] < min(span["e"], len(text)):
                raise Rule(f"question {item['q']!r}: the span {span['s']}-{span['e']} is not within {len(text)} characters")
            questions.append({"question": tidy(item["q"]), "answer": tidy(text[span["s"] : span["e"]])})
    kept = [question for question in questions if question["question"] and question["answer"]]
    return [{"id": record["storyId"], "passage": tidy(text), "questions": kept, "split": split}] if kept else []


def linked_records(path: Path) -> Records:
    """(table, passages) of the tables in the archive of WikiTables-WithLinks."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if re.search(r"/tables_tok/[^/]+\.json$", name))
            for number, name in enumerate(names, 1):
                passages = name.replace("/tables_tok/", "/request_tok/")
                if passages not in archive.NameToInfo:
                    raise Rule(f"{name} has no {passages} beside it")
                yield number, (archive.read(name), archive.read(passages))
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise Rule(f"not a zip archive, or a broken one ({error})") from None


def linked(record: tuple[bytes, bytes]) -> list[Row]:
    """A table of HybridQA (Chen et al. 2020) with the Wikipedia passages that its cells link to, as the text of the page."""
    table, passages = (parsed(decoded(part)) for part in record)
    return [row | {"id": table["uid"]} for row in linked_table(table, passages)]


PUBLISHED: dict[str, Format] = {
    "xsum-archive": Format(xsum_records, xsum),
    "stories": Format(story_records, story),
    "newsqa": Format(newsqa_records, newsqa),
    "wikitables": Format(linked_records, linked),
}
