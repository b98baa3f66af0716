// SPDX-License-Identifier: Apache-2.0
#pragma once
// A key file (LIVEKIT_KEY_FILE, LIVEKIT_KEYS) as a set of keys, and what an operator should know of
// it, as data: who reads the file and who says it stands elsewhere. One form for both services, so
// that they can be given the same file. authorization-service 2.2, operators P17. Pure.

#include "common/lk/keys.h"

#define KEY_FILE_MAX (64u << 10) // API_KEYS_MAX pairs of 1 KB; bounds a wrong path
#define KEY_FILE_TEXT_MAX 224

// Why a file is no set of keys.
struct key_file_error {
    unsigned line;                // 1 = first, 0 the whole
    char text[KEY_FILE_TEXT_MAX]; // what to do, never with a part of the file
};

// Reads a whole file. *ret is the caller's. -EINVAL: *ret_error says where and what; also when all
// keys are retired. -ENOMEM.
int key_file_parse(struct bytes text, wall_t now, struct api_keys **ret,
                   struct key_file_error *ret_error) NODISCARD;

enum key_finding_kind {
    KEY_FINDING_SAMPLE,   // a secret that is printed in documents and examples
    KEY_FINDING_WEAK,     // shorter than API_KEYS_SECRET_WEAK_BELOW
    KEY_FINDING_READABLE, // everybody on the machine can read the file
    KEY_FINDING_WRITABLE, // others than its owner can write it
    KEY_FINDING_LAST,     // every key retires: at some moment nothing signs
    KEY_FINDING_KIND_COUNT,
};

struct key_finding {
    enum key_finding_kind kind;
    const char *key; // NULL: of the file
    char text[KEY_FILE_TEXT_MAX];
};

#define KEY_FINDINGS_MAX 16

// What is wrong but not broken, most serious first, at most KEY_FINDINGS_MAX; retired keys are not
// judged. mode: the permission bits of the file, 0 for none (environment, flag). Names are borrowed
// from k. Returns how many.
size_t key_file_findings(const struct api_keys *k, wall_t now, unsigned mode,
                         struct key_finding ret[static KEY_FINDINGS_MAX]);

// Stable name for logs: "sample_secret".
const char *key_finding_name(enum key_finding_kind kind);

// True for pairs that everybody knows: livekit-server --dev, examples, placeholders.
bool key_file_is_sample(const struct api_key *k);
