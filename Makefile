# The commands of the project. `make run` and `make test` need nothing before them.
PORT ?= 8080
WAIT ?= 20
PY := .venv/bin/python
WORLD := prologue/worlds/emerald_city
BOOK := build/worlds/emerald_city/book
READY := .venv/.ready $(BOOK)/.built

.PHONY: help setup run chat test lint clean

help:  ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

.venv/.ready: requirements.txt constraints.txt scripts/setup
	@scripts/setup

$(BOOK)/.built: .venv/.ready $(wildcard prologue/*.py prologue/*.txt $(WORLD)/*)
	@echo "Building the answer book"
	@$(PY) -m prologue build --answers $(WORLD)/answers.yaml --out $(BOOK)
	@touch $@

setup: $(READY)  ## Make .venv with everything in it, and build the answer book

run: $(READY)  ## Play on http://localhost:8080 (PORT=…, WAIT=seconds the storyteller takes to wake)
	@$(PY) -m local --port $(PORT) --wait $(WAIT)

chat: .venv/.ready  ## Play in this terminal (URL=… for another house than the local one)
	@$(PY) -m client.terminal $(URL)

lint: .venv/.ready  ## Check style and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy .

test: lint $(READY)  ## Check style and types, and run every test
	@$(PY) -m pytest

clean:  ## Remove .venv and everything built
	rm -rf .venv build cdk.out
