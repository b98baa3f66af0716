// SPDX-License-Identifier: Apache-2.0
#pragma once
// uthash as we use it: our allocator, a keyed hash function (peers choose many of the keys), no
// exit on failure. Include this, never <uthash.h>. Pure.
//
// A failed HASH_ADD leaves the element out of the table and sets its handle to NULL members: check
// with HASH_FIND after adding where memory exhaustion must be survived.

#include "common/base/mem.h"

// SipHash-1-3 of n bytes under the process key (hash_set_key). For tables only, not for
// authentication.
uint64_t hash_bytes(const void *p, size_t n);

// Sets the key; call once at start, before any table is used. Tests and simulations may leave it at
// zero.
void hash_set_key(const uint8_t key[static 16]);

#define HASH_NONFATAL_OOM 1
#define uthash_malloc(n) mem_alloc(n)
#define uthash_free(p, n) mem_free(p)
#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)hash_bytes((keyptr), (keylen)))
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#include <uthash.h>
#pragma GCC diagnostic pop
#include <utlist.h>
