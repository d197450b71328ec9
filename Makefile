# The whole quickstart; `make` alone explains it.
PYTHON ?= python3
WHERE = $(if $(CONTEXT),--context '$(CONTEXT)') $(if $(REGISTRY),--registry '$(REGISTRY)') \
	$(if $(wildcard Pulumi.$(STACK).yaml),--stack '$(STACK)')
VENV = .venv/bin
# Two at a time, for none of them knows another; end to end there is one cluster, and one order.
TESTS = tests/unit tests/program tests/aws tests/policy serving_image/tests

# What of these asks AWS alone needs no tool of the one-machine cluster.
state-bucket prices: WHERE = --aws

.PHONY: help preview drift cost prices pins apply smoke test-quick up down env test check audit policies simulator bench \
	bench-updates tools status state-bucket
help:
	@echo 'make up                          everything: tools, one-machine Kubernetes, pulumi up, predictions'
	@echo 'make up CONTEXT=… REGISTRY=…     the same stack on a cluster and registry that exist'
	@echo 'make down                        removes the stack and the cluster (CONTEXT=… REGISTRY=…: the stack)'
	@echo 'eval "$$(make -s env)"            gives this shell pulumi and kubectl'
	@echo 'make test                        the tests, end to end too; does not touch a running `make up`'
	@echo 'make test LONG=1                 with the long ones: autoscaling, a rollout for each fault there is'
	@echo 'make test-quick                  the tests that need no cluster'
	@echo 'make check                       format, lint, types, workflows, configurations of policies, scanners'
	@echo 'make audit                       known vulnerabilities of what is pinned, asked of PyPI'
	@echo 'make preview STACK=…             what an update would do, said for a person'
	@echo 'make apply STACK=… PLAN=…        an update held to the plan that `make preview PLAN=…` saved'
	@echo 'make smoke STACK=…               predictions through the stack, by docs/<model>-request.json'
	@echo 'make drift STACK=…               what has changed behind the stack'
	@echo 'make state-bucket REGION=… NAME=…  the bucket of Pulumi'"'"'s state on AWS, and the key of its secrets'
	@echo 'make cost STACK=…                what a stack on AWS would cost by month, without asking AWS'
	@echo 'make prices REGION=…             the prices of a region of AWS, asked of AWS'
	@echo 'make pins STACK=…                the digests of the images that a stack names by tag (CHECK=1: what moved)'
	@echo 'make policies                    the environment that pulumi runs the policy pack in'
	@echo 'make simulator                   what evaluates documents of IAM, for the tests'
	@echo 'make bench                       the serving runtime beside MLflow, MLServer, BentoML and the limit'
	@echo 'make bench-updates               times a weight-only update, no-op updates and previews'
	@echo 'make tools                       the tools and the environment alone'
	@echo 'make status                      what runs'

up down env tools status:
	@$(PYTHON) -m local $@ $(WHERE)

test: test-quick tests/e2e/issuer/node_modules/complete
	@$(VENV)/python -m pytest --durations 30 $(if $(LONG),,-m 'not long') tests/e2e

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

# What a stack on AWS would cost by month; INTO=… puts the table into a page of Markdown.
cost: tools
	$(if $(STACK),,@echo 'slipway: make cost: give STACK=…' >&2; exit 1)
	@$(VENV)/python -m review cost --stack '$(STACK)' $(if $(INTO),--into '$(INTO)')

# prices/<region>.yaml anew, as AWS tells them; it takes a login.
prices: tools
	$(if $(REGION),,@echo 'slipway: make prices: give REGION=…' >&2; exit 1)
	@$(VENV)/python -m review prices --region '$(REGION)'

# The digest of each image's tag into the stack's file. CHECK=1 writes nothing; A stack on AWS
# has images named by the caches that it makes; THROUGH=… and CACHE=docker.io=hub name others.
pins: tools
	$(if $(STACK),,@echo 'slipway: make pins: give STACK=…' >&2; exit 1)
	@$(VENV)/python -m pins --stack '$(STACK)' $(if $(CHECK),--check) \
		$(if $(THROUGH),--registry '$(THROUGH)') $(foreach one,$(CACHE),--cache '$(one)')

# An update that does what the plan of a preview says, or nothing.
apply: tools policies
	$(if $(and $(STACK),$(PLAN)),,@echo 'slipway: make apply: give STACK=… and PLAN=…' >&2; exit 1)
	@$(IN_ENV) pulumi up --yes --skip-preview --non-interactive --stack '$(STACK)' \
		--plan '$(PLAN)' --policy-pack policies \
		$(addprefix --policy-pack-config ,$(wildcard policies/$(notdir $(STACK)).json))

# The bucket of Pulumi's state on AWS and the key of its secrets; NAME=… is the bucket's.
state-bucket: tools
	$(if $(REGION),,@echo 'slipway: make state-bucket: give REGION=…' >&2; exit 1)
	@$(VENV)/python -m bootstrap --region '$(REGION)' $(if $(NAME),--name '$(NAME)')

smoke: tools
	@$(IN_ENV) $(VENV)/python -m local.smoke $(if $(STACK),'$(STACK)')

# The tests that need no cluster.
test-quick: tools policies simulator
	@$(VENV)/python -m pytest --numprocesses 2 --dist loadfile --durations 10 $(TESTS)

policies: tools policies/.venv/complete

policies/.venv/complete: policies/requirements.txt
	@rm -rf policies/.venv
	@eval "$$($(PYTHON) -m local env)" && pulumi install -C policies > /dev/null && touch $@

# What evaluates documents of IAM, for the tests of stacks on AWS alone.
simulator: tools tests/aws/simulator/node_modules/complete

tests/aws/simulator/node_modules/complete: tests/aws/simulator/package-lock.json
	@$(VENV)/python tests/node.py tests/aws/simulator

tests/e2e/issuer/node_modules/complete: tests/e2e/issuer/package-lock.json
	@$(VENV)/python tests/node.py tests/e2e/issuer

bench: tools
	@$(VENV)/python -m bench.serving

bench-updates: tools
	@$(VENV)/python -m bench.updates
