// SPDX-License-Identifier: Apache-2.0
#pragma once
// Calls of this service to the SFU's API: Twirp over HTTP, protobuf, signed with the API key
// (authorization-service 6.2, 6.3). Owner thread: the loop's. Never blocks; each call ends within
// SFU_CALL_MS. A connection that is refused or breaks is tried once more: all calls may be repeated.

#include "common/lk/keys.h"
#include "common/svc/httpc.h"
#include "jwt-service/base/sfu_cause.h"

#define SFU_CALL_MS 5000 // authorization-service 6.2: the original waits for ever

struct sfu_client;
struct sfu_call;

// Somebody in a room.
struct sfu_participant {
    const char *identity;
    const char *sid;
};

// How a call ended. Everything is valid during the callback only.
struct sfu_result {
    bool ok;
    // Not ok: the SFU itself said so: there is no such room or participant. Nothing else, above all
    // no 404 of a proxy, means absence (6.3).
    bool not_found;
    const char *room_sid;        // CreateRoom
    bool created;                // CreateRoom: the room is new (as far as its creation time tells)
    const char *participant_sid; // GetParticipant, "" if the SFU says none
    const struct sfu_participant *participants; // ListParticipants
    size_t participant_count;                   // ListParticipants; also 0 for a room that is not
    enum sfu_cause cause;                       // not ok
    const char *step; // not ok: "connect", "timeout", "unauthenticated", ...
    const char *text; // not ok: one line for the operator, with a hint what to do
    int64_t elapsed_ms;
};

typedef void (*sfu_done)(void *user, const struct sfu_result *result);

// `url`: LIVEKIT_URL or LIVEKIT_INTERNAL_URL. keys and http must outlive it. -EINVAL: url is no ws,
// wss, http or https URL. -ENOMEM.
int sfu_client_new(struct loop *loop, struct httpc *http, const struct api_keys *keys,
                   const char *url, struct sfu_client **ret) NODISCARD;
// Every call must have ended or been cancelled. Accepts NULL.
void sfu_client_free(struct sfu_client *c);
DEFINE_CLEANUP(struct sfu_client *, sfu_client_free)

// All calls: strings are copied. fn is called once from the loop, never from inside; *ret is valid
// until then. -ENOMEM.

// Makes sure that the room exists; an existing one is left as it is. max_participants 0: no limit.
int sfu_client_create_room(struct sfu_client *c, const char *room, uint32_t max_participants,
                           sfu_done fn, void *user, struct sfu_call **ret) NODISCARD;

// ok: the participant is in the room. not_found: confirmed absent. Else nothing is known.
int sfu_client_get_participant(struct sfu_client *c, const char *room, const char *identity,
                               sfu_done fn, void *user, struct sfu_call **ret) NODISCARD;

// ok: all who are in the room; none for a room that is not there.
int sfu_client_list_participants(struct sfu_client *c, const char *room, sfu_done fn, void *user,
                                 struct sfu_call **ret) NODISCARD;

// Puts somebody out of a room. not_found: was not there.
int sfu_client_remove_participant(struct sfu_client *c, const char *room, const char *identity,
                                  sfu_done fn, void *user, struct sfu_call **ret) NODISCARD;

// Ends a room for everybody in it. not_found: was not there.
int sfu_client_delete_room(struct sfu_client *c, const char *room, sfu_done fn, void *user,
                           struct sfu_call **ret) NODISCARD;

// Asks a question without consequences (ListRooms of a name that nobody uses) to find out at start
// whether URL, key and secret are right; not ok: cause says what is wrong.
int sfu_client_probe(struct sfu_client *c, sfu_done fn, void *user,
                     struct sfu_call **ret) NODISCARD;

// fn will not be called.
void sfu_client_cancel(struct sfu_call *call);
