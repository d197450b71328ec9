# The whole quickstart; `make` alone explains it.
PYTHON ?= python3
WHERE = $(if $(CONTEXT),--context '$(CONTEXT)') $(if $(REGISTRY),--registry '$(REGISTRY)')
VENV = .venv/bin
# Two at a time, for none of them knows another; end to end there is one cluster, and one order.
TESTS = tests/unit tests/program tests/policy serving_image/tests

.PHONY: help up down env test check policies bench bench-updates tools status
help:
	@echo 'make up                          everything: tools, one-machine Kubernetes, pulumi up, predictions'
	@echo 'make up CONTEXT=… REGISTRY=…     the same stack on a cluster and registry that exist'
	@echo 'make down                        removes the stack and the cluster (CONTEXT=… REGISTRY=…: the stack)'
	@echo 'eval "$$(make -s env)"            gives this shell pulumi and kubectl'
	@echo 'make test                        every test, end to end too; does not touch a running `make up`'
	@echo 'make check                       format, lint, types'
	@echo 'make policies                    the environment that pulumi runs the policy pack in'
	@echo 'make bench                       the serving runtime beside MLflow, MLServer, BentoML and the limit'
	@echo 'make bench-updates               times a weight-only update, no-op updates and previews'
	@echo 'make status                      what runs'

up down env tools status:
	@$(PYTHON) -m local $@ $(WHERE)

test: tools policies
	@$(VENV)/python -m pytest --numprocesses 2 --dist loadfile --durations 10 $(TESTS)
	@$(VENV)/python -m pytest --durations 20 tests/e2e

check: tools
	@$(VENV)/ruff format --check . && $(VENV)/ruff check . && $(VENV)/mypy

policies: tools policies/.venv/complete

policies/.venv/complete: policies/requirements.txt
	@rm -rf policies/.venv
	@eval "$$($(PYTHON) -m local env)" && pulumi install -C policies > /dev/null && touch $@

bench: tools
	@$(VENV)/python -m bench.serving

bench-updates: tools
	@$(VENV)/python -m bench.updates
