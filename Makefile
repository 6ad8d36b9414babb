# The two commands: `make voice` and `make test`. Both set up the pinned environment first.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: voice test bench drill lab clean

voice: $(INSTALLED)  ## recordings in data_samples/ -> a speaking voice, its audio and report.html in build/
	$(BIN)/python -m tts_lab.notebook --notebooks notebooks --out build

# Two processes, each a file at a time with one thread: more threads than cores wait for each other.
test: $(INSTALLED)  ## the whole test suite
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

bench: $(INSTALLED)  ## the figures, measured side by side, to build/bench.json
	$(BIN)/python -m benchmarks --out build/bench.json

drill: $(INSTALLED)  ## a run killed 30 times, and what was lost, to build/drill; docs/reliability.md has the last
	$(BIN)/python -m benchmarks.drill

lab: $(INSTALLED)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir .

clean:
	rm -rf build .venv

# uv reads the same lock as pip, with the same hashes, in a third of the time.
$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	@echo "installing the pinned environment: about two minutes, several GB (torch brings CUDA libraries)"
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.8
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes requirements.lock
	rm -rf tts_lab.egg-info  # an older build's would be read before the installed one's
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	touch $@
