// SPDX-License-Identifier: Apache-2.0
#pragma once
// What conf.c, conf_value.c and conf_file.c share. Start-up, one thread.

#include "common/svc/conf.h"

enum conf_source {
    CONF_SOURCE_NONE,
    CONF_SOURCE_DEFAULT,
    CONF_SOURCE_CREDENTIAL,
    CONF_SOURCE_FILE,
    CONF_SOURCE_ENV,
    CONF_SOURCE_FLAG,
};

#define CONF_ORIGIN_MAX 320

// One setting's value with where it is from.
struct conf_slot {
    enum conf_source source;
    char *text; // as given, trimmed
    char *path; // the file that text was read from, or NULL
    char origin[CONF_ORIGIN_MAX];
    int64_t num; // CONF_INT, CONF_BOOL, CONF_DURATION (milliseconds)
    char **list; // CONF_LIST
    size_t list_len;
    struct addr binds[CONF_BIND_MAX]; // CONF_BIND
    size_t bind_len;
};

void conf_slot_done(struct conf_slot *s);

// Parses text by the item's type into s (num, list, binds; text is copied). -EINVAL with a reason
// that completes "<name> (<origin>): ..." in why, -ENOMEM.
int conf_slot_set(struct conf_slot *s, const struct conf_item *item, const char *text,
                  char why[static CONF_ERROR_MAX]) NODISCARD;

// One leaf of a configuration file.
struct conf_leaf {
    const char *name; // groups joined by dots
    const char *text; // arrays and lists: entries joined by commas
    unsigned line;
};

// Reads a file (path) or a text (path NULL) and calls fn for each leaf until it returns non-zero,
// which is returned. -EINVAL: the syntax is wrong, why says where. -ENOENT and other errno values
// of opening the file. -ENOMEM.
int conf_file_read(const char *path, const char *text,
                   int (*fn)(void *user, const struct conf_leaf *leaf), void *user,
                   char why[static CONF_ERROR_MAX]) NODISCARD;

// The entry of names (NULL-terminated) that is nearest to what was written, NULL if none is near
// enough to be meant. "_", "-" and "." are the same, and so are cases.
const char *conf_nearest(const char *written, const char *const *names);

// Looks for what libconfig 1.5 gets wrong: @include (it would read any file), integers that it would
// cut to 32 bits, strings without an end (it forgets their memory), comments without one (it drops
// the rest of the file silently). Returns the line and sets *ret_what (a constant), or 0.
unsigned conf_tree_scan(const char *text, const char **ret_what);
