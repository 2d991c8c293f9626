# The two commands of the README, and those of daily work. Each installs what it needs on first use.
#
#   make demo     a robustness report on generated images, in demo/report.html
#   make test     lint, types, and the whole test suite
#   make bench    the benchmarks, as a table of ratios to peers
#   make clean    forget the virtual environment and the build
#
# TORCH names the torch to install; set it before the first use (or after `make clean`) to take another one:
#   make test TORCH=torch==2.14.1

PYTHON ?= python3
TORCH ?= torch==2.13.0
CMAKE_ARGS ?= -DMEDADV_WERROR=ON

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NATIVE := $(shell find csrc -type f) CMakeLists.txt setup.py

.PHONY: demo test lint bench clean

demo: .venv/lab
	$(BIN)/medadv demo

test: lint
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/test
	$(BIN)/python -m benchmarks.compare

clean:
	rm -rf .venv build medadv/lib medadv/*.so

# One torch for good: everything after it finds its requirement met.
.venv/torch:
	@$(PYTHON) -c "import ensurepip, sys; sys.exit(sys.version_info < (3, 10))" 2>/dev/null || \
	  { echo "medadv needs Python 3.10 or later with venv (on Debian: apt install python3-venv)"; exit 2; }
	@command -v c++ >/dev/null || { echo "medadv needs a C++ compiler (on Debian: apt install g++)"; exit 2; }
	@echo "Setting up .venv with $(TORCH); once, a few minutes"
	@$(PYTHON) -m venv .venv
	@$(PIP) install "$(TORCH)" "setuptools>=77" cmake ninja "pybind11>=3" numpy
	@touch $@

.venv/lab .venv/test: .venv/%: .venv/torch pyproject.toml $(NATIVE)
	@echo "Building the operators and installing medadv[$*]"
	@CMAKE_ARGS="$(CMAKE_ARGS)" $(PIP) install --no-build-isolation --editable ".[$*]"
	@touch $@
