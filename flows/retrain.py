"""Retrain, judge and promote: the main job.

    python -m flows.retrain                              # the made-up world, two cores, minutes
    python -m flows.retrain --profile smoke
    python -m flows.retrain --profile world --set summarizer.likelihood.steps=1000
    DATA_MIRROR=~/mirror python -m flows.retrain --profile news

Unchanged steps are taken from earlier runs; a killed run goes on where it was.
"""

from __future__ import annotations

import argparse
import sys

from prefect import flow

from factloop import java
from flows.train_judges import JUDGE_METRICS, ready_judges
from tasks import base, gate, parent, summarizer, table_qa
from tasks.calibrate import gists
from tasks.champions import evaluated_champion
from tasks.console import Steps, metric_table, say
from tasks.console import console as terminal
from tasks.costs import costs, log_costs, per_point
from tasks.data import Data, describe, reproduce
from tasks.evidence import trace_examples
from tasks.failures import told
from tasks.gates import check_gates
from tasks.judges import Judges, with_judges
from tasks.memo import Context, Done, lease
from tasks.profiles import Profile, load_profile
from tasks.report import Story, draw_curves, write_report
from tasks.rounds import more_rounds
from tasks.server import prefect_api


@flow(name="retrain", flow_run_name="retrain-{profile.name}", validate_parameters=False)
def retrain(profile: Profile) -> Story:
    """The whole chain for a profile; returns what the report tells."""
    steps = Steps(profile)
    data = reproduce(profile)
    say(describe(profile, data))
    with parent.parent_run(profile, data, "retrain") as context:
        start = steps.done(base.train_base(context, profile, data))
        judges, examined = ready_judges(context, profile, data, start, steps)
        context = with_judges(context, *judges.values())
        if profile.meteor and not profile.isolation and not all(done.reused for done in steps.records):
            from factloop.metrics.meteor import scorer  # not at import: what it measures with

            scorer().start()  # it takes seconds to load, while models are trained
        tables = table_chain(context, profile, data, start, judges["training"], steps)
        models = summary_models(context, profile, data, start, judges["training"], steps)
        curves = draw_curves.submit(list(steps.records))  # beside the evaluations
        summaries = summary_evaluations(context, profile, data, models, judges["gate"], steps)
        gates = [
            gate.gate(
                context, profile, model, candidate, evaluation, evaluated_champion(context, profile, data, model, judges["gate"], steps)
            )
            for model, candidate, evaluation in (
                ("table-qa", tables["pretrained"][0], tables["pretrained"][1]),
                ("summarizer", summaries["contrastive"][0], summaries["contrastive"][1]),
            )
        ]
        spent = costs(context.experiment, context.parent, profile.prices)
        gained = per_point(spent, profile, {gated.model: gated.differences for gated in gates})
        log_costs(context.parent, gained)
        story = Story(
            profile=profile,
            parent=context.parent,
            data=data,
            steps=steps.records,
            judges=examined,
            tables={name: evaluation for name, (_, evaluation) in tables.items()},
            summaries={name: evaluation for name, (_, evaluation) in summaries.items()},
            differences={
                "contrastive - mle": gate.compare(context, "contrastive-mle", summaries["contrastive"][1], summaries["mle"][1]),
                "contrastive - positive-only": gate.compare(
                    context, "contrastive-positive_only", summaries["contrastive"][1], summaries["positive-only"][1]
                ),
                "pretrained - plain": gate.compare(context, "pretrained-plain", tables["pretrained"][1], tables["plain"][1]),
            },
            gates=gates,
            gists=gists(profile, judges["gate"]),
            costs=spent | gained,
        )
        story.report = write_report(context, story, curves.result())
    return story


def table_chain(context: Context, profile: Profile, data: Data, start: Done, judges: Judges, steps: Steps) -> dict[str, tuple[Done, Done]]:
    """Table question answering with and without pretraining, each with its evaluation."""
    generator = steps.done(table_qa.train_question_generator(context, profile, data, start))
    written = steps.done(table_qa.write_questions(context, profile, data, generator, judges["qagen"]))
    asked = profile.tables.check_questions and not context.plan
    held = table_qa.check_questions.submit(profile, written) if asked else None  # meanwhile the model that does without them is trained

    def evaluated(model: Done) -> tuple[Done, Done]:
        return steps.done(model), steps.done(table_qa.evaluate(context, profile, data, model))

    plain = evaluated(table_qa.fine_tune(context, profile, data, {"base": start}, "-plain"))
    if held:
        held.result()
    pretrained = steps.done(table_qa.pretrain(context, profile, data, start, written))
    return {"plain": plain, "pretrained": evaluated(table_qa.fine_tune(context, profile, data, {"pretrained": pretrained}))}


