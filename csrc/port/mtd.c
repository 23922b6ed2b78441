/* mtd.c - raw flash through the MTD character device.
 *
 * The kernel's interface is mtd/mtd-user.h: MEMGETINFO says what it is, MEMGETBADBLOCK and MEMSETBADBLOCK keep the map
 * of bad blocks, MEMERASE64 erases one block; read and write go by offset, bad blocks included. Reads give data even
 * where the error correction gave up (nanddump wants that), so the digests above decide what is right.
 */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <mtd/mtd-user.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define UBI_DEVICES 32 /* the kernel's UBI_MAX_DEVICES */

/* ---- flash callbacks; ctx is the slot --------------------------------------------------------------------------- */

static int mtd_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    struct ota_posix_slot *s = ctx;
    int status;
    if (s->fd < 0 || off > s->size || len > s->size - off) {
        return ota_posix_refuse(s->owner, OTA_E_INTERNAL);
    }
    status = ota_fd_read_at(s->owner, s->fd, off, buf, len);
    return status == -OTA_E_CHANGED ? ota_posix_fail(s->owner, EIO) : status;
}

static int mtd_prog(void *ctx, uint64_t off, const uint8_t *buf, size_t len)
{
    struct ota_posix_slot *s = ctx;
    if (s->fd < 0 || off > s->size || len > s->size - off) {
        return ota_posix_refuse(s->owner, OTA_E_INTERNAL);
    }
    return ota_fd_write_at(s->owner, s->fd, off, buf, len);
}

static int mtd_erase(void *ctx, uint64_t off)
{
    struct ota_posix_slot *s = ctx;
    struct erase_info_user64 area;
    memset(&area, 0, sizeof(area));
    area.start = off;
    area.length = s->erase_size;
    while (ota_fd_ioctl(s->fd, MEMERASE64, &area) != 0) {
        if (errno != EINTR) {
            return ota_posix_fail(s->owner, errno);
        }
    }
    return 0;
}

static int mtd_is_bad(void *ctx, uint64_t off)
{
    struct ota_posix_slot *s = ctx;
    __kernel_loff_t at = (__kernel_loff_t)off;
    int r = ota_fd_ioctl(s->fd, MEMGETBADBLOCK, &at);
    return r < 0 ? ota_posix_fail(s->owner, errno) : r > 0;
}

static int mtd_mark_bad(void *ctx, uint64_t off)
{
    struct ota_posix_slot *s = ctx;
    __kernel_loff_t at = (__kernel_loff_t)off;
    return ota_fd_ioctl(s->fd, MEMSETBADBLOCK, &at) != 0 ? ota_posix_fail(s->owner, errno) : 0;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

/* Is UBI attached to this MTD device? Writing beneath it would destroy every volume on it. */
static int under_ubi(unsigned mtd)
{
    char text[64];
    int found = 0;
    int i;
    for (i = 0; i < UBI_DEVICES && !found; i++) {
        ssize_t n;
        int fd;
        (void)snprintf(text, sizeof(text), "/sys/class/ubi/ubi%d/mtd_num", i);
        fd = ota_fd_open(AT_FDCWD, text, O_RDONLY, 0);
        if (fd < 0) {
            continue;
        }
        n = read(fd, text, sizeof(text) - 1);
        (void)ota_fd_close(&fd);
        if (n > 0) {
            text[n] = '\0';
            found = strtoul(text, NULL, 10) == mtd;
        }
    }
    return found;
}

/* The kind of this device; -OTA_E_NODE for one that cannot hold an image. */
static int kind_of(const struct mtd_info_user *info, enum ota_flash_kind *kind)
{
    switch (info->type) {
    case MTD_NANDFLASH:
    case MTD_MLCNANDFLASH:
        *kind = OTA_FLASH_NAND;
        return 0;
    case MTD_ABSENT:
    case MTD_UBIVOLUME: /* the volume's own device does this without pretending to be raw flash */
        return -OTA_E_NODE;
    default:
        *kind = (info->flags & MTD_NO_ERASE) != 0 ? OTA_FLASH_BLOCK : OTA_FLASH_NOR;
        return 0;
    }
}

int ota_mtd_open(struct ota_posix *p, enum ota_slot slot, int fd, int write, struct ota_flash *flash)
{
    struct ota_posix_slot *s = &p->slot[slot];
    struct mtd_info_user info;
    struct stat st;
    off_t size; /* MEMGETINFO has 32 bits for it */
    if (ota_fd_ioctl(fd, MEMGETINFO, &info) != 0 || fstat(fd, &st) != 0 || (size = lseek(fd, 0, SEEK_END)) < 0) {
        return ota_posix_fail(p, errno);
    }
    if (kind_of(&info, &flash->kind) != 0 || (write && under_ubi(minor(st.st_rdev) / 2))) {
        return ota_posix_refuse(p, OTA_E_NODE);
    }
    if (write && (info.flags & MTD_WRITEABLE) == 0) {
        return ota_posix_fail(p, EROFS);
    }
    s->fd = fd;
    s->is_block = 0;
    s->size = (uint64_t)size;
    s->erase_size = info.erasesize;
    s->prog_size = info.writesize;
    flash->ctx = s;
    flash->size = s->size;
    flash->erase_size = s->erase_size;
    flash->prog_size = s->prog_size;
    flash->read = mtd_read;
    flash->prog = mtd_prog;
    flash->erase = flash->kind != OTA_FLASH_BLOCK ? mtd_erase : NULL;
    flash->is_bad = flash->kind == OTA_FLASH_NAND ? mtd_is_bad : NULL;
    flash->mark_bad = flash->kind == OTA_FLASH_NAND ? mtd_mark_bad : NULL;
    flash->sync = NULL; /* a write or an erase is on the medium when its call returns */
    return 0;
}
