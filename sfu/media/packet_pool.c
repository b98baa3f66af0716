// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/packet_pool.h"

#include "common/base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define PACKET_POOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PACKET_POOL_ASAN 1
#endif
#endif

#ifdef PACKET_POOL_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

// Entries per slab: 64 large buffers are 128 KiB, so growing is one modest allocation.
#define SLAB_ENTRIES 64u

// Cache line; every entry starts on one.
#define SLAB_ALIGN 64u

#define LARGE_SIZE 2048u
#define SMALL_SIZE 320u

_Static_assert(PACKET_HEADROOM + PACKET_DATA_CAP <= LARGE_SIZE, "a datagram must fit its buffer");
_Static_assert(PACKET_SMALL_CAP <= SMALL_SIZE, "the small class must hold what it promises");
_Static_assert(LARGE_SIZE % SLAB_ALIGN == 0 && SMALL_SIZE % SLAB_ALIGN == 0,
               "entries must stay aligned");

struct packet_pool_slab {
    struct packet_pool_slab *next;
    void *memory; // as allocated
    size_t size;
};

// struct packet rounded up so that neighbours share no cache line.
static size_t packet_entry_size(void)
{
    return (sizeof(struct packet) + SLAB_ALIGN - 1) / SLAB_ALIGN * SLAB_ALIGN;
}

static void *list_pop(struct packet_pool_list *l)
{
    return l->count > 0 ? l->items[--l->count] : NULL;
}

static void list_push(struct packet_pool_list *l, void *item)
{
    assert(l->count < l->total);
    l->items[l->count++] = item;
}

static int list_init(struct packet_pool_list *l, uint32_t max)
{
    l->items = mem_array(max, sizeof(*l->items));
    l->max = max;
    return l->items ? 0 : -ENOMEM;
}

// One slab of entries of the given size into a free list.
static int add_slab(struct packet_pool *pool, struct packet_pool_list *l, size_t entry)
{
    if (l->total + SLAB_ENTRIES > l->max) {
        return -ENOBUFS;
    }
    struct packet_pool_slab *const slab = NEW(struct packet_pool_slab);
    if (!slab) {
        return -ENOMEM;
    }
    slab->size = entry * SLAB_ENTRIES + SLAB_ALIGN;
    slab->memory = mem_alloc(slab->size);
    if (!slab->memory) {
        mem_free(slab);
        return -ENOMEM;
    }
    slab->next = pool->slabs;
    pool->slabs = slab;
    uint8_t *p = slab->memory;
    p += (SLAB_ALIGN - (uintptr_t)p % SLAB_ALIGN) % SLAB_ALIGN;
    l->total += SLAB_ENTRIES;
    for (uint32_t i = 0; i < SLAB_ENTRIES; i++, p += entry) {
        POISON(p, entry);
        list_push(l, p);
    }
    return 0;
}

static int list_grow(struct packet_pool *pool, struct packet_pool_list *l, size_t entry,
                     uint32_t want)
{
    while (l->count < want) {
        int const r = add_slab(pool, l, entry);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int packet_pool_grow(struct packet_pool *pool, uint32_t want_free)
{
    int const a = list_grow(pool, &pool->packets, packet_entry_size(), want_free);
    int const b = list_grow(pool, &pool->large, LARGE_SIZE, want_free);
    int const c = list_grow(pool, &pool->small, SMALL_SIZE, want_free);
    return a < 0 ? a : b < 0 ? b : c;
}

int packet_pool_init(struct packet_pool *pool, uint32_t max_packets, uint32_t initial)
{
    *pool = (struct packet_pool){0};
    if (max_packets == 0 || max_packets > UINT32_MAX - SLAB_ENTRIES || initial > max_packets) {
        return -EINVAL;
    }
    uint32_t const max = (max_packets + SLAB_ENTRIES - 1) / SLAB_ENTRIES * SLAB_ENTRIES;
    int r = list_init(&pool->packets, max);
    r = r < 0 ? r : list_init(&pool->large, max);
    r = r < 0 ? r : list_init(&pool->small, max);
    r = r < 0 ? r : packet_pool_grow(pool, initial);
    if (r < 0) {
        packet_pool_done(pool);
    }
    return r;
}

void packet_pool_done(struct packet_pool *pool)
{
    assert(pool->packets.count == pool->packets.total);
    while (pool->slabs) {
        struct packet_pool_slab *const slab = pool->slabs;
        pool->slabs = slab->next;
        UNPOISON(slab->memory, slab->size);
        mem_free(slab->memory);
        mem_free(slab);
    }
    mem_free(pool->packets.items);
    mem_free(pool->large.items);
    mem_free(pool->small.items);
    *pool = (struct packet_pool){0};
}

struct packet *packet_pool_get(struct packet_pool *pool)
{
    if (UNLIKELY(pool->packets.count == 0 || pool->large.count == 0)) {
        pool->exhausted++;
        return NULL;
    }
    struct packet *const p = list_pop(&pool->packets);
    uint8_t *const buf = list_pop(&pool->large);
    UNPOISON(p, sizeof(*p));
    UNPOISON(buf, PACKET_HEADROOM + PACKET_DATA_CAP);
    *p = (struct packet){.pool = pool, .refs = 1, .buffer = buf, .data = buf + PACKET_HEADROOM};
    return p;
}

static void release_buffer(struct packet *p)
{
    POISON(p->buffer, p->small ? SMALL_SIZE : LARGE_SIZE);
    list_push(p->small ? &p->pool->small : &p->pool->large, p->buffer);
}

void packet_release_(struct packet *p)
{
    assert(p->refs == 0);
    struct packet_pool *const pool = p->pool;
    release_buffer(p);
    POISON(p, sizeof(*p));
    list_push(&pool->packets, p);
}

void packet_compact(struct packet *p)
{
    assert(p->refs == 1);
    if (p->small || p->len > PACKET_SMALL_CAP) {
        return;
    }
    uint8_t *const buf = list_pop(&p->pool->small);
    if (!buf) {
        return;
    }
    UNPOISON(buf, PACKET_SMALL_CAP);
    memcpy(buf, p->data, p->len);
    release_buffer(p);
    p->buffer = buf;
    p->data = buf;
    p->small = true;
}

void packet_pool_get_stats(const struct packet_pool *pool, struct packet_pool_stats *ret)
{
    *ret = (struct packet_pool_stats){
        .packets = pool->packets.total,
        .packets_free = pool->packets.count,
        .large = pool->large.total,
        .large_free = pool->large.count,
        .small = pool->small.total,
        .small_free = pool->small.count,
        .exhausted = pool->exhausted,
    };
}