def summary_models(context: Context, profile: Profile, data: Data, start: Done, judges: Judges, steps: Steps) -> dict[str, Done]:
    """Likelihood, then contrast with and without S-, selected by the training judge."""
    likelihood = steps.done(summarizer.train_likelihood(context, profile, data, start))
    candidates = steps.done(summarizer.sample_candidates(context, profile, data, likelihood))
    scores = steps.done(summarizer.score_candidates(context, profile, candidates, judges))
    by = summarizer.Validation(data, judges, scores)
    models = {"mle": likelihood}
    for training in ("positive-only", "contrastive"):
        models[training] = steps.done(summarizer.train_contrastive(context, profile, likelihood, scores, training, by))
    if profile.summarizer.rounds > 1:
        models["contrastive"] = more_rounds(context, profile, likelihood, models["contrastive"], by, steps)
    return models


def summary_evaluations(
    context: Context, profile: Profile, data: Data, models: dict[str, Done], judges: Judges, steps: Steps
) -> dict[str, tuple[Done, Done]]:
    """Each model with its evaluation by the gate judges; examples of the contrastive one, which is the first, are traced meanwhile."""

    def evaluated(name: str) -> tuple[Done, Done]:
        return models[name], steps.done(summarizer.evaluate(context, profile, data, models[name], judges))

    contrastive = evaluated("contrastive")
    traced = None if context.plan else trace_examples.submit(contrastive[1])
    found = {name: contrastive if name == "contrastive" else evaluated(name) for name in models}
    if traced:
        traced.result()
    return found


SUMMARY_METRICS = [
    "rouge1",
    "rouge2",
    "rougeL",
    "bleu",
    "meteor",
    "quals",
    "quals_worst",
    "qags",
    "factcc",
    "hallucination_rate",
    "fact_recall",
]
TABLE_METRICS = ["bleu", "bleu_lowercase", "meteor", "rouge1", "rouge2", "rougeL"]


def show(story: Story) -> None:
    """Every metric with its interval, the verdicts, and where to look next."""
    if story.judges:
        terminal.print(metric_table("Judges: AUC of telling clean from planted errors", story.judges, JUDGE_METRICS))
    terminal.print(metric_table("Table question answering", story.tables, TABLE_METRICS))
    terminal.print(metric_table("Summaries, measured by the gate judges", story.summaries, SUMMARY_METRICS))
    for judge, gist in story.gists.items():
        say(f"[bold]{judge}[/bold]  {gist or f'not calibrated: python -m flows.calibrate --profile {story.profile.name}'}")
    for pair, differences in story.differences.items():
        say(f"[bold]{pair}[/bold]  " + "   ".join(f"{name} {value}" for name, value in differences.items() if name != "quals_worst"))
    trained = [step for step in story.steps if not step.reused]
    if not trained:
        say(f"nothing changed: all {len(story.steps)} steps were taken from earlier runs")
    say("[bold]cost[/bold]  " + (", ".join(f"{value:.3g} {name.replace('_', ' ')}" for name, value in story.costs.items()) or "nothing"))
    for gated in story.gates:
        say(f"[bold]gate {gated.model} version {gated.version}: {gated.outcome}[/bold] ({gated.reason})")
    say(f"report  {story.report}")
    say("look    make ui        (MLflow on http://127.0.0.1:5000, Prefect on http://127.0.0.1:4200)")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="world", help="a file in configs/ (default: world)")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override one field of the profile")
    options = parser.parse_args(arguments)
    with told("retrain"):
        profile = load_profile(options.profile, options.set)
        check_gates(profile)
        if profile.meteor:
            java.check()
        with lease(f"retrain-{profile.name}"), prefect_api():
            show(retrain(profile))
    return 0


if __name__ == "__main__":
    sys.exit(main())
