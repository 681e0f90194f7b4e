"""Rounds of contrast: each samples from the model of the one before, until the judge's score of validation documents rises no more."""

from __future__ import annotations

from pathlib import Path

from factloop.corpora.rows import read_rows
from factloop.statistics.parting import Evaluation, best_round, parted

from .console import Steps, say
from .memo import Context, Done
from .profiles import Profile
from .summarizer import Validation, sample_candidates, score_candidates, train_contrastive, validate


def more_rounds(context: Context, profile: Profile, start: Done, first: Done, by: Validation, steps: Steps) -> Done:
    """The model of the best round; `start` is the MLE model, `first` that of the first round, which is taken if none is better.

    The number of a later round is in the names of its runs. Raises TrainingDiverged where judge and truth part from the first on.
    """
    from factloop.training import TrainingDiverged  # not at import: torch

    models, seen = [start, first], [steps.done(validate(context, profile, start, by))]
    while True:
        seen.append(steps.done(validate(context, profile, models[-1], by)))
        if all(done.path for done in seen):
            best, why = _decided(profile, seen)
        else:  # a plan, and this one would run: how it comes out is not known, and all rounds are told of
            best, why = len(seen) - 1, None
        number = len(models)
        if not why and number > profile.summarizer.rounds:
            why = f"ended: {profile.summarizer.rounds} were asked for"
        if why:
            break
        try:
            models.append(_round(context, profile, models[-1], number, by, steps))
        except TrainingDiverged as error:
            why = f"stopped in round {number}: {error}"
            break
    if not context.plan:
        say(f"rounds {why}; that of round {max(1, best)} is taken")
    return models[max(1, best)]


def _decided(profile: Profile, seen: list[Done]) -> tuple[int, str | None]:
    from factloop.training import TrainingDiverged

    settings, found = profile.summarizer.validation, evaluations(seen)
    apart = parted(found, settings.parted)
    if apart and not apart.good:
        raise TrainingDiverged(f"rounds: judge and truth part from the first on: {apart.told}; choose by another summarizer.score")
    return best_round(found, settings.margin, settings.parted)


def evaluations(validated: list[Done]) -> list[Evaluation]:
    """Of the start, round 0, and of each round since."""
    rows = [list(read_rows(Path(done.path) / "validation.jsonl")) for done in validated]
    return [Evaluation.of(f"round {number}", found) for number, found in enumerate(rows)]


def _round(context: Context, profile: Profile, model: Done, number: int, by: Validation, steps: Steps) -> Done:
    suffix = f"-round-{number}"
    candidates = steps.done(sample_candidates(context, profile, by.data, model, suffix))
    scores = steps.done(score_candidates(context, profile, candidates, by.judges, suffix))
    return steps.done(train_contrastive(context, profile, model, scores, "contrastive", by, suffix, number))
