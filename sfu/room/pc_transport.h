// SPDX-License-Identifier: Apache-2.0
#pragma once
// One peer connection of a participant with everything that belongs to it: descriptions, packets,
// reports, deadlines.
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/transport.go (PCTransport).

#include "sfu/media/rtp_demux.h"
#include "sfu/media/twcc_recorder.h"
#include "sfu/room/room_env.h"
#include "sfu/transport/flow_table.h"
#include "sfu/transport/jsep.h"

struct participant;
struct peer_connection;
struct subscription;
struct track_media;

enum pc_target { // SignalTarget
    PC_PUBLISHER = 0,
    PC_SUBSCRIBER = 1,
};

// State that only transports with a publisher on them need: 30 KB.
struct pc_ingress {
    struct rtp_demux demux;
    struct twcc_recorder twcc;
    uint16_t section_count, section_cap;
    // In the order of the demultiplexer: a route's section is an index.
    struct pc_section {
        uint32_t id;               // of the demultiplexer's section: the transceiver's
        struct track_media *media; // NULL while no add_track claims it
    } * sections;
};

struct pc_transport {
    handle_t handle;
    struct flow_owner flow; // its addresses and ufrags in env->flows
    struct participant *participant;
    struct room_env *env;
    enum pc_target target;
    struct peer_connection *pc;
    struct jsep *jsep;
    struct pc_ingress *ingress; // NULL until the peer publishes
    uint32_t rtcp_ssrc;         // sender SSRC of our reports and feedback
    uint16_t twcc_sn;           // next transport-wide number we send
    bool remote_set;
    bool connected;                   // ICE and DTLS are up
    bool failed;                      // and not connected again since
    bool beyond_repair;               // failed in a way that no ICE restart mends
    struct subscription *outputs;     // hash by SSRC that we send
    struct subscription *outputs_rtx; // hash by RTX SSRC
    struct timer timer;               // ROOM_TIMER_PC
    struct timer media;               // ROOM_TIMER_MEDIA
    mono_t next_report;               // receiver reports
    uint32_t rrtr_ssrc, rrtr_lrr;     // last receiver reference time of the peer, to be answered
    mono_t rrtr_at;
    char ufrag[16];
};

// -ENOMEM, -ENOBUFS.
int pc_transport_new(struct participant *p, enum pc_target target,
                     struct pc_transport **ret) NODISCARD;
// Says goodbye on the wire and frees. Accepts NULL.
void pc_transport_close(struct pc_transport *t);

// Before an offer is answered: an ICE restart of the peer needs new credentials of ours in the
// answer. -ENOMEM.
int pc_transport_prepare_answer(struct pc_transport *t,
                                const struct jsep_applied *applied) NODISCARD;

// After a finished exchange (only then the DTLS role is known): gives what jsep learned from the
// remote description to the peer connection: credentials, fingerprint, role. -EINVAL: unusable,
// -ENOMEM.
int pc_transport_apply_remote(struct pc_transport *t, const struct jsep_applied *applied) NODISCARD;

// ICE restart asked for by us (v0 subscriber on resume): new local credentials for the next offer.
// -ENOMEM.
int pc_transport_restart_ice(struct pc_transport *t) NODISCARD;

// Tells the demultiplexer which sections the peer sends on; call after each finished description.
// -ENOMEM.
int pc_transport_update_ingress(struct pc_transport *t) NODISCARD;

// One datagram that belongs to this transport. p is the packet whose buffer holds it; media packets
// are routed on (router_rtp), the rest is consumed. The caller gives p up with packet_unref
// afterwards.
void pc_transport_input(struct pc_transport *t, uint8_t local, const struct addr *src,
                        struct packet *p);

// A deadline (ROOM_TIMER_PC, ROOM_TIMER_MEDIA) was reached.
void pc_transport_timeout(struct pc_transport *t);
void pc_transport_media_timeout(struct pc_transport *t);

// A handshake step came back from the pool. Takes the work.
void pc_transport_dtls_done(struct pc_transport *t, struct dtls_work *work);

// SCTP has something to send or to tell.
void pc_transport_sctp_ready(struct pc_transport *t);

// The demultiplexer bound an SSRC: the track (media NULL: not known yet) and SRTP learn it.
void pc_transport_bound(struct pc_transport *t, struct track_media *media,
                        const struct rtp_demux_route *route, uint32_t ssrc);

// A track was published or ended: the sections know it, and what is bound already reaches its
// receiver.
void pc_transport_set_track(struct pc_transport *t, uint32_t section_id, struct track_media *media);

// Round trip measured by extended reports.
void pc_transport_set_rtt(struct pc_transport *t, int64_t rtt_us);

// An SSRC of the peer for feedback about the transport as a whole; 0 if it sends none.
uint32_t pc_transport_any_ssrc(const struct pc_transport *t);

// Sends a plain RTCP compound.
void pc_transport_send_rtcp(struct pc_transport *t, struct bytes compound);

// The media deadline is at least as soon as `at`.
static inline void pc_transport_media_by(struct pc_transport *t, mono_t at)
{
    timer_heap_set_sooner(t->env->timers, &t->media, at);
}
