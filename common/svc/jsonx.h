// SPDX-License-Identifier: Apache-2.0
#pragma once
// JSON with strict getters and caps (jansson behind it). A value belongs to one thread at a time.
//
// A parsed or built tree is one struct jsonx, freed once; members handed out by the getters are
// borrowed from it.

#include "common/base/bytes.h"

struct jsonx;

enum {
    JSONX_REJECT_DUPLICATES = 1, // a key twice in one object: -EBADMSG. Else the last one wins
    JSONX_ALLOW_TRAILING = 2,    // bytes after the first value are not looked at
    JSONX_REPAIR_TEXT =
        4, // invalid UTF-8 and lone surrogates become U+FFFD instead of -EBADMSG (as Go does)
    JSONX_ALLOW_NUL = 8, // \u0000 in strings
    JSONX_ANY = 16,      // the top may be anything, not just an object or array
};

struct jsonx_limits {
    size_t max_bytes;   // -E2BIG beyond
    unsigned max_depth; // -E2BIG beyond; 1 is a flat object
    unsigned flags;
};

// Sensible for what strangers send: 1 MiB, 32 levels.
#define JSONX_LIMITS_DEFAULT ((struct jsonx_limits){.max_bytes = 1u << 20, .max_depth = 32})

// Reads text. -EBADMSG not JSON, -E2BIG over a limit, -ENOMEM.
int jsonx_parse(struct bytes text, const struct jsonx_limits *limits, struct jsonx **ret) NODISCARD;
void jsonx_free(struct jsonx *j); // accepts NULL; only roots
DEFINE_CLEANUP(struct jsonx *, jsonx_free)

enum jsonx_type {
    JSONX_NULL,
    JSONX_BOOL,
    JSONX_INT,
    JSONX_REAL,
    JSONX_STRING,
    JSONX_ARRAY,
    JSONX_OBJECT,
};

enum jsonx_type jsonx_type(const struct jsonx *j);

// ---- members of an object -------------------------------------------------------------------
// -ENOENT if absent or null, -EINVAL if of another type, or if obj is no object.

int jsonx_get_str(const struct jsonx *obj, const char *key,
                  struct bytes *ret) NODISCARD; // may hold zero bytes
int jsonx_get_cstr(const struct jsonx *obj, const char *key,
                   const char **ret) NODISCARD; // -EINVAL if it holds a zero byte
int jsonx_get_int(const struct jsonx *obj, const char *key, int64_t *ret) NODISCARD;
int jsonx_get_bool(const struct jsonx *obj, const char *key, bool *ret) NODISCARD;
int jsonx_get_real(const struct jsonx *obj, const char *key, double *ret) NODISCARD; // integers too
int jsonx_get_object(const struct jsonx *obj, const char *key, const struct jsonx **ret) NODISCARD;
int jsonx_get_array(const struct jsonx *obj, const char *key, const struct jsonx **ret) NODISCARD;
const struct jsonx *jsonx_get(const struct jsonx *obj, const char *key); // anything, NULL if absent

// ---- values themselves ----------------------------------------------------------------------
// -EINVAL if of another type.

int jsonx_str(const struct jsonx *j, struct bytes *ret) NODISCARD;
int jsonx_int(const struct jsonx *j, int64_t *ret) NODISCARD;
// Also takes an integral real (8e3) and a decimal string, as protojson and some clients write
// integers.
int jsonx_int_lenient(const struct jsonx *j, int64_t *ret) NODISCARD;
int jsonx_bool(const struct jsonx *j, bool *ret) NODISCARD;
int jsonx_real(const struct jsonx *j, double *ret) NODISCARD;

size_t jsonx_len(const struct jsonx *j); // entries of an array or object, else 0
const struct jsonx *jsonx_at(const struct jsonx *arr, size_t i);

// Walks an object in the order of insertion: start with *pos = NULL; false at the end.
bool jsonx_next(const struct jsonx *obj, const void **pos, const char **ret_key,
                const struct jsonx **ret_value);

// True if obj has no key beside those in keys (NULL-terminated); else *ret_unknown names one.
bool jsonx_only_keys(const struct jsonx *obj, const char *const *keys, const char **ret_unknown);

// ---- building -------------------------------------------------------------------------------
// Setters return 0 or -EINVAL (no memory, text that is not UTF-8, a NULL value). They take
// ownership of value roots, also when they fail, so calls may be nested.

struct jsonx *jsonx_new_object(void) NODISCARD;
struct jsonx *jsonx_new_array(void) NODISCARD;
// Single values, to be put into an array or object. NULL: no memory, text that is not UTF-8, a real
// that is not finite.
struct jsonx *jsonx_new_str(struct bytes v) NODISCARD;
struct jsonx *jsonx_new_int(int64_t v) NODISCARD;
struct jsonx *jsonx_new_real(double v) NODISCARD;
struct jsonx *jsonx_new_bool(bool v) NODISCARD;
struct jsonx *jsonx_new_null(void) NODISCARD;
int jsonx_set_cstr(struct jsonx *obj, const char *key, const char *v);
int jsonx_set_int(struct jsonx *obj, const char *key, int64_t v);
int jsonx_set_real(struct jsonx *obj, const char *key, double v);
int jsonx_set_bool(struct jsonx *obj, const char *key, bool v);
int jsonx_set_null(struct jsonx *obj, const char *key);
int jsonx_set(struct jsonx *obj, const char *key, struct jsonx *value);
int jsonx_add_str(struct jsonx *arr, struct bytes v);
int jsonx_add(struct jsonx *arr, struct jsonx *value);

enum {
    JSONX_SORT_KEYS = 1, // stable bytes whatever the order of insertion
    JSONX_INDENT = 2,
};

// Serialises without white space (or indented), UTF-8 unescaped. The text is zero-terminated and to
// be freed with mem_free; NULL when out of memory.
char *jsonx_dump(const struct jsonx *j, unsigned flags, size_t *ret_n) NODISCARD;
