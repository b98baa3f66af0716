// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/cs_discovery.h"

#include <stdio.h>

#include "common/base/hash.h"
#include "common/sys/log.h"

#define ENTRIES_MAX 10000 // authorization-service 5.5; half a KiB each
#define FETCH_TOTAL_MS 5000
#define FETCH_CONNECT_MS 3000
#define FETCH_REDIRECTS 5
#define FAILED_S INT64_C(60) // 7.6; doubles up to an hour while a good one serves on
#define FAILED_MAX_S INT64_C(3600)
#define STALE_S INT64_C(172800) // as server_discovery.c keeps its documents
#define FORGET_S INT64_C(60)
#define STEP_SIZE 16
#define TEXT_SIZE 400

struct cs_query {
    struct cs_query **list; // it is in: of a pending fetch, or of what is ready
    void (*fn)(void *user, const struct cs_result *result);
    void *user;
    struct cs_answer *ready; // known already; NULL while it waits for a fetch
    struct cs_query *prev;
    struct cs_query *next;
};

// What a query is told.
struct cs_answer {
    bool found;
    struct cs_location location;
    char step[STEP_SIZE];
    char text[TEXT_SIZE];
};

// A fetch under way.
struct cs_pending {
    struct cs_query *queries;
    struct httpc_call *call;
    struct loop_timer *kick; // begins it in a turn of its own
    struct server_name name;
    bool without_port; // the second attempt for a name with a port
    struct cs_answer answer;
};

struct cs_entry {
    char name[SERVER_NAME_TEXT];
    struct cs_discovery *owner;
    struct cs_pending *pending;
    char *base_url; // last good one; NULL: none
    mono_t good_at; // when it was read
    mono_t due;     // from then on it is fetched again; for one without URL: the failure is kept
    unsigned failures;
    char step[STEP_SIZE]; // of the last failure
    char *text;           // same; may be NULL
    UT_hash_handle hh;
};

struct cs_discovery {
    struct cs_discovery_conf conf;
    struct cs_entry *entries; // by name, oldest use first
    struct cs_query *ready;
    struct loop_timer *deliver; // tells what is ready
};

// ---- life -----------------------------------------------------------------------------------

static void on_deliver(void *user);

struct cs_discovery *cs_discovery_new(const struct cs_discovery_conf *conf)
{
    struct cs_discovery *const d = NEW(struct cs_discovery);
    if (d) {
        d->conf = *conf;
        d->deliver = loop_timer_new(conf->loop, on_deliver, d);
        if (!d->deliver) {
            mem_free(d);
            return NULL;
        }
    }
    return d;
}

static void query_free(struct cs_query *q)
{
    if (q) {
        mem_free(q->ready);
        mem_free(q);
    }
}

static void queries_free(struct cs_query *list)
{
    struct cs_query *q = NULL;
    struct cs_query *tmp = NULL;
    DL_FOREACH_SAFE(list, q, tmp)
    {
        query_free(q);
    }
}

static void pending_free(struct cs_pending *p)
{
    if (!p) {
        return;
    }
    if (p->call) {
        httpc_cancel(p->call);
    }
    if (p->kick) {
        loop_timer_free(p->kick);
    }
    queries_free(p->queries);
    mem_free(p);
}

static void entry_free(struct cs_entry *e)
{
    if (e) {
        pending_free(e->pending);
        mem_free(e->base_url);
        mem_free(e->text);
        mem_free(e);
    }
}

void cs_discovery_free(struct cs_discovery *d)
{
    if (!d) {
        return;
    }
    struct cs_entry *e = NULL;
    struct cs_entry *tmp = NULL;
    HASH_ITER(hh, d->entries, e, tmp)
    {
        HASH_DEL(d->entries, e);
        entry_free(e);
    }
    queries_free(d->ready);
    loop_timer_free(d->deliver);
    mem_free(d);
}

static struct cs_entry *entry_find(const struct cs_discovery *d, const char *name)
{
    struct cs_entry *e = NULL;
    HASH_FIND(hh, d->entries, name, strlen(name), e);
    return e;
}

