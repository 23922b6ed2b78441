// SPDX-License-Identifier: GPL-2.0
/*
 * pflash - flash that outlives the machine, for tests of power cuts. An MTD device whose content lives in a block device of
 * the emulator: every program and every erase is written through before it returns, so killing the emulator is a power
 * cut. Behind the content stands one byte for each erase block: 0xff good, anything else bad.
 *
 *   insmod pflash.ko size=33554432 erase=131072 page=2048 parts=8388608,8388608
 *
 * page=1 makes NOR (any length, no bad blocks), larger values NAND. Without parts the whole device is mtd0; with it, each
 * part becomes a device, the rest the last one. Like real flash, and stricter: programming only clears bits; a NAND page
 * that is not erased is refused and counted in `abuse`, which a test wants to find at 0.
 *
 * worn=B,B,...  erasing or programming these blocks fails (they are good until then)
 * cut=N         may be written while it runs: the N-th program or erase from now is done by half, it and everything later
 *               fails, until 0 is written: an exact power cut without the reboot. `ops` counts programs and erases.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mtd/mtd.h>
#include <linux/mtd/partitions.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define MAX_PARTS 8
#define MAX_WORN 16

static char *store = "/dev/vda";
static uint size = 32 << 20;
static uint erase = 128 << 10;
static uint page = 2048;
static uint parts[MAX_PARTS];
static uint part_count;
static uint worn[MAX_WORN];
static uint worn_count;
static uint ops;
static uint abuse;
static int cut;
module_param(store, charp, 0444);
module_param(size, uint, 0444);
module_param(erase, uint, 0444);
module_param(page, uint, 0444);
module_param_array(parts, uint, &part_count, 0444);
module_param_array(worn, uint, &worn_count, 0444);
module_param(ops, uint, 0644);
module_param(abuse, uint, 0644);
module_param(cut, int, 0644);

static DEFINE_MUTEX(lock);
static struct file *medium;
static struct mtd_info chip;
static struct mtd_partition table[MAX_PARTS + 1];
static char names[MAX_PARTS + 1][16];
static u8 *scratch; /* one erase block */
static u8 *marks;   /* a byte for each erase block */

static uint block_at(loff_t at)
{
	return (uint)at / erase;
}

static bool is_worn(loff_t at)
{
	uint i;

	for (i = 0; i < worn_count; i++)
		if (worn[i] == block_at(at))
			return true;
	return false;
}

/* Whether there is power for one more operation: 2 all of it, 1 half, 0 none. */
static int take_power(void)
{
	ops++;
	if (cut < 0)
		return 0;
	if (cut == 0 || --cut > 0)
		return 2;
	cut = -1;
	return 1;
}

static int fetch(u8 *to, size_t len, loff_t at)
{
	ssize_t n = kernel_read(medium, to, len, &at);

	return n == (ssize_t)len ? 0 : -EIO;
}

/* The file was opened with O_DSYNC: what this returns for is on the medium. */
static int keep(const u8 *from, size_t len, loff_t at)
{
	ssize_t n = kernel_write(medium, from, len, &at);

	return n == (ssize_t)len ? 0 : -EIO;
}

static int chip_read(struct mtd_info *m, loff_t at, size_t len, size_t *done, u_char *to)
{
	int r;

	mutex_lock(&lock);
	r = fetch(to, len, at);
	mutex_unlock(&lock);
	*done = r ? 0 : len;
	return r;
}

/* One page, or on NOR a piece of up to 256 bytes. */
static int program(loff_t at, const u8 *from, size_t len)
{
	size_t i;
	int power;
	int r = fetch(scratch, len, at);

	if (r)
		return r;
	if (marks[block_at(at)] != 0xff || is_worn(at))
		return -EIO;
	if (page > 1 && memchr_inv(scratch, 0xff, len)) {
		abuse++;
		return -EIO;
	}
	power = take_power();
	if (power == 1)
		len /= 2;
	for (i = 0; i < len; i++)
		scratch[i] &= from[i];
	r = power ? keep(scratch, len, at) : 0;
	return r ? r : power == 2 ? 0 : -EIO;
}

static int chip_write(struct mtd_info *m, loff_t at, size_t len, size_t *done, const u_char *from)
{
	int r = 0;

	*done = 0;
	if (page > 1 && ((uint)at % page || len % page))
		return -EINVAL;
	mutex_lock(&lock);
	while (len && !r) {
		size_t n = page > 1 ? page : min_t(size_t, len, 256 - ((uint)at & 255));

		r = program(at, from, n);
		if (r)
			break;
		at += n;
		from += n;
		len -= n;
		*done += n;
	}
	mutex_unlock(&lock);
	return r;
}

static int chip_erase(struct mtd_info *m, struct erase_info *area)
{
	loff_t at = area->addr;
	int r = 0;

	mutex_lock(&lock);
	for (; at < area->addr + area->len && !r; at += erase) {
		int power;

		r = -EIO;
		if (marks[block_at(at)] != 0xff || is_worn(at))
			break;
		power = take_power();
		memset(scratch, 0xff, erase);
		if (power)
			r = keep(scratch, power == 2 ? erase : erase / 2, at);
		if (power != 2)
			r = -EIO;
	}
	if (r)
		area->fail_addr = at;
	mutex_unlock(&lock);
	return r;
}

static int chip_is_bad(struct mtd_info *m, loff_t at)
{
	return marks[block_at(at)] != 0xff;
}

static int chip_mark_bad(struct mtd_info *m, loff_t at)
{
	uint b = block_at(at);
	int r = -EIO;

	mutex_lock(&lock);
	if (take_power() == 2) {
		marks[b] = 0;
		r = keep(marks + b, 1, (loff_t)size + b);
	}
	mutex_unlock(&lock);
	return r;
}

static void describe(void)
{
	uint i;

	chip.name = "pflash";
	chip.owner = THIS_MODULE;
	chip.type = page > 1 ? MTD_NANDFLASH : MTD_NORFLASH;
	chip.flags = page > 1 ? MTD_CAP_NANDFLASH : MTD_CAP_NORFLASH;
	chip.size = size;
	chip.erasesize = erase;
	chip.writesize = page;
	chip.writebufsize = page > 1 ? page : 256;
	chip._read = chip_read;
	chip._write = chip_write;
	chip._erase = chip_erase;
	if (page > 1) {
		chip._block_isbad = chip_is_bad;
		chip._block_markbad = chip_mark_bad;
	}
	for (i = 0; i <= part_count; i++) {
		snprintf(names[i], sizeof(names[i]), "part%u", i);
		table[i].name = names[i];
		table[i].offset = i ? MTDPART_OFS_APPEND : 0;
		table[i].size = i < part_count ? parts[i] : MTDPART_SIZ_FULL;
	}
}

static void drop(void)
{
	vfree(scratch);
	vfree(marks);
	filp_close(medium, NULL);
}

static int __init pflash_init(void)
{
	int r = -ENOMEM;

	medium = filp_open(store, O_RDWR | O_DSYNC | O_LARGEFILE, 0);
	if (IS_ERR(medium))
		return PTR_ERR(medium);
	scratch = vmalloc(erase);
	marks = vmalloc(size / erase);
	if (scratch && marks)
		r = fetch(marks, size / erase, size);
	if (!r) {
		describe();
		r = mtd_device_register(&chip, part_count ? table : NULL, part_count ? part_count + 1 : 0);
	}
	if (r)
		drop();
	return r;
}

static void __exit pflash_exit(void)
{
	mtd_device_unregister(&chip);
	drop();
}

module_init(pflash_init);
module_exit(pflash_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Persistent NOR or NAND on a block device, for power-cut tests");
