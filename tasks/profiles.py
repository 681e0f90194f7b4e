"""Profiles: one YAML file each, read into frozen models that reject unknown fields."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from factloop.settings import (
    BeamSettings,
    ClaimSettings,
    ContrastSettings,
    FactccSettings,
    MiningSettings,
    Network,
    QagsSettings,
    QualsSettings,
    TrainingSettings,
    ValidationSettings,
    Window,
)

from .environment import ROOT

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class ProfileError(ValueError):
    """A profile, or an override of it, that cannot be used as written."""


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class WorldData(Strict):
    """The made-up world: how much of it, and how its training references err."""

    kind: Literal["world"]
    seed: int
    documents: Count
    passages: Count
    pages: Count
    table_questions: Count
    omission: Share = 0.4
    """Chance that a document leaves a detail out."""
    passage_omission: Share = 0.1
    """The same in reading comprehension, where questions about details are what is to be learned."""
    fill_in: Share = 0.6
    typical: Share = 0.85


class MirrorData(Strict):
    """Real data by the names of `data/sources.yaml`, with the most rows to take of each."""

    kind: Literal["sources"]
    documents: dict[str, Count]
    questions: dict[str, Count]
    pages: dict[str, Count]
    table_questions: dict[str, Count]
    judged: list[str] = []
    """What people judged: near-duplicates of these documents are dropped from everything."""
    non_commercial: bool = False
    """Whether sources under non-commercial licences, left out otherwise, are taken."""
    quarantine: Share = 0.0
    """Largest share of the rows of a source to set aside with their reasons if bad; at 0 the first one stops the run."""


class Shares(Strict):
    """Shares of validation and test clusters; the rest trains."""

    validation: Share
    test: Share


class DataSettings(Strict):
    source: Annotated[WorldData | MirrorData, Field(discriminator="kind")]
    split: Shares
    mining: MiningSettings
    short_questions_per_page: Count
    short_answers: tuple[Literal["cell", "count", "sum", "difference", "time"], ...]
    """Kinds of answers of the grammar's questions; GenTaP's are single cells."""
    claims: ClaimSettings


class Scratch(Strict):
    """A small network with random weights and a tokenizer learned from the profile's text."""

    kind: Literal["scratch"]
    network: Network
    window: Window


class Encoder(Strict):
    """A pretrained encoder, from a folder, a pip package or the hub; the decoder copies its layers."""

    kind: Literal["encoder"]
    checkpoint: str
    decoder_layers: Count
    window: Window


class Checkpoint(Strict):
    """A pretrained encoder-decoder, used as it is."""

    kind: Literal["seq2seq"]
    checkpoint: str
    revision: str = "main"
    """On the hub; a folder has none."""
    window: Window


class BaseSettings(Strict):
    start: Annotated[Scratch | Encoder | Checkpoint, Field(discriminator="kind")]
    denoising: TrainingSettings | None


class QagsModels(Strict):
    answer_extractor: TrainingSettings
    question_generator: TrainingSettings
    question_answerer: TrainingSettings
    unanswerable: Annotated[float, Field(ge=0, lt=1)] = 0.33
    """Share of the question answerer's training questions that are of another passage."""


class JudgeSettings(Strict):
    qagen: TrainingSettings
    short_passages: Annotated[int, Field(ge=0)] = 0
    """Passages of one to three sentences that are cut from each passage which QAGen and QAGS's models learn from, at most:
    summaries are as short, and a step on them costs less."""
    quals: QualsSettings = QualsSettings()
    qags_models: QagsModels | None = None
    """How QAGS's models are trained; without, QAGS does not judge."""
    qags: QagsSettings = QagsSettings()
    factcc_model: TrainingSettings | None = None
    """How FactCC is trained; without, FactCC does not judge."""
    factcc: FactccSettings = FactccSettings()


