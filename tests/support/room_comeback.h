// SPDX-License-Identifier: Apache-2.0
#pragma once
// A room_client that comes back by itself as livekit-client does: resumes when its socket or its
// media is lost or when it is told to, joins anew when a resume is refused, publishes again then,
// and repeats reliable packets that the server did not get (livekit-protocol 1.8, 4.10, 4.13).
//
//   room_comeback_join ─► (room_comeback_tick, room_harness_run(10 ms)) ... ─► the client

#include "tests/support/room_client.h"

#define ROOM_COMEBACK_TEXTS 1024

struct room_comeback {
    struct room_client *c;
    struct room_client_conf conf;
    bool publishes, talks;
    struct room_sender *sender; // of the present session

    bool offline; // no socket can be opened
    bool frozen;  // does nothing
    bool coming;  // a resume is under way
    mono_t next_try, next_ping, next_text, connected_by, last_message;
    unsigned attempt, messages;
    unsigned resumes, rejoins;

    // Its reliable packets "0", "1", ... of this session: the sequence of each.
    unsigned texts;
    uint32_t sequence[ROOM_COMEBACK_TEXTS];
};

void room_comeback_join(struct room_comeback *b, struct room_harness *h,
                        const struct room_client_conf *conf, bool publishes, bool talks);

// Every 10 ms or so.
void room_comeback_tick(struct room_comeback *b);

// What browsers notice at once: the socket was reset, the network is back.
void room_comeback_socket_lost(struct room_comeback *b);

// Signalling and primary connection are up, and nothing is under way.
bool room_comeback_settled(const struct room_comeback *b);
