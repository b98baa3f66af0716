// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/proto_map.h"

#include "common/lk/livekit.h"
#include "sfu/room/data_track.h"
#include "sfu/room/published_track.h"
#include "sfu/transport/jsep.h"

// ServerInfo.protocol of the signal protocol that is spoken here.
#define SIGNAL_PROTOCOL 17

static Livekit__ParticipantPermission *map_permission(const struct participant_permission *perm,
                                                      struct arena *a)
{
    Livekit__ParticipantPermission *const m = arena_alloc(a, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    livekit__participant_permission__init(m);
    LK_SET(m, can_subscribe, perm->can_subscribe);
    LK_SET(m, can_publish, perm->can_publish);
    LK_SET(m, can_publish_data, perm->can_publish_data);
    LK_SET(m, hidden, perm->hidden);
    LK_SET(m, recorder, perm->recorder);
    LK_SET(m, can_update_metadata, perm->can_update_metadata);
    LK_SET(m, agent, perm->agent);
    LK_SET(m, can_subscribe_metrics, perm->can_subscribe_metrics);
    LK_SET(m, can_manage_agent_session, perm->can_manage_agent_session);
    m->can_publish_sources = arena_array(a, 32, sizeof(*m->can_publish_sources));
    if (m->can_publish_sources == NULL) {
        return NULL;
    }
    for (unsigned i = 0; i < 32; i++) {
        if (perm->sources & (1u << i)) {
            m->can_publish_sources[m->n_can_publish_sources++] = (Livekit__TrackSource)i;
        }
    }
    return m;
}

static bool map_attributes(const struct participant *p, Livekit__ParticipantInfo *m,
                           struct arena *a)
{
    m->attributes = arena_array(a, p->attribute_count, sizeof(*m->attributes));
    Livekit__ParticipantInfo__AttributesEntry *const e =
        arena_array(a, p->attribute_count, sizeof(*e));
    if (m->attributes == NULL || e == NULL) {
        return false;
    }
    for (size_t i = 0; i < p->attribute_count; i++) {
        livekit__participant_info__attributes_entry__init(&e[i]);
        LK_SET_STR(&e[i], key, p->attributes[i].key);
        LK_SET_STR(&e[i], value, p->attributes[i].value);
        m->attributes[i] = &e[i];
    }
    m->n_attributes = p->attribute_count;
    return true;
}

static bool map_tracks(const struct participant *p, Livekit__ParticipantInfo *m, struct arena *a)
{
    m->tracks = arena_array(a, p->track_count, sizeof(*m->tracks));
    if (m->tracks == NULL) {
        return false;
    }
    const struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        if (t->state != TRACK_PUBLISHED) {
            continue;
        }
        m->tracks[m->n_tracks] = track_info_to_proto(&t->info, a);
        if (m->tracks[m->n_tracks] == NULL) {
            return false;
        }
        m->n_tracks++;
    }
    return true;
}

static bool map_kind_details(const struct participant *p, Livekit__ParticipantInfo *m,
                             struct arena *a)
{
    m->kind_details = arena_array(a, 32, sizeof(*m->kind_details));
    if (m->kind_details == NULL) {
        return false;
    }
    for (unsigned i = 0; i < 32; i++) {
        if (p->kind_details & (1u << i)) {
            m->kind_details[m->n_kind_details++] = (Livekit__ParticipantInfo__KindDetail)i;
        }
    }
    return true;
}

static bool map_capabilities(const struct participant *p, Livekit__ParticipantInfo *m,
                             struct arena *a)
{
    m->capabilities = arena_array(a, 32, sizeof(*m->capabilities));
    if (m->capabilities == NULL) {
        return false;
    }
    for (unsigned i = 1; i < 32; i++) {
        if (p->client.capabilities & (1u << i)) {
            m->capabilities[m->n_capabilities++] = (Livekit__ClientInfo__Capability)i;
        }
    }
    return true;
}

