# The commands of the project. `make run` and `make test` need nothing before them.
PORT ?= 8080
# One more than there are cores, as some tests wait for a clock.
WORKERS = $(shell $(PY) -c 'import os; print((os.cpu_count() or 1) + 1)')
WAIT ?= 20
PY := .venv/bin/python
WORLD := prologue/worlds/emerald_city
INDEX := build/worlds/emerald_city/answers
KERNEL := build/kernel
STORYTELLER := build/models/storyteller
READY := .venv/.play $(KERNEL)/.built $(INDEX)/.built $(STORYTELLER)/bundle.json

.PHONY: help ready setup run chat test lint arm64 clean synth wheels image deploy smoke destroy bootstrap lock docs dashboard graviton

help:  ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

# To play, and to do all else.
.venv/.play: pyproject.toml constraints.txt scripts/setup
	@scripts/setup play

.venv/.ready: pyproject.toml constraints.txt scripts/setup
	@scripts/setup all

$(INDEX)/.built: .venv/.play $(wildcard prologue/answers/*.py prologue/answers/index_build/*.* prologue/knowledge/*.py $(WORLD)/*)
	@echo "Building the answer index"
	@nice $(PY) -m prologue build --quiet --answers $(WORLD)/answers.yaml --out $(INDEX)
	@touch $@

# Where there is no compiler it says so, and the engine multiplies with what torch has.
$(KERNEL)/.built: .venv/.play $(wildcard lambda/storyteller/engine/native/*)
	@$(PY) -m model_build kernel --optional
	@mkdir -p $(KERNEL) && touch $@

# The default storyteller: the Llama that a package carries, with our adapter.
$(STORYTELLER)/bundle.json: models/storyteller/adapter_model.safetensors $(WORLD)/storyteller.md $(WORLD)/world.yaml \
		$(wildcard model_build/packing/*.py model_build/packing/calibration/*.txt) | .venv/.play $(KERNEL)/.built
	@$(PY) -m model_build pack smollm2 --bits 8 --adapter models/storyteller --out $(STORYTELLER) --world $(WORLD)

# The answer index is made beside the storyteller, to which it gives way (`nice`): that one has a progress bar.
ready: $(READY)
GET_READY := @$(MAKE) --no-print-directory --jobs=2 ready

setup: .venv/.ready  ## Make .venv with everything in it, and build the kernel, the answer index and the storyteller
	$(GET_READY)

run: .venv/.play  ## Play on http://localhost:8080 (PORT=…, WAIT=seconds the storyteller takes to wake)
	$(GET_READY)
	@$(PY) -m local --port $(PORT) --wait $(WAIT)

chat: .venv/.play  ## Play in this terminal (URL=… for another deployment than the local one)
	@$(PY) -m client.terminal $(or $(URL),$(OVERTURE_URL),http://localhost:$(PORT))

.venv/.dashboard: pyproject.toml constraints.txt | .venv/.ready
	@$(PY) -m pip install --quiet --group planner -c constraints.txt
	@touch $@

dashboard: .venv/.dashboard  ## Plan money, energy, carbon and waiting on a page (PORT=8501)
	@PYTHONPATH=.:lambda $(PY) -m streamlit run planner/dashboard.py --browser.gatherUsageStats false \
		--client.toolbarMode viewer --server.headless true --server.port $(if $(filter 8080,$(PORT)),8501,$(PORT))

lint: .venv/.ready  ## Check style and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy .

test: lint  ## Check style and types, and run every test
	$(GET_READY)
	@OMP_NUM_THREADS=1 $(PY) -m pytest tests/unit --numprocesses=$(WORKERS) --dist=loadfile
	@$(PY) -m pytest tests --ignore=tests/unit

arm64: .venv/.ready $(KERNEL)/.built  ## Test the engine on the real arm64 kernels, emulated (Linux, root)
	@scripts/arm64

graviton: .venv/.ready  ## Test and measure the engine on an arm64 Linux machine, and write one report to send
	$(GET_READY)
	@$(PY) -m bench.graviton

# --- AWS (settings: SET="memory=3008 concurrency=0", docs/settings.md)
CONTEXT := $(foreach one,$(SET),-c $(one))

wheels: .venv/.ready  ## Stage Front's arm64 wheels (the one step of synth that needs a network)
	@$(PY) -m infra.deploy.package

synth: .venv/.ready  ## Synthesize the stack to cdk.out, once make wheels has staged Front (SET="name=value …")
	@$(PY) -m infra.app $(CONTEXT)

image: .venv/.ready $(if $(MODEL),,$(STORYTELLER)/bundle.json)  ## Build the storyteller's image here, emulated, without Docker (MODEL=folder)
	@scripts/image $(or $(MODEL),$(STORYTELLER))

bootstrap: .venv/.ready  ## Prepare an AWS account and region for the CDK, once
	@$(PY) -m infra.deploy --bootstrap $(CONTEXT)

deploy: .venv/.ready wheels  ## Check, show what it costs, deploy (SET="name=value …", YES=--yes)
	@$(PY) -m infra.deploy $(CONTEXT) $(YES)

destroy: .venv/.ready  ## Delete everything on AWS (SET, YES as for deploy)
	@$(PY) -m infra.deploy --destroy $(CONTEXT) $(YES)

smoke: .venv/.ready  ## Play a deployed stack once and report figures (URL=page, FUNCTION=name: the kill switch too)
	@$(PY) -m bench.smoke $(URL) $(if $(FUNCTION),--function $(FUNCTION)) \
		$(patsubst region=%,--region %,$(filter region=%,$(SET)))

# Not after .venv/.ready: that would install new pins under the old constraints.
lock:  ## Pin every package again: constraints.txt, and the arm64 wheels of both functions
	@test -x .venv/bin/uv || scripts/setup all
	@scripts/lock

docs: .venv/.ready  ## Rewrite the generated tables in docs/
	@$(PY) -m infra.deploy.documents
	@$(PY) -m bench.costs --write
	@$(PY) -m planner.documents

clean:  ## Remove .venv and everything built
	rm -rf .venv build cdk.out