// Makes room for one more: the entry that was not used for longest, unless somebody waits for it.
static void evict(struct cs_discovery *d)
{
    struct cs_entry *e = NULL;
    struct cs_entry *tmp = NULL;
    if (HASH_COUNT(d->entries) < ENTRIES_MAX) {
        return;
    }
    HASH_ITER(hh, d->entries, e, tmp)
    {
        if (!e->pending) {
            HASH_DEL(d->entries, e);
            entry_free(e);
            return;
        }
    }
}

// The entry as the one used last: the hash keeps the order of insertion, which serves as order of
// use. NULL without memory, and the entry is gone then.
static struct cs_entry *entry_use(struct cs_discovery *d, const char *name)
{
    struct cs_entry *e = entry_find(d, name);
    if (e) {
        HASH_DEL(d->entries, e);
    } else {
        evict(d);
        e = NEW(struct cs_entry);
        if (!e) {
            return NULL;
        }
        (void)snprintf(e->name, sizeof(e->name), "%s", name);
        e->owner = d;
        e->due = (mono_t){INT64_MIN};
    }
    HASH_ADD_KEYPTR(hh, d->entries, e->name, strlen(e->name), e);
    if (!entry_find(d, name)) {
        entry_free(e);
        return NULL;
    }
    return e;
}

// ---- what is known --------------------------------------------------------------------------

static bool is_trusted(const struct cs_discovery *d, const char *name)
{
    return d->conf.trusts && d->conf.trusts(d->conf.user, name);
}

static int override_of(const struct cs_discovery *d, const char *name, struct cs_location *ret)
{
    for (size_t i = 0; i < d->conf.override_count; i++) {
        if (strcmp(d->conf.overrides[i].server_name, name) != 0) {
            continue;
        }
        const char *const url = d->conf.overrides[i].base_url;
        size_t n = strlen(url);
        while (n > 0 && url[n - 1] == '/') {
            n--;
        }
        *ret = (struct cs_location){.trusted = true};
        (void)snprintf(ret->base_url, sizeof(ret->base_url), "%.*s", (int)MIN(n, CS_BASE_URL_MAX),
                       url);
        return 0;
    }
    return -ENOENT;
}

static bool is_usable(const struct cs_entry *e, mono_t now)
{
    return e->base_url && mono_diff_ms(now, e->good_at) < STALE_S * 1000;
}

static void location_of(const struct cs_entry *e, struct cs_location *ret)
{
    *ret = (struct cs_location){.trusted = is_trusted(e->owner, e->name), .cached = true};
    (void)snprintf(ret->base_url, sizeof(ret->base_url), "%s", e->base_url);
}

// ---- fetching -------------------------------------------------------------------------------

static void start_fetch(struct cs_entry *e);

static void keep_good(struct cs_entry *e, const char *base_url, int64_t ttl_s)
{
    mono_t const now = loop_now(e->owner->conf.loop);
    char *const copy = mem_strdup(base_url);
    if (copy) {
        mem_free(e->base_url);
        e->base_url = copy;
    }
    e->good_at = now;
    e->due = mono_add_ms(now, ttl_s * 1000);
    e->failures = 0;
}

static void keep_failure(struct cs_entry *e)
{
    const struct cs_answer *const a = &e->pending->answer;
    mono_t const now = loop_now(e->owner->conf.loop);
    bool const serves_on = is_usable(e, now);
    // A failure without anything to fall back on is asked again after a minute: somebody waits.
    unsigned const doublings = serves_on ? MIN(e->failures, 6u) : 0;
    e->due = mono_add_ms(now, MIN(FAILED_S << doublings, FAILED_MAX_S) * 1000);
    e->failures++;
    memcpy(e->step, a->step, sizeof(e->step));
    mem_free(e->text);
    e->text = mem_strdup(a->text);
    if (serves_on) {
        log_warn(NULL, "cs_discovery.refresh_failed", KV_STR("server", e->name),
                 KV_STR("step", a->step), KV_STR("text", a->text));
    }
}

