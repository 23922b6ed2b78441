/* block.c - nodes: block devices, and regular files that stand for them. Also reading from whatever a slot holds. */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/major.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Unit in which content is compared and written: a multiple of every sector size, and of most erase blocks behind
 * mtdblock and eMMC. */
#define BLOCK_UNIT 65536u

int ota_slot_read_at(void *ctx, enum ota_slot slot, uint64_t off, uint8_t *buf, size_t len)
{
    struct ota_posix *p = ctx;
    const struct ota_posix_slot *s = &p->slot[slot];
    if (s->fd < 0 || off > s->size || len > s->size - off) {
        return ota_posix_refuse(p, OTA_E_INTERNAL);
    }
    return ota_fd_read_at(p, s->fd, off, buf, len);
}

int ota_slot_close(void *ctx, enum ota_slot slot)
{
    struct ota_posix *p = ctx;
    int e = ota_fd_close(&p->slot[slot].fd);
    return e != 0 ? ota_posix_fail(p, e) : 0;
}

/* ---- flash callbacks; ctx is the slot --------------------------------------------------------------------------- */

static int block_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    struct ota_posix_slot *s = ctx;
    int status;
    if (s->fd < 0 || off > s->size || len > s->size - off) {
        return ota_posix_refuse(s->owner, OTA_E_INTERNAL);
    }
    status = ota_fd_read_at(s->owner, s->fd, off, buf, len);
    /* a device that ends before its size is not an input that changed */
    return status == -OTA_E_CHANGED && s->is_block ? ota_posix_fail(s->owner, EIO) : status;
}

static int block_prog(void *ctx, uint64_t off, const uint8_t *buf, size_t len)
{
    struct ota_posix_slot *s = ctx;
    int status;
    if (s->fd < 0) {
        return ota_posix_refuse(s->owner, OTA_E_INTERNAL);
    }
    if (off > s->size || len > s->size - off) {
        return ota_posix_refuse(s->owner, OTA_E_TOO_SMALL); /* a file that stands for a device never grows */
    }
    status = ota_fd_write_at(s->owner, s->fd, off, buf, len);
    /* writing to a block device takes no space: its end has come nearer, as that of one that was pulled out (to 0) */
    return status == -OTA_E_SPACE && s->is_block ? ota_posix_fail(s->owner, ENODEV) : status;
}

/* Make it durable, and drop what is cached, so that reading back asks the medium and not the page cache. */
static int block_sync(void *ctx)
{
    struct ota_posix_slot *s = ctx;
    if (s->fd < 0) {
        return ota_posix_refuse(s->owner, OTA_E_INTERNAL);
    }
    while (fdatasync(s->fd) != 0) {
        if (errno != EINTR) {
            return ota_posix_fail(s->owner, errno);
        }
    }
    /* both are wishes: without permission, or on a medium that is memory itself, nothing is lost but the check */
    (void)posix_fadvise(s->fd, 0, 0, POSIX_FADV_DONTNEED);
    if (s->is_block) {
        (void)ota_fd_ioctl(s->fd, BLKFLSBUF, NULL);
    }
    return 0;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static int block_open(struct ota_posix *p, enum ota_slot slot, const struct ota_place *at, const struct stat *st,
                      int write, struct ota_flash *flash)
{
    struct ota_posix_slot *s = &p->slot[slot];
    int is_block = S_ISBLK(st->st_mode);
    /* O_EXCL without O_CREAT on a block device: refuse one that is mounted or otherwise claimed (EBUSY) */
    int flags = !write ? O_RDONLY : is_block ? O_RDWR | O_EXCL : O_RDWR;
    uint64_t size = 0;
    int fd;
    int status = ota_node_openat(p, at, st, flags, &fd);
    if (status != 0) {
        return p->err == EBUSY || p->err == ENXIO || p->err == ENODEV ? -OTA_E_NODE : status;
    }
    if (!is_block) {
        struct stat now;
        if (fstat(fd, &now) != 0) {
            status = ota_posix_fail(p, errno);
        } else {
            size = (uint64_t)now.st_size;
        }
    } else if (ota_fd_ioctl(fd, BLKGETSIZE64, &size) != 0) {
        status = ota_posix_fail(p, errno);
    }
    if (status != 0) {
        (void)ota_fd_close(&fd);
        return status;
    }
    s->fd = fd;
    s->is_block = is_block;
    s->size = size;
    flash->ctx = s;
    flash->kind = OTA_FLASH_BLOCK;
    flash->size = size;
    flash->erase_size = BLOCK_UNIT;
    flash->prog_size = 1;
    flash->read = block_read;
    flash->prog = block_prog;
    flash->sync = block_sync;
    /* An applier that was killed may have left the right content in the page cache and old or torn content on the
     * medium. What is compared, and skipped if it is right, has to be what a power cut would leave. */
    status = block_sync(s);
    if (status != 0) {
        (void)ota_fd_close(&s->fd);
    }
    return status;
}

/* A character device is opened only when it is known what it is: opening a watchdog, say, starts it. */
static int character_open(struct ota_posix *p, enum ota_slot slot, const struct ota_place *at, const struct stat *st,
                          enum ota_node_use use, struct ota_flash *flash)
{
    int write = use != OTA_NODE_READ;
    int is_mtd = major(st->st_rdev) == MTD_CHAR_MAJOR;
    int fd;
    int status;
    if (!is_mtd && (use == OTA_NODE_WRITE || !ota_ubi_is_volume(p, st->st_rdev))) {
        return ota_posix_refuse(p, OTA_E_NODE);
    }
    status = ota_node_openat(p, at, st, write ? O_RDWR : O_RDONLY, &fd);
    if (status != 0) {
        return p->err == EBUSY || p->err == ENXIO || p->err == ENODEV ? -OTA_E_NODE : status;
    }
    status = is_mtd ? ota_mtd_open(p, slot, fd, write, flash) : ota_ubi_open(p, slot, fd, flash);
    if (status != 0) {
        p->slot[slot].fd = -1;
        (void)ota_fd_close(&fd);
    }
    return status;
}

int ota_block_node_open(void *ctx, enum ota_slot slot, const char *name, size_t len, enum ota_node_use use,
                        struct ota_flash *flash)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    struct stat st;
    int status = ota_slot_close(p, slot);
    memset(flash, 0, sizeof(*flash));
    if (status != 0) {
        return status;
    }
    status = ota_node_find(p, name, len, &at, &st);
    if (status == 0) {
        if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
            status = block_open(p, slot, &at, &st, use != OTA_NODE_READ, flash);
        } else if (S_ISCHR(st.st_mode)) {
            status = character_open(p, slot, &at, &st, use, flash);
        } else {
            status = ota_posix_refuse(p, OTA_E_NODE);
        }
    }
    ota_place_close(&at);
    return status;
}

int ota_block_node_close(void *ctx, enum ota_slot slot)
{
    return ota_slot_close(ctx, slot);
}
