# Every task of the project. `make` alone lists them. Nothing is installed outside .venv and build/;
# what needs system packages says so and calls scripts/apt.sh.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= $(shell nproc)
PY     := $(VENV)/bin/python

CC        ?= gcc
WARNINGS  := -std=c99 -pedantic -Wall -Wextra -Werror -Wshadow -Wconversion
SANITIZE  := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
INCLUDES  := -Icsrc/include -Icsrc/core
SAN       := build/san
PLAIN     := build/plain

C_FILES   := $(sort $(wildcard csrc/*/*.c))
H_FILES   := $(sort $(wildcard csrc/*/*.h))
# The libraries that tests link with; the board program has a main and its own rules.
LIB_FILES := $(sort $(wildcard csrc/core/*.c csrc/port/*.c csrc/host/*.c))
C_TESTS   := $(sort $(wildcard tests/c/test_*.c))
C_STYLED   = $(C_FILES) $(H_FILES) $(sort $(wildcard tests/c/*.[ch] tests/fuzz/*.[ch] tests/fuzz/include/*/*.h tests/powercut/*.[ch]))
PY_STYLED := otastream tests bench scripts build_ffi.py setup.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:

# More rules may stand beside what they build.
include $(wildcard csrc/board/*.mk tests/board/*.mk tests/fuzz/*.mk tests/powercut/*.mk)

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- environment -------------------------------------------------------------------------------------------------

.PHONY: venv
venv: $(VENV)/.ready ## .venv with everything from PyPI, the package installed editable

$(VENV)/.ready: pyproject.toml setup.py
	@$(PYTHON) scripts/checkpython.py || { scripts/apt.sh base && $(PYTHON) scripts/checkpython.py; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check 'setuptools>=77' 'cffi>=1.17'
	$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[dev]'
	@touch $@

.PHONY: build
build: $(VENV)/.built ## compile the C extension in place

$(VENV)/.built: $(VENV)/.ready build_ffi.py $(C_FILES) $(H_FILES)
	rm -f otastream/_core.*.so
	$(PY) setup.py -q build_ext --inplace
	@touch $@

# ---- tests -------------------------------------------------------------------------------------------------------

.PHONY: test
test: build test-c test-py ## everything: C tests with sanitizers, Python tests with coverage

.PHONY: test-py
test-py: build ## the Python tests; ARGS="-k name" narrows them
	$(PY) -m pytest -n $(JOBS) --durations=10 --cov --cov-report=term $(ARGS)

.PHONY: test-quick
test-quick: build ## the Python tests without the slow ones
	$(PY) -m pytest -n $(JOBS) -m 'not slow' $(ARGS)

# port and host talk to the system; core must not, and is compiled without its names.
$(SAN)/core/%.o: csrc/core/%.c
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) -O1 -g $(SANITIZE) $(INCLUDES) -MMD -MP -c $< -o $@

$(SAN)/port/%.o $(SAN)/host/%.o: LAYER_FLAGS := -D_GNU_SOURCE
$(SAN)/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) $(LAYER_FLAGS) -O1 -g $(SANITIZE) $(INCLUDES) -MMD -MP -c $< -o $@

SAN_LIBS := $(foreach l,host port core,$(if $(wildcard csrc/$(l)/*.c),$(SAN)/lib$(l).a))

define library
$(SAN)/lib$(1).a: $(patsubst csrc/%.c,$(SAN)/%.o,$(wildcard csrc/$(1)/*.c))
	@rm -f $$@
	ar rcs $$@ $$^
endef
$(foreach l,core port host,$(eval $(call library,$(l))))

# A test says in its first line what it links with, `// links: core port host` (core when it says nothing); one that
# uses port or host is compiled with _GNU_SOURCE as they are.
links = $(or $(shell sed -n '1s,^// links: *,,p' $(1)),core)
$(SAN)/tests/%: tests/c/%.c $(SAN_LIBS)
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) $(if $(filter port host,$(call links,$<)),-D_GNU_SOURCE) -O1 -g $(SANITIZE) $(INCLUDES) -Icsrc \
		-Itests/c -MMD -MP $< \
		$(foreach l,host port core,$(if $(filter $(l),$(call links,$<)),$(SAN)/lib$(l).a)) -lm -o $@

C_TEST_BINS := $(patsubst tests/c/%.c,$(SAN)/tests/%,$(C_TESTS))

.PHONY: test-c
test-c: ## the C tests, built with ASan and UBSan
	@$(MAKE) --no-print-directory -j$(JOBS) c-test-bins
	@failed=0; for t in $(C_TEST_BINS); do \
		if $$t; then echo "ok     $${t##*/}"; else echo "FAILED $${t##*/}"; failed=1; fi; \
	done; echo "C tests: $(words $(C_TEST_BINS)) programs"; exit $$failed

.PHONY: c-test-bins
c-test-bins: $(C_TEST_BINS)

# ---- checks ------------------------------------------------------------------------------------------------------

.PHONY: lint
lint: build ## ruff, mypy, layers, C warnings and C style
	$(VENV)/bin/ruff check $(PY_STYLED)
	$(VENV)/bin/ruff format --check $(PY_STYLED)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/clang-format --dry-run -Werror $(C_STYLED)
	@$(MAKE) --no-print-directory -j$(JOBS) c-warnings

$(PLAIN)/port/%.o $(PLAIN)/host/%.o: LAYER_FLAGS := -D_GNU_SOURCE
$(PLAIN)/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) -Wvla -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes $(LAYER_FLAGS) -O2 $(INCLUDES) \
		-MMD -MP -c $< -o $@

.PHONY: c-warnings
c-warnings: $(patsubst csrc/%.c,$(PLAIN)/%.o,$(LIB_FILES))

.PHONY: format
format: $(VENV)/.ready ## rewrite Python and C in the project's style
	$(VENV)/bin/ruff check --fix $(PY_STYLED) || true
	$(VENV)/bin/ruff format $(PY_STYLED)
	$(VENV)/bin/clang-format -i $(C_STYLED)

.PHONY: docs
docs: build ## write the generated pages and pictures (docs/errors.md, docs/man, docs/images)
	$(PY) -m scripts.errordocs docs/errors.md
	$(PY) -m scripts.manpages --python docs/man
	cd tests && PYTHONPATH=.. ../$(PY) -m display_shots ../docs/images

.PHONY: man
man: build ## manual pages of all programs in build/man, from their help
	$(PYTHON) scripts/boardbuild.py amd64 >/dev/null
	mkdir -p build/man
	$(PY) -m scripts.manpages build/man
	@echo "man build/man/otastream.1 (otapack.1 otaunpack.1 otaunpack.8 otadisplay.8)"

# ---- numbers -----------------------------------------------------------------------------------------------------

.PHONY: corpus
corpus: $(VENV)/.ready ## fetch the folder pairs into .cache/corpus; scripts.corpus all for the files, too
	$(PY) -m scripts.corpus folders

.PHONY: demo
demo: build ## a real ARM pair: pack, inspect, apply, compare, sizes against the peers found here
	$(PY) -m scripts.demo

.PHONY: bench
bench: build ## micro benchmarks, then the table of large folder diffs against every peer
	$(PY) -m pytest bench --benchmark-enable --benchmark-only -p no:xdist
	$(PY) -m bench.folder --markdown docs/benchmarks.md --json build/benchmarks.json

.PHONY: bench-quick
bench-quick: build bench-tools ## within five minutes: one small folder, three small files, against every peer
	$(PY) -m bench.folder --pair numpy --rows otastream
	$(PY) -m bench.pairs --quick

.PHONY: bench-full
bench-full: build bench-tools ## everything: folders and files against every peer, docs/benchmarks*.md and the plot
	$(MAKE) bench
	$(PY) -m bench.pairs --markdown docs/benchmarks-files.md --plot docs/frontier --json build/pairs.json

.PHONY: bench-views
bench-views: build bench-tools ## compressed images and files against every peer, docs/benchmarks-views.md
	$(PYTHON) scripts/boardbuild.py --encoders gzip,xz,zstd,lz4,lzo amd64
	$(PY) -m bench.views --markdown docs/benchmarks-views.md

.PHONY: bench-bound
bench-bound: build ## every pair of the corpus with views and without: fails if one is more than 64 bytes larger
	$(PY) -m bench.bound

# What the tables of files need beside the project itself: the board program for this machine, peers, matplotlib.
.PHONY: bench-tools
bench-tools: $(VENV)/.bench
	$(PYTHON) scripts/boardbuild.py amd64
	@command -v valgrind >/dev/null || scripts/apt.sh peers
	@scripts/hdiffz.sh

$(VENV)/.bench: $(VENV)/.ready
	$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[peers]'
	@touch $@

# ---- release -----------------------------------------------------------------------------------------------------

.PHONY: dist
dist: $(VENV)/.ready ## wheel and source distribution in dist/
	$(PY) -m build --outdir dist .

.PHONY: clean
clean: ## remove what was built; keeps .cache and .venv
	rm -rf build dist *.egg-info otastream/_core.*.so otastream/_core.c $(VENV)/.built .coverage*

-include $(shell find build -type f -name '*.d' 2>/dev/null)
