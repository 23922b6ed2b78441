#include "board_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ERR(name) (-(int)OTA_E_##name)

/* ---- content ---------------------------------------------------------------------------------------------------- */

int board_get(const struct board_model *b, const char *path)
{
    for (unsigned i = 0; i < BOARD_ENTRIES; i++)
        if (b->entries[i].type != OTA_ABSENT && strcmp(b->entries[i].path, path) == 0)
            return (int)i;
    return -1;
}

static unsigned new_inode(struct board_model *b)
{
    for (unsigned i = 0; i < BOARD_ENTRIES; i++)
        if (b->inodes[i].links == 0)
            return i;
    abort();
}

static void drop(struct board_model *b, int at)
{
    struct board_entry *e = &b->entries[at];
    if (e->type == OTA_FILE && --b->inodes[e->inode].links == 0) {
        free(b->inodes[e->inode].data);
        b->inodes[e->inode].data = NULL;
    }
    e->type = OTA_ABSENT;
}

/* A free or cleared entry with this name. */
static struct board_entry *make(struct board_model *b, const char *path)
{
    int at = board_get(b, path);
    if (at >= 0)
        drop(b, at);
    for (unsigned i = 0; i < BOARD_ENTRIES; i++)
        if (b->entries[i].type == OTA_ABSENT) {
            memset(&b->entries[i], 0, sizeof b->entries[i]);
            snprintf(b->entries[i].path, BOARD_PATH, "%s", path);
            return &b->entries[i];
        }
    abort();
}

static uint8_t *copy_of(const void *data, size_t len)
{
    uint8_t *p = malloc(len + 1);
    if (p == NULL)
        abort();
    if (len > 0)
        memcpy(p, data, len);
    return p;
}

void board_put(struct board_model *b, const char *path, const void *data, size_t len)
{
    unsigned inode = new_inode(b);
    struct board_entry *e;
    b->inodes[inode].links = 1;
    e = make(b, path);
    e->type = OTA_FILE;
    e->inode = inode;
    b->inodes[inode].data = copy_of(data, len);
    b->inodes[inode].size = len;
    b->inodes[inode].mode = 0644;
}

void board_put_dir(struct board_model *b, const char *path)
{
    struct board_entry *e = make(b, path);
    e->type = OTA_DIR;
    e->mode = 0755;
}

int board_is(const struct board_model *b, const char *path, const void *data, size_t len)
{
    int at = board_get(b, path);
    const struct board_inode *n;
    if (at < 0 || b->entries[at].type != OTA_FILE)
        return 0;
    n = &b->inodes[b->entries[at].inode];
    return n->size == len && (len == 0 || memcmp(n->data, data, len) == 0);
}

void board_put_node(struct board_model *b, const char *name, struct flash_model *flash)
{
    for (unsigned i = 0; i < BOARD_NODES; i++)
        if (b->nodes[i].name[0] == '\0') {
            snprintf(b->nodes[i].name, BOARD_PATH, "%s", name);
            b->nodes[i].flash = flash;
            return;
        }
    abort();
}

/* ---- callbacks --------------------------------------------------------------------------------------------------- */

static char *full(const struct ota_path *p, char *out)
{
    snprintf(out, BOARD_PATH, "%.*s/%.*s", p->root_len == 1 ? 0 : (int)p->root_len, p->root, (int)p->path_len, p->path);
    return out;
}

/* A change is about to be made: 0, or an error because the power is gone. */
static int change(struct board_model *b)
{
    if (b->dead)
        return ERR(IO);
    b->ops++;
    if (b->cut_at != 0 && b->ops == b->cut_at)
        b->dead = 1;
    return b->dead ? ERR(IO) : 0;
}

static int parent_ok(const struct board_model *b, const char *path)
{
    char up[BOARD_PATH];
    char *slash;
    int at;
    snprintf(up, sizeof up, "%s", path);
    slash = strrchr(up, '/');
    if (slash == up)
        return 1;
    *slash = '\0';
    at = board_get(b, up);
    return at >= 0 && b->entries[at].type == OTA_DIR;
}

