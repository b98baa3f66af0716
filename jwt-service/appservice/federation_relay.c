// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/appservice/federation_relay.h"

#include "common/base/dynbuf.h"
#include "common/base/mem.h"

// Of our homeserver: MSC4512, unstable (Synapse since 1.161) and the name it is to get.
static const char *const proxies[] = {
    "/_matrix/client/unstable/io.element.msc4512/appservice/fed_proxy",
    "/_matrix/client/v1/appservice/fed_proxy"};
// Of the other site: MSC4195, the same.
static const char *const paths[] = {
    "/_matrix/federation/unstable/io.element.msc4195/rtc/livekit/get_token",
    "/_matrix/federation/v1/rtc/livekit/get_token"};

#define JWT_MAX (16u << 10) // ours have some 600 bytes
#define BODY_MAX (256u << 10)

struct federation_relay {
    struct as_client *client;
    size_t proxy; // the one that our homeserver knew last
};

struct federation_relay_call {
    struct federation_relay *relay;
    void (*fn)(void *user, const struct federation_relay_result *result);
    void *user;
    struct jsonx *message; // see make_message
    size_t proxy;
    size_t path;
    int64_t spent_ms;
    struct as_client_call *call;
};

struct federation_relay *federation_relay_new(struct as_client *client)
{
    struct federation_relay *const f = NEW(struct federation_relay);
    if (f) {
        f->client = client;
    }
    return f;
}

void federation_relay_free(struct federation_relay *f)
{
    mem_free(f);
}

void federation_relay_cancel(struct federation_relay_call *c)
{
    if (c) {
        if (c->call) {
            as_client_cancel(c->call);
        }
        jsonx_free(c->message);
        mem_free(c);
    }
}

// A JWT has three base64url segments; anything else would only confuse the client.
static bool is_jwt(const char *s)
{
    size_t dots = 0;
    size_t const n = strlen(s);
    for (const char *p = s; *p; p++) {
        bool const ok = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                        (*p >= '0' && *p <= '9') || *p == '-' || *p == '_' || *p == '.';
        if (!ok) {
            return false;
        }
        dots += *p == '.';
    }
    return dots == 2 && n <= JWT_MAX && s[0] != '.' && s[n - 1] != '.';
}

static void refuse(struct federation_relay_result *ret, enum matrix_error e, const char *step,
                   const char *text)
{
    ret->error = e;
    ret->step = step;
    ret->text = text;
}

// The other site's answer.
static void classify_remote(int64_t status, const struct jsonx *content,
                            struct federation_relay_result *ret, bool *ret_unrecognized)
{
    const char *errcode = "";
    if (status == 200) {
        if (content && jsonx_get_cstr(content, "jwt", &ret->jwt) == 0 && is_jwt(ret->jwt)) {
            ret->error = MATRIX_OK;
            return;
        }
        ret->jwt = NULL;
        refuse(ret, MATRIX_NO_RELAY, "remote", "the other site's answer has no usable `jwt`");
        return;
    }
    if (content && jsonx_get_cstr(content, "errcode", &errcode) < 0) {
        errcode = "";
    }
    if (status == 403 && strcmp(errcode, "M_FORBIDDEN") == 0) {
        refuse(ret, MATRIX_RELAY_FORBIDDEN, "remote",
               "the other site refused: the user is not joined to the room as far as it knows");
    } else if (status == 400 && strcmp(errcode, "M_INVALID_PARAM") == 0) {
        refuse(ret, MATRIX_RELAY_INVALID, "remote",
               "the other site refused: it does not know the SFU's URL");
    } else if (status == 404 || status == 405) {
        *ret_unrecognized = !*errcode || strcmp(errcode, "M_UNRECOGNIZED") == 0;
        refuse(ret, MATRIX_NO_RELAY, "remote",
               "the other site's homeserver does not know this call (MSC4195)");
    } else {
        refuse(ret, MATRIX_NO_RELAY, "remote",
               status == 429   ? "the other site says that we ask too often"
               : status >= 500 ? "the other site's homeserver or service failed"
                               : "the other site answered with an error");
    }
}

static const char *proxy_text(const struct as_client_result *r)
{
    if (r->status == 0) {
        return r->text ? r->text : "our homeserver did not answer";
    }
    if (as_client_unrecognized(r)) {
        return "our homeserver does not relay (fed_proxy); it needs msc4512_enabled";
    }
    if (r->status == 401) {
        return "our homeserver does not know our as_token";
    }
    if (strstr(r->errcode, "M_FEDPROXY_DESTINATION_DENIED")) {
        return "our homeserver does not federate with the other site";
    }
    if (strstr(r->errcode, "M_FEDPROXY_CONNECTION_FAILED")) {
        return "our homeserver cannot reach the other site";
    }
    if (strstr(r->errcode, "M_FEDPROXY_")) {
        return "our homeserver refuses the path; proxy_prefix of the registration must be "
               "rtc/livekit";
    }
    return "our homeserver answered fed_proxy with an error; see its log";
}

