// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber doubles/quick_dtls proto_words
//
// A whole room layer under arbitrary operations in arbitrary order: clients with real peer
// connections join, publish, vanish and come back, while bytes of the input are their requests,
// descriptions (made up, or good ones with damage), datagrams from strangers and from validated
// addresses, RTP and RTCP behind valid SRTP, messages of data channels, room service calls, time that
// jumps. In the end everything must have been returned; two bystanders in the same room must have
// seen nothing that may not be, still hear each other, and be answered at once. Nobody else may
// complain either while no words of theirs were made up.
//
// The DTLS handshakes are quick_dtls.c's: real ones took three quarters of the time.
#include <stdio.h>
#include <stdlib.h>

#include "sfu/room/participant_permission.h"
#include "sfu/room/participant_update.h"
#include "sfu/room/room_update.h"
#include "sfu/room/track_info.h"
#include "tests/support/proto_words.h"
#include "tests/support/room_client.h"

#define CLIENTS_MAX 5
#define PUBLISH_MAX 8
#define FILE_MAX (256u << 10)
#define JUMPS_MAX 2
#define CALLS_MAX OPS_MAX
#define CALL_GEN 9
#define BYSTANDER "bystander"
// Longer deadlines are reached by jumps.
#define SIMULATED_MAX_US (30 * US_PER_S)
#define OPS_MAX 200

struct fuzz {
    struct room_harness h;
    struct rd in;
    struct room_client *clients[CLIENTS_MAX];
    size_t client_count;
    unsigned published, jumps;
    int64_t left_us;
    bool made_up; // somebody said what no client says
    // Of the bystanders.
    struct room_client *speaker, *listener;
    struct room_sender *voice;
    bool excused; // they were sent away, or their time jumped
    uint32_t calls;
    bool answered[CALLS_MAX];
    char rpc[64]; // the last one that the server asked somebody for
};

static struct fuzz f;

static struct bytes take(void)
{
    size_t const want = rd_u8(&f.in);
    return rd_take(&f.in, MIN(want, rd_left(&f.in)));
}

static struct room_client *pick(void)
{
    return f.client_count > 0 ? f.clients[rd_u8(&f.in) % f.client_count] : NULL;
}

static void note_rpc(struct room_client *c, const Livekit__DataPacket *p)
{
    (void)c;
    if (p->value_case == LIVEKIT__DATA_PACKET__VALUE_RPC_REQUEST) {
        (void)snprintf(f.rpc, sizeof(f.rpc), "%s", lk_str(p->rpc_request->id));
    }
}

static void op_join(void)
{
    static const char *const names[] = {"a", "b", "c"};
    uint8_t const name = rd_u8(&f.in);
    uint8_t const flags = rd_u8(&f.in);
    if (f.client_count == CLIENTS_MAX) {
        return;
    }
    f.clients[f.client_count++] =
        room_client_join(&f.h, &(struct room_client_conf){
                                   .identity = names[name % ARRAY_LEN(names)],
                                   .room = name & 0x80 ? "other" : NULL,
                                   .v0 = flags & 1,
                                   .no_auto_subscribe = (flags & 6) == 6,
                                   .adaptive_stream = flags & 8,
                                   .no_offer = flags & 16,
                                   .hidden = (flags & 0x60) == 0x60,
                                   .update_metadata = flags & 0x20,
                                   .silent = (flags & 0xc0) == 0xc0,
                                   .no_sections = (flags & 0x44) == 0x44,
                                   .protocol = flags & 0x40 ? 12 : 17,
                                   .dynacast = !(name & 0x40),
                                   // Neither can receive H264.
                                   .codecs = name & 0x20 ? 1u << CODEC_OPUS | 1u << CODEC_VP8 : 0,
                                   .no_channels = (name & 0x1c) == 0x1c,
                                   .go_channels = (name & 0x1c) == 0x18,
                                   .other_channel = (name & 0x1c) == 0x14,
                                   .auto_subscribe_data = (name & 0x14) == 0x10,
                                   .metrics = (name & 0x0c) == 0x08,
                                   .agent = (name & 0x1c) == 0x0c,
                               });
    f.clients[f.client_count - 1]->data.tap = note_rpc;
}

