"""SIGTERM with grace: training that is asked to end does so after its present step, with a checkpoint.

A scheduler that takes a machine back, `kill` and Prefect's cancelling all ask by SIGTERM, and kill some seconds later.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def asked_to_end() -> Iterator[Callable[[], bool]]:
    """Within, SIGTERM is only noted, and what is yielded says whether it came; at the end it goes to whoever had it before.

    Where signals cannot be had (in a thread) or SIGTERM is ignored, nothing changes.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield lambda: False
        return
    came: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:
            signal.raise_signal(signal.SIGTERM)
