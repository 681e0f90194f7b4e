"""A headless Chromium, driven over its DevTools pipe: what a person does with a page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest


class Browser:
    """One page of a browser with a profile in `folder`, where downloads go too; skips where there is no Chromium."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if not binary:
            pytest.skip("no chromium on this machine: the page is not tried in a browser")
        self.folder, self.number, self.session = folder, 0, ""
        (theirs_in, self.out), (self.back, theirs_out) = os.pipe(), os.pipe()
        shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            f"--user-data-dir={folder / 'browser'}",
            "about:blank",
        ]
        self.process = subprocess.Popen(
            ["bash", "-c", shell, binary, *options], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL, start_new_session=True
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.buffer = b""
        page = next(target for target in self.call("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        self.call("Page.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session = ""
        self.call("Browser.close")
        self.process.wait(timeout=30)

    def message(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            data = os.read(self.back, 1 << 16)
            assert data, "the browser has ended"
            self.buffer += data
        text, _, self.buffer = self.buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        asked = {"id": self.number, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})
        os.write(self.out, json.dumps(asked).encode() + b"\0")
        while (answer := self.message()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, place: Path | str) -> None:
        """Load a page, of a file or an address, and wait for its end."""
        self.call("Page.navigate", url=place.as_uri() if isinstance(place, Path) else place)
        while self.message().get("method") != "Page.loadEventFired":
            pass

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, keys: str) -> None:
        for key in keys:
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")