// how: bits; 0 as usual.
static void publish(struct room_client *c, enum room_media media, uint8_t how)
{
    (void)room_client_publish_as(c, &(struct room_publish){
                                        .media = media,
                                        .codec = how & 1 ? CODEC_H264 : CODEC_NONE,
                                        .backup = (how & 3) == 3 ? CODEC_VP8 : CODEC_NONE,
                                        .backup_policy = (how >> 2) % 3,
                                        .muted = how & 16,
                                        .cid = how & 32 ? "again" : NULL,
                                        .sdp_cid = (how & 0xc0) == 0xc0 ? "unknown" : NULL,
                                        .only_request = (how & 0xc0) == 0x40,
                                        .only_section = (how & 0xc0) == 0x80,
                                    });
}

static void op_media(struct room_client *c)
{
    uint8_t const what = rd_u8(&f.in);
    if (what < 128 && f.published < PUBLISH_MAX) {
        f.published++;
        publish(c, (enum room_media)(what % 3), what & 64 ? rd_u8(&f.in) : 0);
    } else if (c->sender_count > 0) {
        struct room_sender *const s = c->senders[what % c->sender_count];
        if (what & 64 || s->section == NULL) {
            room_client_mute(c, s, !s->muted);
        } else {
            room_client_unpublish(c, s);
        }
    }
}

// What has to do with coming back: scenarios of test tools, states to be synchronised, offers.
static void op_return(struct room_client *c, uint8_t what)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    if (what & 0x80) {
        Livekit__SimulateScenario s = LIVEKIT__SIMULATE_SCENARIO__INIT;
        s.scenario_case = (Livekit__SimulateScenario__ScenarioCase)(what & 15);
        s.subscriber_bandwidth = (int64_t)(what & 0x70) * 1000;
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SIMULATE;
        r.simulate = &s;
        room_client_request(c, &r);
    } else if (what & 0x40) {
        Livekit__SyncState s = LIVEKIT__SYNC_STATE__INIT;
        char sid[24];
        char *list[] = {sid};
        (void)snprintf(sid, sizeof(sid), "%s",
                       c->sender_count > 0 ? c->senders[what % c->sender_count]->sid : "TR_abc");
        s.track_sids_disabled = list;
        s.n_track_sids_disabled = what & 1;
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SYNC_STATE;
        r.sync_state = &s;
        room_client_request(c, &r);
    } else {
        room_client_offer(c, what & 1);
    }
}

static void op_session(struct room_client *c)
{
    switch (rd_u8(&f.in) % 5) {
    case 0:
        room_client_leave(c);
        break;
    case 1:
        if (!handle_is_none(c->session)) {
            room_client_drop_socket(c);
        }
        break;
    case 2:
        room_client_resume(c);
        break;
    case 3:
        room_client_set_vanished(c, !c->vanished);
        break;
    default:
        op_return(c, rd_u8(&f.in));
        break;
    }
}

static void request_bytes(struct room_client *c, struct bytes b)
{
    struct pbuf *req = NULL;
    f.made_up = true;
    if (lk_unpack_signal_request(b, &req) == 0) {
        struct channel_msg *const m = channel_msg_new(CHANNEL_REQUEST, c->session);
        m->u.request = req;
        room_harness_post(&f.h, m);
    }
}

static void op_request(struct room_client *c)
{
    request_bytes(c, take());
}

static void ascii(char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        text[i] = (char)(text[i] & 0x7f);
    }
}

static void send_text(struct room_client *c, bool offer, struct dynbuf *text)
{
    // Messages with text that is no UTF-8 never get as far as a room.
    ascii((char *)text->p, text->n);
    const char *const sdp = dynbuf_cstr(text);
    Livekit__SessionDescription d = LIVEKIT__SESSION_DESCRIPTION__INIT;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    d.sdp = lk_unconst_str(sdp != NULL ? sdp : "");
    LK_SET(&d, id, 1);
    f.made_up = true;
    r.message_case =
        offer ? LIVEKIT__SIGNAL_REQUEST__MESSAGE_OFFER : LIVEKIT__SIGNAL_REQUEST__MESSAGE_ANSWER;
    if (offer) {
        r.offer = &d;
    } else {
        r.answer = &d;
    }
    room_client_request(c, &r);
}

