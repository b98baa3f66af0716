// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/agent_dispatch.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/lk/sid.h"
#include "common/sys/random.h"

struct agent_dispatch {
    struct agent_dispatch *next; // in the order in which they were made
    char id[SID_SIZE];
    struct shared_buf *wire; // Livekit__AgentDispatch
};

static const struct agent_method methods[] = {
    {"CreateDispatch", &livekit__create_agent_dispatch_request__descriptor,
     &livekit__agent_dispatch__descriptor},
    {"DeleteDispatch", &livekit__delete_agent_dispatch_request__descriptor,
     &livekit__agent_dispatch__descriptor},
    {"ListDispatch", &livekit__list_agent_dispatch_request__descriptor,
     &livekit__list_agent_dispatch_response__descriptor},
};

const struct agent_method *agent_method_find(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (bytes_eq_str(name, methods[i].name)) {
            return &methods[i];
        }
    }
    return NULL;
}

const char *agent_method_room(const struct agent_method *m, const ProtobufCMessage *req)
{
    const void *const msg = req;
    switch (m - methods) {
    case 0:
        return lk_str(((const Livekit__CreateAgentDispatchRequest *)msg)->room);
    case 1:
        return lk_str(((const Livekit__DeleteAgentDispatchRequest *)msg)->room);
    default:
        return lk_str(((const Livekit__ListAgentDispatchRequest *)msg)->room);
    }
}

static void dispatch_free(struct agent_dispatch *a)
{
    shared_buf_unref(a->wire);
    mem_free(a);
}

void agent_dispatches_done(struct agent_dispatches *d)
{
    while (d->list != NULL) {
        struct agent_dispatch *const a = d->list;
        d->list = a->next;
        dispatch_free(a);
    }
    *d = (struct agent_dispatches){0};
}

static int fail(struct twirp_error *ret_error, enum twirp_code code, const char *text)
{
    *ret_error = twirp_error_of(code, "%s", text);
    return -EINVAL;
}

// Encodes m, which needs an id and a state, and keeps it.
static int add(struct agent_dispatches *d, Livekit__AgentDispatch *m, wall_t created,
               struct agent_dispatch **ret)
{
    Livekit__AgentDispatchState state = LIVEKIT__AGENT_DISPATCH_STATE__INIT;
    uint8_t random[SID_RANDOM_LEN];
    struct agent_dispatch *const a = NEW(struct agent_dispatch);
    if (a == NULL) {
        return -ENOMEM;
    }
    rand_bytes(random, sizeof(random));
    LK_SET_STR(m, id, sid_make(SID_DISPATCH, random, a->id));
    LK_SET(&state, created_at, created.us * 1000);
    m->state = &state;
    int const rc = pbuf_pack_shared(&m->base, AGENT_DISPATCH_BYTES_MAX, &a->wire);
    m->state = NULL;
    if (rc < 0) {
        mem_free(a);
        return rc;
    }
    LL_APPEND(d->list, a);
    d->count++;
    *ret = a;
    return 0;
}

// Attributes are entries of three types with the same two fields (protoc makes one for each map).
typedef Livekit__AgentDispatch__AttributesEntry entry;

static entry **new_entries(struct arena *a, size_t n)
{
    entry *const v = arena_array(a, n + 1, sizeof(*v));
    entry **const list = arena_array(a, n + 1, sizeof(entry *));
    if (v == NULL || list == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        livekit__agent_dispatch__attributes_entry__init(&v[i]);
        list[i] = &v[i];
    }
    return list;
}

