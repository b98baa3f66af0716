// SPDX-License-Identifier: Apache-2.0
#include "tests/support/client_signal.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/base/base64.h"
#include "common/base/mem.h"
#include "common/lk/access_token.h"
#include "common/svc/gzip.h"
#include "common/svc/jsonx.h"
#include "common/svc/ws_deflate.h"
#include "common/sys/clock.h"
#include "common/sys/udp.h"

// A description of many sections, and a join request with one.
#define MESSAGE_MAX (512u << 10)
#define SDK_VERSION "2.23.0" // livekit-client's, whose behaviour this client has

// ---- where --------------------------------------------------------------------------------------

static int look_up(const char *host, const char *port, struct addr *ret)
{
    struct addrinfo const hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, port, &hints, &list) != 0) {
        return -EHOSTUNREACH;
    }
    int const rc = addr_from_sockaddr(list->ai_addr, ret);
    freeaddrinfo(list);
    return rc;
}

// host and port of an authority; *ret_port points to "80" without one.
static int split(const char *authority, size_t n, char host[static 256], char port[static 8])
{
    struct bytes rest = bytes_of(authority, n);
    const uint8_t *colon = memrchr(authority, ':', n);
    if (n > 0 && authority[0] == '[') {
        const uint8_t *const end = memchr(authority, ']', n);
        if (end == NULL) {
            return -EINVAL;
        }
        colon = end + 1 < rest.p + n && end[1] == ':' ? end + 1 : NULL;
        rest = bytes_of(authority + 1, (size_t)(end - rest.p) - 1);
    } else if (colon != NULL) {
        rest.n = (size_t)(colon - rest.p);
    }
    size_t const port_len =
        colon != NULL ? (size_t)((const uint8_t *)authority + n - colon) - 1 : 0;
    if (rest.n == 0 || rest.n > 255 || port_len > 5) {
        return -EINVAL;
    }
    memcpy(host, rest.p, rest.n);
    host[rest.n] = '\0';
    (void)snprintf(port, 8, "%.*s", port_len > 0 ? (int)port_len : 2,
                   port_len > 0 ? (const char *)colon + 1 : "80");
    return 0;
}

int client_url_parse(const char *text, struct client_url *ret)
{
    const char *const scheme_end = strstr(text, "://");
    char host[256];
    char port[8];
    if (scheme_end == NULL) {
        return -EINVAL;
    }
    if (strncmp(text, "ws://", 5) != 0 && strncmp(text, "http://", 7) != 0) {
        return -ENOTSUP;
    }
    const char *const authority = scheme_end + 3;
    size_t const n = strcspn(authority, "/?#");
    int rc = split(authority, n, host, port);
    if (rc == 0) {
        rc = look_up(host, port, &ret->addr);
    }
    if (rc < 0) {
        return rc;
    }
    (void)snprintf(ret->host, sizeof(ret->host), "%.*s", (int)n, authority);
    size_t path_len = strcspn(authority + n, "?#");
    while (path_len > 0 && authority[n + path_len - 1] == '/') {
        path_len--;
    }
    (void)snprintf(ret->path, sizeof(ret->path), "%.*s", (int)path_len, authority + n);
    return 0;
}

// ---- joining ------------------------------------------------------------------------------------

