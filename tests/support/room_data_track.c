// SPDX-License-Identifier: Apache-2.0
#include "tests/support/room_data_track.h"

#include <stdio.h>

#include "common/lk/sid.h"
#include "sfu/wire/data_track_packet.h"
#include "tests/support/room_client.h"

void room_data_track_publish(struct room_client *c, uint32_t handle, const char *name)
{
    Livekit__PublishDataTrackRequest q = LIVEKIT__PUBLISH_DATA_TRACK_REQUEST__INIT;
    LK_SET(&q, pub_handle, handle);
    LK_SET_STR(&q, name, name);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PUBLISH_DATA_TRACK_REQUEST;
    r.publish_data_track_request = &q;
    room_client_request(c, &r);
}

void room_data_track_unpublish(struct room_client *c, uint32_t handle)
{
    Livekit__UnpublishDataTrackRequest q = LIVEKIT__UNPUBLISH_DATA_TRACK_REQUEST__INIT;
    LK_SET(&q, pub_handle, handle);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UNPUBLISH_DATA_TRACK_REQUEST;
    r.unpublish_data_track_request = &q;
    room_client_request(c, &r);
}

void room_data_track_subscribe(struct room_client *c, const char *sid, bool subscribe)
{
    Livekit__UpdateDataSubscription__Update u = LIVEKIT__UPDATE_DATA_SUBSCRIPTION__UPDATE__INIT;
    LK_SET_STR(&u, track_sid, sid);
    LK_SET(&u, subscribe, subscribe);
    Livekit__UpdateDataSubscription q = LIVEKIT__UPDATE_DATA_SUBSCRIPTION__INIT;
    q.updates = (Livekit__UpdateDataSubscription__Update *[]){&u};
    q.n_updates = 1;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_DATA_SUBSCRIPTION;
    r.update_data_subscription = &q;
    room_client_request(c, &r);
}

int room_data_track_send(struct room_client *c, uint32_t handle, uint32_t sequence, size_t n)
{
    uint8_t payload[1200] = {0};
    uint8_t buf[sizeof(payload) + DATA_TRACK_HEADER_LEN];
    struct data_track_packet const p = {
        .start = true,
        .final = true,
        .handle = (uint16_t)handle,
        .sequence = (uint16_t)sequence,
        .frame = (uint16_t)sequence,
        .payload = bytes_of(payload, MIN(n, sizeof(payload))),
    };
    struct wr w = wr_init(buf, sizeof(buf));
    data_track_packet_write(&w, &p);
    return room_client_send_raw(c, ROOM_DATA_TRACK, wr_bytes_view(&w));
}

const struct room_data_track *room_data_track_mine(const struct room_client *c, uint32_t handle)
{
    for (size_t i = 0; i < c->tracks.published_count; i++) {
        if (c->tracks.published[i].handle == handle) {
            return &c->tracks.published[i];
        }
    }
    return NULL;
}

const struct room_data_track *room_data_track_of(const struct room_client *c, const char *sid)
{
    for (size_t i = 0; i < c->tracks.received_count; i++) {
        if (strcmp(c->tracks.received[i].sid, sid) == 0) {
            return &c->tracks.received[i];
        }
    }
    return NULL;
}

// ---- what it is told ------------------------------------------------------------------------

static void on_published(struct room_client *c, const Livekit__DataTrackInfo *info)
{
    struct room_data_tracks *const d = &c->tracks;
    if (info == NULL || !sid_has_prefix(lk_str(info->sid), SID_DATA_TRACK) ||
        info->pub_handle == 0 || *lk_str(info->name) == 0) {
        room_harness_violation(c->h, "%s published a data track without a sid", c->identity);
        return;
    }
    if (room_data_track_mine(c, info->pub_handle) != NULL) {
        return; // repeated after a resume
    }
    room_must(d->published_count < ROOM_DATA_TRACKS, "room for a data track");
    struct room_data_track *const t = &d->published[d->published_count++];
    *t = (struct room_data_track){.handle = info->pub_handle};
    (void)snprintf(t->sid, sizeof(t->sid), "%s", info->sid);
}

static void on_unpublished(struct room_client *c, const Livekit__DataTrackInfo *info)
{
    struct room_data_tracks *const d = &c->tracks;
    for (size_t i = 0; info != NULL && i < d->published_count; i++) {
        if (strcmp(d->published[i].sid, lk_str(info->sid)) == 0) {
            d->published[i] = d->published[--d->published_count];
            return;
        }
    }
    room_harness_violation(c->h, "%s unpublished what it never published", c->identity);
}

