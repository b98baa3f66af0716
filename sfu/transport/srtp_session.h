// SPDX-License-Identifier: Apache-2.0
#pragma once
// SRTP of one transport, incoming direction, AES_CM_128_HMAC_SHA1_80 (RFC 3711 sections 3.3, 4.1,
// 4.2): one key, and per SSRC the rollover counter and the replay window. The default back end of
// srtp_transport, which decides what SSRCs are kept and says why this is not left to libsrtp2.
//
// Allocates in srtp_session_new and srtp_session_reserve only: about 10 KB, of which 144 bytes per
// SSRC.
//
// Thread: one. Pure.

#include "sfu/transport/srtp_transport.h"

// Places at the start. One more than the transport keeps: a new stream proves itself before the idle
// one whose place it takes is forgotten.
#define SRTP_SESSION_STREAMS (SRTP_TRANSPORT_SSRCS_MIN + 1)

// RFC 3711 section 9.2: a key is good for 2^48 packets per SSRC, all that the index can count.
#define SRTP_SESSION_INDEX_MAX ((UINT64_C(1) << 48) - 1)

struct srtp_session;

// What stays in the clear.
struct srtp_session_header {
    uint32_t ssrc;
    uint16_t seq;
    size_t len; // with CSRCs and extension
};

// -ENOMEM.
int srtp_session_new(const struct srtp_master *remote, struct srtp_session **ret) NODISCARD;
void srtp_session_free(struct srtp_session *s); // accepts NULL; wipes

// Room for `count` streams. -ENOMEM: as before.
int srtp_session_reserve(struct srtp_session *s, uint32_t count) NODISCARD;

// False if the packet is shorter than its header and a tag, not of version 2, or longer than UDP
// carries; also under the extension profiles of cryptex (RFC 9335), which is not negotiated and
// means that the header is not in the clear.
bool srtp_session_parse(struct bytes packet, struct srtp_session_header *ret) NODISCARD;

// Checks and decrypts in place; `h` is what srtp_session_parse said of the packet. On SRTP_OK
// packet->n has shrunk to the plain packet. The first good packet of an SSRC makes its stream,
// with ROC 0. Else packet and session are as before (SRTP_DROP_LIBRARY, when libcrypto fails,
// leaves the payload undefined):
//   SRTP_DROP_REPLAY, SRTP_DROP_OLD   looked at before the tag, as RFC 3711 section 3.3 has it
//   SRTP_DROP_AUTH                    wrong tag
//   SRTP_DROP_SSRC_LIMIT              right, but all places are taken
//   SRTP_DROP_LIBRARY                 libcrypto failed, or the index is used up
enum srtp_drop srtp_session_unprotect(struct srtp_session *s, const struct srtp_session_header *h,
                                      struct bytes_mut *packet) NODISCARD;

// The next packet of the SSRC is taken for its first. Nothing happens if it has no stream.
void srtp_session_forget(struct srtp_session *s, uint32_t ssrc);

// The 48-bit index that `seq` most likely stands for, when `highest` is the largest one so far (RFC
// 3711 section 3.3.1 and appendix A). There is nothing before ROC 0. More than
// SRTP_SESSION_INDEX_MAX: used up.
static inline uint64_t srtp_session_guess(uint64_t highest, uint16_t seq)
{
    uint64_t const roc = highest >> 16;
    uint32_t const last = highest & UINT16_MAX;
    uint32_t const half = 1 << 15;
    if (last < half && seq > last + half && roc > 0) {
        return (roc - 1) << 16 | seq;
    }
    if (last >= half && seq < last - half) {
        return (roc + 1) << 16 | seq;
    }
    return roc << 16 | seq;
}
