// SPDX-License-Identifier: Apache-2.0
#pragma once
// A bump allocator born with its maximum: many small objects that live and die together, such as a
// decoded message or the strings of one request. Nothing is freed alone. Pure; an arena belongs to
// one thread at a time.

#include "common/base/bytes.h"

struct arena_chunk_;

struct arena {
    struct arena_chunk_ *chunks; // newest first
    size_t used;                 // taken from the cap so far, chunk headers not counted
    size_t cap;
    size_t next_chunk; // size hint for the next chunk
    bool no_memory;    // an allocation failed
    bool over_cap; // an allocation was refused because of the cap (and not because memory is short)
};

// `first`: size of the first chunk, a guess of what will be needed; allocated at the first use.
void arena_init(struct arena *a, size_t first, size_t cap);

// Frees everything. The arena may be initialised again. Harmless on a zeroed struct.
void arena_done(struct arena *a);

// n zeroed bytes aligned for any object; NULL over the cap (see over_cap) or without memory. n = 0
// gives a valid pointer.
void *arena_alloc(struct arena *a, size_t n) NODISCARD;

// Overflow-checked count * size.
void *arena_array(struct arena *a, size_t count, size_t size) NODISCARD;

// A zero-terminated copy. Inner zero bytes are copied as they are. NULL like arena_alloc.
char *arena_strdup(struct arena *a, struct bytes text) NODISCARD;
