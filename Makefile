# Each target sets up what it needs, and is quick the second time.

SCENARIO ?= two_bad
ID ?= default
ARGS ?=

BIN := .venv/bin
PYTHON := $(BIN)/python
AS_ROOT := tests/bootstrap/as-root.sh
SETUP := $$(tests/bootstrap/python.sh) tests/venvs.py ensure

VM_TOOLS := $(if $(filter vm_%,$(SCENARIO)),vm-tools)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help diagnose test lint unit integration soak test-vm bench lab-up lab-down clean run-venv dev-venv lab-tools vm-tools

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

ifdef INVENTORY
diagnose: run-venv ## Find the hosts that stall: of INVENTORY=path, else of a lab raised for it (SCENARIO=two_bad, KEEP=1); ARGS to ansible-playbook
	@exec $(BIN)/ansible-playbook -i $(INVENTORY) diagnose.yml $(ARGS)
else
diagnose: run-venv lab-tools $(VM_TOOLS)
	@exec $(AS_ROOT) $(PYTHON) -m tests.with_lab $(SCENARIO) $(BIN)/ansible-playbook -i {lab}/inventory.yml diagnose.yml $(ARGS)
endif

test: lint unit integration ## Lint, unit tests, integration tests

lint: dev-venv ## Style, types, and Python 3.6 for what runs on the hosts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vermin --quiet --no-tips --violations --target=3.6- plugins/modules plugins/module_utils
	@if python36=$$($(PYTHON) tests/venvs.py interpreter 3.6); then \
	  $$python36 -c 'import sys; [compile(open(name, encoding="utf-8").read(), name, "exec") for name in sys.argv[1:]]' \
	    $$(find plugins/modules plugins/module_utils -name '*.py'); \
	else echo 'fleet.stall: skipped: no python3.6 to compile the hosts'\'' code with'; fi
	$(BIN)/yamllint --strict .
	$(BIN)/antsibull-changelog lint
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline

unit: dev-venv lab-tools ## Unit tests (ARGS to pytest)
	$(PYTHON) -m pytest tests/unit -n 2 --dist loadfile $(ARGS)

integration: dev-venv lab-tools ## Integration tests on the lab (root; ARGS to pytest)
	@$(PYTHON) tests/venvs.py ensure --optional 2.16
	@$(PYTHON) tests/bootstrap/galaxy.py || echo 'fleet.stall: skipped: without kubernetes.core its tests are'
	@$(PYTHON) tests/bootstrap/packages.py kubernetes drain || echo 'fleet.stall: skipped: without kubectl or haproxy their tests are'
	$(AS_ROOT) $(PYTHON) -m pytest tests/integration -m "not (lab or alone or slow or vm)" -n 3 --dist loadfile $(ARGS)
	$(AS_ROOT) $(PYTHON) -m pytest tests/integration -m "(lab or alone) and not slow" $(ARGS)

soak: dev-venv lab-tools ## Five minutes without faults: nothing may be found; each culprit five times, the rare one too (root, an hour)
	@$(AS_ROOT) env FLEET_STALL_CLEAN_S=300 $(PYTHON) -m pytest tests/integration -m "not vm" -k "clean and not two_labs" $(ARGS)
	@$(AS_ROOT) $(PYTHON) -m pytest tests/integration -m "slow and not vm" $(ARGS)
	@for round in 1 2 3 4 5; do $(AS_ROOT) env FLEET_STALL_SOAK=1 $(PYTHON) -m pytest tests/integration/test_culprits.py -rP -k "not clean" $(ARGS) || exit 1; done

test-vm: dev-venv lab-tools vm-tools ## Integration tests on real machines in QEMU: kernels, reboots, upgrades (root; some minutes more the first time)
	$(AS_ROOT) $(PYTHON) -m pytest tests/integration/vm $(ARGS)

bench: dev-venv lab-tools ## Measure, as JSON (root)
	@$(PYTHON) tests/bootstrap/packages.py bench
	@$(AS_ROOT) $(PYTHON) -m tests.bench $(ARGS)

lab-up: run-venv lab-tools $(VM_TOOLS) ## Raise the lab with SCENARIO= and leave it up
	@$(AS_ROOT) $(PYTHON) -m tests.lab up --scenario $(SCENARIO) --id $(ID)

lab-down: run-venv ## Take that lab down
	@$(AS_ROOT) $(PYTHON) -m tests.lab down --id $(ID)

clean: ## Take every lab down and remove what was made here; runs/ stays
	@if [ -d .lab ] && [ -x $(PYTHON) ]; then for lab in $$(find .lab -mindepth 1 -maxdepth 1 -type d); do \
	  $(AS_ROOT) $(PYTHON) -m tests.lab down --id $${lab#.lab/}; done; fi
	rm -rf .venv .venv-* .lab .cache .ansible .pytest_cache .mypy_cache .ruff_cache .hypothesis fleet-stall-*.tar.gz bench.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

run-venv:
	@$(SETUP) run

dev-venv:
	@$(SETUP) dev

vm-tools:
	@$(PYTHON) tests/bootstrap/packages.py vm

lab-tools:
	@$(PYTHON) tests/bootstrap/packages.py lab
