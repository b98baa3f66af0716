// SPDX-License-Identifier: Apache-2.0
#pragma once
// A LiveKit client on room_harness: signalling (v0 and v1), peer connections, media. It behaves as
// livekit-client does, and checks every message it gets: order, versions, and that a participant
// and its track are known before the description that carries the track.

#include "common/lk/livekit.h"
#include "sfu/transport/jsep.h"
#include "sfu/transport/peer_connection.h"
#include "tests/support/room_data.h"
#include "tests/support/room_data_track.h"
#include "tests/support/room_harness.h"
#include "tests/support/room_stream.h"

#define ROOM_CLIENT_PEERS 512
#define ROOM_CLIENT_SENDERS 320
#define ROOM_CLIENT_KINDS 16 // first messages of a socket that are remembered

struct room_client_conf {
    const char *identity;
    const char *room; // NULL: "room"
    const char *name;
    bool v0;
    bool no_auto_subscribe;
    bool auto_subscribe_data;
    bool adaptive_stream;
    bool no_offer;      // like Firefox: nothing in the join request, the offer follows the answer
    bool silent;        // never answers or offers anything
    bool rejects_video; // v0: answers with port 0
    bool nominates;     // consent checks carry USE-CANDIDATE, as Chromium's do
    bool no_sections;   // v1: offers nothing when it is asked for sections
    bool dynacast;      // obeys subscribed_quality_update, publishes backup codecs
    uint32_t codecs;    // bit (1u << enum codec) of those it can send and receive; 0: all
    bool hidden, no_publish, no_subscribe, update_metadata;
    bool recorder, agent;
    uint32_t sources;              // can_publish_sources, bit n = TrackSource n
    const char *kind;              // of the token
    const char *metadata;          // of the token
    const char *join_metadata;     // of the join request
    const char *room_config;       // of the token, JSON
    bool no_publish_data, metrics; // token
    // Data channels: none at all; without _data_track as Go's; one more that LiveKit does not know.
    bool no_channels, go_channels, other_channel;
    int32_t protocol;         // 0: 17
    bool sdk_go, sdk_unknown; // of ClientInfo; else JS
    const char *browser;      // of ClientInfo
    bool knows_trailers;      // ClientInfo.capabilities
    // room_script.h: says nothing by itself but the answers to the server's offers; its own token.
    bool scripted;
    const char *jwt;
};

struct room_peer {
    char sid[24];
    char identity[64];
    char name[64];
    int state;
    int reason; // of DISCONNECTED
    uint32_t version;
    bool publisher;
    unsigned qualities; // how often its quality was told
    int quality;
    float score;
    bool speaking;
    float level;
    size_t data_track_count;
    char data_tracks[ROOM_DATA_TRACKS][24]; // sids
    size_t track_count;
    struct {
        char sid[24];
        char mime[24];
        bool muted;
        uint32_t layers_with_ssrc;
    } * tracks; // track_count of track_cap
    size_t track_cap;
};

// One peer connection of a client.
struct room_pc {
    struct room_client *client;
    bool subscriber; // v0: the server offers
    struct jsep *jsep;
    struct peer_connection *pc;
    struct vnet_endpoint ep;
    struct addr addr;
    struct ice_creds creds;
    struct dtls_work *work;
    enum peer_connection_state state;
    bool offer_out, offer_again;
    uint32_t offer_id;
    unsigned offers, answers; // of the server's resp. to the server's
};

struct room_client {
    struct room_client *prev, *next;
    struct room_harness *h;
    struct room_client_conf conf;
    uint32_t number;
    char identity[64];
    char room[64];
    handle_t session; // HANDLE_NONE: no socket
    bool vanished;    // its network is dead
    struct room_pc *publisher, *subscriber;
    struct room_sender *senders[ROOM_CLIENT_SENDERS];
    size_t sender_count;
    struct room_stream *streams; // received
    mono_t next_media, next_report;
    uint16_t twcc_sn;
    struct model_rng rng;

    // What it was told.
    bool first_seen; // on the present socket
    bool joined, reconnected, closed;
    uint8_t kinds[ROOM_CLIENT_KINDS]; // messages on the present socket, in order: their case
    unsigned kind_count;
    unsigned refused; // HTTP status of its connect request, 0: it was upgraded
    bool left;
    int leave_reason, leave_action;
    char sid[24];
    struct room_peer peers[ROOM_CLIENT_PEERS];
    size_t peer_count;
    unsigned messages, updates, track_published, track_subscribed, subscription_errors;
    unsigned requirements, required_audio, required_video, refusals, speakers, pongs, mutes;
    int last_refusal; // RequestResponse.reason
    char speaker[24]; // last active one
    bool speaker_active;
    unsigned room_updates, track_unpublished;
    unsigned quality_updates;
    unsigned subscription_refusals[3]; // subscription_response by SubscriptionError
    unsigned permitted, withheld;      // subscription_permission_update, and the last one
    char permission_sid[24];
    unsigned streams_started;  // stream_state_update
    uint32_t last_message_seq; // of the last ReconnectResponse
    struct room_data data;
    struct room_data_tracks tracks;
};

