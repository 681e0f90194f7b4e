"""How often drift alarms where there is none, and where 10% of the incoming documents are another source's.

    DATA_MIRROR=<folder> python -m benchmarks.drift              # 200 draws a scenario
    python -m benchmarks.drift --only world                      # scenarios whose home begins so, the others stay as measured

A draw takes incoming and old documents from one home, none in both, and puts them before the two tests of documents (text
and length, corrected for both, nominal 5%): `alarms_without`. Then a share of the incoming is replaced by documents of a guest:
`alarms_with`. Near-duplicates within a source are taken out first, as `document_drift` does. Real sources are those of
`data/sources.yaml`; the other world has other people and other typical values. Written to `benchmarks/results/drift.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.run import ROOT, commit_of
from factloop.corpora.clusters import clusters
from factloop.corpora.formats import FORMATS
from factloop.corpora.readers import read
from factloop.drift import Sketch, document_parts, holm_alarm, join, sketch
from factloop.world import generate
from factloop.world.vocabulary import make_world

COMMIT = commit_of(ROOT)  # of the code loaded
PERMUTATIONS = 199  # 999 in use: a finer p-value, the same level
SHARE = 0.1
SOURCES = {
    "XSum": ("xsum-sample",),
    "SciTLDR": ("scitldr-train", "scitldr-dev", "scitldr-test"),
    "MTS-Dialog": ("mts-dialog-train",),
    "DialogSum": ("dialogsum-dev", "dialogsum-test"),
    "CNN/DM": ("qags-cnndm",),
    "Reddit": ("squadshifts-reddit",),
    "Amazon reviews": ("squadshifts-amazon",),
}
WORLDS = {"world": (1, 6000), "another world": (7, 1000)}  # seed and documents


@dataclass(frozen=True)
class Home:
    """Where documents are from, and who comes in their place."""

    name: str
    incoming: int
    old: int
    guests: tuple[str, ...]


HOMES = (
    Home("world", 500, 1500, ("another world",)),
    Home("XSum", 250, 500, ("SciTLDR", "MTS-Dialog", "DialogSum", "CNN/DM")),
    Home("SciTLDR", 300, 2000, ("XSum",)),
    Home("MTS-Dialog", 300, 800, ("DialogSum",)),
    Home("Reddit", 500, 1500, ("Amazon reviews",)),
)


def texts_of(source: str) -> Iterator[str]:
    if source in WORLDS:
        seed, count = WORLDS[source]
        for row in generate.documents(make_world(seed), seed, count, generate.Noise(0.4, 0.6, 0.85)):
            yield row["document"]
        return
    declared = yaml.safe_load((ROOT / "data" / "sources.yaml").read_text(encoding="utf-8"))
    for name in SOURCES[source]:
        file = Path(os.environ["DATA_MIRROR"]) / declared[name]["file"]
        for row in read(file, FORMATS[declared[name]["reader"]], lambda bad: None):
            yield row.get("document") or row["passage"]


@cache
def known(source: str) -> tuple[Sketch, np.ndarray]:
    """Its distinct documents as sketches, and their lengths in words."""
    texts = list(texts_of(source))
    first = dict(zip(reversed(clusters(texts)), reversed(texts), strict=True))
    return sketch(list(first.values())), np.array([len(text.split()) for text in first.values()], dtype=float)


def alarms(home: Home, guest: str | None, draws: int) -> dict[str, Any]:
    """The share of draws with an alarm, and what it cost."""
    documents, lengths = known(home.name)
    raised, started = [], time.process_time()
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        order = rng.permutation(len(lengths))
        own, old = order[: home.incoming], order[home.incoming : home.incoming + home.old]
        incoming, new_lengths = documents.take(own), lengths[own]
        if guest:
            others, other_lengths = known(guest)
            taken = rng.permutation(len(other_lengths))[: round(SHARE * home.incoming)]
            stay = own[len(taken) :]
            incoming, new_lengths = join(documents.take(stay), others.take(taken)), np.append(lengths[stay], other_lengths[taken])
        _, parts = document_parts((incoming, new_lengths), (documents.take(old), lengths[old]), draw, PERMUTATIONS)
        adjusted, alarm = holm_alarm(parts)
        raised.append([alarm, *(adjusted[part.name] <= 0.05 for part in parts)])
    alarm, text, length = np.mean(raised, 0).round(4).tolist()
    seconds = round(time.process_time() - started, 1)
    found: dict[str, Any] = {"home": home.name, "guest": guest, "draws": draws, "incoming": home.incoming, "old": len(old)}
    found |= {"commit": COMMIT}
    return found | {"alarms": alarm, "by text": text, "by length": length, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200, help="draws a scenario, without and with replaced documents")
    parser.add_argument("--only", default="", help="homes whose name begins so")
    options = parser.parse_args()
    path = ROOT / "benchmarks" / "results" / "drift.json"
    known_before = json.loads(path.read_text())["scenarios"] if path.exists() else []
    found = {(scenario["home"], scenario["guest"]): scenario for scenario in known_before}
    for home in HOMES:
        if not home.name.startswith(options.only) or (home.name not in WORLDS and "DATA_MIRROR" not in os.environ):
            continue
        for guest in (None, *home.guests):
            found[home.name, guest] = alarms(home, guest, options.draws)
            print(json.dumps(found[home.name, guest]), flush=True)
            result = {"command": "python -m benchmarks.drift", "share": SHARE, "permutations": PERMUTATIONS}
            path.write_text(json.dumps(result | {"scenarios": list(found.values())}, indent=1) + "\n")


if __name__ == "__main__":
    main()