// Changes of the input applied to a text: bytes replaced, lines copied or removed.
static void damage(struct dynbuf *text)
{
    struct dynbuf out;
    dynbuf_init(&out, JSEP_MAX_TEXT);
    size_t at = 0;
    for (uint8_t n = rd_u8(&f.in) % 8; n > 0 && text->n > 0; n--) {
        size_t const pos = rd_be16(&f.in) % text->n;
        uint8_t const how = rd_u8(&f.in);
        size_t const len = MIN((size_t)(how & 0x3f) * 4, text->n - pos);
        if (pos < at) {
            continue;
        }
        dynbuf_add(&out, bytes_of(text->p + at, pos - at));
        at = pos;
        switch (how >> 6) {
        case 0: // cut
            at += len;
            break;
        case 1: // twice
            dynbuf_add(&out, bytes_of(text->p + pos, len));
            break;
        default:
            dynbuf_add(&out, take());
            at += how & 0x3f;
            at = MIN(at, text->n);
            break;
        }
    }
    dynbuf_add(&out, bytes_of(text->p + at, text->n - at));
    dynbuf_done(text);
    *text = out;
}

static void op_description(struct room_client *c)
{
    uint8_t const kind = rd_u8(&f.in);
    struct dynbuf text;
    dynbuf_init(&text, JSEP_MAX_TEXT);
    if (kind & 1) {
        dynbuf_add(&text, take());
    } else if (c->publisher != NULL && jsep_create_offer(c->publisher->jsep, &text) == 0) {
        damage(&text);
    }
    send_text(c, kind < 192, &text);
    dynbuf_done(&text);
}

static void op_datagram(struct room_client *c)
{
    uint8_t const kind = rd_u8(&f.in);
    struct bytes const b = take();
    struct addr src = addr_v4(203, 0, 113, 9, 999);
    if (c != NULL && c->publisher != NULL && kind % 4 > 0) {
        struct room_pc *const p = c->publisher;
        f.made_up = true;
        src = p->addr;
        p->ep.now = f.h.now;
        if (kind % 4 == 2) {
            (void)!peer_connection_send_rtcp(p->pc, b, &p->ep.out);
        } else if (kind % 4 == 3 && b.n >= 12) {
            size_t const header = 12u + (kind >> 2) % (b.n - 11);
            (void)!peer_connection_send_rtp(p->pc, b, header, ((size_t)b.p[2] << 8) | b.p[3],
                                            &p->ep.out);
        }
        outbox_flush(&p->ep.out);
    }
    if (kind % 4 < 2) {
        room_harness_datagram(&f.h, &src, b);
        room_harness_turn(&f.h);
    }
}

static void op_subscription(struct room_client *c)
{
    uint8_t const what = rd_u8(&f.in);
    const struct room_client *const other = pick();
    const char *const sid = other != NULL && other->sender_count > 0
                                ? other->senders[what % other->sender_count]->sid
                                : "TR_VCabc";
    if ((what & 0xb0) == 0xb0) {
        const char *const whom[] = {"*", NULL, other != NULL ? other->identity : "nobody"};
        room_client_permit(c, whom[(what & 0x0f) % 3], what & 0x40 ? sid : NULL);
    } else if (what & 0x80) {
        room_client_subscribe(c, sid, what & 0x40);
    } else {
        room_client_settings(c, sid, what & 0x40, what & 3, (what & 0x30) * 20u, rd_u8(&f.in) * 4u);
    }
}

