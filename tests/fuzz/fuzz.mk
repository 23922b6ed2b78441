# Fuzz targets: with libFuzzer to find something, with gcc to replay what is known.

FUZZ           := build/fuzz
FUZZ_CC        ?= clang
FUZZ_SECONDS   ?= 30
FUZZERS        := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_TARGETS   ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZERS))
FUZZ_FLAGS     := -std=c99 -D_GNU_SOURCE -O1 -g -fno-sanitize-recover=all $(INCLUDES) -Icsrc -Itests/c -Itests/fuzz/include
FUZZ_SOURCES   := $(wildcard tests/fuzz/*.[ch] tests/fuzz/include/*/*.h tests/c/*_model.[ch] csrc/board/*.[ch] csrc/display/*.[ch])
# The board program's libraries, as scripts/boardbuild.py fetches them for this machine.
FUZZ_SYSROOT   := .cache/cross/amd64/usr/lib/x86_64-linux-gnu
FUZZ_LIBS_codec := -isystem build/board/san/include $(FUZZ_SYSROOT)/libz.a $(FUZZ_SYSROOT)/libzstd.a \
	$(FUZZ_SYSROOT)/liblzma.a
FUZZ_LIBS_gnuzip := -isystem build/board/san/include $(FUZZ_SYSROOT)/libz.a
FUZZ_LIBS_keys := -isystem build/board/san/include $(FUZZ_SYSROOT)/libsodium.a
FUZZ_LIBS_lz4  := -DOTA_BOARD_LZ4 -isystem build/board/san/include -Icsrc/board $(FUZZ_SYSROOT)/liblz4.a
FUZZ_LIBS_picture := -isystem build/board/san/include $(FUZZ_SYSROOT)/libjpeg.a $(FUZZ_SYSROOT)/libpng16.a $(FUZZ_SYSROOT)/libz.a

.PHONY: fuzz
fuzz: $(FUZZ_TARGETS:%=$(FUZZ)/%) $(FUZZ)/seeds/.made ## each libFuzzer target for FUZZ_SECONDS seconds; findings stay in build/fuzz
	@for n in $(FUZZ_TARGETS); do mkdir -p $(FUZZ)/corpus/$$n tests/fuzz/corpus/$$n; \
		echo "== $$n, $(FUZZ_SECONDS) s"; \
		$(FUZZ)/$$n -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1 \
			-artifact_prefix=$(FUZZ)/$$n- $(FUZZ)/corpus/$$n tests/fuzz/corpus/$$n $(FUZZ)/seeds/$$n || exit 1; done

$(FUZZ)/seeds/.made: $(VENV)/.built tests/fuzz/seeds.py $(wildcard tests/golden/*/*.ota)
	rm -rf $(@D)
	cd tests && PYTHONPATH=.. ../$(PY) -m fuzz.seeds ../$(@D)
	@touch $@

$(FUZZ_TARGETS:%=$(FUZZ)/%): $(FUZZ)/%: tests/fuzz/fuzz_%.c $(FUZZ_SOURCES) $(wildcard csrc/core/*.[ch])
	@command -v $(FUZZ_CC) >/dev/null || scripts/apt.sh fuzz
	@mkdir -p $(@D)
	$(if $(FUZZ_LIBS_$*),$(PYTHON) scripts/boardbuild.py --libraries)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined $< csrc/core/*.c $(FUZZ_LIBS_$*) -lm -o $@

# What the inputs that are known - seeds, what was found here and what is kept - reach of the files that a target is for.
FUZZ_OF_records  := core/wire.c core/cbor.c
FUZZ_OF_exec     := core/exec.c core/exec_expect.c core/exec_node.c core/exec_payload.c core/exec_tree.c core/exec_in_place.c \
	core/in_place.c core/in_place_head.c core/in_place_old.c core/in_place_move.c core/exec_env.c core/flash.c
FUZZ_OF_frames   := board/frames.c
FUZZ_OF_codec    := board/codec.c
FUZZ_OF_bspatch  := core/bspatch.c
FUZZ_OF_xref     := core/xref.c core/xref_map.c core/xref_model.c core/xref_insn.c core/xref_form.c core/xref_predict.c \
	core/xref_code.c core/xref_step.c
FUZZ_OF_view     := core/view.c core/view_old.c core/view_new.c
FUZZ_OF_display  := display/lines.c display/scene.c
FUZZ_OF_picture  := display/picture.c
FUZZ_OF_gnuzip   := core/gnuzip.c core/gnuzip_block.c core/gnuzip_tree.c
FUZZ_OF_lz4      := board/coder_lz4.c
FUZZ_OF_slots    := core/env.c core/env_config.c core/env_write.c core/slots.c
FUZZ_OF_keys     := board/keys.c

.PHONY: fuzz-coverage
fuzz-coverage: $(FUZZ_TARGETS:%=$(FUZZ)/cover/%) $(FUZZ)/seeds/.made ## lines that all known inputs of each fuzz target reach, of the files it is for
	@printf '%-9s %7s  %-24s %6s %6s %5s\n' target inputs file lines missed %; for n in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZ)/corpus/$$n tests/fuzz/corpus/$$n; export LLVM_PROFILE_FILE=$(FUZZ)/cover/$$n.profraw; \
		count=$$($(FUZZ)/cover/$$n $(FUZZ)/corpus/$$n tests/fuzz/corpus/$$n $(FUZZ)/seeds/$$n) || exit 1; \
		llvm-profdata merge -o $(FUZZ)/cover/$$n.profdata $(FUZZ)/cover/$$n.profraw || exit 1; \
		$(MAKE) --no-print-directory -s fuzz-covered TARGET=$$n COUNT="$${count% inputs}" || exit 1; done

.PHONY: fuzz-covered
fuzz-covered:
	@llvm-cov export -summary-only -instr-profile=$(FUZZ)/cover/$(TARGET).profdata $(FUZZ)/cover/$(TARGET) | \
		$(PYTHON) -m tests.fuzz.covered $(TARGET) $(COUNT) $(addprefix csrc/,$(FUZZ_OF_$(TARGET)))

$(FUZZ_TARGETS:%=$(FUZZ)/cover/%): $(FUZZ)/cover/%: tests/fuzz/fuzz_%.c $(FUZZ_SOURCES) $(wildcard csrc/core/*.[ch])
	@command -v $(FUZZ_CC) llvm-cov >/dev/null || scripts/apt.sh fuzz
	@mkdir -p $(@D)
	$(if $(FUZZ_LIBS_$*),$(PYTHON) scripts/boardbuild.py --libraries)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fprofile-instr-generate -fcoverage-mapping $< tests/fuzz/replay.c csrc/core/*.c $(FUZZ_LIBS_$*) -lm -o $@

# The same targets with a main that replays files.
.PHONY: fuzz-replay
fuzz-replay: $(patsubst tests/fuzz/fuzz_%.c,$(SAN)/fuzz/%,$(FUZZERS))

$(SAN)/fuzz/%: tests/fuzz/fuzz_%.c $(FUZZ_SOURCES) $(SAN)/libcore.a
	@mkdir -p $(@D)
	$(if $(FUZZ_LIBS_$*),$(PYTHON) scripts/boardbuild.py --libraries)
	$(CC) $(WARNINGS) $(FUZZ_FLAGS) -fsanitize=address,undefined $< tests/fuzz/replay.c $(SAN)/libcore.a $(FUZZ_LIBS_$*) -lm -o $@
