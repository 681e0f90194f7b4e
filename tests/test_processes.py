"""Several processes on one training: the same model as one, killed and gone on with too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.training_processes import trained

pytestmark = pytest.mark.invariant
TOLERANCE = 1e-5  # absolute, of weights after ten steps: sums in another order


def launch(folder: Path, parts: int = 2, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.training_processes"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(
        [*command, str(folder), str(parts)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, start_new_session=True
    )


def test_two_processes_train_what_one_does_and_go_on_after_a_kill(tmp_path: Path) -> None:
    one, two, killed = (tmp_path / name for name in ("one", "two", "killed"))
    for folder in (one, two, killed):
        folder.mkdir()
    trained(one)
    assert (found := launch(two)).returncode == 0, found.stderr
    died = launch(killed, FACTLOOP_KILL="training:step@test:7")
    assert died.returncode != 0 and not (killed / "weights").exists()
    assert [path.name for path in (killed / "checkpoints").iterdir()] == ["step-00000006"]
    again = launch(killed)
    assert again.returncode == 0 and "goes on from step 6 of 10" in again.stdout, again.stderr
    assert again.stdout.count("goes on") == 1
    alone, both, resumed = (load_file(folder / "weights") for folder in (one, two, killed))
    for name, value in both.items():
        assert torch.equal(value, resumed[name]), name
        assert torch.allclose(value, alone[name], atol=TOLERANCE, rtol=0), name


def test_a_batch_that_cannot_be_shared_out_is_refused_with_the_numbers(tmp_path: Path) -> None:
    refused = launch(tmp_path, parts=3)
    assert refused.returncode != 0 and "2 processes share a batch's parts, and parts is 3: set it to a multiple" in refused.stderr