static void op_data_track(struct room_client *c)
{
    uint8_t const what = rd_u8(&f.in);
    uint32_t const handle = (what >> 2) % 5;
    const struct room_client *const other = pick();
    switch (what & 3) {
    case 0:
        room_data_track_publish(c, handle, what & 0x80 ? "a" : "b");
        break;
    case 1:
        room_data_track_unpublish(c, handle);
        break;
    case 2:
        room_data_track_subscribe(c,
                                  other != NULL && other->tracks.published_count > 0
                                      ? other->tracks.published[0].sid
                                      : "DTR_abc",
                                  what & 0x40);
        break;
    default:
        if (what & 0x80) {
            (void)!room_client_send_raw(c, ROOM_DATA_TRACK, take());
        } else {
            (void)!room_data_track_send(c, handle, what, rd_u8(&f.in));
        }
        break;
    }
}

static void pack_call(const ProtobufCMessage *m, struct dynbuf *out)
{
    room_must(pbuf_pack(m, out) == 0, "pack");
}

// A call about somebody and something that may well be there; false: none of those methods.
static bool named_call(enum room_api_method method, uint8_t what, struct dynbuf *out)
{
    const struct room_client *const c = pick();
    char *const who = lk_unconst_str(c != NULL ? c->identity : "nobody");
    char *sid = lk_unconst_str(c != NULL && c->sender_count > 0 ? c->senders[0]->sid : "TR_VCabc");
    Livekit__RoomParticipantIdentity id = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    Livekit__MuteRoomTrackRequest mute = LIVEKIT__MUTE_ROOM_TRACK_REQUEST__INIT;
    Livekit__UpdateSubscriptionsRequest sub = LIVEKIT__UPDATE_SUBSCRIPTIONS_REQUEST__INIT;
    Livekit__PerformRpcRequest rpc = LIVEKIT__PERFORM_RPC_REQUEST__INIT;
    Livekit__MoveParticipantRequest move = LIVEKIT__MOVE_PARTICIPANT_REQUEST__INIT;
    Livekit__SendDataRequest data = LIVEKIT__SEND_DATA_REQUEST__INIT;
    switch (method) {
    case ROOM_API_GET_PARTICIPANT:
    case ROOM_API_REMOVE_PARTICIPANT:
        id.identity = who;
        pack_call(&id.base, out);
        return true;
    case ROOM_API_MUTE_PUBLISHED_TRACK:
        mute.identity = who;
        mute.track_sid = sid;
        LK_SET(&mute, muted, what & 1);
        pack_call(&mute.base, out);
        return true;
    case ROOM_API_UPDATE_SUBSCRIPTIONS:
        sub.identity = lk_unconst_str(what & 2 ? "a" : "b");
        sub.track_sids = &sid;
        sub.n_track_sids = 1;
        LK_SET(&sub, subscribe, what & 1);
        pack_call(&sub.base, out);
        return true;
    case ROOM_API_PERFORM_RPC:
        rpc.destination_identity = who;
        LK_SET(&rpc, response_timeout_ms, what * 20u);
        pack_call(&rpc.base, out);
        return true;
    case ROOM_API_MOVE_PARTICIPANT:
        move.identity = who;
        LK_SET_STR(&move, destination_room, "other");
        pack_call(&move.base, out);
        return true;
    case ROOM_API_SEND_DATA:
        LK_SET(&data, kind, (Livekit__DataPacket__Kind)(what & 1));
        data.destination_identities = (char *[]){who};
        data.n_destination_identities = what & 2 ? 1 : 0;
        uint8_t nonce[16] = {what & 0xf0};
        LK_SET_BYTES(&data, nonce, bytes_of(nonce, what & 4 ? sizeof(nonce) : 0));
        pack_call(&data.base, out);
        return true;
    default:
        return false;
    }
}

static void call(enum room_api_method method, const char *room, struct bytes b)
{
    if (f.calls == CALLS_MAX) {
        return;
    }
    struct channel_msg *const m = channel_msg_new(CHANNEL_API, (handle_t){f.calls++, CALL_GEN});
    m->u.api = (struct channel_api){
        .method = method,
        .room_name = mem_strdup(room),
        .request = mem_alloc(b.n + 1),
        .request_len = b.n,
    };
    if (b.n > 0) {
        memcpy(m->u.api.request, b.p, b.n);
    }
    f.excused = f.excused || method == ROOM_API_DELETE_ROOM;
    room_harness_post(&f.h, m);
}

