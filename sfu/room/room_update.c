// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/room_update.h"

#include "common/lk/livekit.h"
#include "sfu/room/participant_permission.h"
#include "sfu/room/proto_map.h"
#include "sfu/room/signal_post.h"

// False: no memory, which is counted.
static bool send_update(struct room *r)
{
    struct arena a;
    bool sent = false;
    arena_init(&a, SIGNAL_ARENA_FIRST, SIGNAL_ARENA_CAP);
    Livekit__RoomUpdate u = LIVEKIT__ROOM_UPDATE__INIT;
    u.room = proto_map_room(r, &a);
    if (u.room != NULL) {
        Livekit__SignalResponse rsp =
            signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ROOM_UPDATE);
        rsp.room_update = &u;
        sent = signal_post_room(r, &rsp) == 0;
    } else {
        r->env->no_memory++;
    }
    arena_done(&a);
    return sent;
}

static void tell_everybody(struct room *r)
{
    if (!send_update(r)) {
        timer_heap_set(r->env->timers, &r->counters,
                       mono_add_ms(r->env->now, ROOM_UPDATE_RETRY_MS));
        return;
    }
    if (!r->registry_behind) {
        timer_heap_cancel(r->env->timers, &r->counters);
    }
    r->told_counters = true;
    r->counters_told_at = r->env->now;
    r->told_participants = r->visible_count;
    r->told_publishers = r->publisher_count;
    r->told_recording = r->recorder_count > 0;
}

int room_set_metadata(struct room *r, const char *metadata)
{
    const char *const text = metadata != NULL ? metadata : "";
    if (strlen(text) > ROOM_METADATA_MAX) {
        return -E2BIG;
    }
    char *const copy = mem_strdup(text);
    if (copy == NULL) {
        return -ENOMEM;
    }
    mem_free(r->metadata);
    r->metadata = copy;
    tell_everybody(r);
    room_tell_registry(r);
    return 0;
}

static void count(struct room *r, const struct participant *p, uint32_t by)
{
    bool const dependent = participant_is_dependent(p);
    r->seat_count += dependent ? 0 : by;
    r->visible_count += dependent || p->permission.hidden ? 0 : by;
    r->recorder_count += participant_is_recorder(p) ? by : 0;
    r->publisher_count += p->is_publisher ? by : 0;
}

void room_count_in(struct room *r, const struct participant *p)
{
    count(r, p, 1);
}

void room_count_out(struct room *r, const struct participant *p)
{
    count(r, p, UINT32_MAX); // one less
}

void room_count_publisher(struct participant *p)
{
    struct room *const r = p->room;
    if (!p->is_publisher) {
        p->is_publisher = true;
        r->publisher_count++;
        room_tell_registry(r);
        room_counters_changed(r);
    }
}

void room_counters_changed(struct room *r)
{
    bool const recording = r->recorder_count > 0;
    if (r->closing ||
        (r->told_counters && recording == r->told_recording &&
         r->visible_count == r->told_participants && r->publisher_count == r->told_publishers)) {
        return;
    }
    mono_t const due = mono_add_ms(r->counters_told_at, ROOM_UPDATE_INTERVAL_MS);
    if (!r->told_counters || recording != r->told_recording || mono_reached(due, r->env->now)) {
        tell_everybody(r);
    } else {
        timer_heap_set_sooner(r->env->timers, &r->counters, due);
    }
}

void room_counters_timeout(struct room *r)
{
    if (r->registry_behind) {
        room_tell_registry(r);
    }
    tell_everybody(r);
}
