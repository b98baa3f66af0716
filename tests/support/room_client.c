// SPDX-License-Identifier: Apache-2.0
// SUPPORT: room_data room_data_track
#include "tests/support/room_client.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"

#define MEDIA_TICK_US 5000

// ---- requests -------------------------------------------------------------------------------

void room_client_request(struct room_client *c, const Livekit__SignalRequest *req)
{
    if (handle_is_none(c->session) || c->vanished) {
        return;
    }
    struct dynbuf b;
    dynbuf_init(&b, (size_t)2 << 20);
    struct channel_msg *const m = channel_msg_new(CHANNEL_REQUEST, c->session);
    room_must(m != NULL && pbuf_pack(&req->base, &b) == 0, "pbuf_pack");
    int const rc = lk_unpack_signal_request(dynbuf_view(&b), &m->u.request);
    dynbuf_done(&b);
    if (rc == -EBADMSG) { // text that is no UTF-8: no room hears of it
        channel_msg_free(m);
        return;
    }
    room_must(rc == 0, "unpack");
    room_harness_post(c->h, m);
}

static Livekit__SignalRequest request(Livekit__SignalRequest__MessageCase kind)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = kind;
    return r;
}

static void send_description(struct room_client *c, bool offer, const char *sdp, uint32_t id)
{
    Livekit__SessionDescription d = LIVEKIT__SESSION_DESCRIPTION__INIT;
    LK_SET_STR(&d, type, offer ? "offer" : "answer");
    LK_SET_STR(&d, sdp, sdp);
    LK_SET(&d, id, id);
    Livekit__SignalRequest r = request(offer ? LIVEKIT__SIGNAL_REQUEST__MESSAGE_OFFER
                                             : LIVEKIT__SIGNAL_REQUEST__MESSAGE_ANSWER);
    if (offer) {
        r.offer = &d;
    } else {
        r.answer = &d;
    }
    room_client_request(c, &r);
}

void room_client_offer(struct room_client *c, bool restart)
{
    if (c->publisher == NULL) {
        c->publisher = room_pc_new(c, false);
        room_must(jsep_add_data_section(c->publisher->jsep) == 0, "data section");
    }
    if (c->conf.silent || (c->publisher->offer_out && !restart)) {
        c->publisher->offer_again = true;
        return;
    }
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    room_pc_write_offer(c->publisher, restart, &b);
    send_description(c, true, dynbuf_cstr(&b), c->publisher->offer_id);
    dynbuf_done(&b);
}

void room_client_leave(struct room_client *c)
{
    Livekit__LeaveRequest l = LIVEKIT__LEAVE_REQUEST__INIT;
    LK_SET(&l, reason, LIVEKIT__DISCONNECT_REASON__CLIENT_INITIATED);
    Livekit__SignalRequest r = request(LIVEKIT__SIGNAL_REQUEST__MESSAGE_LEAVE);
    r.leave = &l;
    room_client_request(c, &r);
}

void room_client_subscribe(struct room_client *c, const char *track_sid, bool subscribe)
{
    Livekit__UpdateSubscription u = LIVEKIT__UPDATE_SUBSCRIPTION__INIT;
    char *sids[] = {lk_unconst(track_sid)};
    u.track_sids = sids;
    u.n_track_sids = 1;
    LK_SET(&u, subscribe, subscribe);
    Livekit__SignalRequest r = request(LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION);
    r.subscription = &u;
    room_client_request(c, &r);
}

void room_client_settings(struct room_client *c, const char *track_sid, bool disabled, int quality,
                          uint32_t width, uint32_t height)
{
    Livekit__UpdateTrackSettings u = LIVEKIT__UPDATE_TRACK_SETTINGS__INIT;
    char *sids[] = {lk_unconst(track_sid)};
    u.track_sids = sids;
    u.n_track_sids = 1;
    LK_SET(&u, disabled, disabled);
    LK_SET(&u, quality, (Livekit__VideoQuality)quality);
    LK_SET(&u, width, width);
    LK_SET(&u, height, height);
    Livekit__SignalRequest r = request(LIVEKIT__SIGNAL_REQUEST__MESSAGE_TRACK_SETTING);
    r.track_setting = &u;
    room_client_request(c, &r);
}

