// SPDX-License-Identifier: Apache-2.0
#pragma once
// A delegated leave as it is stored: the record, and its form in the Redis hash
// (authorization-service 7.9), which the original service reads and writes as well. Pure.
//
//   field  ["<room>","<identity>"]
//   value  {"Params":{"DelayId":...,"DelayTimeout":<ns>,"ServerName":...,"LiveKitRoom":...,
//           "LiveKitIdentity":...},"RestartedAt":"2026-07-23T10:11:12.123456Z", ours...}
//
// Ours are State, ParticipantSid, OtherIdentity, UserId, Owner and Version beside Params, and
// owner_user_id inside; the original ignores what it does not know, so that both can use one store.

#include "common/base/dynbuf.h"
#include "common/base/mono.h"

enum job_state {
    JOB_WAITING,      // the participant was not seen yet; what the original's records mean
    JOB_CONNECTED,    // the participant is on the SFU
    JOB_DISCONNECTED, // gone; the event is to be sent
    JOB_STATE_COUNT,
};

// Borrowed texts, zero-terminated UTF-8, never NULL in a record that comes out of this module or of
// the store; "" means: not known. In a record that goes in, NULL stands for "".
struct job_record {
    const char *room;           // key, first half: LiveKit room name
    const char *identity;       // key, second half: LiveKit identity
    const char *other_identity; // the identity of the other generation, watched as well (7.1)
    const char *delay_id;
    const char *server_name;
    const char *user_id;       // whom the job counts for (7.12)
    const char *owner_user_id; // the user whose event it is: calls are made as this user (11.3)
    const char *sid;           // of the participant that was seen last
    int64_t delay_timeout_ns;  // >= 0
    wall_t restarted_at;       // last successful restart, at first the creation
    enum job_state state;
};

// Longest record in total, all texts together: identities are made of what clients send, and an
// identity beyond this is no name any more but a load. Such a job lives in memory only.
#define JOB_RECORD_MAX (60u << 10)

// -EINVAL: a key, the delay id or the server name is empty, or a text is not UTF-8, or the timeout
// negative. -E2BIG: over JOB_RECORD_MAX.
int job_record_check(const struct job_record *r) NODISCARD;

// Appends the field of a job. Check dynbuf_ok afterwards.
void job_codec_field(const char *room, const char *identity, struct dynbuf *out);

// Appends the value of a job. owner: the instance that runs it, "" for nobody. -EINVAL as
// job_record_check, -ENOMEM.
int job_codec_value(const struct job_record *r, const char *owner, struct dynbuf *out) NODISCARD;

// A record with its own memory.
struct job_decoded {
    struct job_record record;
    const char *owner; // "" if nobody says so
    void *memory_[2];  // what the texts stand in
};

// Reads field and value, which anybody may have written. The room and the identity are the field's.
// Unknown members are ignored; a missing timeout is 0 and a missing time 1970, both of which mean
// expired. -EBADMSG: not such a pair, or the key, the delay id or the server name are missing;
// *ret_age (may be NULL) then says when it was restarted last if at least that could be read, else
// it is 0. -ENOMEM. *ret is to be cleared with job_decoded_done.
int job_codec_decode(struct bytes field, struct bytes value, struct job_decoded *ret,
                     wall_t *ret_age) NODISCARD;
void job_decoded_done(struct job_decoded *d);

// RFC 3339 with up to nine digits of fraction and any offset; what is finer than a microsecond is
// cut off. -EBADMSG.
int job_codec_time_read(struct bytes text, wall_t *ret) NODISCARD;
// "2026-07-23T10:11:12.1Z": trailing zeros dropped, as Go writes it. Times from 1970 to 9999; others
// are clamped.
#define JOB_TIME_LEN 32
const char *job_codec_time_write(wall_t t, char buf[static JOB_TIME_LEN]);
