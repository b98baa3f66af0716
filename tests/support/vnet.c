// SPDX-License-Identifier: Apache-2.0
#include "tests/support/vnet.h"

#include <stdio.h>
#include <stdlib.h>

#include "sfu/transport/srtp_batch.h"

#define LINKS_MAX 32
#define MAPS_MAX 32
#define PATHS_MAX 256
#define PPM 1000000u
#define UDP_OVERHEAD 28 // IPv4 and UDP headers
#define QUEUE_DEFAULT (64u * 1024u)

struct flight {
    mono_t due;
    uint64_t order; // ties leave in order of sending
    struct addr src, dst;
    uint8_t *data;
    size_t len;
};

struct link {
    bool any_src, any_dst;
    struct addr src, dst;
    struct vnet_link cfg;
};

// What a pair of addresses has gone through: links are configurations, so that a default one does
// not couple directions.
struct path {
    struct addr src, dst;
    mono_t busy_until; // of the bottleneck
    mono_t last_due;
    uint32_t burst_left;
};

struct map {
    struct addr inside, outside;
};

struct vnet {
    struct rng rng;
    struct link links[LINKS_MAX];
    size_t link_count;
    struct map maps[MAPS_MAX];
    size_t map_count;
    struct path paths[PATHS_MAX];
    size_t path_count;
    struct flight *heap;
    size_t count, cap;
    uint64_t order;
    uint8_t *current; // what vnet_next gave out
    struct vnet_stats stats;
    void (*tap)(void *user, mono_t now, const struct vnet_datagram *d);
    void *tap_user;
};

static void *must(void *p)
{
    if (p == NULL) {
        (void)fputs("vnet: out of memory or table full\n", stderr);
        exit(2);
    }
    return p;
}

struct vnet *vnet_new(uint64_t seed)
{
    struct vnet *const n = must(calloc(1, sizeof(*n)));
    uint8_t key[RNG_SEED_LEN] = {0};
    struct wr w = wr_init(key, sizeof(key));
    wr_be64(&w, seed);
    rng_seed(&n->rng, key);
    n->links[0] = (struct link){.any_src = true, .any_dst = true};
    n->link_count = 1;
    return n;
}

void vnet_free(struct vnet *n)
{
    if (n != NULL) {
        for (size_t i = 0; i < n->count; i++) {
            free(n->heap[i].data);
        }
        free(n->heap);
        free(n->current);
        free(n);
    }
}

// ---- links ----------------------------------------------------------------------------------

void vnet_set_link(struct vnet *n, const struct addr *src, const struct addr *dst,
                   const struct vnet_link *link)
{
    for (size_t i = 0; i < n->link_count; i++) {
        struct link *const l = &n->links[i];
        if (l->any_src == (src == NULL) && l->any_dst == (dst == NULL) &&
            (src == NULL || addr_eq(&l->src, src)) && (dst == NULL || addr_eq(&l->dst, dst))) {
            l->cfg = *link;
            return;
        }
    }
    struct link *const l = must(n->link_count < LINKS_MAX ? &n->links[n->link_count++] : NULL);
    *l = (struct link){.any_src = src == NULL, .any_dst = dst == NULL, .cfg = *link};
    if (src != NULL) {
        l->src = *src;
    }
    if (dst != NULL) {
        l->dst = *dst;
    }
}

static const struct vnet_link *find_link(const struct vnet *n, const struct addr *src,
                                         const struct addr *dst)
{
    const struct link *best = &n->links[0];
    int best_rank = -1;
    for (size_t i = 0; i < n->link_count; i++) {
        const struct link *const l = &n->links[i];
        if ((!l->any_src && !addr_eq(&l->src, src)) || (!l->any_dst && !addr_eq(&l->dst, dst))) {
            continue;
        }
        int const rank = (l->any_src ? 0 : 2) + (l->any_dst ? 0 : 1);
        if (rank > best_rank) {
            best = l;
            best_rank = rank;
        }
    }
    return &best->cfg;
}

