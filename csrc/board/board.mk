# The board program for each architecture (static, musl), and the same sources with sanitizers for the tests.
BOARD_ARCHS ?= armhf arm64 amd64
# What recompresses parts of images: gzip is always there; BOARD_ENCODERS=gzip,xz,zstd,lz4,lzo builds larger programs beside it.
BOARD_ENCODERS ?= gzip

.PHONY: board
board: ## the static board program for each of BOARD_ARCHS, with a table of what it weighs
	$(PYTHON) scripts/boardbuild.py --encoders $(BOARD_ENCODERS) $(BOARD_ARCHS)

.PHONY: board-san
board-san: ## the board program for this machine with ASan and UBSan
	$(PYTHON) scripts/boardbuild.py --sanitize
