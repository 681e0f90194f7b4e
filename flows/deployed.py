"""The verbs as a worker runs them: with what a person would type, one at a time for each of its slots.

`prefect.yaml` names this flow; `make worker` starts a worker for it.

    prefect deployment run verb/nightly --param 'arguments=["--profile", "smoke"]'
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Literal

from prefect import flow
from prefect.concurrency.sync import concurrency

SLOT = "FACTLOOP_SLOT"
"""Environment of a worker: the concurrency limit that each of its runs holds one of."""
GONE = "nobody reads what this run says: its worker is gone. Start a worker, then this run again: it goes on where it was"
Verb = Literal["retrain", "train_judges", "calibrate", "evaluate", "compare", "promote", "ablate", "mine", "drift", "rerun"]


class VerbFailed(RuntimeError):
    """A verb that could not go on; says what a person would have been told."""


def slot() -> AbstractContextManager[None]:
    """Waits until one is free. A holder that dies gives it back when its lease ends; a lease that is not renewed once ends no training."""
    name = os.environ.get(SLOT)
    return concurrency(name, strict=True, raise_on_lease_renewal_failure=False) if name else nullcontext()


@contextmanager
def scratch() -> Iterator[None]:
    """A folder for temporary files that goes with the run: MLflow leaves in one each model that it fetches from a server."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="factloop-") as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


@flow(name="verb", flow_run_name="{verb}")
def run(verb: Verb, arguments: list[str]) -> int:
    """`python -m flows.<verb> <arguments>` in this process; its exit code, or VerbFailed."""
    with slot(), scratch():
        try:
            code: int = import_module(f"flows.{verb}").main(arguments)
        except BrokenPipeError:
            raise VerbFailed(GONE) from None
        except SystemExit as ended:
            if isinstance(ended.__context__, BrokenPipeError):  # rich's way to end
                raise VerbFailed(GONE) from None
            if ended.code in (None, 0):
                return 0
            raise VerbFailed(str(ended)) from None
    return code
