.DEFAULT_GOAL := help
.PHONY: help run test test-tools test-all bench chaos probe fuzz audit lint lock screenshots clean

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: ## Install what is missing and run the portal (PORT, HOST, RUNTIME); Ctrl-C ends it
	@bash deploy/run.sh

test: ## Install what tests need, check the code, run every test (ARGS: for pytest)
	@bash deploy/test.sh $(ARGS)

test-tools: ## Test the test tools: bench, chaos, isolation, reports (ARGS: for pytest)
	@STORES=embedded bash deploy/test.sh -m tools $(ARGS)

test-all: ## Run every test on both kinds of stores, those of the test tools included
	@STORES=each bash deploy/test.sh --tools $(ARGS)

bench: ## Measure launches, pages, memory, sweeps; writes docs/performance.md (QUICK=1: a look)
	@bash deploy/bench.sh $(if $(QUICK),--quick) $(ARGS)

chaos: ## Kill, starve and crowd a portal on the engine (N, SEED); writes docs/reliability.md
	@bash deploy/chaos.sh $(if $(N),--kills $(N)) $(if $(SEED),--seed $(SEED)) $(ARGS)

probe: ## Try to get out of a sandbox in every way; writes docs/reliability.md (needs root)
	@bash deploy/test_isolation.sh

fuzz: ## Send the API 10,000 generated calls, try random lives (CALLS, LIVES); writes docs/reliability.md
	@bash deploy/fuzz.sh $(if $(CALLS),--calls $(CALLS)) $(if $(LIVES),--lives $(LIVES))

audit: ## Look for known vulnerabilities in what the portal is built on (needs the internet)
	@bash deploy/audit.sh

lint: ## Check the code without running it
	@bash deploy/lint.sh

screenshots: ## Take screenshots of every page, into var/screenshots (DOCS=1: the documentation's)
	@STORES=embedded DOCS=$(DOCS) bash deploy/test.sh -q tests/browser/screenshots.py

lock: ## Compile requirements*.in to requirements*.txt
	@bash deploy/lock.sh

clean: ## Stop the portal, remove its sandboxes, var/ and .venv (IMAGES=1: images too)
	@bash deploy/clean.sh
