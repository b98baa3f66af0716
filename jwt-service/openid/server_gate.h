// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who may go out to a homeserver now, and who waits in line (authorization-service 5.8 rule 8).
// Pure: no clock, no callbacks. One thread.
//
// Two classes of servers. Those that the operator named (trusted) have `trusted` places each and
// take none from others. All others share `total` places, `per_server` to one server and
// `per_client` for one client. Who finds no place waits in his server's line. Places that become
// free go round the servers, so that a server with a long line does not keep those with short ones
// waiting; in one line whoever came first and whose client has a place.

#include "common/base/macros.h"

struct gate_conf { // zero: the default of openid_limits
    unsigned total;
    unsigned per_server;
    unsigned per_client;
    unsigned queue_per_server;
    unsigned queue_total;
    unsigned trusted;
    unsigned trusted_queue;
};

struct gate;
struct gate_server;

enum gate_state {
    GATE_OUT,     // zero: neither inside nor in line
    GATE_WAITING, // in line
    GATE_IN,      // has a place
};

// Embedded in whoever goes in. All zero before the first use.
struct gate_ticket {
    struct gate_ticket *prev, *next; // in the line
    struct gate_server *server;
    uint64_t client; // 0: not counted
    enum gate_state state;
};

struct gate *gate_new(const struct gate_conf *conf) NODISCARD;
void gate_free(struct gate *g); // every ticket must have left. Accepts NULL
DEFINE_CLEANUP(struct gate *, gate_free)

// Asks for a place. 0: t->state tells whether it has one or waits. -EBUSY: the line is full,
// -ENOMEM; t stays outside. client: any number that stands for who asks (hash_bytes of an address),
// 0: nobody in particular.
int gate_enter(struct gate *g, const char *server, bool trusted, uint64_t client,
               struct gate_ticket *t) NODISCARD;

// Gives the place (or the place in line) back. Nothing happens if t is outside.
void gate_leave(struct gate *g, struct gate_ticket *t);

// Somebody from the lines that has got a place just now, NULL: nobody can. Call it until then after
// gate_leave.
struct gate_ticket *gate_pop(struct gate *g);

// Inside and waiting at present; tests see by them that every turn is given back.
size_t gate_inside(const struct gate *g);
size_t gate_waiting(const struct gate *g);
