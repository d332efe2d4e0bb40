# A thin front: Meson builds. `make help` lists what there is.
.DEFAULT_GOAL := help
PYTHON := build/venv/bin/python
TIME ?= 60
URL ?=
BENCH ?=

.PHONY: help setup build run test test-tsan quick lint fmt docs fuzz bench faults coverage clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## install what building needs (Debian packages; sudo is used when you are not root)
	@tools/setup build

build: setup ## build/adit and build/adit-edge, optimised
	@tools/build release build
	@ls -lL build/adit build/adit-edge | awk '{ print $$9, $$5, "bytes" }'

run: build ## start an edge and a connector here and print the URL; URL=http://localhost:8000 exposes that
	@tools/run "$(URL)"

test: ## every test, with AddressSanitizer and UBSan; ends with "N passed, N failed, N skipped"
	@tools/setup test
	@tools/run-tests

test-tsan: ## what crosses threads, under ThreadSanitizer
	@tools/setup test
	@tools/run-tests --tsan

quick: ## unit tests and fuzz corpora alone
	@tools/setup test
	@tools/run-tests --quick

lint: ## format, static analysis, folder dependencies, outside libraries, banned functions, file length, generated docs
	@tools/setup lint
	@tools/lint

fmt: ## format the C code
	@tools/setup lint
	@git ls-files 'src/*.[ch]' 'tests/*.[ch]' 'bench/*.[ch]' | xargs -r clang-format -i

docs: ## docs/options.md and docs/errors.md, from their tables
	@tools/docs

fuzz: ## libFuzzer on every parser; TIME=60 seconds each
	@tools/setup fuzz
	@tools/fuzz $(TIME)

bench: build ## requests/s, latency, bulk, CPU and memory beside nginx, cloudflared, frp, rathole and chisel: bench/results.md
	@tools/setup bench
	@bench/run $(BENCH)

faults: build ## every fault under load, in full: about half an hour; docs/reliability.md gets the table
	@tools/setup test
	@ADIT_BUILD=$(CURDIR)/build $(PYTHON) tests/faults/run --write docs/reliability.md

coverage: ## line coverage of src/ by the unit and integration tests
	@tools/setup test coverage
	@tools/coverage

clean: ## remove everything that was built
	rm -rf build build-*