// Each call is answered once.
static void see(void *user, const struct channel_msg *m)
{
    (void)user;
    if (m->type != CHANNEL_API_REPLY) {
        return;
    }
    if (m->handle.gen != CALL_GEN || m->handle.index >= f.calls || f.answered[m->handle.index]) {
        room_harness_violation(&f.h, BYSTANDER ": a call was answered twice");
        return;
    }
    f.answered[m->handle.index] = true;
    f.h.api_call = m->handle;
}

static void op_api(void)
{
    struct dynbuf packed;
    dynbuf_init(&packed, 4096);
    struct bytes b = take();
    uint8_t const method = rd_u8(&f.in);
    if (method & 0x40 && named_call((enum room_api_method)(method % ROOM_API_METHOD_COUNT),
                                    b.n > 0 ? b.p[0] : 0, &packed)) {
        b = dynbuf_view(&packed);
    }
    call((enum room_api_method)(method % ROOM_API_METHOD_COUNT), method & 0x80 ? "other" : "room",
         b);
    dynbuf_done(&packed);
}

// ---- messages of every kind -----------------------------------------------------------------

// What texts may mean here: names and ids of those who are inside.
static struct proto_words words(void)
{
    static const char *const fixed[] = {
        "a",          "b",
        "c",          "room",
        "other",      "video/VP8",
        "video/H264", "audio/opus",
        "q",          "f",
        "_reliable",  "_lossy",
        "again",      "{\"candidate\":\"candidate:1 1 udp 1 192.0.2.9 9 typ host\"}"};
    struct proto_words w = {.count = 0};
    for (size_t i = 0; i < f.client_count && w.count + 4 < ARRAY_LEN(w.words); i++) {
        const struct room_client *const c = f.clients[i];
        w.words[w.count++] = c->sid;
        if (c->sender_count > 0) {
            w.words[w.count++] = c->senders[c->sender_count - 1]->sid;
            w.words[w.count++] = c->senders[0]->cid;
        }
        if (c->tracks.published_count > 0) {
            w.words[w.count++] = c->tracks.published[0].sid;
        }
    }
    if (f.rpc[0] != 0) {
        w.words[w.count++] = f.rpc;
    }
    for (size_t i = 0; i < ARRAY_LEN(fixed) && w.count < ARRAY_LEN(w.words); i++) {
        w.words[w.count++] = fixed[i];
    }
    return w;
}

static struct dynbuf made(const ProtobufCMessageDescriptor *type)
{
    struct proto_words const w = words();
    struct dynbuf b;
    dynbuf_init(&b, (size_t)2 << 20);
    proto_words_write(type, &f.in, &w, &b);
    return b;
}

// One field of a request: the message of that kind.
static void op_any_request(struct room_client *c)
{
    struct dynbuf b = made(&livekit__signal_request__descriptor);
    request_bytes(c, dynbuf_view(&b));
    dynbuf_done(&b);
}

static void op_long_request(struct room_client *c)
{
    size_t const want = rd_be16(&f.in);
    request_bytes(c, rd_take(&f.in, MIN(want, rd_left(&f.in))));
}

// Comes back, and says what it believes to be so.
static void op_comeback(struct room_client *c)
{
    uint8_t const how = rd_u8(&f.in);
    struct pbuf *state = NULL;
    struct dynbuf b = made(&livekit__sync_state__descriptor);
    if (how & 1 && !handle_is_none(c->session)) {
        room_client_drop_socket(c);
    }
    if (how & 2) {
        room_client_resume(c);
    }
    if (how & 4) {
        room_harness_run(&f.h, 20 * US_PER_MS);
    }
    if (pbuf_unpack(&livekit__sync_state__descriptor, dynbuf_view(&b), PBUF_CAP_DEFAULT, &state) ==
        0) {
        Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SYNC_STATE;
        r.sync_state = state->msg;
        f.made_up = true;
        room_client_request(c, &r);
    }
    pbuf_free(state);
    dynbuf_done(&b);
}

static void op_data_packet(struct room_client *c)
{
    uint8_t const how = rd_u8(&f.in);
    struct dynbuf b = made(&livekit__data_packet__descriptor);
    f.made_up = true;
    (void)!room_client_send_raw(c, (enum room_channel)(how % ROOM_CHANNEL_COUNT), dynbuf_view(&b));
    dynbuf_done(&b);
}

