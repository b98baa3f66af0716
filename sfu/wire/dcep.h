// SPDX-License-Identifier: Apache-2.0
#pragma once
// Data Channel Establishment Protocol messages (RFC 8832 section 5) and the payload protocol
// identifiers of WebRTC (RFC 8831 section 8). Pure.

#include "common/base/bytes.h"

enum dcep_ppid {
    DCEP_PPID_DCEP = 50,
    DCEP_PPID_STRING = 51,
    DCEP_PPID_BINARY_PARTIAL = 52, // deprecated
    DCEP_PPID_BINARY = 53,
    DCEP_PPID_STRING_PARTIAL = 54, // deprecated
    DCEP_PPID_STRING_EMPTY = 56,
    DCEP_PPID_BINARY_EMPTY = 57,
};

enum dcep_type {
    DCEP_ACK = 2,
    DCEP_OPEN = 3,
};

enum dcep_reliability {
    DCEP_RELIABLE = 0,
    DCEP_REXMIT = 1, // reliability = number of retransmissions
    DCEP_TIMED = 2,  // reliability = lifetime in milliseconds
};

struct dcep_open {
    uint8_t reliability_kind; // enum dcep_reliability
    bool unordered;
    uint16_t priority;
    uint32_t reliability;
    struct bytes label; // UTF-8, views into the message
    struct bytes protocol;
};

struct dcep_message {
    uint8_t type;          // enum dcep_type
    struct dcep_open open; // if DCEP_OPEN
};

// Parses one message; views point into data. Bytes behind an OPEN are refused as -EBADMSG, an
// unknown type or channel type is -ENOTSUP.
int dcep_parse(struct bytes data, struct dcep_message *ret) NODISCARD;

// Writes OPEN. The writer fails when label or protocol exceed 65535 bytes.
void dcep_write_open(struct wr *w, const struct dcep_open *open);
void dcep_write_ack(struct wr *w);
