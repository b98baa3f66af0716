// SPDX-License-Identifier: Apache-2.0
#include "common/svc/digest.h"

#include <mbedtls/md.h>

// The one-shot functions can only fail for an unknown digest or an impossible key length, both our
// own bugs.

void digest_sha1(struct bytes in, uint8_t ret[static DIGEST_SHA1_LEN])
{
    const mbedtls_md_info_t *const info = mbedtls_md_info_from_type(MBEDTLS_MD_SHA1);
    int const r = mbedtls_md(info, in.p, in.n, ret);
    assert(r == 0);
    (void)r;
}

void digest_sha256(struct bytes in, uint8_t ret[static DIGEST_SHA256_LEN])
{
    const mbedtls_md_info_t *const info = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    int const r = mbedtls_md(info, in.p, in.n, ret);
    assert(r == 0);
    (void)r;
}

void digest_hmac_sha256(struct bytes key, struct bytes in, uint8_t ret[static DIGEST_SHA256_LEN])
{
    const mbedtls_md_info_t *const info = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    int const r = mbedtls_md_hmac(info, key.p, key.n, in.p, in.n, ret);
    assert(r == 0);
    (void)r;
}
