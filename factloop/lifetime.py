"""Processes that end when the one that started them does."""

from __future__ import annotations

import os
import threading
import time


def end_with(parent: int) -> None:
    """End this process when its parent does, however that ends: else it would serve, or wait for work, for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.3)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
