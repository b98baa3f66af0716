// SPDX-License-Identifier: Apache-2.0
// What a room_client does with the server's messages, and what it does not let pass.
#include <stdio.h>

#include "common/base/hash.h"
#include "common/lk/sid.h"
#include "tests/support/room_client.h"

// ---- participants ---------------------------------------------------------------------------

static struct room_peer *need_peer(struct room_client *c, const char *sid)
{
    for (size_t i = 0; i < c->peer_count; i++) {
        if (strcmp(c->peers[i].sid, sid) == 0) {
            return &c->peers[i];
        }
    }
    if (c->peer_count == ROOM_CLIENT_PEERS) {
        room_harness_violation(c->h, "more sessions than a test client remembers");
        return NULL;
    }
    struct room_peer *const p = &c->peers[c->peer_count++];
    *p = (struct room_peer){0};
    (void)snprintf(p->sid, sizeof(p->sid), "%s", sid);
    return p;
}

static uint32_t bound_layers(const Livekit__TrackInfo *t)
{
    uint32_t n = 0;
    for (size_t i = 0; t->n_codecs > 0 && i < t->codecs[0]->n_layers; i++) {
        n += t->codecs[0]->layers[i]->ssrc != 0;
    }
    return n;
}

static void learn_peer(struct room_client *c, const Livekit__ParticipantInfo *info)
{
    struct room_harness *const h = c->h;
    const char *const sid = lk_str(info->sid);
    if (!sid_has_prefix(sid, SID_PARTICIPANT) ||
        (info->permission == NULL &&
         info->state != LIVEKIT__PARTICIPANT_INFO__STATE__DISCONNECTED)) {
        room_harness_violation(h, "a participant without sid or permission");
        return;
    }
    struct room_peer *const p = need_peer(c, sid);
    if (p == NULL) {
        return;
    }
    // Back from the end comes only who was hidden meanwhile, with a newer version.
    bool const is_back =
        p->state == LIVEKIT__PARTICIPANT_INFO__STATE__DISCONNECTED && info->version > p->version;
    if (info->version < p->version || ((int)info->state < p->state && !is_back)) {
        room_harness_violation(h, "%s was told version %u state %d of %s after %u %d", c->identity,
                               info->version, (int)info->state, sid, p->version, p->state);
    }
    if (info->state == LIVEKIT__PARTICIPANT_INFO__STATE__DISCONNECTED && info->n_tracks > 0) {
        room_harness_violation(h, "a disconnected participant with tracks");
    }
    if (info->state != LIVEKIT__PARTICIPANT_INFO__STATE__DISCONNECTED &&
        strcmp(lk_str(info->region), h->conf.region) != 0) {
        room_harness_violation(h, "%s was told another region than ours", c->identity);
    }
    (void)snprintf(p->identity, sizeof(p->identity), "%s", lk_str(info->identity));
    (void)snprintf(p->name, sizeof(p->name), "%s", lk_str(info->name));
    p->version = info->version;
    p->state = (int)info->state;
    p->reason = (int)info->disconnect_reason;
    p->publisher = info->is_publisher;
    if (info->n_tracks > p->track_cap) {
        p->tracks = mem_regrow(p->tracks, info->n_tracks, sizeof(*p->tracks));
        room_must(p->tracks != NULL, "memory");
        p->track_cap = info->n_tracks;
    }
    p->track_count = info->n_tracks;
    p->data_track_count = MIN(info->n_data_tracks, (size_t)ROOM_DATA_TRACKS);
    for (size_t i = 0; i < p->data_track_count; i++) {
        (void)snprintf(p->data_tracks[i], sizeof(p->data_tracks[i]), "%s",
                       lk_str(info->data_tracks[i]->sid));
    }
    for (size_t i = 0; i < p->track_count; i++) {
        (void)snprintf(p->tracks[i].sid, sizeof(p->tracks[i].sid), "%s",
                       lk_str(info->tracks[i]->sid));
        (void)snprintf(p->tracks[i].mime, sizeof(p->tracks[i].mime), "%s",
                       lk_str(info->tracks[i]->mime_type));
        p->tracks[i].muted = info->tracks[i]->muted;
        p->tracks[i].layers_with_ssrc = bound_layers(info->tracks[i]);
    }
}

static bool knows_track(const struct room_client *c, const char *stream, const char *track)
{
    for (size_t i = 0; i < c->peer_count; i++) {
        const struct room_peer *const p = &c->peers[i];
        size_t const n = strlen(p->sid);
        if (strncmp(stream, p->sid, n) != 0 || stream[n] != '|') {
            continue;
        }
        for (size_t k = 0; k < p->track_count; k++) {
            if (strcmp(p->tracks[k].sid, track) == 0) {
                return true;
            }
        }
    }
    return false;
}

