/* image.c - images that are built in the temporary folder before they are copied to a target.
 *
 * A target that is patched onto itself is overwritten only when the whole new image lies here, synced. If the power
 * fails while it is copied, this file is the only complete copy: nobody but ota_image_remove deletes it.
 */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat, nothing else */
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

/* One name for whatever is not complete: at most one leftover, and the next image takes its place. */
#define PART_NAME "otastream-image.part"

static void image_name(uint64_t digest, char name[40])
{
    static const char hex[] = "0123456789abcdef";
    int i;
    memcpy(name, "otastream-", 10);
    for (i = 0; i < 16; i++) {
        name[10 + i] = hex[(digest >> (60 - 4 * i)) & 15];
    }
    memcpy(name + 26, ".img", 5);
}

int ota_image_open(void *ctx, enum ota_slot slot, uint64_t digest, uint64_t *size)
{
    struct ota_posix *p = ctx;
    struct stat st;
    char name[40];
    int fd;
    int status = ota_slot_close(p, slot);
    if (status != 0) {
        return status;
    }
    image_name(digest, name);
    fd = ota_fd_open(p->tmp_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) {
        return errno == ELOOP ? ota_posix_refuse(p, OTA_E_MISSING) : ota_posix_fail(p, errno);
    }
    if (fstat(fd, &st) != 0) {
        status = ota_posix_fail(p, errno);
    } else if (!S_ISREG(st.st_mode) || (*size != OTA_ANY_SIZE && (uint64_t)st.st_size != *size)) {
        status = ota_posix_refuse(p, OTA_E_MISSING);
    }
    /* It may come from a run that was killed between rename and sync. It has to be durable before a target is
     * overwritten on the strength of it. */
    if (status == 0) {
        status = ota_fd_sync(p, fd);
    }
    if (status == 0) {
        status = ota_fd_sync(p, p->tmp_fd);
    }
    if (status != 0) {
        (void)ota_fd_close(&fd);
        return status;
    }
    p->slot[slot].fd = fd;
    *size = p->slot[slot].size = (uint64_t)st.st_size;
    p->slot[slot].is_block = 0;
    return 0;
}

int ota_image_begin(void *ctx, uint64_t digest, uint64_t size)
{
    struct ota_posix *p = ctx;
    uint64_t fs_id;
    uint64_t room;
    uint32_t unit;
    int status;
    ota_image_abort(p);
    if (unlinkat(p->tmp_fd, PART_NAME, 0) != 0 && errno != ENOENT) {
        return ota_posix_fail(p, errno);
    }
    status = ota_tree_free_space(p, NULL, &fs_id, &room, &unit);
    if (status == 0 && size > room) {
        status = ota_posix_fail(p, ENOSPC); /* now, not after minutes of building */
    }
    if (status != 0) {
        return status;
    }
    p->image_fd = ota_fd_open(p->tmp_fd, PART_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (p->image_fd < 0) {
        return ota_posix_fail(p, errno);
    }
    p->image_digest = digest;
    return 0;
}

int ota_image_write(void *ctx, const uint8_t *buf, size_t len)
{
    struct ota_posix *p = ctx;
    return p->image_fd >= 0 ? ota_fd_write(p, p->image_fd, buf, len) : ota_posix_refuse(p, OTA_E_INTERNAL);
}

int ota_image_commit(void *ctx)
{
    struct ota_posix *p = ctx;
    char name[40];
    int e;
    int status;
    if (p->image_fd < 0) {
        return ota_posix_refuse(p, OTA_E_INTERNAL);
    }
    image_name(p->image_digest, name);
    status = ota_fd_sync(p, p->image_fd);
    e = ota_fd_close(&p->image_fd);
    if (status == 0 && e != 0) {
        status = ota_posix_fail(p, e);
    }
    if (status == 0 && renameat(p->tmp_fd, PART_NAME, p->tmp_fd, name) != 0) {
        status = ota_posix_fail(p, errno);
    }
    if (status != 0) {
        (void)unlinkat(p->tmp_fd, PART_NAME, 0);
        return status;
    }
    return ota_fd_sync(p, p->tmp_fd);
}

int ota_image_remove(void *ctx, uint64_t digest)
{
    struct ota_posix *p = ctx;
    char name[40];
    int gone = 1;
    image_name(digest, name);
    if (unlinkat(p->tmp_fd, name, 0) != 0) {
        if (errno != ENOENT) {
            return ota_posix_fail(p, errno);
        }
        gone = 0;
    }
    if (p->image_fd < 0 && unlinkat(p->tmp_fd, PART_NAME, 0) == 0) {
        gone = 1; /* of a run that was cut; this one needs no image any more */
    }
    return gone ? ota_fd_sync(p, p->tmp_fd) : 0;
}

int ota_image_tmp_keeps(void *ctx)
{
    enum { TMPFS = 0x01021994, RAMFS = (int)0x858458f6 }; /* statfs(2) */
    struct ota_posix *p = ctx;
    struct statfs fs;
    if (fstatfs(p->tmp_fd, &fs) != 0) {
        return ota_posix_fail(p, errno);
    }
    return (int)fs.f_type != TMPFS && (int)fs.f_type != RAMFS;
}

void ota_image_abort(struct ota_posix *p)
{
    if (p->image_fd >= 0) {
        (void)ota_fd_close(&p->image_fd);
        (void)unlinkat(p->tmp_fd, PART_NAME, 0);
    }
}
