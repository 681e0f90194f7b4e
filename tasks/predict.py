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
        from factloop.seq2seq import Seq2Seq
        from factloop.tables.model import TableQA

        folder = Path(context.artifacts["model"])
        self.kind = context.model_config["kind"]
        self.model: Any = TableQA.load(folder) if self.kind == "table-qa" else Seq2Seq.load(folder)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        from factloop.decoding import beam_search
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
        if self.kind == "table-question-generator":
            texts = [entries(row["sentence"], json.loads(row["entries"])) for row in rows]
            return pd.DataFrame({"question": beam_search(self.model, texts)})
        tables = [{"question": row["question"], **json.loads(row["table"])} for row in rows]
        return pd.DataFrame({form: self.model.answer(tables, form) for form in ("long", "short")})


mlflow.models.set_model(Generator())
