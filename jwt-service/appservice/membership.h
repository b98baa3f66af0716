// SPDX-License-Identifier: Apache-2.0
#pragma once
// Asks the homeserver whether a user is joined to a room: GET .../rooms/{roomId}/is_joined (MSC4502),
// with the as_token. Owner thread: the loop's.
//
// Works for users of any server, for rooms that our homeserver is in. Homeservers know the endpoint
// under its unstable name or its stable one; which of them is remembered.

#include "jwt-service/appservice/as_client.h"

enum membership_state {
    MEMBERSHIP_JOINED,
    MEMBERSHIP_NOT_JOINED, // also: a room that the homeserver does not know
    MEMBERSHIP_UNKNOWN,    // nobody may conclude anything from it
};

struct membership;
struct membership_call;

struct membership_result {
    enum membership_state state;
    const char *step; // UNKNOWN: what failed
    const char *text; // UNKNOWN: one line for the operator
    int64_t elapsed_ms;
};

// NULL without memory. client must outlive it.
struct membership *membership_new(struct as_client *client) NODISCARD;
// Every call must have ended or been cancelled. Accepts NULL.
void membership_free(struct membership *m);
DEFINE_CLEANUP(struct membership *, membership_free)

// Asks; the strings are copied. fn is called once from the loop, never from inside this call; *ret
// is valid until then. -ENOMEM.
int membership_check(struct membership *m, const char *room_id, const char *user_id,
                     void (*fn)(void *user, const struct membership_result *result), void *user,
                     struct membership_call **ret) NODISCARD;

// fn will not be called.
void membership_cancel(struct membership_call *c);

// What an answer of the endpoint means. *ret_text gets a line for the operator if it is UNKNOWN.
// Pure.
enum membership_state membership_classify(const struct as_client_result *r, const char **ret_text);
