"""Take the pictures of the tutorial and the README anew: its two runs in a fresh clone, its pages in a headless Chromium.

    python -m benchmarks.pictures                 # some minutes
    python -m benchmarks.pictures --keep FOLDER   # the clone stays there; where it is already, nothing is run again

Written to `docs/images/`, in 256 colours. A page that looks otherwise than it did (a button that is not there) ends it.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.run import ROOT, environment, fresh_clone
from tasks.server import answers
from tests.browser import Browser

IMAGES = ROOT / "docs" / "images"
MLFLOW, PREFECT = 5940, 5941
STEPS = "summarizer.likelihood.steps"
COLUMNS = ("summarizer/fact_recall", "summarizer/hallucination_rate", "summarizer/rougeL")
RUNS = """
import flows, json
from mlflow import MlflowClient
client = MlflowClient()
experiment = client.get_experiment_by_name("factloop-smoke").experiment_id
runs = client.search_runs([experiment], "tags.step = 'retrain'", order_by=["attributes.start_time DESC"])
print(json.dumps([experiment, [run.info.run_id for run in runs]]))
"""


class Page(Browser):
    """What a person does who follows the tutorial."""

    def go(self, address: str) -> None:
        self.open("about:blank")  # from one place of a page to another no load is told
        self.open(address)

    def see(self, expression: str, patience: float = 60.0) -> Any:
        """The value of an expression once it is true of the page."""
        end = time.monotonic() + patience
        while not (value := self.ask(expression)):
            if time.monotonic() > end:
                raise SystemExit(f"after {patience:.0f} s this is not so in {self.ask('location.href')}: {expression}")
            time.sleep(0.2)
        return value

    def text(self, text: str) -> None:
        self.see(f"document.body.innerText.includes({json.dumps(text)})")

    def click(self, text: str, of: str = "button") -> None:
        """On the first thing of this kind that says just this."""
        found = f"[...document.querySelectorAll({json.dumps(of)})].find(one => one.innerText.trim() === {json.dumps(text)})"
        self.see(f"!!{found}")
        self.ask(f"{found}.click()")
        time.sleep(0.5)

    def write(self, text: str, field: str) -> None:
        found = f"document.querySelector({json.dumps(field)})"
        self.see(f"!!{found}")
        self.ask(f"{found}.focus(), {found}.select()")
        self.call("Input.insertText", text=text)
        time.sleep(1)

    def choose(self, field: str, *texts: str) -> None:
        """Those of the list that a field opens."""
        for text in texts:
            self.write(text, field)
            for kind in ("rawKeyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)
            time.sleep(0.5)
        self.ask("document.activeElement.blur()")  # and the list goes

    def size(self, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=1280, height=height, deviceScaleFactor=1, mobile=False)

    def take(self, name: str, height: int = 800) -> None:
        self.size(height)
        time.sleep(4)  # plots are drawn to size, and move
        shot = Image.open(io.BytesIO(base64.b64decode(self.call("Page.captureScreenshot")["data"])))
        shot.convert("RGB").quantize(256).save(IMAGES / f"{name}.png", optimize=True)
        print(f"took {name}", flush=True)


@contextmanager
def served(clone: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "flows.ui", "--mlflow-port", str(MLFLOW), "--prefect-port", str(PREFECT)]
    with subprocess.Popen(command, cwd=clone, env=environment()) as pages:
        try:
            for server in (f"http://127.0.0.1:{MLFLOW}", f"http://127.0.0.1:{PREFECT}/api"):
                while not answers(server):
                    time.sleep(1)
            yield
        finally:
            pages.terminate()


def newest_flow_run() -> str:
    asked = json.dumps({"sort": "START_TIME_DESC", "limit": 1}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PREFECT}/api/flow_runs/filter", asked, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return str(json.load(reply)[0]["id"])


def take_all(page: Page, experiment: str, runs: list[str], report: Path) -> None:
    mlflow, tree = f"http://127.0.0.1:{MLFLOW}/#", "[class*=tree-title]"
    page.size(800)
    page.call("Emulation.setScrollbarsHidden", hidden=True)
    page.go(f"{mlflow}/experiments")
    page.text("factloop-smoke")
    page.click("Model training", "label, span")
    page.ask("""document.querySelector('[aria-label="Close"]')?.click()""")  # the assistant
    page.go(f"{mlflow}/experiments/{experiment}/runs")
    page.text("retrain")
    page.click("Columns")
    for name in ("Dataset", "Source", "Models"):
        page.click(name, tree)
    for name in (*COLUMNS, STEPS):
        page.write(name, "input[placeholder='Search columns']")
        page.click(name, tree)
    page.ask("document.body.click()")
    page.ask("""document.querySelectorAll('input[aria-label^="Press Space to toggle row"]').forEach(one => one.click())""")
    page.take("runs", 330)
    page.size(800)
    page.click("Compare")
    page.click("Clear All")
    page.choose("#dubois-select-1", STEPS)
    page.choose("#dubois-select-2", COLUMNS[0], COLUMNS[2])
    page.take("compare", 620)
    page.go(f"{mlflow}/experiments/{experiment}/runs/{runs[0]}")
    page.write("summarizer/", "input[placeholder='Search metrics']")
    page.take("run")
    page.go(f"{mlflow}/models")
    page.text("smoke-summarizer")
    page.text("Try it now")  # an announcement, which comes a moment later
    page.ask("""document.querySelector('[role="dialog"] [aria-label="Close"]').click()""")
    page.see("""![...document.querySelectorAll('[role="dialog"]')].some(one => one.checkVisibility())""")
    page.take("registry", 420)
    page.open(report)
    page.take("report")
    page.go(f"http://127.0.0.1:{PREFECT}/runs/flow-run/{newest_flow_run()}")
    page.text("Task Runs")
    page.take("prefect")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        clone = (options.keep or Path(scratch) / "clone").resolve()
        if not clone.exists():
            fresh_clone(clone)
            for more in ([], ["--set", f"{STEPS}=600"]):
                subprocess.run(
                    [sys.executable, "-m", "flows.retrain", "--profile", "smoke", *more], cwd=clone, env=environment(), check=True
                )
        found = subprocess.run([sys.executable, "-c", RUNS], cwd=clone, env=environment(), capture_output=True, text=True, check=True)
        experiment, runs = json.loads(found.stdout.strip().splitlines()[-1])
        report = clone / ".factloop" / "reports" / f"smoke-{runs[1]}.html"
        with served(clone), Page(Path(scratch)) as page:
            take_all(page, experiment, runs, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
