// SPDX-License-Identifier: Apache-2.0
#pragma once
// What access_policy.c (deciding) and access_policy_file.c (reading) share.

#include "common/base/arena.h"
#include "jwt-service/access_policy.h"

// Patterns of which one must match.
struct access_patterns {
    const char *const *list;
    size_t count;  // 0: not given
    unsigned line; // where it is given
};

enum access_effect {
    ACCESS_CREATE,
    ACCESS_PUBLISH,
    ACCESS_SUBSCRIBE,
    ACCESS_DELEGATE,
    ACCESS_SOURCES,
    ACCESS_PARTICIPANTS,
    ACCESS_LIFETIME, // seconds
    ACCESS_EFFECT_COUNT,
};

// What a rule may look at.
enum access_subject {
    ACCESS_SERVER,
    ACCESS_USER,
    ACCESS_ROOM,
    ACCESS_SUBJECT_COUNT,
};

// Names in the file, indexed by the enums.
extern const char *const access_effect_names[ACCESS_EFFECT_COUNT];
extern const char *const access_subject_names[ACCESS_SUBJECT_COUNT];

struct access_rule {
    const char *name;
    unsigned line;
    struct access_patterns subject[ACCESS_SUBJECT_COUNT];
    bool deny;
    unsigned deny_line;
    struct {
        unsigned line; // 0: not given
        int64_t v;
    } effect[ACCESS_EFFECT_COUNT];
};

struct access_policy {
    struct arena arena; // of everything below
    const char *path;
    const struct access_rule *rules;
    size_t count;
    struct access_patterns allowed;
    struct access_patterns denied;
};

// True if it says nothing about the subject: not given, or "*" among it.
bool access_patterns_open(const struct access_patterns *p);

// The sources in words, joined by commas: at most 64 bytes.
#define ACCESS_SOURCES_TEXT 64
void access_sources_text(uint32_t sources, char ret[static ACCESS_SOURCES_TEXT]);

// The bit of a source's name, 0 if there is none of that name.
uint32_t access_source_of(const char *name);