static struct path *find_path(struct vnet *n, const struct addr *src, const struct addr *dst)
{
    for (size_t i = 0; i < n->path_count; i++) {
        if (addr_eq(&n->paths[i].src, src) && addr_eq(&n->paths[i].dst, dst)) {
            return &n->paths[i];
        }
    }
    struct path *const p = must(n->path_count < PATHS_MAX ? &n->paths[n->path_count++] : NULL);
    *p = (struct path){.src = *src, .dst = *dst};
    return p;
}

void vnet_map(struct vnet *n, const struct addr *inside, const struct addr *outside)
{
    for (size_t i = 0; i < n->map_count; i++) {
        if (addr_eq(&n->maps[i].inside, inside)) {
            n->maps[i].outside = *outside;
            return;
        }
    }
    struct map *const m = must(n->map_count < MAPS_MAX ? &n->maps[n->map_count++] : NULL);
    *m = (struct map){*inside, *outside};
}

static struct addr to_outside(const struct vnet *n, const struct addr *a)
{
    for (size_t i = 0; i < n->map_count; i++) {
        if (addr_eq(&n->maps[i].inside, a)) {
            return n->maps[i].outside;
        }
    }
    return *a;
}

static struct addr to_inside(const struct vnet *n, const struct addr *a)
{
    for (size_t i = 0; i < n->map_count; i++) {
        if (addr_eq(&n->maps[i].outside, a)) {
            return n->maps[i].inside;
        }
    }
    return *a;
}

// ---- flights: a binary heap by due time -----------------------------------------------------

static bool earlier(const struct flight *a, const struct flight *b)
{
    return a->due.us != b->due.us ? a->due.us < b->due.us : a->order < b->order;
}

static void swap(struct flight *a, struct flight *b)
{
    struct flight const t = *a;
    *a = *b;
    *b = t;
}