static int pack_join(const struct client_join *j, struct dynbuf *out)
{
    Livekit__ClientInfo info = LIVEKIT__CLIENT_INFO__INIT;
    Livekit__ConnectionSettings settings = LIVEKIT__CONNECTION_SETTINGS__INIT;
    Livekit__SessionDescription offer = LIVEKIT__SESSION_DESCRIPTION__INIT;
    Livekit__JoinRequest request = LIVEKIT__JOIN_REQUEST__INIT;
    char *sdp = NULL;
    LK_SET(&info, sdk, LIVEKIT__CLIENT_INFO__SDK__JS);
    LK_SET_STR(&info, version, SDK_VERSION);
    LK_SET(&info, protocol, CLIENT_PROTOCOL);
    LK_SET_STR(&info, os, "linux");
    LK_SET(&settings, auto_subscribe, j->auto_subscribe);
    request.client_info = &info;
    request.connection_settings = &settings;
    LK_SET(&request, reconnect, j->reconnect);
    LK_SET_STR(&request, participant_sid, j->participant_sid);
    if (j->offer.n > 0) {
        sdp = mem_strndup((const char *)j->offer.p, j->offer.n);
        LK_SET_STR(&offer, type, "offer");
        offer.sdp = sdp;
        LK_SET(&offer, id, j->offer_id);
        request.publisher_offer = &offer;
    }
    int const rc = pbuf_pack(&request.base, out);
    mem_free(sdp);
    return rc;
}

static int wrap_join(struct bytes join, struct dynbuf *out)
{
    struct dynbuf packed;
    Livekit__WrappedJoinRequest wrapped = LIVEKIT__WRAPPED_JOIN_REQUEST__INIT;
    dynbuf_init(&packed, MESSAGE_MAX);
    int rc = gzip_deflate(join, &packed);
    if (rc == 0) {
        LK_SET(&wrapped, compression, LIVEKIT__WRAPPED_JOIN_REQUEST__COMPRESSION__GZIP);
        LK_SET_BYTES(&wrapped, join_request, dynbuf_view(&packed));
        rc = pbuf_pack(&wrapped.base, out);
    }
    dynbuf_done(&packed);
    return rc;
}

static int target_v1(const struct client_join *j, struct dynbuf *out)
{
    struct dynbuf join;
    struct dynbuf wrapped;
    dynbuf_init(&join, MESSAGE_MAX);
    dynbuf_init(&wrapped, MESSAGE_MAX);
    int rc = pack_join(j, &join);
    if (rc == 0) {
        rc = wrap_join(dynbuf_view(&join), &wrapped);
    }
    if (rc == 0) {
        dynbuf_add_str(out, "/rtc/v1?access_token=");
        dynbuf_add_str(out, j->token);
        dynbuf_add_str(out, "&join_request=");
        base64_encode(BASE64_URL, dynbuf_view(&wrapped), out);
    }
    dynbuf_done(&join);
    dynbuf_done(&wrapped);
    return rc;
}

int client_signal_target(const struct client_url *url, const struct client_join *j,
                         struct dynbuf *out)
{
    int rc = 0;
    dynbuf_add_str(out, url->path);
    if (j->v0) {
        dynbuf_addf(out,
                    "/rtc?access_token=%s&auto_subscribe=%d&sdk=js&version=" SDK_VERSION
                    "&protocol=%d&os=linux",
                    j->token, j->auto_subscribe, CLIENT_PROTOCOL);
        if (j->reconnect) {
            dynbuf_addf(out, "&reconnect=1&sid=%s", j->participant_sid);
        }
    } else {
        rc = target_v1(j, out);
    }
    return rc < 0 ? rc : dynbuf_ok(out) ? 0 : -ENOMEM;
}

// ---- requests -----------------------------------------------------------------------------------

static int send_request(struct ws *w, const Livekit__SignalRequest *r)
{
    struct dynbuf out;
    if (w == NULL) {
        return -EPIPE;
    }
    struct ws_deflate *const deflate = ws_deflate_of(w);
    struct dynbuf packed;
    dynbuf_init(&out, MESSAGE_MAX);
    dynbuf_init(&packed, MESSAGE_MAX);
    int rc = pbuf_pack(&r->base, &out);
    if (rc == 0 && deflate != NULL) {
        // Whatever its length: so does Chromium.
        rc = ws_deflate_pack(deflate, dynbuf_view(&out), &packed);
        rc = rc == 0 ? ws_send_packed(w, WS_BINARY, dynbuf_view(&packed)) : rc;
    } else if (rc == 0) {
        rc = ws_send(w, WS_BINARY, dynbuf_view(&out));
    }
    dynbuf_done(&packed);
    dynbuf_done(&out);
    return rc;
}

