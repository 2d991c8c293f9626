# The two commands of the README, and those of daily work. Each installs what it needs on first use.
#
#   make demo         a robustness report on generated images, in demo/report.html
#   make test         lint, types, and the whole test suite
#   make bench        the benchmarks, as a table of ratios to plain PyTorch and SciPy
#   make bench-peers  the same with every library of benchmarks/requirements-peers.txt
#   make bench-attacks  the attacks beside those of benchmarks/requirements-attacks.txt: speed, parity, budget curves
#   make clean        forget the virtual environments and the build
#
# COMPARE holds arguments for the benchmarks: make bench-peers COMPARE="--threads 1 2 --name all"
#
# TORCH names the torch to install; set it before the first use (or after `make clean`) to take another one:
#   make test TORCH=torch==2.14.1

PYTHON ?= python3
TORCH ?= torch==2.13.0
CMAKE_ARGS ?= -DMEDADV_WERROR=ON
# GPUs that the CUDA kernels are compiled for here: the oldest, and a server's. CMakeLists.txt has all of them; those for
# the newest take minutes.
CUDAARCHS ?= 75-real;90-real
export CUDAARCHS

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NATIVE := $(shell find csrc -type f) CMakeLists.txt setup.py

.PHONY: demo test lint bench bench-peers bench-attacks clean

demo: .venv/lab
	$(BIN)/medadv demo

# Threads that spin while they wait slow everything on a machine that has other work.
test: export OMP_WAIT_POLICY = PASSIVE
test: lint
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/test
	$(BIN)/python -m benchmarks.compare $(COMPARE)

bench-peers: .venv-peers/ready
	.venv-peers/bin/python -m benchmarks.compare $(COMPARE)

bench-attacks: .venv-attacks/ready
	.venv-attacks/bin/python -m benchmarks.compare_attacks --keep-memory --only "digits and 32" --name attacks-cpu-1-thread
	.venv-attacks/bin/python -m benchmarks.compare_attacks --keep-memory --only "digits and 64" --name attacks-64-cpu-1-thread
	.venv-attacks/bin/python -m benchmarks.attack_times
	.venv-attacks/bin/python -m benchmarks.parity --save
	.venv-attacks/bin/python -m benchmarks.query_curves --save
	.venv-attacks/bin/python -m benchmarks.other_seeds --images 500 --save
	.venv-attacks/bin/python -m benchmarks.budget_curves --name budget-curves
	.venv-attacks/bin/python -m benchmarks.packing --name packing
	.venv-attacks/bin/python -m benchmarks.evaluation_curves --name evaluation-curves

clean:
	rm -rf .venv .venv-peers .venv-attacks build medadv/lib medadv/*.so

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

# An environment of its own, because the libraries bring some twenty packages; it sees the other one, and its torch.
.venv-peers/ready: .venv/test benchmarks/requirements-peers.txt
	@echo "Installing the libraries to compare with in .venv-peers"
	@$(PYTHON) -m venv .venv-peers
	@$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
	  "$$(.venv-peers/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/venv.pth"
	@.venv-peers/bin/python -m pip --disable-pip-version-check --quiet install "$(TORCH)" \
	  -r benchmarks/requirements-peers.txt
	@touch $@

# The same for libraries of attacks. No dependencies: some ask for torchvision, or for versions of their own.
.venv-attacks/ready: .venv/test benchmarks/requirements-attacks.txt
	@echo "Installing the attacks to compare with in .venv-attacks"
	@$(PYTHON) -m venv .venv-attacks
	@$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
	  "$$(.venv-attacks/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/venv.pth"
	@.venv-attacks/bin/python -m pip --disable-pip-version-check --quiet install --no-deps \
	  -r benchmarks/requirements-attacks.txt
	@touch $@
