# Every target sets up what it needs: a virtual environment in .venv and the front-end files.
# A bare Debian 12 lacks git, make and venv: apt-get install -y git make python3-venv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ASSETS := backend/cc_backend/web/static/vendor/.ready
PACKAGES := cc_common cc_agent cc_slurm_adapter cc_backend cc_demo
SOURCES := common agent slurm_adapter backend demo tests benchmarks packaging setup.py

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench fuzz assets screenshots test-deps docs wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): setup.cfg setup.py pyproject.toml packaging/make_venv.sh $(wildcard backend/cc_backend/native/*.h backend/cc_backend/*/native/*.[ch])
	@sh packaging/make_venv.sh $(PYTHON) $(VENV)
	@touch $@

$(ASSETS): $(READY) backend/cc_backend/web/package-lock.json packaging/build_assets.py packaging/compress_assets.py
	@$(BIN)/python packaging/build_assets.py
	@$(BIN)/python packaging/compress_assets.py
	@touch $@

assets: $(ASSETS) ## front-end libraries, by lock file, into the web package

demo: $(ASSETS) ## this machine and a made-up cluster, live; prints the address and four logins; Ctrl-C ends all
	@$(BIN)/python packaging/demo.py

check: $(READY) ## format, lint, types, import directions
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy $(PACKAGES:%=-p %)
	$(BIN)/mypy benchmarks
	$(BIN)/python -m pytest -q -p no:randomly tests/test_imports.py

format: $(READY) ## rewrite the sources in the project's format
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

test-deps: ## the system packages some tests need (a C compiler, Chromium, mmdebstrap, Slurm); root only
	@sh packaging/test_deps.sh

# What measures this machine or interrupts processes at chosen moments runs by itself, the rest in two processes.
ALONE := alone or faults or slurm

test: $(ASSETS) ## everything: check and all tests; with CI=true it also runs test-deps
	@if [ "$$CI" = true ]; then sh packaging/test_deps.sh; fi
	@$(MAKE) --no-print-directory check
	@status=0; \
	set -x; \
	$(BIN)/python -m pytest -q --durations=10 -n 2 --dist loadfile --no-loadscope-reorder -m "not ($(ALONE))" || status=1; \
	$(BIN)/python -m pytest -q --durations=10 -m "$(ALONE)" || status=1; \
	exit $$status

bench: $(ASSETS) ## speed and memory figures of this machine; fails in the end if a promise is broken
	@status=0; \
	for file in benchmarks/[a-z]*.py; do \
		echo "== $$file"; $(BIN)/python $$file || { status=1; echo "!! $$file"; }; \
	done; \
	exit $$status

FUZZ_S ?= 60

fuzz: $(READY) ## search for bytes that break a reader of the store or of HTTP, FUZZ_S seconds each; needs clang and atheris
	@sh packaging/fuzz.sh $(BIN)/python $(FUZZ_S)

screenshots: $(ASSETS) ## pages at 1440 and 390 px, light and dark, into build/screenshots
	@$(BIN)/python packaging/screenshots.py build/screenshots

docs: $(READY) ## write what is generated of docs/ anew: reference pages, tree and picture of the packages
	@$(BIN)/python packaging/reference_pages.py
	@$(BIN)/python packaging/draw_architecture.py

wheel: $(ASSETS) ## the distribution as a wheel in dist/, and in dist/nodes/ one for every Python from 3.9 on
	@$(BIN)/python packaging/compress_assets.py
	@sh packaging/build_wheels.sh $(BIN)/python dist

clean: ## remove everything that make has made
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	rm -rf backend/cc_backend/web/static/vendor backend/cc_backend/web/static/packed backend/cc_backend/web/node_modules
	find backend -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
