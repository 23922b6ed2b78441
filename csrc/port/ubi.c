/* ubi.c - UBI volumes: reading one as old content, and replacing one by the kernel's volume update.
 *
 * The update (mtd/ubi-user.h, UBI_IOCVOLUP) is announced with its size; UBI sets the update marker, takes that many
 * bytes and clears the marker. With the marker set, every read fails: a volume whose update was cut has no content,
 * and the next update starts over. What a volume holds and how much it could is in sysfs.
 */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <mtd/ubi-user.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ---- sysfs ------------------------------------------------------------------------------------------------------ */

/* A number that the kernel tells about a volume. 0, or -1 with errno: it is no volume, or there is no sysfs. */
static int volume_number(dev_t device, const char *what, uint64_t *value)
{
    char text[64];
    ssize_t n;
    int fd;
    (void)snprintf(text, sizeof(text), "/sys/dev/char/%u:%u/%s", major(device), minor(device), what);
    fd = ota_fd_open(AT_FDCWD, text, O_RDONLY, 0);
    if (fd < 0) {
        return -1;
    }
    n = read(fd, text, sizeof(text) - 1);
    (void)ota_fd_close(&fd);
    if (n <= 0) {
        errno = EIO;
        return -1;
    }
    text[n] = '\0';
    *value = strtoull(text, NULL, 10);
    return 0;
}

int ota_ubi_is_volume(struct ota_posix *p, dev_t device)
{
    uint64_t marker;
    (void)p;
    return volume_number(device, "upd_marker", &marker) == 0;
}

/* Bytes that the volume can hold. */
static int volume_capacity(struct ota_posix *p, dev_t device, uint64_t *bytes, uint32_t *block)
{
    uint64_t blocks;
    uint64_t size;
    if (volume_number(device, "reserved_ebs", &blocks) != 0 || volume_number(device, "usable_eb_size", &size) != 0) {
        return ota_posix_fail(p, errno);
    }
    if (size == 0 || size > UINT32_MAX || blocks > UINT32_MAX) {
        return ota_posix_refuse(p, OTA_E_NODE);
    }
    *bytes = blocks * size;
    *block = (uint32_t)size;
    return 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* A static volume ends where its content does; what it could hold beyond reads as erased flash, as it does in a
 * dynamic one. */
static int ubi_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    struct ota_posix_slot *s = ctx;
    if (s->fd < 0 || off > s->size || len > s->size - off) {
        return ota_posix_refuse(s->owner, OTA_E_INTERNAL);
    }
    while (len > 0) {
        ssize_t n = pread(s->fd, buf, len, (off_t)off);
        if (n < 0 && errno != EINTR) {
            return ota_posix_fail(s->owner, errno);
        }
        if (n == 0) {
            memset(buf, 0xff, len);
            return 0;
        }
        if (n > 0) {
            off += (uint64_t)n;
            buf += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int ota_ubi_open(struct ota_posix *p, enum ota_slot slot, int fd, struct ota_flash *flash)
{
    struct ota_posix_slot *s = &p->slot[slot];
    struct stat st;
    int status;
    if (fstat(fd, &st) != 0) {
        return ota_posix_fail(p, errno);
    }
    status = volume_capacity(p, st.st_rdev, &s->size, &s->erase_size);
    if (status != 0) {
        return status;
    }
    s->fd = fd;
    s->is_block = 0;
    s->prog_size = 1;
    flash->ctx = s;
    flash->kind = OTA_FLASH_BLOCK; /* read only: the kernel deals with blocks and bad ones */
    flash->size = s->size;
    flash->erase_size = s->erase_size;
    flash->prog_size = s->prog_size;
    flash->read = ubi_read;
    return 0;
}

/* ---- volume update ---------------------------------------------------------------------------------------------- */

void ota_ubi_abort(struct ota_posix *p)
{
    (void)ota_fd_close(&p->ubi_fd); /* the update marker stays set */
    p->ubi_left = 0;
}

/* Open for an update: nobody else may hold it, so one that is mounted is refused. */
static int volume_open(struct ota_posix *p, const char *name, size_t len, uint64_t size)
{
    struct ota_place at;
    struct stat st;
    uint64_t capacity = 0;
    uint32_t block;
    int status = ota_node_find(p, name, len, &at, &st);
    if (status == 0 && (!S_ISCHR(st.st_mode) || !ota_ubi_is_volume(p, st.st_rdev))) {
        status = ota_posix_refuse(p, OTA_E_NODE);
    }
    if (status == 0) {
        status = volume_capacity(p, st.st_rdev, &capacity, &block);
    }
    if (status == 0 && size > capacity) {
        status = ota_posix_refuse(p, OTA_E_TOO_SMALL);
    }
    if (status == 0) {
        status = ota_node_openat(p, &at, &st, O_RDWR, &p->ubi_fd);
        if (status != 0 && (p->err == EBUSY || p->err == ENXIO || p->err == ENODEV)) {
            status = -OTA_E_NODE;
        }
    }
    ota_place_close(&at);
    return status;
}

int ota_ubi_begin(void *ctx, const char *name, size_t len, uint64_t size)
{
    struct ota_posix *p = ctx;
    __s64 bytes = (__s64)size;
    int status;
    ota_ubi_abort(p);
    status = volume_open(p, name, len, size);
    if (status != 0) {
        ota_ubi_abort(p);
        return status;
    }
    if (ota_fd_ioctl(p->ubi_fd, UBI_IOCVOLUP, &bytes) != 0) {
        status = ota_posix_fail(p, errno);
        ota_ubi_abort(p);
        return p->err == EBUSY ? -OTA_E_NODE : status;
    }
    p->ubi_left = size;
    return 0;
}

int ota_ubi_write(void *ctx, const uint8_t *buf, size_t len)
{
    struct ota_posix *p = ctx;
    int status;
    if (p->ubi_fd < 0 || len > p->ubi_left) {
        return ota_posix_refuse(p, OTA_E_INTERNAL);
    }
    status = ota_fd_write(p, p->ubi_fd, buf, len);
    if (status == 0) {
        p->ubi_left -= len;
    }
    return status;
}

int ota_ubi_end(void *ctx)
{
    struct ota_posix *p = ctx;
    int status;
    int e;
    if (p->ubi_fd < 0 || p->ubi_left != 0) {
        ota_ubi_abort(p);
        return ota_posix_refuse(p, OTA_E_INTERNAL);
    }
    status = ota_fd_sync(p, p->ubi_fd);
    e = ota_fd_close(&p->ubi_fd);
    return status == 0 && e != 0 ? ota_posix_fail(p, e) : status;
}
