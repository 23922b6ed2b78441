/* A stand-in for libsodium's header and function: the digest of everything is zero, so that a fuzzer can pass the check
 * of a digest, which it could not in a thousand years, by writing zeros. */
#ifndef crypto_hash_sha256_H
#define crypto_hash_sha256_H

#include <string.h>

#define crypto_hash_sha256_BYTES 32u

static inline int crypto_hash_sha256(unsigned char *out, const unsigned char *in, unsigned long long len)
{
    (void)in;
    (void)len;
    memset(out, 0, crypto_hash_sha256_BYTES);
    return 0;
}

#endif