static void open_channel(struct room_client *c, uint8_t how)
{
    static const char *const labels[] = {"_reliable", "_lossy", "_data_track", "", "x"};
    struct sctp_transport *const s =
        c->publisher != NULL ? peer_connection_sctp(c->publisher->pc) : NULL;
    struct data_channel_params const params = {
        .label = bytes_str(labels[how % ARRAY_LEN(labels)]),
        .reliability_kind = how & 0x20 ? DCEP_REXMIT : DCEP_RELIABLE,
        .unordered = how & 0x40,
    };
    uint16_t id = 0;
    f.made_up = true;
    if (s == NULL) {
        return;
    }
    if (how & 0x80) {
        (void)!sctp_transport_close_channel(s, (uint16_t)(how & 15));
    } else {
        (void)!sctp_transport_open_channel(s, &params, &id);
    }
    c->publisher->ep.now = f.h.now;
    peer_connection_flush_sctp(c->publisher->pc, &c->publisher->ep.out);
    outbox_flush(&c->publisher->ep.out);
}

static void answer_rpc(struct room_client *c, uint8_t how)
{
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    Livekit__RpcAck ack = LIVEKIT__RPC_ACK__INIT;
    Livekit__RpcResponse response = LIVEKIT__RPC_RESPONSE__INIT;
    LK_SET_STR(&ack, request_id, f.rpc);
    LK_SET_STR(&response, request_id, f.rpc);
    response.payload = lk_unconst_str("done");
    response.value_case = LIVEKIT__RPC_RESPONSE__VALUE_PAYLOAD;
    if (how & 1) {
        p.value_case = LIVEKIT__DATA_PACKET__VALUE_RPC_ACK;
        p.rpc_ack = &ack;
    } else {
        p.value_case = LIVEKIT__DATA_PACKET__VALUE_RPC_RESPONSE;
        p.rpc_response = &response;
    }
    (void)!room_client_send_packet(c, ROOM_RELIABLE, &p, false);
}

static void op_data(struct room_client *c)
{
    uint8_t const how = rd_u8(&f.in);
    uint8_t const more = rd_u8(&f.in);
    const struct room_client *const to = how & 0x20 ? pick() : NULL;
    switch (how % 8) {
    case 0:
    case 1:
        (void)!room_client_say(c, how & 0x40 ? ROOM_LOSSY : ROOM_RELIABLE, "hello",
                               to != NULL ? to->identity : NULL);
        break;
    case 2:
        if (c->data.file_left == 0) {
            room_client_send_file(c, MIN((uint64_t)more * 1024, (uint64_t)FILE_MAX));
        }
        break;
    case 3:
        room_client_stop_reading(c, how & 0x40);
        break;
    case 4:
        open_channel(c, more);
        break;
    case 5:
        answer_rpc(c, more);
        break;
    case 6: { // out of order, again, with a gap
        Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
        Livekit__ChatMessage chat = LIVEKIT__CHAT_MESSAGE__INIT;
        LK_SET_STR(&chat, message, "again");
        p.value_case = LIVEKIT__DATA_PACKET__VALUE_CHAT_MESSAGE;
        p.chat_message = &chat;
        LK_SET(&p, sequence, c->data.sequence + more - 128u);
        f.made_up = true;
        (void)!room_client_send_packet(c, ROOM_RELIABLE, &p, true);
        break;
    }
    default:
        room_client_read_some(c, (uint64_t)more * 512);
        break;
    }
}

