/* xref_decode.c - decode one payload of engine xref, for bench/xref.py: what callgrind counts is the decoder alone.
 *
 *     xref_decode OLD PAYLOAD SIZE WORKSPACE
 *
 * SIZE: of new content; WORKSPACE: bytes that decoding needs. Exit code 0: it was decoded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "otastream.h"

#define WINDOW 4096u

struct content {
    unsigned char *data;
    size_t size;
};

static struct content whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct content c = {NULL, 0};

    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        exit(2);
    c.size = (size_t)ftell(file);
    c.data = malloc(c.size + 1);
    rewind(file);
    if (c.data == NULL || fread(c.data, 1, c.size, file) != c.size)
        exit(2);
    fclose(file);
    return c;
}

static int read_at(void *ctx, uint64_t offset, uint8_t *buf, size_t len)
{
    const struct content *old = ctx;

    memcpy(buf, old->data + offset, len);
    return 0;
}

int main(int argc, char **argv)
{
    static uint8_t made[WINDOW];
    struct content old, payload;
    struct ota_source source;
    struct ota_in in;
    size_t memory;
    void *workspace;
    int status;

    if (argc != 5)
        return 2;
    old = whole(argv[1]);
    payload = whole(argv[2]);
    source = (struct ota_source){&old, read_at, old.size};
    in = (struct ota_in){payload.data, payload.size, 0};
    memory = strtoull(argv[4], NULL, 10);
    workspace = malloc(memory);
    if (workspace == NULL)
        return 2;
    status = ota_engine_init(workspace, memory, OTA_ENGINE_XREF, WINDOW, &source, strtoull(argv[3], NULL, 10));
    if (status >= 0) {
        do {
            struct ota_out out = {made, sizeof made, 0};

            status = ota_engine_step(workspace, &in, &out);
        } while (status == OTA_WANT_OUTPUT);
    }
    free(workspace);
    free(payload.data);
    free(old.data);
    return status == OTA_DONE ? 0 : 1;
}
