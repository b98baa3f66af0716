// SPDX-License-Identifier: Apache-2.0
// The line of calls that wait because max_total are under way. libcurl has such a line too, but each
// in it has a handle of some 25 KiB, and all of them are looked through whenever one call ends
// (7.88); ours is a copy of what was asked for.
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/svc/httpc_internal.h"

// A request whose texts lie behind it, in one piece of memory.
struct httpc_saved {
    struct httpc_request req;
    struct httpc_pin pin;
    size_t size;
};

// Puts pieces one behind the other; without memory it only counts.
struct packer {
    uint8_t *p;
    size_t n;
};

static void *pack(struct packer *k, const void *from, size_t n)
{
    if (from == NULL) {
        return NULL;
    }
    uint8_t *const to = k->p != NULL ? k->p + k->n : NULL;
    k->n += (n + 7) & ~(size_t)7;
    if (to != NULL && n > 0) {
        memcpy(to, from, n);
    }
    return to;
}

static const char *pack_text(struct packer *k, const char *text)
{
    return pack(k, text, text != NULL ? strlen(text) + 1 : 0);
}

static void pack_headers(struct packer *k, struct httpc_request *ret)
{
    size_t const n = ret->header_count;
    const struct httpc_header *const from = ret->headers;
    struct httpc_header *const to = pack(k, from, n * sizeof(*from));
    for (size_t i = 0; i < n; i++) {
        struct httpc_header const h = {pack_text(k, from[i].name), pack_text(k, from[i].value)};
        if (to != NULL) {
            to[i] = h;
        }
    }
    ret->headers = to;
}

static struct httpc_saved *pack_all(struct packer *k, const struct httpc_request *req)
{
    struct httpc_saved s = {.req = *req};
    struct httpc_request *const r = &s.req;
    struct httpc_saved *const to = pack(k, &s, sizeof(s));
    r->method = pack_text(k, req->method);
    r->url = pack_text(k, req->url);
    pack_headers(k, r);
    r->body.p = pack(k, req->body.p, req->body.n);
    r->connect_to = pack_text(k, req->connect_to);
    r->host_header = pack_text(k, req->host_header);
    if (req->pin != NULL) {
        s.pin = *req->pin;
        s.pin.host = pack_text(k, req->pin->host);
        s.pin.addrs = pack(k, req->pin->addrs, req->pin->count * sizeof(req->pin->addrs[0]));
        r->pin = to != NULL ? &to->pin : NULL;
    }
    if (to != NULL) {
        s.size = k->n;
        *to = s;
    }
    return to;
}

const char *httpc_saved_url(const struct httpc_call *c)
{
    return c->saved != NULL ? c->saved->req.url : NULL;
}

static void saved_free(struct httpc_saved *s)
{
    if (s != NULL) {
        explicit_bzero(s, s->size); // it may hold tokens
        mem_free(s);
    }
}

int httpc_queue_add(struct httpc_call *c, const struct httpc_request *req)
{
    struct httpc *const h = c->owner;
    struct packer k = {0};
    (void)pack_all(&k, req);
    k = (struct packer){.p = mem_alloc(k.n)};
    if (k.p == NULL) {
        return -ENOMEM;
    }
    c->saved = pack_all(&k, req);
    c->phase = HTTPC_QUEUED;
    DL_APPEND2(h->line, c, line_prev, line_next);
    httpc_limit(c, c->deadline);
    return 0;
}

void httpc_queue_remove(struct httpc_call *c)
{
    if (c->saved != NULL) {
        DL_DELETE2(c->owner->line, c, line_prev, line_next);
        saved_free(c->saved);
        c->saved = NULL;
    }
}

void httpc_queue_pump(struct httpc *h)
{
    while (h->line != NULL && !httpc_is_full(h)) {
        if (loop_turn_is_long(h->loop)) {
            loop_timer_set_ms(h->pump, 0);
            return;
        }
        struct httpc_call *const c = h->line;
        struct httpc_saved *const s = c->saved;
        DL_DELETE2(h->line, c, line_prev, line_next);
        c->saved = NULL;
        int const r = httpc_begin(c, &s->req);
        saved_free(s);
        if (r < 0) {
            httpc_finish(c, CURLE_OUT_OF_MEMORY, HTTPC_INTERNAL,
                         r == -EINVAL ? "it is no request that can be sent" : NULL);
        }
    }
}
