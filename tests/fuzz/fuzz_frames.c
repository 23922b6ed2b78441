/* fuzz_frames.c - any bytes as a package, as far as preamble and frames go, in any split.
 *
 * The first byte is the size of the pieces. Digests are all zero here (include/sodium), so that what a signer or a
 * broken packer could have made gets through. The same bytes in one piece must end the same way.
 */
#include "../../csrc/board/frames.c"
#include "../../csrc/board/memory.c"
#include "fuzz.h"

struct result {
    int status;
    int ended;
    uint64_t payload; /* bytes */
    unsigned frames;
};

static struct result read_all(const uint8_t *data, size_t size, size_t piece)
{
    struct result r = {0, 0, 0, 0};
    struct board_failure why = {0, 0, ""};
    struct board_frames f;
    uint8_t *frame = NULL;
    board_frames_init(&f);
    for (size_t pos = 0; pos < size && r.status >= 0; pos += piece) {
        struct ota_in in = {data + pos, size - pos < piece ? size - pos : piece, 0};
        do {
            r.status = board_frames_step(&f, &in, &why);
            MUST(in.pos <= in.size);
            if (r.status == BOARD_FRAMES_PREAMBLE) {
                MUST(frame == NULL && f.preamble.frame_log >= 10 && f.preamble.frame_log <= 16);
                MUST(f.preamble.signatures <= BOARD_SIGNATURES);
                frame = malloc((size_t)1 << f.preamble.frame_log);
                MUST(frame != NULL);
                f.buf = frame;
            } else if (r.status == BOARD_FRAMES_PAYLOAD) {
                volatile uint8_t last = f.payload[f.payload_len - 1];
                (void)last;
                MUST(f.payload_len + BOARD_FRAME_HEAD <= (size_t)1 << f.preamble.frame_log);
                r.payload += f.payload_len;
                r.frames++;
            }
        } while (r.status > BOARD_FRAMES_INPUT);
    }
    if (r.status >= 0)
        r.ended = board_frames_end(&f, &why);
    MUST((r.status >= 0 && r.ended == 0) || why.status < 0);
    if (r.status >= 0 && r.ended == 0)
        MUST(r.payload + (uint64_t)r.frames * BOARD_FRAME_HEAD == f.preamble.length);
    free(frame);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result split;
    struct result whole;
    if (size < 2)
        return 0;
    split = read_all(data + 1, size - 1, 1u + data[0]);
    whole = read_all(data + 1, size - 1, size);
    MUST(split.status == whole.status && split.ended == whole.ended && split.payload == whole.payload);
    return 0;
}
