// SPDX-License-Identifier: Apache-2.0
#pragma once
// What ice_agent.c (tuples, requests, liveness, lite role) and ice_checks.c (the check list of the
// full role) need of each other. For these two files only.

#include "sfu/transport/ice_agent.h"

// ---- ice_agent.c
// ----------------------------------------------------------------------------------------------------

// The tuple for (local, remote), added if it is new (the oldest unselected one makes room).
int ice_agent_take_tuple_(struct ice_agent *a, mono_t now, uint8_t local,
                          const struct addr *remote);

// Something authenticated arrived from tuple t.
void ice_agent_alive_(struct ice_agent *a, mono_t now, int t);

// Sends to tuple t from now on; connects if that is the first.
void ice_agent_select_(struct ice_agent *a, mono_t now, int t);

// Consent expired.
void ice_agent_fail_(struct ice_agent *a);

// ---- ice_checks.c
// ---------------------------------------------------------------------------------------------------

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
