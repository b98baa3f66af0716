// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/base/webhook_receiver.h"

#include <stdio.h>

#include "common/lk/livekit.h"
#include "common/svc/pbjson.h"

// Memory of a decoded event: text of 8 MiB becomes less than twice of it, beside participants,
// tracks and attributes, of which a call's event has a handful.
#define EVENT_MEMORY_MAX ((size_t)32 << 20)

static const char *const type_names[SFU_EVENT_TYPE_COUNT] = {
    [SFU_EVENT_JOINED] = "joined",   [SFU_EVENT_LEFT] = "left",
    [SFU_EVENT_ABORTED] = "aborted", [SFU_EVENT_ROOM_FINISHED] = "room_finished",
    [SFU_EVENT_OTHER] = "other",
};

const char *sfu_event_type_name(enum sfu_event_type t)
{
    return (unsigned)t < SFU_EVENT_TYPE_COUNT ? type_names[t] : "?";
}

void sfu_event_done(struct sfu_event *e)
{
    pbuf_free(e->memory);
    *e = (struct sfu_event){.type = SFU_EVENT_OTHER};
}

// The events of authorization-service 1.10, and what they must name to mean something.
static enum sfu_event_type type_of(const char *name, const char *room, const char *identity)
{
    static const struct {
        const char *name;
        enum sfu_event_type type;
        bool of_participant;
    } events[] = {
        {"participant_joined", SFU_EVENT_JOINED, true},
        {"participant_left", SFU_EVENT_LEFT, true},
        {"participant_connection_aborted", SFU_EVENT_ABORTED, true},
        {"room_finished", SFU_EVENT_ROOM_FINISHED, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (strcmp(events[i].name, name) == 0 && *room &&
            (!events[i].of_participant || *identity)) {
            return events[i].type;
        }
    }
    return SFU_EVENT_OTHER;
}

// Takes p over.
static void fill(struct pbuf *p, struct sfu_event *ret)
{
    const Livekit__WebhookEvent *const w = p->msg;
    const Livekit__Room *const room = w->room;
    const Livekit__ParticipantInfo *const who = w->participant;
    struct sfu_event e = {
        .name = lk_str(w->event),
        .id = lk_str(w->id),
        .room = room ? lk_str(room->name) : "",
        .identity = who ? lk_str(who->identity) : "",
        .sid = who ? lk_str(who->sid) : "",
        .reason = who ? (int)who->disconnect_reason : 0,
        .created_at_s = w->created_at,
        .memory = p,
    };
    e.type = type_of(e.name, e.room, e.identity);
    *ret = e;
}

static bool answer(struct webhook_verdict *ret, int status, const char *text)
{
    ret->status = status;
    ret->refusal.why = WEBHOOK_CHECK_OK;
    ret->refusal.token = ACCESS_TOKEN_OK;
    (void)snprintf(ret->refusal.text, sizeof(ret->refusal.text), "%s", text);
    return status == 200;
}

bool webhook_verify(const struct api_keys *keys, wall_t now, struct bytes authorization,
                    struct bytes body, struct sfu_event *ret_event,
                    struct webhook_verdict *ret_verdict)
{
    *ret_verdict = (struct webhook_verdict){0};
    int r = webhook_check(keys, now, authorization, body, &ret_verdict->refusal);
    if (r == -EACCES) {
        ret_verdict->status = 401;
        return false;
    }
    struct pbuf *p = NULL;
    if (r == 0) {
        struct pbjson_limits const limits = {.max_bytes = WEBHOOK_BODY_MAX,
                                             .max_memory = EVENT_MEMORY_MAX};
        r = pbjson_read(&livekit__webhook_event__descriptor, body, &limits, &p);
    }
    if (r == -ENOMEM) {
        return answer(ret_verdict, 500, "out of memory");
    }
    if (r < 0) {
        return answer(ret_verdict, 400,
                      r == -E2BIG ? "the body is too large or nested too deeply"
                                  : "the body is no WebhookEvent in JSON");
    }
    fill(p, ret_event);
    return answer(ret_verdict, 200, "");
}