// livekit-protocol 4.4: the publisher's info must have come before the description that carries the
// track, or clients drop the track for good.
static void check_known(struct room_client *c, const struct room_pc *p,
                        const Livekit__SessionDescription *d)
{
    size_t carried = 0;
    for (size_t i = 0; i < jsep_count(p->jsep); i++) {
        const struct jsep_transceiver *const t = jsep_at(p->jsep, i);
        if (t->remote == NULL || t->stopped || t->remote->track_id[0] == 0) {
            continue;
        }
        carried++;
        if (!knows_track(c, t->remote->stream_id, t->remote->track_id)) {
            room_harness_violation(c->h, "%s got a description with %s before its update",
                                   c->identity, t->remote->stream_id);
        }
        bool mapped = false;
        for (size_t k = 0; k < d->n_mid_to_track_id; k++) {
            mapped |= strcmp(d->mid_to_track_id[k]->key, t->mid) == 0 &&
                      strcmp(d->mid_to_track_id[k]->value, t->remote->track_id) == 0;
        }
        if (!mapped) {
            room_harness_violation(c->h, "mid %s is missing in mid_to_track_id", t->mid);
        }
    }
    if (carried != d->n_mid_to_track_id) {
        room_harness_violation(c->h, "mid_to_track_id names %zu tracks, the text carries %zu",
                               d->n_mid_to_track_id, carried);
    }
}

// ---- messages -------------------------------------------------------------------------------

static void on_join(struct room_client *c, const Livekit__JoinResponse *j)
{
    if (j->room == NULL || j->participant == NULL || j->server_info == NULL ||
        *lk_str(j->server_version) == 0 || !sid_has_prefix(lk_str(j->room->sid), SID_ROOM)) {
        room_harness_violation(c->h, "an incomplete join response");
        return;
    }
    c->joined = true;
    (void)snprintf(c->sid, sizeof(c->sid), "%s", lk_str(j->participant->sid));
    learn_peer(c, j->participant);
    for (size_t i = 0; i < j->n_other_participants; i++) {
        learn_peer(c, j->other_participants[i]);
    }
    if (c->conf.scripted) {
        return;
    }
    if (c->conf.no_offer) {
        room_client_offer(c, false);
    } else if (c->conf.v0 && !c->conf.no_publish && !c->conf.silent) {
        room_client_offer(c, false); // fast_publish
    }
}

static void on_answer(struct room_client *c, const Livekit__SessionDescription *d)
{
    struct room_pc *const p = c->publisher;
    if (p == NULL || d->id > p->offer_id) {
        room_harness_violation(c->h, "an answer to no offer");
        return;
    }
    if (d->id != p->offer_id) {
        return; // replaced meanwhile
    }
    if (!room_pc_set_answer(p, lk_str(d->sdp))) {
        room_harness_violation(c->h, "%s cannot use an answer", c->identity);
        return;
    }
    check_known(c, p, d);
    if (p->offer_again && !c->conf.scripted) {
        room_client_offer(c, false);
    }
}

// Makes the port of all such sections 0.
static void reject(char *sdp, const char *line)
{
    for (char *m = sdp; (m = strstr(m, line)) != NULL;) {
        m += strlen(line);
        m[-1] = '0';
    }
}

static void on_offer(struct room_client *c, const Livekit__SessionDescription *d)
{
    if (!c->conf.v0) {
        room_harness_violation(c->h, "a server offer in v1");
        return;
    }
    if (c->subscriber == NULL) {
        c->subscriber = room_pc_new(c, true);
    }
    if (c->conf.silent) {
        return;
    }
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    if (!room_pc_answer(c->subscriber, lk_str(d->sdp), &b)) {
        room_harness_violation(c->h, "%s cannot use an offer", c->identity);
    } else {
        check_known(c, c->subscriber, d);
        Livekit__SessionDescription a = LIVEKIT__SESSION_DESCRIPTION__INIT;
        LK_SET_STR(&a, type, "answer");
        if (c->conf.rejects_video) {
            reject(lk_unconst_str(dynbuf_cstr(&b)), "m=video 9");
        }
        LK_SET_STR(&a, sdp, dynbuf_cstr(&b));
        LK_SET(&a, id, d->id);
        Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_ANSWER;
        r.answer = &a;
        room_client_request(c, &r);
    }
    dynbuf_done(&b);
}

