/* board_model.h - a board in memory: files, folders, links, nodes, scripts and built images behind struct ota_port.
 *
 * Every operation that changes something is counted and can be the last one before the power goes. What a file system
 * promises is modelled (rename is atomic, staged content is gone after a cut); how the Linux port keeps that promise is
 * tests/c/test_port.c's business.
 */
#ifndef OTA_TESTS_BOARD_MODEL_H
#define OTA_TESTS_BOARD_MODEL_H

#include "flash_model.h"
#include "otastream.h"

#ifndef BOARD_ENTRIES
#define BOARD_ENTRIES 64u
#endif
#define BOARD_NODES 4u
#define BOARD_PATH 512u

struct board_inode {
    uint8_t *data;
    size_t size;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    unsigned links; /* names; 0: free */
};

struct board_entry {
    char path[BOARD_PATH];
    enum ota_node_type type; /* OTA_ABSENT: free */
    unsigned inode;          /* files */
    uint32_t mode;           /* folders */
    char text[BOARD_PATH];   /* links */
};

struct board_node {
    char name[BOARD_PATH]; /* "" : free */
    struct flash_model *flash;
    int readonly;
    int volume;   /* a UBI volume: its update replaces all of it */
    int updating; /* the update was begun and has not ended: nothing of it can be read, after a cut either */
};

#define BOARD_IMAGES 64

struct board_image {
    int there;
    int late;
    uint64_t digest;
    uint8_t *data;
    size_t size;
};

struct board_model {
    struct ota_port port;
    struct board_entry entries[BOARD_ENTRIES];
    struct board_inode inodes[BOARD_ENTRIES];
    struct board_node nodes[BOARD_NODES];
    struct board_image images[BOARD_IMAGES];
    uint64_t free_bytes;
    uint64_t tmp_bytes;    /* free in the temporary folder */
    int tmp_in_memory;     /* and a power cut loses what is in it */
    int late_scratch;      /* a mistake: an image is durable only when the next one is begun */
    int no_journal;        /* a mistake: a journal of an update in place never reaches the medium */
    int no_hole;           /* a mistake: nor does where the hole is when blocks move */
    int other_fs;          /* rename always meets another file system */
    char identity[6][512]; /* by enum ota_identity, '\n' between entries; "" : missing */

    int dead;        /* the power is gone */
    uint64_t ops;    /* changes tried */
    uint64_t cut_at; /* from 1; 0: never */
    int stop;        /* what tick says */

    /* open things */
    int slot_entry[OTA_SLOTS]; /* -1: closed, -2 - n: image n */
    int staging;
    uint8_t *stage;
    size_t stage_size;
    uint8_t *building;
    size_t building_size;
    uint64_t building_digest;
    int image_open;
    struct board_node *update; /* of a volume */
    uint64_t update_at;
    uint64_t update_size;

    /* scripts: what ran, as "begin:0 inline:0 end:-1 " */
    char ran[256];
    int exit_code[3];
    int spooled[3];
};

void board_init(struct board_model *b);
void board_free(struct board_model *b);
/* The power is back: staged and half-built content is gone, counters at 0, no cut pending. */
void board_power_on(struct board_model *b);

/* Set up and look at content; path is absolute. board_get: index or -1. */
void board_put(struct board_model *b, const char *path, const void *data, size_t len);
void board_put_dir(struct board_model *b, const char *path);
int board_get(const struct board_model *b, const char *path);
int board_is(const struct board_model *b, const char *path, const void *data, size_t len);
/* Images in the temporary folder. */
int board_images(const struct board_model *b);
void board_put_node(struct board_model *b, const char *name, struct flash_model *flash);

#endif
