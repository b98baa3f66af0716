// SPDX-License-Identifier: Apache-2.0
// What the server says, and what follows from it: descriptions, tracks, participants.
#include <stdio.h>

#include "common/base/mem.h"
#include "common/svc/jsonx.h"
#include "common/sys/clock.h"
#include "tests/support/test_client_internal.h"

#define PING_DEFAULT_S 5 // livekit's ping_interval

// ---- transports ---------------------------------------------------------------------------------

static bool is_needed(const struct test_client *c, size_t i)
{
    return c->pc[i] != NULL && (i == CLIENT_SUBSCRIBER || !c->conf.v0 || c->sender_count > 0);
}

static void note_connected(struct test_client *c)
{
    bool connected = true;
    bool sctp = !c->conf.no_data;
    for (size_t i = 0; i < 2; i++) {
        if (is_needed(c, i)) {
            connected = connected && client_pc_is_connected(c->pc[i]);
            sctp = sctp && c->pc[i]->sctp == SCTP_STATE_UP;
        }
    }
    c->status.sctp_up = sctp;
    if (connected && !c->status.connected) {
        c->status.connected = true;
        c->status.connected_at = c->net->now;
        test_client_emit_(c, TEST_CLIENT_CONNECTED);
    }
}

static void on_pc_state(void *user, struct client_pc *pc)
{
    struct test_client *const c = user;
    if (pc->state == PEER_CONNECTION_FAILED && !c->leaving) {
        char text[80];
        (void)snprintf(text, sizeof(text), "%s transport failed: %s",
                       pc == c->pc[CLIENT_PUBLISHER] ? "publisher" : "subscriber",
                       peer_connection_failure_name(pc->failure));
        test_client_finish_(c, true, text);
        return;
    }
    note_connected(c);
}

int test_client_make_pc_(struct test_client *c, size_t i)
{
    struct client_pc_conf const conf = {
        .net = c->net,
        .local = c->local,
        .single_pc = !c->conf.v0,
        .headers_only = c->conf.headers_only,
        .stamps = c->conf.stamps,
        .on_state = on_pc_state,
        .user = c,
    };
    return client_pc_new(&conf, &c->pc[i]);
}

int test_client_add_spare_(struct test_client *c, uint32_t audio, uint32_t video)
{
    struct jsep_transceiver *t = NULL;
    int rc = 0;
    for (uint32_t i = 0; i < audio && rc == 0; i++) {
        rc = jsep_add_receiver_section(c->pc[CLIENT_PUBLISHER]->jsep, JSEP_AUDIO, &t);
    }
    for (uint32_t i = 0; i < video && rc == 0; i++) {
        rc = jsep_add_receiver_section(c->pc[CLIENT_PUBLISHER]->jsep, JSEP_VIDEO, &t);
    }
    return rc;
}

// ---- negotiation --------------------------------------------------------------------------------

// Our next offer, unless one is out: then the next one follows its answer.
static void negotiate(struct test_client *c)
{
    struct dynbuf sdp;
    if (c->outstanding || c->ws == NULL) {
        c->need_offer = true;
        return;
    }
    dynbuf_init(&sdp, JSEP_MAX_TEXT);
    int rc = client_pc_create_offer(c->pc[CLIENT_PUBLISHER], &sdp);
    if (rc == 0) {
        rc = client_signal_offer(c->ws, dynbuf_view(&sdp), ++c->offer_id);
    }
    dynbuf_done(&sdp);
    c->outstanding = rc == 0;
    c->need_offer = false;
    c->status.offers_sent += rc == 0;
    test_client_must_(c, rc, "offer");
}

static void trickle(struct test_client *c, size_t i)
{
    char line[CANDIDATE_TEXT_CAP];
    if (c->trickled[i]) {
        return;
    }
    c->trickled[i] = true;
    client_pc_local_candidate(c->pc[i], line);
    int rc = client_signal_trickle(c->ws, i == CLIENT_SUBSCRIBER, line);
    if (rc == 0) {
        rc = client_signal_trickle(c->ws, i == CLIENT_SUBSCRIBER, "");
    }
    test_client_must_(c, rc, "trickle");
}

static void on_answer(struct test_client *c, const Livekit__SessionDescription *d)
{
    // livekit-client: an answer to another offer than the last one is none.
    if (!c->outstanding || (d->id != 0 && d->id != c->offer_id)) {
        return;
    }
    c->status.answers++;
    c->outstanding = false;
    int const rc = client_pc_set_answer(c->pc[CLIENT_PUBLISHER], bytes_str(lk_str(d->sdp)));
    test_client_must_(c, rc, "answer of the server");
    if (rc < 0) {
        return;
    }
    trickle(c, CLIENT_PUBLISHER);
    if (c->need_offer) {
        negotiate(c);
    }
    note_connected(c);
}

