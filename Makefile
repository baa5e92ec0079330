# The commands of this project. `check` never writes, `fix` may.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What the benchmarks compare with needs this, and nothing else does.
COMPARED := $(VENV)/compared
# A name that the sandbox knows packages by.
RECIPES := $(VENV)/recipes/site-packages
STORES := $(VENV)/stores
KUBEFLOW := $(VENV)/kubeflow
RAY := $(VENV)/ray
# A terminal gets pip's progress, a log its errors alone.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check $$([ -t 2 ] || echo --quiet)
# The tests that use most of other packages, and take a few minutes.
QUICK := tests/versions tests/convlast/cli tests/convlast/client tests/convlast/checkpoints/guard \
	tests/convlast/writing tests/service/access tests/service/routes tests/service/telemetry
# torch is gigabytes: TORCH=torch==2.13.0 has oldest and newest take another one than they would.
TORCH :=

.PHONY: help setup serve demo test check fix cover oldest newest recipes browser promtool proxies stores kubeflow ray engine image-test \
	pins gpu gpu-kit bench bench-gpu clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(READY) ## a virtual environment with everything in it

$(READY): pyproject.toml constraints.txt
	@echo 'Installing into $(VENV), which may take minutes.'
	@echo 'torch is the largest download: 0.2 GB for the CPU build, 2.7 GB with CUDA.'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	@touch $@
	@echo 'Everything is in $(VENV).'

serve: $(READY) ## the service on http://127.0.0.1:8000
	$(BIN)/python -m service

demo: $(READY) ## start the service, convert a checkpoint, show the report, stop
	$(BIN)/python -m scripts.demo

test: $(READY) ## the tests; ARGS goes to pytest
	$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## ruff and mypy; writes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(READY) ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m scripts.tables

cover: $(READY) ## the tests with branch coverage
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet || true
	$(BIN)/coverage report

oldest: $(VENV)/oldest/.ready ## a part of the tests, with the lowest versions that are allowed; see CONTRIBUTING.md
	$(VENV)/oldest/bin/python -m pytest -W default::DeprecationWarning $(QUICK) $(ARGS)

newest: ## a part of the tests, with the newest versions that there are
	rm -rf $(VENV)/newest
	$(PYTHON) -m venv $(VENV)/newest
	$(INSTALL:$(BIN)%=$(VENV)/newest/bin%) --editable '.[cli,client,service]' $(TORCH) hypothesis pytest PyYAML
	$(VENV)/newest/bin/python -m pytest $(QUICK) $(ARGS)

$(VENV)/oldest/.ready: pyproject.toml tests/versions/oldest.txt
	rm -rf $(VENV)/oldest
	$(PYTHON) -m venv $(VENV)/oldest
	grep -v '^$(if $(TORCH),torch,no)==' tests/versions/oldest.txt > $(VENV)/oldest/constraints.txt
	$(INSTALL:$(BIN)%=$(VENV)/oldest/bin%) --constraint $(VENV)/oldest/constraints.txt \
		--editable '.[cli,client,service]' $(TORCH) hypothesis pytest PyYAML
	@touch $@

recipes: $(RECIPES)/.ready ## the recipes of docs/loading.md and docs/provenance.md, run with the real frameworks
	HF_HUB_OFFLINE=1 PYTHONPATH=$(RECIPES) $(BIN)/python -m pytest -m recipes --require recipes $(ARGS)

# Beside the environment, so that nothing in it changes; without dependencies, so that torch stays.
$(RECIPES)/.ready: $(READY) tests/recipes/requirements.txt
	rm -rf $(RECIPES)
	$(INSTALL) --no-deps --target $(RECIPES) --requirement tests/recipes/requirements.txt
	@touch $@

stores: $(STORES)/.ready ## the tests of stores, with SeaweedFS and moto on loopback; installs these beside the environment
	$(BIN)/python -m pytest -m stores --require stores tests/stores $(ARGS)

