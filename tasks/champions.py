"""The champion measured beside the candidate: same test examples, same gate judges."""

from __future__ import annotations

from mlflow.tracking import MlflowClient

from . import summarizer, table_qa
from .console import Steps
from .data import Data
from .judges import Judges
from .memo import Context, Done, recall_version
from .profiles import Profile
from .serving import aliased


def evaluated_champion(context: Context, profile: Profile, data: Data, model: str, judges: Judges, steps: Steps) -> Done | None:
    """Its evaluation, taken from an earlier run where that was on this test set by these judges."""
    version = aliased(MlflowClient(), f"{context.profile}-{model}", "champion")
    if version is None:
        return None
    step = MlflowClient().get_run(version.run_id).data.tags["step"]
    champion = recall_version(step, version, f"restore its files, or delete the alias `champion` of {version.name} in MLflow")
    if model == "table-qa":
        return steps.done(table_qa.evaluate(context, profile, data, champion))
    return steps.done(summarizer.evaluate(context, profile, data, champion, judges))
