// SPDX-License-Identifier: Apache-2.0
#pragma once
// The DTLS identity of this process: one self-signed ECDSA P-256 certificate (RFC 8827
// section 6.5), its key, and what mbedTLS needs besides (random generator, the client and the
// server configuration). Created once and shared by all transports: immutable afterwards, so any
// thread may use it.

#include "common/base/bytes.h"

struct dtls_cert;

// "AB:CD:...": 32 bytes in upper-case hex with colons, and the terminating zero.
#define DTLS_CERT_FINGERPRINT_STRLEN (32 * 3)

// Generates key and certificate (a fresh one at each start; valid from yesterday for 30 days after
// now_unix_s, in seconds since 1970). -ENOMEM, -EIO when the random source or the library fails.
int dtls_cert_new(int64_t now_unix_s, struct dtls_cert **ret) NODISCARD;

// Every transport made from it must be gone. Accepts NULL.
void dtls_cert_free(struct dtls_cert *c);

// The value of a=fingerprint:sha-256 (text of the certificate's SHA-256). Borrowed from c.
const char *dtls_cert_fingerprint(const struct dtls_cert *c);

// ---- for dtls_handshake only ----------------------------------------------------------------

// The shared mbedtls_ssl_config of one role. Immutable.
const void *dtls_cert_config(const struct dtls_cert *c, bool client);

// What a handshake's keys are derived from.
struct dtls_secrets {
    bool valid;
    int prf; // mbedtls_tls_prf_types
    uint8_t master[48];
    uint8_t client_random[32];
    uint8_t server_random[32];
};

// mbedTLS 2.28 exports secrets through the shared configuration, so its callback cannot know the
// connection. It stores them here, while a step of that connection runs on the calling thread. NULL
// ends it. (3.x has a callback per connection.)
void dtls_cert_export_to(struct dtls_secrets *s);
