// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads small YAML files that other programs wrote, such as a homeserver's registration of an
// application service (libyaml behind it). Our own settings are no YAML. Pure: the caller reads the
// file.
//
// One document becomes one tree, freed as a whole; nodes are borrowed from it. What such files do
// not need is refused with a line number rather than guessed at: anchors and aliases (a few bytes
// of them can stand for gigabytes), a key twice in one mapping, keys that are not scalars, a second
// document.

#include "common/base/bytes.h"

struct yamlx;
struct yamlx_node;

enum yamlx_type {
    YAMLX_SCALAR,
    YAMLX_SEQUENCE,
    YAMLX_MAPPING,
};

struct yamlx_limits {
    size_t max_bytes; // -E2BIG beyond
    size_t max_nodes; // -E2BIG beyond
    unsigned max_depth;
};

// For a file that a person wrote: 256 KiB, 4096 nodes, 32 levels.
#define YAMLX_LIMITS_DEFAULT                                                                       \
    ((struct yamlx_limits){.max_bytes = 256u << 10, .max_nodes = 4096, .max_depth = 32})

#define YAMLX_ERROR_MAX 200

// Reads text. -EBADMSG: no YAML, or something that is refused; -E2BIG over a limit; -ENOMEM. On
// failure err holds "line 7: ...", which never quotes a value (values may be secrets).
int yamlx_parse(struct bytes text, const struct yamlx_limits *limits, struct yamlx **ret,
                char err[static YAMLX_ERROR_MAX]) NODISCARD;
void yamlx_free(struct yamlx *y); // accepts NULL; wipes the values
DEFINE_CLEANUP(struct yamlx *, yamlx_free)

// The top node, NULL for an empty document.
const struct yamlx_node *yamlx_root(const struct yamlx *y);

// All of these accept NULL for n (an absent node) where that makes sense: a type check is the
// caller's one step.
bool yamlx_is(const struct yamlx_node *n, enum yamlx_type type);
// Absent, or a plain null, ~ or nothing.
bool yamlx_is_null(const struct yamlx_node *n);
// A scalar's text, zero-terminated; NULL for anything else, for null, and for text with a zero byte.
const char *yamlx_str(const struct yamlx_node *n);
// Line of the file where the node starts, from 1; 0 for NULL.
unsigned yamlx_line(const struct yamlx_node *n);
// Entries of a sequence or pairs of a mapping, else 0.
size_t yamlx_len(const struct yamlx_node *n);
// Entry i of a sequence, or value i of a mapping; NULL beyond the end.
const struct yamlx_node *yamlx_at(const struct yamlx_node *n, size_t i);
// The value of a key; NULL if it is absent or n is no mapping.
const struct yamlx_node *yamlx_get(const struct yamlx_node *n, const char *key);
