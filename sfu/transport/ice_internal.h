// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the files of the ICE agent need of each other: ice_agent.c (requests, liveness),
// ice_tuples.c (addresses, nomination), ice_checks.c and ice_pairs.c (full role). For these only.

#include "sfu/transport/ice_agent.h"

// ---- ice_agent.c ----------------------------------------------------------------------------

// A new event at the end of the queue, to be filled in.
struct ice_event *ice_agent_push_event_(struct ice_agent *a, enum ice_event_kind kind);

// Checks the edge and makes the event.
void ice_agent_set_state_(struct ice_agent *a, enum ice_state to);

// ---- ice_tuples.c ---------------------------------------------------------------------------

void ice_rate_fill_(struct ice_rate *r, mono_t now);
// Takes one request's worth; false if the limit is reached.
bool ice_rate_take_(struct ice_rate *r, mono_t now);

// The tuple for (local, remote), added if it is new (the oldest unselected one makes room).
int ice_agent_take_tuple_(struct ice_agent *a, mono_t now, uint8_t local,
                          const struct addr *remote);
void ice_agent_remove_tuple_(struct ice_agent *a, int i);

// Something authenticated arrived from tuple t.
void ice_agent_alive_(struct ice_agent *a, mono_t now, int t);

// Sends to tuple t from now on; connects if that is the first.
void ice_agent_select_(struct ice_agent *a, mono_t now, int t);

// Moves to another tuple when the selected one went silent and the other did not.
void ice_agent_leave_silent_(struct ice_agent *a, mono_t now);
// When that will find something to do without further packets.
mono_t ice_agent_leave_deadline_(const struct ice_agent *a);

// A check of the given generation of credentials came from tuple i of a lite agent: selection and
// nomination.
void ice_agent_lite_request_(struct ice_agent *a, mono_t now, int i, uint8_t generation,
                             uint32_t priority, bool use_candidate);

// Consent expired.
void ice_agent_fail_(struct ice_agent *a);

// ---- ice_checks.c ---------------------------------------------------------------------------

struct ice_checks *ice_checks_new(struct rng *rng, bool nominate_always);
void ice_checks_free(struct ice_checks *c);

// Forgets all pairs: what was checked has failed, and only ice_agent_set_remote begins anew.
void ice_checks_stop_(struct ice_checks *c);

// Whether requests with ICE-CONTROLLING (true) or ICE-CONTROLLED conflict with our role; if so,
// whether we answer 487 (else we have changed roles and go on). RFC 8445 section 7.3.1.1.
bool ice_checks_role_conflict_(struct ice_checks *c, bool peer_controlling, uint64_t tie_breaker);

// An authenticated request was answered: triggered check, nomination by a controlling peer.
void ice_checks_on_request_(struct ice_agent *a, mono_t now, int tuple, uint32_t priority,
                            bool use_candidate);

enum ice_rx ice_checks_on_response_(struct ice_agent *a, mono_t now, uint8_t local,
                                    const struct addr *src, const struct stun_msg *m);

void ice_checks_timeout_(struct ice_agent *a, mono_t now, struct outbox *out);
mono_t ice_checks_deadline_(const struct ice_agent *a);