static int send_description(struct ws *w, const char *type, struct bytes sdp, uint32_t id)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__SessionDescription d = LIVEKIT__SESSION_DESCRIPTION__INIT;
    bool const offer = strcmp(type, "offer") == 0;
    char *const text = mem_strndup((const char *)sdp.p, sdp.n);
    if (text == NULL) {
        return -ENOMEM;
    }
    LK_SET_STR(&d, type, type);
    d.sdp = text;
    LK_SET(&d, id, id);
    r.message_case =
        offer ? LIVEKIT__SIGNAL_REQUEST__MESSAGE_OFFER : LIVEKIT__SIGNAL_REQUEST__MESSAGE_ANSWER;
    r.offer = &d; // the members of the union have one type here
    int const rc = send_request(w, &r);
    mem_free(text);
    return rc;
}

int client_signal_offer(struct ws *w, struct bytes sdp, uint32_t id)
{
    return send_description(w, "offer", sdp, id);
}

int client_signal_answer(struct ws *w, struct bytes sdp, uint32_t id)
{
    return send_description(w, "answer", sdp, id);
}

int client_signal_trickle(struct ws *w, bool subscriber, const char *candidate)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__TrickleRequest t = LIVEKIT__TRICKLE_REQUEST__INIT;
    struct jsonx *const j = jsonx_new_object();
    (void)jsonx_set_cstr(j, "candidate", candidate);
    (void)jsonx_set_cstr(j, "sdpMid", "0");
    (void)jsonx_set_int(j, "sdpMLineIndex", 0);
    (void)jsonx_set_null(j, "usernameFragment");
    char *const text = jsonx_dump(j, 0, NULL);
    jsonx_free(j);
    if (text == NULL) {
        return -ENOMEM;
    }
    t.candidateinit = text;
    LK_SET(&t, target,
           subscriber ? LIVEKIT__SIGNAL_TARGET__SUBSCRIBER : LIVEKIT__SIGNAL_TARGET__PUBLISHER);
    LK_SET(&t, final, *candidate == '\0');
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_TRICKLE;
    r.trickle = &t;
    int const rc = send_request(w, &r);
    mem_free(text);
    return rc;
}

static void fill_layer(Livekit__VideoLayer *l, const struct client_track_conf *c, uint8_t i)
{
    const struct client_layer_conf *const x = &c->layer[i];
    livekit__video_layer__init(l);
    // A single layer is the best there is (livekit-protocol 4.5).
    LK_SET(l, quality, (Livekit__VideoQuality)(c->layers == 1 ? 2 : i));
    LK_SET(l, width, x->width);
    LK_SET(l, height, x->height);
    LK_SET(l, bitrate,
           (uint32_t)(8u * x->packets * x->packet_size * UINT64_C(1000000) / c->interval_us));
}

int client_signal_add_track(struct ws *w, const struct client_sender *s)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__AddTrackRequest a = LIVEKIT__ADD_TRACK_REQUEST__INIT;
    Livekit__SimulcastCodec codec = LIVEKIT__SIMULCAST_CODEC__INIT;
    Livekit__SimulcastCodec *codecs[1] = {&codec};
    Livekit__VideoLayer layers[CLIENT_LAYERS_MAX];
    Livekit__VideoLayer *list[CLIENT_LAYERS_MAX];
    const struct client_track_conf *const c = &s->conf;
    LK_SET_STR(&a, cid, s->cid);
    LK_SET_STR(&a, name, c->name);
    LK_SET(&a, type, c->audio ? LIVEKIT__TRACK_TYPE__AUDIO : LIVEKIT__TRACK_TYPE__VIDEO);
    LK_SET(&a, source,
           c->audio ? LIVEKIT__TRACK_SOURCE__MICROPHONE : LIVEKIT__TRACK_SOURCE__CAMERA);
    LK_SET(&a, muted, s->muted);
    LK_SET(&a, disable_red, c->audio);
    if (!c->audio) {
        for (uint8_t i = 0; i < c->layers; i++) {
            fill_layer(&layers[i], c, i);
            list[i] = &layers[i];
        }
        LK_SET(&a, width, c->layer[c->layers - 1].width);
        LK_SET(&a, height, c->layer[c->layers - 1].height);
        a.n_layers = c->layers;
        a.layers = list;
        LK_SET_STR(&codec, codec, "vp8");
        LK_SET_STR(&codec, cid, s->cid);
        codec.n_layers = c->layers;
        codec.layers = list;
        a.n_simulcast_codecs = 1;
        a.simulcast_codecs = codecs;
    }
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_ADD_TRACK;
    r.add_track = &a;
    return send_request(w, &r);
}

