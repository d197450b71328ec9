# The whole quickstart; `make` alone explains it.
PYTHON ?= python3
WHERE = $(if $(CONTEXT),--context '$(CONTEXT)') $(if $(REGISTRY),--registry '$(REGISTRY)')
VENV = .venv/bin
# Two at a time, for none of them knows another; end to end there is one cluster, and one order.
TESTS = tests/unit tests/program tests/policy serving_image/tests

.PHONY: help preview drift apply smoke test-quick up down env test check audit policies bench bench-updates \
	tools status
help:
	@echo 'make up                          everything: tools, one-machine Kubernetes, pulumi up, predictions'
	@echo 'make up CONTEXT=… REGISTRY=…     the same stack on a cluster and registry that exist'
	@echo 'make down                        removes the stack and the cluster (CONTEXT=… REGISTRY=…: the stack)'
	@echo 'eval "$$(make -s env)"            gives this shell pulumi and kubectl'
	@echo 'make test                        every test, end to end too; does not touch a running `make up`'
	@echo 'make test-quick                  the tests that need no cluster'
	@echo 'make check                       format, lint, types, workflows, configurations of policies, scanners'
	@echo 'make audit                       known vulnerabilities of what is pinned, asked of PyPI'
	@echo 'make preview STACK=…             what an update would do, said for a person'
	@echo 'make apply STACK=… PLAN=…        an update held to the plan that `make preview PLAN=…` saved'
	@echo 'make smoke STACK=…               predictions through the stack, by docs/<model>-request.json'
	@echo 'make drift STACK=…               what has changed behind the stack'
	@echo 'make policies                    the environment that pulumi runs the policy pack in'
	@echo 'make bench                       the serving runtime beside MLflow, MLServer, BentoML and the limit'
	@echo 'make bench-updates               times a weight-only update, no-op updates and previews'
	@echo 'make tools                       the tools and the environment alone'
	@echo 'make status                      what runs'

up down env tools status:
	@$(PYTHON) -m local $@ $(WHERE)

test: test-quick
	@$(VENV)/python -m pytest --durations 20 tests/e2e

check: tools
	@$(VENV)/ruff format --check . && $(VENV)/ruff check . && $(VENV)/mypy
	@.slipway/bin/actionlint -shellcheck= -pyflakes=
	@$(VENV)/python policies/check.py policies/*.json
	@$(VENV)/python -m hardening scan

# Known vulnerabilities of the pinned packages, as PyPI knows them today.
audit: tools
	@$(VENV)/python -m hardening audit

# What an update would do, or what has changed without one. STACK=… (by default the selected one),
# ALL=1 for every line; for a CI job MARKDOWN=… (a comment) and PLAN=… (for `make apply`).
IN_ENV = set -e; made=$$($(PYTHON) -m local env $(WHERE)); eval "$$made"; exec
preview drift: tools policies
	@$(IN_ENV) $(VENV)/python -m review $@ $(if $(STACK),--stack '$(STACK)') $(if $(ALL),--all) \
		$(if $(MARKDOWN),--markdown '$(MARKDOWN)') \
		$(if $(PLAN),$(if $(filter preview,$@),--save-plan '$(PLAN)'))

# An update that does what the plan of a preview says, or nothing.
apply: tools policies
	$(if $(and $(STACK),$(PLAN)),,@echo 'slipway: make apply: give STACK=… and PLAN=…' >&2; exit 1)
	@$(IN_ENV) pulumi up --yes --skip-preview --non-interactive --stack '$(STACK)' \
		--plan '$(PLAN)' --policy-pack policies \
		$(addprefix --policy-pack-config ,$(wildcard policies/$(notdir $(STACK)).json))

smoke: tools
	@$(IN_ENV) $(VENV)/python -m local.smoke $(if $(STACK),'$(STACK)')

# The tests that need no cluster.
test-quick: tools policies
	@$(VENV)/python -m pytest --numprocesses 2 --dist loadfile --durations 10 $(TESTS)

policies: tools policies/.venv/complete

policies/.venv/complete: policies/requirements.txt
	@rm -rf policies/.venv
	@eval "$$($(PYTHON) -m local env)" && pulumi install -C policies > /dev/null && touch $@

bench: tools
	@$(VENV)/python -m bench.serving

bench-updates: tools
	@$(VENV)/python -m bench.updates
