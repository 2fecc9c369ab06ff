# Each target sets up what it needs.
#
#   make                 packages, Python environment, Caffe with our layers
#   make demo            the whole pipeline on scikit-learn's digits
#   make lint            checks format, style and types of all code
#   make test            make lint, layer tests, pytest
#   make mutants         breaks the code in named ways, and requires the tests to fail
#   make fuzz            mutated files for each reader, for an hour (FUZZ_SECONDS=110 each)
#   make bundle          an archive that runs elsewhere without root or packages
#   make gpu-bundle      what tests/on_gpu.sh runs on a machine with a GPU (IMAGES=cifar10-jpeg.tar.xz)
#   make docs            the documentation as a site, in build/site
#   make report          the papers' tables and figures with our results
#   make bench           speed, with PyTorch and FAISS in the same run (CIFAR-10)
#   make clean           remove what was built; data and snapshots stay
#
# Settings: CUDA=1 builds the CUDA implementations, too, and the environment uses that build
# from then on (CUDA=0 goes back); ONEDNN=0 builds without oneDNN; CAFFE_SOURCE_DIR=/path/to/caffe
# takes your own checkout of BVLC Caffe; SKIP_PACKAGES=1 installs no Debian packages;
# DATASET=cifar10 chooses the demo's data set.

# Boost.Python is built for the system's own Python, not for another one in PATH.
SYSTEM_PYTHON ?= /usr/bin/python3
OLDEST_PYTHON := $(shell sed -n 's/^requires-python = ">=\(.*\)"/\1/p' pyproject.toml)
PYTHON := .venv/bin/python
# The build that the environment uses stays in use until the other is asked for.
ifeq ($(origin CUDA),undefined)
CUDA := $(if $(findstring build-cuda,$(shell readlink .venv/bin/caffe)),1,0)
endif
ONEDNN ?= 1
SKIP_PACKAGES ?= 0
BUILD := $(if $(filter 1,$(CUDA)),build-cuda,build)
DATASET ?= digits

.PHONY: all demo lint test mutants fuzz bundle gpu-bundle docs report bench clean
.DELETE_ON_ERROR:
# apt-get and pip take one at a time; ninja, ctest and pytest are parallel themselves.
.NOTPARALLEL:
comma := ,

all: .venv/bin/caffe

ifeq ($(SKIP_PACKAGES),1)
packages :=
else
packages := build/packages-installed
endif

build/packages-installed: cmake/packages.txt cmake/install_packages.sh
	@cmake/install_packages.sh cmake/packages.txt
	@mkdir -p $(@D) && touch $@

ifeq ($(SKIP_PACKAGES),1)
build/packages-for-tests:
else
build/packages-for-tests: tests/packages.txt cmake/install_packages.sh
	@if cmake/install_packages.sh tests/packages.txt; then mkdir -p $(@D) && touch $@; \
	else echo "Tests that need these packages will be skipped."; fi
endif

# Changes only when a setting changes; CMake then configures again.
SETTINGS = CAFFE_SOURCE_DIR=$(CAFFE_SOURCE_DIR) ONEDNN=$(ONEDNN)
$(BUILD)/settings: always
	@mkdir -p $(@D)
	@echo "$(SETTINGS)" | cmp -s - $@ || echo "$(SETTINGS)" > $@
.PHONY: always

# The absolute paths in .venv and in a build are those of the tree that they were made in.
.venv/made-in: always
	@old=$$(cat $@ 2>/dev/null || echo "$(CURDIR)"); \
	if [ "$$old" != "$(CURDIR)" ]; then \
	  echo "This tree was at $$old; building again here"; \
	  $(SYSTEM_PYTHON) cmake/relocate.py "$$old" "$(CURDIR)" .venv/bin || exit 1; \
	  rm -f build*/CMakeCache.txt build*/build.ninja; \
	fi
	@mkdir -p $(@D)
	@echo "$(CURDIR)" | cmp -s - $@ || echo "$(CURDIR)" > $@

SITE_PACKAGES = $$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# The repository, seen from there: relative, for a tree that is moved.
FROM_SITE_PACKAGES := ../../../..