int client_signal_mute(struct ws *w, const char *sid, bool muted)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__MuteTrackRequest m = LIVEKIT__MUTE_TRACK_REQUEST__INIT;
    LK_SET_STR(&m, sid, sid);
    LK_SET(&m, muted, muted);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_MUTE;
    r.mute = &m;
    return send_request(w, &r);
}

int client_signal_subscribe(struct ws *w, const char *sid, bool subscribe)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__UpdateSubscription u = LIVEKIT__UPDATE_SUBSCRIPTION__INIT;
    char *sids[1] = {lk_unconst_str(sid)};
    u.n_track_sids = 1;
    u.track_sids = sids;
    LK_SET(&u, subscribe, subscribe);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION;
    r.subscription = &u;
    return send_request(w, &r);
}

int client_signal_track_settings(struct ws *w, const char *sid, bool disabled, int quality)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__UpdateTrackSettings t = LIVEKIT__UPDATE_TRACK_SETTINGS__INIT;
    char *sids[1] = {lk_unconst_str(sid)};
    t.n_track_sids = 1;
    t.track_sids = sids;
    LK_SET(&t, disabled, disabled);
    LK_SET(&t, quality, (Livekit__VideoQuality)quality);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_TRACK_SETTING;
    r.track_setting = &t;
    return send_request(w, &r);
}

int client_signal_ping(struct ws *w, int64_t unix_ms)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING;
    r.ping = unix_ms;
    return send_request(w, &r);
}

int client_signal_ping_req(struct ws *w, int64_t unix_ms, int64_t rtt_ms)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__Ping p = LIVEKIT__PING__INIT;
    LK_SET(&p, timestamp, unix_ms);
    LK_SET(&p, rtt, rtt_ms);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING_REQ;
    r.ping_req = &p;
    return send_request(w, &r);
}

int client_signal_leave(struct ws *w)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__LeaveRequest l = LIVEKIT__LEAVE_REQUEST__INIT;
    LK_SET(&l, reason, LIVEKIT__DISCONNECT_REASON__CLIENT_INITIATED);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_LEAVE;
    r.leave = &l;
    return send_request(w, &r);
}

int client_signal_sync_state(struct ws *w)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__SyncState s = LIVEKIT__SYNC_STATE__INIT;
    Livekit__UpdateSubscription u = LIVEKIT__UPDATE_SUBSCRIPTION__INIT;
    s.subscription = &u;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SYNC_STATE;
    r.sync_state = &s;
    return send_request(w, &r);
}

char *client_signal_mint(const char *key, const char *secret, const char *room,
                         const char *identity)
{
    char *token = NULL;
    struct api_keys *const keys = api_keys_new();
    int64_t const now = clock_wall().us / US_PER_S;
    struct access_claims const claims = {
        .identity = identity,
        .name = identity,
        .has_video = true,
        .video = {.room = room, .room_join = true},
        .nbf = now,
        .exp = now + 3600,
    };
    if (keys != NULL && api_keys_add(keys, bytes_str(key), bytes_str(secret)) == 0 &&
        access_token_mint(&claims, api_keys_first(keys), &token) < 0) {
        token = NULL;
    }
    api_keys_free(keys);
    return token;
}
