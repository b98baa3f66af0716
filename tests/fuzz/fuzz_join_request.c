// SPDX-License-Identifier: Apache-2.0
// LINK: signal
//
// The join_request parameter of strangers: any text, and any bytes in the wrappings that lead
// deeper (base64, WrappedJoinRequest, gzip). Decoded or refused with status 400, never more memory
// than the caps allow.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/base64.h"
#include "common/lk/livekit.h"
#include "sfu/signal/signal_codec.h"
#include "sfu/signal/user_agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Whatever was decoded can be walked and encoded again.
static void check(const char *text)
{
    struct user_agent ua;
    user_agent_parse(text, &ua); // a header of the same request
    struct pbuf *p = NULL;
    struct auth_refusal refusal = {.status = 0};
    int const rc = signal_codec_v1(text, &p, &refusal);
    if (rc == 0) {
        const Livekit__JoinRequest *const j = p->msg;
        struct dynbuf b;
        dynbuf_init(&b, (size_t)16 << 20);
        if (j == NULL || pbuf_pack(&j->base, &b) < 0) {
            abort();
        }
        dynbuf_done(&b);
        pbuf_free(p);
    } else if (p != NULL || (rc == -EACCES && refusal.status != 400)) {
        abort();
    }
}

static void check_encoded(struct bytes raw)
{
    struct dynbuf text;
    dynbuf_init(&text, (size_t)8 << 20);
    base64_encode(BASE64_URL, raw, &text);
    const char *const s = dynbuf_cstr(&text);
    if (s != NULL) {
        check(s);
    }
    dynbuf_done(&text);
}

// As the inner message of a wrapper that says how it is compressed.
static void check_wrapped(struct bytes inner, int compression)
{
    struct dynbuf b;
    dynbuf_init(&b, (size_t)8 << 20);
    Livekit__WrappedJoinRequest w = LIVEKIT__WRAPPED_JOIN_REQUEST__INIT;
    LK_SET(&w, compression, (Livekit__WrappedJoinRequest__Compression)compression);
    LK_SET_BYTES(&w, join_request, inner);
    if (pbuf_pack(&w.base, &b) == 0) {
        check_encoded(dynbuf_view(&b));
    }
    dynbuf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct bytes const in = bytes_of(data + 1, size - 1);
    if (data[0] % 4 == 0) {
        char *const text = malloc(size);
        if (text == NULL) {
            return 0;
        }
        memcpy(text, data + 1, size - 1);
        text[size - 1] = 0;
        check(text);
        free(text);
    } else if (data[0] % 4 == 1) {
        check_encoded(in);
    } else {
        check_wrapped(in, data[0] % 4 == 2 ? 0 : 1);
    }
    return 0;
}
