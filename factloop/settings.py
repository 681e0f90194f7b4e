"""Settings of the library's parts, as plain dataclasses that check themselves (no torch here)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Literal

STRICT = {"extra": "forbid"}  # what pydantic is told where a profile embeds these classes


class Checked:
    """Refuses numbers that no setting here may have: below zero, or zero for a count."""

    __pydantic_config__ = STRICT

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            least = item.metadata.get("least", 1 if item.type == "int" else 0)
            if isinstance(value, int | float) and not value >= least:
                raise ValueError(f"{item.name} is {value}; it must be at least {least}")


@dataclass(frozen=True)
class Window(Checked):
    """The most tokens a source and a target may have, end token included."""

    source: int
    target: int


@dataclass(frozen=True)
class Network(Checked):
    """The shape of a small encoder-decoder made from scratch."""

    width: int
    encoder_layers: int
    decoder_layers: int
    heads: int
    vocabulary: int


@dataclass(frozen=True)
class TrainingSettings(Checked):
    steps: int = field(metadata={"least": 0})
    batch_size: int
    learning_rate: float
    warmup: int = field(default=100, metadata={"least": 0})
    label_smoothing: float = 0.0
    checkpoint_every: int = 500
    muon: float = 0.0
    """Learning rate of Muon for weight matrices, which models from scratch learn faster by; 0: AdamW for all."""
    bf16: bool = False
    """Matrix products in bfloat16, Muon's too, weights and sums in float32, where the machine multiplies bfloat16 in hardware: about half
    the time a step for MiniLM (width 384) on a CPU with AVX512-BF16, and slower than float32 for the world's width of 96."""
    epochs: int = field(default=0, metadata={"least": 0})
    """Passes over the examples, in place of `steps`, which is 0 then: their number depends on the data."""
    final_rate: float = 0.1
    """Share of the learning rate that its linear fall ends at (published for BART: 0)."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    parts: int = 1
    """A batch goes through the model in so many parts and their gradients add up: for batches larger than memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.steps) == bool(self.epochs):
            raise ValueError(f"steps is {self.steps}; it must be at least 1, or 0 beside epochs of at least 1 (epochs is {self.epochs})")

    def over(self, examples: int) -> TrainingSettings:
        """The same with epochs of so many examples as steps."""
        return replace(self, steps=self.steps or self.epochs * -(-examples // self.batch_size), epochs=0)


@dataclass(frozen=True)
class BeamSettings(Checked):
    """Beam search for outputs that are measured."""

    beams: int = 4
    min_length: int = field(default=0, metadata={"least": 0})
    max_length: int = field(default=0, metadata={"least": 0})
    """The most tokens; 0: as many as the window holds."""


@dataclass(frozen=True)
class QualsSettings(Checked):
    groups: int = 16
    """Beam groups of one beam, so question-answer pairs before filtering (published: 60)."""
    strength: float = 0.5
    """Penalty for each earlier group that chose the same token at the same step (published)."""
    min_length: int = 4
    max_length: int = 40
    pairs: int = 10
    """Rounds over distinct answers stop once so many pairs are kept (published)."""
    batch_size: int = 64
    pieces: int = 64
    """The most windows of the judge that a document may fill; a longer one is not judged, and says so."""
    summary_side: Literal["rescored", "beam"] = "rescored"
    """Likelihoods given the summary by teacher forcing, or the score of the beam with its penalties (published)."""


@dataclass(frozen=True)
class ClaimSettings(Checked):
    """Claims about training documents, right and wrong, that FactCC learns from."""

    pairs: int
    """Pairs of a right and a wrong claim a document, at most."""
    documents: int = 1_000_000
    """The most documents to take."""
    reference_share: float = 0.0
    """Share of the claims that are made of the reference's sentences, where its values stand in the document
    (published: 0). These are worded like summaries; some are wrong, as references are."""
    spacy: str = ""
    """The spaCy model that finds names, numbers and dates; empty: patterns of written English."""


@dataclass(frozen=True)
class MiningSettings(Checked):
    """What a mined sentence is like."""

    shortest: int = 8
    longest: int = 45
    """Words."""
    begins_with_name: bool = True
    """Whether one that states a single row must begin with that row's name: others of real text are often about something else."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortest > self.longest:
            raise ValueError(f"shortest is {self.shortest} and longest {self.longest}: no sentence has such a length")


@dataclass(frozen=True)
class FactccSettings(Checked):
    """How FactCC reads documents and summaries."""

    batch_size: int = 64
    pieces: int = 16
    """The most pieces of the window that a document is read in."""


@dataclass(frozen=True)
class ContrastSettings(Checked):
    training: TrainingSettings
    positive_share: float
    """Share of the references, scored highest, that enter S+."""
    negative_share: float
    """Share of the documents whose worst candidate, scored lowest, enters S-."""
    negative_weight: float
    """Weight of S- tokens beside S+ tokens (published: 1). 0 trains on S+ only."""
    collapse: float = 0.5
    """Stop when the loss on S+ has risen by so much (nats a token) above its start."""
    own: int = field(default=0, metadata={"least": 0})
    """Candidates of a document that join S+, at most, where they score as high as its last reference."""
    edit_weight: float = 0.0
    """Weight of the pairs that differ in what the document does not bear out (`factloop.contrast.edits`). 0: none are made."""
    doubt: float = 1.0
    """By how much (in units of the score) a candidate and its answers must lie under the last reference of S+ to be doubted."""
    intersect: bool = False
    """Take only documents that are in both shares, so that S+ and S- are of the same ones (published)."""


@dataclass(frozen=True)
class ValidationSettings(Checked):
    """Summaries of validation documents by the model that contrast trains, judged by what it is trained on and by what it is not."""

    documents: int = 200
    """The first of them."""
    evaluations: int = field(default=0, metadata={"least": 0})
    """How often during a training, evenly over its steps; 0: not once."""
    margin: float = field(default=0.0, metadata={"least": -math.inf})
    """By more than how much (in units of the score) a round must raise the mean score above that of the best round before it."""
    parted: int = 2
    """Evaluations in a row, judge up and truth down, after which a training stops, and rounds do."""


@dataclass(frozen=True)
class QuestionAnswererSettings(Checked):
    training: TrainingSettings
    unanswerable: float = 0.33
    """Share of the training questions that are of another passage (SQuAD 2.0's training data: a third)."""


@dataclass(frozen=True)
class QagsSettings(Checked):
    answers: int = 10
    """The most answers of a summary that are asked about (published)."""
    hypotheses: int = 10
    """Questions written for each answer, by beam search with as many beams (published: 10, by 5 or 10 beams)."""
    questions: int = 20
    """The most questions that are kept of a summary (published code: 20, 10 or 5)."""
    spacy: str = ""
    """The spaCy model whose entities and noun chunks are asked about (published: en_core_web_lg); empty: the answer extractor."""
    answer_floor: float = 0.02
    """The least probability of a span that is asked about."""
    answer_length: int = 16
    """The most tokens of an answer."""
    question_length: int = 40
    """The most tokens of a question."""
    question_mark: bool = True
    """A question without "?" is dropped: for generators whose training questions all have one."""
    batch_size: int = 64
    pieces: int = 64
    """The most windows of a document that are read; a longer document has a status and no score."""
    seed: int = field(default=0, metadata={"least": 0})
    """Decides between answers of equal score."""
