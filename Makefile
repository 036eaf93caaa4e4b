.DEFAULT_GOAL := help
.PHONY: help build test quick lint bench fuzz run clean

help: ## show this help
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

build: ## build ./osa-gateway
	./xcaddy.sh

test: ## run everything that must pass (about half an hour)
	./tests/run.sh

quick: ## check the packages that differ from main (under two minutes)
	./tests/run.sh --quick

lint: ## run the linters
	./tests/run.sh build format lint structure

bench: ## run the benchmarks in their short form
	./tests/bench/run.sh

fuzz: ## run each fuzz target; OSA_FUZZTIME=5m for longer
	./tests/run.sh fuzz

run: ## build and start a gateway for development on http://localhost:3000
	./xcaddy.sh run

clean: ## remove what git ignores, except the development store and secrets in .osa-dev
	git clean -fdXq -e '!/.osa-dev/'
