// SPDX-License-Identifier: Apache-2.0
// LINK: lk
// Two readings of the input: as a token, and as a payload that is signed with the right key first,
// so that the claims parser is reached. Whatever verifies can be minted again.
#include <stdint.h>
#include <stdlib.h>

#include "common/base/base64.h"
#include "common/base/mem.h"
#include "common/lk/access_token.h"
#include "common/svc/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void verify(const struct api_keys *keys, struct bytes token)
{
    CLEANUP(access_token_free) struct access_token *t = NULL;
    struct access_token_refusal refusal;
    wall_t const now = {INT64_C(1767225600) * US_PER_S};
    if (access_token_verify(keys, now, token, &t, &refusal) < 0) {
        return;
    }
    char *again = NULL;
    if (access_token_mint(&t->claims, api_keys_first(keys), &again) == 0) {
        CLEANUP(access_token_free) struct access_token *t2 = NULL;
        if (access_token_verify(keys, now, bytes_str(again), &t2, &refusal) < 0) {
            abort();
        }
        mem_free(again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(api_keys_free) struct api_keys *keys = api_keys_new();
    if (!keys || api_keys_add(keys, bytes_str("devkey"), bytes_str("devsecret")) < 0) {
        return 0;
    }
    verify(keys, bytes_of(data, size));
    struct dynbuf b;
    dynbuf_init(&b, 256u << 10);
    dynbuf_add_str(&b, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.");
    base64_encode(BASE64_URL_NOPAD, bytes_of(data, size), &b);
    uint8_t mac[DIGEST_SHA256_LEN];
    digest_hmac_sha256(bytes_str("devsecret"), dynbuf_view(&b), mac);
    dynbuf_add_u8(&b, '.');
    base64_encode(BASE64_URL_NOPAD, bytes_of(mac, sizeof(mac)), &b);
    if (dynbuf_ok(&b)) {
        verify(keys, dynbuf_view(&b));
    }
    dynbuf_done(&b);
    return 0;
}