// Tells all who wait what is known now.
static void finish(struct cs_entry *e)
{
    struct cs_pending *const p = e->pending;
    e->pending = NULL;
    struct cs_answer *const a = &p->answer;
    a->found = is_usable(e, loop_now(e->owner->conf.loop));
    if (a->found) {
        location_of(e, &a->location);
    }
    struct cs_query *q = NULL;
    while ((q = p->queries) != NULL) { // a callback may change the cache, e may be gone
        struct cs_result const r = {
            .location = a->found ? &a->location : NULL, .step = a->step, .text = a->text};
        DL_DELETE(p->queries, q);
        q->fn(q->user, &r);
        query_free(q);
    }
    pending_free(p);
}

static void fail(struct cs_entry *e, const char *step, const char *text)
{
    struct cs_pending *const p = e->pending;
    bool const first = !p->answer.text[0];
    if (first) { // what the second attempt says is of less interest: it is at another port
        (void)snprintf(p->answer.step, sizeof(p->answer.step), "%s", step);
        (void)snprintf(p->answer.text, sizeof(p->answer.text), "%s", text);
    }
    if (p->name.port != 0 && !p->without_port) {
        p->without_port = true;
        start_fetch(e);
        return;
    }
    keep_failure(e);
    finish(e);
}

static void on_document(void *user, const struct httpc_result *r)
{
    struct cs_entry *const e = user;
    char base_url[CS_BASE_URL_MAX + 1];
    char text[TEXT_SIZE];
    e->pending->call = NULL;
    if (r->step != HTTPC_OK) {
        fail(e, httpc_step_name(r->step), r->text ? r->text : httpc_step_name(r->step));
    } else if (r->status != 200) {
        (void)snprintf(text, sizeof(text), ".well-known/matrix/client of %s: HTTP status %u",
                       e->name, r->status);
        fail(e, "status", text);
    } else if (cs_well_known_parse(r->body, base_url) < 0) {
        (void)snprintf(text, sizeof(text),
                       ".well-known/matrix/client of %s has no usable m.homeserver.base_url",
                       e->name);
        fail(e, "body", text);
    } else {
        keep_good(e, base_url, cs_well_known_ttl_s(httpc_result_header(r, "Cache-Control")));
        finish(e);
    }
}

static void start_fetch(struct cs_entry *e)
{
    struct cs_pending *const p = e->pending;
    char authority[SERVER_NAME_TEXT];
    char url[SERVER_NAME_TEXT + 64];
    server_name_format(p->name.host, p->name.is_v6, p->without_port ? 0 : p->name.port, authority);
    (void)snprintf(url, sizeof(url), "https://%s/.well-known/matrix/client", authority);
    struct httpc_request const req = {
        .url = url,
        .connect_ms = FETCH_CONNECT_MS,
        .total_ms = FETCH_TOTAL_MS,
        .max_body = CS_WELL_KNOWN_MAX,
        .max_redirects = FETCH_REDIRECTS,
        .redirect_https_only = true,
        .trusted = is_trusted(e->owner, e->name),
        .on_done = on_document,
        .user = e,
    };
    if (httpc_start(e->owner->conf.http, &req, &p->call) < 0) {
        p->call = NULL;
        fail(e, "internal", "the request could not be made");
    }
}

static void on_kick(void *user)
{
    start_fetch(user);
}

static int begin(struct cs_entry *e, const struct server_name *name)
{
    struct cs_pending *const p = NEW(struct cs_pending);
    if (!p) {
        return -ENOMEM;
    }
    p->kick = loop_timer_new(e->owner->conf.loop, on_kick, e);
    if (!p->kick) {
        mem_free(p);
        return -ENOMEM;
    }
    p->name = *name;
    loop_timer_set_ms(p->kick, 0);
    e->pending = p;
    return 0;
}

