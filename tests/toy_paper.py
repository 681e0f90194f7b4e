"""A mirror with ten rows of each of the papers' corpora, laid out as published, and a toy facebook/bart-large.

The text is the made-up world's: nothing of the real data is in here.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import ByteLevelBPETokenizer
from transformers import BartConfig, BartForConditionalGeneration

from factloop.base import from_checkpoint, start_positions
from factloop.decoding import sample
from factloop.judges.quals import quals
from factloop.seq2seq import SEP, Special
from factloop.settings import TrainingSettings, Window
from factloop.steps.tables import inverted
from factloop.tables.sentences import sentences
from factloop.training.pairs import Pair, train_pairs
from factloop.world import generate
from factloop.world.vocabulary import make_world
from tasks.profiles import load_profile

WORLD = make_world(5)
HOSTILE = "<script>alert(1)</script>"
ROWS = 10
SEED = 0
WIDTH, VOCABULARY = 48, 700
SPLITS = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2


def archive(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def lines(text: str) -> str:
    return text.replace(". ", ".\n")


@dataclass
class Article:
    document: str
    summary: str


def articles(seed: int) -> list[Article]:
    """Documents with summaries of other documents."""
    rows = list(generate.documents(WORLD, seed, 2 * ROWS + 2, generate.Noise()))
    return [Article(row["document"], other["summary"]) for row, other in zip(rows[::2], rows[1::2], strict=True)]


def put_right(articles: Sequence[Article], checkpoint: Path, name: str, end: str = "") -> None:
    """Give the two articles that the toy writes the worst of true summaries, so that S+ and S- of ten rows share them.

    Such a summary is the beginning of the document that QUALS likes best. `end` is what else readers find in each document.
    Documents become of unlike length, for then what is sampled does not depend on the order of rows.
    """
    profile = load_profile(name)
    told = profile.summarizer.candidates
    toy = from_checkpoint(str(checkpoint), "main", profile.base.start.window, profile.seed)
    toy.model.eval()
    taken: set[int] = set()
    for article in articles:
        while (length := len(toy.ids([[article.document + end]], sys.maxsize)[0])) in taken:
            article.document = f"{article.document.removesuffix('.')} again."
        taken.add(length)
    texts = [article.document + end for article in articles]
    lengths = (told.min_length, told.max_length)
    sampled = sample(toy, [[text] for text in texts], told.per_document, told.top_k, profile.seed, lengths=lengths)
    summaries = [[*beginnings(article.document), *group] for article, group in zip(articles, sampled, strict=True)]
    pairs = [(text, summary) for text, group in zip(texts, summaries, strict=True) for summary in group]
    judged = iter(quals(toy, *zip(*pairs, strict=True), profile.judges.quals))
    found: list[tuple[float, str, Article]] = []
    for article, group in zip(articles, summaries, strict=True):
        scores = [(verdict.scores["quals"], text) for text, verdict in zip(group, judged, strict=False)]
        true = [(score, text) for score, text in scores[: -told.per_document] if score is not None]
        worst = min((score for score, _ in scores[-told.per_document :] if score is not None), default=0.0)
        found += [(worst, max(true)[1], article)] if true else []
    for _, summary, article in sorted(found, key=lambda item: item[0])[:2]:
        article.summary = summary


def beginnings(document: str) -> list[str]:
    """The first sentences of a document, all numbers of them but the last."""
    parts = document.split(". ")
    return [". ".join(parts[:count]) + "." for count in range(1, len(parts))]


def write_xsum(folder: Path, checkpoint: Path) -> None:
    files, written = {}, articles(11)
    put_right(written[: SPLITS.count("train")], checkpoint, "paper", f" {HOSTILE}.")
    for index, article in enumerate(written):
        body = f"Share this with\nEmail\nFacebook\n{lines(article.document)}\n{HOSTILE}"
        sections = {"URL": "http://somelink", "TITLE": "A title", "FIRST-SENTENCE": article.summary, "RESTBODY": body}
        text = "\n\n".join(f"[SN]{name}[SN]\n{content}" for name, content in sections.items())
        files[f"bbc-summary-data/{30000000 + index}.summary"] = (text + "\n").encode()
    archive(folder / "XSUM-EMNLP18-Summary-Data-Original.tar.gz", files)
    # The archive has articles that no split names; the last one here is such.
    ids = {split: [str(30000000 + index) for index in range(ROWS) if SPLITS[index] == split] for split in ("train", "validation", "test")}
    (folder / "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json").write_text(json.dumps(ids))


def write_stories(folder: Path, checkpoint: Path) -> None:
    urls: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    written = {"cnn": articles(12)[:ROWS], "dailymail": articles(13)[:ROWS]}
    train = SPLITS.count("train")
    put_right([*written["cnn"][1:train], *written["dailymail"][:train]], checkpoint, "paper-cnndm")  # people judged the first
    for source, group in written.items():
        files = {}
        for index, article in enumerate(group):
            url = f"http://web.archive.org/web/2010id_/http://www.{source}.example/{index}.html"
            urls[SPLITS[index]].append(url)
            highlights = [*lines(article.summary).replace(".", "").split("\n"), "READ more on this", "CLICK HERE for all the news"]
            text = lines(article.document).replace("\n", "\n\n") + "".join(f"\n\n@highlight\n\n{part}" for part in highlights)
            files[f"{source}/stories/{hashlib.sha1(url.encode()).hexdigest()}.story"] = text.encode()
        archive(folder / f"{source}_stories.tgz", files)
    for split, name in (("train", "all_train.txt"), ("validation", "all_val.txt"), ("test", "all_test.txt")):
        (folder / name).write_text("".join(f"{url}\n" for url in urls[split]))


def write_questions(squad: Path, newsqa: Path) -> None:
    for seed, name in ((14, "train-v1.1.json"), (15, "dev-v1.1.json")):
        paragraphs = []
        for row in generate.passages(WORLD, seed, ROWS, 0.1):
            asked = [
                {
                    "answers": [{"answer_start": row["passage"].index(q["answer"]), "text": q["answer"]}],
                    "question": q["question"],
                    "id": f"{seed}{i}",
                }
                for i, q in enumerate(row["questions"])
                if q["answer"] in row["passage"]
            ]
            paragraphs.append({"context": row["passage"], "qas": asked})
        (squad / name).write_text(json.dumps({"data": [{"title": "World", "paragraphs": paragraphs}], "version": "1.1"}))
    stories = []
    for index, row in enumerate(generate.passages(WORLD, 16, ROWS, 0.1)):
        text = "\n\n\n\n" + lines(row["passage"]).replace("\n", "\n\n")
        asked = []
        for question in row["questions"]:
            begin = text.find(question["answer"])
            consensus = {"s": begin, "e": begin + len(question["answer"])} if begin >= 0 else {"noAnswer": True}
            answers = [{"sourcerAnswers": [consensus]}]
            asked.append(
                {"q": question["question"], "consensus": consensus, "isAnswerAbsent": 0.0, "isQuestionBad": 0.0, "answers": answers}
            )
        asked.append({"q": "What?", "consensus": {"badQuestion": True}, "isAnswerAbsent": 0.0, "isQuestionBad": 1.0, "answers": []})
        kind = {"train": "train", "validation": "dev", "test": "test"}[SPLITS[index]]
        stories.append({"storyId": f"./cnn/stories/{index:040x}.story", "text": text, "type": kind, "questions": asked})
    (newsqa / "combined-newsqa-data-v1.json").write_text(json.dumps({"data": stories, "version": "1"}))


def write_tables(tables: Path, fetaqa: Path) -> None:
    root = "WikiTables-WithLinks-f4ed68e54e25c495f63d309de0b89c0f97b3c508"
    with zipfile.ZipFile(tables / "WikiTables-WithLinks.zip", "w") as archive:
        for index, page in enumerate(generate.tables(WORLD, 17, ROWS, 0.2)):
            link = f"/wiki/Page_{index}"
            data = [[[cell, [link] if column == 0 else []] for column, cell in enumerate(row)] for row in page["rows"]]
            table = {
                "url": f"https://en.wikipedia.org/wiki/Page_{index}", "title": f"Page {index}", "header": [[name, []] for name in page["header"]],
                "data": data, "section_title": page["title"], "section_text": "", "uid": f"Page_{index}_0", "intro": "A page .",
            }  # fmt: skip
            archive.writestr(f"{root}/tables_tok/Page_{index}_0.json", json.dumps(table))
            archive.writestr(f"{root}/request_tok/Page_{index}_0.json", json.dumps({link: page["text"]}))
    for seed, name in ((18, "fetaQA-v1_train.jsonl"), (19, "dev.jsonl"), (20, "test.jsonl")):
        rows = []
        for index, page in enumerate(generate.tables(WORLD, seed, ROWS, 0.2)):
            page["rows"][0][-1] += HOSTILE
            rows.append({
                "feta_id": seed * 100 + index, "table_source_json": f"totto_source/{index}.json", "page_wikipedia_url": "http://example.org",
                "table_page_title": f"Article {seed} {index}", "table_section_title": page["title"], "table_array": [page["header"], *page["rows"]],
                "highlighted_cell_ids": [[1, 0]], "question": page["questions"][0]["question"], "answer": page["questions"][0]["answer"],
            })  # fmt: skip
        (fetaqa / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_judged(folder: Path) -> None:
    """Ten documents that people judged, the first of them cut from a training document of CNN; and two in each of four sets of edits."""
    known, *others = (next(generate.documents(WORLD, seed, 1, generate.Noise()))["document"] for seed in (12, *range(30, 39)))
    articles = [" ".join(known.split()[:-3]), *others]
    responses = [{"worker_id": worker, "response": "yes"} for worker in range(3)]
    rows = [{"article": text, "summary_sentences": [{"sentence": text.split(". ")[0], "responses": responses}]} for text in articles]
    (folder / "qags_cnndm.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for seed, domain in enumerate(("news", "samsum", "scitldr", "qmsumm"), 40):
        (row,) = generate.documents(WORLD, seed, 1, generate.Noise())
        edits = [{"doc": row["document"], "summary": row["summary"], "label": label, "edit_types": []} for label in (0, 1)]
        (folder / f"summedits_{domain}.json").write_text(json.dumps(edits))


def write_mirror(folder: Path, checkpoint: Path) -> None:
    for name in ("xsum", "cnn_dailymail", "squad", "newsqa", "tables", "fetaqa", "human_judgements"):
        (folder / name).mkdir(parents=True)
    write_judged(folder / "human_judgements")
    write_xsum(folder / "xsum", checkpoint)
    write_stories(folder / "cnn_dailymail", checkpoint)
    write_questions(folder / "squad", folder / "newsqa")
    write_tables(folder / "tables", folder / "fetaqa")


def toy_digests(sources: Path, mirror: Path) -> None:
    """Put the toy files' digests in place of the real ones; where none is declared it stays so."""
    declared: dict[str, Any] = yaml.safe_load(sources.read_text())
    for source in declared.values():
        for file in (source, *source.get("beside", [])):
            if "sha256" in file and (mirror / file["file"]).is_file():
                file["sha256"] = hashlib.sha256((mirror / file["file"]).read_bytes()).hexdigest()
    sources.write_text(yaml.safe_dump(declared, sort_keys=False))


