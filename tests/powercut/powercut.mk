# The power-cut machines: once with sanitizers for the tests, once fast for the long run.

POWERCUT         := build/powercut
POWERCUT_SEEDS   ?= 8
POWERCUT_FLAGS   := -D_GNU_SOURCE $(INCLUDES) -Icsrc -Itests/c -Itests/powercut
POWERCUT_SOURCES := $(wildcard tests/powercut/*.[ch] tests/c/*_model.[ch] tests/c/port_folder.h)
# What recompresses the parts of images is the board program's own, with its zlib (scripts/boardbuild.py fetches that).
POWERCUT_CODERS  := csrc/board/coder.c csrc/board/coder_block.c csrc/board/coder_jffs2.c csrc/board/memory.c
POWERCUT_LIBS    := -isystem build/board/san/include .cache/cross/amd64/usr/lib/x86_64-linux-gnu/libz.a
POWERCUT_WRAP    := -Wl,--wrap=ota_exec_source_is
POWERCUT_OBJECTS := $(patsubst csrc/%.c,$(PLAIN)/%.o,$(wildcard csrc/core/*.c csrc/port/*.c))

.PHONY: powercut
powercut: build $(POWERCUT)/folder $(POWERCUT)/flash ## cut the power at every operation of every case, POWERCUT_SEEDS times
	cd tests && PYTHONPATH=.. ../$(PY) -m powercut.run --thorough --seeds $(POWERCUT_SEEDS) ../$(POWERCUT)

.PHONY: powercut-san
powercut-san: $(SAN)/powercut/folder $(SAN)/powercut/flash

$(SAN)/powercut/folder: $(POWERCUT_SOURCES) $(POWERCUT_CODERS) $(SAN)/libport.a $(SAN)/libcore.a
	@mkdir -p $(@D)
	$(PYTHON) scripts/boardbuild.py --libraries
	$(CC) $(WARNINGS) -O1 -g $(SANITIZE) $(POWERCUT_FLAGS) $(POWERCUT_WRAP) tests/powercut/folder.c tests/powercut/disk.c \
		$(POWERCUT_CODERS) $(SAN)/libport.a $(SAN)/libcore.a $(POWERCUT_LIBS) -o $@

$(SAN)/powercut/flash: $(POWERCUT_SOURCES) $(POWERCUT_CODERS) $(SAN)/libcore.a
	@mkdir -p $(@D)
	$(PYTHON) scripts/boardbuild.py --libraries
	$(CC) $(WARNINGS) -O1 -g $(SANITIZE) $(POWERCUT_FLAGS) tests/powercut/flash.c $(POWERCUT_CODERS) $(SAN)/libcore.a \
		$(POWERCUT_LIBS) -o $@

$(POWERCUT)/folder $(POWERCUT)/flash: $(POWERCUT)/%: $(POWERCUT_SOURCES) $(POWERCUT_CODERS) $(POWERCUT_OBJECTS)
	@mkdir -p $(@D)
	$(PYTHON) scripts/boardbuild.py --libraries
	$(CC) $(WARNINGS) -Wno-format-truncation -O2 $(POWERCUT_FLAGS) $(if $(filter folder,$*),$(POWERCUT_WRAP) tests/powercut/disk.c) \
		tests/powercut/$*.c $(POWERCUT_CODERS) $(POWERCUT_OBJECTS) $(POWERCUT_LIBS) -o $@

KILL_SEEDS ?= 1200

.PHONY: kills
kills: build ## kill updates of a folder and in place, KILL_SEEDS boards, each at up to three counted system calls
	OTASTREAM_KILL_SEEDS=$(KILL_SEEDS) $(PY) -m pytest tests/test_e2e_kill.py -n $(JOBS) -rP $(ARGS)

KILLS ?= 300

.PHONY: kills-kernel
kills-kernel: build ## kill updates in place of a real ARM kernel, KILLS times for each program
	$(PY) -m scripts.corpus kernel-armhf
	@cd tests && for p in otaunpack otastream; do PYTHONPATH=.. ../$(PY) kill_image.py ../.cache/corpus/kernel-armhf/old \
		../.cache/corpus/kernel-armhf/new ../build/kills-kernel $(KILLS) $$p || exit 1; done

FAULT_STEP ?= 1

.PHONY: faults
faults: build ## fail every FAULT_STEP-th system call of updates, in nine ways (otastream: every 20th of those)
	OTASTREAM_FAULT_STEP=$(FAULT_STEP) $(PY) -m pytest tests/test_faults.py -n $(JOBS) -rP $(ARGS)
