// SPDX-License-Identifier: Apache-2.0
#pragma once
// The peer connection as data, for peer_connection.c (its parts and their states) and
// peer_connection_io.c (packets and events) only.

#include "sfu/transport/peer_connection.h"

// One media packet that waits for the keys.
struct peer_connection_early {
    struct peer_connection_early *next;
    mono_t arrival;
    bool rtcp;
    size_t len;
    uint8_t data[];
};

struct peer_connection {
    const struct dtls_cert *cert;
    struct sctp_hub *hub;
    void *user;
    struct ice_agent ice;

    struct dtls_transport *dtls;
    struct dtls_work *work_out;  // runs elsewhere; another one that comes back is stale
    struct dtls_work *work_done; // came back while there was nowhere to send its output
    struct dtls_fingerprint fingerprints[DTLS_FINGERPRINTS_MAX];
    size_t fingerprint_count; // 0: no description of the peer yet
    enum dtls_role dtls_role;
    mono_t connect_deadline; // for DTLS, once ICE is there

    struct srtp_transport *srtp; // from DTLS connected on
    struct peer_connection_path path;
    struct sctp_transport *sctp;
    uint32_t sctp_max_message;

    struct peer_connection_early *early_head, *early_tail, *early_given;
    size_t early_count;

    enum peer_connection_state state, reported;
    enum peer_connection_failure failure;
    bool closed;
    bool was_connected;
    bool peer_closed; // to be reported
    bool had_selected;
    uint8_t selected_tcp;
    struct peer_connection_counters counters;
};

static inline bool peer_connection_is_alive_(const struct peer_connection *pc)
{
    return !pc->closed && pc->failure == PEER_CONNECTION_FAILURE_NONE;
}

// Brings everything up to date after a part has moved.
void peer_connection_refresh_(struct peer_connection *pc, mono_t now, struct outbox *out);

// Handles what DTLS reports.
void peer_connection_pump_dtls_(struct peer_connection *pc, mono_t now, struct outbox *out);

// One SCTP packet of the peer.
void peer_connection_input_data_(struct peer_connection *pc, struct bytes data);

// Drops the media that waits for keys.
void peer_connection_early_done_(struct peer_connection *pc);