class Quiet:
    name = "toy"

    def log(self, metrics: dict[str, float], step: int) -> None: ...


def lessons() -> list[Pair]:
    """Summaries; questions with answers, as QAGen writes them; questions for answers in a text and for table entries."""
    pairs: list[Pair] = [([row["document"]], [row["summary"]]) for row in generate.documents(WORLD, 1, 3000, generate.Noise())]
    for row in generate.passages(WORLD, 1, 400, 0.1):
        for number, item in enumerate(row["questions"]):
            sentence = next((part for part in sentences(row["passage"]) if item["answer"] in part), row["passage"])
            about = inverted(row["passage"], item["question"], item["answer"])
            pairs.append(([sentence], [item["question"], SEP, item["answer"]]))
            pairs += [about] if about and number % 2 else []
    return pairs


def write_checkpoint(folder: Path, steps: int = 500) -> None:
    """A BART as small as can be, in the files and keys of facebook/bart-large, that asks and answers about what it reads.

    The separator is no token of it. It is trained around the embedding that loading draws for one.
    """
    folder.mkdir(parents=True)
    pairs = lessons()
    texts = [str(part) for source, target in pairs for part in (*source, *target) if not isinstance(part, Special)]
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=VOCABULARY, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
    bpe.save_model(str(folder))  # vocab.json and merges.txt
    config = BartConfig(
        vocab_size=bpe.get_vocab_size(), d_model=WIDTH, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=4 * WIDTH, decoder_ffn_dim=4 * WIDTH, max_position_embeddings=1024, dropout=0.1, attention_dropout=0.1, activation_dropout=0.1,
    )  # fmt: skip
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    model = BartForConditionalGeneration(config)
    for side in (model.get_encoder(), model.get_decoder()):
        start_positions(side.embed_positions.weight)
    save(folder, model, config)
    toy = from_checkpoint(str(folder), "main", Window(1024, 256), load_profile("paper").seed)
    embeddings = toy.model.get_input_embeddings().weight
    added = torch.arange(len(embeddings))[:, None] >= config.vocab_size
    embeddings.register_hook(lambda gradient: gradient.masked_fill(added, 0))
    train_pairs(toy, pairs, TrainingSettings(steps, 24, 3e-3, warmup=20, muon=0.02), SEED, folder / "checkpoints", Quiet())
    toy.model.resize_token_embeddings(config.vocab_size)
    save(folder, toy.model, config)


def save(folder: Path, model: BartForConditionalGeneration, config: BartConfig) -> None:
    """As on the hub: the keys of BartModel in a file of torch, and generation settings within the configuration."""
    (folder / "pytorch_model.bin").unlink(missing_ok=True)  # a model that was loaded from it may still read from it
    torch.save(model.model.state_dict(), folder / "pytorch_model.bin")
    own: dict[str, Any] = {
        "architectures": ["BartModel"],
        "forced_bos_token_id": 0,
        "no_repeat_ngram_size": 3,
        "num_beams": 4,
        "early_stopping": True,
    }
    (folder / "config.json").write_text(json.dumps(config.to_dict() | own))
