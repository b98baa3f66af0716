// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps a service's set of API keys what its files say, while it runs: filewatch, key_source and
// api_keys_replace put together, with the log lines of it:
//   keys.loaded    a new content is in force (count, signing key)
//   keys.refused   what the file says now is no key set; the one before stays in force
//   keys.signing   another key signs from now on
//   keys.retired   a key is unknown from now on
// and a warning for each finding. Key names are in them, they stand in every token; secrets are not.
// Owner thread: the loop's.

#include "common/app/key_source.h"
#include "common/sys/loop.h"

// A new key verifies at once and signs this much later: another service with the same file has it
// by then (FILEWATCH_SETTLE_MS and the reading), so nobody gets a token that is refused.
#define KEY_WATCH_GRACE_MS 2000

struct key_watch;

struct key_watch_conf {
    struct loop *loop;
    struct key_source source; // its strings must outlive the watch
    struct api_keys *keys;    // in force, read from the source before; is changed in place
    // Told after each reading but the first, for a counter; may be NULL.
    void (*on_read)(void *user, bool ok);
    // Told when another key begins to sign; may be NULL.
    void (*on_signer)(void *user);
    void *user;
};

// Reads once more at once, for what changed since the start. Files that cannot be watched are told
// in the log and left to key_watch_reload. NULL without memory.
struct key_watch *key_watch_new(const struct key_watch_conf *conf) NODISCARD;
void key_watch_free(struct key_watch *w); // accepts NULL
DEFINE_CLEANUP(struct key_watch *, key_watch_free)

// Reads now (SIGHUP). The outcome is in the log. True if the set in force is what the files say.
bool key_watch_reload(struct key_watch *w);
