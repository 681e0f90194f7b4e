"""Named points at which tests kill the run; without the variable a point does nothing.

A point stands beside every side effect. Its name is a literal and its own, so that a test finds
all of them in the source and fails where one is never tried.
"""

import os
import signal


def kill_point(name: str, of: str = "") -> None:
    """Die by SIGKILL here, with every process of the run, if `FACTLOOP_KILL` is `name` or `name@of`."""
    if os.environ.get("FACTLOOP_KILL") in (name, f"{name}@{of}"):
        os.killpg(0, signal.SIGKILL)
