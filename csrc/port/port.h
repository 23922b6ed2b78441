/* port.h - what the files of the Linux port share. One file per medium; nothing here is public.
 *
 * Rules of the port: no allocation, no output, EINTR retried, short reads and writes continued. Every function that
 * can fail returns 0 (or what its line says) or a negative status, and leaves errno in ota_posix.err.
 */
#ifndef OTA_PORT_H
#define OTA_PORT_H

#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* this header comes first in every file of the port */
#endif

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "otastream.h"
#include "otastream_posix.h"

/* A staged file; the format reserves this name, so it is never anybody's content. */
#define OTA_STAGE_NAME ".otastream-new"

/* Longest option string (root, tmp, shell), NUL included. */
#define OTA_POSIX_TEXT 4096u
/* Shared buffer: a path being resolved, a list or a value of extended attributes (a header is at most 16 KiB, so no
 * value of a package is longer), the environment of a script, an identity file. Never two of them at a time. */
#define OTA_POSIX_SCRATCH 16384u
/* File systems that are remembered as synced by this run. */
#define OTA_POSIX_FS 8u
/* Directories on the way to a target, counted after symbolic links were resolved. */
#define OTA_POSIX_DEPTH 128u
#define OTA_POSIX_LINKS 40u

/* One of the three things that can be open at a time. flash->ctx of a node is its slot. */
struct ota_posix_slot {
    struct ota_posix *owner;
    int fd;              /* -1: free */
    int is_block;        /* a block device, not a regular file that stands for one */
    uint64_t size;       /* bytes */
    uint32_t erase_size; /* mtd.c */
    uint32_t prog_size;  /* mtd.c */
};

struct ota_posix {
    int err; /* errno of the last failure */
    int root_fd;
    int tmp_fd;
    struct ota_posix_slot slot[OTA_SLOTS];

    int stage_dir; /* folder of the staged file, -1: none */
    int stage_fd;
    int image_fd; /* image being built, -1: none */
    uint64_t image_digest;
    int script_fd; /* script being spooled, -1: none */
    enum ota_script_when script_open;
    int script_spooled[3]; /* by enum ota_script_when: 1 = complete, -1 = there, not complete */
    int ubi_fd;            /* ubi.c: volume being updated, -1: none */
    uint64_t ubi_left;     /* ubi.c: bytes still to be written */

    uint64_t synced_fs[OTA_POSIX_FS]; /* st_dev of file systems this run has synced, see settle in path.c */
    uint32_t synced_count;

    int (*tick)(void *ctx, const struct ota_report *report);
    void *tick_ctx;
    const struct ota_report *report; /* what the executor last handed to tick; scripts tick on with it */

    char root_env[9 + OTA_POSIX_TEXT]; /* "OTA_ROOT=" and the absolute path */
    char tmp_env[8 + OTA_POSIX_TEXT];  /* "OTA_TMP=" and the absolute path */
    char status_env[16];               /* "OTA_STATUS=-1" */
    char shell[OTA_POSIX_TEXT];
    const char *const *patterns; /* choose.c */
    uint32_t pattern_count;
    char hook[OTA_POSIX_TEXT]; /* choose.c: empty: none */
    char script_path[OTA_POSIX_TEXT + 32];
    union {
        char text[OTA_POSIX_SCRATCH];
        char *pointers[OTA_POSIX_SCRATCH / sizeof(char *)];
    } scratch;
};

/* ---- posix.c: errors and small helpers ------------------------------------------------------------------------- */

/* Note errno e and give the negative status that belongs to it. */
int ota_posix_fail(struct ota_posix *p, int e);
/* Note no errno (the reason is ours) and give -code. */
int ota_posix_refuse(struct ota_posix *p, enum ota_error code);
/* close *fd if it is open and set it to -1; 0 or errno. EINTR counts as closed, as on Linux it is. */
int ota_fd_close(int *fd);
/* All of buf, or a negative status. At end of file: -OTA_E_CHANGED (the size was checked before). */
int ota_fd_read_at(struct ota_posix *p, int fd, uint64_t off, uint8_t *buf, size_t len);
int ota_fd_write(struct ota_posix *p, int fd, const uint8_t *buf, size_t len);
int ota_fd_write_at(struct ota_posix *p, int fd, uint64_t off, const uint8_t *buf, size_t len);
int ota_fd_sync(struct ota_posix *p, int fd);
/* ioctl with a pointer; musl's takes the request as int, which most requests do not fit without a cast. */
int ota_fd_ioctl(int fd, unsigned long request, void *arg);
/* openat that retries EINTR and always sets O_CLOEXEC; -1 with errno. */
int ota_fd_open(int dir, const char *name, int flags, unsigned mode);

/* ---- path.c: names to open files, never leaving the apply root ------------------------------------------------- */

/* A parent folder (opened O_PATH) and the name in it. */
struct ota_place {
    int dir; /* -1: nothing is held */
    char name[OTA_NAME_MAX + 1];
};

/* The parent folder and the last name of a path. -OTA_E_MISSING (errno ENOENT) when a folder on the way is missing,
 * -OTA_E_PATH (ENOTDIR, ELOOP) when one is not a folder. Release with ota_place_close. */
int ota_place_find(struct ota_posix *p, const struct ota_path *path, struct ota_place *place);
void ota_place_close(struct ota_place *place);
/* As far as the path exists: the deepest folder on the way to it (the root of the path at least partly counts). */
int ota_path_nearest(struct ota_posix *p, const struct ota_path *path, int *dir);
/* Open what an absolute name beneath the apply root names, symbolic links followed inside the root as chroot would.
 * `place` names the object itself, `st` says what it is; nothing has been opened yet (opening a device may act). */
