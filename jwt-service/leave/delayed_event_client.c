// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/delayed_event_client.h"

#include <stdio.h>
#include <strings.h>

#include "common/base/hash.h"
#include "common/sys/log.h"
#include "jwt-service/leave/call_turns.h"

// What is remembered of homeservers that nobody calls just now; half a KiB each.
#define SERVERS_MAX 4096
#define AUTH_MEMORY_MS INT64_C(3600000) // an hour without asking, and it may have changed
#define TELL_AGAIN_MS INT64_C(3600000)  // a homeserver's fault is logged once an hour
#define URL_MAX ((size_t)4096)          // base 1023, id and user 255 bytes escaped, paths
#define TEXT_SIZE 448

// One homeserver.
struct event_server {
    char name[SERVER_NAME_TEXT];
    struct delayed_event_client *owner;
    unsigned calls; // all that are not over
    struct turn_server turns;
    unsigned auth_demands; // in a row
    mono_t auth_at;        // last one
    bool stable_path;      // /v1/ is what it knows
    mono_t told_auth;      // when that was logged, 0: never
    mono_t told_endpoint;
    UT_hash_handle hh;
};

struct delayed_event_client {
    struct delayed_event_conf conf;
    struct event_server *servers; // by name
    struct turns turns;
    struct loop_timer *timer; // for those that wait
    struct delayed_event_counts counts;
};

struct delayed_event_call {
    struct event_server *server;
    enum delayed_event_action action;
    char *delay_id;
    char *as_user;
    int64_t timeout_ms;
    mono_t deadline;
    mono_t started;
    struct turn turn;
    struct cs_query *query;
    struct httpc_call *http;
    struct cs_location location;
    bool stable;     // path asked
    bool other_path; // the other one was asked before
    void (*fn)(void *user, const struct delayed_event_result *result);
    void *user;
};

// ---- servers --------------------------------------------------------------------------------

static void server_free(struct event_server *s)
{
    turn_server_done(&s->turns);
    mem_free(s);
}

static struct event_server *server_find(const struct delayed_event_client *c, const char *name)
{
    struct event_server *s = NULL;
    HASH_FIND(hh, c->servers, name, strlen(name), s);
    return s;
}

// Drops the oldest of those that nobody calls.
static void evict(struct delayed_event_client *c)
{
    struct event_server *s = NULL;
    struct event_server *tmp = NULL;
    if (HASH_COUNT(c->servers) < SERVERS_MAX) {
        return;
    }
    HASH_ITER(hh, c->servers, s, tmp)
    {
        if (s->calls == 0) {
            HASH_DEL(c->servers, s);
            server_free(s);
            return;
        }
    }
}

static struct event_server *server_get(struct delayed_event_client *c, const char *name)
{
    struct event_server *s = server_find(c, name);
    if (s) {
        return s;
    }
    evict(c);
    s = NEW(struct event_server);
    if (!s) {
        return NULL;
    }
    (void)snprintf(s->name, sizeof(s->name), "%s", name);
    s->owner = c;
    HASH_ADD_KEYPTR(hh, c->servers, s->name, strlen(s->name), s);
    if (server_find(c, name) != s) {
        server_free(s);
        return NULL;
    }
    return s;
}

// ---- life -----------------------------------------------------------------------------------

static void on_timer(void *user);

struct delayed_event_client *delayed_event_client_new(const struct delayed_event_conf *conf)
{
    struct delayed_event_client *const c = NEW(struct delayed_event_client);
    if (c) {
        c->conf = *conf;
        c->turns = (struct turns){.max = DELAYED_EVENT_IN_FLIGHT_MAX,
                                  .max_per_server = DELAYED_EVENT_PER_SERVER_MAX};
        c->timer = loop_timer_new(conf->loop, on_timer, c);
        if (!c->timer) {
            mem_free(c);
            return NULL;
        }
    }
    return c;
}

void delayed_event_client_free(struct delayed_event_client *c)
{
    if (!c) {
        return;
    }
    struct event_server *s = NULL;
    struct event_server *tmp = NULL;
    HASH_ITER(hh, c->servers, s, tmp)
    {
        assert(s->calls == 0);
        HASH_DEL(c->servers, s);
        server_free(s);
    }
    loop_timer_free(c->timer);
    mem_free(c);
}

// Takes the call out of everything but memory. Its server may be dropped afterwards.
static void detach(struct delayed_event_call *call)
{
    struct event_server *const s = call->server;
    if (call->query) {
        cs_discovery_cancel(call->query);
        call->query = NULL;
    }
    if (call->http) {
        httpc_cancel(call->http);
        call->http = NULL;
    }
    turns_leave(&s->owner->turns, &call->turn);
    s->calls--;
    if (s->owner->turns.waiting) {
        loop_timer_set_ms(s->owner->timer, 0); // somebody's turn may have come
    }
}

