// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/appservice/as_flow.h"

#include "common/base/mem.h"
#include "jwt-service/openid/server_name.h"

// How long a client waits for its leave to be taken over; the look-up is one question.
#define LOOKUP_DEADLINE_MS 15000

struct as_flow {
    struct as_flow_conf conf;
};

struct as_flow_call {
    struct as_flow *flow;
    const struct as_request *in;
    const char *user_id;
    struct request_log *log;
    void (*fn)(void *user, const struct as_outcome *outcome);
    void *user;
    // At most one of these is set.
    struct membership_call *membership;
    struct federation_relay_call *relay;
    struct delayed_event_call *lookup;
};

struct as_flow *as_flow_new(const struct as_flow_conf *conf)
{
    struct as_flow *const f = NEW(struct as_flow);
    if (f) {
        f->conf = *conf;
    }
    return f;
}

void as_flow_free(struct as_flow *f)
{
    mem_free(f);
}

// ---- what needs no call ---------------------------------------------------------------------

bool as_flow_is_foreign(const struct as_flow *f, const struct as_request *r)
{
    return r->endpoint == AS_CLIENT_GET_TOKEN && *r->server_name &&
           strcmp(r->server_name, f->conf.server_name) != 0;
}

// The URL that clients found is LIVEKIT_URL; a slash at the end is no other SFU.
static bool same_url(const char *a, const char *b)
{
    size_t n = strlen(a);
    size_t m = strlen(b);
    n -= n > 0 && a[n - 1] == '/';
    m -= m > 0 && b[m - 1] == '/';
    return bytes_eq(bytes_of(a, n), bytes_of(b, m));
}

enum matrix_error as_flow_admit(const struct as_flow *f, const struct as_request *r,
                                const char *caller, const char **ret_user_id)
{
    bool const federation = r->endpoint == AS_FEDERATION_GET_TOKEN;
    struct server_name name;
    enum matrix_error const e =
        federation ? as_auth_origin(caller, r->user_id) : as_auth_user(caller, f->conf.server_name);
    if (e != MATRIX_OK) {
        return e;
    }
    if (*r->server_name && server_name_parse(bytes_str(r->server_name), &name) < 0) {
        return MATRIX_INVALID_SERVER;
    }
    // Nothing is passed on for other sites.
    if (federation && *r->server_name && strcmp(r->server_name, f->conf.server_name) != 0) {
        return MATRIX_INVALID_SERVER;
    }
    if (!as_flow_is_foreign(f, r) && !same_url(r->url, f->conf.livekit_url)) {
        return MATRIX_WRONG_URL;
    }
    // Also keeps "." and ".." out of paths. Nobody is joined to what is no room.
    if (r->room_id[0] != '!') {
        return MATRIX_NOT_JOINED;
    }
    if (*r->delay_id && !delayed_event_id_ok(r->delay_id)) {
        return MATRIX_NO_DELAYED_EVENT;
    }
    *ret_user_id = federation ? r->user_id : caller;
    return MATRIX_OK;
}

// ---- ends -----------------------------------------------------------------------------------

static void call_free(struct as_flow_call *c)
{
    if (c->membership) {
        membership_cancel(c->membership);
    }
    if (c->relay) {
        federation_relay_cancel(c->relay);
    }
    if (c->lookup) {
        delayed_event_cancel(c->lookup);
    }
    mem_free(c);
}

void as_flow_cancel(struct as_flow_call *c)
{
    if (c) {
        call_free(c);
    }
}

static mono_t now(const struct as_flow_call *c)
{
    return loop_now(c->flow->conf.loop);
}

static void finish(struct as_flow_call *c, const struct as_outcome *o)
{
    void (*const fn)(void *, const struct as_outcome *) = c->fn;
    void *const user = c->user;
    fn(user, o);
    call_free(c);
}

static void refuse(struct as_flow_call *c, enum matrix_error e, enum request_step step,
                   const char *cause, const char *text)
{
    finish(c, &(struct as_outcome){.error = e, .failed = step, .cause = cause, .text = text});
}

// The room and the identity in it (authorization-service 3.1; 11.3: of two elements).
static void grant(struct as_flow_call *c, int64_t delay_ms)
{
    struct as_outcome o = {.failed = REQUEST_STEP_COUNT, .delay_ms = delay_ms};
    const char *const room[] = {c->in->room_id, c->in->slot_id};
    const char *const identity[] = {c->user_id, c->in->member_id};
    char hash[ROOM_ALIAS_SIZE];
    if (room_alias_hash(room, 2, o.subject.room) < 0 || room_alias_hash(identity, 2, hash) < 0) {
        refuse(c, MATRIX_INTERNAL, REQUEST_STEP_MINT, "no_memory", NULL);
        return;
    }
    memcpy(o.subject.identity, hash, sizeof(hash));
    finish(c, &o);
}

