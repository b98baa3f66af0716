// SPDX-License-Identifier: Apache-2.0
#pragma once
// Two peer connections that talk through a virtual network on a virtual clock: the server
// (ICE-lite) and a client (full ICE). The script of a test changes the network or calls signalling
// between calls of pc_pair_run.

#include "sfu/transport/peer_connection.h"
#include "sfu/transport/srtp_batch.h"
#include "tests/support/vnet.h"

enum { PC_SERVER, PC_CLIENT };

struct pc_side {
    struct vnet_endpoint ep;
    struct peer_connection *pc;
    struct dtls_cert *cert;
    bool cert_borrowed;
    struct sctp_hub *hub;
    struct addr addr;
    struct ice_creds creds;
    // DTLS steps take this long, as on another thread.
    int64_t work_us;
    struct dtls_work *work;
    mono_t work_due;
    bool no_dtls; // never runs its steps
    // Sending: one RTP packet each 20 ms, one RTCP packet each 200 ms, while connected.
    bool send_media;
    uint64_t rtp_sent, rtcp_sent;
    mono_t next_rtp, next_rtcp;
    // What happened.
    enum peer_connection_state state;
    enum peer_connection_failure failure;
    mono_t connected_at, failed_at, disconnected_at;
    unsigned selections, tuples_added, tuples_removed, ufrags_retired, peer_closed;
    uint64_t rtp_received, rtcp_received, early_received;
    uint64_t highest_rtp; // sequence number + 1
    bool corrupt;         // a packet with wrong content, or twice
    uint8_t *seen;        // bitmap of received sequence numbers
    unsigned channels_open, messages;
    size_t message_bytes;
};

struct pc_pair {
    struct vnet *net;
    struct srtp_batch *batch;
    struct rng rng;
    mono_t now;
    struct pc_side side[2];
};

struct pc_pair_config {
    uint64_t seed;
    struct vnet_link link;      // both directions
    bool server_is_dtls_client; // a=setup:active
    bool client_repeats_nomination;
    int64_t work_us;
    bool sctp;
    bool wrong_fingerprint;     // the server expects another certificate
    struct dtls_cert *certs[2]; // borrowed; NULL: made for this pair
};

void pc_pair_init(struct pc_pair *p, const struct pc_pair_config *cfg);
void pc_pair_done(struct pc_pair *p);

// Offer and answer: credentials, candidates, fingerprints, roles.
void pc_pair_signal(struct pc_pair *p, const struct pc_pair_config *cfg);
// New credentials on both sides, the client's offer first, the server's answer delay_us later.
void pc_pair_restart(struct pc_pair *p, const struct pc_pair_config *cfg, int64_t delay_us);

// Lets duration_us pass.
void pc_pair_run(struct pc_pair *p, int64_t duration_us);

// Until both are connected, at most that long; whether they are.
bool pc_pair_connect(struct pc_pair *p, int64_t limit_us);