// ---- asking ---------------------------------------------------------------------------------

// Fetches anew behind what is known if it is time; nobody waits for it.
static void refresh(struct cs_entry *e)
{
    struct server_name name;
    if (!e->pending && mono_reached(e->due, loop_now(e->owner->conf.loop)) &&
        server_name_parse(bytes_str(e->name), &name) == 0) {
        (void)begin(e, &name); // without memory: next time
    }
}

int cs_discovery_known(struct cs_discovery *d, const char *server_name, struct cs_location *ret)
{
    if (override_of(d, server_name, ret) == 0) {
        return 0;
    }
    struct cs_entry *e = entry_find(d, server_name);
    e = e && is_usable(e, loop_now(d->conf.loop)) ? entry_use(d, server_name) : NULL;
    if (!e) {
        return -ENOENT;
    }
    location_of(e, ret);
    refresh(e);
    return 0;
}

// True with *ret filled if the answer is known: a location, or a failure that is kept.
static bool known_answer(struct cs_discovery *d, const char *server_name, struct cs_answer *ret)
{
    if (cs_discovery_known(d, server_name, &ret->location) == 0) {
        ret->found = true;
        return true;
    }
    const struct cs_entry *const e = entry_find(d, server_name);
    if (!e || e->pending || e->failures == 0 || mono_reached(e->due, loop_now(d->conf.loop))) {
        return false;
    }
    memcpy(ret->step, e->step, sizeof(ret->step));
    (void)snprintf(ret->text, sizeof(ret->text), "%s (within the last minute)",
                   e->text ? e->text : e->step);
    return true;
}

static void on_deliver(void *user)
{
    struct cs_discovery *const d = user;
    struct cs_query *q = NULL;
    while ((q = d->ready) != NULL) {
        const struct cs_answer *const a = q->ready;
        struct cs_result const r = {
            .location = a->found ? &a->location : NULL, .step = a->step, .text = a->text};
        DL_DELETE(d->ready, q);
        q->fn(q->user, &r);
        query_free(q);
    }
}

static int enqueue(struct cs_discovery *d, const char *server_name, struct cs_query *q)
{
    struct server_name name;
    struct cs_answer answer = {0};
    if (known_answer(d, server_name, &answer)) {
        q->ready = NEW(struct cs_answer);
        if (!q->ready) {
            return -ENOMEM;
        }
        *q->ready = answer;
        q->list = &d->ready;
        DL_APPEND(d->ready, q);
        loop_timer_set_ms(d->deliver, 0);
        return 0;
    }
    if (server_name_parse(bytes_str(server_name), &name) < 0) {
        return -EINVAL;
    }
    struct cs_entry *const e = entry_use(d, server_name);
    if (!e || (!e->pending && begin(e, &name) < 0)) {
        return -ENOMEM;
    }
    q->list = &e->pending->queries;
    DL_APPEND(e->pending->queries, q);
    return 0;
}

int cs_discovery_start(struct cs_discovery *d, const char *server_name,
                       void (*fn)(void *user, const struct cs_result *result), void *user,
                       struct cs_query **ret)
{
    struct cs_query *const q = NEW(struct cs_query);
    if (!q) {
        return -ENOMEM;
    }
    *q = (struct cs_query){.fn = fn, .user = user};
    int const r = enqueue(d, server_name, q);
    if (r < 0) {
        query_free(q);
        return r;
    }
    *ret = q;
    return 0;
}

void cs_discovery_cancel(struct cs_query *q)
{
    DL_DELETE(*q->list, q);
    query_free(q);
}

void cs_discovery_forget(struct cs_discovery *d, const char *server_name)
{
    struct cs_entry *const e = entry_find(d, server_name);
    mono_t const now = loop_now(d->conf.loop);
    // A failed refresh has set `due` itself.
    if (e && e->base_url && e->failures == 0 && mono_diff_ms(now, e->good_at) >= FORGET_S * 1000) {
        e->due = (mono_t){INT64_MIN};
    }
}
