/* port_folder.h - a scratch folder for the tests of the port: an apply root, a temporary folder, a port on them. */
#ifndef OTA_TESTS_PORT_FOLDER_H
#define OTA_TESTS_PORT_FOLDER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "otastream_posix.h"

struct folder {
    char base[256]; /* the scratch folder */
    char root[300]; /* base/root */
    char tmp[300];  /* base/tmp */
    void *workspace;
    struct ota_port port;
};

static inline void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "the test cannot go on: %s: %s\n", what, strerror(errno));
        exit(2);
    }
}

static inline void remove_all(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        DIR *d = fdopendir(fd);
        struct dirent *e;
        must(d != NULL, "fdopendir");
        while ((e = readdir(d)) != NULL) {
            if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
                remove_all(dirfd(d), e->d_name);
            }
        }
        closedir(d);
        (void)unlinkat(dir, name, AT_REMOVEDIR);
    } else {
        (void)unlinkat(dir, name, 0);
    }
}

static inline int folder_init_port(struct folder *f, const char *root)
{
    struct ota_posix_options o;
    memset(&o, 0, sizeof(o));
    o.root = root;
    o.tmp = f->tmp;
    return ota_posix_init(f->workspace, ota_posix_size(), &o, NULL);
}

static inline void folder_open(struct folder *f)
{
    const char *where = getenv("TMPDIR");
    memset(f, 0, sizeof(*f));
    snprintf(f->base, sizeof(f->base), "%s/ota-port-XXXXXX", where != NULL && *where != '\0' ? where : "/tmp");
    must(mkdtemp(f->base) != NULL, "mkdtemp");
    snprintf(f->root, sizeof(f->root), "%s/root", f->base);
    snprintf(f->tmp, sizeof(f->tmp), "%s/tmp", f->base);
    must(mkdir(f->root, 0755) == 0 && mkdir(f->tmp, 0755) == 0, "mkdir");
    f->workspace = malloc(ota_posix_size());
    must(f->workspace != NULL, "malloc");
    must(folder_init_port(f, f->root) == 0, "ota_posix_init");
    ota_posix_port(f->workspace, &f->port);
}

static inline void folder_close(struct folder *f)
{
    ota_posix_close(f->workspace);
    free(f->workspace);
    remove_all(AT_FDCWD, f->base);
}

/* A path of the host: base/rel. Four may be in use at a time. */
static inline const char *host(const struct folder *f, const char *rel)
{
    static char text[4][8192];
    static unsigned next;
    char *t = text[next++ % 4];
    snprintf(t, sizeof(text[0]), "%s/%s", f->base, rel);
    return t;
}

static inline void put_file(const struct folder *f, const char *rel, const char *content)
{
    int fd = open(host(f, rel), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    size_t len = strlen(content);
    must(fd >= 0 && write(fd, content, len) == (ssize_t)len && close(fd) == 0, rel);
}

static inline void put_dir(const struct folder *f, const char *rel)
{
    must(mkdir(host(f, rel), 0755) == 0, rel);
}

static inline void put_link(const struct folder *f, const char *rel, const char *text)
{
    must(symlink(text, host(f, rel)) == 0, rel);
}

/* Does base/rel hold exactly this content (NULL: is there nothing of that name)? */
static inline int holds(const struct folder *f, const char *rel, const char *content)
{
    char got[4096];
    struct stat st;
    ssize_t n;
    int fd;
    if (content == NULL) {
        return lstat(host(f, rel), &st) != 0 && errno == ENOENT;
    }
    fd = open(host(f, rel), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    n = read(fd, got, sizeof(got));
    close(fd);
    return n >= 0 && (size_t)n == strlen(content) && memcmp(got, content, (size_t)n) == 0;
}

static inline struct stat lstat_of(const struct folder *f, const char *rel)
{
    struct stat st;
    memset(&st, 0, sizeof(st));
    (void)lstat(host(f, rel), &st);
    return st;
}

static inline struct ota_path at_root(const char *root, const char *path)
{
    struct ota_path p;
    p.root = root;
    p.root_len = strlen(root);
    p.path = path;
    p.path_len = strlen(path);
    return p;
}

static inline struct ota_path at(const char *path)
{
    return at_root("/", path);
}

static inline struct ota_meta with_mode(uint32_t mode)
{
    struct ota_meta m;
    memset(&m, 0, sizeof(m));
    m.set = OTA_META_MODE;
    m.mode = mode;
    return m;
}

/* Write content to path as the executor does. */
static inline int stage(struct folder *f, struct ota_path path, const char *content, const struct ota_meta *meta)
{
    struct ota_port *o = &f->port;
    int status = o->stage_begin(o->ctx, &path, strlen(content));
    if (status == 0) {
        status = o->stage_write(o->ctx, (const uint8_t *)content, strlen(content));
    }
    if (status == 0) {
        return o->stage_commit(o->ctx, &path, meta);
    }
    o->stage_abort(o->ctx);
    return status;
}

static inline struct ota_stat stat_of(struct folder *f, struct ota_path path, int *status)
{
    struct ota_stat st;
    *status = f->port.stat(f->port.ctx, &path, &st);
    return st;
}

/* Is base/rel's folder free of leftovers of staging? */
static inline int no_leftover(const struct folder *f, const char *dir)
{
    char rel[512];
    snprintf(rel, sizeof(rel), "%s/.otastream-new", dir);
    return holds(f, rel, NULL);
}

#endif
