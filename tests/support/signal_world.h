// SPDX-License-Identifier: Apache-2.0
#pragma once
// The signalling thread's half of the SFU on loopback, with the test in the place of the workers.
// One thread; what fails here ends the program.

#include "common/base/dynbuf.h"
#include "common/lk/access_token.h"
#include "sfu/signal/signal_server.h"

#define DEADLINE_MS 20000
#define KEY "devkey"
#define SECRET "a secret of more than thirty-two bytes"

struct world {
    struct loop *loop;
    struct api_keys *keys;
    struct signal_server *server;
    struct channel_msg *mail; // for the workers, oldest first
    struct dynbuf out;        // last HTTP answer
    bool auto_create;
};

// Two workers; mail for them is collected in w->mail.
void open_world(struct world *w, bool auto_create);
void close_world(struct world *w);

// The next message for a worker, which must be of this type; the caller's.
struct channel_msg *expect_mail(struct world *w, enum channel_msg_type type);

// What workers say about their rooms.
void tell_room(struct world *w, uint32_t worker, const char *name, uint32_t participants);
void tell_ended(struct world *w, uint32_t worker, const char *name);

// May join the room "lobby".
extern const struct access_claims alice;

// A token of these claims, for an hour if they do not say; to be freed with mem_free.
char *mint(struct access_claims c, const char *key, const char *secret);

// One HTTP request as it is; the answer is in w->out, its status returned.
unsigned ask_raw(struct world *w, struct bytes request);
// "GET /rtc/validate?..." with further header lines, each ending in CRLF.
unsigned ask(struct world *w, const char *line, const char *headers);
// Whether the last answer holds text.
bool has(struct world *w, const char *text);
