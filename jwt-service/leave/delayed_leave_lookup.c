// SPDX-License-Identifier: Apache-2.0
// Which participants are in a room: one question to the SFU for all jobs of the room that want to
// know (authorization-service 7.7).
#include <stdlib.h>

#include "common/sys/log.h"
#include "jwt-service/leave/delayed_leave_manager_internal.h"

// To the SFU at a time. Ours: it answers within milliseconds, and has media to forward.
#define LOOKUPS_MAX 16u
// An SFU that has no ListParticipants is asked for it again after this.
#define NO_LIST_MS 600000

struct leave_lookup {
    struct leave_manager *manager;
    struct leave_room *room; // held
    struct leave_job *job;   // asks for one participant; NULL: list, or the job has ended
    struct sfu_call *call;
    struct leave_lookup *prev;
    struct leave_lookup *next;
    bool failed; // one of the identities could not be asked
    uint8_t who; // which identity is being asked
    uint8_t found;
    char sid[LEAVE_SID_SIZE]; // of identity 0
};

void leave_lookup_want(struct leave_manager *m, struct leave_room *r, bool urgent)
{
    if (r->queued || r->lookup || m->closing) {
        return;
    }
    r->queued = true;
    leave_room_ref(r);
    if (urgent) {
        DL_PREPEND(m->queue, r);
    } else {
        DL_APPEND(m->queue, r);
    }
}

static void dequeue(struct leave_manager *m, struct leave_room *r)
{
    DL_DELETE(m->queue, r);
    r->queued = false;
}

static void lookup_free(struct leave_lookup *l)
{
    struct leave_manager *const m = l->manager;
    if (l->call) {
        sfu_client_cancel(l->call);
    }
    l->room->lookup = NULL;
    leave_room_unref(&m->table, l->room);
    DL_DELETE(m->lookups, l);
    m->lookup_count--;
    mem_free(l);
}

void leave_lookup_stop(struct leave_manager *m)
{
    while (m->lookups) {
        lookup_free(m->lookups);
    }
    while (m->queue) {
        struct leave_room *const r = m->queue;
        dequeue(m, r);
        leave_room_unref(&m->table, r);
    }
}

void leave_lookup_forget(struct leave_manager *m, const struct leave_job *j)
{
    struct leave_lookup *const l = j->room->lookup;
    (void)m;
    if (l && l->job == j) {
        l->job = NULL;
    }
}

// ---- answers --------------------------------------------------------------------------------

static void answer(struct leave_manager *m, struct leave_job *j, unsigned found,
                   const char *const sid[LEAVE_WHO_MAX])
{
    struct leave_input const in = {
        .type = found ? LEAVE_EVENT_FOUND : LEAVE_EVENT_NOT_FOUND,
        .present = found,
        .sid = {found & 1 ? sid[0] : NULL, found & 2 ? sid[1] : NULL},
    };
    j->asked = false;
    leave_manager_feed(m, j, &in);
}

static void answer_unknown(struct leave_manager *m, struct leave_job *j)
{
    struct leave_input const in = {.type = LEAVE_EVENT_LOOKUP_FAILED};
    j->asked = false;
    leave_manager_feed(m, j, &in);
}

static void note_failure(struct leave_manager *m, const struct leave_room *r,
                         const struct sfu_result *res)
{
    m->counts.lookup_failures++;
    log_debug(NULL, "leave.lookup_failed", KV_STR("room", r->name), KV_STR("step", res->step),
              KV_STR("text", res->text));
}

// The lookup is over; jobs that came meanwhile have their question still open.
static void lookup_end(struct leave_lookup *l)
{
    struct leave_manager *const m = l->manager;
    struct leave_room *const r = l->room;
    struct leave_job *j = NULL;
    leave_room_ref(r);
    lookup_free(l);
    DL_FOREACH2(r->jobs, j, room_next)
    {
        if (j->machine.looking) {
            leave_lookup_want(m, r, false);
            break;
        }
    }
    leave_room_unref(&m->table, r);
    leave_manager_turn(m);
}

static int by_identity(const void *a, const void *b)
{
    const struct sfu_participant *const x = a;
    const struct sfu_participant *const y = b;
    return strcmp(x->identity, y->identity);
}

static const char *sid_of(const struct sfu_participant *sorted, size_t n, const char *identity)
{
    struct sfu_participant const key = {.identity = identity};
    const struct sfu_participant *const p =
        n > 0 ? bsearch(&key, sorted, n, sizeof(*sorted), by_identity) : NULL;
    return p ? p->sid : NULL;
}

static void answer_list(struct leave_lookup *l, const struct sfu_participant *sorted, size_t n)
{
    struct leave_job *j = NULL;
    struct leave_job *tmp = NULL;
    DL_FOREACH_SAFE2(l->room->jobs, j, tmp, room_next)
    {
        const char *const sid[LEAVE_WHO_MAX] = {sid_of(sorted, n, leave_job_identity(j)),
                                                j->other_at ? sid_of(sorted, n, leave_job_other(j))
                                                            : NULL};
        unsigned const found = (sid[0] ? 1u : 0u) | (sid[1] ? 2u : 0u);
        // Whoever did not ask is told good news only: that saves its next question.
        if (j->asked || (found && !j->machine.looking)) {
            answer(l->manager, j, found, sid);
        }
    }
}

// The room must be held.
static void answer_all_unknown(struct leave_manager *m, struct leave_room *r)
{
    struct leave_job *j = NULL;
    struct leave_job *tmp = NULL;
    DL_FOREACH_SAFE2(r->jobs, j, tmp, room_next)
    {
        if (j->asked) {
            answer_unknown(m, j);
        }
    }
}