void room_client_permit(struct room_client *c, const char *identity, const char *track_sid)
{
    Livekit__SubscriptionPermission u = LIVEKIT__SUBSCRIPTION_PERMISSION__INIT;
    Livekit__TrackPermission t = LIVEKIT__TRACK_PERMISSION__INIT;
    Livekit__TrackPermission *list[] = {&t};
    char *sids[] = {lk_unconst(track_sid)};
    bool const all = identity != NULL && strcmp(identity, "*") == 0;
    LK_SET(&u, all_participants, all);
    if (identity != NULL && !all) {
        LK_SET_STR(&t, participant_identity, identity);
        LK_SET(&t, all_tracks, track_sid == NULL);
        t.track_sids = sids;
        t.n_track_sids = track_sid != NULL;
        u.track_permissions = list;
        u.n_track_permissions = 1;
    }
    Livekit__SignalRequest r = request(LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION_PERMISSION);
    r.subscription_permission = &u;
    room_client_request(c, &r);
}

void room_client_mute(struct room_client *c, struct room_sender *s, bool muted)
{
    Livekit__MuteTrackRequest m = LIVEKIT__MUTE_TRACK_REQUEST__INIT;
    LK_SET_STR(&m, sid, s->sid);
    LK_SET(&m, muted, muted);
    Livekit__SignalRequest r = request(LIVEKIT__SIGNAL_REQUEST__MESSAGE_MUTE);
    r.mute = &m;
    s->muted = muted;
    room_client_request(c, &r);
}

// ---- publishing -----------------------------------------------------------------------------

static void add_section(struct room_client *c, struct room_sender *s)
{
    struct jsep_sender js = {.stream_id = "stream", .track_id = s->sdp_cid, .cname = "cname"};
    if (s->media == ROOM_AUDIO) {
        js.ssrc = s->audio_ssrc;
    } else if (s->media == ROOM_VIDEO) {
        js.ssrc = s->model.layers[0].ssrc;
        js.rtx_ssrc = s->model.layers[0].rtx_ssrc;
        js.preferred = s->codec;
    } else {
        js.preferred = s->codec;
        js.rid_count = 3;
        js.rids[0] = "q";
        js.rids[1] = "h";
        js.rids[2] = "f";
    }
    enum jsep_kind const kind = s->media == ROOM_AUDIO ? JSEP_AUDIO : JSEP_VIDEO;
    room_must(jsep_add_sender_section(c->publisher->jsep, kind, &s->section) == 0, "section");
    room_must(jsep_transceiver_set_sender(s->section, &js) == 0, "sender");
}

static void name_codecs(const struct room_sender *s, Livekit__AddTrackRequest *a,
                        Livekit__SimulcastCodec sc[static 2],
                        Livekit__SimulcastCodec *list[static 2])
{
    uint8_t const codecs[2] = {s->codec, s->backup};
    a->simulcast_codecs = list;
    for (size_t i = 0; i < 2 && codecs[i] != CODEC_NONE; i++) {
        livekit__simulcast_codec__init(&sc[i]);
        LK_SET_STR(&sc[i], codec, codec_name((enum codec)codecs[i]));
        LK_SET_STR(&sc[i], cid, i == 0 ? s->cid : "");
        list[a->n_simulcast_codecs++] = &sc[i];
    }
}

