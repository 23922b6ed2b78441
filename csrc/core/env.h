/* env.h - U-Boot's environment: find it, read it, change it so that a power cut leaves the old or the new. Core
 * internal.
 *
 * Where it lies says the board's /etc/fw_env.config, which its boot loader's tools read too (docs/SPEC.md section 5.6).
 * Nothing of the environment is held in memory but a small window, whatever its size.
 */
#ifndef OTA_CORE_ENV_H
#define OTA_CORE_ENV_H

#include "cbor.h"
#include "flash.h"

#define OTA_ENV_CACHE 512u
#define OTA_ENV_CONFIG 1024u

/* Changes are an encoded CBOR array of [name, value] (set) and [name] (delete), as a record has them. Walk them: *pos
 * starts at 0; 1 = one was given (value->p NULL: delete), 0 = no more, negative = broken. */
int ota_env_change(struct ota_text changes, size_t *pos, struct ota_text *name, struct ota_text *value);

/* Build such an array in buf, for up to 23 changes: begin with *len 0; value.p NULL: delete. OTA_E_LIMIT: no room. */
int ota_env_put(uint8_t *buf, size_t cap, size_t *len, struct ota_text name, struct ota_text value);

struct ota_env_copy {
    struct ota_text node;
    uint64_t offset;
    uint64_t room; /* bytes from offset on that belong to the copy; whole erase blocks on flash */
    uint32_t size; /* bytes of the environment, head included */
    uint32_t crc;
    uint8_t flags;
    int valid;
    enum ota_flash_kind kind;
};

/* A node seen through the window of one copy. */
struct ota_env_view {
    struct ota_flash_part part;
    struct ota_flash flash;
    struct ota_flash_reader reader;
};

struct ota_env {
    const struct ota_port *port;
    uint8_t *block; /* an erase block at least */
    uint32_t block_len;
    struct ota_env_copy copy[2];
    unsigned count;
    unsigned current;   /* the copy that the boot loader uses */
    const char *detail; /* what is wrong, in words; NULL: see the status */
    uint64_t written;   /* bytes that reached a medium */
    struct ota_env_view from;
    struct ota_env_view to;
    uint64_t cache_at;
    size_t cache_len;
    uint8_t cache[OTA_ENV_CACHE];
    char config[OTA_ENV_CONFIG];
};

/* Find the copies and the one that counts. OTA_E_ENV: there is no configuration, it is not understood, or no copy is
 * whole. Other errors: those of the nodes. block: at least the largest erase block. Close with ota_env_close. */
int ota_env_open(struct ota_env *e, const struct ota_port *port, uint8_t *block, uint32_t block_len);
/* 1: found, *len bytes of its value in buf (OTA_E_LIMIT: it is longer than cap); 0: there is no such variable. */
int ota_env_get(struct ota_env *e, struct ota_text name, char *buf, size_t cap, size_t *len);
/* 1: everything is as the changes want it; 0: it is not, and there is room; OTA_E_ENV: there is none. */
int ota_env_check(struct ota_env *e, struct ota_text changes);
/* Make it so. 1: it was so already, nothing was written. */
int ota_env_apply(struct ota_env *e, struct ota_text changes);
void ota_env_close(struct ota_env *e);

#endif
