// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/webhook_notifier.h"

#include <stdio.h>

#include "common/base/hash.h"
#include "common/lk/livekit.h"
#include "common/lk/webhook_sign.h"
#include "common/svc/httpc.h"
#include "common/svc/pbjson.h"
#include "common/sys/log.h"

// Requests at once over all queues: a receiver that hangs must not cost a descriptor for each room.
#define ACTIVE_MAX 32u

// A receiver puts the event into a queue of its own; one that needs longer than this is stuck.
#define REQUEST_MS 10000

// JSON is at most some times the wire: names of fields, six characters for a control character.
#define BODY_MAX ((size_t)16 << 20)

// livekit-protocol 7.2: repeated after 1, 2, 4, 8 s.
#define REPETITIONS 4u
#define BACKOFF_MS 1000

// One event on its way to one target.
struct item {
    struct item *prev, *next; // lane->items
    struct shared_buf *body;  // shared with the other targets
    char *token;              // signed at the first attempt
    mono_t since;
    bool track;
    char name[40]; // of the event, for the log
};

// Events of one room for one target.
struct lane {
    UT_hash_handle hh;                    // target->lanes by room
    struct lane *ready_prev, *ready_next; // notifier->ready
    struct target *target;
    char *room;
    struct item *items; // the first is the one that is sent
    size_t count;
    struct httpc_call *call;
    struct loop_timer *timer; // back-off
    unsigned attempts;
    bool is_ready;
};

struct target {
    struct webhook_notifier *notifier;
    char *url;
    struct webhook_target filter; // without its url
    struct lane *lanes;
};

struct webhook_notifier {
    struct loop *loop;
    const struct api_keys *keys;
    char *key;
    struct httpc *http;
    struct target *targets;
    size_t target_count;
    struct lane *ready; // wait for a free request
    unsigned active;
    size_t pending;
    size_t memory;
    struct webhook_counts counts;
    int64_t backoff_ms;
    int64_t age_ms;
    bool key_missing; // said once
};

static void start_ready(struct webhook_notifier *n);

// ---- queues ---------------------------------------------------------------------------------

static void item_free(struct lane *l, struct item *i)
{
    struct webhook_notifier *const n = l->target->notifier;
    n->memory -= i->body->n;
    n->pending--;
    l->count--;
    DL_DELETE(l->items, i);
    shared_buf_unref(i->body);
    mem_free(i->token);
    mem_free(i);
}

static void set_ready(struct lane *l, bool ready)
{
    struct webhook_notifier *const n = l->target->notifier;
    if (l->is_ready == ready) {
        return;
    }
    l->is_ready = ready;
    if (ready) {
        DL_APPEND2(n->ready, l, ready_prev, ready_next);
    } else {
        DL_DELETE2(n->ready, l, ready_prev, ready_next);
    }
}

static void lane_free(struct lane *l)
{
    set_ready(l, false);
    if (l->call != NULL) {
        httpc_cancel(l->call);
        l->target->notifier->active--;
    }
    while (l->items != NULL) {
        item_free(l, l->items);
    }
    if (l->timer != NULL) {
        loop_timer_free(l->timer);
    }
    HASH_DEL(l->target->lanes, l);
    mem_free(l->room);
    mem_free(l);
}

static void on_backoff(void *user)
{
    struct lane *const l = user;
    set_ready(l, true);
    start_ready(l->target->notifier);
}

static struct lane *lane_of(struct target *t, const char *room)
{
    struct lane *l = NULL;
    HASH_FIND(hh, t->lanes, room, strlen(room), l);
    if (l != NULL) {
        return l;
    }
    l = NEW(struct lane);
    if (l == NULL) {
        return NULL;
    }
    l->target = t;
    l->room = mem_strdup(room);
    l->timer = loop_timer_new(t->notifier->loop, on_backoff, l);
    if (l->room == NULL || l->timer == NULL) {
        goto fail;
    }
    HASH_ADD_KEYPTR(hh, t->lanes, l->room, strlen(l->room), l);
    struct lane *found = NULL;
    HASH_FIND(hh, t->lanes, room, strlen(room), found);
    if (found == l) {
        return l;
    }
fail:
    if (l->timer != NULL) {
        loop_timer_free(l->timer);
    }
    mem_free(l->room);
    mem_free(l);
    return NULL;
}

static void drop(struct lane *l, struct item *i, const char *why)
{
    l->target->notifier->counts.dropped++;
    log_warn(NULL, "webhook.dropped", KV_STR("url", l->target->url), KV_STR("room", l->room),
             KV_STR("webhook", i->name), KV_STR("why", why));
    item_free(l, i);
}

// Makes room for one more. Who left matters more than which track ended, and both come at once when
// a large room closes.
static void evict(struct lane *l)
{
    struct item *const in_flight = l->call != NULL || l->attempts > 0 ? l->items : NULL;
    struct item *oldest = NULL;
    struct item *i = NULL;
    DL_FOREACH(l->items, i)
    {
        if (i == in_flight) {
            continue;
        }
        if (i->track) {
            oldest = i;
            break;
        }
        oldest = oldest != NULL ? oldest : i;
    }
    if (oldest != NULL) {
        drop(l, oldest, "queue full");
    }
}

