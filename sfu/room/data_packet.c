// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/data_packet.h"

#include "common/base/arena.h"

// An agent speaks for somebody else when it names another identity (livekit-protocol 3.8.2, 4).
static bool speaks_for_another(const Livekit__DataPacket *p, const struct data_packet_sender *from)
{
    const char *const named = lk_str(p->participant_identity);
    return from->agent && *named != 0 && strcmp(named, from->identity) != 0;
}

static void overwrite_user(Livekit__DataPacket *p, const struct data_packet_sender *from)
{
    Livekit__UserPacket *const u = p->user;
    LK_SET_STR(u, participant_sid, from->hidden ? NULL : from->sid);
    LK_SET_STR(u, participant_identity, from->hidden ? NULL : from->identity);
    if (p->n_destination_identities != 0) {
        u->destination_identities = p->destination_identities;
        u->n_destination_identities = p->n_destination_identities;
    } else {
        p->destination_identities = u->destination_identities;
        p->n_destination_identities = u->n_destination_identities;
    }
}

static void mark_chat(Livekit__DataPacket *p)
{
    LK_SET(p->chat_message, generated, true);
}

// Text only: what an agent says for somebody, not files.
static bool mark_text_header(Livekit__DataPacket *p)
{
    Livekit__DataStream__Header *const h = p->stream_header;
    if (h->content_header_case != LIVEKIT__DATA_STREAM__HEADER__CONTENT_HEADER_TEXT_HEADER) {
        return false;
    }
    LK_SET(h->text_header, generated, true);
    return true;
}

enum data_packet_use data_packet_prepare(Livekit__DataPacket *p, enum data_kind kind,
                                         const struct data_packet_sender *from)
{
    enum data_packet_use use = DATA_PACKET_FORWARD;
    bool keep_identity = false;
    LK_SET(p, kind,
           kind == DATA_LOSSY ? LIVEKIT__DATA_PACKET__KIND__LOSSY
                              : LIVEKIT__DATA_PACKET__KIND__RELIABLE);
    switch (p->value_case) {
    case LIVEKIT__DATA_PACKET__VALUE_USER:
        overwrite_user(p, from);
        break;
    case LIVEKIT__DATA_PACKET__VALUE_CHAT_MESSAGE:
        keep_identity = speaks_for_another(p, from);
        if (keep_identity) {
            mark_chat(p);
        }
        break;
    case LIVEKIT__DATA_PACKET__VALUE_STREAM_HEADER:
        keep_identity = speaks_for_another(p, from) && mark_text_header(p);
        break;
    case LIVEKIT__DATA_PACKET__VALUE_TRANSCRIPTION:
        use = from->agent ? DATA_PACKET_FORWARD : DATA_PACKET_FORBIDDEN;
        break;
    case LIVEKIT__DATA_PACKET__VALUE_METRICS:
        use = DATA_PACKET_METRICS;
        break;
    default: // opaque to us, and what newer clients know
        break;
    }
    if (!keep_identity) {
        LK_SET_STR(p, participant_identity, from->hidden ? NULL : from->identity);
    }
    LK_SET_STR(p, participant_sid, from->sid);
    return use;
}

void data_packet_wrap(Livekit__DataPacket *packet, Livekit__UserPacket *user, struct bytes payload,
                      const struct data_packet_sender *from)
{
    livekit__data_packet__init(packet);
    livekit__user_packet__init(user);
    LK_SET_BYTES(user, payload, payload);
    packet->value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    packet->user = user;
    (void)data_packet_prepare(packet, DATA_RELIABLE, from);
}

// ---- metrics --------------------------------------------------------------------------------

static void normalize(Livekit__Timestamp **t, int64_t sender_ms, int64_t offset_ms, struct arena *a)
{
    if (sender_ms == 0) {
        return; // not given
    }
    Livekit__Timestamp *const n = arena_alloc(a, sizeof(*n));
    int64_t ms = 0;
    if (n == NULL || __builtin_add_overflow(sender_ms, offset_ms, &ms) || ms < 0) {
        return;
    }
    livekit__timestamp__init(n);
    LK_SET(n, seconds, ms / 1000);
    LK_SET(n, nanos, (int32_t)(ms % 1000) * 1000000);
    *t = n;
}

void data_packet_normalize_metrics(Livekit__MetricsBatch *m, wall_t now, struct arena *a)
{
    int64_t offset_ms = 0;
    if (m->timestamp_ms <= 0 ||
        __builtin_sub_overflow(now.us / US_PER_MS, m->timestamp_ms, &offset_ms)) {
        return;
    }
    normalize(&m->normalized_timestamp, m->timestamp_ms, offset_ms, a);
    for (size_t i = 0; i < m->n_time_series; i++) {
        const Livekit__TimeSeriesMetric *const s = m->time_series[i];
        for (size_t k = 0; k < s->n_samples; k++) {
            normalize(&s->samples[k]->normalized_timestamp, s->samples[k]->timestamp_ms, offset_ms,
                      a);
        }
    }
    for (size_t i = 0; i < m->n_events; i++) {
        Livekit__EventMetric *const e = m->events[i];
        normalize(&e->normalized_start_timestamp, e->start_timestamp_ms, offset_ms, a);
        normalize(&e->normalized_end_timestamp, e->end_timestamp_ms, offset_ms, a);
    }
}
