# The commands of a working day. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help up down reset status doctor test nightly bench load fmt lint newcomer

TARGET := $(or $(CARGO_TARGET_DIR),target)
STACK := $(TARGET)/release/stack
# Only tests and benchmarks need these packages.
TESTS_ONLY := differential load-tests simulator tidy

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

up: ## install what is missing, build, start the local stack, and run a business day through it
	deploy/setup
	cargo build --release --workspace $(TESTS_ONLY:%=--exclude %)
	$(STACK) up
	$(TARGET)/release/acctl --env-file .local/dev.env story

down: ## stop what `make up` started
	@if [ -x $(STACK) ]; then $(STACK) down; else echo 'nothing runs'; fi

reset: ## stop it and delete its data
	@if [ -x $(STACK) ]; then $(STACK) reset; else echo 'nothing to delete'; fi

status: ## say what runs
	@if [ -x $(STACK) ]; then $(STACK) status; else echo 'nothing runs'; fi

doctor: ## say which tools are missing and how to get them
	@command -v cargo >/dev/null || { echo 'missing: cargo; the command on https://rustup.rs gets it, then open a new shell'; exit 1; }
	@command -v cc >/dev/null || { echo 'missing: cc, the linker of Rust programs; deploy/setup gets it'; exit 1; }
	@cargo run --quiet --package stack -- doctor

test: ## every test, on servers of their own
	deploy/setup
	contracts/run-tests
	test -d load-tests/foreign/node_modules || npm ci --prefix load-tests/foreign
	cargo build --workspace
	cargo test --workspace; status=$$?; $(TARGET)/debug/stack test-down; exit $$status

nightly: ## the contracts' long tests: five million calls, planted bugs, static analysis
	contracts/nightly

bench: ## measure beside a plain ledger in the same Postgres (SCENARIOS=..., ARGS=...)
	cargo build --release --workspace
	$(TARGET)/release/bench $(or $(SCENARIOS),single batch hot open restart micro) --out .local/bench-results $(ARGS)

load: ## run a load scenario against a system of its own (SCENARIO=steady)
	cargo build --release --workspace
	$(TARGET)/release/load $(or $(SCENARIO),steady) $(ARGS)

fmt: ## format the Rust sources
	cargo fmt --all

lint: ## clippy, warnings denied
	cargo clippy --workspace --all-targets -- -D warnings

newcomer: ## run the README's commands in a bare Debian, as somebody new would (needs root)
	deploy/newcomer
