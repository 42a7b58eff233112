# `make` alone lists the targets.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8080
ROWS ?= artifacts/examples.json

VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.lock-installed
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
BENCH_VENV := .venv-bench
BENCH := $(BENCH_VENV)/.installed
FOREIGN_VENV := .venv-foreign
FOREIGN := $(FOREIGN_VENV)/.installed
AZUREML_INTERPRET_VENV := .venv-azureml-interpret
AZUREML_INTERPRET := $(AZUREML_INTERPRET_VENV)/.installed
# Its numpy 1.23 has no wheel for a newer Python.
AZUREML_INTERPRET_PYTHON ?= python3.11
TORCH_VENV := .venv-torch
TORCH := $(TORCH_VENV)/.installed
RUNS := $(VENV)/.runs-installed
MODEL := artifacts/scoring_explainer.json
PICKLED := rows shapley shapley/kernels shapley/trees structures structures/foreign_networks engines explainers \
	explainers/mimic scoring
# What networks are tested with: they are large, and needed nowhere else, so no lock has them.
TORCH_VERSION := 2.13.0
KERAS_VERSION := 3.15.1

# Each with one thread for linear algebra, on the two processors that there are at least.
TWO_PROCESSES := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal
# A module is compiled at its first import: compiling them all takes 40 of 57 seconds of an installation.
# The locks are complete: pip need not, and may not, look for more.
PIP_INSTALL := python -m pip install --quiet --no-compile --no-deps
# Tests of what the kernels compute for: they run on the numpy form too.
ON_BOTH_FORMS := kernels structures precision links sampled_backgrounds tree_traversal
# One version per package, good for every Python from 3.11 on. UPGRADE=--upgrade moves the pins forward.
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --python-platform linux \
	--custom-compile-command "make lock" $(UPGRADE)
# What the tests read or the documentation is made with; matplotlib is not among it: with it, importing shap warns.
EXTRAS := $(addprefix --extra ,deploy docs lightgbm parquet runs xgboost)
# catboost asks for what it draws with, and nothing here is drawn with it.
UNDRAWN := --override tests/sweep/undrawn.txt
# uv rewrites its output even when it is the same; then the old time is put back, and .venv is not rebuilt.
define compile
@cp -p $(2) $(VENV)/former.lock
	$(LOCK) $(1) --output-file $(2)
	@if cmp -s $(2) $(VENV)/former.lock; then touch -r $(VENV)/former.lock $(2); fi
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-dev setup-runs setup-clients setup-torch train train-regression serve dashboard runs-server test test-fast test-torch test-swarm sanitize sweep fuzz lint format docs audit \
	bench bench-trees bench-boosted bench-documents bench-service deploy status logs score rollback undeploy lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(RUNTIME) ## create .venv from requirements.lock, with this project in it

setup-dev: $(DEV) ## add the development tools to .venv

setup-runs: $(RUNS) ## add what run history needs to .venv, from requirements-runs.lock

setup-clients: $(FOREIGN) $(BENCH) ## create .venv-foreign and .venv-bench: the clients and servers of other projects that the tests run

setup-torch: $(TORCH) ## create .venv-torch, .venv with torch (for processors) and Keras in front of it

train: $(MODEL) ## train the breast cancer example and save it under artifacts/

train-regression: $(RUNTIME) ## train the diabetes example and save it under artifacts-diabetes/
	$(BIN)/python -m examples.diabetes_svr

serve: $(RUNTIME) $(MODEL) ## serve the example on HOST:PORT (127.0.0.1:8080) until Ctrl-C
	@exec env HOST='$(HOST)' PORT='$(PORT)' $(BIN)/python -m examples.serve

runs-server: $(FOREIGN) ## start MLflow's server over the store of runs until Ctrl-C (ARGS='--port 5001')
	@exec $(FOREIGN_VENV)/bin/python tools/runs-server/start.py $(ARGS)

dashboard: $(RUNTIME) $(MODEL) ## explain the example's test rows and show them at http://127.0.0.1:8090 until Ctrl-C
	@exec $(BIN)/python -m examples.dashboard

test: test-fast test-torch $(FOREIGN) $(BENCH) ## run the tests; the last lines say what was left out, and why
	$(TWO_PROCESSES) -m "not alone" tests/served tests/clients
	$(BIN)/python -m pytest -m alone tests/served
	$(TWO_PROCESSES) -m "not alone" tests/docker
	$(BIN)/python -m pytest -m alone tests/docker