// ---- requests -------------------------------------------------------------------------------

static const struct api_key *signing_key(struct webhook_notifier *n, wall_t now)
{
    const struct api_key *k =
        n->key != NULL ? api_keys_find(n->keys, bytes_str(n->key), now) : NULL;
    if (k == NULL && n->key != NULL && !n->key_missing) {
        n->key_missing = true;
        log_warn(NULL, "webhook.key_missing",
                 KV_STR("text", "the key of webhook.api_key is gone; another one signs"));
    }
    return k != NULL ? k : api_keys_signer(n->keys, now);
}

// The first event is done with; on to the next one.
static void advance(struct lane *l)
{
    item_free(l, l->items);
    l->attempts = 0;
    if (l->items != NULL) {
        set_ready(l, true);
    } else {
        lane_free(l);
    }
}

static bool is_temporary(const struct httpc_result *r)
{
    if (r->step != HTTPC_OK) {
        // What the URL or the certificates make impossible may be repaired meanwhile; repeating
        // costs little.
        return r->step != HTTPC_BAD_URL && r->step != HTTPC_REDIRECT;
    }
    return r->status == 429 || (r->status >= 500 && r->status != 501);
}

static void on_done(void *user, const struct httpc_result *r)
{
    struct lane *const l = user;
    struct webhook_notifier *const n = l->target->notifier;
    const struct item *const i = l->items;
    l->call = NULL;
    n->active--;
    bool const delivered = r->step == HTTPC_OK && r->status >= 200 && r->status < 300;
    bool const again = !delivered && is_temporary(r) && l->attempts < REPETITIONS;
    if (delivered) {
        n->counts.delivered++;
        log_debug(NULL, "webhook.delivered", KV_STR("url", l->target->url), KV_STR("room", l->room),
                  KV_STR("webhook", i->name), KV_I64("ms", r->elapsed_ms));
    } else {
        log_warn(NULL, "webhook.failed", KV_STR("url", l->target->url), KV_STR("room", l->room),
                 KV_STR("webhook", i->name), KV_U64("attempt", l->attempts + 1),
                 KV_U64("status", r->status), KV_STR("error", lk_str(r->text)),
                 KV_BOOL("again", again));
    }
    if (again) {
        loop_timer_set_ms(l->timer, n->backoff_ms << l->attempts);
        l->attempts++;
    } else {
        n->counts.refused += !delivered && !is_temporary(r);
        n->counts.failed += !delivered && is_temporary(r);
        advance(l);
    }
    start_ready(n);
}

static int send_first(struct lane *l)
{
    struct webhook_notifier *const n = l->target->notifier;
    struct item *const i = l->items;
    if (i->token == NULL) {
        wall_t const now = loop_wall(n->loop);
        const struct api_key *const key = signing_key(n, now);
        int const rc =
            key != NULL ? webhook_sign(key, now, shared_buf_view(i->body), &i->token) : -ENOENT;
        if (rc < 0) {
            return rc;
        }
    }
    struct httpc_header const headers[] = {
        {"Content-Type", WEBHOOK_CONTENT_TYPE},
        {"Authorization", i->token},
    };
    struct httpc_request const req = {
        .method = "POST",
        .url = l->target->url,
        .headers = headers,
        .header_count = ARRAY_LEN(headers),
        .body = shared_buf_view(i->body),
        .total_ms = REQUEST_MS,
        .trusted = true,
        .on_done = on_done,
        .user = l,
    };
    return httpc_start(n->http, &req, &l->call);
}

static void start(struct lane *l)
{
    struct webhook_notifier *const n = l->target->notifier;
    mono_t const now = loop_now(n->loop);
    while (l->items != NULL && l->attempts == 0 && mono_diff_ms(now, l->items->since) > n->age_ms) {
        drop(l, l->items, "waited too long");
    }
    if (l->items == NULL) {
        lane_free(l);
        return;
    }
    if (send_first(l) == 0) {
        n->active++;
    } else {
        drop(l, l->items, "cannot be sent");
        l->attempts = 0;
        set_ready(l, true);
    }
}

static void start_ready(struct webhook_notifier *n)
{
    while (n->ready != NULL && n->active < ACTIVE_MAX) {
        struct lane *const l = n->ready;
        set_ready(l, false);
        start(l);
    }
}

// ---- events ---------------------------------------------------------------------------------

