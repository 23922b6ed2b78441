/* path.c - names to open folders, never leaving the apply root.
 *
 * Paths are resolved here and not by the kernel, component by component. Every folder on the way stays open, so ".."
 * in the text of a symbolic link goes back to the folder that was really passed, and a folder that somebody moves
 * meanwhile cannot lead out of the root. (openat2 with RESOLVE_IN_ROOT would do this, but needs Linux 5.6; the calls
 * used here exist since 2.6.39.)
 */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A walk in progress. The text still to go stands at the end of the scratch buffer, so that the text of a link can be
 * put in front of it. */
struct walk {
    struct ota_posix *p;
    int dir[OTA_POSIX_DEPTH]; /* folders passed; the apply root is not in it */
    unsigned depth;
    unsigned links;
    size_t at; /* scratch.text[at ..] is still to go */
};

static int walk_top(const struct walk *w)
{
    return w->depth > 0 ? w->dir[w->depth - 1] : w->p->root_fd;
}

static void walk_pop(struct walk *w)
{
    if (w->depth > 0) {
        w->depth--;
        (void)ota_fd_close(&w->dir[w->depth]);
    }
}

static int walk_push(struct walk *w, int fd)
{
    if (w->depth == OTA_POSIX_DEPTH) {
        (void)ota_fd_close(&fd);
        return ota_posix_fail(w->p, ENAMETOOLONG);
    }
    w->dir[w->depth++] = fd;
    return 0;
}

static void walk_end(struct walk *w)
{
    while (w->depth > 0) {
        walk_pop(w);
    }
}

static int walk_begin(struct walk *w, struct ota_posix *p, const char *text, size_t len)
{
    w->p = p;
    w->depth = 0;
    w->links = 0;
    if (len > OTA_PATH_MAX || memchr(text, '\0', len) != NULL) {
        w->at = OTA_POSIX_SCRATCH;
        return ota_posix_refuse(p, OTA_E_PATH);
    }
    w->at = OTA_POSIX_SCRATCH - len;
    memcpy(p->scratch.text + w->at, text, len);
    return 0;
}

/* The next component, or an empty name at the end. */
static int walk_next(struct walk *w, char name[OTA_NAME_MAX + 1])
{
    const char *text = w->p->scratch.text;
    size_t n = 0;
    while (w->at < OTA_POSIX_SCRATCH && text[w->at] == '/') {
        w->at++;
    }
    while (w->at < OTA_POSIX_SCRATCH && text[w->at] != '/') {
        if (n == OTA_NAME_MAX) {
            return ota_posix_fail(w->p, ENAMETOOLONG);
        }
        name[n++] = text[w->at++];
    }
    name[n] = '\0';
    return 0;
}

/* Put the text of the symbolic link `name` in front of what is still to go. */
static int walk_link(struct walk *w, const char *name)
{
    char *text = w->p->scratch.text;
    size_t room = w->at;
    ssize_t n;
    if (++w->links > OTA_POSIX_LINKS) {
        return ota_posix_fail(w->p, ELOOP);
    }
    if (room > 0 && w->at < OTA_POSIX_SCRATCH) {
        text[--w->at] = '/';
        room--;
    }
    n = readlinkat(walk_top(w), name, text, room);
    if (n < 0) {
        return ota_posix_fail(w->p, errno == EINVAL ? ENOTDIR : errno); /* EINVAL: it is no link (any more) */
    }
    if (n == 0 || (size_t)n >= room) {
        return ota_posix_fail(w->p, n == 0 ? ENOENT : ENAMETOOLONG);
    }
    w->at -= (size_t)n;
    memmove(text + w->at, text, (size_t)n);
    if (text[w->at] == '/') {
        while (w->depth > 0) {
            walk_pop(w);
        }
    }
    return 0;
}

/* Go one component on; `follow` symbolic links. */
static int walk_step(struct walk *w, const char *name, int follow)
{
    int fd;
    if (strcmp(name, ".") == 0) {
        return 0;
    }
    if (strcmp(name, "..") == 0) {
        walk_pop(w);
        return 0;
    }
    fd = ota_fd_open(walk_top(w), name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd >= 0) {
        return walk_push(w, fd);
    }
    if (follow && (errno == ENOTDIR || errno == ELOOP)) {
        return walk_link(w, name);
    }
    return ota_posix_fail(w->p, errno);
}