static int add_named(struct agent_dispatches *d, const char *room, wall_t created,
                     const Livekit__RoomAgentDispatch *agent)
{
    struct agent_dispatch *ignored = NULL;
    struct arena arena;
    arena_init(&arena, 1024, AGENT_DISPATCH_BYTES_MAX);
    Livekit__AgentDispatch m = LIVEKIT__AGENT_DISPATCH__INIT;
    LK_SET_STR(&m, room, room);
    LK_SET_STR(&m, agent_name, agent->agent_name);
    LK_SET_STR(&m, metadata, agent->metadata);
    LK_SET(&m, restart_policy, agent->restart_policy);
    LK_SET_STR(&m, deployment, agent->deployment);
    m.attributes = new_entries(&arena, agent->n_attributes);
    for (size_t i = 0; m.attributes != NULL && i < agent->n_attributes; i++) {
        m.attributes[i]->key = agent->attributes[i]->key;
        m.attributes[i]->value = agent->attributes[i]->value;
        m.n_attributes++;
    }
    int const rc = m.attributes != NULL ? add(d, &m, created, &ignored) : -ENOMEM;
    arena_done(&arena);
    return rc == -E2BIG ? 0 : rc; // of a token; CreateRoom refuses such a one
}

// The dispatches that the room was made with, or the one for any agent.
static int add_first(struct agent_dispatches *d, const char *name, const struct agent_room *room)
{
    if (d->has_first) {
        return 0;
    }
    struct agent_dispatches made = {0};
    CLEANUP(pbuf_free) struct pbuf *p = NULL;
    // In memory a message is larger than on the wire: mostly pointers.
    int rc =
        pbuf_unpack(&livekit__room_configuration__descriptor, room->agents, 4 * API_BODY_MAX, &p);
    const Livekit__RoomConfiguration *const c = rc == 0 ? p->msg : NULL;
    for (size_t i = 0; rc == 0 && i < c->n_agents && i < AGENT_DISPATCHES_MAX; i++) {
        rc = add_named(&made, name, room->created, c->agents[i]);
    }
    if (rc == 0 && c->n_agents == 0) {
        Livekit__RoomAgentDispatch const any = LIVEKIT__ROOM_AGENT_DISPATCH__INIT;
        rc = add_named(&made, name, room->created, &any);
    }
    if (rc < 0) {
        agent_dispatches_done(&made);
        return rc;
    }
    *d = made;
    d->has_first = true;
    return 0;
}

static int create(struct agent_dispatches *d, wall_t now,
                  const Livekit__CreateAgentDispatchRequest *req, struct shared_buf **ret_body,
                  struct twirp_error *ret_error)
{
    if (d->count >= AGENT_DISPATCHES_MAX) {
        return fail(ret_error, TWIRP_RESOURCE_EXHAUSTED, "too many dispatches in this room");
    }
    struct agent_dispatch *a = NULL;
    Livekit__AgentDispatch m = LIVEKIT__AGENT_DISPATCH__INIT;
    struct arena arena;
    arena_init(&arena, 1024, AGENT_DISPATCH_BYTES_MAX);
    m.attributes = new_entries(&arena, req->n_attributes);
    int rc = m.attributes != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < req->n_attributes; i++) {
        m.attributes[i]->key = req->attributes[i]->key;
        m.attributes[i]->value = req->attributes[i]->value;
        m.n_attributes++;
    }
    if (rc == 0) {
        LK_SET_STR(&m, agent_name, req->agent_name);
        LK_SET_STR(&m, room, req->room);
        LK_SET_STR(&m, metadata, req->metadata);
        LK_SET(&m, restart_policy, req->restart_policy);
        LK_SET_STR(&m, deployment, req->deployment);
        rc = add(d, &m, now, &a);
    }
    arena_done(&arena);
    if (rc < 0) {
        return rc == -E2BIG ? fail(ret_error, TWIRP_INVALID_ARGUMENT, "dispatch is too large")
                            : fail(ret_error, TWIRP_INTERNAL, "out of memory");
    }
    *ret_body = shared_buf_ref(a->wire);
    return 0;
}

static struct agent_dispatch *find(const struct agent_dispatches *d, const char *id)
{
    struct agent_dispatch *a = d->list;
    while (a != NULL && strcmp(a->id, id) != 0) {
        a = a->next;
    }
    return a;
}

