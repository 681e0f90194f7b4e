"""What a person is told when a verb cannot go on: one paragraph, never a traceback."""

from __future__ import annotations

import errno
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException

from factloop.corpora.rows import BadRow
from factloop.java import JavaFailed

from .contracts import ContractBroken
from .data import DataFailed
from .environment import ROOT, STATE
from .isolated import StepFailed
from .memo import Conflict
from .profiles import ProfileError
from .record import Damaged
from .server import ServerFailed
from .tracking import TrackingAway, away, here

TOLD = (ProfileError, DataFailed, Conflict, Damaged, ContractBroken, BadRow, ServerFailed, JavaFailed, StepFailed, TrackingAway)
LITTLE = 1 << 20  # bytes free, below which SQLite, Prefect and safetensors fail, each with words of its own
DISK = {
    errno.ENOSPC: "no space left", errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "a file may not grow so large (ulimit -f)",
    errno.EROFS: "read-only", errno.EACCES: "not writable", errno.EPERM: "not writable",
}  # fmt: skip
# How those reach a person who is told by another process, by SQLite or by safetensors.
WORDS = {
    "No space left on device": errno.ENOSPC, "disk is full": errno.ENOSPC, "File too large": errno.EFBIG,
    "Read-only file system": errno.EROFS, "readonly database": errno.EROFS,
}  # fmt: skip


def _disk_trouble(error: BaseException | None) -> str | None:
    """Why the disk does not take what is written, if that is what an error comes from."""
    while error:
        if isinstance(error, OSError) and error.errno in DISK:
            return f"{error.filename or STATE}: {DISK[error.errno]}"
        for words, number in WORDS.items():
            if words in str(error):
                return f"{ROOT}: {DISK[number]}"
        error = error.__cause__ or error.__context__
    return f"{STATE}: {DISK[errno.ENOSPC]}" if STATE.exists() and shutil.disk_usage(STATE).free < LITTLE else None


def _lost_tracking(error: BaseException | None) -> bool:
    """Whether an error is MLflow's, of a server that does not answer."""
    while error and not isinstance(error, MlflowException):
        error = error.__cause__ or error.__context__
    return error is not None and not here()


def said(error: Exception, *own: type[Exception]) -> str | None:
    """What a person is told of an error that they can mend, `own` included; None of a defect."""
    from factloop.judges.answer_extractor import NoSpacy  # not at import: torch
    from factloop.judges.factcc import OtherFactcc
    from factloop.training import CannotTrain, TrainingDiverged

    trouble = _disk_trouble(error)
    known = isinstance(error, (*TOLD, *own, CannotTrain, TrainingDiverged, NoSpacy, OtherFactcc))
    if not known and _lost_tracking(error):
        return away(0)
    text = str(error) if known else ""
    if trouble:
        text = f"{text}\n{trouble}; make room or allow writing, and start this again: it goes on where it was".strip()
    return text if trouble or known else None


class Told(SystemExit):
    """Ends a command with exit code 2, once a person has been told why; `str` of it is what they were told."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = 2


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


@contextmanager
def told(verb: str, *own: type[Exception]) -> Iterator[None]:
    """Exit with 2 and one paragraph for what a person can mend, `own` included; anything else is a defect, and raised.

    SIGTERM is told too, with exit code 143, unless whoever calls has a way of their own with it, as Prefect's workers do.
    """
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except Exception as error:
        text = said(error, *own)
        if text is None:
            raise
        print(f"{verb}: {text}", file=sys.stderr)
        raise Told(text) from None
    except SystemExit as error:
        if error.code == 128 + signal.SIGTERM:
            print(f"{verb}: ended by SIGTERM; started again, it goes on where it was", file=sys.stderr)
        raise
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