test-fast: $(DEV) ## run the tests that need no server and no engine (ten minutes)
	$(TWO_PROCESSES) tests/fast
	$(TWO_PROCESSES) --kernels=numpy $(addprefix tests/fast/test_,$(addsuffix .py,$(ON_BOTH_FORMS)))

# What the kernels do outside their arrays, or undefined, ends the tests.
sanitize: $(DEV) ## run the kernels' tests on a library that watches its memory
	$(BIN)/python native/build.py build/sanitized/compiled.so -g -O1 -fno-omit-frame-pointer \
		-fsanitize=address,undefined -fno-sanitize-recover=all
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
		KERNELS_FOLDER=build/sanitized $(BIN)/python -m pytest tests/fast/test_kernels.py

test-torch: $(TORCH) ## run the tests of networks of torch and Keras, in .venv-torch
	OMP_NUM_THREADS=1 $(TORCH_VENV)/bin/python -m pytest tests/networks

# It needs root, for network namespaces.
test-swarm: $(DEV) ## run the tests of `target: swarm` on two engines that they start
	.ci/swarm
	REQUIRE_SWARM=1 BASE_IMAGE=scoring-base:bookworm $(BIN)/python -m pytest --capture=no tests/docker/test_deploy_swarm.py

sweep: $(DEV) ## compare 232 pairs of rows and models with the definition, and served with their own
	$(TWO_PROCESSES) tests/sweep

fuzz: $(DEV) ## run the generated bodies at length: 100,000 of them
	FUZZ_BODIES=$${FUZZ_BODIES:-100000} $(TWO_PROCESSES) -rP tests/served/test_fuzz.py

lint: $(DEV) ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## format the code and apply the safe fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(DEV) ## build the documentation into docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

audit: $(DEV) ## ask for known vulnerabilities of what is deployed (needs PyPI's own JSON API)
	@$(BIN)/python tools/audit.py requirements.lock requirements-runs.lock
	@$(BIN)/python tools/audit.py requirements-foreign.lock

bench: $(BENCH) ## measure against shap, LightSHAP and shapiq (ARGS='--only CASE --tools ours,shap' for a part)
	$(BENCH_VENV)/bin/python -m benchmarks.run $(ARGS)

bench-trees: $(BENCH) ## measure exact trees against shap's TreeExplainer and woodelf-explainer (ARGS='--only lightgbm' for a part)
	$(BENCH_VENV)/bin/python -m benchmarks.trees $(ARGS)

bench-boosted: $(BENCH) ## measure boosted probabilities against shap.KernelExplainer (ARGS='--backgrounds 20' for a part)
	$(BENCH_VENV)/bin/python -m benchmarks.boosted $(ARGS)

bench-documents: $(BENCH) $(AZUREML_INTERPRET) ## measure the documents' example against azureml-interpret (ARGS='--only in_process' for a part)
	$(BENCH_VENV)/bin/python -m benchmarks.documents $(ARGS)

bench-service: $(BENCH) $(DEV) $(MODEL) ## measure the service under load (ARGS='--only predictions' for a part)
	$(BIN)/python -m benchmarks.serving.run $(ARGS)

# Without a deploy.yml the example is deployed.
deploy: $(RUNTIME) $(if $(wildcard deploy.yml),,$(MODEL)) ## build, prove and roll out (CPU_CORES=2 MEMORY_GB=1 ... win over deploy.yml)
	@$(BIN)/python -m deploy up $(ARGS)

status: $(RUNTIME) ## show what is deployed
	@$(BIN)/python -m deploy status $(ARGS)

logs: $(RUNTIME) ## show the log of what is deployed
	@$(BIN)/python -m deploy logs $(ARGS)

score: $(RUNTIME) ## POST rows to what is deployed (ROWS=artifacts/examples.json)
	@$(BIN)/python -m deploy score $(ROWS) $(ARGS)

rollback: $(RUNTIME) ## go back to the release that served before (ARGS=RELEASE for another)
	@$(BIN)/python -m deploy rollback $(ARGS)

undeploy: $(RUNTIME) ## remove what is deployed: containers, releases, keys, images
	@$(BIN)/python -m deploy down $(ARGS)