void room_client_add_track(struct room_client *c, struct room_sender *s)
{
    Livekit__AddTrackRequest a = LIVEKIT__ADD_TRACK_REQUEST__INIT;
    Livekit__VideoLayer layers[3];
    Livekit__VideoLayer *list[3];
    Livekit__SimulcastCodec sc[2];
    Livekit__SimulcastCodec *codecs[2];
    bool const audio = s->media == ROOM_AUDIO;
    LK_SET_STR(&a, cid, s->cid);
    LK_SET_STR(&a, sid, s->first != NULL ? s->first->sid : "");
    LK_SET(&a, muted, s->muted);
    LK_SET(&a, type, audio ? LIVEKIT__TRACK_TYPE__AUDIO : LIVEKIT__TRACK_TYPE__VIDEO);
    LK_SET(&a, source, audio ? LIVEKIT__TRACK_SOURCE__MICROPHONE : LIVEKIT__TRACK_SOURCE__CAMERA);
    Livekit__PacketTrailerFeature feature = LIVEKIT__PACKET_TRAILER_FEATURE__PTF_FRAME_ID;
    a.packet_trailer_features = &feature;
    a.n_packet_trailer_features = s->trailers;
    LK_SET(&a, disable_red, s->disable_red);
    LK_SET(&a, encryption,
           s->encrypted ? LIVEKIT__ENCRYPTION__TYPE__GCM : LIVEKIT__ENCRYPTION__TYPE__NONE);
    LK_SET(&a, backup_codec_policy, (Livekit__BackupCodecPolicy)s->backup_policy);
    if (!audio) {
        LK_SET(&a, width, 1280);
        LK_SET(&a, height, 720);
        a.layers = list;
        a.n_layers = s->media == ROOM_VIDEO_SIMULCAST ? 3 : 1;
        for (size_t i = 0; i < a.n_layers; i++) {
            livekit__video_layer__init(&layers[i]);
            LK_SET(&layers[i], quality, // a single layer is announced as HIGH
                   a.n_layers == 1 ? LIVEKIT__VIDEO_QUALITY__HIGH : (Livekit__VideoQuality)i);
            LK_SET(&layers[i], width, 320u << i);
            LK_SET(&layers[i], height, 180u << i);
            list[i] = &layers[i];
        }
        if (s->named) {
            name_codecs(s, &a, sc, codecs);
        }
    }
    Livekit__SignalRequest r = request(LIVEKIT__SIGNAL_REQUEST__MESSAGE_ADD_TRACK);
    r.add_track = &a;
    room_client_request(c, &r);
}

void room_client_add_section(struct room_client *c, struct room_sender *s)
{
    if (c->publisher == NULL) {
        room_client_offer(c, false); // the first one, with data only
    }
    add_section(c, s);
    room_client_offer(c, false);
}

struct room_sender *room_client_publish_as(struct room_client *c, const struct room_publish *conf)
{
    struct room_sender *const s = room_sender_new(c, conf->media);
    s->codec = (uint8_t)(conf->codec != CODEC_NONE ? conf->codec : CODEC_VP8);
    s->named = conf->codec != CODEC_NONE;
    s->backup = (uint8_t)conf->backup;
    s->backup_policy = conf->backup_policy;
    s->muted = conf->muted;
    s->disable_red = conf->disable_red;
    s->encrypted = conf->encrypted;
    s->trailers = conf->trailers;
    if (conf->cid != NULL) {
        (void)snprintf(s->cid, sizeof(s->cid), "%s", conf->cid);
    }
    (void)snprintf(s->sdp_cid, sizeof(s->sdp_cid), "%s",
                   conf->sdp_cid != NULL ? conf->sdp_cid : s->cid);
    if (!conf->only_section) {
        room_client_add_track(c, s);
    }
    if (!conf->only_request) {
        room_client_add_section(c, s);
    }
    return s;
}

struct room_sender *room_client_publish(struct room_client *c, enum room_media media)
{
    return room_client_publish_as(c, &(struct room_publish){.media = media});
}

// livekit-client LocalParticipant.ts, publishAdditionalCodecForTrack.
static void publish_second(struct room_client *c, struct room_sender *s)
{
    struct room_sender *const second = room_sender_new(c, ROOM_VIDEO_SIMULCAST);
    second->codec = s->backup;
    second->named = true;
    second->first = s;
    (void)snprintf(second->sdp_cid, sizeof(second->sdp_cid), "%s", second->cid);
    s->second = second;
    room_client_add_track(c, second);
    room_client_add_section(c, second);
}

static void set_layers(struct room_sender *s, int best)
{
    for (int i = 0; i < MODEL_LAYERS && s->media == ROOM_VIDEO_SIMULCAST; i++) {
        model_publisher_set_active(&s->model, i, i <= best);
    }
}