class TableSettings(Strict):
    question_generator: TrainingSettings
    pretraining: TrainingSettings
    fine_tuning: TrainingSettings
    fine_tuning_examples: Count
    check_questions: bool = True
    """Whether what the question generator writes must be questions."""
    answered: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The probability with which the training judge must answer one from its sentence; 0: it need not."""


class Candidates(Strict):
    documents: Count
    per_document: Count
    top_k: Count = 50
    min_length: Annotated[int, Field(ge=0)] = 0
    max_length: Annotated[int, Field(ge=0)] = 0
    """Tokens of a sample; 0: no limit but the window."""


Score = Literal[
    "quals", "quals_low", "quals_worst", "quals_answer", "quals_answer_worst", "qags", "qags_worst", "factcc", "factcc_worst", "rouge",
]  # fmt: skip


class SummarizerSettings(Strict):
    score: Score | Annotated[dict[Score, Annotated[float, Field(gt=0)]], Field(min_length=1)] = "quals"
    """What chooses S+ and S-: a judge's score, or ROUGE-L against the reference, by which all references are alike; or the
    weights of several, each standardised over the candidates."""
    likelihood: TrainingSettings
    candidates: Candidates
    contrast: ContrastSettings
    rounds: Count = 1
    """The most rounds of contrast, each on candidates of the model before; it ends before where a round does not raise the score."""
    validation: ValidationSettings = ValidationSettings()
    decoding: BeamSettings = BeamSettings()
    """Of the summaries that are measured."""

    @property
    def judged_by(self) -> set[str]:
        """The judges whose scores choose: quals, qags, factcc, and rouge."""
        return {name.partition("_")[0] for name in ([self.score] if isinstance(self.score, str) else self.score)}

    @property
    def validated(self) -> bool:
        """Whether summaries of validation documents are judged while it is trained."""
        return self.rounds > 1 or self.validation.evaluations > 0


class Isolation(Strict):
    """Each step in a process of its own, on workers that other runs need."""

    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds that one attempt may take."""
    attempts: Count = 2
    """Of a step whose process was killed or ran out of time; each goes on from the newest checkpoint."""
    processes: Count = 1
    """That share each training, one for each GPU; `parts` of its settings must be a multiple."""


class Prices(Strict):
    """What things cost, in any one currency: runs then tell what they cost."""

    core_hour: Annotated[float, Field(ge=0)] | None = None
    gpu_hour: Annotated[float, Field(ge=0)] | None = None
    kilowatt_hour: Annotated[float, Field(ge=0)] | None = None


class Profile(Strict):
    name: str
    seed: int
    device: str = "cpu"
    threads: Count = 2
    isolation: Isolation | None = None
    prices: Prices = Prices()
    test_examples: Count
    meteor: bool = True
    """Of what summarisers and table answerers write. Its Java takes ten seconds of a core to start, and a gigabyte."""
    data: DataSettings
    base: BaseSettings
    judges: JudgeSettings
    tables: TableSettings
    summarizer: SummarizerSettings

    @model_validator(mode="after")
    def judged(self) -> Profile:
        for judge, models in (("qags", "qags_models"), ("factcc", "factcc_model")):
            if judge in self.summarizer.judged_by and getattr(self.judges, models) is None:
                raise ValueError(f"summarizer.score asks for {judge}, and judges.{models} does not say how it is trained")
        return self

    @model_validator(mode="after")
    def shared_out(self) -> Profile:
        processes = self.isolation.processes if self.isolation else 1
        uneven = [path for path, settings in _trainings(self) if settings.parts % processes]
        if uneven:
            raise ValueError(f"{processes} processes share the parts of a batch: set `parts` to a multiple of it in {', '.join(uneven)}")
        return self


def _trainings(level: Any, path: str = "") -> Iterator[tuple[str, TrainingSettings]]:
    """All training settings of a profile by their paths."""
    if isinstance(level, TrainingSettings):
        yield path, level
    elif isinstance(level, BaseModel) or is_dataclass(level):
        for name, value in vars(level).items():
            yield from _trainings(value, f"{path}.{name}".lstrip("."))


def profile_names() -> list[str]:
    return sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise ProfileError(f"{where}: not YAML ({error})") from None


def _set(config: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ProfileError(f"--set {override!r}: write it as path=value, for example --set summarizer.likelihood.steps=100")
    if keys[0] in ("data", "name"):
        raise ProfileError(f"--set {override!r}: other data is another profile; copy configs/{config['name']}.yaml under a new name")
    level = config
    for key in keys[:-1]:
        level = level.setdefault(key, {})  # a profile leaves out what is as by default
        if not isinstance(level, dict):
            raise ProfileError(f"--set {override!r}: {key!r} is {level!r} and has no fields")
    level[keys[-1]] = _yaml(value, f"--set {override!r}")


def load_profile(name: str, overrides: tuple[str, ...] | list[str] = (), folder: Path = ROOT / "configs") -> Profile:
    """Read `configs/<name>.yaml` with overrides `path=value`; ProfileError says what is wrong."""
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise ProfileError(f"there is no profile {name!r}{f'; did you mean {near[0]!r}?' if near else ''}; profiles: {', '.join(known)}")
    found = _yaml((folder / f"{name}.yaml").read_text(encoding="utf-8"), f"configs/{name}.yaml")
    if not isinstance(found, dict):
        raise ProfileError(f"configs/{name}.yaml: a {type(found).__name__}, not fields with values")
    config: dict[str, Any] = {"name": name} | found
    for override in overrides:
        _set(config, override)
    try:
        return Profile.model_validate(config)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']} (got {item['input']!r:.80})" for item in error.errors()]
        raise ProfileError(f"configs/{name}.yaml with {list(overrides)} is not a profile:\n" + "\n".join(lines)) from None
