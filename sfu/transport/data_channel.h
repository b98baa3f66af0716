// SPDX-License-Identifier: Apache-2.0
#pragma once
// The data channels of one association: which stream is which channel (RFC 8831 section 6, RFC 8832
// section 6). Pure bookkeeping: it decides about ids and states and writes DCEP messages;
// sctp_transport moves the bytes.
//
//     ours:   CONNECTING ──ACK──► OPEN ──► CLOSING ──both directions reset──► (gone)
//     theirs:                OPEN (at DCEP OPEN)

#include "common/base/bytes.h"
#include "sfu/wire/dcep.h"

// Channels per association. LiveKit's clients open three; more than 16 is abuse.
#define DATA_CHANNELS_MAX 16

// LiveKit's labels have at most 11 characters; longer ones of others are cut off here, not refused.
#define DATA_CHANNEL_LABEL_MAX 64

// Stream ids in each direction that we offer and accept. Everybody takes the lowest free id of his
// parity, so sixteen channels stay far below; RFC 8831 section 6.2 recommends 65535, but usrsctp
// reserves 104 bytes for each of them in each association (measured: 23 KB with 128, 116 KB with
// 1024).
#define DATA_CHANNEL_IDS 128

enum data_channel_state {
    DATA_CHANNEL_FREE,
    DATA_CHANNEL_CONNECTING, // our OPEN is not acknowledged
    DATA_CHANNEL_OPEN,
    DATA_CHANNEL_CLOSING,
};

struct data_channel_params {
    struct bytes label;
    uint16_t priority;        // RFC 8831 section 6.4: 256 is normal
    uint32_t reliability;     // retransmissions or milliseconds, by reliability_kind
    uint8_t reliability_kind; // enum dcep_reliability
    bool unordered;
};

struct data_channel {
    uint16_t id;
    uint8_t state; // enum data_channel_state
    bool opened_by_peer;
    bool unordered;
    uint8_t reliability_kind; // enum dcep_reliability
    uint32_t reliability;
    uint8_t label_len;
    uint16_t priority;
    bool announce;       // DCEP OPEN (ours) or ACK (theirs) is still to be sent
    bool reset_wanted;   // closing: our direction is still to be reset
    bool reset_sent;     // closing: our direction is reset
    bool reset_received; // closing: theirs
    char label[DATA_CHANNEL_LABEL_MAX];
};

struct data_channel_table {
    struct data_channel list[DATA_CHANNELS_MAX];
    bool ids_even; // ours; the peer has the others
};

// dtls_client: our ids are even (RFC 8832 section 6).
void data_channel_table_init(struct data_channel_table *c, bool dtls_client);

// Opens one of ours with the lowest free id, in state CONNECTING. -ENOBUFS, -EINVAL (label over
// DATA_CHANNEL_LABEL_MAX, reliability_kind unknown).
int data_channel_table_open(struct data_channel_table *c, const struct data_channel_params *params,
                            struct data_channel **ret) NODISCARD;

// The peer's OPEN on stream id: in state OPEN. A repeated OPEN returns the same channel. -EPROTO:
// an id of our parity or in use by us; -ENOBUFS: too many.
int data_channel_table_opened(struct data_channel_table *c, uint16_t id,
                              const struct dcep_open *open, struct data_channel **ret) NODISCARD;

// NULL if there is none.
struct data_channel *data_channel_table_by_id(struct data_channel_table *c, uint16_t id);
struct data_channel *data_channel_table_by_label(struct data_channel_table *c, struct bytes label);

// Puts it back to FREE; its id may be given out again.
void data_channel_table_remove(struct data_channel_table *c, struct data_channel *ch);
