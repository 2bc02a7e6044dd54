# Everything runs in .venv, which scripts/setup.sh keeps up to date with the locks in requirements/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo cluster test verify chaos bench lint render preview lock clean

PYTHON_BIN := .venv/bin/python
STACKS := $(patsubst Pulumi.%.yaml,%,$(notdir $(wildcard Pulumi.*.yaml infra/Pulumi.*.yaml)))

# One line on stderr instead of a program's traceback.
require_stack = $(if $(filter 1,$(words $(filter $(STACKS),$(STACK)))),,$(error Name a stack: make $@ STACK=<$(NAMES)>))
NAMES = $(if $(STACKS),$(subst $() ,|,$(strip $(STACKS))),none is configured)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Run the whole fleet on this machine, on a real Redis Cluster (KEEP=1 leaves it running)
	@scripts/setup.sh --redis service infra local
	@$(PYTHON_BIN) -m scripts.demo $(if $(KEEP),--keep)

cluster: ## Start a Redis Cluster of 3 primaries and 3 replicas in the foreground (TLS=1 for TLS)
	@scripts/setup.sh --redis service local
	@$(PYTHON_BIN) -m scripts.localcluster $(if $(TLS),--tls)

test: ## Run the tests (ARGS are pytest's)
	@scripts/setup.sh --redis dev
	@$(PYTHON_BIN) -m pytest $(ARGS)

verify: ## Run the slow proofs (ARGS are pytest's)
	@scripts/setup.sh --redis dev
	@$(PYTHON_BIN) -m pytest -m slow $(ARGS)

chaos: ## Break a fleet at random and judge what became of its tasks (SEED=1 SECONDS=90)
	@scripts/setup.sh --redis dev
	@$(PYTHON_BIN) -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS))

bench: ## Compare the transport's speed with stock kombu on one Redis (ROUNDS=5)
	@scripts/setup.sh --redis service local
	@$(PYTHON_BIN) -m bench $(ROUNDS)

lint: ## Check style, format, types and which package may import which
	@scripts/setup.sh dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

render: ## Print every resource of a stack as JSON, without an AWS account (STACK=prod)
	$(require_stack)
	@scripts/setup.sh infra
	@$(PYTHON_BIN) -m scripts.render $(STACK)

preview: ## Show what a stack consists of, without an AWS account (STACK=prod)
	$(require_stack)
	@scripts/setup.sh infra
	@$(PYTHON_BIN) -m scripts.preview $(STACK)

lock: ## Lock the requirements again, newest versions that fit (commit the result)
	@scripts/setup.sh dev
	@scripts/lock.sh

clean: ## Remove .venv and all caches
	@rm -rf .venv .setup.lock .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
