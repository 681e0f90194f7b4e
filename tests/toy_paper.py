"""A mirror with ten rows of each of the papers' corpora, laid out as published, and a toy facebook/bart-large.

The text is the made-up world's: nothing of the real data is in here.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration

from factloop.seq2seq import Seq2Seq
from factloop.settings import TrainingSettings, Window
from factloop.steps.tables import inverted
from factloop.training.pairs import train_pairs
from factloop.world import generate
from factloop.world.vocabulary import make_world

WORLD = make_world(5)
HOSTILE = "<script>alert(1)</script>"
ROWS = 10
SPLITS = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2


def archive(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def lines(text: str) -> str:
    return text.replace(". ", ".\n")


def write_xsum(folder: Path) -> None:
    rows = list(generate.documents(WORLD, 11, ROWS + 1, generate.Noise()))
    files = {}
    for index, row in enumerate(rows):
        body = f"Share this with\nEmail\nFacebook\n{lines(row['document'])}\n{HOSTILE}"
        sections = {"URL": "http://somelink", "TITLE": "A title", "FIRST-SENTENCE": row["training_summary"], "RESTBODY": body}
        text = "\n\n".join(f"[SN]{name}[SN]\n{content}" for name, content in sections.items())
        files[f"bbc-summary-data/{30000000 + index}.summary"] = (text + "\n").encode()
    archive(folder / "XSUM-EMNLP18-Summary-Data-Original.tar.gz", files)
    # The archive has articles that no split names; the last one here is such.
    ids = {split: [str(30000000 + index) for index in range(ROWS) if SPLITS[index] == split] for split in ("train", "validation", "test")}
    (folder / "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json").write_text(json.dumps(ids))


def write_stories(folder: Path) -> None:
    urls: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for seed, source in ((12, "cnn"), (13, "dailymail")):
        files = {}
        for index, row in enumerate(generate.documents(WORLD, seed, ROWS, generate.Noise())):
            url = f"http://web.archive.org/web/2010id_/http://www.{source}.example/{index}.html"
            urls[SPLITS[index]].append(url)
            highlights = [*lines(row["summary"]).replace(".", "").split("\n"), "READ more on this", "CLICK HERE for all the news"]
            text = lines(row["document"]).replace("\n", "\n\n") + "".join(f"\n\n@highlight\n\n{part}" for part in highlights)
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
    """Ten documents that people judged, the first of them cut from a training document of CNN."""
    known, *others = (next(generate.documents(WORLD, seed, 1, generate.Noise()))["document"] for seed in (12, *range(30, 39)))
    articles = [" ".join(known.split()[:-3]), *others]
    responses = [{"worker_id": worker, "response": "yes"} for worker in range(3)]
    rows = [{"article": text, "summary_sentences": [{"sentence": text.split(". ")[0], "responses": responses}]} for text in articles]
    (folder / "qags_cnndm.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_mirror(folder: Path) -> None:
    for name in ("xsum", "cnn_dailymail", "squad", "newsqa", "tables", "fetaqa", "human_judgements"):
        (folder / name).mkdir(parents=True)
    write_judged(folder / "human_judgements")
    write_xsum(folder / "xsum")
    write_stories(folder / "cnn_dailymail")
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


def write_checkpoint(folder: Path, steps: int = 250) -> None:
    """A BART as small as can be, in the files and keys of facebook/bart-large, that has learned to ask about what it reads."""
    folder.mkdir(parents=True)
    documents = list(generate.documents(WORLD, 1, 300, generate.Noise()))
    passages = list(generate.passages(WORLD, 1, 300, 0.1))
    texts = [row["document"] for row in documents] + [row["passage"] for row in passages]
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=700, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
    bpe.save_model(str(folder))  # vocab.json and merges.txt
    config = BartConfig(
        vocab_size=bpe.get_vocab_size(), d_model=48, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=192, decoder_ffn_dim=192, max_position_embeddings=1024, dropout=0.1, attention_dropout=0.1, activation_dropout=0.1,
    )  # fmt: skip
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = BartForConditionalGeneration(config)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    toy = Seq2Seq(model, tokenizer, Window(256, 64))
    pairs = [([row["document"]], [row["summary"]]) for row in documents]
    for row in passages:
        for item in row["questions"]:
            pairs.append(([row["passage"]], [f"{item['question']} {item['answer']}"]))
            about = inverted(row["passage"], item["question"], item["answer"])
            if about:
                pairs.append(([" ".join(about[0])], about[1]))
    train_pairs(toy, pairs, TrainingSettings(steps, 16, 3e-3, warmup=20, muon=0.02), 0, folder / "checkpoints", Quiet())
    # As on the hub: the keys of BartModel in a file of torch, and generation settings within the configuration.
    torch.save(model.model.state_dict(), folder / "pytorch_model.bin")
    own: dict[str, Any] = {
        "architectures": ["BartModel"],
        "forced_bos_token_id": 0,
        "no_repeat_ngram_size": 3,
        "num_beams": 4,
        "early_stopping": True,
    }
    (folder / "config.json").write_text(json.dumps(config.to_dict() | own))
