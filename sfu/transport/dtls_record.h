// SPDX-License-Identifier: Apache-2.0
#pragma once
// The record layer of an established DTLS 1.2 connection with AES-128-GCM (RFC 6347 section 4.1,
// RFC 5288): what is left of DTLS once the handshake is over. It replaces the mbedTLS context (two
// 16 KiB buffers and more) by about 2 KB, and its AES by libcrypto's.
//
// It also does what RFC 6347 section 4.2.4 asks of the side that spoke last: when the peer repeats
// its last flight because ours was lost, ours is sent again under new record numbers.
//
// Pure.

#include "sfu/transport/crypto_glue.h"
#include "sfu/transport/dtls_hello.h"

// Header 13, explicit nonce 8, tag 16.
#define DTLS_RECORD_OVERHEAD (DTLS_RECORD_HEADER_LEN + 8 + CRYPTO_GCM_TAG_LEN)

// A Finished message: handshake header and 12 bytes of verify data (RFC 5246 section 7.4.9).
#define DTLS_FINISHED_LEN (DTLS_HANDSHAKE_HEADER_LEN + 12)

// Change cipher spec record and the Finished record.
#define DTLS_LAST_FLIGHT_LEN (DTLS_RECORD_HEADER_LEN + 1 + DTLS_RECORD_OVERHEAD + DTLS_FINISHED_LEN)

// Key material of both directions and the position in both number spaces, as the handshake left
// them.
struct dtls_record_keys {
    uint8_t local_key[CRYPTO_AES128_KEY_LEN];
    uint8_t remote_key[CRYPTO_AES128_KEY_LEN];
    uint8_t local_iv[4];
    uint8_t remote_iv[4];
    uint64_t next_seq_plain; // our next record number of epoch 0
    uint64_t next_seq;       // our next record number of epoch 1
};

struct dtls_record;

// last: our encrypted Finished record as sent if our flight was the last one of the handshake (full
// handshake: the server's), else empty. -ENOMEM; -EBADMSG if `last` is not ours.
int dtls_record_new(const struct dtls_record_keys *keys, struct bytes last,
                    struct dtls_record **ret) NODISCARD;
void dtls_record_free(struct dtls_record *r); // accepts NULL

enum dtls_record_result {
    DTLS_RECORD_DATA,    // *ret_data is application data
    DTLS_RECORD_IGNORED, // old epoch, replayed, forged, or nothing to do
    DTLS_RECORD_CLOSE,   // close_notify
    DTLS_RECORD_FATAL,   // authenticated fatal alert
    DTLS_RECORD_REPEAT,  // the peer repeats its last flight: answer with
                         // dtls_record_write_last_flight
};

// Opens one record in place; `rec` is a view into memory that may be written.
enum dtls_record_result dtls_record_open(struct dtls_record *r, const struct dtls_record_view *rec,
                                         struct bytes *ret_data);

// Writes one record of the given type. The writer fails if it does not fit. -EIO, -EOVERFLOW after
// 2^48 records.
int dtls_record_seal(struct dtls_record *r, enum dtls_content_type type, struct bytes data,
                     struct wr *w) NODISCARD;

// Writes our last handshake flight again. -ENOENT when the peer spoke last.
int dtls_record_write_last_flight(struct dtls_record *r, struct wr *w) NODISCARD;
