/* selftest.c - --self-test: the whole program on two small signed packages, beneath a folder of its own in -t.
 *
 * It shows that this binary works on this board: hashes, signatures, both codecs, a delta, files, a script, the refusal
 * of what is damaged or not trusted, and that nothing changes then; and that its encoders write the very bytes that the
 * packer counts on.
 */
#include "board.h"
#include "selftest_data.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium/crypto_hash_sha256.h>
#include <sodium/crypto_sign_ed25519.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    char base[512];
    int checks;
    int failed;
} self;

static void check(int holds, const char *what)
{
    self.checks++;
    if (!holds) {
        self.failed++;
        printf("self-test: FAILED: %s\n", what);
    }
}

/* base/name; valid until the call after the next. */
static const char *in_base(const char *name)
{
    static char paths[2][sizeof(self.base) + 64];
    static int turn;
    turn = !turn;
    (void)snprintf(paths[turn], sizeof(paths[turn]), "%s/%s", self.base, name);
    return paths[turn];
}

static void put_file(const char *name, const void *data, size_t len)
{
    int fd = open(in_base(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(fd >= 0 && write(fd, data, len) == (ssize_t)len, name);
    (void)close(fd);
}

/* Does the file hold this text? */
static int file_is(const char *name, const char *text)
{
    char got[256];
    int fd = open(in_base(name), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got));
    (void)close(fd);
    return n >= 0 && (size_t)n == strlen(text) && memcmp(got, text, (size_t)n) == 0;
}

static void clean_up(void)
{
    static const char *const files[] = {"root/etc/file", "root/etc/link", "root/etc/status", "key.pem", "package"};
    static const char *const folders[] = {"root/etc", "root", "tmp", "keys"};
    size_t i;
    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void)unlink(in_base(files[i]));
    }
    for (i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        (void)rmdir(in_base(folders[i]));
    }
    (void)rmdir(self.base);
}