int ota_node_find(struct ota_posix *p, const char *name, size_t len, struct ota_place *place, struct stat *st);
/* ota_node_find and open with these flags; the type is checked to be the same before and after. */
int ota_node_openat(struct ota_posix *p, const struct ota_place *place, const struct stat *st, int flags, int *fd);
/* The folder itself, opened for reading (an O_PATH handle can be neither synced nor asked for free space). */
int ota_dir_open(struct ota_posix *p, int dir, int *fd);
int ota_dir_sync(struct ota_posix *p, int dir);

/* ---- callbacks, one file per medium ---------------------------------------------------------------------------- */

/* tree.c: looking, meta data, folders, removing; stage.c: staged files, links, moves */
int ota_tree_stat(void *ctx, const struct ota_path *path, struct ota_stat *st);
int ota_tree_read_link(void *ctx, const struct ota_path *path, char *buf, size_t cap, size_t *len);
int ota_tree_open(void *ctx, enum ota_slot slot, const struct ota_path *path, uint64_t *size);
int ota_tree_stage_begin(void *ctx, const struct ota_path *path, uint64_t size);
int ota_tree_stage_write(void *ctx, const uint8_t *buf, size_t len);
int ota_tree_stage_commit(void *ctx, const struct ota_path *path, const struct ota_meta *meta);
void ota_tree_stage_abort(void *ctx);
/* Remove what an earlier run left under the staging name in this folder: a file, a link or an empty folder. */
int ota_stage_drop(struct ota_posix *p, int dir);
int ota_tree_set_meta(void *ctx, const struct ota_path *path, const struct ota_meta *meta);
int ota_tree_make_dir(void *ctx, const struct ota_path *path, const struct ota_meta *meta);
int ota_tree_remove(void *ctx, const struct ota_path *path, int dir);
int ota_tree_symlink(void *ctx, const struct ota_path *path, const char *text, size_t len, const struct ota_meta *meta);
int ota_tree_hard_link(void *ctx, const struct ota_path *path, const struct ota_path *to);
int ota_tree_rename(void *ctx, const struct ota_path *from, const struct ota_path *to);
int ota_tree_free_space(void *ctx, const struct ota_path *path, uint64_t *fs_id, uint64_t *bytes, uint32_t *unit);

/* meta.c: give the open object what `meta` names and it does not have yet; *changed is set to 1 when anything was
 * written. Order: owner, extended attributes, mode, since a new owner clears setuid and capabilities. */
int ota_meta_apply(struct ota_posix *p, int fd, const struct ota_meta *meta, int *changed);

/* block.c: nodes. A character device of the MTD major goes to ota_mtd_open, a UBI volume to ota_ubi_open. */
int ota_block_node_open(void *ctx, enum ota_slot slot, const char *name, size_t len, enum ota_node_use use,
                        struct ota_flash *flash);
int ota_block_node_close(void *ctx, enum ota_slot slot);
/* Also used for files and images. */
int ota_slot_read_at(void *ctx, enum ota_slot slot, uint64_t off, uint8_t *buf, size_t len);
int ota_slot_close(void *ctx, enum ota_slot slot);

/* mtd.c: fill *flash (ctx: &p->slot[slot]) for the open MTD character device. On failure the caller closes fd; on
 * success p->slot[slot].fd is fd. */
int ota_mtd_open(struct ota_posix *p, enum ota_slot slot, int fd, int write, struct ota_flash *flash);

/* ubi.c: is this character device a UBI volume (asked before it is opened)? */
int ota_ubi_is_volume(struct ota_posix *p, dev_t device);
/* Read a volume, as a source of deltas or to verify; writing goes through the callbacks below. Same rules as
 * ota_mtd_open. */
int ota_ubi_open(struct ota_posix *p, enum ota_slot slot, int fd, struct ota_flash *flash);
int ota_ubi_begin(void *ctx, const char *name, size_t len, uint64_t size);
int ota_ubi_write(void *ctx, const uint8_t *buf, size_t len);
int ota_ubi_end(void *ctx);
/* Drop what is half written; always safe, called by ota_posix_close. */
void ota_ubi_abort(struct ota_posix *p);

/* image.c */
int ota_image_open(void *ctx, enum ota_slot slot, uint64_t digest, uint64_t *size);
int ota_image_begin(void *ctx, uint64_t digest, uint64_t size);
int ota_image_write(void *ctx, const uint8_t *buf, size_t len);
int ota_image_commit(void *ctx);
int ota_image_remove(void *ctx, uint64_t digest);
int ota_image_tmp_keeps(void *ctx);
void ota_image_abort(struct ota_posix *p);

/* script.c */
int ota_script_begin(void *ctx, enum ota_script_when when);
int ota_script_write(void *ctx, const uint8_t *buf, size_t len);
int ota_script_end(void *ctx);
int ota_script_run(void *ctx, enum ota_script_when when, int ota_status, int *exit_code);
void ota_script_cleanup(struct ota_posix *p);
/* Run the program argv[0] (absolute) as scripts are run, and wait for it; argv is not in the scratch buffer. */
int ota_program_run(struct ota_posix *p, char *const argv[], int *exit_code);

/* choose.c */
int ota_choose_allow(void *ctx, const struct ota_asked *asked);

/* identity.c */
int ota_identity_read(void *ctx, enum ota_identity what, char *buf, size_t cap, size_t *len);

#endif
