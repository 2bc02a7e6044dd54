# Everything runs in .venv, which scripts/setup.sh keeps up to date with the locks in requirements/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Without byte code, each of the many renders compiles the provider's classes again: 17 s instead of 2.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help demo cluster test verify conformance chaos bench capacity cost image lint render preview check lock clean

PYTHON_BIN := .venv/bin/python
STACKS := $(patsubst Pulumi.%.yaml,%,$(notdir $(wildcard Pulumi.*.yaml infra/Pulumi.*.yaml)))

# One line on stderr instead of a program's traceback.
require_stack = $(if $(filter 1,$(words $(filter $(STACKS),$(STACK)))),,$(error Name a stack: make $@ STACK=<$(NAMES)>))
NAMES = $(if $(STACKS),$(subst $() ,|,$(strip $(STACKS))),none is configured)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Run the whole fleet on this machine, on a real Redis Cluster (KEEP=1 leaves it running)
	@scripts/setup.sh --redis service infra local
	@$(PYTHON_BIN) -m scripts.demo $(if $(KEEP),--keep)

cluster: ## Start a Redis Cluster of 3 primaries and 3 replicas in the foreground (TLS=1 for TLS)
	@scripts/setup.sh --redis service local
	@$(PYTHON_BIN) -m scripts.localcluster $(if $(TLS),--tls)

test: ## Run the tests (ARGS are pytest's)
	@scripts/setup.sh --redis dev schema
	@$(PYTHON_BIN) -m pytest -n 4 --dist loadfile $(ARGS)

verify: ## Run the slow proofs (ARGS are pytest's)
	@scripts/setup.sh --redis --chaos --image dev schema
	@$(PYTHON_BIN) -m pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

conformance: ## Run Celery's and kombu's own integration suites on a cluster (STOCK=1 on a single Redis, JOBS=2)
	@scripts/setup.sh --redis dev conformance
	@$(PYTHON_BIN) -m tests.conformance $(if $(STOCK),--stock) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

chaos: ## Break a fleet at random and judge what became of its tasks (SEED=1 SECONDS=600 SEEDS=one)
	@scripts/setup.sh --redis --chaos dev
	@$(PYTHON_BIN) -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEEDS),--seeds $(SEEDS))

bench: ## Measure speed and footprint beside stock kombu on one Redis (ROUNDS=5 ONLY=publish,tasks)
	@scripts/setup.sh --redis service local
	@$(PYTHON_BIN) -m bench $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY))

capacity: ## Say what a stack's broker carries, from its render and the last benchmark (STACK=prod)
	$(require_stack)
	@scripts/setup.sh service infra
	@$(PYTHON_BIN) -m scripts.capacity $(STACK)

image: ## Build the service's image without a registry, run it, say how large and how fast it is (STACK=prod)
	$(require_stack)
	@scripts/setup.sh --redis --image service infra local
	@$(PYTHON_BIN) -m scripts.image $(STACK)

cost: ## Estimate what a stack costs a month, from its render (STACK=prod)
	$(require_stack)
	@scripts/setup.sh infra
	@$(PYTHON_BIN) -m scripts.cost $(STACK)

lint: ## Check style, format, types, the Dockerfile and which package may import which
	@scripts/setup.sh dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/hadolint service/Dockerfile

render: ## Print every resource of a stack as JSON, without an AWS account (STACK=prod)
	$(require_stack)
	@scripts/setup.sh infra
	@$(PYTHON_BIN) -m scripts.render $(STACK)

preview: ## Show what a stack consists of, without an AWS account (STACK=prod)
	$(require_stack)
	@scripts/setup.sh infra
	@$(PYTHON_BIN) -m scripts.preview $(STACK)

check: ## Check what a stack would deploy, without an AWS account (STACK=prod)
	$(require_stack)
	@scripts/setup.sh service infra checks schema
	@$(PYTHON_BIN) -m scripts.checks $(STACK)

lock: ## Lock the requirements again, newest versions that fit (commit the result)
	@scripts/setup.sh dev
	@scripts/lock.sh

clean: ## Remove .venv and all caches
	@rm -rf .venv .setup.lock .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
