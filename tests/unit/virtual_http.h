// SPDX-License-Identifier: Apache-2.0
#pragma once
// For one test program each: an HTTP client that sends nothing and a loop whose time the test makes.
// Defines what common/svc/httpc.h and common/sys/loop.h declare, as far as clients of both need it,
// so that the linker takes these and not the libraries'. The test answers each request by hand.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/svc/httpc.h"

// ---- time -----------------------------------------------------------------------------------

struct loop_timer {
    mono_t at;
    void (*fn)(void *user);
    void *user;
    struct loop_timer *prev;
    struct loop_timer *next;
};

static mono_t virtual_now = {INT64_C(1000000000)};
static struct loop_timer *virtual_timers;
#define VIRTUAL_WALL_S INT64_C(1784800000) // of virtual_now at the start

static struct loop *virtual_loop(void)
{
    static char it;
    return (struct loop *)(void *)&it;
}

mono_t loop_now(struct loop *l)
{
    (void)l;
    return virtual_now;
}

wall_t loop_wall(struct loop *l)
{
    (void)l;
    return (wall_t){VIRTUAL_WALL_S * US_PER_S + virtual_now.us - INT64_C(1000000000)};
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *user), void *user)
{
    (void)l;
    struct loop_timer *const t = NEW(struct loop_timer);
    *t = (struct loop_timer){.at = MONO_NEVER, .fn = fn, .user = user};
    DL_APPEND(virtual_timers, t);
    return t;
}

void loop_timer_free(struct loop_timer *t)
{
    DL_DELETE(virtual_timers, t);
    mem_free(t);
}

void loop_timer_set(struct loop_timer *t, mono_t at)
{
    t->at = at;
}

void loop_timer_set_ms(struct loop_timer *t, int64_t ms)
{
    t->at = mono_add_ms(virtual_now, ms);
}

// Lets time pass with all timers that are due.
static void run_ms(int64_t ms)
{
    mono_t const until = mono_add_ms(virtual_now, ms);
    for (;;) {
        struct loop_timer *t = NULL;
        struct loop_timer *first = NULL;
        DL_FOREACH(virtual_timers, t)
        {
            first = !first || mono_before(t->at, first->at) ? t : first;
        }
        if (!first || mono_before(until, first->at)) {
            break;
        }
        virtual_now = mono_max(virtual_now, first->at);
        first->at = MONO_NEVER;
        first->fn(first->user);
    }
    virtual_now = until;
}

// True if nothing would wake the loop.
static bool virtual_idle(void)
{
    struct loop_timer *t = NULL;
    DL_FOREACH(virtual_timers, t)
    {
        if (!mono_is_never(t->at)) {
            return false;
        }
    }
    return true;
}

// ---- requests -------------------------------------------------------------------------------

struct httpc_call {
    char method[8];
    char url[2048];
    char body[64];
    char authorization[64];
    char content_type[64];
    bool trusted;
    unsigned max_redirects;
    bool https_only;
    void (*on_done)(void *user, const struct httpc_result *r);
    void *user;
    const char *header_name; // of the answer
    const char *header_value;
    struct httpc_call *prev;
    struct httpc_call *next;
};

static struct httpc_call *virtual_calls;
static unsigned virtual_started;
static unsigned virtual_refuse; // so many are not even started

static struct httpc *virtual_http(void)
{
    static char it;
    return (struct httpc *)(void *)&it;
}

int httpc_start(struct httpc *c, const struct httpc_request *req, struct httpc_call **ret)
{
    (void)c;
    if (virtual_refuse > 0) {
        virtual_refuse--;
        return -ENOMEM;
    }
    struct httpc_call *const call = NEW(struct httpc_call);
    (void)snprintf(call->method, sizeof(call->method), "%s", req->method ? req->method : "GET");
    (void)snprintf(call->url, sizeof(call->url), "%s", req->url);
    (void)snprintf(call->body, sizeof(call->body), "%.*s", (int)req->body.n,
                   req->body.n ? (const char *)req->body.p : "");
    for (size_t i = 0; i < req->header_count; i++) {
        bool const auth = strcmp(req->headers[i].name, "Authorization") == 0;
        (void)snprintf(auth ? call->authorization : call->content_type, 64, "%s",
                       req->headers[i].value);
    }
    call->trusted = req->trusted;
    call->max_redirects = req->max_redirects;
    call->https_only = req->redirect_https_only;
    call->on_done = req->on_done;
    call->user = req->user;
    DL_APPEND(virtual_calls, call);
    virtual_started++;
    *ret = call;
    return 0;
}

void httpc_cancel(struct httpc_call *call)
{
    DL_DELETE(virtual_calls, call);
    mem_free(call);
}

const char *httpc_step_name(enum httpc_step s)
{
    static const char *const names[] = {"ok",  "bad_url", "dns",     "connect", "denied",
                                        "tls", "send",    "receive", "timeout"};
    return (size_t)s < ARRAY_LEN(names) ? names[s] : "other";
}

const char *httpc_result_header(const struct httpc_result *r, const char *name)
{
    const char *const have = r->call->header_name;
    return have && strcmp(have, name) == 0 ? r->call->header_value : NULL;
}

static void virtual_end(struct httpc_call *call, struct httpc_result r)
{
    DL_DELETE(virtual_calls, call);
    r.call = call;
    call->on_done(call->user, &r);
    mem_free(call);
}

static void answer_call(struct httpc_call *call, unsigned status, const char *body)
{
    virtual_end(call,
                (struct httpc_result){.step = HTTPC_OK, .status = status, .body = bytes_str(body)});
}

static void break_call(struct httpc_call *call, enum httpc_step step)
{
    virtual_end(call, (struct httpc_result){.step = step, .text = "it broke"});
}

static unsigned virtual_open(void)
{
    struct httpc_call *c = NULL;
    unsigned n = 0;
    DL_COUNT(virtual_calls, c, n);
    return n;
}

// Back to the start, for the next test.
static void virtual_reset(void)
{
    virtual_now = (mono_t){INT64_C(1000000000)};
    virtual_started = 0;
    virtual_refuse = 0;
}