// The deleted one is the answer, with the time of its end.
static int delete (struct agent_dispatches *d, wall_t now,
                   const Livekit__DeleteAgentDispatchRequest *req, struct shared_buf **ret_body,
                   struct twirp_error *ret_error)
{
    CLEANUP(pbuf_free) struct pbuf *p = NULL;
    struct agent_dispatch *const a = find(d, lk_str(req->dispatch_id));
    if (a == NULL) {
        return fail(ret_error, TWIRP_NOT_FOUND, "agent dispatch does not exist");
    }
    if (pbuf_unpack(&livekit__agent_dispatch__descriptor, shared_buf_view(a->wire),
                    PBUF_CAP_DEFAULT, &p) < 0) {
        return fail(ret_error, TWIRP_INTERNAL, "out of memory");
    }
    Livekit__AgentDispatch *const m = p->msg;
    LK_SET(m->state, deleted_at, now.us * 1000);
    if (pbuf_pack_shared(&m->base, 2 * AGENT_DISPATCH_BYTES_MAX, ret_body) < 0) {
        return fail(ret_error, TWIRP_INTERNAL, "out of memory");
    }
    LL_DELETE(d->list, a);
    d->count--;
    dispatch_free(a);
    return 0;
}

static int list(const struct agent_dispatches *d, const Livekit__ListAgentDispatchRequest *req,
                struct shared_buf **ret_body, struct twirp_error *ret_error)
{
    const char *const id = lk_str(req->dispatch_id);
    struct arena arena;
    arena_init(&arena, 4096, (size_t)4 * AGENT_DISPATCHES_MAX * AGENT_DISPATCH_BYTES_MAX);
    Livekit__ListAgentDispatchResponse rsp = LIVEKIT__LIST_AGENT_DISPATCH_RESPONSE__INIT;
    struct pbuf *parts[AGENT_DISPATCHES_MAX + 1] = {0};
    rsp.agent_dispatches = arena_array(&arena, d->count + 1, sizeof(*rsp.agent_dispatches));
    bool ok = rsp.agent_dispatches != NULL;
    for (struct agent_dispatch *a = d->list; ok && a != NULL; a = a->next) {
        if (*id != 0 && strcmp(id, a->id) != 0) {
            continue;
        }
        size_t const n = rsp.n_agent_dispatches;
        ok = n < ARRAY_LEN(parts) &&
             pbuf_unpack(&livekit__agent_dispatch__descriptor, shared_buf_view(a->wire),
                         PBUF_CAP_DEFAULT, &parts[n]) == 0;
        if (ok) {
            rsp.agent_dispatches[rsp.n_agent_dispatches++] = parts[n]->msg;
        }
    }
    ok = ok && pbuf_pack_shared(&rsp.base, 2 * AGENT_DISPATCHES_MAX * AGENT_DISPATCH_BYTES_MAX,
                                ret_body) == 0;
    for (size_t i = 0; i < rsp.n_agent_dispatches; i++) {
        pbuf_free(parts[i]);
    }
    arena_done(&arena);
    return ok ? 0 : fail(ret_error, TWIRP_INTERNAL, "out of memory");
}

int agent_method_call(const struct agent_method *m, struct agent_dispatches *d,
                      const struct agent_room *room, wall_t now, const ProtobufCMessage *req,
                      struct shared_buf **ret_body, struct twirp_error *ret_error)
{
    const void *const msg = req;
    if (add_first(d, agent_method_room(m, req), room) < 0) {
        return fail(ret_error, TWIRP_INTERNAL, "out of memory");
    }
    switch (m - methods) {
    case 0:
        return create(d, now, msg, ret_body, ret_error);
    case 1:
        return delete (d, now, msg, ret_body, ret_error);
    default:
        return list(d, msg, ret_body, ret_error);
    }
}
