// SPDX-License-Identifier: GPL-2.0
/*
 * pnand - persistent NAND (or NOR) for tests: an MTD device whose cells are bytes of a block device.
 *
 * nandsim forgets everything when the machine goes away, so it cannot show what a power cut leaves. Here every program
 * and every erase is on the medium before the call returns; cutting the power is killing the emulator. `cut` cuts at
 * an exact operation instead, as often as wanted within one boot: that operation is torn in its middle, and until 0 is
 * written to `cut` nothing reaches the medium any more.
 *
 * The model is strict. A page is programmed whole, and once between two erases: whoever programs it again gets EIO and
 * is counted in `illegal`. With page=1 it is NOR-like instead: any bytes, bits only fall.
 *
 * The medium: blocks * erase bytes of cells, then one byte a block for its mark (0xff good), then one byte a block for
 * its health (0xff sound, 'e': erasing fails, 'p': programming fails after half of the block). The host makes it and
 * reads it; see media.py.
 *
 *   insmod pnand.ko path=/dev/vda blocks=256 erase=131072 page=2048 parts=64,64,128
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mtd/mtd.h>
#include <linux/mtd/partitions.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#define GOOD 0xff
#define PARTS_MAX 16

static char *path = "/dev/vda";
module_param(path, charp, 0444);
MODULE_PARM_DESC(path, "block device that holds the cells");
static unsigned int blocks = 256;
module_param(blocks, uint, 0444);
static unsigned int erase = 131072;
module_param(erase, uint, 0444);
static unsigned int page = 2048;
module_param(page, uint, 0444);
static unsigned int parts[PARTS_MAX], part_count;
module_param_array(parts, uint, &part_count, 0444);
MODULE_PARM_DESC(parts, "blocks of each partition; without it the device is one");

static int cut;
module_param(cut, int, 0644);
MODULE_PARM_DESC(cut, "n: the n-th operation from now is torn, then the power is off (-1) until 0 is written");
static unsigned int operations;
module_param(operations, uint, 0644);
MODULE_PARM_DESC(operations, "programs, erases and marks so far");
static unsigned int illegal;
module_param(illegal, uint, 0444);
MODULE_PARM_DESC(illegal, "programs of a page that was not erased");

static struct {
	struct file *file;
	struct mtd_info mtd;
	struct mutex lock;
	u8 *cells;		/* one block */
	u8 *mark, *health;	/* one byte a block, one area */
	struct mtd_partition part[PARTS_MAX];
	char name[PARTS_MAX][8];
} nand;

static u64 cells_size(void)
{
	return (u64)blocks * erase;
}

static int medium_read(void *to, size_t len, u64 at)
{
	loff_t pos = at;
	ssize_t n = kernel_read(nand.file, to, len, &pos);

	return n == len ? 0 : n < 0 ? n : -EIO;
}

static int medium_write(const void *from, size_t len, u64 at)
{
	loff_t pos = at;
	ssize_t n = kernel_write(nand.file, from, len, &pos);

	return n == len ? 0 : n < 0 ? n : -EIO;
}

/* How many of the len bytes of an operation happen while there still is power. */
static size_t with_power(size_t len)
{
	operations++;
	if (cut > 0 && --cut == 0) {
		cut = -1;
		return len / 2;
	}
	return cut < 0 ? 0 : len;
}

static int nand_read(struct mtd_info *mtd, loff_t from, size_t len, size_t *done, u_char *to)
{
	int status;

	mutex_lock(&nand.lock);
	status = medium_read(to, len, from);
	mutex_unlock(&nand.lock);
	*done = status ? 0 : len;
	return status;
}

/* One page, or for NOR a piece within one: nand.lock is held. */
static int program(u64 at, const u8 *from, size_t len)
{
	u32 block = mtd_div_by_eb(at, &nand.mtd);
	u32 within = at - (u64)block * erase;
	size_t i, happens;
	int status;

	if (nand.mark[block] != GOOD || (nand.health[block] == 'p' && within >= erase / 2))
		return -EIO;
	status = medium_read(nand.cells, len, at);
	if (status)
		return status;
	if (page > 1 && memchr_inv(nand.cells, 0xff, len)) {
		illegal++;
		return -EIO;
	}
	happens = with_power(len);
	for (i = 0; i < happens; i++)
		nand.cells[i] &= from[i];
	status = happens ? medium_write(nand.cells, happens, at) : 0;
	return status ? status : happens < len ? -EIO : 0;
}