// An answer that says that this SFU, or a proxy before it, does not do lists, and not that it is out
// of reach.
static bool is_no_list(enum sfu_cause c)
{
    return c == SFU_CAUSE_URL || c == SFU_CAUSE_PERMISSION || c == SFU_CAUSE_NOT_FOUND ||
           c == SFU_CAUSE_SFU || c == SFU_CAUSE_BROKEN;
}

static void on_list(void *user, const struct sfu_result *res)
{
    struct leave_lookup *const l = user;
    struct leave_manager *const m = l->manager;
    l->call = NULL;
    size_t const n = res->ok ? res->participant_count : 0;
    struct sfu_participant *const sorted = mem_array(n + 1, sizeof(*sorted));
    if (res->ok && sorted) {
        if (n > 0) {
            memcpy(sorted, res->participants, n * sizeof(*sorted));
            qsort(sorted, n, sizeof(*sorted), by_identity);
        }
        answer_list(l, sorted, n);
    } else if (!res->ok && is_no_list(res->cause)) {
        // Those that asked are still waiting: lookup_end queues the room again.
        note_failure(m, l->room, res);
        m->no_list_until = mono_add_ms(loop_now(m->conf.loop), NO_LIST_MS);
        struct leave_job *j = NULL;
        DL_FOREACH2(l->room->jobs, j, room_next)
        {
            j->asked = false;
        }
    } else {
        if (!res->ok) {
            note_failure(m, l->room, res);
        }
        answer_all_unknown(m, l->room);
    }
    mem_free(sorted);
    lookup_end(l);
}

static void on_participant(void *user, const struct sfu_result *res);

static int ask_one(struct leave_lookup *l)
{
    struct leave_manager *const m = l->manager;
    const char *const identity = l->who == 0 ? leave_job_identity(l->job) : leave_job_other(l->job);
    m->counts.lookups++;
    int const e = sfu_client_get_participant(m->conf.sfu, l->room->name, identity, on_participant,
                                             l, &l->call);
    l->call = e < 0 ? NULL : l->call;
    return e;
}

static void on_participant(void *user, const struct sfu_result *res)
{
    struct leave_lookup *const l = user;
    struct leave_manager *const m = l->manager;
    struct leave_job *const j = l->job;
    l->call = NULL;
    if (!j) {
        lookup_end(l);
        return;
    }
    const char *const sid = res->ok && res->participant_sid ? res->participant_sid : "";
    if (!res->ok && !res->not_found) {
        note_failure(m, l->room, res);
        l->failed = true;
        // What is not known stays as it was.
        l->found = (uint8_t)(l->found | (j->machine.present & (1u << l->who)));
    } else if (res->ok) {
        l->found = (uint8_t)(l->found | 1u << l->who);
    }
    if (l->who == 0 && j->other_at) {
        memcpy(l->sid, sid, strnlen(sid, sizeof(l->sid) - 1));
        l->who = 1;
        if (ask_one(l) == 0) {
            return;
        }
        l->failed = true;
    }
    bool const only = !j->other_at;
    const char *const sids[LEAVE_WHO_MAX] = {only ? sid : l->sid, only ? NULL : sid};
    if (l->failed && (only || l->found == 0)) {
        answer_unknown(m, j);
    } else {
        answer(m, j, l->found, sids);
    }
    lookup_end(l);
}

// ---- questions ------------------------------------------------------------------------------

// One question for the whole room if several want to know, or if the answer spares others theirs.
static bool prefers_list(const struct leave_manager *m, const struct leave_room *r,
                         const struct leave_job *first, uint32_t asking)
{
    bool const has_others = r->jobs->room_next != NULL;
    bool const helps = asking > 1 || (has_others && first->machine.state == LEAVE_CONNECTED);
    return helps && mono_reached(m->no_list_until, loop_now(m->conf.loop));
}

static struct leave_lookup *lookup_new(struct leave_manager *m, struct leave_room *r)
{
    struct leave_lookup *const l = NEW(struct leave_lookup);
    if (l) {
        l->manager = m;
        l->room = r;
        r->lookup = l;
        leave_room_ref(r);
        DL_APPEND(m->lookups, l);
        m->lookup_count++;
    }
    return l;
}

// The jobs that want to know.
static uint32_t mark_asking(struct leave_room *r, struct leave_job **ret_first)
{
    struct leave_job *j = NULL;
    uint32_t asking = 0;
    DL_FOREACH2(r->jobs, j, room_next)
    {
        j->asked = j->machine.looking;
        *ret_first = j->asked && asking == 0 ? j : *ret_first;
        asking += j->asked;
    }
    return asking;
}

static int ask(struct leave_manager *m, struct leave_room *r, struct leave_job *first,
               uint32_t asking)
{
    struct leave_lookup *const l = lookup_new(m, r);
    if (!l) {
        return -ENOMEM;
    }
    int e = 0;
    if (prefers_list(m, r, first, asking)) {
        m->counts.lookups++;
        e = sfu_client_list_participants(m->conf.sfu, r->name, on_list, l, &l->call);
    } else {
        l->job = first;
        e = ask_one(l);
    }
    if (e < 0) {
        l->call = NULL;
        lookup_free(l);
    }
    return e;
}

// The room is held.
static void start(struct leave_manager *m, struct leave_room *r)
{
    struct leave_job *first = NULL;
    uint32_t const asking = mark_asking(r, &first);
    if (first && ask(m, r, first, asking) < 0) {
        answer_all_unknown(m, r);
    }
}

void leave_lookup_pump(struct leave_manager *m)
{
    while (m->queue && m->lookup_count < LOOKUPS_MAX && !m->closing) {
        struct leave_room *const r = m->queue;
        dequeue(m, r);
        start(m, r);
        leave_room_unref(&m->table, r);
    }
}
