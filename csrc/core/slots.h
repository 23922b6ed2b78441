/* slots.h - A/B slots: which nodes belong to which, which one runs, and what the boot loader is told. Core internal.
 *
 * The board says it in /etc/otastream/slots (docs/SPEC.md section 5.8), one statement a line.
 */
#ifndef OTA_CORE_SLOTS_H
#define OTA_CORE_SLOTS_H

#include "env.h"

#define OTA_SLOTS_TEXT 2048u
#define OTA_SLOT_CHANGES 512u

struct ota_slots {
    const char *detail; /* what is wrong */
    size_t len;
    char text[OTA_SLOTS_TEXT]; /* lines with one NUL between them */
};

/* What is about to happen to the boot loader's variables. */
enum ota_slot_event {
    OTA_SLOT_BEGIN,   /* a slot is going to be written: the other one is started, whatever happens */
    OTA_SLOT_SWITCH,  /* it is complete: start it, on trial */
    OTA_SLOT_GOOD,    /* it has proved to work */
    OTA_SLOT_RETREAT, /* start the other one again */
};

/* Read the board's file. OTA_E_CONFIG: there is none, or it is not understood; see detail. */
int ota_slots_read(struct ota_slots *s, const struct ota_port *port);
/* 0 (a), 1 (b), -1: none. */
int ota_slots_of(const struct ota_slots *s, struct ota_text node);
/* What the kernel's command line and the environment say. */
int ota_slots_status(struct ota_slots *s, const struct ota_port *port, struct ota_env *e, struct ota_slot_status *st);
/* The changes that belong to an event about `slot`, as ota_env_apply takes them. buf: OTA_SLOT_CHANGES bytes. */
int ota_slots_changes(struct ota_slots *s, struct ota_env *e, enum ota_slot_event event, int slot, uint8_t *buf,
                      struct ota_text *changes);

#endif