/* All of a text that may pass through links. */
static int walk_all(struct walk *w)
{
    char name[OTA_NAME_MAX + 1];
    for (;;) {
        int status = walk_next(w, name);
        if (status != 0 || name[0] == '\0') {
            return status;
        }
        status = walk_step(w, name, 1);
        if (status != 0) {
            return status;
        }
    }
}

/* Is this a relative path as the format demands (no empty, "." or ".." component, nothing reserved)? The reader of the
 * package has checked this before; a second look costs little. */
static int path_is_clean(const char *text, size_t len)
{
    size_t i = 0;
    unsigned count = 0;
    if (len == 0 || len > OTA_PATH_MAX || memchr(text, '\0', len) != NULL) {
        return 0;
    }
    for (;;) {
        const char *name = text + i;
        const char *slash = memchr(name, '/', len - i);
        size_t n = slash != NULL ? (size_t)(slash - name) : len - i;
        if (n == 0 || n > OTA_NAME_MAX || ++count > OTA_DEPTH_MAX || (n == 1 && name[0] == '.') ||
            (n == 2 && name[0] == '.' && name[1] == '.') ||
            (n == sizeof(OTA_STAGE_NAME) - 1 && memcmp(name, OTA_STAGE_NAME, n) == 0)) {
            return 0;
        }
        if (slash == NULL) {
            return 1;
        }
        i += n + 1;
    }
}

/* Walk to the parent of `path`; the last name goes to `name`. On failure the walk stands at the deepest folder that
 * exists. */
static int walk_to_parent(struct walk *w, struct ota_posix *p, const struct ota_path *path, char *name)
{
    int status = walk_begin(w, p, path->root, path->root_len);
    if (status == 0 && (path->root_len == 0 || path->root[0] != '/' || !path_is_clean(path->path, path->path_len))) {
        status = ota_posix_refuse(p, OTA_E_PATH);
    }
    if (status == 0) {
        status = walk_all(w);
    }
    if (status == 0) {
        w->at = OTA_POSIX_SCRATCH - path->path_len;
        memcpy(p->scratch.text + w->at, path->path, path->path_len);
        status = walk_next(w, name);
    }
    while (status == 0 && w->at < OTA_POSIX_SCRATCH) {
        status = walk_step(w, name, 0);
        if (status == 0) {
            status = walk_next(w, name);
        }
    }
    return status;
}

/* Take the folder at the top out of the walk and close the others. */
static int walk_take(struct walk *w, int *dir)
{
    if (w->depth > 0) {
        *dir = w->dir[--w->depth];
    } else {
        *dir = ota_fd_open(w->p->root_fd, ".", O_PATH | O_DIRECTORY, 0);
        if (*dir < 0) {
            return ota_posix_fail(w->p, errno);
        }
    }
    walk_end(w);
    return 0;
}

/* An applier that was killed may have left renames in the page cache: visible, but lost at a power cut. This run would
 * skip what looks right, so before it looks at a file system for the first time, it makes what is there durable. */
static int settle(struct ota_posix *p, int dir)
{
    struct stat st;
    uint32_t i;
    int fd;
    int status;
    if (fstatat(dir, "", &st, AT_EMPTY_PATH) != 0) {
        return ota_posix_fail(p, errno);
    }
    for (i = 0; i < p->synced_count && i < OTA_POSIX_FS; i++) {
        if (p->synced_fs[i] == (uint64_t)st.st_dev) {
            return 0;
        }
    }
    status = ota_dir_open(p, dir, &fd);
    if (status != 0) {
        return p->err == EACCES ? 0 : status; /* may be searched but not listed: try again at the next folder */
    }
    if (syncfs(fd) != 0 && errno != ENOSYS && errno != EINVAL) {
        status = ota_posix_fail(p, errno);
    }
    (void)ota_fd_close(&fd);
    if (status == 0) {
        p->synced_fs[p->synced_count % OTA_POSIX_FS] = (uint64_t)st.st_dev;
        p->synced_count++;
    }
    return status;
}