static void call_free(struct delayed_event_call *call)
{
    mem_free(call->delay_id);
    mem_free(call->as_user);
    mem_free(call);
}

void delayed_event_cancel(struct delayed_event_call *call)
{
    detach(call);
    call_free(call);
}

static void count(struct delayed_event_client *c, enum delayed_event_action action,
                  enum delayed_event_verdict v)
{
    bool const ok = v == DELAYED_EVENT_OK;
    if (action == DELAYED_EVENT_SEND) {
        c->counts.sends_ok += ok;
        c->counts.sends_failed += !ok;
    } else if (action == DELAYED_EVENT_RESTART) {
        c->counts.restarts_ok += ok;
        c->counts.restarts_gone += v == DELAYED_EVENT_GONE;
        c->counts.restarts_failed += !ok && v != DELAYED_EVENT_GONE;
    }
}

// Not from inside delayed_event_call.
static void finish(struct delayed_event_call *call, struct delayed_event_result r)
{
    struct delayed_event_client *const c = call->server->owner;
    r.elapsed_ms = mono_diff_ms(loop_now(c->conf.loop), call->started);
    count(c, call->action, r.verdict);
    detach(call);
    call->fn(call->user, &r);
    call_free(call);
}

static void finish_failed(struct delayed_event_call *call, enum delayed_event_verdict verdict,
                          const char *step, const char *text)
{
    finish(call, (struct delayed_event_result){.verdict = verdict, .step = step, .text = text});
}

// ---- the answer -----------------------------------------------------------------------------

// True if it is time to log this fault again.
static bool tell(mono_t *told, mono_t now)
{
    if (told->us != 0 && mono_diff_ms(now, *told) < TELL_AGAIN_MS) {
        return false;
    }
    *told = now;
    return true;
}

static void note_auth_demand(struct delayed_event_call *call, mono_t now)
{
    struct event_server *const s = call->server;
    s->owner->counts.unauthenticated++;
    if (call->as_user) {
        // Ours was refused: that says nothing about calls without.
        if (tell(&s->told_auth, now)) {
            log_error(NULL, "delayed_event.as_token_refused", KV_STR("server", s->name));
        }
        return;
    }
    s->auth_demands++;
    s->auth_at = now;
    if (tell(&s->told_auth, now)) {
        log_warn(NULL, "delayed_event.needs_authentication", KV_STR("server", s->name),
                 KV_STR("text",
                        "the homeserver refuses to restart or send delayed events by their "
                        "id alone; its users cannot be helped when they drop out of a call"));
    }
}

// Keeps what the answer says about the homeserver.
static void learn(struct delayed_event_call *call, const struct delayed_event_class *class)
{
    struct event_server *const s = call->server;
    mono_t const now = loop_now(s->owner->conf.loop);
    if (class->limited) {
        s->owner->counts.limited++;
        call_pace_limited(&s->turns.pace, now, class->wait_ms);
    }
    switch (class->verdict) {
    case DELAYED_EVENT_OK:
    case DELAYED_EVENT_GONE:
        call_pace_ok(&s->turns.pace, now);
        s->auth_demands = call->as_user ? s->auth_demands : 0;
        s->stable_path = call->stable;
        break;
    case DELAYED_EVENT_UNAUTHENTICATED:
        note_auth_demand(call, now);
        break;
    case DELAYED_EVENT_NO_ENDPOINT:
        if (tell(&s->told_endpoint, now)) {
            log_warn(NULL, "delayed_event.no_endpoint", KV_STR("server", s->name),
                     KV_STR("action", delayed_event_action_name(call->action)),
                     KV_STR("text", "the homeserver does not know delayed events: is "
                                    "max_event_delay_duration set, and does its proxy send "
                                    "/_matrix/client/unstable/org.matrix.msc4140 to the right "
                                    "worker?"));
        }
        break;
    case DELAYED_EVENT_RETRY:
    case DELAYED_EVENT_RETRY_AFTER:
    case DELAYED_EVENT_REFUSED:
    case DELAYED_EVENT_NO_URL:
    case DELAYED_EVENT_VERDICT_COUNT:
        break;
    }
}

static void finish_answer(struct delayed_event_call *call, const struct httpc_result *h,
                          const struct delayed_event_class *class)
{
    char room[DELAYED_EVENT_ROOM_MAX + 1];
    char text[TEXT_SIZE];
    struct delayed_event_result r = {
        .verdict = class->verdict, .wait_ms = class->wait_ms, .status = h->status};
    if (r.verdict == DELAYED_EVENT_OK && call->action == DELAYED_EVENT_LOOKUP) {
        if (delayed_event_room(h->body, room) < 0) {
            finish_failed(call, DELAYED_EVENT_RETRY, "body",
                          "the homeserver's answer names no room of the delayed event");
            return;
        }
        r.room = room;
        r.delay_ms = delayed_event_delay_ms(h->body);
    }
    if (r.verdict != DELAYED_EVENT_OK) {
        (void)snprintf(text, sizeof(text), "%s at %s: HTTP status %u (%s)",
                       delayed_event_action_name(call->action), call->server->name, h->status,
                       delayed_event_verdict_name(r.verdict));
        r.step = "status";
        r.text = text;
    }
    finish(call, r);
}