static int nand_write(struct mtd_info *mtd, loff_t to, size_t len, size_t *done, const u_char *from)
{
	size_t step;
	int status = 0;

	*done = 0;
	if (mtd_mod_by_ws(to, mtd) || mtd_mod_by_ws(len, mtd))
		return -EINVAL;
	mutex_lock(&nand.lock);
	while (len && !status) {
		/* NOR: as a chip does it, from its write buffer of 256 bytes */
		step = page > 1 ? page : min_t(size_t, len, 256 - ((u32)to & 255));
		status = program(to, from, step);
		if (!status) {
			to += step;
			from += step;
			len -= step;
			*done += step;
		}
	}
	mutex_unlock(&nand.lock);
	return status;
}

static int nand_erase(struct mtd_info *mtd, struct erase_info *what)
{
	u64 at, end = what->addr + what->len;
	size_t happens;
	u32 block;
	int status = 0;

	mutex_lock(&nand.lock);
	for (at = what->addr; at < end; at += erase) {
		block = mtd_div_by_eb(at, mtd);
		if (nand.mark[block] != GOOD || nand.health[block] == 'e') {
			status = -EIO;
			break;
		}
		happens = with_power(erase);
		memset(nand.cells, 0xff, erase);
		status = happens ? medium_write(nand.cells, happens, at) : 0;
		if (!status && happens < erase)
			status = -EIO;
		if (status)
			break;
	}
	mutex_unlock(&nand.lock);
	if (status)
		what->fail_addr = at;
	return status;
}

static int nand_is_bad(struct mtd_info *mtd, loff_t at)
{
	return nand.mark[mtd_div_by_eb(at, mtd)] != GOOD;
}

static int nand_mark_bad(struct mtd_info *mtd, loff_t at)
{
	u32 block = mtd_div_by_eb(at, mtd);
	int status = -EIO;

	mutex_lock(&nand.lock);
	if (with_power(2) == 2) {
		nand.mark[block] = 0;
		status = medium_write(nand.mark + block, 1, cells_size() + block);
	}
	mutex_unlock(&nand.lock);
	return status;
}

static int chip_register(void)
{
	struct mtd_info *mtd = &nand.mtd;
	u64 at = 0;
	unsigned int i;

	mtd->name = "pnand";
	mtd->owner = THIS_MODULE;
	mtd->type = page > 1 ? MTD_NANDFLASH : MTD_NORFLASH;
	mtd->flags = page > 1 ? MTD_CAP_NANDFLASH : MTD_CAP_NORFLASH;
	mtd->size = cells_size();
	mtd->erasesize = erase;
	mtd->writesize = page;
	mtd->writebufsize = page > 1 ? page : 256;
	mtd->_read = nand_read;
	mtd->_write = nand_write;
	mtd->_erase = nand_erase;
	if (page > 1) {
		mtd->_block_isbad = nand_is_bad;
		mtd->_block_markbad = nand_mark_bad;
	}
	for (i = 0; i < part_count; i++) {
		snprintf(nand.name[i], sizeof(nand.name[i]), "part%u", i);
		nand.part[i].name = nand.name[i];
		nand.part[i].offset = at;
		nand.part[i].size = (u64)parts[i] * erase;
		at += nand.part[i].size;
	}
	return mtd_device_register(mtd, nand.part, part_count);
}

static void release(void)
{
	vfree(nand.cells);
	vfree(nand.mark);
	filp_close(nand.file, NULL);
}

static int __init pnand_init(void)
{
	int status = -ENOMEM;

	if (!blocks || !page || !erase || erase % page)
		return -EINVAL;
	mutex_init(&nand.lock);
	nand.file = filp_open(path, O_RDWR | O_DSYNC | O_LARGEFILE, 0);
	if (IS_ERR(nand.file))
		return PTR_ERR(nand.file);
	nand.cells = vmalloc(erase);
	nand.mark = vmalloc(2 * blocks);
	if (nand.cells && nand.mark) {
		nand.health = nand.mark + blocks;
		status = medium_read(nand.mark, 2 * blocks, cells_size());
	}
	if (!status)
		status = chip_register();
	if (status)
		release();
	return status;
}

static void __exit pnand_exit(void)
{
	mtd_device_unregister(&nand.mtd);
	release();
}

module_init(pnand_init);
module_exit(pnand_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("persistent NAND or NOR with exact power cuts, for tests");