static void on_offer(struct test_client *c, const Livekit__SessionDescription *d)
{
    struct dynbuf sdp;
    if (c->pc[CLIENT_SUBSCRIBER] == NULL) {
        test_client_finish_(c, true, "the server offered although it must only answer");
        return;
    }
    c->status.offers_received++;
    dynbuf_init(&sdp, JSEP_MAX_TEXT);
    int rc = client_pc_answer(c->pc[CLIENT_SUBSCRIBER], bytes_str(lk_str(d->sdp)), &sdp);
    test_client_must_(c, rc, "offer of the server");
    if (rc == 0) {
        rc = client_signal_answer(c->ws, dynbuf_view(&sdp), d->id);
        test_client_must_(c, rc, "answer");
    }
    dynbuf_done(&sdp);
    if (rc == 0) {
        trickle(c, CLIENT_SUBSCRIBER);
        note_connected(c);
    }
}

static void on_trickle(struct test_client *c, const Livekit__TrickleRequest *t)
{
    struct client_pc *const pc =
        t->target == LIVEKIT__SIGNAL_TARGET__SUBSCRIBER && c->pc[CLIENT_SUBSCRIBER] != NULL
            ? c->pc[CLIENT_SUBSCRIBER]
            : c->pc[CLIENT_PUBLISHER];
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    struct bytes line;
    if (pc == NULL || t->candidateinit == NULL) {
        return;
    }
    int rc = jsonx_parse(bytes_str(t->candidateinit), &JSONX_LIMITS_DEFAULT, &j);
    if (rc == 0 && jsonx_get_str(j, "candidate", &line) == 0) {
        client_pc_add_candidate(pc, line);
    }
    test_client_must_(c, rc, "trickled candidate");
}

static void on_sections(struct test_client *c, const Livekit__MediaSectionsRequirement *m)
{
    c->status.sections_asked += m->num_audios + m->num_videos;
    test_client_must_(c, test_client_add_spare_(c, m->num_audios, m->num_videos), "media sections");
    negotiate(c);
}

// ---- publishing ---------------------------------------------------------------------------------

static int announce(struct test_client *c, struct client_sender *s)
{
    int rc = client_pc_add_sender(c->pc[CLIENT_PUBLISHER], s);
    if (rc == 0) {
        rc = client_signal_add_track(c->ws, s);
    }
    return rc;
}

int test_client_publish(struct test_client *c, const struct client_track_conf *conf,
                        size_t *ret_index)
{
    struct client_sender *s = NULL;
    size_t const index = c->sender_count;
    if (index == CLIENT_SENDERS_MAX) {
        return -E2BIG;
    }
    client_net_refresh(c->net);
    int rc = client_sender_new(c->net, NULL, conf, c->conf.id, (uint8_t)index, &s);
    if (rc < 0) {
        return rc;
    }
    c->senders[c->sender_count++] = s;
    if (c->status.joined) {
        s->pc = c->pc[CLIENT_PUBLISHER];
        rc = announce(c, s);
        if (rc == 0) {
            negotiate(c);
        }
    }
    if (ret_index != NULL) {
        *ret_index = index;
    }
    return rc;
}

int test_client_unpublish(struct test_client *c, size_t index)
{
    if (index >= c->sender_count || c->senders[index]->section == NULL) {
        return -ENOENT;
    }
    client_net_refresh(c->net);
    client_sender_set_paused(c->senders[index], true);
    client_pc_remove_sender(c->pc[CLIENT_PUBLISHER], c->senders[index]);
    negotiate(c);
    return 0;
}

int test_client_mute(struct test_client *c, size_t index, bool muted)
{
    if (index >= c->sender_count) {
        return -ENOENT;
    }
    client_net_refresh(c->net);
    client_sender_set_muted(c->senders[index], muted);
    return client_signal_mute(c->ws, c->senders[index]->sid, muted);
}

void test_client_pause(struct test_client *c, bool paused)
{
    client_net_refresh(c->net);
    for (size_t i = 0; i < c->sender_count; i++) {
        client_sender_set_paused(c->senders[i], paused);
    }
}

static void on_track_published(struct test_client *c, const Livekit__TrackPublishedResponse *t)
{
    for (size_t i = 0; i < c->sender_count && t->track != NULL; i++) {
        struct client_sender *const s = c->senders[i];
        if (strcmp(s->cid, lk_str(t->cid)) == 0) {
            (void)snprintf(s->sid, sizeof(s->sid), "%s", lk_str(t->track->sid));
            c->status.published++;
            test_client_emit_(c, TEST_CLIENT_PUBLISHED);
        }
    }
}

// ---- session ------------------------------------------------------------------------------------

static void note_participant(struct test_client *c, const Livekit__ParticipantInfo *p)
{
    struct remote *r = NULL;
    const char *const sid = lk_str(p->sid);
    if (strcmp(sid, c->status.sid) == 0 || strlen(sid) >= sizeof(r->sid)) {
        return;
    }
    HASH_FIND_STR(c->remotes, sid, r);
    if (p->state == LIVEKIT__PARTICIPANT_INFO__STATE__DISCONNECTED) {
        if (r != NULL) {
            c->status.remote_tracks -= r->tracks;
            c->status.participants--;
            HASH_DEL(c->remotes, r);
            mem_free(r);
        }
        return;
    }
    if (r == NULL) {
        r = NEW(struct remote);
        if (r == NULL) {
            return;
        }
        (void)snprintf(r->sid, sizeof(r->sid), "%s", sid);
        HASH_ADD_STR(c->remotes, sid, r);
        c->status.participants++;
    }
    c->status.remote_tracks += (uint32_t)p->n_tracks - r->tracks;
    r->tracks = (uint32_t)p->n_tracks;
}

