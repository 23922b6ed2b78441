# Tests on an emulated board: minutes, packages of another architecture, and tools that scripts/apt.sh board installs.
# BOARD_JOBS boards run at the same time.
BOARD_JOBS ?= $(shell nproc)

.PHONY: test-board
test-board: build ## the board program on an emulated ARM board; ARGS="-k name" narrows it
	@command -v qemu-system-arm arm-linux-gnueabihf-gcc mksquashfs mkfs.ubifs >/dev/null || scripts/apt.sh board
	@began=$$(date +%s); $(PY) -m pytest tests/board -n $(BOARD_JOBS) --dist worksteal --durations=0 -rsP $(ARGS); \
		code=$$?; echo "board tests: $$(($$(date +%s) - began)) s"; exit $$code

BOARD_KILLS ?= 100

.PHONY: kills-board
kills-board: export OTA_BOARD_KILLS = $(BOARD_KILLS)
kills-board: build ## switch the emulated board off in the midst of updates, BOARD_KILLS times for a folder and in place each
	$(PY) -m pytest tests/board/test_kills.py -n $(BOARD_JOBS) --dist worksteal --durations=0 -rsP $(ARGS)

.PHONY: test-board-full
test-board-full: export OTA_BOARD_FULL = 1
test-board-full: test-board ## the same with cuts at every point and the RAM bounds at full size

.PHONY: board-squashfs
board-squashfs: export OTA_BOARD_FULL = 1
board-squashfs: build ## the corpus's squashfs images on the emulated board, within their memory: an hour; ARGS="-k gzip"
	$(PY) -m scripts.corpus rootfs squashfs-gzip squashfs-xz squashfs-zstd
	$(PY) -m pytest tests/board/test_squashfs.py --durations=0 -rsP $(ARGS)
