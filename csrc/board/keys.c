/* keys.c - trusted Ed25519 keys, and the signatures of a preamble (docs/SPEC.md section 2).
 *
 * A key file is PEM: the SubjectPublicKeyInfo of RFC 8410, which is 12 fixed bytes and the 32 bytes of the key.
 */
#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium/crypto_hash_sha256.h>
#include <sodium/crypto_sign_ed25519.h>
#include <sodium/utils.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_MAX 4096u

static const uint8_t spki[12] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
static const char begin_mark[] = "-----BEGIN PUBLIC KEY-----";
static const char end_mark[] = "-----END PUBLIC KEY-----";

/* ---- loading ----------------------------------------------------------------------------------------------------- */

static int add_key(struct board_keys *k, const uint8_t *key)
{
    uint8_t digest[crypto_hash_sha256_BYTES];
    if (k->count == BOARD_KEYS_MAX) {
        return -1;
    }
    (void)crypto_hash_sha256(digest, key, 32);
    memcpy(k->id[k->count], digest, 8);
    memcpy(k->key[k->count], key, 32);
    k->count++;
    return 0;
}

/* All keys of a PEM text; NULL, or why it is none. */
static const char *parse_pem(struct board_keys *k, char *text)
{
    unsigned before = k->count;
    char *at = text;
    while ((at = strstr(at, begin_mark)) != NULL) {
        char *body = at + sizeof(begin_mark) - 1;
        char *end = strstr(body, end_mark);
        uint8_t der[sizeof(spki) + 32 + 1];
        size_t len = 0;
        if (end == NULL ||
            sodium_base642bin(der, sizeof(der), body, (size_t)(end - body), " \r\n\t", &len, NULL,
                              sodium_base64_VARIANT_ORIGINAL) != 0 ||
            len != sizeof(spki) + 32 || memcmp(der, spki, sizeof(spki)) != 0) {
            return "not a public Ed25519 key";
        }
        if (add_key(k, der + sizeof(spki)) != 0) {
            return "too many keys";
        }
        at = end;
    }
    return k->count > before ? NULL : "no public key in it";
}

static int load_file(struct board_keys *k, int dir, const char *folder, const char *name, struct board_failure *why)
{
    char text[FILE_MAX + 1];
    const char *problem;
    size_t fill = 0;
    ssize_t n = 0;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return board_fail(why, OTA_E_CONFIG, errno, "key %s%s", folder, name);
    }
    while (fill < FILE_MAX && ((n = read(fd, text + fill, FILE_MAX - fill)) > 0 || (n < 0 && errno == EINTR))) {
        fill += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd);
    text[fill] = '\0';
    problem = n != 0 ? "cannot be read, or is too long" : strlen(text) != fill ? "not text" : parse_pem(k, text);
    return problem == NULL ? 0 : board_fail(why, OTA_E_CONFIG, 0, "key %s%s: %s", folder, name, problem);
}

/* An entry as the kernel hands it out (getdents64(2)); opendir would want a heap. */
#define ENTRY_LENGTH 16 /* offset of its 16-bit length */
#define ENTRY_NAME 19   /* offset of its name, NUL-terminated */

static int load_folder(struct board_keys *k, int dir, const char *path, struct board_failure *why)
{
    char folder[128];
    uint64_t buf[256]; /* aligned as the kernel wants it */
    (void)snprintf(folder, sizeof(folder), "%s/", path);
    for (;;) {
        long n = syscall(SYS_getdents64, dir, buf, sizeof(buf));
        long at;
        if (n < 0) {
            return board_fail(why, OTA_E_CONFIG, errno, "keys %s", path);
        }
        if (n == 0) {
            return 0;
        }
        for (at = 0; at < n;) {
            const char *entry = (const char *)buf + at;
            const char *name = entry + ENTRY_NAME;
            uint16_t len;
            int r = name[0] == '.' ? 0 : load_file(k, dir, folder, name, why);
            if (r != 0) {
                return r;
            }
            memcpy(&len, entry + ENTRY_LENGTH, sizeof(len));
            at += len;
        }
    }
}

int board_keys_load(struct board_keys *k, const char *path, int required, struct board_failure *why)
{
    struct stat st;
    int r = 0;
    int dir;
    memset(k, 0, sizeof(*k));
    if (stat(path, &st) != 0) {
        int e = errno;
        /* a link that leads nowhere is not "no keys": the keys are somewhere else */
        if (!required && (e == ENOTDIR || e == ENOENT) && lstat(path, &st) != 0) {
            return 0;
        }
        return board_fail(why, OTA_E_CONFIG, e, "keys %s", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return load_file(k, AT_FDCWD, "", path, why);
    }
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return board_fail(why, OTA_E_CONFIG, errno, "keys %s", path);
    }
    r = load_folder(k, dir, path, why);
    (void)close(dir);
    if (r == 0 && required && k->count == 0) {
        r = board_fail(why, OTA_E_CONFIG, 0, "keys %s: no key in it", path);
    }
    return r;
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

int board_keys_check(const struct board_keys *k, const struct board_preamble *p, struct board_failure *why)
{
    static const char context[16] = "otastream-v1";
    uint8_t message[sizeof(context) + BOARD_HEAD];
    char hex[17];
    unsigned known = 0;
    unsigned s;
    unsigned i;
    if (k->count == 0) {
        return 0;
    }
    if (p->signatures == 0) {
        return board_fail(why, OTA_E_UNSIGNED, 0, "%s", "");
    }
    memcpy(message, context, sizeof(context));
    memcpy(message + sizeof(context), p->head, BOARD_HEAD);
    for (s = 0; s < p->signatures; s++) {
        (void)sodium_bin2hex(hex, sizeof(hex), p->key_id[s], 8);
        for (i = 0; i < k->count; i++) {
            if (memcmp(k->id[i], p->key_id[s], 8) != 0) {
                continue;
            }
            known++;
            if (crypto_sign_ed25519_verify_detached(p->signature[s], message, sizeof(message), k->key[i]) != 0) {
                return board_fail(why, OTA_E_SIGNATURE, 0, "%s", hex);
            }
        }
    }
    return known > 0 ? 0 : board_fail(why, OTA_E_KEY, 0, "%s", hex);
}
