/* otastream_host.h - making deltas. Host only: it allocates memory and writes to a file descriptor.
 *
 * The suffix array comes from libdivsufsort, which the caller loads and passes as function pointers.
 */
#ifndef OTASTREAM_HOST_H
#define OTASTREAM_HOST_H

#include "otastream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef-begin */

/* Functions of libdivsufsort: fill sa[n] with the start positions of the suffixes of text[n] in lexical order; 0 on
 * success. sort32 serves old content below 2 GiB, sort64 all other (and all, when sort32 is NULL). */
struct ota_sorter {
    int32_t (*sort32)(const uint8_t *text, int32_t *sa, int32_t n);
    int32_t (*sort64)(const uint8_t *text, int64_t *sa, int64_t n);
};

/* What a delta consists of. */
struct ota_diff_stats {
    uint64_t triples;
    uint64_t added;    /* bytes of new made from bytes of old */
    uint64_t nonzero;  /* of these, the ones that differ from old */
    uint64_t literals; /* bytes of new sent as they are */
    uint64_t written;  /* bytes of payload */
    int os_error;      /* errno when the payload could not be written, else 0 */
};

/* What is known of old and new beside their bytes: which stretches are long compressed parts, expanded. Each is content
 * of its own, which may be a program, and one of old is slow to go to and fro in. Start and length of each, in order.
 */
struct ota_long_parts {
    const uint64_t *old_parts;
    size_t old_count;
    const uint64_t *new_parts;
    size_t new_count;
};

/* Write the payload of engine bsdiff (docs/SPEC.md section 6.2) that makes new_data from old_data to fd.
 *
 * parts: NULL, or long parts: in those of old there are no short copies from far away then.
 * Needs up to 6 bytes of memory for each byte of old (8 from 2 GiB on) when there is anything to search for. The
 * payload depends on nothing but old and new; calls may run in parallel. stats is always filled in, after a failure as
 * far as it came. 0, or -OTA_E_RAM (no memory), -OTA_E_OUTPUT (see os_error), -OTA_E_LIMIT (content above 2^63 - 1
 * bytes), -OTA_E_USAGE (no sorter for this size, parts that overlap or leave old or new), -OTA_E_INTERNAL (the sorter
 * failed). */
int ota_diff_bsdiff(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size,
                    const uint8_t *new_data, uint64_t new_size, const struct ota_long_parts *parts, int fd,
                    struct ota_diff_stats *stats);

/* The same for contents that are larger than memory, piece by piece: new_data is the next piece of new, old_data what
 * is in old from old_base on, of which it is made; *old_pos is where the decoder stands in old, 0 for the first piece,
 * and is set for the next one. The payloads of all pieces, one after the other, make the whole. */
int ota_diff_bsdiff_part(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size,
                         const uint8_t *new_data, uint64_t new_size, int fd, uint64_t old_base, uint64_t *old_pos,
                         struct ota_diff_stats *stats);

/* The smallest different hashes of all pieces of 8 bytes in data, at most `room` of them, rising, into out. Returns how
 * many; 0 for less than 8 bytes. The share of equal numbers in two of them says how alike the contents are. The same on
 * every machine. */
uint32_t ota_sketch(const uint8_t *data, uint64_t size, uint32_t *out, uint32_t room);

/* 1: one of `count` byte strings is in data; 0: none. They stand one after the other in bytes; lengths has theirs, at
 * least 3 each (1 is the answer where that is not so). */
int ota_holds_any(const uint8_t *data, uint64_t size, const uint8_t *bytes, const uint8_t *lengths, uint32_t count);

/* The same in two steps, for who chooses among the pieces that new is made of. ota_diff_pieces writes them to fd: for
 * each three uint64_t in the machine's order, where it is in new, where in old, and its length; in the order of new,
 * without overlap. ota_encode_pieces writes the payload that makes new_data of these pieces (`pieces` times three
 * numbers) and of literals. Errors as above; OTA_E_USAGE also for pieces that overlap or leave old or new. */
