/* meta.c - mode, owner and extended attributes of an open file or folder. */
#include "port.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Name spaces that a package decides about. system.* (ACLs are the mode's business) and security.selinux (the board's
 * policy's) are nobody's content. */
static int is_managed(const char *name)
{
    return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
           strcmp(name, "security.capability") == 0;
}

static int is_wanted(const struct ota_meta *meta, const char *name)
{
    const uint8_t *want;
    const uint8_t *value;
    size_t want_len;
    size_t value_len;
    size_t pos = 0;
    size_t len = strlen(name);
    while (ota_xattr_next(meta->xattrs, meta->xattrs_len, &pos, &want, &want_len, &value, &value_len) == 1) {
        if (want_len == len && memcmp(want, name, len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Remove what the package does not name. */
static int drop_others(struct ota_posix *p, int fd, const struct ota_meta *meta, int *changed)
{
    const char *list = p->scratch.text;
    ssize_t at = 0;
    ssize_t n = flistxattr(fd, p->scratch.text, sizeof(p->scratch.text));
    if (n < 0) {
        /* a file system without any has nothing to remove */
        return errno == ENOTSUP || errno == ENOSYS ? 0 : ota_posix_fail(p, errno);
    }
    while (at < n) {
        const char *name = list + at;
        at += (ssize_t)strlen(name) + 1;
        if (!is_managed(name) || is_wanted(meta, name)) {
            continue;
        }
        if (fremovexattr(fd, name) != 0) {
            if (errno == ENODATA) {
                continue;
            }
            return ota_posix_fail(p, errno);
        }
        *changed = 1;
    }
    return 0;
}

static int set_one(struct ota_posix *p, int fd, const char *name, const uint8_t *value, size_t len, int *changed)
{
    ssize_t n = fgetxattr(fd, name, p->scratch.text, sizeof(p->scratch.text));
    if (n >= 0 && (size_t)n == len && memcmp(p->scratch.text, value, len) == 0) {
        return 0;
    }
    if (fsetxattr(fd, name, value, len, 0) != 0) {
        return ota_posix_fail(p, errno);
    }
    *changed = 1;
    return 0;
}

static int set_xattrs(struct ota_posix *p, int fd, const struct ota_meta *meta, int *changed)
{
    const uint8_t *name;
    const uint8_t *value;
    size_t name_len;
    size_t value_len;
    size_t pos = 0;
    int more;
    int status = drop_others(p, fd, meta, changed);
    while (status == 0) {
        char text[256];
        more = ota_xattr_next(meta->xattrs, meta->xattrs_len, &pos, &name, &name_len, &value, &value_len);
        if (more <= 0) {
            return more;
        }
        if (name_len == 0 || name_len >= sizeof(text) || memchr(name, '\0', name_len) != NULL) {
            return ota_posix_refuse(p, OTA_E_FORMAT);
        }
        memcpy(text, name, name_len);
        text[name_len] = '\0';
        status = set_one(p, fd, text, value, value_len, changed);
    }
    return status;
}

int ota_meta_apply(struct ota_posix *p, int fd, const struct ota_meta *meta, int *changed)
{
    struct stat st;
    mode_t mode;
    int status;
    if (fstat(fd, &st) != 0) {
        return ota_posix_fail(p, errno);
    }
    mode = (meta->set & OTA_META_MODE) != 0 ? (mode_t)(meta->mode & 07777) : (mode_t)(st.st_mode & 07777);
    if ((meta->set & OTA_META_OWNER) != 0 && (st.st_uid != meta->uid || st.st_gid != meta->gid)) {
        if (fchown(fd, meta->uid, meta->gid) != 0) {
            return ota_posix_fail(p, errno);
        }
        *changed = 1;
    }
    if ((meta->set & OTA_META_XATTRS) != 0) {
        status = set_xattrs(p, fd, meta, changed);
        if (status != 0) {
            return status;
        }
    }
    if (fstat(fd, &st) != 0) { /* once more: a new owner may have cleared setuid and setgid */
        return ota_posix_fail(p, errno);
    }
    if ((st.st_mode & 07777) != mode) {
        if (fchmod(fd, mode) != 0) {
            return ota_posix_fail(p, errno);
        }
        *changed = 1;
    }
    return 0;
}
