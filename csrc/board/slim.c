/* slim.c - what of the libraries stays out of the static program, a third of its size. Each name below is one that a
 * library calls on a path that this program never takes; defined here, the linker does not fetch the part that it
 * belongs to.
 *
 * libzstd: decoders of the formats before 1.0. codec.c checks the frame header first and refuses all but the present
 * format. Besides, they allocate.
 * liblzma: branch filters, which only parts of views may have.
 * libsodium: verifying needs no random numbers, and nothing of what sodium_init chooses from.
 */
#include <stdlib.h>

#define LEFT_OUT(name)                                                                                                 \
    void name(void);                                                                                                   \
    void name(void)                                                                                                    \
    {                                                                                                                  \
        abort();                                                                                                       \
    }

#define LEGACY(version)                                                                                                \
    LEFT_OUT(ZBUFF##version##_createDCtx)                                                                              \
    LEFT_OUT(ZBUFF##version##_decompressContinue)                                                                      \
    LEFT_OUT(ZBUFF##version##_decompressInitDictionary)                                                                \
    LEFT_OUT(ZBUFF##version##_freeDCtx)                                                                                \
    LEFT_OUT(ZSTD##version##_createDCtx)                                                                               \
    LEFT_OUT(ZSTD##version##_decompress_usingDict)                                                                     \
    LEFT_OUT(ZSTD##version##_findFrameSizeInfoLegacy)                                                                  \
    LEFT_OUT(ZSTD##version##_freeDCtx)                                                                                 \
    LEFT_OUT(ZSTD##version##_getFrameParams)

LEGACY(v05)
LEGACY(v06)
LEGACY(v07)
#ifndef OTA_BOARD_XZ
LEFT_OUT(lzma_delta_coder_memusage)
LEFT_OUT(lzma_delta_decoder_init)
LEFT_OUT(lzma_delta_props_decode)
LEFT_OUT(lzma_simple_arm64_decoder_init)
LEFT_OUT(lzma_simple_arm_decoder_init)
LEFT_OUT(lzma_simple_armthumb_decoder_init)
LEFT_OUT(lzma_simple_ia64_decoder_init)
LEFT_OUT(lzma_simple_powerpc_decoder_init)
LEFT_OUT(lzma_simple_props_decode)
LEFT_OUT(lzma_simple_sparc_decoder_init)
LEFT_OUT(lzma_simple_x86_decoder_init)
#endif
LEFT_OUT(randombytes_buf)
LEFT_OUT(sodium_misuse)