Livekit__ParticipantInfo *proto_map_participant(const struct participant *p, struct arena *a)
{
    Livekit__ParticipantInfo *const m = arena_alloc(a, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    livekit__participant_info__init(m);
    LK_SET_STR(m, sid, p->sid);
    LK_SET_STR(m, identity, p->identity);
    LK_SET(m, state, (Livekit__ParticipantInfo__State)p->state);
    LK_SET_STR(m, metadata, p->metadata);
    LK_SET(m, joined_at, p->joined_at.us / US_PER_S);
    LK_SET(m, joined_at_ms, p->joined_at.us / US_PER_MS);
    LK_SET_STR(m, name, p->name);
    LK_SET_STR(m, region, p->room->env->conf->region);
    LK_SET(m, version, p->version);
    LK_SET(m, is_publisher, p->is_publisher);
    LK_SET(m, kind, (Livekit__ParticipantInfo__Kind)p->kind);
    LK_SET(m, client_protocol, p->client.client_protocol);
    m->permission = map_permission(&p->permission, a);
    if (m->permission == NULL || !map_attributes(p, m, a) || !map_capabilities(p, m, a) ||
        !map_kind_details(p, m, a)) {
        return NULL;
    }
    if (p->state == PARTICIPANT_DISCONNECTED) {
        LK_SET(m, disconnect_reason, (Livekit__DisconnectReason)p->reason);
        return m;
    }
    return map_tracks(p, m, a) && data_track_map(p, m, a) ? m : NULL;
}

Livekit__Codec **proto_map_codecs(uint32_t enabled, struct arena *a, size_t *ret_n)
{
    static const enum codec order[] = {CODEC_VP8,  CODEC_H264, CODEC_VP9,  CODEC_AV1,  CODEC_H265,
                                       CODEC_OPUS, CODEC_RED,  CODEC_PCMU, CODEC_PCMA, CODEC_G722};
    Livekit__Codec **const v = arena_array(a, ARRAY_LEN(order), sizeof(*v));
    Livekit__Codec *const m = arena_array(a, ARRAY_LEN(order), sizeof(*m));
    if (v == NULL || m == NULL) {
        return NULL;
    }
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (enabled & (1u << order[i])) {
            livekit__codec__init(&m[n]);
            LK_SET_STR(&m[n], mime, codec_mime(order[i]));
            v[n] = &m[n];
            n++;
        }
    }
    *ret_n = n;
    return v;
}

Livekit__Room *proto_map_room(const struct room *r, struct arena *a)
{
    Livekit__Room *const m = arena_alloc(a, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    livekit__room__init(m);
    LK_SET_STR(m, sid, r->sid);
    LK_SET_STR(m, name, r->name);
    LK_SET_STR(m, metadata, r->metadata);
    LK_SET(m, empty_timeout, r->empty_timeout_s);
    LK_SET(m, departure_timeout, r->departure_timeout_s);
    LK_SET(m, max_participants, r->max_participants);
    LK_SET(m, creation_time, r->created.us / US_PER_S);
    LK_SET(m, creation_time_ms, r->created.us / US_PER_MS);
    LK_SET(m, num_participants, room_participant_count(r));
    LK_SET(m, num_publishers, r->publisher_count);
    LK_SET(m, active_recording, r->recorder_count > 0);
    m->enabled_codecs = proto_map_codecs(r->env->conf->codecs, a, &m->n_enabled_codecs);
    return m->enabled_codecs != NULL ? m : NULL;
}

// The largest: metadata of 512 KiB.
#define ROOM_MESSAGE_MAX ((size_t)1 << 20)

struct shared_buf *proto_map_pack_room(const struct room *r)
{
    struct arena a;
    arena_init(&a, 2048, ROOM_MESSAGE_MAX);
    const Livekit__Room *const m = proto_map_room(r, &a);
    struct shared_buf *b = NULL;
    if (m == NULL || pbuf_pack_shared(&m->base, ROOM_MESSAGE_MAX, &b) < 0) {
        b = NULL;
    }
    arena_done(&a);
    return b;
}

Livekit__ServerInfo *proto_map_server(const struct room_env *env, struct arena *a)
{
    Livekit__ServerInfo *const m = arena_alloc(a, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    livekit__server_info__init(m);
    LK_SET_STR(m, version, env->conf->server_version);
    LK_SET(m, protocol, SIGNAL_PROTOCOL);
    LK_SET_STR(m, region, env->conf->region);
    LK_SET_STR(m, node_id, env->conf->node_id);
    return m;
}

Livekit__SessionDescription *proto_map_description(const char *type, const char *sdp, uint32_t id,
                                                   const struct jsep *j, struct arena *a)
{
    Livekit__SessionDescription *const m = arena_alloc(a, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    livekit__session_description__init(m);
    LK_SET_STR(m, type, type);
    LK_SET_STR(m, sdp, sdp);
    LK_SET(m, id, id);
    m->mid_to_track_id = arena_array(a, jsep_count(j), sizeof(*m->mid_to_track_id));
    if (m->mid_to_track_id == NULL) {
        return NULL;
    }
    size_t pos = 0;
    for (const struct jsep_transceiver *t = NULL; (t = jsep_next_sending(j, &pos)) != NULL;) {
        Livekit__SessionDescription__MidToTrackIdEntry *const e = arena_alloc(a, sizeof(*e));
        if (e == NULL) {
            return NULL;
        }
        livekit__session_description__mid_to_track_id_entry__init(e);
        LK_SET_STR(e, key, t->mid);
        LK_SET_STR(e, value, t->sender->track_id);
        m->mid_to_track_id[m->n_mid_to_track_id++] = e;
    }
    return m;
}
