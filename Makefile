# What is needed (virtual environment, wheels, messages) is made on the way and kept; a target
# whose inputs did not change costs nothing.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The Python to build with; empty: the first of 3.10 to 3.14 that is found.
PYTHON ?=
# The ROS 2 whose wheels are installed: jazzy or kilted.
ROS ?= jazzy
# The versions to install; constraints-oldest.txt has the lowest that pyproject.toml allows.
CONSTRAINTS ?= constraints-$(ROS).txt
# Another package index for PyTorch, such as https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

# Of `make fuzz`: cases of a test of average cost, and where their choice begins.
CASES := 1000
SEED := $(shell date +%s)

VENV := .venv
# Old pips warn of packages without a wheel unless they build these as new ones do.
export PIP_USE_PEP517 := 1
IN_ENV := . ./env.sh &&

# Another choice has another name, so it is installed, and wheels of the former ROS 2 go.
INSTALLED := $(VENV)/.installed-$(ROS)-$(notdir $(CONSTRAINTS))
BUILT := install/.built
# New or removed files change their directory; edited ones are symlinked.
SOURCE_DIRS := $(shell find sipmask_core sipmask_ros launch config include -type d -not -name __pycache__)

PIN := build/uv/bin/uv pip compile -q --upgrade --python-version 3.10 --no-annotate \
    --custom-compile-command 'make constraints' pyproject.toml --extra dev

.PHONY: help
help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: env
env: $(BUILT) ## build the environment: .venv, ROS 2 wheels, messages

.PHONY: demo
demo: $(BUILT) ## camera and node as two processes for half a minute, then numbers and a video
	@$(IN_ENV) python -m sipmask_ros.trials.demo

.PHONY: test
test: lint ## lint, then every test on real ROS 2
	@$(IN_ENV) python -m pytest

.PHONY: quick
quick: lint ## lint, and the tests that need neither ROS nor minutes
	@$(IN_ENV) python -m pytest tests/core -m "not slow and not parity" -q

.PHONY: fuzz
fuzz: $(BUILT) ## 10,000 and more wrong inputs, other ones each time; CASES= of each test, SEED= again
	@echo "The seed is $(SEED)."
	@$(IN_ENV) SIPMASK_FUZZ_CASES=$(CASES) python -m pytest tests/fuzz --hypothesis-seed=$(SEED)

.PHONY: lint
lint: $(BUILT) ## ruff, mypy, and who may import whom
	@$(IN_ENV) ruff check . && ruff format --check . && mypy && lint-imports --no-logo --no-cache

.PHONY: bench
bench: $(BUILT) ## time models and node on this machine, stage by stage: JSON and charts in bench
	@$(IN_ENV) sipmask benchmark --json bench/models.json --plot bench/models.png
	@$(IN_ENV) python -m sipmask_ros.trials.benchmark --compare-transport --json bench/node.json \
	    --plot bench/node.png

.PHONY: gpu
gpu: $(BUILT) ## tests, times and profile on a CUDA GPU, all of it in the folder gpu
	@$(IN_ENV) python -m sipmask_core.benchmark.gpu_trial gpu

.PHONY: soak
soak: $(BUILT) ## 100,000 frames of three cameras through the node: what grows, drawn in soak
	@$(IN_ENV) python -m sipmask_ros.trials.soak --json soak/soak.json --plot soak/soak.png

.PHONY: parameters
parameters: $(BUILT) ## write config/*.yaml and the tables of docs/node.md from the tables in code
	@$(IN_ENV) python -m sipmask_ros.parameter_docs

.PHONY: docs
docs: $(BUILT) ## the documentation as a site, in build/site
	@$(IN_ENV) mkdocs build --strict --quiet --site-dir build/site

.PHONY: constraints
constraints: | $(VENV)/bin/python ## pin anew: the newest versions, and the oldest that are allowed
	@$(VENV)/bin/pip install -q --upgrade --target build/uv uv
	@$(foreach ros,jazzy kilted,$(PIN) --universal --extra ros-$(ros) -o constraints-$(ros).txt &&) \
	    $(PIN) --resolution lowest-direct --extra ros-jazzy -o constraints-oldest.txt
	@sed -i "s/\( ;\| and\) \(python_full_version < '3.15' and \)\?platform_machine.*//" constraints-*.txt

.PHONY: dist
dist: $(INSTALLED) ## sdist, and the wheel made of it, in dist
	@rm -rf dist
	@$(VENV)/bin/python -m build > build/dist.log 2>&1 || { cat build/dist.log; exit 1; }

.PHONY: smoke
smoke: dist ## install what is in dist in an empty environment, and segment a photograph
	@TORCH_INDEX=$(TORCH_INDEX) .ci/smoke $(VENV)/bin/python

.PHONY: vectors
vectors: $(INSTALLED) ## write the messages of tests/vectors anew, after a change of msg
	@$(VENV)/bin/python tests/vectors/make.py

.PHONY: clean
clean: ## remove what was built, and the environment
	@rm -rf $(VENV) build install log dist

$(VENV)/bin/python:
	@python=$$(.ci/find-python $(PYTHON)) && $$python -m venv $(VENV)

$(INSTALLED): pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	@echo "Installing PyTorch and ROS 2 ($(ROS)) into $(VENV): several GB, which takes minutes ..."
	@other=$$($(VENV)/bin/pip freeze 2> /dev/null | grep '^ros-' | grep -vxFf $(CONSTRAINTS)) || exit 0; \
	    $(VENV)/bin/pip uninstall -q -y $$other && rm -rf build install $(VENV)/.installed*
	@$(if $(TORCH_INDEX),$(VENV)/bin/pip install -q -c $(CONSTRAINTS) --no-deps --index-url $(TORCH_INDEX) torch torchvision)
	@$(VENV)/bin/pip install -q -c $(CONSTRAINTS) -e '.[dev,ros-$(ROS)]'
	@rm -f $(VENV)/.installed*
	@touch $@

$(BUILT): $(INSTALLED) CMakeLists.txt package.xml $(wildcard msg/* srv/* cmake/*) $(SOURCE_DIRS)
	@echo "Building the messages ..."
	@mkdir -p build
	@$(IN_ENV) colcon --log-level error build --symlink-install --base-paths . \
	    --cmake-args -GNinja -DBUILD_TESTING=OFF \
	        -DPython3_EXECUTABLE=$(CURDIR)/$(VENV)/bin/python \
	        -DCMAKE_PROJECT_INCLUDE=$(CURDIR)/cmake/ros_wheels.cmake \
	    > build/colcon.log 2>&1 || { cat build/colcon.log; exit 1; }
	@touch $@
