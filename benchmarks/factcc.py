"""Train FactCC on the world's claims from several seeds, and measure it on errors planted in test summaries.

    python -m benchmarks.factcc                      # by seed a base, a question generator, the judge; the test documents
    python -m benchmarks.factcc --part validation    # to choose settings by; the test is for once

Reports for each seed, and as the mean of the seeds, the AUC of telling clean from planted for the
errors that its training claims have too (entity, number, date, pronoun, negation), for those they
do not have (relation, unsupported detail), and by type, beside word overlap. What is trained stays
in `--work`, so that a run goes on where it ended. Written to `benchmarks/results/factcc.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.run import ROOT, processor
from factloop.claims import KINDS
from factloop.corpora.rows import read_rows
from factloop.statistics import auc_interval
from tasks.environment import prepare
from tasks.profiles import load_profile

OTHERS = ("relation", "unsupported detail")


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def log(self, metrics: dict[str, float], step: int) -> None:
        pass


def measure(examples: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """AUC with interval by score, then by type of error, or pooled over those made and the others."""
    found: dict[str, dict[str, Any]] = {}
    for name in examples[0]["scores"]:
        scores = {kind: [row["scores"][name] for row in examples if row["error"] == kind] for kind in (None, *KINDS, *OTHERS)}
        pooled = {label: [score for kind in kinds for score in scores[kind]] for label, kinds in (("made", KINDS), ("not made", OTHERS))}
        pooled |= {kind: scores[kind] for kind in (*KINDS, *OTHERS)}
        found[name] = {kind: asdict(auc_interval(scores[None], wrong)) for kind, wrong in pooled.items() if wrong}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--work", type=Path, default=ROOT / ".factloop" / "benchmark-factcc", metavar="FOLDER")
    options = parser.parse_args()
    prepare()  # before torch, which reads some of it
    import torch

    from factloop.steps import base, factcc, judge, qags

    profile = load_profile("world")
    assert profile.judges.factcc_model and profile.judges.qags_models
    torch.set_num_threads(profile.threads)
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "claims@world"], cwd=ROOT, check=True)
    data, settings = ROOT / "data" / "world", profile.judges
    files = {name: data / "split" / f"{name}.train.jsonl" for name in ("summaries", "questions")}
    result: dict[str, Any] = {}
    for seed in options.seeds:
        work = options.work / str(seed)

        def train(name: str, step: Any, config: dict[str, Any], inputs: dict[str, Path], work: Path = work, seed: int = seed) -> Path:
            if not (work / name / "model").exists():
                config |= {"seed": seed, "device": "cpu"}
                step(config, inputs, work / name, work / "checkpoints" / name, Named(f"{name} {seed}"))
            return work / name / "model"

        start = train("base", base.train, profile.base.model_dump(), files | {"tables": data / "split" / "table_questions.train.jsonl"})
        config = {"training": asdict(settings.qags_models.question_generator)}
        start = train("question-generator", qags.train_generator, config, {"base": start, "questions": files["questions"]})
        config = {"training": asdict(settings.factcc_model)}
        model = train("factcc", factcc.train, config, {"base": start, "claims": data / "claims" / "claims.jsonl"})
        config = {
            "factcc": {}, "world_seed": profile.data.source.seed, "device": "cpu",
            "examples": profile.test_examples, "errors_each": profile.test_examples // 3,
        }  # fmt: skip
        out = work / f"judged-{options.part}"
        inputs = {"factcc": model, "summaries": data / "split" / f"summaries.{options.part}.jsonl"}
        judge.examine(config, inputs, out, out / "kept", Named("examine"))
        found = measure(list(read_rows(out / "examples.jsonl")))
        result[f"seed {seed}"] = {"auc": found}
        print(seed, {kind: round(auc["value"], 3) for kind, auc in found["factcc"].items()}, flush=True)
    each = [found["auc"] for found in result.values()]
    means = {
        name: {kind: sum(auc[name][kind]["value"] for auc in each) / len(each) for kind in each[0][name]}
        for name in ("factcc", "factcc_worst")
    }
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    written = {
        "command": f"python -m benchmarks.factcc {' '.join(sys.argv[1:])}".strip(), "commit": commit, "part": options.part,
        "machine": f"{os.cpu_count()} cores, {processor()}", "training": asdict(settings.factcc_model), "mean of seeds": means, "seeds": result,
    }  # fmt: skip
    path = ROOT / "benchmarks" / "results" / ("factcc.json" if options.part == "test" else "factcc-validation.json")
    path.write_text(json.dumps(written, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