static void add_sections(struct room_client *c, enum jsep_kind kind, uint32_t n)
{
    struct jsep_transceiver *t = NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (jsep_add_receiver_section(c->publisher->jsep, kind, &t) < 0) {
            room_harness_violation(c->h, "%s was asked for more sections than there may be",
                                   c->identity);
            return;
        }
    }
}

static void on_requirement(struct room_client *c, const Livekit__MediaSectionsRequirement *m)
{
    c->requirements++;
    c->required_audio += m->num_audios;
    c->required_video += m->num_videos;
    if (c->conf.v0) {
        room_harness_violation(c->h, "media_sections_requirement in v0");
        return;
    }
    if (c->conf.no_sections || c->conf.scripted) {
        return;
    }
    if (!c->conf.silent) {
        add_sections(c, JSEP_AUDIO, m->num_audios);
        add_sections(c, JSEP_VIDEO, m->num_videos);
    }
    room_client_offer(c, false);
}

static void on_track_published(struct room_client *c, const Livekit__TrackPublishedResponse *m)
{
    c->track_published++;
    for (size_t i = 0; i < c->sender_count; i++) {
        struct room_sender *const s = c->senders[i];
        if (strcmp(s->cid, lk_str(m->cid)) == 0 && m->track != NULL) {
            (void)snprintf(s->sid, sizeof(s->sid), "%s", lk_str(m->track->sid));
        }
    }
}

static struct room_peer *known_peer(struct room_client *c, const char *sid)
{
    for (size_t i = 0; i < c->peer_count; i++) {
        if (strcmp(c->peers[i].sid, sid) == 0) {
            return &c->peers[i];
        }
    }
    room_harness_violation(c->h, "%s was told of %s, whom it does not know", c->identity, sid);
    return NULL;
}

// As livekit-client does: mutes the track for real and says so itself.
static void on_mute(struct room_client *c, const Livekit__MuteTrackRequest *m)
{
    c->mutes++;
    for (size_t i = 0; i < c->sender_count; i++) {
        if (!c->conf.scripted && strcmp(c->senders[i]->sid, lk_str(m->sid)) == 0) {
            room_client_mute(c, c->senders[i], m->muted);
        }
    }
}

static struct room_sender *sender_of(const struct room_client *c, const char *sid)
{
    for (size_t i = 0; i < c->sender_count; i++) {
        if (strcmp(c->senders[i]->sid, sid) == 0) {
            return c->senders[i];
        }
    }
    return NULL;
}

static int best_quality(Livekit__SubscribedQuality *const *v, size_t n)
{
    int best = -1;
    for (size_t i = 0; i < n; i++) {
        best = v[i]->enabled ? MAX(best, (int)v[i]->quality) : best;
    }
    return best;
}

// livekit-protocol 4.9.3.
static void on_quality_update(struct room_client *c, const Livekit__SubscribedQualityUpdate *u)
{
    struct room_sender *const s = sender_of(c, lk_str(u->track_sid));
    if (s == NULL) {
        return; // published by the test itself
    }
    if (s->media == ROOM_AUDIO) {
        room_harness_violation(c->h, "%s got qualities of %s", c->identity, lk_str(u->track_sid));
        return;
    }
    s->quality_updates++;
    s->quality_count = 0;
    for (size_t i = 0; i < u->n_subscribed_codecs && i < ARRAY_LEN(s->qualities); i++) {
        const Livekit__SubscribedCodec *const sc = u->subscribed_codecs[i];
        if (sc->n_qualities != 3) {
            room_harness_violation(c->h, "%zu qualities", sc->n_qualities);
        }
        struct room_quality *const q = &s->qualities[s->quality_count++];
        (void)snprintf(q->codec, sizeof(q->codec), "%s", lk_str(sc->codec));
        q->best = best_quality(sc->qualities, sc->n_qualities);
    }
    if (s->quality_count == 0 ||
        best_quality(u->subscribed_qualities, u->n_subscribed_qualities) != s->qualities[0].best) {
        room_harness_violation(c->h, "the old list of qualities differs from the new one");
        return;
    }
    room_client_dynacast(c, s);
}

static void on_speakers(struct room_client *c, const Livekit__SpeakersChanged *m)
{
    c->speakers++;
    for (size_t i = 0; i < m->n_speakers; i++) {
        (void)snprintf(c->speaker, sizeof(c->speaker), "%s", lk_str(m->speakers[i]->sid));
        c->speaker_active = m->speakers[i]->active;
        struct room_peer *const p = known_peer(c, lk_str(m->speakers[i]->sid));
        if (p != NULL) {
            p->speaking = m->speakers[i]->active;
            p->level = m->speakers[i]->level;
        }
    }
}

