// SPDX-License-Identifier: Apache-2.0
#pragma once
// The data channels of a room_client, as livekit-client uses them: which it opens, packets with
// sequences, a file as a data stream, the repetition after a resume, and what it must never see.

#include "common/lk/livekit.h"
#include "sfu/transport/sctp_transport.h"

struct room_client;
struct room_pc;

enum room_channel {
    ROOM_RELIABLE,
    ROOM_LOSSY,
    ROOM_DATA_TRACK,
    ROOM_OTHER, // "something": a label that LiveKit does not know
    ROOM_CHANNEL_COUNT,
};

#define ROOM_DATA_SENDERS 64 // that one client remembers
#define ROOM_DATA_CHUNK 15000

// One sender as a receiver sees it.
struct room_data_from {
    char sid[24];
    uint32_t last_sequence;
};

struct room_data {
    bool opened[ROOM_CHANNEL_COUNT];    // on the transport where it receives
    unsigned order[ROOM_CHANNEL_COUNT]; // ids of the server's channels (v0)
    uint32_t sequence;                  // of its last reliable packet
    struct room_data_from from[ROOM_DATA_SENDERS];
    size_t from_count;
    struct dynbuf told; // "alice:hello, " of user, chat and transcription packets
    unsigned packets, repeated, opaque, metrics, others;
    unsigned raw; // messages of _data_track
    uint64_t raw_bytes;
    // Sees each packet; NULL: nobody.
    void (*tap)(struct room_client *c, const Livekit__DataPacket *p);
    bool generated;     // of the last chat message or text header
    int64_t normalized; // of the last metrics, ms

    // A file that goes out, and one that comes in.
    uint64_t file_left, file_index;
    uint64_t chunk_next, file_bytes; // received without a gap
    unsigned file_gaps;
    bool blocked; // SCTP took no more
    bool limited; // it reads slow_budget more bytes and stops
    uint64_t slow_budget;
};

void room_data_init(struct room_data *d);
void room_data_done(struct room_data *d);

// Sends a packet; reliable ones get the next sequence (keep_sequence: as it is). -EAGAIN, -ENOTCONN.
int room_client_send_packet(struct room_client *c, enum room_channel channel,
                            Livekit__DataPacket *p, bool keep_sequence);
// A user packet with a text; to: an identity or NULL.
int room_client_say(struct room_client *c, enum room_channel channel, const char *text,
                    const char *to);
int room_client_send_raw(struct room_client *c, enum room_channel channel, struct bytes message);
// Starts sending `bytes` as chunks of a data stream, as fast as SCTP takes them.
void room_client_send_file(struct room_client *c, uint64_t bytes);
// It reads nothing more, or again.
void room_client_stop_reading(struct room_client *c, bool stop);
// It reads so many bytes and then stops.
void room_client_read_some(struct room_client *c, uint64_t bytes);

// ---- for room_client_pc.c -------------------------------------------------------------------

void room_data_event(struct room_pc *p, const struct sctp_event *e);
