// SPDX-License-Identifier: Apache-2.0
#pragma once
// SRTP and SRTCP of one transport (RFC 3711): everything that comes in, RTCP that goes out, and the
// session keys for media that goes out (struct srtp_egress, protected in batches by srtp_batch).
//
// Incoming RTP goes through one of two back ends, which give the same verdicts and the same bytes:
//   libcrypto  (srtp_session) what the server uses. All memory is taken with the first packet, as
//              the packet path must not allocate.
//   libsrtp2   the reference of the tests. Debian's is built on NSS, which calls malloc about seven
//              times for a packet.
// Measured by tests/bench, libcrypto against libsrtp2: 0.34 and 4.0 us for 120 bytes, 0.95 and 7.9
// us for 1150; 11 and 32 KB.
// Either is made with the first RTP packet, so a transport that only sends media never pays for it.
// RTCP both ways is done here on libcrypto, with 24 bytes per SSRC instead of a session.
//
// Thread: one.

#include "common/base/mono.h"
#include "sfu/transport/srtp_batch.h"
#include "sfu/transport/srtp_keys.h"

// Distinct incoming RTP SSRCs. A publisher of 3 simulcast video tracks with RTX and some audio uses
// about 20; a bridge with hundreds of tracks binds more, and gets a place for each and as many
// again: what a peer makes up takes none of them.
#define SRTP_TRANSPORT_SSRCS_MIN 64
#define SRTP_TRANSPORT_SSRCS_MAX 2048

// Packets per SSRC that may arrive late (libwebrtc and mediasoup use the same; libsrtp's default
// 128 is too few for NACK).
#define SRTP_TRANSPORT_WINDOW 1024

// An SSRC that is not bound is forgotten after this silence, when its place is needed.
#define SRTP_TRANSPORT_IDLE_MS 60000

struct srtp_transport;

// Who decrypts incoming RTP.
enum srtp_ingress {
    SRTP_INGRESS_LIBCRYPTO,
    SRTP_INGRESS_LIBSRTP2,
};

// Why a packet was dropped; also the index of its counter.
enum srtp_drop {
    SRTP_OK,              // not dropped
    SRTP_DROP_MALFORMED,  // short, not version 2, header past the end, cryptex
    SRTP_DROP_AUTH,       // wrong tag: forged, or keys of another DTLS session
    SRTP_DROP_REPLAY,     // seen already (normal: browsers probe with repeats)
    SRTP_DROP_OLD,        // behind the replay window
    SRTP_DROP_SSRC_LIMIT, // a new SSRC, and all places are in use
    SRTP_DROP_LIBRARY,    // anything else the library reports, out of memory
    SRTP_DROP_COUNT,
};

// -ENOMEM. The keys are copied.
int srtp_transport_new(const struct srtp_keys *keys, enum srtp_ingress backend,
                       struct srtp_transport **ret) NODISCARD;
void srtp_transport_free(struct srtp_transport *t); // accepts NULL

// Checks and decrypts in place; on SRTP_OK packet->n has shrunk to the plain packet, otherwise the
// packet must not be used.
enum srtp_drop srtp_transport_unprotect_rtp(struct srtp_transport *t, mono_t now,
                                            struct bytes_mut *packet) NODISCARD;
enum srtp_drop srtp_transport_unprotect_rtcp(struct srtp_transport *t,
                                             struct bytes_mut *packet) NODISCARD;

// Encrypts and signs the compound RTCP packet buf[0, *len) in place; *len grows by
// SRTP_RTCP_OVERHEAD, for which `cap` must have room (-ENOBUFS). -EINVAL if shorter than 8 bytes,
// -EPROTO when the 2^31 packets of the key are used up.
int srtp_transport_protect_rtcp(struct srtp_transport *t, uint8_t *buf, size_t cap,
                                size_t *len) NODISCARD;

// For outbox slots. Borrowed from t: flush the outbox before srtp_transport_free.
struct srtp_egress *srtp_transport_egress(struct srtp_transport *t);

// An SSRC that belongs to a published encoding is never evicted: a layer comes back with the same
// SSRC and SN + 1, and a fresh context at ROC 0 could not decrypt it. May be called before its
// first packet. -ENOBUFS when SRTP_TRANSPORT_SSRCS_MAX are bound, -ENOMEM.
int srtp_transport_bind_ssrc(struct srtp_transport *t, uint32_t ssrc) NODISCARD;
// Nothing is published under the SSRC any more: the next new one that needs a place takes it. Until
// then it is still decrypted, as a section that pauses comes back with the same SSRC and ROC.
void srtp_transport_release_ssrc(struct srtp_transport *t, uint32_t ssrc);

// SRTP_DROP_COUNT counters since the start; index SRTP_OK counts good packets.
const uint64_t *srtp_transport_counters(const struct srtp_transport *t);

// Name for metrics ("auth", "replay", ...), never NULL.
const char *srtp_drop_name(enum srtp_drop d);
