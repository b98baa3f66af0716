// SPDX-License-Identifier: Apache-2.0
#pragma once
// A configuration file (libconfig's syntax) as a tree, for files with structure of their own, such
// as an ordered list of rules, that a table of settings cannot describe. Each node knows its line.
// Start-up and reload; the tree is read-only and lives in the caller's arena.

#include "common/base/arena.h"
#include "common/svc/conf.h"

enum conf_tree_type {
    CONF_TREE_GROUP,  // { name = value; ... }
    CONF_TREE_LIST,   // ( ... ) or [ ... ]
    CONF_TREE_BOOL,   // true, false
    CONF_TREE_INT,    // 12
    CONF_TREE_FLOAT,  // 1.5
    CONF_TREE_STRING, // "text"
};

struct conf_tree {
    enum conf_tree_type type;
    const char *name; // of a group's entry; NULL in lists and for the root
    unsigned line;    // where the name stands, from 1
    union {
        bool b;
        int64_t i;
        double f;
        const char *s;
    } v;
    size_t count;                  // entries of a group or list
    const struct conf_tree *first; // NULL: none, or no group and no list
    const struct conf_tree *next;  // of the same group or list
};

// Files are written by people: larger ones, and deeper ones, are something else.
#define CONF_TREE_TEXT_MAX (1u << 20)
#define CONF_TREE_DEPTH_MAX 8

// Reads the file `path`, or the text if it is not NULL (path then only names it in messages). *ret
// is the root, a group, in the arena. On failure err holds one line "path:line: what; the way out".
// -EINVAL bad syntax, -E2BIG deeper than the limit or over the arena's cap, -ENOMEM; of reading:
// -EFBIG larger than the limit, -EILSEQ a zero byte, other negative errno.
int conf_tree_read(const char *path, const char *text, struct arena *arena,
                   const struct conf_tree **ret, char err[static CONF_ERROR_MAX]) NODISCARD;

// The entry of a group; NULL if there is none (or node is NULL or no group).
const struct conf_tree *conf_tree_find(const struct conf_tree *group, const char *name);

// True if each entry of the group is one of names (NULL-terminated). Else err names the line, the
// wrong name and the nearest right one.
bool conf_tree_names_known(const struct conf_tree *group, const char *const *names,
                           const char *path, char err[static CONF_ERROR_MAX]);

// Writes "path:line: <text>" into err; returns -EINVAL.
int conf_tree_fail(const struct conf_tree *node, const char *path, char err[static CONF_ERROR_MAX],
                   const char *fmt, ...) PRINTF_LIKE(4, 5);

// "a string", "a number", ...: for messages.
const char *conf_tree_type_name(enum conf_tree_type type);
