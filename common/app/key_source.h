// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where a service has its API keys from, read once at the start and again whenever a file of it
// changes. Any thread; reads files.

#include "common/lk/key_file.h"

// One of the forms. Strings are borrowed (of the settings) and NULL or "" where unused.
struct key_source {
    const char *file; // key file: lines "key: secret"
    const char *text; // or the lines themselves
    // or a pair: each as it is or in a file of its own (which outranks it)
    const char *key;
    const char *key_file;
    const char *secret;
    const char *secret_file;
    bool strict; // sample and weak secrets are refused
};

enum key_source_part {
    KEY_SOURCE_LINES,
    KEY_SOURCE_KEY,
    KEY_SOURCE_SECRET,
    KEY_SOURCE_PART_COUNT,
};

struct key_source_error {
    enum key_source_part part;    // whose setting is to be named
    unsigned line;                // of the file, 0 none
    char text[KEY_FILE_TEXT_MAX]; // never with a part of a secret
};

struct key_source_result {
    struct api_keys *keys; // the caller's
    struct key_finding findings[KEY_FINDINGS_MAX];
    size_t finding_count; // their names point into keys
};

// Reads and judges. -EINVAL or the errno of a file that cannot be read: *ret_error is set; -ENOMEM.
int key_source_read(const struct key_source *s, wall_t now, struct key_source_result *ret,
                    struct key_source_error *ret_error) NODISCARD;

// The files to watch, at most KEY_SOURCE_PART_COUNT. Returns how many.
size_t key_source_files(const struct key_source *s, const char *ret[static KEY_SOURCE_PART_COUNT]);

// One warning line each.
void key_source_log(const struct key_finding *findings, size_t n);

// A new pair for a key set: a name "API" + 12 and a secret of 44 characters, letters and digits
// only (262 bits; nothing in them means anything to YAML, shells or URLs).
#define KEY_NAME_SIZE 16
#define KEY_SECRET_SIZE 45
void key_source_generate(char key[static KEY_NAME_SIZE], char secret[static KEY_SECRET_SIZE]);