static int p_stat(void *ctx, const struct ota_path *p, struct ota_stat *st)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    int at = board_get(b, full(p, path));
    memset(st, 0, sizeof *st);
    if (b->dead)
        return ERR(IO);
    if (at < 0)
        return 0;
    st->type = b->entries[at].type;
    st->nlink = 1;
    st->dev = 1;
    st->ino = 1000u + (unsigned)at;
    if (st->type == OTA_FILE) {
        const struct board_inode *n = &b->inodes[b->entries[at].inode];
        st->size = n->size;
        st->mode = n->mode;
        st->nlink = n->links;
        st->ino = b->entries[at].inode;
    }
    return 0;
}

static int p_read_link(void *ctx, const struct ota_path *p, char *buf, size_t cap, size_t *len)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    int at = board_get(b, full(p, path));
    *len = strlen(b->entries[at].text);
    if (*len > cap)
        return ERR(LIMIT);
    memcpy(buf, b->entries[at].text, *len);
    return 0;
}

static int p_open(void *ctx, enum ota_slot slot, const struct ota_path *p, uint64_t *size)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    int at = board_get(b, full(p, path));
    if (b->dead)
        return ERR(IO);
    if (at < 0 || b->entries[at].type != OTA_FILE)
        return ERR(MISSING);
    b->slot_entry[slot] = at;
    *size = b->inodes[b->entries[at].inode].size;
    return 0;
}

static int p_read_at(void *ctx, enum ota_slot slot, uint64_t off, uint8_t *buf, size_t len)
{
    struct board_model *b = ctx;
    const uint8_t *data;
    size_t size;
    if (b->dead || b->slot_entry[slot] == -1)
        return ERR(IO);
    if (b->slot_entry[slot] <= -2) {
        data = b->images[-2 - b->slot_entry[slot]].data;
        size = b->images[-2 - b->slot_entry[slot]].size;
    } else {
        data = b->inodes[b->entries[b->slot_entry[slot]].inode].data;
        size = b->inodes[b->entries[b->slot_entry[slot]].inode].size;
    }
    if (off > size || len > size - off)
        abort(); /* the core must never ask beyond the end */
    memcpy(buf, data + off, len);
    return 0;
}

static int p_close(void *ctx, enum ota_slot slot)
{
    ((struct board_model *)ctx)->slot_entry[slot] = -1;
    return 0;
}

static int p_stage_begin(void *ctx, const struct ota_path *p, uint64_t size)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    (void)size;
    if (b->staging)
        abort();
    if (!parent_ok(b, full(p, path)))
        return ERR(MISSING);
    if (change(b) != 0)
        return ERR(IO);
    b->staging = 1;
    b->stage_size = 0;
    return 0;
}

static uint8_t *append(uint8_t *at, size_t *size, const uint8_t *buf, size_t len)
{
    at = realloc(at, *size + len + 1);
    if (at == NULL)
        abort();
    memcpy(at + *size, buf, len);
    *size += len;
    return at;
}

static int p_stage_write(void *ctx, const uint8_t *buf, size_t len)
{
    struct board_model *b = ctx;
    if (change(b) != 0)
        return ERR(IO);
    if (b->stage_size + len > b->free_bytes)
        return ERR(SPACE);
    b->stage = append(b->stage, &b->stage_size, buf, len);
    return 0;
}

static void set(struct board_model *b, int at, const struct ota_meta *m)
{
    uint32_t *mode = b->entries[at].type == OTA_FILE ? &b->inodes[b->entries[at].inode].mode : &b->entries[at].mode;
    if (m->set & OTA_META_MODE)
        *mode = m->mode;
}

static int p_stage_commit(void *ctx, const struct ota_path *p, const struct ota_meta *m)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    if (change(b) != 0)
        return ERR(IO);
    board_put(b, full(p, path), b->stage, b->stage_size);
    set(b, board_get(b, path), m);
    b->staging = 0;
    return 0;
}

static void p_stage_abort(void *ctx)
{
    struct board_model *b = ctx;
    b->staging = 0;
    b->update = NULL; /* its node goes on saying that it was not finished */
}

static int p_set_meta(void *ctx, const struct ota_path *p, const struct ota_meta *m)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    int at = board_get(b, full(p, path));
    if (at < 0)
        return ERR(MISSING);
    if (change(b) != 0)
        return ERR(IO);
    set(b, at, m);
    return 0;
}

