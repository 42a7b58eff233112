# `make` alone lists the targets.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8080
ROWS ?= artifacts/examples.json

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
DEPLOY := $(VENV)/.deploy-installed
BENCH_VENV := .venv-bench
BENCH := $(BENCH_VENV)/.installed
CLIENTS_VENV := .venv-clients
CLIENTS := $(CLIENTS_VENV)/.installed
BENCH_SERVICE_VENV := .venv-bench-service
BENCH_SERVICE := $(BENCH_SERVICE_VENV)/.installed
AUDIT_VENV := .venv-audit
AUDIT := $(AUDIT_VENV)/.installed
MODEL := artifacts/scoring_explainer.json

PIP_INSTALL := $(BIN)/python -m pip install --quiet --require-hashes --requirement
# One version per package, good for every Python from 3.11 on. UPGRADE=--upgrade moves the pins forward.
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --python-platform linux \
	--custom-compile-command "make lock" $(UPGRADE)
# uv rewrites its output even when it is the same; then the old time is put back, and .venv is not rebuilt.
define compile
@cp -p $(2) $(VENV)/$(notdir $(2))
	$(LOCK) $(1) --output-file $(2)
	@if cmp -s $(2) $(VENV)/$(notdir $(2)); then touch -r $(VENV)/$(notdir $(2)) $(2); fi
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-dev setup-clients train train-regression serve test test-swarm fuzz lint format docs audit bench \
	bench-service deploy status logs score rollback undeploy lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(RUNTIME) ## create .venv from requirements.lock

setup-dev: $(DEV) ## add the development tools to .venv

setup-clients: $(CLIENTS) ## create .venv-clients, the foreign clients that the tests run

train: $(MODEL) ## train the breast cancer example and save it under artifacts/

train-regression: $(RUNTIME) ## train the diabetes example and save it under artifacts-diabetes/
	$(BIN)/python -m examples.diabetes_svr

serve: $(RUNTIME) $(MODEL) ## serve the example on HOST:PORT (127.0.0.1:8080) until Ctrl-C
	@exec env HOST='$(HOST)' PORT='$(PORT)' $(BIN)/python -m examples.serve

test: $(DEV) $(CLIENTS) ## run the tests
	$(BIN)/python -m pytest

# It needs root, for network namespaces.
test-swarm: $(DEV) ## run the tests of `target: swarm` on two engines that they start
	.ci/swarm
	REQUIRE_SWARM=1 BASE_IMAGE=scoring-base:bookworm $(BIN)/python -m pytest --capture=no tests/test_deploy_swarm.py

fuzz: $(DEV) ## run the generated bodies at length: 100,000 of them
	FUZZ_BODIES=100000 $(BIN)/python -m pytest --capture=no tests/test_fuzz.py

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

audit: $(AUDIT) ## ask for known vulnerabilities of what is deployed (needs PyPI's own JSON API)
	@$(AUDIT_VENV)/bin/python tools/audit.py requirements.lock requirements-deploy.lock

bench: $(BENCH) ## measure against shap, LightSHAP and shapiq (ARGS='--only CASE --tools ours,shap' for a part)
	$(BENCH_VENV)/bin/python -m benchmarks.run $(ARGS)

bench-service: $(BENCH_SERVICE) $(DEV) $(MODEL) ## measure the service under load (ARGS='--only predictions' for a part)
	$(BIN)/python -m benchmarks.serving.run $(ARGS)

# Without a deploy.yml the example is deployed.
deploy: $(DEPLOY) $(if $(wildcard deploy.yml),,$(MODEL)) ## build, prove and roll out (CPU_CORES=2 MEMORY_GB=1 ... win over deploy.yml)
	@$(BIN)/python -m deploy up $(ARGS)

status: $(DEPLOY) ## show what is deployed
	@$(BIN)/python -m deploy status $(ARGS)

logs: $(DEPLOY) ## show the log of what is deployed
	@$(BIN)/python -m deploy logs $(ARGS)

score: $(DEPLOY) ## POST rows to what is deployed (ROWS=artifacts/examples.json)
	@$(BIN)/python -m deploy score $(ROWS) $(ARGS)

