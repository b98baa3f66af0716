// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/readiness.h"

#include <stdio.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/svc/jsonx.h"
#include "common/sys/log.h"

// A probe is one small request; a minute keeps the log readable while an SFU is away for long.
#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 60000

struct readiness_wait {
    struct readiness_wait *prev;
    struct readiness_wait *next;
    struct readiness *owner;
    void (*fn)(void *user, bool ready, struct bytes json);
    void *user;
};

struct readiness {
    struct loop *loop;
    struct sfu_client *sfu;
    const struct job_store *store;
    struct loop_timer *retry;
    struct sfu_call *call;
    struct readiness_wait *waits;
    int64_t retry_ms;
    mono_t known_at; // when the last answer came
    bool known;
    bool sfu_ok;
    char cause[64];
};

static void probe(struct readiness *r);

static void on_retry(void *user)
{
    probe(user);
}

struct readiness *readiness_new(struct loop *loop, struct sfu_client *sfu,
                                const struct job_store *store)
{
    struct readiness *const r = NEW(struct readiness);
    if (!r) {
        return NULL;
    }
    *r = (struct readiness){.loop = loop, .sfu = sfu, .store = store, .retry_ms = RETRY_FIRST_MS};
    r->retry = loop_timer_new(loop, on_retry, r);
    if (!r->retry) {
        mem_free(r);
        return NULL;
    }
    return r;
}

void readiness_free(struct readiness *r)
{
    if (!r) {
        return;
    }
    while (r->waits) {
        readiness_cancel(r->waits);
    }
    if (r->call) {
        sfu_client_cancel(r->call);
    }
    loop_timer_free(r->retry);
    mem_free(r);
}

// Of changes only, not of each try.
static void tell_change(struct readiness *r, const struct sfu_result *res)
{
    if (r->known && r->sfu_ok == res->ok && (res->ok || strcmp(r->cause, res->step) == 0)) {
        return;
    }
    if (res->ok) {
        log_info(NULL, "sfu.ready", KV_I64("ms", res->elapsed_ms));
    } else {
        log_error(NULL, "sfu.not_ready", KV_STR("step", res->step), KV_STR("text", res->text),
                  KV_I64("ms", res->elapsed_ms));
    }
}

static void answer(struct readiness *r, void (*fn)(void *, bool, struct bytes), void *user)
{
    struct job_store_stats stats = {.up = true};
    if (r->store) {
        job_store_stats(r->store, &stats);
    }
    bool const ready = r->sfu_ok && stats.up;
    struct bytes json = bytes_str("{}");
    size_t n = 0;
    CLEANUP(jsonx_free) struct jsonx *j = jsonx_new_object();
    char *text = NULL;
    if (j && jsonx_set_bool(j, "ready", ready) == 0 &&
        jsonx_set_cstr(j, "sfu", r->sfu_ok ? "ok" : r->cause) == 0 &&
        jsonx_set_cstr(j, "store", stats.up ? "ok" : "cannot be written") == 0) {
        text = jsonx_dump(j, 0, &n);
    }
    if (text) {
        json = bytes_of(text, n);
    }
    fn(user, ready, json);
    mem_free(text);
}

static void on_probe(void *user, const struct sfu_result *res)
{
    struct readiness *const r = user;
    r->call = NULL;
    tell_change(r, res);
    r->known = true;
    r->known_at = loop_now(r->loop);
    r->sfu_ok = res->ok;
    (void)snprintf(r->cause, sizeof(r->cause), "%s", res->ok ? "" : res->step);
    if (res->ok) {
        r->retry_ms = RETRY_FIRST_MS;
        loop_timer_stop(r->retry);
    } else {
        loop_timer_set_ms(r->retry, r->retry_ms);
        r->retry_ms = MIN(r->retry_ms * 2, RETRY_MAX_MS);
    }
    while (r->waits) { // who asks meanwhile is answered from what is known now
        struct readiness_wait *const w = r->waits;
        DL_DELETE(r->waits, w);
        answer(r, w->fn, w->user);
        mem_free(w);
    }
}

static void probe(struct readiness *r)
{
    if (!r->call && sfu_client_probe(r->sfu, on_probe, r, &r->call) < 0) {
        r->call = NULL;
        loop_timer_set_ms(r->retry, r->retry_ms);
    }
}

void readiness_start(struct readiness *r)
{
    probe(r);
}

int readiness_ask(struct readiness *r, void (*fn)(void *user, bool ready, struct bytes json),
                  void *user, struct readiness_wait **ret)
{
    *ret = NULL;
    int64_t const age = mono_diff_ms(loop_now(r->loop), r->known_at);
    if (r->known && age < READINESS_FRESH_MS) {
        answer(r, fn, user);
        return 0;
    }
    struct readiness_wait *const w = NEW(struct readiness_wait);
    if (!w) {
        return -ENOMEM;
    }
    *w = (struct readiness_wait){.owner = r, .fn = fn, .user = user};
    DL_APPEND(r->waits, w);
    *ret = w;
    probe(r);
    if (!r->call) { // no memory to ask
        readiness_cancel(w);
        *ret = NULL;
        return -ENOMEM;
    }
    return 0;
}

void readiness_cancel(struct readiness_wait *w)
{
    DL_DELETE(w->owner->waits, w);
    mem_free(w);
}
