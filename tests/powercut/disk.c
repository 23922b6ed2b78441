/* disk.c - see disk.h */
#include "disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_CAP 1024u
#define SECTOR 512u

static void need(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static void *copied(const void *data, size_t len)
{
    void *p = malloc(len + 1);
    need(p != NULL, "malloc");
    if (len > 0)
        memcpy(p, data, len);
    return p;
}

static void set_name(char *to, const char *name)
{
    need(strlen(name) < DISK_NAME, "a name is too long for the model");
    strcpy(to, name);
}

/* ---- real folder -> disk ----------------------------------------------------------------------------------------- */

struct seen {
    uint64_t ino;
    int is;
};

static struct seen seen[DISK_INODES];
static int seen_count;

static int inode_of(struct disk *d, const struct stat *st)
{
    struct disk_inode *n;
    for (int i = 0; i < seen_count; i++)
        if (seen[i].ino == (uint64_t)st->st_ino)
            return seen[i].is;
    need(d->inodes < DISK_INODES, "too many inodes for the model");
    n = &d->inode[d->inodes];
    memset(n, 0, sizeof *n);
    n->type = S_ISREG(st->st_mode) ? DISK_FILE : S_ISDIR(st->st_mode) ? DISK_DIR : DISK_LINK;
    n->mode = n->type == DISK_LINK ? 0777 : st->st_mode & 07777;
    n->uid = st->st_uid;
    n->gid = st->st_gid;
    seen[seen_count].ino = (uint64_t)st->st_ino;
    seen[seen_count++].is = d->inodes;
    return d->inodes++;
}

static void load(struct disk_inode *n, const char *path, size_t size)
{
    n->data = malloc(size + 1);
    n->owned = 1;
    need(n->data != NULL, "malloc");
    n->size = size;
    if (n->type == DISK_LINK) {
        need(readlink(path, (char *)n->data, size + 1) == (ssize_t)size, path);
    } else {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        need(fd >= 0 && read(fd, n->data, size) == (ssize_t)size && close(fd) == 0, path);
    }
}

static void scan(struct disk *d, const char *path, int dir)
{
    DIR *opened = opendir(path);
    struct dirent *e;
    char full[PATH_CAP];
    need(opened != NULL, path);
    while ((e = readdir(opened)) != NULL) {
        struct disk_entry *entry = &d->entry[d->entries];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        need(snprintf(full, sizeof full, "%s/%s", path, e->d_name) < (int)sizeof full, "path");
        need(lstat(full, &st) == 0, full);
        need(d->entries++ < DISK_ENTRIES, "too many names for the model");
        set_name(entry->name, e->d_name);
        entry->dir = dir;
        entry->ino = inode_of(d, &st);
        if (S_ISDIR(st.st_mode))
            scan(d, full, entry->ino);
        else if (d->inode[entry->ino].data == NULL)
            load(&d->inode[entry->ino], full, (size_t)st.st_size);
    }
    closedir(opened);
}

void disk_scan(struct disk *d, const char *path)
{
    struct stat st;
    d->inodes = d->entries = seen_count = 0;
    need(lstat(path, &st) == 0, path);
    scan(d, path, inode_of(d, &st));
}

void disk_free(struct disk *d)
{
    for (int i = 0; i < d->inodes; i++)
        if (d->inode[i].owned)
            free(d->inode[i].data);
    d->inodes = d->entries = 0;
}

/* ---- disk -> real folder ----------------------------------------------------------------------------------------- */

static void put_inode(const struct disk_inode *n, const char *path)
{
    int fd;
    if (n->type == DISK_LINK) {
        char text[PATH_CAP];
        need(n->size < sizeof text, "link");
        memcpy(text, n->data, n->size);
        text[n->size] = '\0';
        need(symlink(text, path) == 0 && lchown(path, n->uid, n->gid) == 0, path);
        return;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    need(fd >= 0 && write(fd, n->data, n->size) == (ssize_t)n->size, path);
    need(fchown(fd, n->uid, n->gid) == 0 && fchmod(fd, n->mode) == 0 && close(fd) == 0, path);
}

static void put(const struct disk *d, int dir, const char *path, uint64_t *real, char (*first)[PATH_CAP])
{
    char full[PATH_CAP];
    struct stat st;
    for (int i = 0; i < d->entries; i++) {
        const struct disk_entry *e = &d->entry[i];
        const struct disk_inode *n = &d->inode[e->ino];
        if (e->dir != dir)
            continue;
        need(snprintf(full, sizeof full, "%s/%s", path, e->name) < (int)sizeof full, "path");
        if (n->type == DISK_DIR) {
            need(mkdir(full, 0700) == 0, full);
            put(d, e->ino, full, real, first);
            need(chown(full, n->uid, n->gid) == 0 && chmod(full, n->mode) == 0, full);
        } else if (real[e->ino] != 0) {
            need(link(first[e->ino], full) == 0, full);
        } else {
            put_inode(n, full);
            strcpy(first[e->ino], full);
        }
        need(lstat(full, &st) == 0, full);
        real[e->ino] = (uint64_t)st.st_ino;
    }
}

void disk_put(const struct disk *d, const char *path, uint64_t *real)
{
    static char first[DISK_INODES][PATH_CAP];
    struct stat st;
    memset(real, 0, sizeof *real * DISK_INODES);
    put(d, 0, path, real, first);
    need(lstat(path, &st) == 0, path);
    real[0] = (uint64_t)st.st_ino;
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static int entry_at(const struct disk *d, int dir, const char *name, size_t len)
{
    for (int i = 0; i < d->entries; i++)
        if (d->entry[i].dir == dir && strlen(d->entry[i].name) == len && memcmp(d->entry[i].name, name, len) == 0)
            return i;
    return -1;
}

int disk_find(const struct disk *d, const char *path)
{
    int at = 0;
    while (*path != '\0' && at >= 0) {
        size_t len = strcspn(path, "/");
        int e = entry_at(d, at, path, len);
        at = e < 0 ? -1 : d->entry[e].ino;
        path += len + (path[len] == '/');
    }
    return at;
}

static void walk(const struct disk *d, int dir, const char *path, void (*visit)(void *, const char *, int), void *ctx)
{
    char full[PATH_CAP];
    for (int i = 0; i < d->entries; i++) {
        const struct disk_entry *e = &d->entry[i];
        if (e->dir != dir)
            continue;
        need(snprintf(full, sizeof full, "%s%s%s", path, *path ? "/" : "", e->name) < (int)sizeof full, "path");
        visit(ctx, full, e->ino);
        if (d->inode[e->ino].type == DISK_DIR)
            walk(d, e->ino, full, visit, ctx);
    }
}

void disk_walk(const struct disk *d, void (*visit)(void *ctx, const char *path, int ino), void *ctx)
{
    walk(d, 0, "", visit, ctx);
}

struct comparison {
    const struct disk *mine;
    const struct disk *other;
    const char *part;
    const char *but;
    char *why;
    size_t cap;
    int compare; /* 0: only look whether it is there */
    int links[DISK_INODES];
};

static void differ(struct comparison *c, const char *path, const char *what)
{
    if (c->why[0] == '\0')
        snprintf(c->why, c->cap, "%s: %s", path, what);
}

static int ends(const char *path, const char *end)
{
    size_t n = strlen(path);
    size_t m = strlen(end);
    return m > 0 && n >= m && strcmp(path + n - m, end) == 0;
}

static void compare(void *ctx, const char *path, int ino)
{
    struct comparison *c = ctx;
    const struct disk_inode *a = &c->mine->inode[ino];
    const struct disk_inode *b;
    size_t n = strlen(c->part);
    int at = disk_find(c->other, path);
    if (strncmp(path, c->part, n) != 0 || (n > 0 && path[n] != '/') || ends(path, c->but))
        return;
    if (at < 0) {
        differ(c, path, c->compare ? "should not be there" : "is missing");
        return;
    }
    if (!c->compare)
        return;
    b = &c->other->inode[at];
    if (a->type != b->type)
        differ(c, path, "is of another type");
    else if (a->size != b->size || (a->size > 0 && memcmp(a->data, b->data, a->size) != 0))
        differ(c, path, "has other content");
    else if (a->mode != b->mode || a->uid != b->uid || a->gid != b->gid)
        differ(c, path, "has another mode or owner");
    else if (a->type == DISK_FILE && c->links[ino] != 0 && c->links[ino] != at + 1)
        differ(c, path, "is linked to something else");
    c->links[ino] = at + 1;
}

int disk_differs(const struct disk *a, const struct disk *b, const char *part, const char *but, char *why, size_t cap)
{
    struct comparison c;
    memset(&c, 0, sizeof c);
    why[0] = '\0';
    c.part = part;
    c.but = but;
    c.why = why;
    c.cap = cap;
    c.mine = a;
    c.other = b;
    c.compare = 1;
    disk_walk(a, compare, &c);
    memset(c.links, 0, sizeof c.links);
    c.mine = b;
    c.other = a;
    c.compare = 0;
    disk_walk(b, compare, &c);
    if (why[0] == '\0') { /* names that are one in b and two in a */
        c.compare = 1;
        disk_walk(b, compare, &c);
    }
    return why[0] != '\0';
}

/* ---- history ----------------------------------------------------------------------------------------------------- */

struct event *history_add(struct history *h, enum event_kind kind)
{
    struct event *e = &h->event[h->events++];
    need(h->events < DISK_EVENTS, "too many events for the model");
    memset(e, 0, sizeof *e);
    e->kind = kind;
    e->durable = kind < EVENT_SYNC ? DISK_EVENTS : 0;
    return e;
}

static int synced_since(const struct history *h, int i, int ino)
{
    for (; i < h->events; i++)
        if (h->event[i].kind == EVENT_SYNC_ALL || (h->event[i].kind == EVENT_SYNC && h->event[i].ino == ino))
            return 1;
    return 0;
}

void history_sync(struct history *h, int ino)
{
    int at = h->events;
    history_add(h, ino < 0 ? EVENT_SYNC_ALL : EVENT_SYNC)->ino = ino;
    for (int i = 0; i < at; i++) {
        struct event *e = &h->event[i];
        int content = e->kind == EVENT_WRITE || e->kind == EVENT_META;
        if (e->kind >= EVENT_SYNC || e->durable < DISK_EVENTS)
            continue;
        if (content ? synced_since(h, i, e->ino)
                    : synced_since(h, i, e->dir) && (e->kind != EVENT_RENAME || synced_since(h, i, e->to)))
            e->durable = at;
    }
}

int history_inode(struct history *h, enum disk_type type, uint32_t mode, uint32_t uid, uint32_t gid)
{
    struct disk_inode *n = &h->base.inode[h->base.inodes];
    need(h->base.inodes < DISK_INODES, "too many inodes for the model");
    memset(n, 0, sizeof *n);
    n->type = type;
    n->mode = mode;
    n->uid = uid;
    n->gid = gid;
    return h->base.inodes++;
}

int history_open(const struct history *h, int i, int cut)
{
    return h->event[i].kind < EVENT_SYNC && h->event[i].durable >= cut;
}

static void leave(struct disk *d, int dir, const char *name, int ino)
{
    int i = entry_at(d, dir, name, strlen(name));
    if (i >= 0 && (ino < 0 || d->entry[i].ino == ino))
        d->entry[i] = d->entry[--d->entries];
}

static void enter(struct disk *d, int dir, const char *name, int ino)
{
    leave(d, dir, name, -1);
    need(d->entries < DISK_ENTRIES, "too many names for the model");
    set_name(d->entry[d->entries].name, name);
    d->entry[d->entries].dir = dir;
    d->entry[d->entries++].ino = ino;
}

static void store(struct disk_inode *n, const struct event *e, enum keep keep)
{
    size_t len = keep == KEEP_HALF ? e->len / 2 : e->len;
    size_t end = (size_t)e->off + len;
    size_t size = end > n->size ? end : n->size;
    uint8_t *own = n->owned ? realloc(n->data, size + 1) : copied(n->data, n->size);
    need(own != NULL, "realloc");
    if (!n->owned) {
        own = realloc(own, size + 1);
        need(own != NULL, "realloc");
    }
    n->data = own;
    n->owned = 1;
    if (size > n->size)
        memset(own + n->size, 0, size - n->size);
    n->size = size;
    for (size_t at = 0; at < len; at += SECTOR) /* KEEP_SECTORS: every other sector did not get there */
        if (keep != KEEP_SECTORS || at / SECTOR % 2 != 0)
            memcpy(own + e->off + at, e->data + at, len - at < SECTOR ? len - at : SECTOR);
}

void history_cut(const struct history *h, int cut, const uint8_t *keep, struct disk *out)
{
    *out = h->base;
    for (int i = 0; i < out->inodes; i++)
        out->inode[i].owned = 0;
    for (int i = 0; i < cut; i++) {
        const struct event *e = &h->event[i];
        struct disk_inode *n = &out->inode[e->ino >= 0 ? e->ino : 0];
        enum keep k = history_open(h, i, cut) ? (enum keep)keep[i] : KEEP_ALL;
        if (k == KEEP_NOT)
            continue;
        switch (e->kind) {
        case EVENT_WRITE:
            store(n, e, k);
            break;
        case EVENT_META:
            n->mode = e->mode;
            n->uid = e->uid;
            n->gid = e->gid;
            break;
        case EVENT_ENTER:
            enter(out, e->dir, e->name, e->ino);
            break;
        case EVENT_LEAVE:
            leave(out, e->dir, e->name, e->ino);
            break;
        case EVENT_RENAME:
            leave(out, e->dir, e->name, -1); /* also what an unlink that was lost should have taken away */
            enter(out, e->to, e->to_name, e->ino);
            break;
        default:
            break;
        }
    }
}

void history_shorten(struct history *h, int count)
{
    while (h->events > count)
        free(h->event[--h->events].data);
    for (int i = 0; i < count; i++)
        if (h->event[i].kind < EVENT_SYNC && h->event[i].durable >= count)
            h->event[i].durable = DISK_EVENTS;
}

void history_free(struct history *h)
{
    history_shorten(h, 0);
    disk_free(&h->base);
}

/* The data that the disk shares with another one is copied. */
void history_start(struct history *h, struct disk *d)
{
    h->events = 0;
    h->base = *d;
    for (int i = 0; i < d->inodes; i++)
        if (!d->inode[i].owned) {
            h->base.inode[i].data = copied(d->inode[i].data, d->inode[i].size);
            h->base.inode[i].owned = 1;
        }
    d->inodes = d->entries = 0;
}

void history_copy(struct history *h, const struct history *from, int count)
{
    struct disk base = from->base;
    for (int i = 0; i < base.inodes; i++)
        base.inode[i].owned = 0;
    history_start(h, &base);
    memcpy(h->event, from->event, sizeof h->event[0] * (size_t)count);
    h->events = count;
    for (int i = 0; i < count; i++)
        if (h->event[i].data != NULL)
            h->event[i].data = copied(h->event[i].data, h->event[i].len);
    history_shorten(h, count);
}
