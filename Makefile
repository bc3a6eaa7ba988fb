# `make` lists the targets. Everything runs in .venv, which is made on first use from the python3 on the PATH.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test test-cuda bench-cuda property fuzz soak check sass conformance bench zoo models golden clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/test.stamp  ## compile real networks, run them and compare them with ONNX Runtime
	$(PY) examples/demo.py

test: $(VENV)/test.stamp  ## run all tests
	$(PY) -m pytest -n auto --dist loadfile

property: $(VENV)/test.stamp  ## 20,000 random kernels and 5,000 random networks against float64; ARGS and NETWORKS="--seed 1", ...
	$(PY) -m tests.property $(ARGS)
	$(PY) -m tests.property.agree $(NETWORKS)

fuzz: $(VENV)/test.stamp  ## try mutants of models, plans and networks for MINUTES=10; ARGS="onnx --seed 1", ...
	$(PY) -m tests.fuzz --minutes $(or $(MINUTES),10) $(ARGS)

soak: $(VENV)/test.stamp  ## many threads on one session, 200,000 runs of ever new sizes, crashes while files are written
	$(PY) -m tests.running
	$(PY) -m tests.files

sass: $(VENV)/sass.stamp  ## compile every CUDA kernel to machine code: registers, spills, inner loops; ARGS="gemm"
	$(PY) benchmarks/cuda_code.py $(ARGS)

check: $(VENV)/check.stamp  ## lint and type-check
	$(PY) -m ruff check .
	$(PY) -m mypy cnncc tests

bench: $(VENV)/bench.stamp  ## measure against ONNX Runtime, OpenVINO and ncnn; ARGS="--quick", "--batch 1 8 32", ...
	$(PY) benchmarks/networks.py $(ARGS)

# The CUDA packages are installed only where there is a GPU: elsewhere both targets say so and end well.
GPU = $(shell nvidia-smi -L 2>/dev/null | head -1)

test-cuda: $(VENV)/test.stamp $(if $(GPU),$(VENV)/cuda.stamp)  ## test the CUDA target on a GPU, if there is one
	$(PY) -m pytest tests/gpu -rs $(ARGS)

bench-cuda: $(VENV)/test.stamp $(if $(GPU),$(VENV)/cuda.stamp)  ## measure on a GPU against ONNX Runtime and PyTorch
	$(PY) benchmarks/cuda.py $(ARGS)

zoo: $(VENV)/test.stamp  ## run every network of the zoo at full size and compare it with ONNX Runtime
	$(PY) benchmarks/zoo.py

conformance: $(VENV)/test.stamp  ## run onnx's own operator and model tests; ARGS="--json", "-k REGEX", ...
	$(PY) -m tests.conformance $(ARGS)

models: $(VENV)/test.stamp  ## compare the published models in the folder CNNCC_MODELS with ONNX Runtime
	$(PY) benchmarks/models.py $(ARGS)

golden: $(VENV)/test.stamp  ## write the expected whole-pipeline outputs of tests/golden anew
	$(PY) -m pytest tests/golden --update-golden

clean:  ## remove what was built, the virtual environment included
	rm -rf $(VENV) build dist *.egg-info demo-out benchmarks/.cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find cnncc tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; name one with make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "error: $(PYTHON) -m venv failed; on Debian and Ubuntu install python3-venv" >&2; exit 1; }

$(VENV)/%.stamp: pyproject.toml | $(PY)
	$(PY) -m pip install -qq --disable-pip-version-check -e '.[$*]'
	@touch $@
