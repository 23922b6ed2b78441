/* disk.h - a folder on a strict POSIX file system, and what of its changes a power cut may leave.
 *
 * A history is a folder as it was on the medium and every change since, in order, with the syncs between them. What
 * POSIX promises, and no more:
 *
 *   - a write or a change of mode or owner is durable when the file was synced afterwards;
 *   - a name that was made, removed or renamed is durable when its folder was synced afterwards (of a rename between
 *     two folders: both). A rename is atomic;
 *   - of all other changes any may be lost, whatever came before or after them: a name may be durable and the content
 *     behind it not. A write may also be there in part.
 *
 * Not modelled: extended attributes, times, and devices (regular files stand for them).
 */
#ifndef OTA_TESTS_DISK_H
#define OTA_TESTS_DISK_H

#include <stddef.h>
#include <stdint.h>

#define DISK_INODES 1024
#define DISK_ENTRIES 512
#define DISK_NAME 64
#define DISK_EVENTS 4096

enum disk_type { DISK_FILE, DISK_DIR, DISK_LINK };

struct disk_inode {
    enum disk_type type;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    uint8_t *data; /* content, or the text of a link */
    size_t size;
    int owned; /* data is this inode's own */
};

struct disk_entry {
    int dir; /* inode numbers */
    int ino;
    char name[DISK_NAME];
};

/* Inode 0 is the top folder. An inode without a name is not there. */
struct disk {
    struct disk_inode inode[DISK_INODES];
    int inodes;
    struct disk_entry entry[DISK_ENTRIES];
    int entries;
};

enum event_kind { EVENT_WRITE, EVENT_META, EVENT_ENTER, EVENT_LEAVE, EVENT_RENAME, EVENT_SYNC, EVENT_SYNC_ALL };

struct event {
    enum event_kind kind;
    int ino; /* what is written, synced, or gets or loses a name */
    int dir; /* where that name is (rename: was) */
    int to;  /* rename: where it is now */
    char name[DISK_NAME];
    char to_name[DISK_NAME];
    uint32_t mode, uid, gid;
    uint64_t off;
    uint8_t *data;
    size_t len;
    int durable; /* index of the sync that made it so; DISK_EVENTS: none yet */
};

/* How much of a change is on the medium. */
enum keep { KEEP_NOT, KEEP_ALL, KEEP_HALF, KEEP_SECTORS };

struct history {
    struct disk base; /* inodes that were made since have no name in it */
    struct event event[DISK_EVENTS];
    int events;
};

void disk_scan(struct disk *d, const char *path);
void disk_free(struct disk *d);
/* Make the folder `path`, which must be empty, what the disk says. real[i]: st_ino of inode i, 0 when it has no name.
 */
void disk_put(const struct disk *d, const char *path, uint64_t *real);
/* Inode of "a/b/c", -1 when there is none; "" is the top. */
int disk_find(const struct disk *d, const char *path);
/* 0 when everything beneath `part` of both is the same (hard links included), but for names that end in `but`; else
 * why says the first difference. */
int disk_differs(const struct disk *a, const struct disk *b, const char *part, const char *but, char *why, size_t cap);
/* Call for every path of d: files, folders and links, in any order. */
void disk_walk(const struct disk *d, void (*visit)(void *ctx, const char *path, int ino), void *ctx);

/* Add an event; gives it to be filled in. Syncs settle what they make durable at once. */
struct event *history_add(struct history *h, enum event_kind kind);
void history_sync(struct history *h, int ino); /* -1: everything */
/* An inode that has no name yet. */
int history_inode(struct history *h, enum disk_type type, uint32_t mode, uint32_t uid, uint32_t gid);
/* Is event i a change that a cut before event `cut` may lose? */
int history_open(const struct history *h, int i, int cut);
/* The disk when the power goes before event `cut`; keep[i] counts for the open ones. */
void history_cut(const struct history *h, int cut, const uint8_t *keep, struct disk *out);
/* Start from this disk, which is taken over. */
void history_start(struct history *h, struct disk *d);
void history_free(struct history *h);
/* The first `count` events of another one. */
void history_copy(struct history *h, const struct history *from, int count);
/* Forget all events from `count` on. */
void history_shorten(struct history *h, int count);

#endif