void room_client_dynacast(struct room_client *c, struct room_sender *s)
{
    for (size_t i = 0; c->conf.dynacast && i < s->quality_count; i++) {
        const struct room_quality *const q = &s->qualities[i];
        struct bytes const name = bytes_str(q->codec);
        if (codec_by_name(name) == (enum codec)s->codec) {
            set_layers(s, q->best);
        } else if (codec_by_name(name) != (enum codec)s->backup) {
            room_harness_violation(c->h, "%s was asked for %s", c->identity, q->codec);
        } else if (s->second != NULL) {
            set_layers(s->second, q->best);
        } else if (q->best >= 0) {
            publish_second(c, s);
        }
    }
}

void room_client_unpublish(struct room_client *c, struct room_sender *s)
{
    jsep_transceiver_clear_sender(s->section);
    s->section = NULL;
    room_client_offer(c, false);
}

// ---- joining --------------------------------------------------------------------------------

static struct access_token *make_token(struct room_client *c)
{
    struct room_harness *const h = c->h;
    const struct room_client_conf *const f = &c->conf;
    struct access_claims claims = {
        .identity = c->identity,
        .name = f->name,
        .kind = f->kind,
        .metadata = f->metadata,
        .room_config = f->room_config,
        .has_video = true,
        .video =
            {
                .room = c->room,
                .room_join = true,
                .hidden = f->hidden,
                .recorder = f->recorder,
                .agent = f->agent,
                .can_publish_sources = f->sources,
                .can_publish = tristate_of(!f->no_publish),
                .can_subscribe = tristate_of(!f->no_subscribe),
                .can_update_own_metadata = tristate_of(f->update_metadata),
                .can_publish_data = tristate_of(!f->no_publish_data),
                .can_subscribe_metrics = tristate_of(f->metrics),
            },
    };
    claims.exp = h->env.wall.us / US_PER_S + 3600;
    char *jwt = NULL;
    struct access_token *token = NULL;
    struct access_token_refusal why;
    if (f->jwt != NULL) {
        room_must(access_token_verify(h->keys, h->env.wall, bytes_str(f->jwt), &token, &why) == 0,
                  "verify");
        return token;
    }
    room_must(access_token_mint(&claims, api_keys_first(h->keys), &jwt) == 0, "mint");
    room_must(access_token_verify(h->keys, h->env.wall, bytes_str(jwt), &token, &why) == 0,
              "verify");
    mem_free(jwt);
    return token;
}

void room_client_connect(struct room_client *c, const Livekit__JoinRequest *j)
{
    struct room_harness *const h = c->h;
    c->session = (handle_t){++h->last_session, 1};
    c->first_seen = c->closed = false;
    c->kind_count = 0;
    struct channel_msg *const m = channel_msg_new(CHANNEL_JOIN, c->session);
    struct dynbuf b;
    dynbuf_init(&b, (size_t)1 << 20);
    room_must(m != NULL && pbuf_pack(&j->base, &b) == 0, "pack");
    m->u.join = (struct channel_join){.room_name = mem_strdup(c->room),
                                      .token = make_token(c),
                                      .v1 = !c->conf.v0,
                                      .credit = channel_credit_new()};
    if (c->conf.jwt != NULL) {
        mem_free(m->u.join.room_name);
        m->u.join.room_name = mem_strdup(m->u.join.token->claims.video.room);
    }
    room_must(pbuf_unpack(&livekit__join_request__descriptor, dynbuf_view(&b), PBUF_CAP_DEFAULT,
                          &m->u.join.request) == 0,
              "unpack");
    dynbuf_done(&b);
    room_harness_post(h, m);
}

static void add_placeholders(struct room_client *c, uint32_t audios, uint32_t videos)
{
    struct jsep_transceiver *t = NULL;
    for (uint32_t i = 0; i < audios; i++) {
        room_must(jsep_add_receiver_section(c->publisher->jsep, JSEP_AUDIO, &t) == 0, "section");
    }
    for (uint32_t i = 0; i < videos; i++) {
        room_must(jsep_add_receiver_section(c->publisher->jsep, JSEP_VIDEO, &t) == 0, "section");
    }
}