static void push(struct vnet *n, struct flight f)
{
    if (n->count == n->cap) {
        n->cap = n->cap == 0 ? 256 : 2 * n->cap;
        n->heap = must(reallocarray(n->heap, n->cap, sizeof(*n->heap)));
    }
    size_t i = n->count++;
    n->heap[i] = f;
    while (i > 0 && earlier(&n->heap[i], &n->heap[(i - 1) / 2])) {
        swap(&n->heap[i], &n->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
}

static struct flight pop(struct vnet *n)
{
    struct flight const first = n->heap[0];
    n->heap[0] = n->heap[--n->count];
    size_t i = 0;
    for (;;) {
        size_t least = i;
        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < n->count; c++) {
            least = earlier(&n->heap[c], &n->heap[least]) ? c : least;
        }
        if (least == i) {
            return first;
        }
        swap(&n->heap[i], &n->heap[least]);
        i = least;
    }
}

// ---- sending --------------------------------------------------------------------------------

static bool chance(struct vnet *n, uint32_t ppm)
{
    // No draw for a perfect wire: adding a lossless link does not change what happens elsewhere.
    return ppm > 0 && rng_below(&n->rng, PPM) < ppm;
}

static bool is_lost(struct vnet *n, const struct vnet_link *l, struct path *p)
{
    if (l->down) {
        return true;
    }
    if (p->burst_left == 0 && chance(n, l->burst_ppm)) {
        p->burst_left = l->burst_len;
    }
    if (p->burst_left > 0) {
        p->burst_left--;
        return true;
    }
    return chance(n, l->loss_ppm);
}

// When a datagram leaves the bottleneck; false if its queue is full.
static bool pass_bottleneck(const struct vnet_link *l, struct path *p, mono_t now, size_t len,
                            mono_t *ret)
{
    *ret = now;
    if (l->rate_bps == 0) {
        return true;
    }
    mono_t const start = mono_max(now, p->busy_until);
    uint64_t const queued = (uint64_t)mono_diff_us(start, now) * l->rate_bps / 8 / 1000000;
    if (queued > (l->queue_bytes > 0 ? l->queue_bytes : QUEUE_DEFAULT)) {
        return false;
    }
    uint64_t const bits = (len + UDP_OVERHEAD) * 8;
    p->busy_until = mono_add_us(start, (int64_t)(bits * 1000000 / l->rate_bps));
    *ret = p->busy_until;
    return true;
}

static void launch(struct vnet *n, const struct vnet_link *l, struct path *p, mono_t leaves,
                   const struct flight *f)
{
    struct flight copy = *f;
    int64_t const jitter =
        l->jitter_us > 0 ? (int64_t)rng_below(&n->rng, (uint32_t)l->jitter_us) : 0;
    copy.due = mono_add_us(leaves, l->delay_us + jitter);
    if (!l->reorder) {
        copy.due = mono_max(copy.due, p->last_due);
    }
    p->last_due = mono_max(p->last_due, copy.due);
    copy.order = n->order++;
    copy.data = must(malloc(f->len > 0 ? f->len : 1));
    if (f->len > 0) {
        memcpy(copy.data, f->data, f->len);
    }
    push(n, copy);
}

void vnet_send(struct vnet *n, mono_t now, const struct addr *src, const struct addr *dst,
               struct bytes data)
{
    struct flight f = {.src = to_outside(n, src), .dst = to_inside(n, dst), .len = data.n};
    f.data = must(malloc(data.n > 0 ? data.n : 1));
    if (data.n > 0) {
        memcpy(f.data, data.p, data.n);
    }
    n->stats.sent++;
    if (n->tap != NULL) {
        struct vnet_datagram const d = {f.src, *dst, {f.data, f.len}};
        n->tap(n->tap_user, now, &d);
    }
    const struct vnet_link *const l = find_link(n, src, dst);
    struct path *const p = find_path(n, src, dst);
    mono_t leaves;
    if (is_lost(n, l, p)) {
        n->stats.lost++;
    } else if (!pass_bottleneck(l, p, now, data.n, &leaves)) {
        n->stats.queue_drops++;
    } else {
        launch(n, l, p, leaves, &f);
        if (chance(n, l->dup_ppm)) {
            n->stats.duplicated++;
            launch(n, l, p, leaves, &f);
        }
    }
    free(f.data);
}

bool vnet_next(struct vnet *n, mono_t now, struct vnet_datagram *ret)
{
    free(n->current);
    n->current = NULL;
    if (n->count == 0 || !mono_reached(n->heap[0].due, now)) {
        return false;
    }
    struct flight const f = pop(n);
    n->current = f.data;
    n->stats.delivered++;
    *ret = (struct vnet_datagram){f.src, f.dst, {f.data, f.len}};
    return true;
}

mono_t vnet_deadline(const struct vnet *n)
{
    return n->count > 0 ? n->heap[0].due : MONO_NEVER;
}

const struct vnet_stats *vnet_stats(const struct vnet *n)
{
    return &n->stats;
}

void vnet_set_tap(struct vnet *n,
                  void (*tap)(void *user, mono_t now, const struct vnet_datagram *d), void *user)
{
    n->tap = tap;
    n->tap_user = user;
}

// ---- endpoints ------------------------------------------------------------------------------

static void sink(struct outbox *o, void *user)
{
    struct vnet_endpoint *const e = user;
    if (e->batch != NULL && srtp_batch_protect(e->batch, o) != 0) {
        (void)fputs("vnet: a slot broke the rules of srtp_batch\n", stderr);
        exit(2);
    }
    for (size_t i = 0; i < o->count; i++) {
        const struct outbox_slot *const s = &o->slots[i];
        vnet_send(e->net, e->now, &e->locals[s->local % ARRAY_LEN(e->locals)], &s->dst,
                  bytes_of(s->data, s->len));
    }
    o->count = 0;
}

void vnet_endpoint_init(struct vnet_endpoint *e, struct vnet *n, const struct addr *local,
                        struct srtp_batch *batch)
{
    *e = (struct vnet_endpoint){.net = n, .batch = batch};
    e->locals[0] = *local;
    if (outbox_init(&e->out, sink, e) != 0) {
        (void)must(NULL);
    }
}

void vnet_endpoint_done(struct vnet_endpoint *e)
{
    outbox_done(&e->out);
}
