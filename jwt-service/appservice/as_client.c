// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/appservice/as_client.h"

#include <stdio.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"

#define BODY_MAX (64u << 10) // what Matrix answers to a question about one thing
#define LAST_MS 1000         // what is left for the call when discovery took nearly all the time
#define URL_MAX (16u << 10)  // identifiers of 1 KiB, each byte escaped, and the rest

struct as_client {
    struct as_client_conf conf;
    char *authorization; // "Bearer <as_token>"
};

struct as_client_call {
    struct as_client *client;
    void (*fn)(void *user, const struct as_client_result *result);
    void *user;
    char *method;
    char *path;
    uint8_t *body;
    size_t body_n;
    int64_t timeout_ms;
    size_t max_body;
    mono_t started;
    bool cached; // the place may be out of date
    struct cs_query *query;
    struct httpc_call *http;
};

struct as_client *as_client_new(const struct as_client_conf *conf)
{
    CLEANUP(as_client_free) struct as_client *c = NEW(struct as_client);
    if (!c) {
        return NULL;
    }
    struct dynbuf b;
    dynbuf_init(&b, 8192);
    dynbuf_addf(&b, "Bearer %s", conf->as_token);
    c->conf = *conf;
    c->authorization = dynbuf_take_cstr(&b, NULL);
    dynbuf_done(&b);
    return c->authorization ? STEAL(c) : NULL;
}

void as_client_free(struct as_client *c)
{
    if (c) {
        if (c->authorization) {
            explicit_bzero(c->authorization, strlen(c->authorization));
            mem_free(c->authorization);
        }
        mem_free(c);
    }
}

static void call_free(struct as_client_call *c)
{
    if (!c) {
        return;
    }
    if (c->query) {
        cs_discovery_cancel(c->query);
    }
    if (c->http) {
        httpc_cancel(c->http);
    }
    mem_free(c->method);
    mem_free(c->path);
    mem_free(c->body);
    mem_free(c);
}
DEFINE_CLEANUP(struct as_client_call *, call_free)

void as_client_cancel(struct as_client_call *call)
{
    call_free(call);
}

static int64_t elapsed(const struct as_client_call *c)
{
    return mono_diff_ms(loop_now(c->client->conf.loop), c->started);
}

static void finish(struct as_client_call *c, struct as_client_result *r)
{
    r->elapsed_ms = elapsed(c);
    r->errcode = r->errcode ? r->errcode : "";
    void (*const fn)(void *, const struct as_client_result *) = c->fn;
    void *const user = c->user;
    fn(user, r);
    call_free(c);
}

static void fail(struct as_client_call *c, const char *step, const char *text)
{
    finish(c, &(struct as_client_result){.step = step, .text = text});
}

static void on_http(void *user, const struct httpc_result *h)
{
    struct as_client_call *const c = user;
    struct jsonx_limits const limits = {.max_bytes = c->max_body, .max_depth = 32};
    CLEANUP(jsonx_free) struct jsonx *json = NULL;
    struct as_client_result r = {0};
    c->http = NULL;
    if (h->step != HTTPC_OK) {
        if (c->cached) {
            cs_discovery_forget(c->client->conf.discovery, c->client->conf.server_name);
        }
        fail(c, httpc_step_name(h->step), h->text);
        return;
    }
    r.status = h->status;
    if (jsonx_parse(h->body, &limits, &json) == 0 && jsonx_type(json) == JSONX_OBJECT) {
        r.json = json;
        if (jsonx_get_cstr(json, "errcode", &r.errcode) < 0) {
            r.errcode = NULL;
        }
    }
    finish(c, &r);
}

// Calls base_url + path. Negative: it could not even be started.
static int send_to(struct as_client_call *c, const struct cs_location *at)
{
    struct dynbuf url;
    dynbuf_init(&url, URL_MAX);
    dynbuf_add_str(&url, at->base_url);
    dynbuf_add_str(&url, c->path);
    const char *const text = dynbuf_cstr(&url);
    struct httpc_header const headers[] = {{"Authorization", c->client->authorization},
                                           {"Content-Type", "application/json"}};
    struct httpc_request const req = {
        .method = c->method,
        .url = text,
        .headers = headers,
        .header_count = c->body_n > 0 ? 2 : 1,
        .body = bytes_of(c->body, c->body_n),
        .total_ms = MAX(c->timeout_ms - elapsed(c), LAST_MS),
        .max_body = c->max_body,
        // Our own homeserver: the operator named it, wherever it is.
        .trusted = true,
        .on_done = on_http,
        .user = c,
    };
    c->cached = at->cached;
    int const r = text ? httpc_start(c->client->conf.http, &req, &c->http) : -ENOMEM;
    dynbuf_done(&url);
    return r;
}

static void on_location(void *user, const struct cs_result *r)
{
    struct as_client_call *const c = user;
    c->query = NULL;
    if (!r->location) {
        fail(c, "discovery", r->text);
        return;
    }
    if (send_to(c, r->location) < 0) {
        c->http = NULL;
        fail(c, "memory", "out of memory");
    }
}

int as_client_start(struct as_client *c, const struct as_client_request *req,
                    void (*fn)(void *user, const struct as_client_result *result), void *user,
                    struct as_client_call **ret)
{
    CLEANUP(call_free) struct as_client_call *call = NEW(struct as_client_call);
    if (!call) {
        return -ENOMEM;
    }
    *call = (struct as_client_call){
        .client = c,
        .fn = fn,
        .user = user,
        .method = mem_strdup(req->method),
        .path = mem_strdup(req->path),
        .body = mem_alloc(req->body.n + 1),
        .body_n = req->body.n,
        .timeout_ms = req->timeout_ms > 0 ? req->timeout_ms : AS_CLIENT_CALL_MS,
        .max_body = req->max_body > 0 ? req->max_body : BODY_MAX,
        .started = loop_now(c->conf.loop),
    };
    if (!call->method || !call->path || !call->body) {
        return -ENOMEM;
    }
    if (req->body.n > 0) {
        memcpy(call->body, req->body.p, req->body.n);
    }
    struct cs_location at;
    int r = cs_discovery_known(c->conf.discovery, c->conf.server_name, &at);
    r = r == 0 ? send_to(call, &at)
               : cs_discovery_start(c->conf.discovery, c->conf.server_name, on_location, call,
                                    &call->query);
    if (r < 0) {
        call->http = NULL;
        call->query = NULL;
        return -ENOMEM;
    }
    *ret = STEAL(call);
    return 0;
}

bool as_client_unrecognized(const struct as_client_result *r)
{
    return (r->status == 404 || r->status == 405) &&
           (!*r->errcode || strcmp(r->errcode, "M_UNRECOGNIZED") == 0);
}

void as_client_add_segment(struct dynbuf *out, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (const char *p = text; *p; p++) {
        uint8_t const c = (uint8_t)*p;
        bool const unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
                                c == '~';
        if (unreserved) {
            dynbuf_add_u8(out, c);
        } else {
            dynbuf_add_u8(out, '%');
            dynbuf_add_u8(out, (uint8_t)hex[c >> 4]);
            dynbuf_add_u8(out, (uint8_t)hex[c & 15]);
        }
    }
}