void federation_relay_classify(const struct as_client_result *r,
                               struct federation_relay_result *ret, bool *ret_unrecognized)
{
    int64_t status = 0;
    const struct jsonx *content = NULL;
    *ret = (struct federation_relay_result){.elapsed_ms = r->elapsed_ms};
    *ret_unrecognized = false;
    if (r->status != 200) {
        refuse(ret, MATRIX_NO_RELAY, r->status == 0 ? r->step : "fed_proxy", proxy_text(r));
    } else if (!r->json || jsonx_get_int(r->json, "status", &status) < 0) {
        refuse(ret, MATRIX_NO_RELAY, "fed_proxy", "our homeserver's answer has no `status`");
    } else {
        if (jsonx_get_object(r->json, "content", &content) < 0) {
            content = NULL;
        }
        classify_remote(status, content, ret, ret_unrecognized);
    }
}

static void on_answer(void *user, const struct as_client_result *r);

static int ask(struct federation_relay_call *c)
{
    size_t n = 0;
    char *const text = jsonx_set_cstr(c->message, "path", paths[c->path]) == 0
                           ? jsonx_dump(c->message, 0, &n)
                           : NULL;
    if (!text) {
        return -ENOMEM;
    }
    struct as_client_request const req = {.method = "POST",
                                          .path = proxies[c->proxy],
                                          .body = bytes_of(text, n),
                                          .timeout_ms = MAX(FEDERATION_RELAY_MS - c->spent_ms, 1),
                                          .max_body = BODY_MAX};
    int const r = as_client_start(c->relay->client, &req, on_answer, c, &c->call);
    mem_free(text);
    return r;
}

static void on_answer(void *user, const struct as_client_result *r)
{
    struct federation_relay_call *const c = user;
    struct federation_relay_result out;
    bool unrecognized = false;
    c->call = NULL;
    federation_relay_classify(r, &out, &unrecognized);
    out.elapsed_ms += c->spent_ms;
    if (r->status == 200) {
        c->relay->proxy = c->proxy;
    }
    // Each side may know the other name only: one more try for each.
    bool again = false;
    if (as_client_unrecognized(r) && c->proxy == c->relay->proxy) {
        c->proxy = (c->proxy + 1) % ARRAY_LEN(proxies);
        again = true;
    } else if (unrecognized && c->path + 1 < ARRAY_LEN(paths)) {
        c->path++;
        again = true;
    }
    if (again && out.elapsed_ms < FEDERATION_RELAY_MS) {
        c->spent_ms = out.elapsed_ms;
        if (ask(c) == 0) {
            return;
        }
        c->call = NULL;
    }
    void (*const fn)(void *, const struct federation_relay_result *) = c->fn;
    void *const fn_user = c->user;
    fn(fn_user, &out);
    federation_relay_cancel(c);
}

// What our homeserver gets (MSC4512), with what the other site's endpoint gets in it (MSC4195): the
// client's body without server_name, with user_id. The path comes later.
static struct jsonx *make_message(const struct as_request *r, const char *user_id)
{
    CLEANUP(jsonx_free) struct jsonx *top = jsonx_new_object();
    CLEANUP(jsonx_free) struct jsonx *body = jsonx_new_object();
    bool const ok = top && body && jsonx_set_cstr(body, "user_id", user_id) == 0 &&
                    jsonx_set_cstr(body, "url", r->url) == 0 &&
                    jsonx_set_cstr(body, "room_id", r->room_id) == 0 &&
                    jsonx_set_cstr(body, "slot_id", r->slot_id) == 0 &&
                    jsonx_set_cstr(body, "member_id", r->member_id) == 0 &&
                    jsonx_set_cstr(top, "destination", r->server_name) == 0 &&
                    jsonx_set_cstr(top, "method", "POST") == 0 &&
                    jsonx_set(top, "body", STEAL(body)) == 0;
    return ok ? STEAL(top) : NULL;
}

int federation_relay_start(struct federation_relay *f, const struct as_request *r,
                           const char *user_id,
                           void (*fn)(void *user, const struct federation_relay_result *result),
                           void *user, struct federation_relay_call **ret)
{
    struct federation_relay_call *const c = NEW(struct federation_relay_call);
    if (!c) {
        return -ENOMEM;
    }
    *c = (struct federation_relay_call){
        .relay = f, .fn = fn, .user = user, .message = make_message(r, user_id), .proxy = f->proxy};
    if (!c->message || ask(c) < 0) {
        c->call = NULL;
        federation_relay_cancel(c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}
