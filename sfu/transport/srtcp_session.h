// SPDX-License-Identifier: Apache-2.0
#pragma once
// SRTCP of one transport, both directions, AES_CM_128_HMAC_SHA1_80 (RFC 3711 section 3.4). Used by
// srtp_transport.
//
// Done here instead of with libsrtp2 because a session of that (Debian's, on NSS) takes tens of
// kilobytes, which a transport that only sends media would need for nothing but the receiver
// reports that come back.
//
// One index for everything we send, whatever its SSRC: the RFC wants it to increase per SSRC, gaps
// are fine.
//
// Thread: one.

#include "sfu/transport/srtp_transport.h"

struct srtcp_session;

// -ENOMEM.
int srtcp_session_new(const struct srtp_keys *keys, struct srtcp_session **ret) NODISCARD;
void srtcp_session_free(struct srtcp_session *s); // accepts NULL

// As srtp_transport_protect_rtcp and srtp_transport_unprotect_rtcp, which say what these do.
int srtcp_session_protect(struct srtcp_session *s, uint8_t *buf, size_t cap, size_t *len) NODISCARD;
enum srtp_drop srtcp_session_unprotect(struct srtcp_session *s, struct bytes_mut *packet) NODISCARD;
