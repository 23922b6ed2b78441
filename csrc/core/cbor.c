/* cbor.c - items of the deterministic CBOR subset of docs/SPEC.md section 5 (RFC 8949 section 4.2.1). */
#include "cbor.h"

#define ERR(name) (-(int)OTA_E_##name)

int ota_cbor_head(struct ota_cbor *c, unsigned *major, uint64_t *value)
{
    unsigned info;
    unsigned bytes;
    unsigned i;
    uint64_t v = 0;
    static const uint64_t least[4] = {24, 0x100, 0x10000, 0x100000000u};

    if (c->p == c->end)
        return ERR(FORMAT);
    *major = *c->p >> 5;
    info = *c->p & 31u;
    c->p++;
    if (info < 24) {
        *value = info;
        return 0;
    }
    if (info > 27)
        return ERR(FORMAT); /* reserved or indefinite */
    bytes = 1u << (info - 24);
    if ((size_t)(c->end - c->p) < bytes)
        return ERR(FORMAT);
    for (i = 0; i < bytes; i++)
        v = v << 8 | *c->p++;
    if (v < least[info - 24])
        return ERR(FORMAT); /* not the shortest form */
    *value = v;
    return 0;
}

/* Well-formed UTF-8 as RFC 3629 has it: no surrogates, no over-long forms, nothing above U+10FFFF. */
static int utf8_ok(const uint8_t *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint8_t b = s[i++];
        unsigned more = b < 0x80 ? 0 : b < 0xC2 ? 4 : b < 0xE0 ? 1 : b < 0xF0 ? 2 : b < 0xF5 ? 3 : 4;
        uint8_t lo = 0x80;
        uint8_t hi = 0xBF;
        if (more == 4 || n - i < more)
            return 0;
        if (b == 0xE0)
            lo = 0xA0;
        else if (b == 0xED)
            hi = 0x9F;
        else if (b == 0xF0)
            lo = 0x90;
        else if (b == 0xF4)
            hi = 0x8F;
        while (more-- > 0) {
            if (s[i] < lo || s[i] > hi)
                return 0;
            i++;
            lo = 0x80;
            hi = 0xBF;
        }
    }
    return 1;
}

int ota_cbor_string(struct ota_cbor *c, unsigned major, size_t min, size_t max, struct ota_text *out)
{
    unsigned m;
    uint64_t n;
    int st = ota_cbor_head(c, &m, &n);
    if (st != 0)
        return st;
    if (m != major || n > (uint64_t)(c->end - c->p) || n < min || n > max)
        return ERR(FORMAT);
    out->p = (const char *)c->p;
    out->len = (size_t)n;
    c->p += n;
    if (major == 3 && !utf8_ok((const uint8_t *)out->p, out->len))
        return ERR(FORMAT);
    return 0;
}

int ota_cbor_uint(struct ota_cbor *c, uint64_t max, uint64_t *out)
{
    unsigned m;
    int st = ota_cbor_head(c, &m, out);
    return st != 0 ? st : (m != 0 || *out > max) ? ERR(FORMAT) : 0;
}

int ota_cbor_count(struct ota_cbor *c, unsigned major, uint64_t min, uint64_t max, uint64_t *out)
{
    unsigned m;
    int st = ota_cbor_head(c, &m, out);
    return st != 0 ? st : (m != major || *out < min || *out > max) ? ERR(FORMAT) : 0;
}