// livekit-protocol 4.14: only itself and those it receives; nothing by default values.
static void on_quality(struct room_client *c, const Livekit__ConnectionQualityUpdate *m)
{
    c->quality_updates++;
    for (size_t i = 0; i < m->n_updates; i++) {
        const Livekit__ConnectionQualityInfo *const e = m->updates[i];
        struct room_peer *const p = known_peer(c, lk_str(e->participant_sid));
        if (!e->has_score || e->score < 1.0F || e->score > 4.5F) {
            room_harness_violation(c->h, "%s was told a quality without a score", c->identity);
        }
        bool heard = strcmp(lk_str(e->participant_sid), c->sid) == 0;
        const struct room_stream *s = NULL;
        DL_FOREACH(c->streams, s)
        {
            heard |= strcmp(s->publisher_sid, lk_str(e->participant_sid)) == 0;
        }
        if (!heard) {
            room_harness_violation(c->h, "%s was told the quality of %s, whom it does not receive",
                                   c->identity, lk_str(e->participant_sid));
        }
        if (e->quality == LIVEKIT__CONNECTION_QUALITY__LOST && c->conf.protocol != 0 &&
            c->conf.protocol <= 10) {
            room_harness_violation(c->h, "LOST was told to an old client");
        }
        if (p != NULL) {
            p->qualities++;
            p->quality = (int)e->quality;
            p->score = e->score;
        }
    }
}

static void on_update(struct room_client *c, const Livekit__ParticipantUpdate *u)
{
    c->updates++;
    for (size_t i = 0; i < u->n_participants; i++) {
        learn_peer(c, u->participants[i]);
    }
}

static void on_permission_update(struct room_client *c,
                                 const Livekit__SubscriptionPermissionUpdate *m)
{
    if (!sid_has_prefix(lk_str(m->participant_sid), SID_PARTICIPANT) ||
        (!sid_has_prefix(lk_str(m->track_sid), SID_TRACK) &&
         !sid_has_prefix(lk_str(m->track_sid), SID_DATA_TRACK))) {
        room_harness_violation(c->h, "a permission about nothing");
    }
    (void)snprintf(c->permission_sid, sizeof(c->permission_sid), "%s", lk_str(m->track_sid));
    c->permitted += m->allowed ? 1 : 0;
    c->withheld += m->allowed ? 0 : 1;
}

static void on_stream_state(struct room_client *c, const Livekit__StreamStateUpdate *m)
{
    c->streams_started += (unsigned)m->n_stream_states;
    if (!c->conf.v0) {
        room_harness_violation(c->h, "stream_state_update in v1");
    }
}

// What livekit-client says first after a resume: its published tracks, and that everything else is
// as the settings of the join say.
static void send_sync_state(struct room_client *c)
{
    Livekit__SyncState s = LIVEKIT__SYNC_STATE__INIT;
    Livekit__UpdateSubscription sub = LIVEKIT__UPDATE_SUBSCRIPTION__INIT;
    struct {
        Livekit__TrackPublishedResponse published;
        Livekit__TrackInfo info;
    } *const tracks = mem_array(ROOM_CLIENT_SENDERS, sizeof(*tracks));
    Livekit__TrackPublishedResponse *list[ROOM_CLIENT_SENDERS];
    room_must(tracks != NULL, "memory");
    LK_SET(&sub, subscribe, c->conf.no_auto_subscribe);
    s.subscription = &sub;
    s.publish_tracks = list;
    for (size_t i = 0; i < c->sender_count; i++) {
        if (c->senders[i]->section == NULL || c->senders[i]->sid[0] == 0) {
            continue;
        }
        livekit__track_published_response__init(&tracks[i].published);
        livekit__track_info__init(&tracks[i].info);
        LK_SET_STR(&tracks[i].info, sid, c->senders[i]->sid);
        LK_SET_STR(&tracks[i].published, cid, c->senders[i]->cid);
        tracks[i].published.track = &tracks[i].info;
        list[s.n_publish_tracks++] = &tracks[i].published;
    }
    room_data_track_sync(c, &s);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SYNC_STATE;
    r.sync_state = &s;
    room_client_request(c, &r);
    mem_free(tracks);
}

