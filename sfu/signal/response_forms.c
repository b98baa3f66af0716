// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/response_forms.h"

#include "sfu/signal/signal_frame.h"

void response_forms_init(struct response_forms *f)
{
    *f = (struct response_forms){.deflate = ws_deflate_new()};
    for (int text = 0; text < 2; text++) {
        dynbuf_init(&f->form[text][0], SIGNAL_FRAME_TEXT_MAX);
        // What cannot be compressed becomes a little longer.
        dynbuf_init(&f->form[text][1], SIGNAL_FRAME_TEXT_MAX + (SIGNAL_FRAME_TEXT_MAX >> 4));
    }
}

static void forget(struct response_forms *f)
{
    shared_buf_unref(f->source);
    f->source = NULL;
    for (int i = 0; i < 4; i++) {
        struct dynbuf *const b = &f->form[i / 2][i % 2];
        size_t const max = b->max;
        dynbuf_done(b);
        dynbuf_init(b, max);
        f->tried[i / 2][i % 2] = false;
    }
}

void response_forms_done(struct response_forms *f)
{
    forget(f);
    ws_deflate_free(f->deflate);
    f->deflate = NULL;
}

// The response as text, empty if it has none.
static struct bytes text_of(struct response_forms *f)
{
    struct dynbuf *const b = &f->form[1][0];
    if (!f->tried[1][0]) {
        f->tried[1][0] = true;
        if (signal_frame_text(shared_buf_view(f->source), b) < 0) {
            dynbuf_reset(b);
        }
    }
    return dynbuf_view(b);
}

// The plain form compressed, empty if that does not pay.
static struct bytes packed_of(struct response_forms *f, bool text, struct bytes plain)
{
    struct dynbuf *const b = &f->form[text][1];
    bool const shared = atomic_load(&f->source->refs) > 2; // ours, the message's and others
    if (f->deflate == NULL || plain.n < RESPONSE_PACK_MIN ||
        (plain.n > RESPONSE_PACK_MAX && !shared && !f->tried[text][1])) {
        return (struct bytes){NULL, 0};
    }
    if (!f->tried[text][1]) {
        f->tried[text][1] = true;
        if (ws_deflate_pack(f->deflate, plain, b) < 0 || b->n >= plain.n) {
            dynbuf_reset(b);
        }
    }
    return dynbuf_view(b);
}

int response_forms_send(struct response_forms *f, struct ws *w, bool text, bool packed,
                        struct shared_buf *response)
{
    if (f->source != response) {
        forget(f);
        f->source = shared_buf_ref(response);
    }
    struct bytes plain = text ? text_of(f) : shared_buf_view(response);
    if (text && plain.n == 0) {
        f->not_text++;
        text = false;
        plain = shared_buf_view(response);
    }
    enum ws_kind const kind = text ? WS_TEXT : WS_BINARY;
    struct bytes const small = packed ? packed_of(f, text, plain) : (struct bytes){NULL, 0};
    return small.n > 0 ? ws_send_packed(w, kind, small) : ws_send(w, kind, plain);
}