// Joins: the request goes out, nothing is waited for.
struct room_client *room_client_join(struct room_harness *h, const struct room_client_conf *conf);

// A new socket for the same session.
void room_client_resume(struct room_client *c);

// The socket is gone without a word.
void room_client_drop_socket(struct room_client *c);
// Cable pulled: no datagram comes or goes any more; and back.
void room_client_set_vanished(struct room_client *c, bool vanished);

// Sends any request; takes nothing.
void room_client_request(struct room_client *c, const Livekit__SignalRequest *req);
void room_client_leave(struct room_client *c);
void room_client_subscribe(struct room_client *c, const char *track_sid, bool subscribe);
void room_client_settings(struct room_client *c, const char *track_sid, bool disabled, int quality,
                          uint32_t width, uint32_t height);
// SubscriptionPermission: only this identity may have the track (NULL: all tracks). identity NULL:
// nobody; "*": everybody.
void room_client_permit(struct room_client *c, const char *identity, const char *track_sid);
void room_client_mute(struct room_client *c, struct room_sender *s, bool muted);

// add_track and an offer with its section.
struct room_sender *room_client_publish(struct room_client *c, enum room_media media);
// The same with more to say.
struct room_publish {
    enum room_media media;
    enum codec codec;  // CODEC_NONE: VP8, and not named
    enum codec backup; // CODEC_NONE: none
    int backup_policy; // BackupCodecPolicy
    bool muted;
    bool disable_red, encrypted, trailers;
    const char *cid;     // NULL: a fresh one
    const char *sdp_cid; // of the description, as Firefox; NULL: cid
    bool only_request;   // no section (room_client_add_section)
    bool only_section;   // no request (room_client_add_track)
};
struct room_sender *room_client_publish_as(struct room_client *c, const struct room_publish *conf);
// What was left out.
void room_client_add_track(struct room_client *c, struct room_sender *s);
void room_client_add_section(struct room_client *c, struct room_sender *s);
// Obeys what was told of s (conf.dynacast).
void room_client_dynacast(struct room_client *c, struct room_sender *s);
void room_client_unpublish(struct room_client *c, struct room_sender *s);
// Offers on the publisher connection as soon as no other offer is out; restart: with new ICE
// credentials.
void room_client_offer(struct room_client *c, bool restart);

bool room_client_active(const struct room_client *c); // primary connection is connected
const struct room_peer *room_client_peer(const struct room_client *c, const char *identity);
// Stream of a track, NULL while there is none.
struct room_stream *room_client_stream(const struct room_client *c, const char *track_sid);

// Goes without a word to the server. For the harness and for tests that want somebody gone.
void room_client_free(struct room_client *c);

// ---- for room_script.c ----------------------------------------------------------------------

// A client that has not said anything yet; its connect request.
struct room_client *room_client_new(struct room_harness *h, const struct room_client_conf *conf);
void room_client_connect(struct room_client *c, const Livekit__JoinRequest *j);

// ---- for room_harness.c ---------------------------------------------------------------------

void room_client_deliver(struct room_harness *h, struct channel_msg *m);
void room_client_datagram(struct room_harness *h, const struct vnet_datagram *d);
mono_t room_clients_deadline(const struct room_harness *h);
void room_clients_tick(struct room_harness *h);

// ---- room_client_pc.c -----------------------------------------------------------------------

struct room_pc *room_pc_new(struct room_client *c, bool subscriber);
void room_pc_free(struct room_pc *p);
// The text of an offer, in out.
void room_pc_write_offer(struct room_pc *p, bool restart, struct dynbuf *out);
bool room_pc_set_answer(struct room_pc *p, const char *sdp);
// Applies the server's offer and writes the answer.
bool room_pc_answer(struct room_pc *p, const char *sdp, struct dynbuf *out);
void room_pc_input(struct room_pc *p, const struct vnet_datagram *d);
mono_t room_pc_deadline(const struct room_pc *p);
void room_pc_tick(struct room_pc *p);
void room_pc_sctp_ready(struct room_pc *p);
