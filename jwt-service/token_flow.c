// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/token_flow.h"

#include "common/base/mem.h"

struct token_flow {
    struct token_flow_conf conf;
    size_t calls;
};

// A user has as many leaves as devices in calls; one of them ends in some time.
#define LEAVE_LIMIT_RETRY_MS 30000

struct token_flow_call {
    struct token_flow *flow;
    struct token_grant grant;
    struct access_decision may;
    struct request_log *log;
    void (*fn)(void *user, const struct token_outcome *outcome);
    void *user;
    char *jwt;
    // At most one of these is set.
    struct cs_query *query;
    struct sfu_call *sfu;
    struct leave_call *leave;
};

struct token_flow *token_flow_new(const struct token_flow_conf *conf)
{
    struct token_flow *const f = NEW(struct token_flow);
    if (f) {
        f->conf = *conf;
    }
    return f;
}

void token_flow_free(struct token_flow *f)
{
    assert(!f || f->calls == 0);
    mem_free(f);
}

static mono_t now(const struct token_flow_call *c)
{
    return loop_now(c->flow->conf.loop);
}

// ---- ends -----------------------------------------------------------------------------------

static void call_free(struct token_flow_call *c)
{
    if (c->query) {
        cs_discovery_cancel(c->query);
    }
    if (c->sfu) {
        sfu_client_cancel(c->sfu);
    }
    if (c->leave) {
        leave_manager_cancel(c->leave);
    }
    if (c->jwt) {
        explicit_bzero(c->jwt, strlen(c->jwt));
        mem_free(c->jwt);
    }
    c->flow->calls--;
    mem_free(c);
}

void token_flow_cancel(struct token_flow_call *c)
{
    call_free(c);
}

// Tells the outcome; c is gone afterwards.
static void end(struct token_flow_call *c, enum matrix_error e, int64_t retry_after_ms)
{
    struct token_outcome const o = {.error = e,
                                    .retry_after_ms = retry_after_ms,
                                    .jwt = e == MATRIX_OK ? c->jwt : NULL,
                                    .lifetime_s = c->may.token_lifetime_s};
    c->fn(c->user, &o);
    call_free(c);
}

static void fail(struct token_flow_call *c, enum request_step step, enum matrix_error e,
                 const char *cause, const char *text)
{
    request_log_fail(c->log, step, now(c), cause, text);
    end(c, e, 0);
}

// ---- the leave is taken over ----------------------------------------------------------------

static void on_leave(void *user, enum leave_verdict v)
{
    struct token_flow_call *const c = user;
    c->leave = NULL;
    if (v == LEAVE_ACCEPTED) {
        request_log_end(c->log, REQUEST_STEP_DELEGATE, now(c));
        end(c, MATRIX_OK, 0);
        return;
    }
    static const char *const causes[LEAVE_VERDICT_COUNT] = {[LEAVE_SHUTTING_DOWN] = "shutting_down",
                                                            [LEAVE_LIMIT] = "limit",
                                                            [LEAVE_REFUSED_BY_SERVER] =
                                                                "homeserver_demands_token"};
    request_log_fail(c->log, REQUEST_STEP_DELEGATE, now(c), causes[v], NULL);
    if (v == LEAVE_SHUTTING_DOWN) {
        end(c, MATRIX_SHUTTING_DOWN, 0);
    } else if (v == LEAVE_LIMIT) {
        end(c, MATRIX_LIMITED, LEAVE_LIMIT_RETRY_MS);
    } else if (v == LEAVE_REFUSED_BY_SERVER) {
        // The words that make clients keep their leaves to themselves (authorization-service 8.4).
        end(c, c->grant.only_delegate ? MATRIX_DELEGATION_FORBIDDEN : MATRIX_NO_DELEGATION, 0);
    } else {
        end(c, MATRIX_INTERNAL, 0);
    }
}

static void delegate(struct token_flow_call *c)
{
    const struct token_grant *const g = &c->grant;
    if (!*g->delay_id) {
        end(c, MATRIX_OK, 0);
        return;
    }
    struct leave_request const q = {
        .delay_id = g->delay_id,
        .delay_ms = g->delay_timeout_ms,
        .server_name = g->server_name,
        .room = g->subject.room,
        .identity = g->subject.identity,
        .other_identity = *g->other_identity ? g->other_identity : NULL,
        .user_id = g->user_id,
        .as_user = g->as_user,
    };
    request_log_begin(c->log, REQUEST_STEP_DELEGATE, now(c));
    if (leave_manager_delegate(c->flow->conf.leaves, &q, on_leave, c, &c->leave) < 0) {
        c->leave = NULL;
        fail(c, REQUEST_STEP_DELEGATE, MATRIX_INTERNAL, "no_memory", NULL);
    }
}

// ---- room -----------------------------------------------------------------------------------

static void on_room(void *user, const struct sfu_result *r)
{
    struct token_flow_call *const c = user;
    c->sfu = NULL;
    auth_metrics_sfu(c->flow->conf.metrics, "CreateRoom", r->ok ? "ok" : r->step,
                     r->elapsed_ms * 1000);
    if (!r->ok) {
        fail(c, REQUEST_STEP_CREATE_ROOM, MATRIX_NO_ROOM, r->step, r->text);
        return;
    }
    request_log_end(c->log, REQUEST_STEP_CREATE_ROOM, now(c));
    delegate(c);
}