static void start_pings(struct test_client *c)
{
    c->ping_again = false;
    // The first one at any time: clients that join together, as no people do, would ping together.
    int64_t const first_us = rng_below(&c->net->rng, (uint32_t)c->ping_us);
    client_timer_set(&c->timer, c->net, mono_add_us(c->net->now, first_us));
}

static void on_join(struct test_client *c, const Livekit__JoinResponse *j)
{
    if (c->status.joined || j->participant == NULL) {
        test_client_finish_(c, true, "unexpected join response");
        return;
    }
    c->status.joined = true;
    c->status.joined_at = c->net->now;
    (void)snprintf(c->status.sid, sizeof(c->status.sid), "%s", lk_str(j->participant->sid));
    (void)snprintf(c->status.room_sid, sizeof(c->status.room_sid), "%s",
                   j->room != NULL ? lk_str(j->room->sid) : "");
    (void)snprintf(c->status.server_version, sizeof(c->status.server_version), "%s",
                   j->server_info != NULL ? lk_str(j->server_info->version)
                                          : lk_str(j->server_version));
    for (size_t i = 0; i < j->n_other_participants; i++) {
        note_participant(c, j->other_participants[i]);
    }
    c->ping_us = (j->ping_interval > 0 ? j->ping_interval : PING_DEFAULT_S) * US_PER_S;
    c->ping_us = c->conf.ping_ms > 0 ? c->conf.ping_ms * US_PER_MS : c->ping_us;
    start_pings(c);
    int rc = 0;
    for (size_t i = 0; i < 2 && c->conf.v0 && rc == 0; i++) {
        rc = test_client_make_pc_(c, i);
    }
    if (rc == 0 && c->conf.v0 && !c->conf.no_data) {
        rc = jsep_add_data_section(c->pc[CLIENT_PUBLISHER]->jsep);
    }
    for (size_t i = 0; i < c->sender_count && rc == 0; i++) {
        c->senders[i]->pc = c->pc[CLIENT_PUBLISHER];
        rc = announce(c, c->senders[i]);
    }
    test_client_must_(c, rc, "publish");
    if (c->sender_count > 0) {
        negotiate(c);
    }
    test_client_emit_(c, TEST_CLIENT_JOINED);
}

static void on_reconnect(struct test_client *c)
{
    c->resuming = false;
    c->outstanding = false;
    memset(c->trickled, 0, sizeof(c->trickled));
    test_client_must_(c, client_signal_sync_state(c->ws), "sync state");
    // The server restarts ICE of a v0 subscriber by itself.
    if (!c->conf.v0 || c->sender_count > 0) {
        test_client_must_(c, client_pc_restart(c->pc[CLIENT_PUBLISHER]), "ICE restart");
        negotiate(c);
    }
    start_pings(c);
    test_client_emit_(c, TEST_CLIENT_RESUMED);
}

static void on_leave(struct test_client *c, const Livekit__LeaveRequest *l)
{
    c->status.leave_reason = (int)l->reason;
    c->status.leave_action = (int)l->action;
    if (!c->leaving && l->action != LIVEKIT__LEAVE_REQUEST__ACTION__RESUME) {
        char text[64];
        (void)snprintf(text, sizeof(text), "told to leave: reason %d, action %d", (int)l->reason,
                       (int)l->action);
        test_client_finish_(c, !c->status.joined, text);
    }
}

void test_client_dispatch_(struct test_client *c, const Livekit__SignalResponse *r)
{
    switch (r->message_case) {
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_JOIN:
        on_join(c, r->join);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_RECONNECT:
        on_reconnect(c);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ANSWER:
        on_answer(c, r->answer);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_OFFER:
        on_offer(c, r->offer);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_TRICKLE:
        on_trickle(c, r->trickle);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UPDATE:
        for (size_t i = 0; i < r->update->n_participants; i++) {
            note_participant(c, r->update->participants[i]);
        }
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_TRACK_PUBLISHED:
        on_track_published(c, r->track_published);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_MEDIA_SECTIONS_REQUIREMENT:
        on_sections(c, r->media_sections_requirement);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_LEAVE:
        on_leave(c, r->leave);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG_RESP:
        c->status.pongs++;
        c->ping_rtt_ms = clock_wall().us / US_PER_MS - c->ping_sent_ms;
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_SPEAKERS_CHANGED:
        c->status.speaker_updates++;
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_CONNECTION_QUALITY:
        c->status.quality_updates++;
        break;
    default: // what this client has no use for
        break;
    }
}
