// SPDX-License-Identifier: Apache-2.0
#pragma once
// DTLS records as seen from outside, and the reassembly of a fragmented ClientHello (RFC 6347
// sections 4.1, 4.2). Pure.
//
// Chromium and Firefox send a ClientHello of about 1.4 KB (post-quantum key share) in two records;
// mbedTLS before 3.6.6 refuses any fragmented ClientHello. dtls_hello joins the fragments into the
// one record that mbedTLS wants. The handshake hash does not notice: DTLS 1.2 hashes messages as if
// unfragmented (RFC 6347 section 4.2.6).

#include "common/base/bytes.h"
#include "common/base/mono.h"

#define DTLS_RECORD_HEADER_LEN 13
#define DTLS_HANDSHAKE_HEADER_LEN 12

// Largest ClientHello body that is put together: those of today's browsers have 1413 and 1461
// bytes.
#define DTLS_HELLO_MAX 4096

// Fragments that do not complete within this time are forgotten.
#define DTLS_HELLO_LIFETIME_MS 2000

enum dtls_content_type {
    DTLS_CHANGE_CIPHER_SPEC = 20,
    DTLS_ALERT = 21,
    DTLS_HANDSHAKE = 22,
    DTLS_APPLICATION_DATA = 23,
};

// One record of a datagram; views into it.
struct dtls_record_view {
    uint8_t type; // enum dtls_content_type, or anything else
    uint16_t version;
    uint16_t epoch;
    uint64_t seq;         // 48 bits
    struct bytes raw;     // header and fragment
    struct bytes payload; // fragment
};

// Takes the next record off the datagram. -EAGAIN at its end, -EBADMSG when the rest is no record
// (it is skipped then).
int dtls_record_next(struct rd *datagram, struct dtls_record_view *ret) NODISCARD;

struct dtls_hello {
    uint8_t *buf;  // record header, handshake header, body, then one bit per byte of the body; NULL
                   // when idle
    uint32_t len;  // length of the body
    uint32_t have; // bytes of it received
    uint16_t seq;  // message_seq
    bool complete; // buf was handed out and is freed by the next call
    mono_t started;
};

void dtls_hello_init(struct dtls_hello *h);
// Frees everything; h may be used again.
void dtls_hello_done(struct dtls_hello *h);

enum dtls_hello_result {
    DTLS_HELLO_PASS,     // not a fragment of a ClientHello: hand the record on as it is
    DTLS_HELLO_PARTIAL,  // kept, more is needed
    DTLS_HELLO_COMPLETE, // *ret_record is the joined record
    DTLS_HELLO_REJECT,   // malformed, over a limit, or no memory: drop it
};

// Looks at one record. On DTLS_HELLO_COMPLETE *ret_record is one synthetic record with the header
// of the fragment that came last (mbedTLS answers with its sequence number, RFC 6347
// section 4.2.1), valid until the next call.
enum dtls_hello_result dtls_hello_input(struct dtls_hello *h, mono_t now,
                                        const struct dtls_record_view *rec,
                                        struct bytes *ret_record);