static void join_message(struct room_client *c, Livekit__JoinRequest *j, Livekit__ClientInfo *info,
                         Livekit__ConnectionSettings *settings)
{
    livekit__join_request__init(j);
    livekit__client_info__init(info);
    livekit__connection_settings__init(settings);
    LK_SET(info, sdk,
           c->conf.sdk_go        ? LIVEKIT__CLIENT_INFO__SDK__GO
           : c->conf.sdk_unknown ? LIVEKIT__CLIENT_INFO__SDK__UNKNOWN
                                 : LIVEKIT__CLIENT_INFO__SDK__JS);
    LK_SET_STR(info, browser, c->conf.browser);
    LK_SET(info, protocol, c->conf.protocol != 0 ? c->conf.protocol : 17);
    LK_SET(settings, auto_subscribe, !c->conf.no_auto_subscribe);
    LK_SET(settings, adaptive_stream, c->conf.adaptive_stream);
    LK_SET(settings, auto_subscribe_data_track, c->conf.auto_subscribe_data);
    static Livekit__ClientInfo__Capability capability =
        LIVEKIT__CLIENT_INFO__CAPABILITY__CAP_PACKET_TRAILER;
    info->capabilities = &capability;
    info->n_capabilities = c->conf.knows_trailers;
    j->client_info = info;
    j->connection_settings = settings;
    LK_SET_STR(j, metadata, c->conf.join_metadata);
}

struct room_client *room_client_new(struct room_harness *h, const struct room_client_conf *conf)
{
    struct room_client *const c = NEW(struct room_client);
    room_must(c != NULL, "memory");
    c->h = h;
    c->conf = *conf;
    c->number = ++h->last_client;
    c->rng.s = c->number * 77;
    room_data_init(&c->data);
    (void)snprintf(c->identity, sizeof(c->identity), "%s", conf->identity);
    (void)snprintf(c->room, sizeof(c->room), "%s", conf->room != NULL ? conf->room : "room");
    DL_APPEND(h->clients, c);
    return c;
}

struct room_client *room_client_join(struct room_harness *h, const struct room_client_conf *conf)
{
    struct room_client *const c = room_client_new(h, conf);
    Livekit__JoinRequest j;
    Livekit__ClientInfo info;
    Livekit__ConnectionSettings settings;
    Livekit__SessionDescription d = LIVEKIT__SESSION_DESCRIPTION__INIT;
    join_message(c, &j, &info, &settings);
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    if (!conf->v0) {
        c->publisher = room_pc_new(c, false);
        add_placeholders(c, 3, 3);
        room_must(jsep_add_data_section(c->publisher->jsep) == 0, "data section");
        if (!conf->no_offer && !conf->silent) {
            room_pc_write_offer(c->publisher, false, &b);
            LK_SET_STR(&d, type, "offer");
            LK_SET_STR(&d, sdp, dynbuf_cstr(&b));
            LK_SET(&d, id, c->publisher->offer_id);
            j.publisher_offer = &d;
        }
    }
    room_client_connect(c, &j);
    dynbuf_done(&b);
    return c;
}

void room_client_resume(struct room_client *c)
{
    Livekit__JoinRequest j;
    Livekit__ClientInfo info;
    Livekit__ConnectionSettings settings;
    join_message(c, &j, &info, &settings);
    LK_SET(&j, reconnect, true);
    LK_SET_STR(&j, participant_sid, c->sid);
    c->reconnected = c->left = false;
    room_client_connect(c, &j);
}

void room_client_drop_socket(struct room_client *c)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_SESSION_CLOSED, c->session);
    room_must(m != NULL, "memory");
    c->session = HANDLE_NONE;
    room_harness_post(c->h, m);
}

void room_client_set_vanished(struct room_client *c, bool vanished)
{
    struct vnet_link const dead = {.down = true};
    struct vnet_link const alive = {.delay_us = 10000};
    struct room_pc *const pcs[2] = {c->publisher, c->subscriber};
    c->vanished = vanished;
    for (size_t i = 0; i < 2; i++) {
        if (pcs[i] != NULL) {
            vnet_set_link(c->h->net, &pcs[i]->addr, NULL, vanished ? &dead : &alive);
            vnet_set_link(c->h->net, NULL, &pcs[i]->addr, vanished ? &dead : &alive);
        }
    }
}

