// SPDX-License-Identifier: Apache-2.0
#pragma once
// Egress SRTP: protects many packets of many sessions at once with AES_CM_128_HMAC_SHA1_80 (RFC
// 3711).
//
// struct srtp_egress holds the expanded session keys of one transport. struct srtp_batch is the
// engine of one worker. Two back ends, chosen when the batch is made: ipsec-mb (amd64 with AVX2 or
// better: hashes up to 16 packets at the same time) and libcrypto (everywhere). Both give the same
// bytes as libsrtp2.
//
// Rollover counter: the engine keeps no state per SSRC. Whoever numbers the packets (a down track)
// keeps the 64-bit extended sequence number it has given out, writes its lower 16 bits into the
// header, and puts  roc = ext_sn >> 16  into the slot (srtp_egress_roc). An SSRC starts below 2^15,
// so its ROC starts at 0 and a packet lost near the first wrap cannot desynchronise the receiver
// (RFC 3711 section 3.3.1). Never number backwards by 2^15 or jump forward by that much, and never
// protect different bytes under the same (SSRC, ext_sn): that reuses key stream.
//
// Thread: a batch and the egress objects protected through it belong to one thread.

#include "sfu/transport/outbox.h"
#include "sfu/transport/srtp_keys.h"

struct srtp_batch;
struct srtp_egress;

enum srtp_batch_backend {
    SRTP_BATCH_AUTO, // the fastest this CPU and this build have
    SRTP_BATCH_LIBCRYPTO,
    SRTP_BATCH_IPSEC_MB,
};

// -ENOMEM; -ENOTSUP when the back end asked for is not there (never with SRTP_BATCH_AUTO).
int srtp_batch_new(enum srtp_batch_backend backend, struct srtp_batch **ret) NODISCARD;
void srtp_batch_free(struct srtp_batch *b);

// What was chosen ("ipsec-mb avx512", "libcrypto"): for the log.
const char *srtp_batch_name(const struct srtp_batch *b);

// Protects every OUTBOX_PROTECT_RTP slot of [0, o->count) in place, whatever order they are in:
// encrypts data[rtp_header_len, len), appends the tag, len grows by SRTP_RTP_OVERHEAD, protect
// becomes OUTBOX_FINAL, srtp NULL. A slot that breaks the rules (no session, header longer than
// packet, no room for the tag) gets len = 0 and must not be sent. Returns how many were broken so
// (our own bug: count and log it).
size_t srtp_batch_protect(struct srtp_batch *b, struct outbox *o);

// The session keys of one direction of one transport, in the form this process's back ends want
// (about 1 KB). -ENOMEM.
int srtp_egress_new(const struct srtp_master *master, struct srtp_egress **ret) NODISCARD;

// No slot that is still waiting for its flush may refer to it. Accepts NULL.
void srtp_egress_free(struct srtp_egress *e);

// The rollover counter that belongs to a 64-bit extended sequence number.
static inline uint32_t srtp_egress_roc(uint64_t ext_sn)
{
    return (uint32_t)(ext_sn >> 16);
}