/* Apply these bytes as a package with these keys; the exit code. */
static int apply(const uint8_t *package, size_t len, const char *keys)
{
    struct board_options o;
    char root[sizeof(self.base) + 16];
    char tmp[sizeof(self.base) + 16];
    char file[sizeof(self.base) + 16];
    char key[sizeof(self.base) + 16];
    put_file("package", package, len);
    (void)snprintf(root, sizeof(root), "%s", in_base("root"));
    (void)snprintf(tmp, sizeof(tmp), "%s", in_base("tmp"));
    (void)snprintf(file, sizeof(file), "%s", in_base("package"));
    (void)snprintf(key, sizeof(key), "%s", in_base(keys));
    memset(&o, 0, sizeof(o));
    o.package = file;
    o.root = root;
    o.tmp = tmp;
    o.keys = key;
    o.progress = BOARD_PROGRESS_NONE;
    o.quiet = 1;
    return board_apply(&o);
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

/* Published vectors: XXH64 of its specification, SHA-256 of FIPS 180, Ed25519 of RFC 8032 section 7.1, test 2. */
static void test_digests(void)
{
    static const uint8_t abc_sha[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    static const uint8_t public_key[32] = {0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a,
                                           0xa7, 0x4d, 0x1b, 0x7e, 0xbc, 0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4,
                                           0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c};
    uint8_t signature[64] = {0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8, 0x72, 0x0e, 0x82, 0x0b, 0x5f,
                             0x64, 0x25, 0x40, 0xa2, 0xb2, 0x7b, 0x54, 0x16, 0x50, 0x3f, 0x8f, 0xb3, 0x76,
                             0x22, 0x23, 0xeb, 0xdb, 0x69, 0xda, 0x08, 0x5a, 0xc1, 0xe4, 0x3e, 0x15, 0x99,
                             0x6e, 0x45, 0x8f, 0x36, 0x13, 0xd0, 0xf1, 0x1d, 0x8c, 0x38, 0x7b, 0x2e, 0xae,
                             0xb4, 0x30, 0x2a, 0xee, 0xb0, 0x0d, 0x29, 0x16, 0x12, 0xbb, 0x0c, 0x00};
    static const uint8_t message[1] = {0x72};
    uint8_t got[32];
    struct ota_xxh64 h;
    ota_xxh64_init(&h);
    ota_xxh64_update(&h, (const uint8_t *)"abc", 3);
    check(ota_xxh64_value(&h) == 0x44bc2cf5ad770999u, "XXH64");
    (void)crypto_hash_sha256(got, (const uint8_t *)"abc", 3);
    check(memcmp(got, abc_sha, sizeof(got)) == 0, "SHA-256");
    check(crypto_sign_ed25519_verify_detached(signature, message, 1, public_key) == 0, "Ed25519");
    signature[5] ^= 1;
    check(crypto_sign_ed25519_verify_detached(signature, message, 1, public_key) != 0, "Ed25519, altered");
}

/* The data of otastream/views/sample.py: words that come back, near and far, and noise. */
static void make_sample(uint8_t *out, size_t size)
{
    uint32_t state = 1;
    size_t n = 0;
    while (n < size) {
        uint32_t value;
        uint32_t kind;
        size_t from = 0;
        size_t len;
        state = (state * 1103515245u + 12345u) & 0x7fffffffu;
        kind = state >> 28;
        value = state >> 8;
        len = 1 + kind % 4;
        if (kind >= 4 && n >= 64) {
            from = value % (n - 32);
            len = 3 + (value >> 16) % 24;
        } else {
            kind = 0;
        }
        for (size_t i = 0; i < len && n < size; i++, n++) {
            out[n] = (uint8_t)(kind == 0 ? value >> (8 * i) : out[from + i]);
        }
    }
}

/* Through one direction of a coding, whole; the bytes that came out, or 0. */
static size_t recode(int encode, unsigned id, uint64_t params, const uint8_t *src, size_t len, uint8_t *dst,
                     size_t room)
{
    const struct ota_coder *coder = board_coder();
    struct ota_in in = {src, len, 0};
    struct ota_out out = {dst, room, 0};
    struct board_failure why = {0};
    struct board_memory memory;
    size_t size = coder->size(coder->ctx, encode, id, params);
    int st = -OTA_E_RAM;
    if (size > 0 && board_memory_map(&memory, size, &why) == 0) {
        st = coder->begin(coder->ctx, encode, id, params, encode ? len : SELFTEST_SAMPLE, memory.base, size);
        if (st == 0) {
            st = OTA_WANT_INPUT;
        }
        while (st > 0) {
            size_t before = in.pos + out.pos;
            st = coder->step(coder->ctx, encode, &in, &out, 1);
            if (st > 0 && in.pos + out.pos == before) {
                st = -OTA_E_INTERNAL; /* no room: something else than the known answer */
            }
        }
        (void)munmap(memory.base, memory.size);
    }
    return st == OTA_DONE ? out.pos : 0;
}

/* A coding promises bytes, not only a format (docs/SPEC.md section 6.5): a known answer of each that this program has,
 * and back. */
static void test_encoders(void)
{
    struct board_memory memory; /* mapped, so that the address space of an update does not hold it */
    struct board_failure why = {0};
    uint8_t *raw;
    uint8_t *packed;
    uint8_t *again;
    char what[64];
    if (board_memory_map(&memory, (size_t)4 * SELFTEST_SAMPLE, &why) != 0) {
        check(0, "memory for the encoders");
        return;
    }
    raw = memory.base;
    packed = raw + SELFTEST_SAMPLE;
    again = packed + (size_t)2 * SELFTEST_SAMPLE;
    make_sample(raw, SELFTEST_SAMPLE);
    for (size_t i = 0; i < sizeof(selftest_encoders) / sizeof(selftest_encoders[0]); i++) {
        unsigned id = selftest_encoders[i].coding;
        uint64_t params = selftest_encoders[i].params;
        struct ota_xxh64 h;
        size_t len;
        if ((board_coder()->codings >> id & 1u) == 0) {
            continue;
        }
        len = recode(1, id, params, raw, SELFTEST_SAMPLE, packed, (size_t)2 * SELFTEST_SAMPLE);
        ota_xxh64_init(&h);
        ota_xxh64_update(&h, packed, len);
        (void)snprintf(what, sizeof(what), "encoder %s, parameters %llu", board_coding_name((enum ota_coding_id)id),
                       (unsigned long long)params);
        check(ota_xxh64_value(&h) == selftest_encoders[i].answer, what);
        (void)snprintf(what, sizeof(what), "decoder %s", board_coding_name((enum ota_coding_id)id));
        len = recode(0, id, params, packed, len, again, SELFTEST_SAMPLE);
        check(len == SELFTEST_SAMPLE && memcmp(raw, again, len) == 0, what);
    }
    (void)munmap(memory.base, memory.size);
}

static void test_refusals(void)
{
    uint8_t bad[sizeof(selftest_first)];
    struct stat st;
    memcpy(bad, selftest_first, sizeof(bad));
    bad[sizeof(bad) / 2] ^= 1;
    check(apply(bad, sizeof(bad), "key.pem") == OTA_E_CORRUPT, "a damaged package is refused");
    check(apply(bad, sizeof(bad) / 2, "key.pem") == OTA_E_TRUNCATED, "half a package is refused");
    memcpy(bad, selftest_first, sizeof(bad));
    check(apply(bad, 0, "key.pem") == OTA_E_TRUNCATED, "an empty file is refused");
    check(apply(bad, sizeof(bad), "keys") == OTA_E_CONFIG, "a folder without keys is refused");
    check(apply(selftest_second, sizeof(selftest_second), "key.pem") == OTA_E_MISSING, "a missing old file is refused");
    check(stat(in_base("root/etc"), &st) != 0 && errno == ENOENT, "a refused package changes nothing");
}

static void test_packages(void)
{
    char to[16];
    struct stat st;
    check(apply(selftest_first, sizeof(selftest_first), "key.pem") == 0, "the first package (gzip)");
    check(file_is("root/etc/file", selftest_old), "the file of the first package");
    check(stat(in_base("root/etc/file"), &st) == 0 && (st.st_mode & 07777) == 0640, "its mode");
    check(apply(selftest_second, sizeof(selftest_second), "key.pem") == 0, "the second package (zstd, delta)");
    check(file_is("root/etc/file", selftest_new), "the file of the second package");
    check(readlink(in_base("root/etc/link"), to, sizeof(to)) == 4 && memcmp(to, "file", 4) == 0, "its link");
    check(file_is("root/etc/status", "0\n"), "its end script");
    check(apply(selftest_second, sizeof(selftest_second), "key.pem") == 0, "the second package again");
    check(file_is("root/etc/file", selftest_new), "the file after running it again");
    check(apply(selftest_first, sizeof(selftest_first), "key.pem") == 0, "back to the first package");
    check(file_is("root/etc/file", selftest_old), "the file after going back");
}

int board_self_test(const struct board_options *o)
{
    memset(&self, 0, sizeof(self));
    if (snprintf(self.base, sizeof(self.base), "%s/" BOARD_PROGRAM ".XXXXXX", o->tmp) >= (int)sizeof(self.base) ||
        mkdtemp(self.base) == NULL) {
        fprintf(stderr, BOARD_PROGRAM ": error: caller: wrong arguments: %s cannot be written: %s\n", o->tmp,
                strerror(errno));
        return OTA_E_USAGE;
    }
    check(mkdir(in_base("root"), 0755) == 0 && mkdir(in_base("tmp"), 0755) == 0 && mkdir(in_base("keys"), 0755) == 0,
          "folders");
    put_file("key.pem", selftest_key, strlen(selftest_key));
    test_digests();
    test_encoders();
    test_refusals();
    test_packages();
    clean_up();
    printf("self-test: %d checks, %d failed\n", self.checks, self.failed);
    return self.failed == 0 ? 0 : OTA_E_INTERNAL;
}