static void on_reconnect(struct room_client *c, const Livekit__ReconnectResponse *m)
{
    c->last_message_seq = m->last_message_seq;
    c->reconnected = true;
    if (c->conf.scripted) {
        return;
    }
    send_sync_state(c);
    // livekit-client in v1 always restarts ICE; in v0 if its publisher connection is in use.
    if (c->publisher != NULL && !c->conf.silent) {
        room_client_offer(c, true);
    }
}

static void on_response(struct room_client *c, const Livekit__SignalResponse *m)
{
    switch (m->message_case) {
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_JOIN:
        on_join(c, m->join);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_RECONNECT:
        on_reconnect(c, m->reconnect);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ANSWER:
        on_answer(c, m->answer);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_OFFER:
        on_offer(c, m->offer);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UPDATE:
        on_update(c, m->update);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_TRACK_PUBLISHED:
        on_track_published(c, m->track_published);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_LEAVE:
        c->left = true;
        c->leave_reason = (int)m->leave->reason;
        c->leave_action = (int)m->leave->action;
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_MEDIA_SECTIONS_REQUIREMENT:
        on_requirement(c, m->media_sections_requirement);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_SPEAKERS_CHANGED:
        on_speakers(c, m->speakers_changed);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_CONNECTION_QUALITY:
        on_quality(c, m->connection_quality);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REQUEST_RESPONSE:
        c->refusals += m->request_response->reason != LIVEKIT__REQUEST_RESPONSE__REASON__OK;
        c->last_refusal = (int)m->request_response->reason;
        room_data_track_refusal(c, m->request_response);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_MUTE:
        on_mute(c, m->mute);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_TRACK_SUBSCRIBED:
        c->track_subscribed++;
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_SUBSCRIPTION_RESPONSE:
        c->subscription_errors++;
        c->subscription_refusals[(unsigned)m->subscription_response->err % 3]++;
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_SUBSCRIPTION_PERMISSION_UPDATE:
        on_permission_update(c, m->subscription_permission_update);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_STREAM_STATE_UPDATE:
        on_stream_state(c, m->stream_state_update);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG:
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG_RESP:
        c->pongs++;
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_TRACK_UNPUBLISHED:
        c->track_unpublished++;
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_SUBSCRIBED_QUALITY_UPDATE:
        on_quality_update(c, m->subscribed_quality_update);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ROOM_UPDATE:
        if (m->room_update->room == NULL ||
            !sid_has_prefix(lk_str(m->room_update->room->sid), SID_ROOM)) {
            room_harness_violation(c->h, "a room update without a room");
        }
        c->room_updates++;
        break;
    default:
        if (!room_data_track_response(c, m)) {
            room_harness_violation(c->h, "a message of kind %d", (int)m->message_case);
        }
        break;
    }
}

// livekit-protocol 3.1: nothing before join, reconnect or leave on a new socket.
static void check_first(struct room_client *c, const Livekit__SignalResponse *m)
{
    bool const may_be_first = m->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_JOIN ||
                              m->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_RECONNECT ||
                              m->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_LEAVE;
    if (!c->first_seen && !may_be_first) {
        room_harness_violation(c->h, "the first message is of kind %d", (int)m->message_case);
    }
    c->first_seen = true;
}

static struct room_client *by_session(struct room_harness *h, handle_t session)
{
    struct room_client *c = h->clients;
    while (c != NULL && !handle_eq(c->session, session)) {
        c = c->next;
    }
    return c;
}

void room_client_deliver(struct room_harness *h, struct channel_msg *msg)
{
    struct room_client *const c = by_session(h, msg->handle);
    if (c == NULL || c->vanished) {
        return;
    }
    if (c->closed) {
        room_harness_violation(h, "%s got a message after its close", c->identity);
        return;
    }
    if (msg->type == CHANNEL_CLOSE) {
        c->closed = true;
        c->refused = c->first_seen ? 0 : msg->u.close.http_status;
        if (!c->first_seen && c->refused == 0) {
            room_harness_violation(h, "%s was closed without a word", c->identity);
        }
        return;
    }
    struct pbuf *rsp = NULL;
    if (lk_unpack_signal_response(shared_buf_view(msg->u.send.data), &rsp) < 0) {
        room_harness_violation(h, "a message that cannot be decoded");
        return;
    }
    c->messages++;
    if (c->kind_count < ROOM_CLIENT_KINDS) {
        c->kinds[c->kind_count++] =
            (uint8_t)((const Livekit__SignalResponse *)rsp->msg)->message_case;
    }
    check_first(c, rsp->msg);
    on_response(c, rsp->msg);
    pbuf_free(rsp);
}
