// SPDX-License-Identifier: Apache-2.0
#include "tests/support/test_client.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/svc/jsonx.h"
#include "common/svc/ws_client.h"
#include "common/sys/clock.h"

#define PING_DEFAULT_S 5 // livekit's ping_interval
#define LEAVE_US INT64_C(2000000)

enum { PUB, SUB };

// Someone else in the room.
struct remote {
    UT_hash_handle hh;
    char sid[40];
    uint32_t tracks;
};

struct test_client {
    struct test_client_conf conf;
    struct client_net *net;
    struct client_url url;
    struct addr local;
    char *token;
    struct ws_client *connection;
    struct ws *ws;
    struct client_pc *pc[2];
    struct client_sender *senders[CLIENT_SENDERS_MAX];
    size_t sender_count;
    struct remote *remotes;
    struct client_timer timer; // ping, or the end of leaving
    int64_t ping_us;
    int64_t ping_sent_ms, ping_rtt_ms;
    uint32_t offer_id;
    bool outstanding, need_offer, trickled[2];
    bool leaving, resuming;
    struct test_client_status status;
};

static void emit(struct test_client *c, enum test_client_event e)
{
    if (c->conf.on_event != NULL) {
        c->conf.on_event(c->conf.user, c, e);
    }
}

static void finish(struct test_client *c, bool failed, const char *text)
{
    if (c->status.ended || c->status.failed) {
        return;
    }
    c->status.failed = failed;
    c->status.ended = !failed;
    (void)snprintf(c->status.text, sizeof(c->status.text), "%s", text);
    for (size_t i = 0; i < c->sender_count; i++) {
        client_sender_set_paused(c->senders[i], true);
    }
    client_timer_set(&c->timer, c->net, MONO_NEVER);
    emit(c, failed ? TEST_CLIENT_FAILED : TEST_CLIENT_ENDED);
}

// A step that cannot fail with a server that keeps to the protocol.
static void must(struct test_client *c, int rc, const char *what)
{
    if (rc < 0 && !c->leaving && c->ws != NULL) {
        char text[120];
        (void)snprintf(text, sizeof(text), "%s: %s", what, strerror(-rc));
        finish(c, true, text);
    }
}

// ---- transports ---------------------------------------------------------------------------------

static bool is_needed(const struct test_client *c, size_t i)
{
    return c->pc[i] != NULL && (i == SUB || !c->conf.v0 || c->sender_count > 0);
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
        emit(c, TEST_CLIENT_CONNECTED);
    }
}

static void on_pc_state(void *user, struct client_pc *pc)
{
    struct test_client *const c = user;
    if (pc->state == PEER_CONNECTION_FAILED && !c->leaving) {
        char text[80];
        (void)snprintf(text, sizeof(text), "%s transport failed: %s", pc == c->pc[PUB] ? "publisher" : "subscriber",
                       peer_connection_failure_name(pc->failure));
        finish(c, true, text);
        return;
    }
    note_connected(c);
}

static int make_pc(struct test_client *c, size_t i)
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

