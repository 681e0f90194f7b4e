"""Named points at which tests kill the process; without the variable a point does nothing."""

import os
import signal


def kill_point(name: str) -> None:
    """Die by SIGKILL here if `FACTLOOP_KILL` names this point."""
    if os.environ.get("FACTLOOP_KILL") == name:
        os.kill(os.getpid(), signal.SIGKILL)
