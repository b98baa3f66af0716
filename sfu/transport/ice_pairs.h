// SPDX-License-Identifier: Apache-2.0
#pragma once
// The check list of a full ICE agent as data: local addresses, remote candidates, the pairs of
// both. For ice_pairs.c and ice_checks.c only.

#include "sfu/transport/ice_internal.h"
#include "sfu/wire/candidate.h"

#define ICE_PAIRS_MAX (ICE_LOCALS_MAX * ICE_REMOTES_MAX)

enum ice_pair_state {
    ICE_PAIR_WAITING,
    ICE_PAIR_IN_PROGRESS,
    ICE_PAIR_SUCCEEDED,
    ICE_PAIR_FAILED,
};

struct ice_pair {
    struct addr remote;
    uint8_t local;
    uint8_t state;       // enum ice_pair_state
    bool triggered;      // goes first
    bool pending;        // txid waits for a response
    bool nominating;     // the pending or next check carries USE-CANDIDATE
    bool peer_nominated; // we are controlled: the peer's choice, to be followed when it succeeds
    uint8_t sends;
    uint8_t txid[STUN_TXID_LEN];
    uint32_t local_priority;
    uint32_t remote_priority;
    mono_t sent;
    mono_t resend; // MONO_NEVER: nothing to repeat
};

struct ice_remote {
    struct addr addr;
    uint32_t priority;
};

struct ice_checks {
    struct rng *rng;
    bool nominate_always;
    bool controlling;
    bool started;
    uint64_t tie_breaker;
    // Credentials of this list: a restart's new local ones count only with the answer.
    char local_ufrag[ICE_UFRAG_CAP];
    char remote_ufrag[ICE_REMOTE_TEXT_CAP];
    char remote_pwd[ICE_REMOTE_TEXT_CAP];
    struct ice_local locals[ICE_LOCALS_MAX];
    size_t local_count;
    struct ice_remote remotes[ICE_REMOTES_MAX];
    size_t remote_count;
    struct ice_pair pairs[ICE_PAIRS_MAX];
    size_t pair_count;
    int nominated; // index of the pair in use, -1: none yet
    mono_t pace;
    mono_t nominate_at;
    mono_t consent_next;
    mono_t consent_got;
    int64_t srtt_us;
};

// Priority of our address number `local` as a candidate of that type.
uint32_t ice_pairs_local_priority_(const struct ice_checks *c, size_t local,
                                   enum candidate_type type);

// RFC 8445 section 6.1.2.3; computed at each use because roles may change.
uint64_t ice_pairs_priority_(const struct ice_checks *c, const struct ice_pair *p);

// NULL if there is none.
struct ice_pair *ice_pairs_find_(struct ice_checks *c, uint8_t local, const struct addr *remote);

// Pairs our address number `local` with a remote candidate; the one there is if it is known. NULL:
// they do not go together, or the list is full.
struct ice_pair *ice_pairs_add_(struct ice_checks *c, size_t local, const struct addr *remote,
                                uint32_t priority);

// The pair of highest priority among those wanted; NULL if there is none.
struct ice_pair *ice_pairs_best_(struct ice_checks *c, bool (*wanted)(const struct ice_pair *p));
