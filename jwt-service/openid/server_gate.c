// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/openid/server_gate.h"

#include "common/base/hash.h"

// authorization-service 5.8 rule 8 names 256, 8 and 8. The lines: what a server of ordinary speed
// (100 ms) answers in three seconds through its 8 places, which is more than the rate limit of 9.3
// lets pass in ten; and some of those.
#define TOTAL_DEFAULT 256
#define PER_SERVER_DEFAULT 8
#define PER_CLIENT_DEFAULT 8
#define QUEUE_PER_SERVER_DEFAULT 256
#define QUEUE_TOTAL_DEFAULT 1024
// The operator's own servers: as many connections as a homeserver behind a proxy takes well, and
// everybody else waits, at some hundred bytes each.
#define TRUSTED_DEFAULT 1024
#define TRUSTED_QUEUE_DEFAULT 16384

struct gate_server {
    struct gate_server *prev, *next; // in gate.lines while somebody waits
    UT_hash_handle hh;
    struct gate_ticket *line;
    unsigned inside;
    unsigned waiting;
    bool trusted;
    char name[]; // any text
};

struct gate_client {
    UT_hash_handle hh;
    uint64_t id;
    unsigned inside;
};

struct gate {
    struct gate_conf conf;
    struct gate_server *servers; // with somebody inside or in line
    struct gate_client *clients; // with a place at a server that is not trusted
    struct gate_server *lines;   // who is served next comes first
    unsigned inside;             // at servers that are not trusted
    unsigned waiting;            // for them
    size_t all_inside;
    size_t all_waiting;
};

static unsigned either(unsigned v, unsigned otherwise)
{
    return v != 0 ? v : otherwise;
}

struct gate *gate_new(const struct gate_conf *conf)
{
    struct gate *const g = NEW(struct gate);
    if (g) {
        g->conf = (struct gate_conf){
            .total = either(conf->total, TOTAL_DEFAULT),
            .per_server = either(conf->per_server, PER_SERVER_DEFAULT),
            .per_client = either(conf->per_client, PER_CLIENT_DEFAULT),
            .queue_per_server = either(conf->queue_per_server, QUEUE_PER_SERVER_DEFAULT),
            .queue_total = either(conf->queue_total, QUEUE_TOTAL_DEFAULT),
            .trusted = either(conf->trusted, TRUSTED_DEFAULT),
            .trusted_queue = either(conf->trusted_queue, TRUSTED_QUEUE_DEFAULT),
        };
    }
    return g;
}

void gate_free(struct gate *g)
{
    assert(!g || (!g->servers && !g->clients));
    mem_free(g);
}

static struct gate_client *find_client(struct gate *g, uint64_t id)
{
    struct gate_client *c = NULL;
    HASH_FIND(hh, g->clients, &id, sizeof(id), c);
    return c;
}

static bool client_has_place(struct gate *g, uint64_t id)
{
    const struct gate_client *const c = id != 0 ? find_client(g, id) : NULL;
    return !c || c->inside < g->conf.per_client;
}

// Counts one more of this client. Without memory for it he is not counted.
static void client_enter(struct gate *g, struct gate_ticket *t)
{
    struct gate_client *c = t->client != 0 ? find_client(g, t->client) : NULL;
    if (!c && t->client != 0) {
        c = NEW(struct gate_client);
        if (c) {
            c->id = t->client;
            HASH_ADD(hh, g->clients, id, sizeof(c->id), c);
            if (!find_client(g, c->id)) {
                mem_free(c);
                c = NULL;
            }
        }
    }
    if (c) {
        c->inside++;
    } else {
        t->client = 0;
    }
}

static void client_leave(struct gate *g, uint64_t id)
{
    struct gate_client *const c = id != 0 ? find_client(g, id) : NULL;
    if (c && --c->inside == 0) {
        HASH_DEL(g->clients, c);
        mem_free(c);
    }
}

static struct gate_server *get_server(struct gate *g, const char *name, bool trusted)
{
    struct gate_server *s = NULL;
    size_t const n = strlen(name);
    HASH_FIND(hh, g->servers, name, n, s);
    if (s) {
        return s;
    }
    s = mem_alloc(sizeof(*s) + n + 1);
    if (!s) {
        return NULL;
    }
    memcpy(s->name, name, n);
    s->trusted = trusted;
    HASH_ADD_KEYPTR(hh, g->servers, s->name, n, s);
    struct gate_server *there = NULL;
    HASH_FIND(hh, g->servers, name, n, there);
    if (!there) {
        mem_free(s);
    }
    return there;
}