static bool is_known(const struct room_client *c, const char *sid)
{
    for (size_t i = 0; i < c->peer_count; i++) {
        const struct room_peer *const p = &c->peers[i];
        for (size_t k = 0; k < p->data_track_count; k++) {
            if (strcmp(p->data_tracks[k], sid) == 0) {
                return true;
            }
        }
    }
    return false;
}

// The map replaces what was known; counters of tracks that stay go on.
static void on_handles(struct room_client *c, const Livekit__DataTrackSubscriberHandles *m)
{
    static struct room_data_track old[ROOM_DATA_TRACKS];
    struct room_data_tracks *const d = &c->tracks;
    size_t const n = d->received_count;
    memcpy(old, d->received, sizeof(old));
    d->received_count = 0;
    d->maps++;
    for (size_t i = 0; i < m->n_sub_handles; i++) {
        const Livekit__DataTrackSubscriberHandles__PublishedDataTrack *const e =
            m->sub_handles[i]->value;
        room_must(d->received_count < ROOM_DATA_TRACKS, "room for a data track");
        struct room_data_track *const t = &d->received[d->received_count++];
        *t = (struct room_data_track){.handle = m->sub_handles[i]->key};
        if (e == NULL || t->handle == 0 || t->handle > UINT16_MAX ||
            !is_known(c, lk_str(e->track_sid)) || *lk_str(e->publisher_identity) == 0) {
            room_harness_violation(c->h, "%s was told a handle of nothing it knows", c->identity);
            return;
        }
        (void)snprintf(t->sid, sizeof(t->sid), "%s", e->track_sid);
        (void)snprintf(t->publisher_sid, sizeof(t->publisher_sid), "%s", lk_str(e->publisher_sid));
        for (size_t k = 0; k < n; k++) {
            if (strcmp(old[k].sid, t->sid) == 0) {
                t->packets = old[k].packets;
                t->last_sequence = old[k].last_sequence;
            }
        }
    }
}

bool room_data_track_response(struct room_client *c, const Livekit__SignalResponse *m)
{
    switch (m->message_case) {
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PUBLISH_DATA_TRACK_RESPONSE:
        on_published(c, m->publish_data_track_response->info);
        return true;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UNPUBLISH_DATA_TRACK_RESPONSE:
        on_unpublished(c, m->unpublish_data_track_response->info);
        return true;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_DATA_TRACK_SUBSCRIBER_HANDLES:
        on_handles(c, m->data_track_subscriber_handles);
        return true;
    default:
        return false;
    }
}

void room_data_track_refusal(struct room_client *c, const Livekit__RequestResponse *m)
{
    if (m->request_case == LIVEKIT__REQUEST_RESPONSE__REQUEST_PUBLISH_DATA_TRACK) {
        c->tracks.refused_handle = m->publish_data_track->pub_handle;
    } else if (m->request_case == LIVEKIT__REQUEST_RESPONSE__REQUEST_UNPUBLISH_DATA_TRACK) {
        c->tracks.refused_handle = m->unpublish_data_track->pub_handle;
    } else {
        return;
    }
    c->tracks.refused++;
    c->tracks.reason = (int)m->reason;
    (void)snprintf(c->tracks.text, sizeof(c->tracks.text), "%s", lk_str(m->message));
}

void room_data_track_packet(struct room_client *c, struct bytes message)
{
    struct data_track_packet p;
    if (data_track_packet_parse(message, &p) < 0) {
        room_harness_violation(c->h, "%s got a data track packet it cannot read", c->identity);
        return;
    }
    c->tracks.packets++;
    for (size_t i = 0; i < c->tracks.received_count; i++) {
        struct room_data_track *const t = &c->tracks.received[i];
        if (t->handle == p.handle) {
            t->packets++;
            t->last_sequence = p.sequence;
            return;
        }
    }
    c->tracks.strays++;
}

void room_data_track_sync(const struct room_client *c, Livekit__SyncState *s)
{
    static Livekit__PublishDataTrackResponse responses[ROOM_DATA_TRACKS];
    static Livekit__PublishDataTrackResponse *list[ROOM_DATA_TRACKS];
    static Livekit__DataTrackInfo infos[ROOM_DATA_TRACKS];
    for (size_t i = 0; i < c->tracks.published_count; i++) {
        livekit__publish_data_track_response__init(&responses[i]);
        livekit__data_track_info__init(&infos[i]);
        LK_SET(&infos[i], pub_handle, c->tracks.published[i].handle);
        infos[i].sid = lk_unconst_str(c->tracks.published[i].sid);
        responses[i].info = &infos[i];
        list[i] = &responses[i];
    }
    s->publish_data_tracks = list;
    s->n_publish_data_tracks = c->tracks.published_count;
}
