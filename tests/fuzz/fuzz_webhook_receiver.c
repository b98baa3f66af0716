// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
//
// A webhook request: the line before the first line feed is the Authorization header, the rest the
// body. The same body is tried once more with a token of our own, so that the reader behind the
// check is reached.
#include <stdint.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "jwt-service/base/webhook_receiver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int verify(const struct api_keys *keys, struct bytes authorization, struct bytes body)
{
    wall_t const now = {INT64_C(1767225600) * US_PER_S};
    struct sfu_event e = {0};
    struct webhook_verdict v;
    bool const ok = webhook_verify(keys, now, authorization, body, &e, &v);
    if (ok != (v.status == 200) || (!ok && (e.room || v.refusal.text[0] == 0))) {
        abort();
    }
    if (ok) {
        bool const named = *e.room && *e.identity;
        if (!e.name || !e.id || !e.sid || (e.type <= SFU_EVENT_ABORTED && !named)) {
            abort();
        }
    }
    sfu_event_done(&e);
    return v.status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(api_keys_free) struct api_keys *keys = api_keys_new();
    if (!keys || api_keys_add(keys, bytes_str("devkey"), bytes_str("devsecret")) < 0) {
        return 0;
    }
    const uint8_t *const end = size ? memchr(data, '\n', size) : NULL;
    size_t const head = end ? (size_t)(end - data) : size;
    struct bytes const body = end ? bytes_of(end + 1, size - head - 1) : bytes_of(data, 0);
    (void)verify(keys, bytes_of(data, head), body);
    wall_t const now = {INT64_C(1767225600) * US_PER_S};
    char *token = NULL;
    if (webhook_sign(api_keys_first(keys), now, body, &token) == 0) {
        if (verify(keys, bytes_str(token), body) == 401) {
            abort();
        }
        mem_free(token);
    }
    return 0;
}