static void create_room(struct token_flow_call *c)
{
    // Handing over a leave makes no room: whoever does it is in one, or comes with a token request.
    bool const wanted = !c->grant.only_delegate && (c->grant.always_create || c->may.create);
    if (!wanted) {
        delegate(c);
        return;
    }
    request_log_begin(c->log, REQUEST_STEP_CREATE_ROOM, now(c));
    if (sfu_client_create_room(c->flow->conf.sfu, c->grant.subject.room, c->may.max_participants,
                               on_room, c, &c->sfu) < 0) {
        c->sfu = NULL;
        fail(c, REQUEST_STEP_CREATE_ROOM, MATRIX_NO_ROOM, "no_memory", NULL);
    }
}

// ---- the homeserver's client-server API -----------------------------------------------------

static void on_location(void *user, const struct cs_result *r)
{
    struct token_flow_call *const c = user;
    c->query = NULL;
    if (!r->location) {
        fail(c, REQUEST_STEP_CS_DISCOVERY, MATRIX_NO_CS_API, r->step, r->text);
        return;
    }
    request_log_end(c->log, REQUEST_STEP_CS_DISCOVERY, now(c));
    create_room(c);
}

// A leave that could not be sent is refused now: the client keeps it then.
static void find_cs_api(struct token_flow_call *c)
{
    struct cs_location at;
    struct cs_discovery *const cs = c->flow->conf.cs;
    if (!*c->grant.delay_id || cs_discovery_known(cs, c->grant.server_name, &at) == 0) {
        create_room(c);
        return;
    }
    request_log_begin(c->log, REQUEST_STEP_CS_DISCOVERY, now(c));
    int const r = cs_discovery_start(cs, c->grant.server_name, on_location, c, &c->query);
    if (r < 0) {
        c->query = NULL;
        fail(c, REQUEST_STEP_CS_DISCOVERY, r == -EINVAL ? MATRIX_NO_CS_API : MATRIX_INTERNAL,
             r == -EINVAL ? "server_name" : "no_memory", NULL);
    }
}

// ---- policy, token --------------------------------------------------------------------------

static int mint(struct token_flow_call *c)
{
    const struct token_flow_conf *const conf = &c->flow->conf;
    struct token_rights const rights = {
        .publish = c->may.publish && !c->grant.never_publish,
        .subscribe = c->may.subscribe,
        .update_metadata = conf->can_update_metadata,
        .sources = c->may.sources,
        .lifetime_s = c->may.token_lifetime_s,
    };
    wall_t const wall = loop_wall(conf->loop);
    const struct api_key *const key = api_keys_signer(conf->keys, wall);
    return key ? token_issue_join(key, wall, &c->grant.subject, &rights, &c->jwt) : -ENOKEY;
}

static void begin(struct token_flow_call *c)
{
    const struct token_flow_conf *const conf = &c->flow->conf;
    const struct token_grant *const g = &c->grant;
    struct access_question const q = {.server_name = g->server_name,
                                      .user_id = g->user_id,
                                      .room_id = g->room_id,
                                      .full_access = g->full_access};
    access_policy_decide(*conf->policy, &conf->defaults, &q, &c->may);
    c->log->rule = *c->may.rule ? c->may.rule : NULL;
    if (!c->may.allowed) {
        fail(c, REQUEST_STEP_POLICY, MATRIX_DENIED, "denied", NULL);
        return;
    }
    if (*g->delay_id && (!c->may.delegate || !conf->leaves)) {
        fail(c, REQUEST_STEP_POLICY,
             g->only_delegate ? MATRIX_DELEGATION_FORBIDDEN : MATRIX_NO_DELEGATION, "no_delegation",
             NULL);
        return;
    }
    if (!g->only_delegate) {
        request_log_begin(c->log, REQUEST_STEP_MINT, now(c));
        int const r = mint(c);
        if (r < 0) {
            fail(c, REQUEST_STEP_MINT, MATRIX_INTERNAL, r == -ENOKEY ? "no_key" : "mint",
                 r == -ENOKEY ? "every key of the key file is retired; add one with "
                                "\"focictl keys rotate\""
                              : strerror(-r));
            return;
        }
        request_log_end(c->log, REQUEST_STEP_MINT, loop_refresh(conf->loop));
    }
    find_cs_api(c);
}

int token_flow_start(struct token_flow *f, const struct token_grant *grant, struct request_log *log,
                     void (*fn)(void *user, const struct token_outcome *outcome), void *user,
                     struct token_flow_call **ret)
{
    struct token_flow_call *const c = NEW(struct token_flow_call);
    if (!c) {
        return -ENOMEM;
    }
    c->flow = f;
    c->grant = *grant;
    c->log = log;
    c->fn = fn;
    c->user = user;
    f->calls++;
    *ret = c; // before fn, which may be called now and clears it
    begin(c);
    return 0;
}