static void op_any_call(void)
{
    static const ProtobufCMessageDescriptor *const types[ROOM_API_METHOD_COUNT] = {
        [ROOM_API_CREATE_ROOM] = &livekit__create_room_request__descriptor,
        [ROOM_API_DELETE_ROOM] = &livekit__delete_room_request__descriptor,
        [ROOM_API_LIST_PARTICIPANTS] = &livekit__list_participants_request__descriptor,
        [ROOM_API_GET_PARTICIPANT] = &livekit__room_participant_identity__descriptor,
        [ROOM_API_REMOVE_PARTICIPANT] = &livekit__room_participant_identity__descriptor,
        [ROOM_API_UPDATE_PARTICIPANT] = &livekit__update_participant_request__descriptor,
        [ROOM_API_MUTE_PUBLISHED_TRACK] = &livekit__mute_room_track_request__descriptor,
        [ROOM_API_UPDATE_SUBSCRIPTIONS] = &livekit__update_subscriptions_request__descriptor,
        [ROOM_API_SEND_DATA] = &livekit__send_data_request__descriptor,
        [ROOM_API_UPDATE_ROOM_METADATA] = &livekit__update_room_metadata_request__descriptor,
        [ROOM_API_PERFORM_RPC] = &livekit__perform_rpc_request__descriptor,
        [ROOM_API_MOVE_PARTICIPANT] = &livekit__move_participant_request__descriptor,
    };
    uint8_t const method = rd_u8(&f.in) & 0x8f;
    if ((method & 15) < ROOM_API_METHOD_COUNT) {
        struct dynbuf b = made(types[method & 15]);
        call((enum room_api_method)(method & 15), method & 0x80 ? "other" : "room",
             dynbuf_view(&b));
        dynbuf_done(&b);
    }
}

// Everything that was due meanwhile comes at once, as after a machine was asleep.
static void op_jump(void)
{
    int64_t const seconds = 1 + (int64_t)rd_u8(&f.in) * 2;
    if (f.jumps++ < JUMPS_MAX) {
        f.excused = f.made_up = true;
        f.h.now = mono_add_us(f.h.now, seconds * US_PER_S);
        room_harness_run(&f.h, US_PER_MS);
    }
}

static void more_step(uint8_t op)
{
    struct room_client *const c = op % 8 > 1 ? pick() : NULL;
    if (op % 8 == 0) {
        op_any_call();
    } else if (op % 8 == 1) {
        op_jump();
    } else if (c == NULL) {
        return;
    } else if (op % 8 == 2) {
        op_any_request(c);
    } else if (op % 8 == 3) {
        op_long_request(c);
    } else if (op % 8 == 4) {
        op_comeback(c);
    } else if (op % 8 == 5) {
        op_data_packet(c);
    } else {
        op_data(c);
    }
}

static struct participant_permission permission_from(uint8_t bits)
{
    return (struct participant_permission){
        .can_subscribe = (bits & 1) == 0,
        .can_publish = (bits & 2) == 0,
        .can_publish_data = (bits & 4) == 0,
        .hidden = (bits & 24) == 24,
        .recorder = (bits & 96) == 96,
        .sources = bits & 128 ? 1u << TRACK_SOURCE_MICROPHONE : 0,
    };
}

// What operators change while people are inside.
static void op_state(struct room_client *c)
{
    struct room *const r = room_find(&f.h.env, c->room);
    struct participant *const p = r != NULL ? room_participant(r, c->identity) : NULL;
    uint8_t const what = rd_u8(&f.in);
    struct bytes const b = take();
    char text[256] = "";
    if (b.n > 0) {
        memcpy(text, b.p, MIN(b.n, sizeof(text) - 1));
    }
    uint8_t const bits = (uint8_t)text[0];
    ascii(text, sizeof(text)); // it comes in JSON, tokens and protobuf
    if (p == NULL) {
        return;
    }
    struct participant_permission const perm = permission_from(bits);
    struct access_attribute const attribute = {what & 64 ? "a" : "b", text};
    switch (what % 4) {
    case 0:
        (void)participant_set_permission(p, &perm);
        break;
    case 1:
        (void)!participant_update(p, what & 16 ? text : NULL, what & 32 ? text : NULL, &attribute,
                                  what & 128 ? 1 : 0);
        break;
    case 2:
        (void)!room_set_metadata(r, text);
        break;
    default:
        participant_changed(p, what & 4);
        break;
    }
    room_harness_turn(&f.h);
}

static void op_time(void)
{
    uint8_t const t = rd_u8(&f.in);
    int64_t const us = t < 128 ? t * US_PER_MS : (t - 127) * 100 * US_PER_MS;
    if (us <= f.left_us) {
        f.left_us -= us;
        room_harness_run(&f.h, us);
    }
}

