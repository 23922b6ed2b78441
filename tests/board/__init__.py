"""The board program on an emulated board: a real ARM Linux kernel with real MTD, UBI, bad blocks and power cuts.

prepare   fetch kernel and tools, make the initramfs and the test module; cached in .cache/board
machine   run one job in the emulated board, cut the power at a marked line
jobs      what runs in the guest
"""
