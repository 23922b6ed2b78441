/* otastream_posix.h - the Linux port: the executor's callbacks on files, block devices, MTD and UBI.
 *
 * Only csrc/port makes system calls. One object serves one applier at a time; it allocates nothing after
 * ota_posix_init.
 */
#ifndef OTASTREAM_POSIX_H
#define OTASTREAM_POSIX_H

#include "otastream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef-begin */

struct ota_posix_options {
    const char *root;  /* the apply root; "/" on a board */
    const char *tmp;   /* writable folder for scripts and built images */
    const char *shell; /* program that runs scripts; NULL: /bin/sh */
    /* called from the executor's tick; non-zero asks to stop. May be NULL. */
    int (*tick)(void *ctx, const struct ota_report *report);
    void *tick_ctx;
    /* Which targets are written: those whose name or label matches one of the patterns ('*', '?'; all, if there is
     * none) and none of those behind '!', and for which the program `hook` exits with 0 (1: leave it alone; anything
     * else: OTA_E_HOOK). Called as HOOK NAME IMAGE TARGET LABEL. patterns is not copied. */
    const char *const *patterns;
    uint32_t pattern_count;
    const char *hook; /* NULL: none */
};

/* Bytes of workspace. */
size_t ota_posix_size(void);

/* Open root and tmp and take the lock on root (flock; OTA_E_LOCKED when somebody else holds it; a dry run takes it
 * too). Strings are copied; over-long ones are OTA_E_USAGE. errno of a failure is in *os_error (may be NULL). */
int ota_posix_init(void *workspace, size_t len, const struct ota_posix_options *options, int *os_error);
/* Close everything, drop the lock. Safe after a failed init. */
void ota_posix_close(void *workspace);

/* cdef-end */

/* The callbacks, bound to this workspace. */
void ota_posix_port(void *workspace, struct ota_port *port);

/* cdef-begin */

/* Convenience for bindings: ota_exec_init on the callbacks of `posix`. */
int ota_posix_exec_init(void *workspace, size_t len, const struct ota_exec_options *options, void *posix,
                        struct ota_exec **ex);
size_t ota_exec_size(const struct ota_exec_options *options);
int ota_posix_slots_run(void *posix, int action, uint8_t *block, uint32_t block_len, struct ota_slot_status *out);
int ota_exec_feed(struct ota_exec *ex, const uint8_t *data, size_t len);
int ota_exec_finish(struct ota_exec *ex, int why);
const struct ota_report *ota_exec_report(const struct ota_exec *ex);

/* cdef-end */

#ifdef __cplusplus
}
#endif
#endif