int ota_diff_pieces(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size,
                    const uint8_t *new_data, uint64_t new_size, int fd, struct ota_diff_stats *stats);
int ota_encode_pieces(const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data, uint64_t new_size,
                      const uint64_t *numbers, size_t pieces, int fd, struct ota_diff_stats *stats);

/* How to make a delta of engine xref. */
struct ota_xref_options {
    uint32_t model_log;   /* the decoder's model has 2^model_log bytes: 12..22 */
    uint32_t spans_max;   /* entries of the decoder's offset map, 16 bytes each */
    uint32_t regions_max; /* entries of its list of regions, 12 bytes each; at least 1 */
};

/* What a delta of engine xref consists of. parts: bytes of the payload for tables (segments and regions), the offset
 * map, copies that are not in it, runs, flags, wrong bytes and literals. */
struct ota_xref_stats {
    uint64_t triples;
    uint64_t spans;
    uint64_t regions;
    uint64_t literals; /* bytes of new that are not copied from old */
    uint64_t parts[7];
    uint64_t written;   /* bytes of payload */
    uint64_t workspace; /* bytes that the decoder needs */
    int os_error;       /* errno when the payload could not be written, else 0 */
};

/* Bytes of workspace that decoding needs with these numbers and a window of 4096 bytes (docs/SPEC.md section 6.3.1),
 * whatever the machine; 0: out of range. */
size_t ota_xref_workspace(unsigned model_log, uint32_t spans, uint32_t regions);

/* Whether engine xref can be expected to gain: an ELF file, an image that holds instructions it knows, or one in which
 * ELF files are an eighth of what there is. */
int ota_xref_suits(const uint8_t *data, uint64_t size);

/* Bytes of the ELF file that data begins with, if all of it is there; else 0. */
uint64_t ota_program_size(const uint8_t *data, uint64_t size);

/* Write the payload of engine xref (docs/SPEC.md section 6.3) that makes new_data from old_data to fd, after having
 * decoded it again.
 *
 * Old and new may be anything below 4 GiB; what gains are ELF files and images of instructions. Needs up to 12 bytes
 * of memory for each byte of old and new. parts: as ota_diff_bsdiff has them; those that are images of instructions are
 * followed as programs, with addresses of their own. The payload depends on nothing but old, new, options and parts;
 * calls may run in parallel. stats is always filled in, after a failure as far as it came. 0, or -OTA_E_RAM,
 * -OTA_E_OUTPUT (see os_error), -OTA_E_LIMIT (content too large), -OTA_E_USAGE (options or parts out of range, no
 * sorter), -OTA_E_INTERNAL. */
int ota_diff_xref(const struct ota_sorter *sorter, const struct ota_xref_options *options, const uint8_t *old_data,
                  uint64_t old_size, const uint8_t *new_data, uint64_t new_size, const struct ota_long_parts *parts,
                  int fd, struct ota_xref_stats *stats);

/* The same for an update in place (docs/SPEC.md section 6.4.1), in two steps like those of engine bsdiff: the pieces,
 * and the payload that makes new of a choice of them, unit by unit. */
int ota_diff_xref_pieces(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size,
                         const uint8_t *new_data, uint64_t new_size, int fd, struct ota_xref_stats *stats);

/* Write the payload of the tables, then that of each unit, to fd, after having decoded them again; the lengths of these
 * payloads go to written, count + 1 numbers. numbers: `pieces` times three, as ota_diff_xref_pieces wrote them; none
 * reaches from one unit (of unit_size bytes) into the next. units: `count` of them, in the order in which they are
 * replaced. Errors as above; OTA_E_USAGE also for pieces that overlap, and for pieces and units that leave old or new.
 */
int ota_encode_xref_units(const struct ota_xref_options *options, const uint8_t *old_data, uint64_t old_size,
                          const uint8_t *new_data, uint64_t new_size, const uint64_t *numbers, size_t pieces,
                          uint32_t unit_size, const uint32_t *units, size_t count, uint64_t *written, int fd,
                          struct ota_xref_stats *stats);

/* cdef-end */

#ifdef __cplusplus
}
#endif
#endif