# $(call install,.[test]) installs the package with an extra. Most of what it brings is never
# imported, so nothing is compiled in advance.
define install
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile --editable '$(1)' || \
	  { echo "error: the Python packages of pyproject.toml could not be installed; check the network, then run make again" >&2; exit 1; }
	@cd "$(SITE_PACKAGES)" && for file in __editable__.dnnh-*.pth; do echo $(FROM_SITE_PACKAGES)/python > "$$file"; done
endef

.venv/installed: pyproject.toml $(packages) | .venv/made-in
	@$(SYSTEM_PYTHON) -c 'import sys; sys.exit(sys.version_info < ($(subst .,$(comma),$(OLDEST_PYTHON))))' || { echo \
	  "error: $(SYSTEM_PYTHON) is too old or missing ($$($(SYSTEM_PYTHON) --version 2>&1)); this needs Python $(OLDEST_PYTHON) or newer, for which Boost.Python is built: name it with SYSTEM_PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making the Python environment .venv"
	@$(SYSTEM_PYTHON) -m venv .venv || { echo "error: $(SYSTEM_PYTHON) cannot make a virtual environment; install python3-venv" >&2; exit 1; }
	$(call install,.[caffe])
	@touch $@

.venv/installed-tests: .venv/installed
	@echo "Adding what the tests need"
	$(call install,.[test])
	@touch $@

.venv/installed-serve: .venv/installed
	@echo "Adding what the search page needs"
	$(call install,.[serve])
	@touch $@

.venv/installed-bundle: .venv/installed-serve
	$(call install,.[bundle])
	@touch $@

.venv/installed-docs: .venv/installed
	@echo "Adding what the documentation needs"
	$(call install,.[docs])
	@touch $@

ATHERIS := atheris>=3,<4
.venv/installed-fuzz: .venv/installed
	@echo "Adding atheris, which guides fuzzing by coverage"
	@if $(PYTHON) -m pip install --quiet --disable-pip-version-check --only-binary :all: '$(ATHERIS)'; then touch $@; \
	else echo "$(ATHERIS) could not be installed; fuzzing goes on with mutation alone"; fi

$(BUILD)/build.ninja: CMakeLists.txt cmake/Caffe.cmake cmake/Cuda.cmake cmake/Dependencies.cmake cmake/fetch_caffe.sh .venv/installed .venv/made-in $(BUILD)/settings
	@cmake -S . -B $(BUILD) -G Ninja --log-level=NOTICE \
	  -DPython3_EXECUTABLE="$(CURDIR)/$(PYTHON)" \
	  -DDNNH_CUDA=$(if $(filter 1,$(CUDA)),ON,OFF) -DDNNH_ONEDNN=$(if $(filter 0,$(ONEDNN)),OFF,ON) \
	  "-DCAFFE_SOURCE_DIR=$(CAFFE_SOURCE_DIR)"
	@touch $@

# Ninja knows best what is out of date, so it is asked every time.
.PHONY: build-all
build-all: $(BUILD)/build.ninja
	@cmake --build $(BUILD)

# Caffe's programs and `import caffe` in the environment are those of the last build.
.venv/bin/caffe: build-all
	@case "$$(readlink $@)" in */$(BUILD)/*|"") ;; *) \
	  echo "The environment uses $(BUILD)/ now; make CUDA=$(if $(filter 1,$(CUDA)),0,1) uses the other build" ;; esac
	@for program in $(BUILD)/bin/*; do ln -sfn "../../$$program" .venv/bin/; done
	@echo $(FROM_SITE_PACKAGES)/$(BUILD)/python > "$(SITE_PACKAGES)/caffe.pth"

demo: all
	@$(PYTHON) tools/demo.py --dataset $(DATASET)

PYTHON_CODE := python tools tests benchmarks docs cmake
CPP_FILES = $(shell git ls-files 'layers/*.?pp' 'layers/*.cu' 'tests/*.?pp' 'cmake/compat/*.h*')

lint: all .venv/installed-tests
	@.venv/bin/ruff format --no-cache --check --quiet $(PYTHON_CODE)
	@.venv/bin/ruff check --no-cache --quiet $(PYTHON_CODE)
	@$(PYTHON) tests/check_terms.py
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 .venv/bin/pyright
	@.venv/bin/clang-format --dry-run -Werror $(CPP_FILES)
	@printf '%s\n' $(filter-out $(if $(filter 0,$(ONEDNN)),layers/onednn/%),$(filter layers/%.cpp,$(CPP_FILES))) | xargs -P 2 -n 2 .venv/bin/clang-tidy -p $(BUILD) --quiet

# Processes of one thread each. Tests of servers and of Spark wait half of their time.
PARALLEL := $(shell nproc)
PYTEST_PROCESSES := $(shell expr $(PARALLEL) + 1)
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: layer-tests
layer-tests: all
	@cmake --build $(BUILD) --target test_layers gpu_check $(if $(filter build,$(BUILD)),test_kernels)

test: lint layer-tests build/packages-for-tests
	@$(ONE_THREAD) ctest --test-dir $(BUILD) --output-on-failure --progress --parallel $(PARALLEL) \
	  --output-junit "$(CURDIR)/$(BUILD)/ctest.xml"
	@$(ONE_THREAD) $(PYTHON) -m pytest --numprocesses $(PYTEST_PROCESSES) --dist loadfile --no-loadscope-reorder \
	  --junitxml=$(BUILD)/pytest.xml
	@$(PYTHON) tests/skipped.py $(if $(filter 1,$(CUDA)),CUDA,CPU) $(BUILD)/ctest.xml $(BUILD)/pytest.xml

mutants: layer-tests .venv/installed-tests
ifeq ($(BUILD),build)
	@$(PYTHON) tests/mutation_tests.py
else
	@echo "The mutants of tests/mutation_tests.py are for the CPU build; skipped."
endif
	@$(PYTHON) tests/python_mutation_tests.py

# FUZZ="codes index" takes these readers alone.
FUZZ_SECONDS ?= 110
fuzz: all .venv/installed-tests .venv/installed-fuzz
	@$(PYTHON) tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS) $(FUZZ)

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
bundle: all .venv/installed-bundle
	@$(PYTHON) cmake/bundle.py $(BUILD) dnnh-$(VERSION)$(if $(filter 1,$(CUDA)),-cuda13)-linux-x86_64

# Small, so that it can be carried to a machine for a few minutes; for H100 and H200 alone.
gpu-bundle: all .venv/installed-bundle
	@test -f "$(IMAGES)" || { echo "error: IMAGES is '$(IMAGES)'; name CIFAR-10's JPEG files: make gpu-bundle IMAGES=cifar10-jpeg.tar.xz" >&2; exit 1; }
	@test -d data/cifar10_train_images_lmdb || { echo "error: data/cifar10_train_images_lmdb is missing; run python tools/make_triplets.py" >&2; exit 1; }
	@cmake -S . -B build-gpu-check -G Ninja --log-level=NOTICE -DPython3_EXECUTABLE="$(CURDIR)/$(PYTHON)" \
	  -DDNNH_CUDA=ON -DDNNH_ONEDNN=OFF -DDNNH_MINIMAL=ON -DCMAKE_CUDA_ARCHITECTURES=90 \
	  "-DCAFFE_SOURCE_DIR=$(or $(CAFFE_SOURCE_DIR),$(CURDIR)/$(BUILD)/caffe)"
	@cmake --build build-gpu-check --target caffe_tool test_layers gpu_check
	@$(PYTHON) tests/gpu/make_bundle.py build-gpu-check dnnh-gpu-check --images "$(IMAGES)"

# The site needs the environment, but not Caffe.
docs: .venv/installed-docs
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build

report: all
	@$(PYTHON) tools/report.py

bench: all .venv/installed-tests
	@$(PYTHON) benchmarks/steps.py
	@$(PYTHON) benchmarks/encoding.py
	@$(PYTHON) benchmarks/ranking.py
	@$(PYTHON) benchmarks/search.py --size 10000000
	@$(PYTHON) benchmarks/data_layers.py

clean:
	rm -rf build build-cuda build-gpu-check .venv python/*.egg-info