static int p_make_dir(void *ctx, const struct ota_path *p, const struct ota_meta *m)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    if (!parent_ok(b, full(p, path)))
        return ERR(MISSING);
    if (change(b) != 0)
        return ERR(IO);
    board_put_dir(b, path);
    set(b, board_get(b, path), m);
    return 0;
}

static int p_remove(void *ctx, const struct ota_path *p, int dir)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    size_t n = strlen(full(p, path));
    int at = board_get(b, path);
    if (at < 0)
        return 0;
    if ((b->entries[at].type == OTA_DIR) != dir)
        abort();
    for (unsigned i = 0; dir && i < BOARD_ENTRIES; i++)
        if (b->entries[i].type != OTA_ABSENT && strncmp(b->entries[i].path, path, n) == 0 &&
            b->entries[i].path[n] == '/')
            return 1;
    if (change(b) != 0)
        return ERR(IO);
    drop(b, at);
    return 0;
}

static int p_symlink(void *ctx, const struct ota_path *p, const char *text, size_t len, const struct ota_meta *m)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    struct board_entry *e;
    (void)m;
    if (!parent_ok(b, full(p, path)))
        return ERR(MISSING);
    if (change(b) != 0)
        return ERR(IO);
    e = make(b, path);
    e->type = OTA_SYMLINK;
    snprintf(e->text, sizeof e->text, "%.*s", (int)len, text);
    return 0;
}

static int p_hard_link(void *ctx, const struct ota_path *p, const struct ota_path *to)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    struct board_entry *e;
    int at = board_get(b, full(to, path));
    if (change(b) != 0)
        return ERR(IO);
    b->inodes[b->entries[at].inode].links++;
    e = make(b, full(p, path));
    e->type = OTA_FILE;
    e->inode = b->entries[at].inode;
    return 0;
}

static int p_rename(void *ctx, const struct ota_path *from, const struct ota_path *to)
{
    struct board_model *b = ctx;
    char path[BOARD_PATH];
    int at = board_get(b, full(from, path));
    if (!parent_ok(b, full(to, path)))
        return ERR(MISSING);
    if (b->other_fs)
        return 1;
    if (change(b) != 0)
        return ERR(IO);
    if (board_get(b, path) >= 0)
        drop(b, board_get(b, path));
    snprintf(b->entries[at].path, BOARD_PATH, "%s", path);
    return 0;
}

static int p_free_space(void *ctx, const struct ota_path *p, uint64_t *fs_id, uint64_t *bytes, uint32_t *unit)
{
    struct board_model *b = ctx;
    *fs_id = p != NULL ? 7 : 8;
    *bytes = p != NULL ? b->free_bytes : b->tmp_bytes;
    *unit = 1;
    return 0;
}

static struct board_node *node_at(struct board_model *b, const char *name, size_t len)
{
    for (unsigned i = 0; i < BOARD_NODES; i++)
        if (strlen(b->nodes[i].name) == len && memcmp(b->nodes[i].name, name, len) == 0 && len > 0)
            return &b->nodes[i];
    return NULL;
}

static int volume_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    const struct board_node *n = ctx;
    return n->updating ? ERR(IO) : n->flash->flash.read(n->flash->flash.ctx, off, buf, len);
}

static int p_node_open(void *ctx, enum ota_slot slot, const char *name, size_t len, enum ota_node_use use,
                       struct ota_flash *flash)
{
    struct board_model *b = ctx;
    struct board_node *n = node_at(b, name, len);
    (void)slot;
    if (b->dead)
        return ERR(IO);
    if (n == NULL)
        return ERR(MISSING);
    if (use != OTA_NODE_READ && n->readonly)
        return ERR(READONLY);
    if (n->volume && use == OTA_NODE_WRITE)
        return ERR(NODE);
    *flash = n->flash->flash;
    if (n->volume) {
        flash->ctx = n;
        flash->read = volume_read;
        flash->prog = NULL;
        flash->sync = NULL;
    }
    return 0;
}

static int p_node_close(void *ctx, enum ota_slot slot)
{
    (void)ctx;
    (void)slot;
    return 0;
}

