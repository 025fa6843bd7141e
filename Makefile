.DEFAULT_GOAL := help
.PHONY: help run test test-tools test-socket-proxy test-exhaustive test-all bench chaos test-gallery bench-streams test-isolation probe fuzz audit lint lock screenshots reference corpus clean test-install test-vm

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

run: ## Install missing dependencies and run the portal (PORT, HOST, RUNTIME); stop it with Ctrl-C
	@bash deploy/run.sh

test: ## Install test dependencies, lint, and run every test (ARGS: passed to pytest)
	@bash deploy/test.sh $(ARGS)

test-tools: ## Test the test tools: bench, chaos, isolation, reports (ARGS: passed to pytest)
	@STORES=embedded bash deploy/test.sh -m tools $(ARGS)

test-socket-proxy: ## Run the tests of the Docker runtime behind the socket proxy (ARGS: passed to pytest)
	@STORES=embedded PROCESSES=0 bash deploy/test.sh -p tests.socket_proxy.everywhere tests/runtime -k docker $(ARGS)

test-exhaustive: ## Run the long forms of tests that have a short one (ARGS: passed to pytest)
	@STORES=servers bash deploy/test.sh -m exhaustive $(ARGS)

test-all: ## Run every test, long forms and test tools included, on both kinds of stores
	@STORES=each bash deploy/test.sh --tools --exhaustive $(ARGS)

test-gallery: ## Launch, use, reset, expire and destroy every stack of docs/examples (PUBLISH=1: publish times)
	@PUBLISH=$(PUBLISH) STORES=servers PROCESSES=1 bash deploy/test.sh --exhaustive tests/gallery $(ARGS)

test-install: ## Install the portal on a bare Debian, use, upgrade and roll it back (needs root; ARGS: passed to pytest)
	@bash deploy/test_install.sh $(ARGS)

test-vm: ## Install the portal on virtual machines with Debian 13 and systemd; writes docs/reliability.md (ARGS: a part)
	@bash deploy/test_vm.sh $(ARGS)

bench: ## Measure launches, pages, memory, and sweeps; writes docs/performance.md (QUICK=1: shorter run)
	@bash deploy/bench.sh $(if $(QUICK),--quick) $(ARGS)

chaos: ## Run the fault-injection experiments (N, SEED); writes docs/reliability.md
	@bash deploy/chaos.sh $(if $(N),--kills $(N)) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench-streams: ## Measure the memory of the streams process, and how soon events arrive
	@PATH="$(CURDIR)/.venv/bin:$$PATH" PYTHONPATH=sandboxes/cli:deploy DJANGO_SETTINGS_MODULE=tests.settings \
		VAR_DIR="$(CURDIR)/var/tests" python -m tests.harness.servers python -m tests.streams.measure

test-isolation: ## Try to break out of a sandbox; writes docs/reliability.md (needs root)
	@bash deploy/test_isolation.sh

probe: ## Deprecated: use test-isolation
	@echo '▸ make probe is deprecated; use make test-isolation.' >&2
	@$(MAKE) --no-print-directory test-isolation

fuzz: ## Send generated requests to the API and the socket proxy, run random lifecycles (CALLS, LIVES, PROXY, PART); writes docs/reliability.md
	@bash deploy/fuzz.sh $(if $(PART),--part $(PART)) $(if $(CALLS),--calls $(CALLS)) $(if $(LIVES),--lives $(LIVES)) $(if $(PROXY),--proxy-requests $(PROXY))

audit: ## Check pinned packages for known vulnerabilities (needs internet access)
	@bash deploy/audit.sh

lint: ## Run static checks
	@bash deploy/lint.sh

screenshots: ## Take screenshots of every page, into var/screenshots (DOCS=1: the documentation's)
	@STORES=embedded DOCS=$(DOCS) bash deploy/test.sh -q tests/browser/screenshots.py

lock: ## Compile requirements*.in to requirements*.txt
	@bash deploy/lock.sh

corpus: ## Count how many Compose files like public ones pass with only a sandbox.yaml (N: files)
	@PATH="$(CURDIR)/.venv/bin:$$PATH" DJANGO_SETTINGS_MODULE=tests.settings \
		python -m tests.blueprints.compose.corpus $(or $(N),5000)

reference: ## Write the reference of x-sandbox into docs/blueprints.md
	@PATH="$(CURDIR)/.venv/bin:$$PATH" DJANGO_SETTINGS_MODULE=tests.settings python -m tests.project.blueprint_reference

clean: ## Stop the portal and remove its sandboxes, var/, and .venv (IMAGES=1: also images)
	@bash deploy/clean.sh