static bool among(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

// livekit/protocol webhook/filter.go: what is included wins.
static bool interests(const struct webhook_target *f, const char *name)
{
    if (f->no_tracks && strncmp(name, "track_", 6) == 0) {
        return false;
    }
    if (f->include_count > 0) {
        return among(f->include, f->include_count, name);
    }
    return !among(f->exclude, f->exclude_count, name);
}

static void enqueue(struct target *t, const char *room, const char *name, struct shared_buf *body)
{
    struct webhook_notifier *const n = t->notifier;
    bool const track = strncmp(name, "track_", 6) == 0;
    if (!interests(&t->filter, name)) {
        return;
    }
    struct lane *const l = n->memory + body->n <= WEBHOOK_MEMORY_MAX ? lane_of(t, room) : NULL;
    struct item *const i = l != NULL ? NEW(struct item) : NULL;
    if (i == NULL) {
        n->counts.dropped++;
        log_warn(NULL, "webhook.dropped", KV_STR("url", t->url), KV_STR("room", room),
                 KV_STR("webhook", name), KV_STR("why", "out of memory"));
        if (l != NULL && l->items == NULL) {
            lane_free(l);
        }
        return;
    }
    if (l->count >= WEBHOOK_QUEUE_MAX) {
        evict(l);
    }
    i->body = shared_buf_ref(body);
    i->since = loop_now(n->loop);
    i->track = track;
    (void)snprintf(i->name, sizeof(i->name), "%s", name);
    DL_APPEND(l->items, i);
    l->count++;
    n->pending++;
    n->memory += body->n;
    if (l->count == 1) {
        set_ready(l, true);
    }
}

void webhook_notifier_event(struct webhook_notifier *n, const struct shared_buf *event)
{
    CLEANUP(pbuf_free) struct pbuf *p = NULL;
    CLEANUP(shared_buf_unref) struct shared_buf *body = NULL;
    struct dynbuf json;
    dynbuf_init(&json, BODY_MAX);
    int rc = pbuf_unpack(&livekit__webhook_event__descriptor, shared_buf_view(event), BODY_MAX, &p);
    if (rc == 0) {
        const Livekit__WebhookEvent *const e = p->msg;
        rc = pbjson_write(&e->base, 0, &json);
        body = rc == 0 ? shared_buf_copy(dynbuf_view(&json)) : NULL;
    }
    dynbuf_done(&json);
    if (body == NULL) {
        n->counts.dropped++;
        log_warn(NULL, "webhook.dropped", KV_STR("why", "cannot be written as JSON"),
                 KV_ERRNO("error", rc));
        return;
    }
    const Livekit__WebhookEvent *const e = p->msg;
    const char *const room = e->room != NULL ? lk_str(e->room->name) : "";
    for (size_t i = 0; i < n->target_count; i++) {
        enqueue(&n->targets[i], room, lk_str(e->event), body);
    }
    start_ready(n);
}

// ---- life -----------------------------------------------------------------------------------

int webhook_notifier_new(const struct webhook_notifier_conf *conf, struct webhook_notifier **ret)
{
    struct webhook_notifier *const n = NEW(struct webhook_notifier);
    if (n == NULL) {
        return -ENOMEM;
    }
    struct httpc_conf const hc = {
        .max_per_host = ACTIVE_MAX,
        .max_total = ACTIVE_MAX,
        .user_agent = conf->user_agent,
    };
    bool const named = conf->key != NULL && conf->key[0] != 0;
    n->loop = conf->loop;
    n->keys = conf->keys;
    n->backoff_ms = conf->backoff_ms != 0 ? conf->backoff_ms : BACKOFF_MS;
    n->age_ms = conf->age_ms != 0 ? conf->age_ms : WEBHOOK_QUEUE_AGE_MS;
    n->key = named ? mem_strdup(conf->key) : NULL;
    n->http = httpc_new(conf->loop, &hc);
    n->targets = mem_array(conf->target_count, sizeof(*n->targets));
    if (n->http == NULL || n->targets == NULL || (named && n->key == NULL)) {
        goto fail;
    }
    for (size_t i = 0; i < conf->target_count; i++) {
        struct target *const t = &n->targets[n->target_count++];
        t->notifier = n;
        t->filter = conf->targets[i];
        t->filter.url = NULL;
        t->url = mem_strdup(conf->targets[i].url);
        if (t->url == NULL) {
            goto fail;
        }
    }
    *ret = n;
    return 0;
fail:
    webhook_notifier_free(n);
    return -ENOMEM;
}

void webhook_notifier_free(struct webhook_notifier *n)
{
    if (n == NULL) {
        return;
    }
    if (n->pending > 0) {
        log_warn(NULL, "webhook.lost", KV_U64("events", n->pending));
    }
    for (size_t i = 0; i < n->target_count; i++) {
        while (n->targets[i].lanes != NULL) {
            lane_free(n->targets[i].lanes);
        }
        mem_free(n->targets[i].url);
    }
    httpc_free(n->http);
    mem_free(n->targets);
    mem_free(n->key);
    mem_free(n);
}

size_t webhook_notifier_pending(const struct webhook_notifier *n)
{
    return n->pending;
}

struct webhook_counts webhook_notifier_counts(const struct webhook_notifier *n)
{
    return n->counts;
}