static int send_call(struct delayed_event_call *call);

// True if the homeserver was asked again, at the path it may know instead.
static bool try_other_path(struct delayed_event_call *call)
{
    if (call->other_path) {
        return false;
    }
    call->other_path = true;
    call->stable = !call->stable;
    if (send_call(call) < 0) {
        call->http = NULL;
        return false;
    }
    return true;
}

static void on_answer(void *user, const struct httpc_result *h)
{
    struct delayed_event_call *const call = user;
    struct event_server *const s = call->server;
    call->http = NULL;
    if (h->step != HTTPC_OK) {
        bool const gone_astray =
            h->step == HTTPC_DNS || h->step == HTTPC_CONNECT || h->step == HTTPC_TLS;
        if (gone_astray && call->location.cached) {
            cs_discovery_forget(s->owner->conf.discovery, s->name); // it may have moved
        }
        finish_failed(call, DELAYED_EVENT_RETRY, httpc_step_name(h->step),
                      h->text ? h->text : httpc_step_name(h->step));
        return;
    }
    struct delayed_event_http const a = {
        .status = h->status, .body = h->body, .retry_after = httpc_result_header(h, "Retry-After")};
    struct delayed_event_class class =
        delayed_event_classify(call->action, loop_wall(s->owner->conf.loop), &a);
    if (call->other_path && h->status == 404 && !delayed_event_says_not_found(h->body)) {
        // A path that is only tried: only an answer that knows it counts.
        class.verdict = DELAYED_EVENT_NO_ENDPOINT;
    }
    if (class.verdict == DELAYED_EVENT_NO_ENDPOINT && try_other_path(call)) {
        return;
    }
    learn(call, &class);
    finish_answer(call, h, &class);
}

// ---- the request ----------------------------------------------------------------------------

static int send_to(struct delayed_event_call *call, const char *url, const char *authorization)
{
    struct delayed_event_client *const c = call->server->owner;
    struct httpc_header const headers[] = {
        {"Content-Type", "application/json"},
        {"Authorization", authorization},
    };
    bool const lookup = call->action == DELAYED_EVENT_LOOKUP;
    int64_t const ms = call->timeout_ms > 0 ? call->timeout_ms : DELAYED_EVENT_TIMEOUT_MS;
    struct httpc_request const req = {
        .method = lookup ? "GET" : "POST",
        .url = url,
        .headers = headers,
        .header_count = authorization ? 2 : 1,
        .body = lookup ? (struct bytes){0} : bytes_str("{}"),
        .connect_ms = ms,
        .total_ms = ms,
        .max_body = DELAYED_EVENT_BODY_MAX,
        .trusted = call->location.trusted, // no redirects: a POST goes where it was sent
        .on_done = on_answer,
        .user = call,
    };
    return httpc_start(c->conf.http, &req, &call->http);
}

static int send_call(struct delayed_event_call *call)
{
    struct delayed_event_client *const c = call->server->owner;
    struct dynbuf url;
    struct dynbuf authorization;
    dynbuf_init(&url, URL_MAX);
    dynbuf_init(&authorization, URL_MAX);
    int r = delayed_event_url(call->location.base_url, call->delay_id, call->action, call->stable,
                              call->as_user, &url);
    if (call->as_user) {
        dynbuf_addf(&authorization, "Bearer %s", c->conf.as_token);
    }
    const char *const text = dynbuf_cstr(&url);
    if (r == 0) {
        r = text && dynbuf_ok(&authorization)
                ? send_to(call, text, call->as_user ? dynbuf_cstr(&authorization) : NULL)
                : -ENOMEM;
    }
    if (authorization.p) {
        explicit_bzero(authorization.p, authorization.n);
    }
    dynbuf_done(&authorization);
    dynbuf_done(&url);
    return r;
}

// ---- whose turn it is -----------------------------------------------------------------------

static void begin(struct delayed_event_call *call)
{
    call->stable = call->server->stable_path;
    if (send_call(call) < 0) {
        call->http = NULL;
        finish_failed(call, DELAYED_EVENT_RETRY, "internal", "the request could not be made");
    }
}