/* As the kernel does: the marker is set, so many bytes are taken, and with the last of them the marker is gone. */
static int p_ubi_begin(void *ctx, const char *name, size_t len, uint64_t size)
{
    struct board_model *b = ctx;
    struct board_node *n = node_at(b, name, len);
    if (n == NULL || !n->volume)
        return n == NULL ? ERR(MISSING) : ERR(NODE);
    if (size > n->flash->flash.size)
        return ERR(TOO_SMALL);
    if (change(b) != 0)
        return ERR(IO);
    n->updating = 1;
    memset(n->flash->data, 0xff, (size_t)n->flash->flash.size);
    b->update = n;
    b->update_at = 0;
    b->update_size = size;
    return 0;
}

static int p_ubi_write(void *ctx, const uint8_t *buf, size_t len)
{
    struct board_model *b = ctx;
    if (b->update == NULL || len > b->update_size - b->update_at)
        abort();
    if (change(b) != 0)
        return ERR(IO);
    memcpy(b->update->flash->data + b->update_at, buf, len);
    b->update_at += len;
    b->update->updating = b->update_at < b->update_size;
    return 0;
}

static int p_ubi_end(void *ctx)
{
    struct board_model *b = ctx;
    if (b->update == NULL || b->update_at != b->update_size)
        abort();
    b->update = NULL;
    return change(b);
}

static struct board_image *image_named(struct board_model *b, uint64_t digest)
{
    for (unsigned i = 0; i < BOARD_IMAGES; i++)
        if (b->images[i].there && b->images[i].digest == digest)
            return &b->images[i];
    return NULL;
}

static int p_image_open(void *ctx, enum ota_slot slot, uint64_t digest, uint64_t *size)
{
    struct board_model *b = ctx;
    const struct board_image *image = image_named(b, digest);
    if (b->dead)
        return ERR(IO);
    if (image == NULL || (*size != OTA_ANY_SIZE && image->size != *size))
        return ERR(MISSING);
    *size = image->size;
    b->slot_entry[slot] = -2 - (int)(image - b->images);
    return 0;
}

static int p_image_begin(void *ctx, uint64_t digest, uint64_t size)
{
    struct board_model *b = ctx;
    (void)size;
    if (change(b) != 0)
        return ERR(IO);
    for (unsigned i = 0; i < BOARD_IMAGES; i++)
        b->images[i].late = 0;
    b->building_digest = digest;
    b->building_size = 0;
    return 0;
}

static int p_image_write(void *ctx, const uint8_t *buf, size_t len)
{
    struct board_model *b = ctx;
    if (change(b) != 0)
        return ERR(IO);
    b->building = append(b->building, &b->building_size, buf, len);
    return 0;
}

static int p_image_commit(void *ctx)
{
    struct board_model *b = ctx;
    struct board_image *image = image_named(b, b->building_digest);
    if (change(b) != 0)
        return ERR(IO);
    for (unsigned i = 0; image == NULL; i++)
        if (i == BOARD_IMAGES)
            abort();
        else if (!b->images[i].there)
            image = &b->images[i];
    free(image->data);
    image->data = copy_of(b->building, b->building_size);
    image->size = b->building_size;
    image->digest = b->building_digest;
    image->there = 1;
    image->late = b->late_scratch;
    return 0;
}

static int p_image_remove(void *ctx, uint64_t digest)
{
    struct board_model *b = ctx;
    struct board_image *image = image_named(b, digest);
    if (b->dead)
        return ERR(IO);
    if (image == NULL)
        return 0;
    if (change(b) != 0)
        return ERR(IO);
    image->there = 0;
    return 0;
}

static int p_tmp_keeps(void *ctx)
{
    return !((struct board_model *)ctx)->tmp_in_memory;
}

static int p_script_begin(void *ctx, enum ota_script_when when)
{
    ((struct board_model *)ctx)->spooled[when] = 1;
    return 0;
}

static int p_script_write(void *ctx, const uint8_t *buf, size_t len)
{
    (void)ctx;
    (void)buf;
    (void)len;
    return 0;
}

static int p_script_end(void *ctx)
{
    (void)ctx;
    return 0;
}

static int p_script_run(void *ctx, enum ota_script_when when, int ota_status, int *exit_code)
{
    static const char *const names[3] = {"inline", "begin", "end"};
    struct board_model *b = ctx;
    size_t at = strlen(b->ran);
    if (!b->spooled[when])
        abort();
    if (change(b) != 0)
        return ERR(IO);
    snprintf(b->ran + at, sizeof b->ran - at, "%s:%d ", names[when], ota_status);
    *exit_code = b->exit_code[when];
    return 0;
}