// ---- another site's SFU ---------------------------------------------------------------------

static void on_relay(void *user, const struct federation_relay_result *r)
{
    struct as_flow_call *const c = user;
    c->relay = NULL;
    if (r->error != MATRIX_OK) {
        refuse(c, r->error, REQUEST_STEP_RELAY, r->step, r->text);
        return;
    }
    request_log_end(c->log, REQUEST_STEP_RELAY, now(c));
    finish(c, &(struct as_outcome){.failed = REQUEST_STEP_COUNT, .relayed_jwt = r->jwt});
}

static void relay(struct as_flow_call *c)
{
    request_log_begin(c->log, REQUEST_STEP_RELAY, now(c));
    if (federation_relay_start(c->flow->conf.relay, c->in, c->user_id, on_relay, c, &c->relay) <
        0) {
        c->relay = NULL;
        refuse(c, MATRIX_INTERNAL, REQUEST_STEP_RELAY, "no_memory", NULL);
    }
}

// ---- the delayed event ----------------------------------------------------------------------

static void on_lookup(void *user, const struct delayed_event_result *r)
{
    struct as_flow_call *const c = user;
    c->lookup = NULL;
    if (r->verdict == DELAYED_EVENT_GONE) {
        refuse(c, MATRIX_NO_DELAYED_EVENT, REQUEST_STEP_DELEGATE, "no_event",
               "the user has no such delayed event");
    } else if (r->verdict != DELAYED_EVENT_OK) {
        refuse(c, MATRIX_DELAYED_EVENT_UNKNOWN, REQUEST_STEP_DELEGATE, r->step, r->text);
    } else if (!r->room || strcmp(r->room, c->in->room_id) != 0) {
        refuse(c, MATRIX_NO_DELAYED_EVENT, REQUEST_STEP_DELEGATE, "other_room",
               "the delayed event is of another room");
    } else if (r->delay_ms <= 0) {
        refuse(c, MATRIX_DELAYED_EVENT_UNKNOWN, REQUEST_STEP_DELEGATE, "body",
               "the homeserver does not tell the event's delay");
    } else {
        request_log_end(c->log, REQUEST_STEP_DELEGATE, now(c));
        grant(c, MIN(r->delay_ms, REQUEST_DELAY_MAX_MS));
    }
}

static void look_up(struct as_flow_call *c)
{
    struct delayed_event_ask const ask = {
        .server_name = c->flow->conf.server_name,
        .delay_id = c->in->delay_id,
        .action = DELAYED_EVENT_LOOKUP,
        .as_user = c->user_id,
        .deadline = mono_add_ms(now(c), LOOKUP_DEADLINE_MS),
    };
    request_log_begin(c->log, REQUEST_STEP_DELEGATE, now(c));
    if (delayed_event_call(c->flow->conf.delayed, &ask, on_lookup, c, &c->lookup) < 0) {
        c->lookup = NULL;
        refuse(c, MATRIX_INTERNAL, REQUEST_STEP_DELEGATE, "no_memory", NULL);
    }
}

// ---- membership -----------------------------------------------------------------------------

static void on_membership(void *user, const struct membership_result *r)
{
    struct as_flow_call *const c = user;
    c->membership = NULL;
    if (r->state == MEMBERSHIP_UNKNOWN) {
        refuse(c, MATRIX_NO_MEMBERSHIP, REQUEST_STEP_MEMBERSHIP, r->step, r->text);
        return;
    }
    if (r->state == MEMBERSHIP_NOT_JOINED) {
        refuse(c, MATRIX_NOT_JOINED, REQUEST_STEP_MEMBERSHIP, "not_joined", NULL);
        return;
    }
    request_log_end(c->log, REQUEST_STEP_MEMBERSHIP, now(c));
    if (as_flow_is_foreign(c->flow, c->in)) {
        relay(c);
    } else if (c->in->endpoint == AS_CLIENT_DELEGATE) {
        look_up(c);
    } else {
        grant(c, 0);
    }
}

int as_flow_start(struct as_flow *f, const struct as_request *r, const char *user_id,
                  struct request_log *log, void (*fn)(void *user, const struct as_outcome *outcome),
                  void *user, struct as_flow_call **ret)
{
    struct as_flow_call *const c = NEW(struct as_flow_call);
    if (!c) {
        return -ENOMEM;
    }
    *c = (struct as_flow_call){
        .flow = f, .in = r, .user_id = user_id, .log = log, .fn = fn, .user = user};
    request_log_begin(log, REQUEST_STEP_MEMBERSHIP, now(c));
    if (membership_check(f->conf.membership, r->room_id, user_id, on_membership, c,
                         &c->membership) < 0) {
        mem_free(c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}
