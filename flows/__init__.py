"""One module per verb of the user: `python -m flows.retrain --help`."""

from tasks.environment import prepare

prepare()
