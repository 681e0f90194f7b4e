"""What `mlflow.pyfunc` runs for a registered model: DataFrame of strings in, strings out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.pyfunc.model import PythonModel

import mlflow


class Generator(PythonModel):
    """Loads safetensors and JSON only; the library travels with the model as its code."""

    def load_context(self, context: Any) -> None:
        from factloop.reader import Reader
        from factloop.seq2seq import Seq2Seq
        from factloop.tables.model import TableQA

        folder = Path(context.artifacts["model"])
        self.kind = context.model_config["kind"]
        readers = ("answer-extractor", "question-answerer", "factcc")
        kind = TableQA if self.kind == "table-qa" else Reader if self.kind in readers else Seq2Seq
        self.model: Any = kind.load(folder)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        from factloop.decoding import beam_search
        from factloop.tables.answer import answer_questions
        from factloop.tables.linearise import entries

        rows = model_input.to_dict("records")
        if self.kind == "summarizer":
            return pd.DataFrame({"summary": beam_search(self.model, [[row["document"]] for row in rows])})
        if self.kind == "base":
            return pd.DataFrame({"text": beam_search(self.model, [[row["text"]] for row in rows])})
        if self.kind == "qagen":
            from factloop.judges import ask
            from factloop.settings import QualsSettings

            pairs = ask(self.model, [row["passage"] for row in rows], QualsSettings())
            return pd.DataFrame(pairs, columns=["question", "answer"])
        if self.kind in ("answer-extractor", "question-generator", "question-answerer"):
            return self.part_of_qags(rows)
        if self.kind == "factcc":
            from factloop.judges import factcc
            from factloop.settings import FactccSettings

            found = factcc(self.model, [row["document"] for row in rows], [row["summary"] for row in rows], FactccSettings())
            sentences = [json.dumps([[item.text, item.correct] for item in verdict.sentences]) for verdict in found]
            correct = ["" if verdict.mean is None else str(verdict.mean) for verdict in found]
            return pd.DataFrame({"correct": correct, "sentences": sentences, "status": [verdict.status for verdict in found]})
        if self.kind == "table-question-generator":
            texts = [entries(row["sentence"], json.loads(row["entries"])) for row in rows]
            return pd.DataFrame({"question": beam_search(self.model, texts)})
        tables = [{"question": row["question"], **json.loads(row["table"])} for row in rows]
        answers = answer_questions(self.model, tables)
        given = [[one.long, one.short, json.dumps(one.cells), str(one.confidence), "yes" if one.held else "no"] for one in answers]
        return pd.DataFrame(given, columns=["long", "short", "cells", "confidence", "held"])

    def part_of_qags(self, rows: Any) -> pd.DataFrame:
        """Answers that a text holds, a question for one of them, or the answer of a question: empty for none."""
        from factloop.decoding import diverse_beam_search
        from factloop.judges.answer_extractor import extract_answers
        from factloop.judges.question_answerer import answer, text_room
        from factloop.judges.question_generator import sources
        from factloop.judges.spans import pieces, tokenise
        from factloop.settings import QagsSettings

        settings, texts = QagsSettings(), [row["text"] for row in rows]
        if self.kind == "question-generator":
            asked = sources(self.model, [(row["text"], row["answer"]) for row in rows])
            # One group is plain beam search.
            found = diverse_beam_search(
                self.model, self.model.pad_batch(asked), 1, 0.0, 1, settings.question_length, beams=4, length_penalty=1.0
            )
            return pd.DataFrame({"question": [self.model.decode(line[0].ids) for line in found]})
        windows = tokenise(self.model.seq2seq, texts)
        if self.kind == "answer-extractor":
            room = self.model.seq2seq.window.source - 1
            spans = [extract_answers(self.model, pieces(window, room), settings.answer_floor, settings.answer_length) for window in windows]
            return pd.DataFrame({"answers": [json.dumps(list(dict.fromkeys(one.text for part in line for one in part))) for line in spans]})
        read = [pieces(window, text_room(self.model.seq2seq)) for window in windows]
        given = answer(self.model, read, [[row["question"]] for row in rows], settings.answer_length)
        return pd.DataFrame({"answer": [one.text or "" for (one,) in given]})


mlflow.models.set_model(Generator())
