"""Where local state lives, and every tool's telemetry off. Import before any of the tools."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".factloop"

# A variable that is already set wins, so a team points the same code at its own servers.
DEFAULTS = {
    # Local state, all under one ignored folder of the clone.
    "MLFLOW_TRACKING_URI": f"sqlite:///{STATE}/mlflow.db",
    "PREFECT_HOME": f"{STATE}/prefect",
    "DVC_SITE_CACHE_DIR": f"{STATE}/dvc-site",
    "DVC_GLOBAL_CONFIG_DIR": f"{STATE}/dvc-config",
    "DVC_SYSTEM_CONFIG_DIR": f"{STATE}/dvc-config",
    "HF_HOME": f"{STATE}/huggingface",
    "MPLCONFIGDIR": f"{STATE}/matplotlib",
    # Threads that wait sleep instead of spinning: spinning ones slow two trainings on the same
    # two cores to less than half of that.
    "OMP_WAIT_POLICY": "passive",
    # Telemetry and calls home.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "DVC_STUDIO_OFFLINE": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # of a checkpoint's repository, asked of a server
    # Quiet: what Prefect logs of a failure is raised and shown anyway.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # Lines that a user can do nothing about, from inside MLflow and transformers.
    "PYTHONWARNINGS": "ignore::UserWarning:mlflow,ignore::FutureWarning",
    "TRANSFORMERS_VERBOSITY": "error",
}


def prepare() -> None:
    """Set the defaults, have Python look for garbage less often, and make the state folder."""
    # Importing the tools makes a million objects that stay: looking for garbage among them after every 700 new ones takes a fifth
    # of the imports' time, and once more at the end of the process two seconds.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    try:
        STATE.mkdir(exist_ok=True)
    except OSError as error:
        sys.exit(f"{STATE}, where all local state lies, cannot be made: {error.strerror}")
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
