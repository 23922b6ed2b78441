/* env_parts.h - what env.c, env_config.c and env_write.c share; nothing else includes it. */
#ifndef OTA_CORE_ENV_PARTS_H
#define OTA_CORE_ENV_PARTS_H

#include "env.h"

#define ERR(name) (-(int)OTA_E_##name)

/* One NAME=VALUE: where it begins, how long its name is (OTA_NAME_MAX at most; longer ones are no name of a change),
 * where its value begins and where its NUL is. */
struct ota_env_entry {
    uint32_t at;
    uint32_t value;
    uint32_t end;
    size_t name_len;
    char name[OTA_NAME_MAX];
};

/* OTA_E_ENV, and this as its detail. */
int ota_env_fail(struct ota_env *e, const char *detail);
/* Read fw_env.config into e->copy and e->count. */
int ota_env_configure(struct ota_env *e);

/* Open the node of copy i in this slot of the port, and bound v to the copy's bytes. */
int ota_env_view_open(struct ota_env *e, struct ota_env_view *v, unsigned i, enum ota_slot slot, enum ota_node_use use);
/* Read one copy's head and CRC. What cannot be read is not whole, and no reason to give up while the other one is. */
int ota_env_load(struct ota_env *e, unsigned i);
/* As the boot loader chooses: the newer one, where 0 is newer than 255; the first if they are alike. */
int ota_env_choose(struct ota_env *e);

uint32_t ota_env_crc(uint32_t crc, const uint8_t *p, size_t n);
uint32_t ota_env_head_size(const struct ota_env *e);
/* Bytes of the strings. */
uint32_t ota_env_data_size(const struct ota_env *e);

/* The byte of the strings at `at`, or a negative status. Behind the last one there are NULs. */
int ota_env_byte(struct ota_env *e, uint32_t at);
/* The entry at `at`: 1, or 0 behind the last. */
int ota_env_entry_at(struct ota_env *e, uint32_t at, struct ota_env_entry *x);
struct ota_text ota_env_entry_name(const struct ota_env_entry *x);

#endif