lock: $(DEV) ## compile the locks anew (UPGRADE=--upgrade for newer releases)
	$(call compile,pyproject.toml --group host,requirements.lock)
	$(call compile,pyproject.toml $(EXTRAS) --group dev $(UNDRAWN) --constraint requirements.lock,requirements-dev.lock)
	$(call compile,pyproject.toml --extra runs --constraint requirements.lock,requirements-runs.lock)
	$(call compile,pyproject.toml --extra lightgbm --extra xgboost --group bench --constraint requirements.lock,benchmarks/requirements.lock)
	$(call compile,--group azureml-interpret,benchmarks/documents/requirements.lock)
	$(call compile,--group foreign,requirements-foreign.lock)

clean: ## remove the environments, artifacts and caches
	rm -rf $(VENV) $(BENCH_VENV) $(FOREIGN_VENV) $(AZUREML_INTERPRET_VENV) $(TORCH_VENV) artifacts artifacts-diabetes artifacts-mimic build docs/_build docs/tutorials *.egg-info \
		.pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

# A changed lock rebuilds the environment, so that it never holds more than the lock says.
$(LOCKED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not: name one with 'make PYTHON=/path/to/python3.11 ...'." >&2; exit 1; }
	@echo "Installing requirements.lock into $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV) || { \
		echo "'$(PYTHON) -m venv' failed (see above). On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/$(PIP_INSTALL) --require-hashes --requirement requirements.lock
	@touch $@

# This folder itself, as it is: `import service` and the commands then work from anywhere.
$(RUNTIME): pyproject.toml setup.py $(wildcard native/*) $(LOCKED)
	@$(BIN)/$(PIP_INSTALL) --no-build-isolation --editable .
	@$(BIN)/python -m service.shapley.kernels
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@echo "Installing requirements-dev.lock into $(VENV) ..."
	@$(BIN)/$(PIP_INSTALL) --require-hashes --requirement requirements-dev.lock
	@touch $@

# Over what is served with, whose versions it has too.
$(RUNS): requirements-runs.lock $(RUNTIME)
	@echo "Installing requirements-runs.lock into $(VENV) ..."
	@$(BIN)/$(PIP_INSTALL) --require-hashes --requirement requirements-runs.lock
	@touch $@

# The peers bring matplotlib, which shap then imports, with warnings: they stay out of .venv.
$(BENCH): benchmarks/requirements.lock $(LOCKED)
	@echo "Installing benchmarks/requirements.lock into $(BENCH_VENV) ..."
	@$(BIN)/python -m venv --clear $(BENCH_VENV)
	@$(BENCH_VENV)/bin/$(PIP_INSTALL) --require-hashes --requirement benchmarks/requirements.lock
	@touch $@

$(FOREIGN): requirements-foreign.lock
	@echo "Installing requirements-foreign.lock into $(FOREIGN_VENV) ..."
	@$(PYTHON) -m venv --clear $(FOREIGN_VENV)
	@$(FOREIGN_VENV)/bin/$(PIP_INSTALL) --require-hashes --requirement requirements-foreign.lock
	@touch $@

# What does not come in a quarter of an hour does not come.
$(AZUREML_INTERPRET): benchmarks/documents/requirements.lock
	@$(AZUREML_INTERPRET_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "azureml-interpret needs Python 3.11, and '$(AZUREML_INTERPRET_PYTHON)' is not: name one with" \
			"'make AZUREML_INTERPRET_PYTHON=/path/to/python3.11 ...'." >&2; exit 1; }
	@echo "Installing benchmarks/documents/requirements.lock into $(AZUREML_INTERPRET_VENV) ..."
	@$(AZUREML_INTERPRET_PYTHON) -m venv --clear $(AZUREML_INTERPRET_VENV)
	@timeout 900 $(AZUREML_INTERPRET_VENV)/bin/$(PIP_INSTALL) --require-hashes \
		--requirement benchmarks/documents/requirements.lock
	@touch $@

# All that is in .venv can be imported from there too, and is not installed anew.
$(TORCH): $(DEV)
	@echo "Installing torch and Keras into $(TORCH_VENV) ..."
	@$(BIN)/python -m venv --clear $(TORCH_VENV)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		$$($(TORCH_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/locked.pth
	@$(TORCH_VENV)/bin/python -m pip install --quiet --no-compile torch==$(TORCH_VERSION) keras==$(KERAS_VERSION)
	@touch $@

# The manifest is the example's sign that all is written. A pickle fits only the code that wrote it, so new code trains anew.
$(MODEL): examples/breast_cancer.py $(wildcard $(PICKLED:%=service/%/*.py)) $(RUNTIME)
	$(BIN)/python -m examples.breast_cancer