static int add_spare(struct test_client *c, uint32_t audio, uint32_t video)
{
    struct jsep_transceiver *t = NULL;
    int rc = 0;
    for (uint32_t i = 0; i < audio && rc == 0; i++) {
        rc = jsep_add_receiver_section(c->pc[PUB]->jsep, JSEP_AUDIO, &t);
    }
    for (uint32_t i = 0; i < video && rc == 0; i++) {
        rc = jsep_add_receiver_section(c->pc[PUB]->jsep, JSEP_VIDEO, &t);
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
    int rc = client_pc_create_offer(c->pc[PUB], &sdp);
    if (rc == 0) {
        rc = client_signal_offer(c->ws, dynbuf_view(&sdp), ++c->offer_id);
    }
    dynbuf_done(&sdp);
    c->outstanding = rc == 0;
    c->need_offer = false;
    c->status.offers_sent += rc == 0;
    must(c, rc, "offer");
}

static void trickle(struct test_client *c, size_t i)
{
    char line[CANDIDATE_TEXT_CAP];
    if (c->trickled[i]) {
        return;
    }
    c->trickled[i] = true;
    client_pc_local_candidate(c->pc[i], line);
    int rc = client_signal_trickle(c->ws, i == SUB, line);
    if (rc == 0) {
        rc = client_signal_trickle(c->ws, i == SUB, "");
    }
    must(c, rc, "trickle");
}

static void on_answer(struct test_client *c, const Livekit__SessionDescription *d)
{
    // livekit-client: an answer to another offer than the last one is none.
    if (!c->outstanding || (d->id != 0 && d->id != c->offer_id)) {
        return;
    }
    c->status.answers++;
    c->outstanding = false;
    int const rc = client_pc_set_answer(c->pc[PUB], bytes_str(lk_str(d->sdp)));
    must(c, rc, "answer of the server");
    if (rc < 0) {
        return;
    }
    trickle(c, PUB);
    if (c->need_offer) {
        negotiate(c);
    }
    note_connected(c);
}

static void on_offer(struct test_client *c, const Livekit__SessionDescription *d)
{
    struct dynbuf sdp;
    if (c->pc[SUB] == NULL) {
        finish(c, true, "the server offered although it must only answer");
        return;
    }
    c->status.offers_received++;
    dynbuf_init(&sdp, JSEP_MAX_TEXT);
    int rc = client_pc_answer(c->pc[SUB], bytes_str(lk_str(d->sdp)), &sdp);
    must(c, rc, "offer of the server");
    if (rc == 0) {
        rc = client_signal_answer(c->ws, dynbuf_view(&sdp), d->id);
        must(c, rc, "answer");
    }
    dynbuf_done(&sdp);
    if (rc == 0) {
        trickle(c, SUB);
        note_connected(c);
    }
}

static void on_trickle(struct test_client *c, const Livekit__TrickleRequest *t)
{
    struct client_pc *const pc = t->target == LIVEKIT__SIGNAL_TARGET__SUBSCRIBER && c->pc[SUB] != NULL ? c->pc[SUB] : c->pc[PUB];
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    struct bytes line;
    if (pc == NULL || t->candidateinit == NULL) {
        return;
    }
    int rc = jsonx_parse(bytes_str(t->candidateinit), &JSONX_LIMITS_DEFAULT, &j);
    if (rc == 0 && jsonx_get_str(j, "candidate", &line) == 0) {
        client_pc_add_candidate(pc, line);
    }
    must(c, rc, "trickled candidate");
}

static void on_sections(struct test_client *c, const Livekit__MediaSectionsRequirement *m)
{
    c->status.sections_asked += m->num_audios + m->num_videos;
    must(c, add_spare(c, m->num_audios, m->num_videos), "media sections");
    negotiate(c);
}

// ---- publishing ---------------------------------------------------------------------------------

static int announce(struct test_client *c, struct client_sender *s)
{
    int rc = client_pc_add_sender(c->pc[PUB], s);
    if (rc == 0) {
        rc = client_signal_add_track(c->ws, s);
    }
    return rc;
}

int test_client_publish(struct test_client *c, const struct client_track_conf *conf, size_t *ret_index)
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
        s->pc = c->pc[PUB];
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
    client_pc_remove_sender(c->pc[PUB], c->senders[index]);
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
            emit(c, TEST_CLIENT_PUBLISHED);
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

static void start_pings(struct test_client *c, int32_t interval_s)
{
    c->ping_us = (interval_s > 0 ? interval_s : PING_DEFAULT_S) * US_PER_S;
    client_timer_set(&c->timer, c->net, mono_add_us(c->net->now, c->ping_us));
}

static void on_join(struct test_client *c, const Livekit__JoinResponse *j)
{
    if (c->status.joined || j->participant == NULL) {
        finish(c, true, "unexpected join response");
        return;
    }
    c->status.joined = true;
    c->status.joined_at = c->net->now;
    (void)snprintf(c->status.sid, sizeof(c->status.sid), "%s", lk_str(j->participant->sid));
    (void)snprintf(c->status.room_sid, sizeof(c->status.room_sid), "%s", j->room != NULL ? lk_str(j->room->sid) : "");
    (void)snprintf(c->status.server_version, sizeof(c->status.server_version), "%s",
                   j->server_info != NULL ? lk_str(j->server_info->version) : lk_str(j->server_version));
    for (size_t i = 0; i < j->n_other_participants; i++) {
        note_participant(c, j->other_participants[i]);
    }
    start_pings(c, j->ping_interval);
    int rc = 0;
    for (size_t i = 0; i < 2 && c->conf.v0 && rc == 0; i++) {
        rc = make_pc(c, i);
    }
    if (rc == 0 && c->conf.v0 && !c->conf.no_data) {
        rc = jsep_add_data_section(c->pc[PUB]->jsep);
    }
    for (size_t i = 0; i < c->sender_count && rc == 0; i++) {
        c->senders[i]->pc = c->pc[PUB];
        rc = announce(c, c->senders[i]);
    }
    must(c, rc, "publish");
    if (c->sender_count > 0) {
        negotiate(c);
    }
    emit(c, TEST_CLIENT_JOINED);
}

static void on_reconnect(struct test_client *c)
{
    c->resuming = false;
    c->outstanding = false;
    memset(c->trickled, 0, sizeof(c->trickled));
    must(c, client_signal_sync_state(c->ws), "sync state");
    // The server restarts ICE of a v0 subscriber by itself.
    if (!c->conf.v0 || c->sender_count > 0) {
        must(c, client_pc_restart(c->pc[PUB]), "ICE restart");
        negotiate(c);
    }
    start_pings(c, (int32_t)(c->ping_us / US_PER_S));
    emit(c, TEST_CLIENT_RESUMED);
}

static void on_leave(struct test_client *c, const Livekit__LeaveRequest *l)
{
    c->status.leave_reason = (int)l->reason;
    c->status.leave_action = (int)l->action;
    if (!c->leaving && l->action != LIVEKIT__LEAVE_REQUEST__ACTION__RESUME) {
        char text[64];
        (void)snprintf(text, sizeof(text), "told to leave: reason %d, action %d", (int)l->reason, (int)l->action);
        finish(c, !c->status.joined, text);
    }
}

static void dispatch(struct test_client *c, const Livekit__SignalResponse *r)
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

// ---- the socket ---------------------------------------------------------------------------------

static void on_message(void *user, enum ws_kind kind, struct bytes data)
{
    struct test_client *const c = user;
    struct pbuf *p = NULL;
    c->net->now = loop_refresh(c->net->loop);
    if (c->status.failed || c->status.ended) {
        return;
    }
    int const rc = kind == WS_BINARY ? lk_unpack_signal_response(data, &p) : -EBADMSG;
    must(c, rc, "message of the server");
    if (rc == 0) {
        c->status.messages++;
        dispatch(c, p->msg);
        pbuf_free(p);
    }
}

static void on_ws_end(void *user, const struct ws_end *end)
{
    struct test_client *const c = user;
    c->ws = NULL;
    c->status.signal = false;
    c->net->now = loop_refresh(c->net->loop);
    if (c->leaving) {
        finish(c, false, "left");
    } else if (!c->status.joined) {
        finish(c, true, end->reason);
    } else if (!c->status.ended) {
        emit(c, TEST_CLIENT_SIGNAL_LOST);
    }
}

static void on_open(void *user, struct ws *w)
{
    struct test_client *const c = user;
    c->ws = w;
    c->status.signal = true;
}

static void on_refused(void *user, unsigned status, struct bytes body, int error)
{
    struct test_client *const c = user;
    char text[140];
    if (status != 0) {
        (void)snprintf(text, sizeof(text), "refused with %u: %.*s", status, (int)MIN(body.n, 100u), (const char *)body.p);
    } else {
        (void)snprintf(text, sizeof(text), "cannot connect: %s", strerror(-error));
    }
    finish(c, true, text);
}

static int open_signal(struct test_client *c, const struct client_join *j)
{
    struct dynbuf target;
    dynbuf_init(&target, 1u << 20);
    int rc = client_signal_target(&c->url, j, &target);
    if (rc == 0) {
        struct ws_client_conf const conf = {
            .addr = c->url.addr,
            .host = c->url.host,
            .target = dynbuf_cstr(&target),
            .ws = {.ping_ms = -1, .on_message = on_message, .on_end = on_ws_end, .user = c},
            .on_open = on_open,
            .on_refused = on_refused,
            .user = c,
        };
        rc = ws_client_connect(c->net->loop, &conf, &c->connection);
    }
    dynbuf_done(&target);
    return rc;
}

static void on_timer(void *user)
{
    struct test_client *const c = user;
    if (c->leaving) {
        finish(c, false, "left, the server did not close");
        return;
    }
    client_timer_set(&c->timer, c->net, mono_add_us(c->net->now, c->ping_us));
    if (c->ws != NULL) {
        c->ping_sent_ms = clock_wall().us / US_PER_MS;
        must(c, client_signal_ping(c->ws, c->ping_sent_ms, c->ping_rtt_ms), "ping");
    }
}

// ---- life ---------------------------------------------------------------------------------------

// v1: the offer travels in the request.
static int join_v1(struct test_client *c, struct client_join *j, struct dynbuf *sdp)
{
    int rc = make_pc(c, PUB);
    if (rc == 0 && !c->conf.no_data) {
        rc = jsep_add_data_section(c->pc[PUB]->jsep);
    }
    if (rc == 0) {
        rc = add_spare(c, c->conf.spare_audio, c->conf.spare_video);
    }
    if (rc == 0 && jsep_count(c->pc[PUB]->jsep) > 0) {
        rc = client_pc_create_offer(c->pc[PUB], sdp);
        j->offer = dynbuf_view(sdp);
        j->offer_id = ++c->offer_id;
        c->outstanding = true;
    }
    return rc;
}

static int start(struct test_client *c)
{
    struct dynbuf sdp;
    struct client_join j = {.v0 = c->conf.v0, .token = c->token, .auto_subscribe = !c->conf.manual};
    int rc = client_url_parse(c->conf.url, &c->url);
    if (rc == 0) {
        rc = client_net_route(&c->url.addr, &c->local);
    }
    if (rc == 0) {
        rc = client_timer_init(&c->timer, c->net, on_timer, c);
    }
    if (rc < 0) {
        return rc;
    }
    dynbuf_init(&sdp, JSEP_MAX_TEXT);
    if (!c->conf.v0) {
        rc = join_v1(c, &j, &sdp);
    }
    if (rc == 0) {
        rc = open_signal(c, &j);
    }
    dynbuf_done(&sdp);
    return rc;
}

int test_client_new(const struct test_client_conf *conf, struct test_client **ret)
{
    struct test_client *const c = NEW(struct test_client);
    if (c == NULL) {
        return -ENOMEM;
    }
    c->conf = *conf;
    c->net = conf->net;
    c->status.leave_reason = c->status.leave_action = -1;
    client_net_refresh(c->net);
    c->status.started_at = c->net->now;
    c->token = mem_strdup(conf->token);
    int const rc = c->token != NULL ? start(c) : -ENOMEM;
    if (rc < 0) {
        test_client_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void test_client_free(struct test_client *c)
{
    if (c == NULL) {
        return;
    }
    ws_client_free(c->connection);
    client_timer_done(&c->timer, c->net);
    for (size_t i = 0; i < c->sender_count; i++) {
        client_sender_free(c->senders[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        client_pc_free(c->pc[i]);
    }
    struct remote *r = c->remotes;
    struct remote *next = NULL;
    for (; r != NULL; r = next) {
        next = r->hh.next;
        HASH_DEL(c->remotes, r);
        mem_free(r);
    }
    mem_free(c->token);
    mem_free(c);
}

void test_client_leave(struct test_client *c)
{
    client_net_refresh(c->net);
    if (c->status.ended || c->status.failed) {
        return;
    }
    c->leaving = true;
    if (client_signal_leave(c->ws) < 0) {
        finish(c, false, "left without a signalling socket");
        return;
    }
    client_timer_set(&c->timer, c->net, mono_add_us(c->net->now, LEAVE_US));
}

void test_client_cut_signal(struct test_client *c)
{
    ws_client_free(c->connection);
    c->connection = NULL;
    c->ws = NULL;
    c->status.signal = false;
}

int test_client_resume(struct test_client *c)
{
    if (!c->status.joined) {
        return -EPROTO;
    }
    test_client_cut_signal(c);
    c->resuming = true;
    c->need_offer = false;
    struct client_join const j = {
        .v0 = c->conf.v0,
        .token = c->token,
        .auto_subscribe = !c->conf.manual,
        .reconnect = true,
        .participant_sid = c->status.sid,
    };
    return open_signal(c, &j);
}

// ---- reading ------------------------------------------------------------------------------------

const struct test_client_status *test_client_status(const struct test_client *c)
{
    return &c->status;
}

const struct client_sender *test_client_track(const struct test_client *c, size_t index)
{
    return index < c->sender_count ? c->senders[index] : NULL;
}

uint64_t test_client_sent(const struct test_client *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->sender_count; i++) {
        n += client_sender_packets(c->senders[i]);
    }
    return n;
}

int test_client_subscribe(struct test_client *c, const char *track_sid, bool subscribe)
{
    return client_signal_subscribe(c->ws, track_sid, subscribe);
}

int test_client_track_settings(struct test_client *c, const char *track_sid, bool disabled, int quality)
{
    return client_signal_track_settings(c->ws, track_sid, disabled, quality);
}

static const struct client_pc *receiving_pc(const struct test_client *c)
{
    return c->conf.v0 ? c->pc[SUB] : c->pc[PUB];
}

const struct client_stream *test_client_next_stream(const struct test_client *c, const struct client_stream *s)
{
    const struct client_pc *const pc = receiving_pc(c);
    if (s != NULL) {
        return s->hh.next;
    }
    return pc != NULL ? pc->streams : NULL;
}

void test_client_sum(const struct test_client *c, struct client_stream_stats *sum)
{
    const struct client_stream *s = NULL;
    while ((s = test_client_next_stream(c, s)) != NULL) {
        client_stream_stats_add(sum, &s->stats);
    }
}

uint32_t test_client_socket_drops(const struct test_client *c)
{
    uint32_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        n += c->pc[i] != NULL ? client_socket_drops(&c->pc[i]->socket) : 0;
    }
    return n;
}

const struct client_pc *test_client_pc(const struct test_client *c, size_t i)
{
    return i < 2 ? c->pc[i] : NULL;
}
