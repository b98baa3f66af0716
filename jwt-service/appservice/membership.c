// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/appservice/membership.h"

#include <stdio.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"

// MSC4502: what Synapse has since 1.161, and the name it is to get.
static const char *const prefixes[] = {"/_matrix/client/unstable/io.element.msc4502/rooms/",
                                       "/_matrix/client/v3/rooms/"};

#define PATH_MAX_ ((size_t)8 << 10) // a room id of 1 KiB and a user id, each byte escaped

struct membership {
    struct as_client *client;
    size_t prefix; // the one that the homeserver knew last
};

struct membership_call {
    struct membership *m;
    void (*fn)(void *user, const struct membership_result *result);
    void *user;
    char *room_id;
    char *user_id;
    size_t prefix;
    unsigned tries;
    int64_t spent_ms; // in the try before
    struct as_client_call *call;
};

struct membership *membership_new(struct as_client *client)
{
    struct membership *const m = NEW(struct membership);
    if (m) {
        m->client = client;
    }
    return m;
}

void membership_free(struct membership *m)
{
    mem_free(m);
}

void membership_cancel(struct membership_call *c)
{
    if (c) {
        if (c->call) {
            as_client_cancel(c->call);
        }
        mem_free(c->room_id);
        mem_free(c->user_id);
        mem_free(c);
    }
}

enum membership_state membership_classify(const struct as_client_result *r, const char **ret_text)
{
    bool joined = false;
    if (r->status == 200 && r->json && jsonx_get_bool(r->json, "joined", &joined) == 0) {
        return joined ? MEMBERSHIP_JOINED : MEMBERSHIP_NOT_JOINED;
    }
    if (r->status == 404 && strcmp(r->errcode, "M_NOT_FOUND") == 0) {
        return MEMBERSHIP_NOT_JOINED; // a room it does not know: nobody we vouch for is in it
    }
    if (r->status == 400 && strcmp(r->errcode, "M_INVALID_PARAM") == 0) {
        return MEMBERSHIP_NOT_JOINED; // no room id or user id by its grammar
    }
    *ret_text =
        r->status == 0 ? (r->text ? r->text : "the homeserver did not answer")
        : as_client_unrecognized(r)
            ? "the homeserver does not know is_joined; it needs msc4502_enabled"
        : r->status == 401 ? "the homeserver does not know our as_token; is the registration file "
                             "in app_service_config_files, and was it restarted since?"
        : r->status == 403 ? "the homeserver refuses is_joined; the registration lacks the scope "
                             "(io.element.msc4502.scopes)"
        : r->status == 200 ? "the homeserver's answer has no `joined`"
                           : "the homeserver answered is_joined with an error; see its log";
    return MEMBERSHIP_UNKNOWN;
}

static void on_answer(void *user, const struct as_client_result *r);

static int ask(struct membership_call *c)
{
    struct dynbuf path;
    dynbuf_init(&path, PATH_MAX_);
    dynbuf_add_str(&path, prefixes[c->prefix]);
    as_client_add_segment(&path, c->room_id);
    dynbuf_add_str(&path, "/is_joined?mxid=");
    as_client_add_segment(&path, c->user_id);
    struct as_client_request const req = {.method = "GET", .path = dynbuf_cstr(&path)};
    int const r = req.path ? as_client_start(c->m->client, &req, on_answer, c, &c->call) : -ENOMEM;
    dynbuf_done(&path);
    c->tries++;
    return r;
}

static void finish(struct membership_call *c, const struct membership_result *r)
{
    void (*const fn)(void *, const struct membership_result *) = c->fn;
    void *const user = c->user;
    fn(user, r);
    membership_cancel(c);
}

static void on_answer(void *user, const struct as_client_result *r)
{
    struct membership_call *const c = user;
    struct membership_result out = {.elapsed_ms = c->spent_ms + r->elapsed_ms};
    c->call = NULL;
    if (as_client_unrecognized(r) && c->tries < ARRAY_LEN(prefixes)) {
        c->prefix = (c->prefix + 1) % ARRAY_LEN(prefixes);
        c->spent_ms = out.elapsed_ms;
        if (ask(c) == 0) {
            return;
        }
        c->call = NULL;
    }
    out.state = membership_classify(r, &out.text);
    if (out.state == MEMBERSHIP_UNKNOWN) {
        out.step = r->status == 0 ? r->step : "status";
    } else {
        c->m->prefix = c->prefix;
    }
    finish(c, &out);
}

int membership_check(struct membership *m, const char *room_id, const char *user_id,
                     void (*fn)(void *user, const struct membership_result *result), void *user,
                     struct membership_call **ret)
{
    struct membership_call *const c = NEW(struct membership_call);
    if (!c) {
        return -ENOMEM;
    }
    *c = (struct membership_call){.m = m,
                                  .fn = fn,
                                  .user = user,
                                  .room_id = mem_strdup(room_id),
                                  .user_id = mem_strdup(user_id),
                                  .prefix = m->prefix};
    if (!c->room_id || !c->user_id || ask(c) < 0) {
        c->call = NULL;
        membership_cancel(c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}
