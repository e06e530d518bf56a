# Two commands matter: `make serve` and `make test`. Everything else is for those who change Tollway.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help screenshots lighthouse serve upstream test lint format conformance bench faults fuzz soak lock openapi clean

help: ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

serve: $(VENV)/serve.done ## Start the service on http://127.0.0.1:8080 (the first start fetches the model)
	@$(BIN)/tollway serve

test: $(VENV)/test.done ## Run the whole test suite
	@$(BIN)/tollway models pull
	$(BIN)/python -m tests.run $(PYTEST_ARGS)

lint: $(VENV)/test.done ## Check style, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint deploy/Containerfile

format: $(VENV)/test.done ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

conformance: $(VENV)/test.done $(VENV)-clients/done $(VENV)-clients-older/done tests/conformance/node_modules ## Run the real clients (OpenAI SDKs, LangChain, llm, ...) and long fuzzing; needs Node 20
	@$(BIN)/tollway models pull
	$(BIN)/python -m tests.conformance.run
	$(BIN)/python -m tests.conformance.run --chain
	$(BIN)/python -m tests.conformance.run --gemini
	FUZZ_EXAMPLES=300 $(BIN)/python -m pytest tests/contract/test_openapi_fuzz.py

bench: $(VENV)/test.done ## Measure it all and write bench/report.md; needs wrk, a quarter of an hour and a quiet machine (BENCH_ARGS=--quick)
	@$(BIN)/tollway models pull
	$(BIN)/python -m bench.report $(BENCH_ARGS)

upstream: $(VENV)/test.done ## Serve a fake upstream that fails as it is told (UPSTREAM_ARGS="--dialect gemini --fault heartbeats_only"; see docs/upstreams.md)
	@$(BIN)/python -m tests.fakes $(UPSTREAM_ARGS)

screenshots: $(VENV)/test.done ## Take pictures of every page into docs/screenshots; needs Chromium
	@$(BIN)/tollway models pull
	$(BIN)/python -m tests.web.screenshots

lighthouse: $(VENV)/test.done ## Score one page of each kind with Lighthouse into docs/lighthouse.md; needs Chromium and npm
	@$(BIN)/tollway models pull
	$(BIN)/python -m tests.web.lighthouse

faults: $(VENV)/test.done ## Drive every promise of docs/reliability.md in full; takes hours (FAULTS_ARGS="--rows 1,5" or --quick)
	@$(BIN)/tollway models pull
	$(BIN)/python -m tests.faults.run $(FAULTS_ARGS)

fuzz: $(VENV)/test.done ## Send nonsense to everything that reads; half an hour, or FUZZ_ARGS="--minutes 5 --only http"
	@$(BIN)/tollway models pull
	$(BIN)/python -m tests.fuzz.run $(FUZZ_ARGS)

soak: $(VENV)/test.done ## Mixed load with faults for two hours, or SOAK_ARGS="--minutes 20": memory, descriptors, books
	$(BIN)/python -m tests.soak $(SOAK_ARGS)

openapi: $(VENV)/serve.done ## Write openapi.json from the wire types
	$(BIN)/tollway openapi > openapi.json

clean: ## Remove the virtual environments; data and models stay
	rm -rf $(VENV) $(VENV)-lighthouse $(VENV)-clients $(VENV)-clients-older tests/conformance/node_modules

# requirements/*.txt are locked and hashed; `make lock` renews them (needs uv).
lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --upgrade \
	  pyproject.toml --group build -o requirements/serve.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  pyproject.toml --group build --extra otel -c requirements/serve.txt -o requirements/otel.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  pyproject.toml --group build --group dev --extra otel -c requirements/otel.txt -o requirements/test.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --upgrade \
	  requirements/clients.in -o requirements/clients.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --upgrade \
	  requirements/clients-older.in -o requirements/clients-older.txt
	for peer in litellm vllm-router; do \
	  uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --upgrade \
	    bench/peers/$$peer.in -o bench/peers/$$peer.txt || exit 1; \
	done
	npm --prefix tests/conformance update --package-lock-only
	npm --prefix bench/peers/portkey update --package-lock-only --ignore-scripts

# Half an environment would pass for a whole one next time, so it is removed.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tollway needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make serve PYTHON=python3.12")'
	@echo "Making $(VENV) and installing packages into it, once. That takes a minute."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/%.done: requirements/%.txt pyproject.toml | $(VENV)/bin/python
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements/$*.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Clients do not agree with each other, or with Tollway, on the versions of what they need: `clients` has the current ones,
# `clients-older` those that are not there yet.
$(VENV)-%/done: requirements/%.txt
	$(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps -r $<
	@touch $@

tests/conformance/node_modules: tests/conformance/package-lock.json
	npm --prefix tests/conformance ci --no-audit --no-fund
	@touch $@
