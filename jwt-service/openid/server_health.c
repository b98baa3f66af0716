// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/openid/server_health.h"

#include "common/base/hash.h"
#include "common/base/mem.h"

#define SERVERS_DEFAULT 8192
#define WAYS 8
#define STRIKES_DEAD 3
#define HEARD_MS 60000 // a server that answered this long ago still counts as one that answers

// What is known of one server. The oldest of a set gives way.
struct record {
    uint64_t key;
    int64_t noted_us; // last outcome
    int64_t heard_us; // last answer; INT64_MIN: never
    uint32_t strikes; // failures since then, STRIKES_DEAD: dead since noted_us
};

struct server_health {
    size_t sets;
    struct record *v;
};

struct server_health *server_health_new(size_t servers)
{
    struct server_health *const h = NEW(struct server_health);
    size_t const want = servers > 0 ? servers : SERVERS_DEFAULT;
    if (!h) {
        return NULL;
    }
    h->sets = 1;
    while (h->sets * WAYS < want) {
        h->sets *= 2;
    }
    h->v = mem_array(h->sets * WAYS, sizeof(*h->v));
    if (!h->v) {
        mem_free(h);
        return NULL;
    }
    return h;
}

void server_health_free(struct server_health *h)
{
    if (h) {
        mem_free(h->v);
        mem_free(h);
    }
}

// Its record, or the place for one: that of the server noted longest ago.
static struct record *place_of(const struct server_health *h, uint64_t key)
{
    struct record *const set = h->v + (key & (h->sets - 1)) * WAYS;
    struct record *best = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key) {
            return &set[i];
        }
        best = set[i].noted_us < best->noted_us ? &set[i] : best;
    }
    return best;
}

static uint64_t key_of(const char *server)
{
    uint64_t const k = hash_bytes(server, strlen(server));
    return k != 0 ? k : 1; // 0 is a free place
}

static bool over(int64_t since_us, mono_t now, int64_t ms)
{
    return since_us == INT64_MIN || mono_reached(mono_add_ms((mono_t){since_us}, ms), now);
}

void server_health_note(struct server_health *h, mono_t now, const char *server,
                        enum server_outcome o)
{
    uint64_t const key = key_of(server);
    struct record *const r = place_of(h, key);
    if (r->key != key) {
        *r = (struct record){.key = key, .heard_us = INT64_MIN};
    } else if (r->strikes >= STRIKES_DEAD && over(r->noted_us, now, SERVER_DEAD_MS)) {
        r->strikes = STRIKES_DEAD - 1; // tried again after its minute: one failure is enough
    }
    if (o == SERVER_ANSWERED) {
        r->strikes = 0;
        r->heard_us = now.us;
        r->noted_us = now.us;
    } else if (r->strikes < STRIKES_DEAD) {
        // Those that were under way when it died do not prolong its minute.
        bool const at_once = o == SERVER_UNREACHABLE && over(r->heard_us, now, HEARD_MS);
        r->strikes = at_once ? STRIKES_DEAD : r->strikes + 1;
        r->noted_us = now.us;
    }
}

bool server_health_dead(const struct server_health *h, mono_t now, const char *server)
{
    uint64_t const key = key_of(server);
    const struct record *const r = place_of(h, key);
    return r->key == key && r->strikes >= STRIKES_DEAD && !over(r->noted_us, now, SERVER_DEAD_MS);
}
