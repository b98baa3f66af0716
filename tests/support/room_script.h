// SPDX-License-Identifier: Apache-2.0
#pragma once
// A room_client that says what a script tells it and nothing else: requests as they stand, offers
// with the sections that are listed. Connections, media and the answers to the server's offers are
// those of any room_client.

#include "tests/support/room_client.h"

// A connect request. jwt: signed with the harness's key. request: JSON of a JoinRequest, without an
// offer. sections: of the offer in the join request (room_script_offer), NULL: it has none.
// NULL: the token is refused.
struct room_client *room_script_join(struct room_harness *h, const char *identity, bool v1,
                                     const char *jwt, const char *request, const char *sections,
                                     uint32_t offer_id);

// A new socket for the session that c has; request says reconnect and the sid. false: as above.
bool room_script_resume(struct room_client *c, const char *jwt, const char *request);

// Any request, as JSON. false: it is none.
bool room_script_request(struct room_client *c, const char *json);

// An offer on the publisher connection. sections: "mid kind direction codec [rid=q/h/f]
// [track=id of its msid] [cid=of its add_track, if another]", separated by ';', in the order of the description: those that are not there yet are
// added, what is sent on the others changes to what is said.
void room_script_offer(struct room_client *c, const char *sections, uint32_t id, bool restart);
