// SPDX-License-Identifier: Apache-2.0
// LINK: signal
#include <stdlib.h>
#include <string.h>

#include "common/base/base64.h"
#include "common/lk/livekit.h"
#include "common/svc/gzip.h"
#include "sfu/signal/signal_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const char *text)
{
    struct pbuf *p = NULL;
    struct auth_refusal refusal = {0};
    int const rc = signal_codec_v1(text, &p, &refusal);
    if ((rc == 0) != (p != NULL) || (rc != 0 && refusal.status != 400)) {
        abort();
    }
    pbuf_free(p);
}

// The inside wrapped as a client does it, so that the fuzzer gets past the base64.
static void wrapped(struct bytes inner, bool gzip)
{
    struct dynbuf z;
    struct dynbuf outer;
    struct dynbuf text;
    dynbuf_init(&z, 1u << 20);
    dynbuf_init(&outer, 1u << 20);
    dynbuf_init(&text, 1u << 21);
    Livekit__WrappedJoinRequest w = LIVEKIT__WRAPPED_JOIN_REQUEST__INIT;
    if (gzip && gzip_deflate(inner, &z) == 0) {
        inner = dynbuf_view(&z);
        LK_SET(&w, compression, LIVEKIT__WRAPPED_JOIN_REQUEST__COMPRESSION__GZIP);
    }
    LK_SET_BYTES(&w, join_request, inner);
    if (pbuf_pack(&w.base, &outer) == 0) {
        base64_encode(BASE64_URL, dynbuf_view(&outer), &text);
        const char *const t = dynbuf_cstr(&text);
        if (t != NULL) {
            decode(t);
        }
    }
    dynbuf_done(&z);
    dynbuf_done(&outer);
    dynbuf_done(&text);
}

// The join_request parameter of /rtc/v1: base64 around protobuf around gzip around protobuf.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *const text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    decode(text);
    free(text);
    wrapped(bytes_of(data, size), size % 2 != 0);
    return 0;
}