static void step(void)
{
    uint8_t const op = rd_u8(&f.in);
    if (op >= 0xc0) {
        more_step(op);
        return;
    }
    struct room_client *const c = op % 16 > 1 ? pick() : NULL;
    if (op % 16 == 0) {
        op_join();
    } else if (op % 16 == 1) {
        op_api();
    } else if (op % 16 > 12) {
        op_time();
    } else if (op % 16 == 10 || op % 16 == 11) {
        op_datagram(c);
    } else if (c == NULL) {
        return;
    } else if (op % 16 == 12) {
        op_state(c);
    } else if (op % 16 == 9) {
        op_data_track(c);
    } else if (op % 16 == 8) {
        op_subscription(c);
    } else if (op % 16 >= 6) {
        op_description(c);
    } else if (op % 16 == 5) {
        op_request(c);
    } else if (op % 16 >= 3) {
        op_media(c);
    } else {
        op_session(c);
    }
}

// ---- bystanders -----------------------------------------------------------------------------

static void bystanders_join(void)
{
    f.speaker = room_client_join(&f.h, &(struct room_client_conf){.identity = BYSTANDER "1"});
    f.voice = room_client_publish(f.speaker, ROOM_AUDIO);
    f.listener =
        room_client_join(&f.h, &(struct room_client_conf){.identity = BYSTANDER "2", .v0 = true});
    room_harness_run(&f.h, 1500 * US_PER_MS);
}

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "bystanders: %s\n", what);
        abort();
    }
}

// They hear each other and are answered, whatever happened around them.
static void bystanders_check(uint64_t link_loss)
{
    unsigned const pongs = f.listener->pongs;
    const struct room_stream *s = room_client_stream(f.listener, f.voice->sid);
    must(!f.speaker->left && !f.speaker->closed && !f.listener->left && !f.listener->closed,
         "sent away");
    must(s != NULL, "silence");
    uint64_t const before = s->packets;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING;
    r.ping = 1;
    room_client_request(f.listener, &r);
    room_harness_run(&f.h, 500 * US_PER_MS);
    s = room_client_stream(f.listener, f.voice->sid);
    // 25 packets of 20 ms each.
    must(s != NULL && s->packets - before >= (link_loss > 0 ? 12 : 23), "packets are missing");
    must(f.listener->pongs > pongs, "no pong");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    f = (struct fuzz){.in = rd_init(bytes_of(data, size)), .left_us = SIMULATED_MAX_US};
    uint8_t const net = rd_u8(&f.in);
    struct room_harness_conf const conf = {
        .seed = net,
        .link = {.delay_us = 5000,
                 .loss_ppm = net & 1 ? 50000 : 0,
                 .dup_ppm = net & 2 ? 50000 : 0,
                 .jitter_us = net & 4 ? 10000 : 0,
                 .reorder = net & 8},
        // Not longer than the way of packets: those of v1 would overtake the answer that names them.
        .signal_us = net & 16 ? 4000 : 0,
        .max_participants = net & 32 ? (net & 64 ? 4 : 2) : 0,
        .packet_max = 4096,
    };
    room_harness_init(&f.h, &conf);
    f.h.watched = BYSTANDER;
    f.h.tap = see;
    if (net & 64) {
        bystanders_join();
    }
    for (int i = 0; i < OPS_MAX && rd_left(&f.in) > 0; i++) {
        step();
    }
    if (f.left_us > 0) {
        room_harness_run(&f.h, MIN(f.left_us, 500 * US_PER_MS));
    }
    if (net & 64 && !f.excused) {
        bystanders_check(conf.link.loss_ppm);
    }
    // What clients complain about may come from the damage that was done to their own words.
    if (f.made_up && f.h.watched_violations == 0) {
        f.h.violations = 0;
        f.h.violation[0] = 0;
    }
    if (room_harness_done(&f.h) > 0) {
        (void)fprintf(stderr, "%s\n", f.h.violation);
        abort();
    }
    return 0;
}