rollback: $(DEPLOY) ## go back to the release that served before (ARGS=RELEASE for another)
	@$(BIN)/python -m deploy rollback $(ARGS)

undeploy: $(DEPLOY) ## remove what is deployed: containers, releases, keys, images
	@$(BIN)/python -m deploy down $(ARGS)

lock: $(DEV) ## compile the locks anew (UPGRADE=--upgrade for newer releases)
	$(BIN)/python tools/pip_section.py environment.yml > $(VENV)/environment.in
	$(call compile,$(VENV)/environment.in,requirements.lock)
	$(call compile,requirements-deploy.in,requirements-deploy.lock)
	$(call compile,requirements-dev.in,requirements-dev.lock)
	$(call compile,benchmarks/requirements.in,benchmarks/requirements.lock)
	$(call compile,tests/clients/requirements.in,tests/clients/requirements.lock)
	$(call compile,benchmarks/serving/requirements.in,benchmarks/serving/requirements.lock)
	$(call compile,tools/audit/requirements.in,tools/audit/requirements.lock)

clean: ## remove the environments, artifacts and caches
	rm -rf $(VENV) $(BENCH_VENV) $(CLIENTS_VENV) $(BENCH_SERVICE_VENV) $(AUDIT_VENV) artifacts artifacts-diabetes docs/_build docs/tutorials .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

# A changed lock rebuilds the environment, so that it never holds more than the lock says.
$(RUNTIME): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not: name one with 'make PYTHON=/path/to/python3.11 ...'." >&2; exit 1; }
	@echo "Installing requirements.lock into $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV) || { \
		echo "'$(PYTHON) -m venv' failed (see above). On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP_INSTALL) requirements.lock
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@echo "Installing requirements-dev.lock into $(VENV) ..."
	@$(PIP_INSTALL) requirements-dev.lock
	@touch $@

# Not in the service's own lock: what runs in a container talks to no engine.
$(DEPLOY): requirements-deploy.lock $(RUNTIME)
	@echo "Installing requirements-deploy.lock into $(VENV) ..."
	@$(PIP_INSTALL) requirements-deploy.lock
	@touch $@

# The peers bring matplotlib, which shap then imports, with warnings: they stay out of .venv.
$(BENCH): benchmarks/requirements.lock $(RUNTIME)
	@echo "Installing benchmarks/requirements.lock into $(BENCH_VENV) ..."
	@$(BIN)/python -m venv --clear $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --require-hashes --requirement benchmarks/requirements.lock
	@touch $@

$(BENCH_SERVICE): benchmarks/serving/requirements.lock $(RUNTIME)
	@echo "Installing benchmarks/serving/requirements.lock into $(BENCH_SERVICE_VENV) ..."
	@$(BIN)/python -m venv --clear $(BENCH_SERVICE_VENV)
	@$(BENCH_SERVICE_VENV)/bin/python -m pip install --quiet --require-hashes --requirement benchmarks/serving/requirements.lock
	@touch $@

$(AUDIT): tools/audit/requirements.lock $(RUNTIME)
	@echo "Installing tools/audit/requirements.lock into $(AUDIT_VENV) ..."
	@$(BIN)/python -m venv --clear $(AUDIT_VENV)
	@$(AUDIT_VENV)/bin/python -m pip install --quiet --require-hashes --requirement tools/audit/requirements.lock
	@touch $@

$(CLIENTS): tests/clients/requirements.lock $(RUNTIME)
	@echo "Installing tests/clients/requirements.lock into $(CLIENTS_VENV) ..."
	@$(BIN)/python -m venv --clear $(CLIENTS_VENV)
	@$(CLIENTS_VENV)/bin/python -m pip install --quiet --require-hashes --requirement tests/clients/requirements.lock
	@touch $@

# The manifest is the example's sign that all is written. A pickle fits only the code that wrote it, so new code trains anew.
$(MODEL): examples/breast_cancer.py $(wildcard service/shapley/*.py service/scoring/*.py service/explainers/*.py) $(RUNTIME)
	$(BIN)/python -m examples.breast_cancer