void room_client_free(struct room_client *c)
{
    DL_DELETE(c->h->clients, c);
    for (size_t i = 0; i < c->sender_count; i++) {
        room_sender_free(c->senders[i]);
    }
    while (c->streams != NULL) {
        struct room_stream *const s = c->streams;
        DL_DELETE(c->streams, s);
        room_stream_free(s);
    }
    for (size_t i = 0; i < c->peer_count; i++) {
        mem_free(c->peers[i].tracks);
    }
    room_pc_free(c->publisher);
    room_pc_free(c->subscriber);
    room_data_done(&c->data);
    mem_free(c);
}

// ---- what is known --------------------------------------------------------------------------

bool room_client_active(const struct room_client *c)
{
    const struct room_pc *const p =
        c->conf.v0 && !c->conf.no_subscribe ? c->subscriber : c->publisher;
    return p != NULL && p->state == PEER_CONNECTION_CONNECTED;
}

const struct room_peer *room_client_peer(const struct room_client *c, const char *identity)
{
    const struct room_peer *found = NULL;
    for (size_t i = 0; i < c->peer_count; i++) {
        if (strcmp(c->peers[i].identity, identity) == 0) {
            found = &c->peers[i]; // the newest session
        }
    }
    return found;
}

struct room_stream *room_client_stream(const struct room_client *c, const char *track_sid)
{
    struct room_stream *s = c->streams;
    while (s != NULL && strcmp(s->track_sid, track_sid) != 0) {
        s = s->next;
    }
    return s;
}

// ---- time -----------------------------------------------------------------------------------

void room_client_datagram(struct room_harness *h, const struct vnet_datagram *d)
{
    struct room_client *c = NULL;
    DL_FOREACH(h->clients, c)
    {
        struct room_pc *const pcs[2] = {c->publisher, c->subscriber};
        for (size_t i = 0; i < 2; i++) {
            if (pcs[i] != NULL && addr_eq(&pcs[i]->addr, &d->dst)) {
                room_pc_input(pcs[i], d);
                return;
            }
        }
    }
}

static bool has_media(const struct room_client *c)
{
    return c->sender_count > 0 || c->streams != NULL;
}

mono_t room_clients_deadline(const struct room_harness *h)
{
    mono_t next = sctp_hub_deadline(h->client_hub);
    const struct room_client *c = NULL;
    DL_FOREACH(h->clients, c)
    {
        next = c->publisher != NULL ? mono_min(next, room_pc_deadline(c->publisher)) : next;
        next = c->subscriber != NULL ? mono_min(next, room_pc_deadline(c->subscriber)) : next;
        next = has_media(c) ? mono_min(next, c->next_media) : next;
    }
    return next;
}

static void tick_media(struct room_client *c)
{
    struct room_pc *const receiving = c->conf.v0 ? c->subscriber : c->publisher;
    c->next_media = mono_add_us(c->h->now, MEDIA_TICK_US);
    for (size_t i = 0; i < c->sender_count; i++) {
        if (c->publisher != NULL && c->publisher->state == PEER_CONNECTION_CONNECTED) {
            c->publisher->ep.now = c->h->now;
            room_sender_tick(c->senders[i], c->publisher);
        }
    }
    if (receiving != NULL && receiving->state == PEER_CONNECTION_CONNECTED) {
        receiving->ep.now = c->h->now;
        room_streams_tick(c, receiving);
    }
}

static void tick_pc(struct room_pc *p)
{
    if (p != NULL) {
        room_pc_tick(p);
    }
}

void room_clients_tick(struct room_harness *h)
{
    if (mono_reached(sctp_hub_deadline(h->client_hub), h->now)) {
        sctp_hub_tick(h->client_hub, h->now);
    }
    for (struct sctp_transport *s = NULL; (s = sctp_hub_next_ready(h->client_hub)) != NULL;) {
        struct room_pc *const p = peer_connection_user(peer_connection_of_sctp(s));
        room_pc_sctp_ready(p);
    }
    struct room_client *c = NULL;
    DL_FOREACH(h->clients, c)
    {
        if (has_media(c) && mono_reached(c->next_media, h->now)) {
            tick_media(c);
        }
        tick_pc(c->publisher);
        tick_pc(c->subscriber);
    }
}