static void drop_server_if_idle(struct gate *g, struct gate_server *s)
{
    if (s->inside == 0 && s->waiting == 0) {
        HASH_DEL(g->servers, s);
        mem_free(s);
    }
}

static bool server_has_place(const struct gate *g, const struct gate_server *s)
{
    return s->trusted ? s->inside < g->conf.trusted
                      : s->inside < g->conf.per_server && g->inside < g->conf.total;
}

static bool line_is_full(const struct gate *g, const struct gate_server *s)
{
    return s->trusted ? s->waiting >= g->conf.trusted_queue
                      : s->waiting >= g->conf.queue_per_server || g->waiting >= g->conf.queue_total;
}

static void go_in(struct gate *g, struct gate_server *s, struct gate_ticket *t)
{
    s->inside++;
    g->all_inside++;
    if (!s->trusted) {
        g->inside++;
        client_enter(g, t);
    }
    t->state = GATE_IN;
}

static void join_line(struct gate *g, struct gate_server *s, struct gate_ticket *t)
{
    if (s->waiting++ == 0) {
        DL_APPEND(g->lines, s);
    }
    DL_APPEND(s->line, t);
    g->waiting += s->trusted ? 0 : 1;
    g->all_waiting++;
    t->state = GATE_WAITING;
}

static void leave_line(struct gate *g, struct gate_server *s, struct gate_ticket *t)
{
    DL_DELETE(s->line, t);
    if (--s->waiting == 0) {
        DL_DELETE(g->lines, s);
    }
    g->waiting -= s->trusted ? 0 : 1;
    g->all_waiting--;
}

int gate_enter(struct gate *g, const char *server, bool trusted, uint64_t client,
               struct gate_ticket *t)
{
    assert(t->state == GATE_OUT);
    struct gate_server *const s = get_server(g, server, trusted);
    if (!s) {
        return -ENOMEM;
    }
    t->server = s;
    t->client = s->trusted ? 0 : client;
    // Nobody overtakes those who wait, unless they wait for a place of their client's.
    bool const first = s->waiting == 0 || !s->trusted;
    if (first && server_has_place(g, s) && client_has_place(g, t->client)) {
        go_in(g, s, t);
        return 0;
    }
    if (line_is_full(g, s)) {
        t->server = NULL;
        drop_server_if_idle(g, s);
        return -EBUSY;
    }
    join_line(g, s, t);
    return 0;
}

void gate_leave(struct gate *g, struct gate_ticket *t)
{
    struct gate_server *const s = t->server;
    switch (t->state) {
    case GATE_OUT:
        return;
    case GATE_WAITING:
        leave_line(g, s, t);
        break;
    case GATE_IN:
        s->inside--;
        g->all_inside--;
        if (!s->trusted) {
            g->inside--;
            client_leave(g, t->client);
        }
        break;
    }
    *t = (struct gate_ticket){0};
    drop_server_if_idle(g, s);
}

static struct gate_ticket *first_in_line(struct gate *g, const struct gate_server *s)
{
    struct gate_ticket *t = NULL;
    DL_FOREACH(s->line, t)
    {
        if (client_has_place(g, t->client)) {
            return t;
        }
    }
    return NULL;
}

struct gate_ticket *gate_pop(struct gate *g)
{
    struct gate_server *s = NULL;
    DL_FOREACH(g->lines, s)
    {
        struct gate_ticket *const t = server_has_place(g, s) ? first_in_line(g, s) : NULL;
        if (!t) {
            continue;
        }
        leave_line(g, s, t);
        if (s->waiting > 0) {
            // To the end: the others come first now.
            DL_DELETE(g->lines, s);
            DL_APPEND(g->lines, s);
        }
        go_in(g, s, t);
        return t;
    }
    return NULL;
}

size_t gate_inside(const struct gate *g)
{
    return g->all_inside;
}

size_t gate_waiting(const struct gate *g)
{
    return g->all_waiting;
}