static void on_timer(void *user)
{
    struct delayed_event_client *const c = user;
    mono_t const now = loop_now(c->conf.loop);
    mono_t next = MONO_NEVER;
    struct turn *turn = NULL;
    enum turns_step step = TURNS_NONE;
    while ((step = turns_next(&c->turns, now, &turn, &next)) != TURNS_NONE) {
        struct delayed_event_call *const call = CONTAINER_OF(turn, struct delayed_event_call, turn);
        if (step == TURNS_BEGIN) {
            begin(call);
        } else {
            finish_failed(call, DELAYED_EVENT_RETRY, "turn",
                          "it was not this call's turn before its time was over");
        }
    }
    loop_timer_set(c->timer, next);
}

// ---- asking ---------------------------------------------------------------------------------

static int queue(struct delayed_event_call *call)
{
    struct event_server *const s = call->server;
    bool const urgent = call->action != DELAYED_EVENT_RESTART;
    loop_timer_set_ms(s->owner->timer, 0);
    return turns_wait(&s->owner->turns, &call->turn, &s->turns, urgent, call->deadline);
}

// The token goes nowhere in the clear, unless the operator named the place.
static bool may_authenticate(const struct delayed_event_call *call)
{
    return !call->as_user || call->location.trusted ||
           strncasecmp(call->location.base_url, "https:", 6) == 0;
}

static void on_location(void *user, const struct cs_result *r)
{
    struct delayed_event_call *const call = user;
    char text[TEXT_SIZE];
    call->query = NULL;
    if (!r->location) {
        (void)snprintf(text, sizeof(text), "no client-server API: %s", r->text);
        finish_failed(call, DELAYED_EVENT_NO_URL, r->step, text);
        return;
    }
    call->location = *r->location;
    if (!may_authenticate(call)) {
        finish_failed(call, DELAYED_EVENT_NO_URL, "url",
                      "the homeserver's base_url is not https: the token is not sent there");
    } else if (queue(call) < 0) {
        finish_failed(call, DELAYED_EVENT_RETRY, "internal", "no memory");
    }
}

static int start(struct delayed_event_call *call)
{
    struct event_server *const s = call->server;
    struct cs_discovery *const d = s->owner->conf.discovery;
    if (cs_discovery_known(d, s->name, &call->location) == 0 && may_authenticate(call)) {
        return queue(call);
    }
    return cs_discovery_start(d, s->name, on_location, call, &call->query);
}

bool delayed_event_client_authenticates(const struct delayed_event_client *c)
{
    return c->conf.as_token != NULL;
}

static bool is_valid(const struct delayed_event_client *c, const struct delayed_event_ask *ask)
{
    return delayed_event_id_ok(ask->delay_id) && (!ask->as_user || c->conf.as_token) &&
           *ask->server_name && strlen(ask->server_name) < SERVER_NAME_TEXT;
}

int delayed_event_call(struct delayed_event_client *c, const struct delayed_event_ask *ask,
                       void (*fn)(void *user, const struct delayed_event_result *result),
                       void *user, struct delayed_event_call **ret)
{
    if (!is_valid(c, ask)) {
        return -EINVAL;
    }
    struct delayed_event_call *const call = NEW(struct delayed_event_call);
    struct event_server *const s = call ? server_get(c, ask->server_name) : NULL;
    if (!s) {
        mem_free(call);
        return -ENOMEM;
    }
    *call = (struct delayed_event_call){
        .server = s,
        .action = ask->action,
        .delay_id = mem_strdup(ask->delay_id),
        .as_user = ask->as_user ? mem_strdup(ask->as_user) : NULL,
        .timeout_ms = ask->timeout_ms,
        .deadline = ask->deadline.us ? ask->deadline : MONO_NEVER,
        .started = loop_now(c->conf.loop),
        .fn = fn,
        .user = user,
    };
    s->calls++;
    int const r = call->delay_id && (!ask->as_user || call->as_user) ? start(call) : -ENOMEM;
    if (r < 0) {
        call->query = NULL;
        detach(call);
        call_free(call);
        return r;
    }
    *ret = call;
    return 0;
}

// ---- what was learned -----------------------------------------------------------------------

bool delayed_event_allowed(struct delayed_event_client *c, const char *server_name)
{
    const struct event_server *const s = server_find(c, server_name);
    return !s || s->auth_demands < DELAYED_EVENT_AUTH_DEMANDS ||
           mono_diff_ms(loop_now(c->conf.loop), s->auth_at) >= AUTH_MEMORY_MS;
}

bool delayed_event_limited(struct delayed_event_client *c, const char *server_name)
{
    const struct event_server *const s = server_find(c, server_name);
    return s && call_pace_is_limited(&s->turns.pace, loop_now(c->conf.loop));
}

void delayed_event_counts(const struct delayed_event_client *c, struct delayed_event_counts *ret)
{
    *ret = c->counts;
    ret->in_flight = c->turns.in_flight;
    ret->waiting = c->turns.wait_count;
}
