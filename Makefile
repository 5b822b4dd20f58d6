# Every target sets itself up: a virtual environment in .venv, then the packages.
PYTHON ?= python3
BIN := .venv/bin
TEST_PROCESSES ?= 3

# Hundreds of processes of the tests would compile the modules of colorgan, each of them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo serve pretrained test test-machines test-fast bench lint format clean

demo: .venv/installed
	$(BIN)/python jobs/demo.py $(if $(PHOTOS),--photos "$(PHOTOS)")

serve: .venv/installed
	$(BIN)/python -m serve

# The models that come with colorgan, of folders of photographs: PHOTOS="A B"; OPTIONS go to each
# colorgan train, as OPTIONS="--epochs 40". Hours; the same command continues where it was stopped.
pretrained: .venv/installed
	$(BIN)/python scripts/pretrained.py train $(PHOTOS) $(if $(OPTIONS),--options="$(OPTIONS)") \
		$(foreach table,$(PROVENANCE),--provenance "$(table)")

# Each process imports the libraries and has a Ray of its own. The tests of a file stay in one process,
# with the fixtures that they share; the longest files come first. There are more threads than cores,
# so a thread that waits for another one must leave its core to it. Compiled networks run a few times,
# so the code between their kernels need not be fast.
PYTEST = OMP_WAIT_POLICY=PASSIVE AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL=O0 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test: .venv/installed-dev
	$(PYTEST) -m "not machines"

# Machines of the tests' own, a quarter of an hour; as root, with iproute2, openssh-server and rsync.
test-machines: .venv/installed-dev
	$(BIN)/python -m pytest -s -m machines

test-fast: .venv/installed-dev
	$(PYTEST) -m "not slow"

# Contenders beside their references, in turns; PHOTOS=folder measures on photographs.
bench: .venv/installed-dev
	$(BIN)/python -m benchmarks $(if $(PHOTOS),--photos "$(PHOTOS)") --json bench.json --overwrite

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "colorgan needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

# A torch that stands in .venv already stays: torchvision follows it, not the other way round.
PIP_INSTALL = $(BIN)/python -m pip --disable-pip-version-check list --format freeze | \
	grep '^torch==' > .venv/constraints.txt; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint .venv/constraints.txt --editable

.venv/installed: .venv/bin/python pyproject.toml
	$(PIP_INSTALL) '.[judge]'
	touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml
	$(PIP_INSTALL) '.[dev]'
	touch .venv/installed $@