$(STORES)/.ready: $(READY) tests/stores/requirements.txt
	rm -rf $(STORES)
	$(PYTHON) -m venv $(STORES)
	$(INSTALL:$(BIN)%=$(STORES)/bin%) --requirement tests/stores/requirements.txt
	@touch $@

kubeflow: $(KUBEFLOW)/.ready ## the component for Kubeflow, loaded by its SDK; installs this beside the environment
	$(BIN)/python -m pytest -m kubeflow --require kubeflow tests/deploy/pipelines $(ARGS)

$(KUBEFLOW)/.ready: $(READY) tests/deploy/pipelines/requirements.txt
	rm -rf $(KUBEFLOW)
	$(PYTHON) -m venv $(KUBEFLOW)
	$(INSTALL:$(BIN)%=$(KUBEFLOW)/bin%) --requirement tests/deploy/pipelines/requirements.txt
	@touch $@

browser: $(READY) ## the tests of the pages in Chromium, which is installed as root on Debian; fails without
	scripts/browser.sh
	$(BIN)/python -m pytest -m browser --require browser tests/browser $(ARGS)

promtool: $(READY) ## the metrics, the alerts and the dashboard, checked by Prometheus' promtool; from Debian
	scripts/promtool.sh
	$(BIN)/python -m pytest -m promtool --require promtool tests/deploy $(ARGS)

proxies: $(READY) ## the tests behind nginx and Caddy, which are installed as root on Debian; fails without
	scripts/proxies.sh
	$(BIN)/python -m pytest -m proxies --require proxies tests/proxies $(ARGS)

ray: $(RAY)/.ready ## the tests on a Ray cluster of three nodes, in a network of their own; fails without
	PYTHONPATH=$(RAY) scripts/alone.sh $(BIN)/python -m pytest -m ray --require ray tests/service/ray_engine $(ARGS)

# Beside the environment, so that it is the same with and without; all but one package is in it.
$(RAY)/.ready: $(READY) tests/service/ray_engine/requirements.txt
	rm -rf $(RAY)
	$(INSTALL) --no-deps --target $(RAY) --requirement tests/service/ray_engine/requirements.txt
	@touch $@

engine: $(READY) ## a container engine for image-test, where there is none; as root on Debian
	scripts/engine.sh
	$(BIN)/python -m tests.container.engine

image-test: engine $(STORES)/.ready ## the image, built and run by docker compose; fails without an engine
	$(BIN)/python -m pytest -m container --require container tests/container $(ARGS)

pins: $(READY) ## deploy/image, the pins of the image with their hashes, from constraints.txt
	$(INSTALL) --target $(VENV)/pins uv==0.13.9
	PYTHONPATH=$(VENV)/pins $(BIN)/python -m scripts.image_pins

gpu: $(READY) ## the tests that need a GPU; fails, not skips, without one
	$(BIN)/python -m pytest -m gpu --require gpu $(ARGS)

gpu-kit: $(READY) ## .gpu/, for a run on a GPU machine that has PyTorch and no network; see docs/gpu.md
	PYTHON=$(BIN)/python bash scripts/gpu/prepare.sh ../shared/checkpoints

bench: $(READY) $(COMPARED)/.ready ## the benchmarks that need no GPU; prints JSON, takes minutes on a quiet machine
	$(BIN)/python -m benchmarks $(ARGS)

# Beside the environment: it holds a module of the same name as a dependency of ours.
$(COMPARED)/.ready: $(READY) benchmarks/comparators/requirements.txt
	rm -rf $(COMPARED)
	$(INSTALL) --no-deps --target $(COMPARED) --requirement benchmarks/comparators/requirements.txt
	@touch $@

bench-gpu: $(READY) ## the benchmark that needs a GPU; fails without one, prints JSON
	@PYTHONPATH=$${PYTHONPATH:+$$PYTHONPATH:}$(RECIPES) $(BIN)/python -m benchmarks.gpu $(ARGS)

clean: ## remove what the other commands made
	rm -rf $(VENV) .cache .gpu dist demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
