// SPDX-License-Identifier: Apache-2.0
#pragma once
// A peer connection of a test client: its socket, description engine, transport (full ICE, DTLS,
// SRTP, SCTP), the streams it receives and the tracks it sends, and the RTCP of both.
//
// Owner thread.

#include "sfu/media/twcc_recorder.h"
#include "sfu/transport/peer_connection.h"
#include "sfu/wire/candidate.h"
#include "tests/support/client_sender.h"
#include "tests/support/client_stream.h"

#define CLIENT_SENDERS_MAX 16

struct client_pc_conf {
    struct client_net *net;
    struct addr local; // where the socket is bound; port 0
    bool single_pc;    // v1
    bool headers_only; // receives media without decrypting it (RTX is decrypted)
    bool stamps;       // kernel time stamps for latencies
    // Transport or SCTP changed. Must not free the connection.
    void (*on_state)(void *user, struct client_pc *pc);
    void *user;
};

struct client_pc {
    struct client_pc_conf conf;
    struct client_net *net;
    struct client_socket socket;
    struct jsep *jsep;
    struct peer_connection *pc;
    enum peer_connection_state state;
    enum peer_connection_failure failure;
    enum sctp_state sctp;
    bool remote_set;
    mono_t remote_at, connected_at; // of the first description, the first CONNECTED; 0: not yet
    struct client_timer timer;      // of the transport
    struct client_timer feedback;   // NACK, PLI, TWCC
    struct client_timer report;     // SR, RR
    struct client_stream *streams;  // hash by SSRC
    struct client_stream *streams_rtx;
    struct client_stream *last;                        // the stream of the last packet
    struct client_sender *senders[CLIENT_SENDERS_MAX]; // borrowed
    size_t sender_count;
    struct rtp_ext_map ext_recv;
    struct twcc_recorder *twcc; // NULL: not agreed
    uint16_t twcc_sn;           // next one that we send
    uint32_t rtcp_ssrc;
    mono_t feedback_at; // when NACKs may be sent again
    // Since the start.
    uint64_t unknown_ssrc; // packets of streams that no description named
    uint64_t malformed;
    uint64_t rtcp_lost; // reports that did not fit
    uint64_t rtcp_in, rtcp_out, twcc_in, twcc_out, data_messages;
};

// -ENOMEM, negative errno of the socket.
int client_pc_new(const struct client_pc_conf *conf, struct client_pc **ret) NODISCARD;
// Says goodbye on the wire. Accepts NULL. Senders must be gone or be freed afterwards without use.
void client_pc_free(struct client_pc *p);

// ---- descriptions -------------------------------------------------------------------------------
// out: initialised by the caller. Results of jsep and peer_connection.

int client_pc_create_offer(struct client_pc *p, struct dynbuf *out) NODISCARD;
int client_pc_set_answer(struct client_pc *p, struct bytes sdp) NODISCARD;
// Applies an offer and writes the answer.
int client_pc_answer(struct client_pc *p, struct bytes offer, struct dynbuf *out) NODISCARD;
// New ICE credentials for the next description (restart). -ENOMEM.
int client_pc_restart(struct client_pc *p) NODISCARD;

// A trickled candidate line; what cannot be used is ignored.
void client_pc_add_candidate(struct client_pc *p, struct bytes line);
// Our only candidate, for trickling.
void client_pc_local_candidate(const struct client_pc *p, char ret[static CANDIDATE_TEXT_CAP]);

// Adds a section that sends s. -E2BIG, -ENOMEM, -EINVAL.
int client_pc_add_sender(struct client_pc *p, struct client_sender *s) NODISCARD;
// Its section becomes inactive with the next description.
void client_pc_remove_sender(struct client_pc *p, struct client_sender *s);

// ---- for the senders ----------------------------------------------------------------------------

// Where to send, NULL while nothing may be sent.
const struct peer_connection_path *client_pc_path(const struct client_pc *p);

static inline bool client_pc_is_connected(const struct client_pc *p)
{
    return p->state == PEER_CONNECTION_CONNECTED;
}
