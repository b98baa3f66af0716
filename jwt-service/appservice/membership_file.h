// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the membership monitor knows, kept over a restart: who the identities on the SFU are, one JSON
// object a line in the state folder. Reading and writing lines is pure.
//
// No journal: what is lost with a crash is who asked for a token since the last round, and they are
// known again with their next token.

#include "common/base/dynbuf.h"
#include "common/base/mono.h"

#define MEMBERSHIP_FILE_NAME "members.jsonl"
#define MEMBERSHIP_FILE_MAX ((size_t)64 << 20) // 100,000 of the longest lines that are usual

struct membership_record {
    const char *room_id; // Matrix
    const char *user_id;
    const char *room; // on the SFU
    const char *identity;
    int64_t expires_s; // of the token, unix seconds
};

// Appends a line. Errors show in out.
void membership_file_add(struct dynbuf *out, const struct membership_record *r);

// Calls fn for each line that is whole and has not expired; strings are valid during the call.
// Returns how many lines could not be read.
size_t membership_file_parse(struct bytes text, wall_t now,
                             void (*fn)(void *user, const struct membership_record *r), void *user);

// Replaces the file at once (a new one, readable by its owner only, is renamed). Negative errno.
int membership_file_save(const char *path, struct bytes text) NODISCARD;
