// SPDX-License-Identifier: Apache-2.0
#pragma once
// The SRTP master keys of one DTLS session, as values (RFC 5764 section 4.2). Pure.
//
// Only SRTP_AES128_CM_HMAC_SHA1_80 (profile 0x0001) is negotiated: mbedTLS knows no AEAD profile,
// every browser accepts this one, and multi-buffer protection makes it as cheap as the AEAD ones.

#include "common/base/bytes.h"

#define SRTP_KEYS_KEY_LEN 16
#define SRTP_KEYS_SALT_LEN 14

// Bytes that protection appends: RTP tag; RTCP E-flag + index and tag (RFC 3711 sections 3.1, 3.4).
#define SRTP_RTP_OVERHEAD 10
#define SRTP_RTCP_OVERHEAD 14

struct srtp_master {
    uint8_t key[SRTP_KEYS_KEY_LEN];
    uint8_t salt[SRTP_KEYS_SALT_LEN];
};

struct srtp_keys {
    struct srtp_master local;  // protects what we send
    struct srtp_master remote; // protects what the peer sends
};