int ota_place_find(struct ota_posix *p, const struct ota_path *path, struct ota_place *place)
{
    struct walk w;
    int status = walk_to_parent(&w, p, path, place->name);
    place->dir = -1;
    if (status == 0) {
        status = walk_take(&w, &place->dir);
    }
    walk_end(&w);
    if (status == 0) {
        status = settle(p, place->dir);
    }
    if (status != 0) {
        ota_place_close(place);
    }
    return status;
}

void ota_place_close(struct ota_place *place)
{
    (void)ota_fd_close(&place->dir);
}

int ota_path_nearest(struct ota_posix *p, const struct ota_path *path, int *dir)
{
    struct walk w;
    char name[OTA_NAME_MAX + 1];
    int status = walk_to_parent(&w, p, path, name);
    if (status == -OTA_E_MISSING || (status == -OTA_E_PATH && (p->err == ENOTDIR || p->err == ELOOP))) {
        status = 0; /* what is missing will be made in the folder where the walk stopped */
    }
    *dir = -1;
    if (status == 0) {
        status = walk_take(&w, dir);
    }
    walk_end(&w);
    return status;
}

/* ---- nodes ----------------------------------------------------------------------------------------------------- */

int ota_node_find(struct ota_posix *p, const char *name, size_t len, struct ota_place *place, struct stat *st)
{
    struct walk w;
    int status = walk_begin(&w, p, name, len);
    place->dir = -1;
    if (status == 0 && (len < 2 || name[0] != '/' || !path_is_clean(name + 1, len - 1))) {
        status = ota_posix_refuse(p, OTA_E_PATH);
    }
    while (status == 0) {
        status = walk_next(&w, place->name);
        if (status != 0) {
            break;
        }
        if (w.at < OTA_POSIX_SCRATCH) {
            status = walk_step(&w, place->name, 1);
            continue;
        }
        /* the last name: a link is followed, anything else is what was asked for */
        if (place->name[0] == '\0' || strcmp(place->name, ".") == 0 || strcmp(place->name, "..") == 0) {
            status = ota_posix_fail(p, EISDIR);
        } else if (fstatat(walk_top(&w), place->name, st, AT_SYMLINK_NOFOLLOW) != 0) {
            status = ota_posix_fail(p, errno);
        } else if (S_ISLNK(st->st_mode)) {
            status = walk_link(&w, place->name);
        } else {
            status = walk_take(&w, &place->dir);
            break;
        }
    }
    walk_end(&w);
    return status;
}

int ota_node_openat(struct ota_posix *p, const struct ota_place *place, const struct stat *st, int flags, int *fd)
{
    struct stat now;
    int status = 0;
    /* O_NONBLOCK: a FIFO or terminal that was put there meanwhile must not hang us */
    *fd = ota_fd_open(place->dir, place->name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (*fd < 0) {
        return ota_posix_fail(p, errno);
    }
    if (fstat(*fd, &now) != 0) {
        status = ota_posix_fail(p, errno);
    } else if (now.st_dev != st->st_dev || now.st_ino != st->st_ino || now.st_rdev != st->st_rdev ||
               (now.st_mode & S_IFMT) != (st->st_mode & S_IFMT)) {
        status = ota_posix_refuse(p, OTA_E_CHANGED);
    }
    if (status != 0) {
        (void)ota_fd_close(fd);
    }
    return status;
}

/* ---- folders --------------------------------------------------------------------------------------------------- */

int ota_dir_open(struct ota_posix *p, int dir, int *fd)
{
    *fd = ota_fd_open(dir, ".", O_RDONLY | O_DIRECTORY, 0);
    return *fd >= 0 ? 0 : ota_posix_fail(p, errno);
}

int ota_dir_sync(struct ota_posix *p, int dir)
{
    int fd;
    int status = ota_dir_open(p, dir, &fd);
    if (status == 0) {
        status = ota_fd_sync(p, fd);
        (void)ota_fd_close(&fd);
    }
    return status;
}