static int p_identity(void *ctx, enum ota_identity what, char *buf, size_t cap, size_t *len)
{
    struct board_model *b = ctx;
    *len = strlen(b->identity[what]);
    if (*len == 0)
        return ERR(MISSING);
    if (*len > cap)
        return ERR(LIMIT);
    memcpy(buf, b->identity[what], *len);
    for (size_t i = 0; i < *len; i++)
        if (buf[i] == '\n')
            buf[i] = '\0';
    return 0;
}

static int p_tick(void *ctx, const struct ota_report *report)
{
    (void)report;
    return ((struct board_model *)ctx)->stop;
}

static int p_last_error(void *ctx)
{
    return ((struct board_model *)ctx)->dead ? 5 : 0;
}

void board_init(struct board_model *b)
{
    static const struct ota_port port = {
        NULL,           p_last_error,  p_stat,         p_read_link,    p_open,        p_read_at,
        p_close,        p_stage_begin, p_stage_write,  p_stage_commit, p_stage_abort, p_set_meta,
        p_make_dir,     p_remove,      p_symlink,      p_hard_link,    p_rename,      p_free_space,
        p_node_open,    p_node_close,  p_ubi_begin,    p_ubi_write,    p_ubi_end,     p_image_open,
        p_image_begin,  p_image_write, p_image_commit, p_image_remove, p_tmp_keeps,   p_script_begin,
        p_script_write, p_script_end,  p_script_run,   p_identity,     p_tick,        NULL,
    };
    memset(b, 0, sizeof *b);
    b->port = port;
    b->port.ctx = b;
    b->free_bytes = 1u << 20;
    b->tmp_bytes = 1u << 20;
    for (int i = 0; i < OTA_SLOTS; i++)
        b->slot_entry[i] = -1;
}

int board_images(const struct board_model *b)
{
    int count = 0;
    for (unsigned i = 0; i < BOARD_IMAGES; i++)
        count += b->images[i].there;
    return count;
}

/* A journal with new content in it, docs/SPEC.md section 5.5. */
static int is_ready_journal(const struct board_image *image)
{
    static const uint8_t magic[8] = {0x89, 0x4f, 0x54, 0x41, 0x4a, 0x0d, 0x0a, 0x01};
    return image->there && image->size > 72 && memcmp(image->data, magic, sizeof magic) == 0;
}

static int is_hole(const struct board_image *image)
{
    static const uint8_t magic[8] = {0x89, 0x4f, 0x54, 0x41, 0x4d, 0x0d, 0x0a, 0x01};
    return image->there && image->size == 40 && memcmp(image->data, magic, sizeof magic) == 0;
}

void board_power_on(struct board_model *b)
{
    for (unsigned i = 0; b->dead && b->no_hole && i < BOARD_IMAGES; i++)
        b->images[i].there &= !is_hole(&b->images[i]);
    for (unsigned i = 0; b->dead && b->no_journal && i < BOARD_IMAGES; i++)
        b->images[i].there &= !is_ready_journal(&b->images[i]);
    for (unsigned i = 0; b->dead && i < BOARD_IMAGES; i++)
        b->images[i].there &= !b->images[i].late;
    b->dead = 0;
    b->ops = 0;
    b->cut_at = 0;
    b->stop = 0;
    b->staging = 0;
    b->update = NULL;
    b->ran[0] = '\0';
    memset(b->spooled, 0, sizeof b->spooled);
    for (int i = 0; i < OTA_SLOTS; i++)
        b->slot_entry[i] = -1;
    for (unsigned i = 0; i < BOARD_NODES; i++)
        if (b->nodes[i].flash != NULL)
            model_power_on(b->nodes[i].flash);
}

void board_free(struct board_model *b)
{
    for (unsigned i = 0; i < BOARD_ENTRIES; i++)
        if (b->entries[i].type != OTA_ABSENT)
            drop(b, (int)i);
    free(b->stage);
    free(b->building);
    for (unsigned i = 0; i < BOARD_IMAGES; i++)
        free(b->images[i].data);
}
