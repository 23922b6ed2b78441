/* slim.c - what of the libraries stays out of the static program. Each name below is one that a library calls on a path
 * that this program never takes; defined here, the linker does not fetch the part that it belongs to.
 *
 * libpng: writing. libjpeg: palettes (quantize_colors is not set), merged upsampling (do_fancy_upsampling is set).
 */
#include <stdint.h>
#include <stdlib.h>

#define LEFT_OUT(name)                                                                                                 \
    void name(void);                                                                                                   \
    void name(void)                                                                                                    \
    {                                                                                                                  \
        abort();                                                                                                       \
    }

LEFT_OUT(png_destroy_write_struct)
LEFT_OUT(jinit_1pass_quantizer)
LEFT_OUT(jinit_2pass_quantizer)
LEFT_OUT(jinit_merged_upsampler)
LEFT_OUT(png_free_buffer_list)

/* The same for what libjpeg has for vector units: merged upsampling, and encoding. */
#define MERGED(ratio, unit)                                                                                            \
    LEFT_OUT(jsimd_##ratio##_extbgr_merged_upsample_##unit)                                                            \
    LEFT_OUT(jsimd_##ratio##_extbgrx_merged_upsample_##unit)                                                           \
    LEFT_OUT(jsimd_##ratio##_extrgb_merged_upsample_##unit)                                                            \
    LEFT_OUT(jsimd_##ratio##_extrgbx_merged_upsample_##unit)                                                           \
    LEFT_OUT(jsimd_##ratio##_extxbgr_merged_upsample_##unit)                                                           \
    LEFT_OUT(jsimd_##ratio##_extxrgb_merged_upsample_##unit)

#ifdef __x86_64__
LEFT_OUT(jsimd_huff_encode_one_block_sse2)
LEFT_OUT(jconst_huff_encode_one_block)
#else
MERGED(h2v1, neon)
MERGED(h2v2, neon)
LEFT_OUT(jsimd_huff_encode_one_block_neon)
LEFT_OUT(jsimd_encode_mcu_AC_first_prepare_neon)
LEFT_OUT(jsimd_encode_mcu_AC_refine_prepare_neon)
#endif

/* This one is called while reading, but stands beside what writes. */
void png_save_uint_32(uint8_t *to, uint32_t value);
void png_save_uint_32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}
