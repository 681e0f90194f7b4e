"""Take the pictures of the tutorial and the README anew: its two runs in a fresh clone, its pages in a headless Chromium.

    python -m benchmarks.pictures                 # about six minutes
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.run import ROOT, environment, fresh_clone
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

    def press_on(self, text: str, kind: str = "button, a, label, [role=tab], [role=option], [role=menuitem], span") -> None:
        """Click on the first thing that says just this."""
        found = f"[...document.querySelectorAll({json.dumps(kind)})].find(one => one.innerText.trim() === {json.dumps(text)})"
        self.see(f"!!{found}")
        self.ask(f"{found}.click()")

    def take(self, name: str, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=1280, height=height, deviceScaleFactor=1, mobile=False)
        time.sleep(3)  # plots are drawn to size, and move
        shot = Image.open(io.BytesIO(base64.b64decode(self.call("Page.captureScreenshot")["data"])))
        shot.convert("RGB").quantize(256).save(IMAGES / f"{name}.png", optimize=True)
        print(f"took {name}", flush=True)


@contextmanager
def served(clone: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "flows.ui", "--mlflow-port", str(MLFLOW), "--prefect-port", str(PREFECT)]
    with subprocess.Popen(command, cwd=clone, env=environment()) as pages:
        yield
        pages.terminate()


def take_all(page: Page, experiment: str, runs: list[str], report: Path) -> None:
    mlflow = f"http://127.0.0.1:{MLFLOW}/#"
    page.go(f"{mlflow}/experiments")
    page.press_on("Model training")
    page.go(f"{mlflow}/experiments/{experiment}/runs")
    page.text("retrain")
    page.take("runs", 330)


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
