// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/base/requests.h"

#include <stddef.h>

#include "common/base/macros.h"
#include "common/svc/jsonx.h"

// The slot of every legacy request: it is what brings both kinds of clients into one room.
#define LEGACY_SLOT "m.call#ROOM"

// One member of a schema. Keys are ASCII, lower case.
enum field_type {
    FIELD_STRING,     // copied to `to`
    FIELD_ANY_STRING, // its type is part of the schema, nobody reads it
    FIELD_INT,        // the same for an integer
    FIELD_DELAY,      // delay_timeout
    FIELD_OPENID,     // objects
    FIELD_MEMBER,
};

struct field {
    const char *key;
    enum field_type type;
    size_t to;  // offset in struct token_request
    size_t max; // bytes
};

#define TO(member) offsetof(struct token_request, member)

static const struct field sfu_get_fields[] = {
    {"room", FIELD_STRING, TO(room), REQUEST_ROOM_MAX},
    {"openid_token", FIELD_OPENID, 0, 0},
    {"device_id", FIELD_STRING, TO(device_id), REQUEST_ID_MAX},
    {"delay_id", FIELD_STRING, TO(delay_id), REQUEST_ID_MAX},
    {"delay_timeout", FIELD_DELAY, 0, 0},
    {"delay_cs_api_url", FIELD_ANY_STRING, 0, 0},
    {NULL, FIELD_STRING, 0, 0},
};
static const struct field get_token_fields[] = {
    {"room_id", FIELD_STRING, TO(room), REQUEST_ROOM_MAX},
    {"slot_id", FIELD_STRING, TO(slot), REQUEST_ID_MAX},
    {"openid_token", FIELD_OPENID, 0, 0},
    {"member", FIELD_MEMBER, 0, 0},
    {"delay_id", FIELD_STRING, TO(delay_id), REQUEST_ID_MAX},
    {"delay_timeout", FIELD_DELAY, 0, 0},
    {"delay_cs_api_url", FIELD_ANY_STRING, 0, 0},
    {NULL, FIELD_STRING, 0, 0},
};
static const struct field openid_fields[] = {
    {"access_token", FIELD_STRING, TO(access_token), REQUEST_TOKEN_MAX},
    {"token_type", FIELD_ANY_STRING, 0, 0},
    {"matrix_server_name", FIELD_STRING, TO(server_name), REQUEST_ID_MAX},
    {"expires_in", FIELD_INT, 0, 0},
    {NULL, FIELD_STRING, 0, 0},
};
static const struct field member_fields[] = {
    {"id", FIELD_STRING, TO(member_id), REQUEST_ID_MAX},
    {"claimed_user_id", FIELD_STRING, TO(claimed_user_id), REQUEST_ID_MAX},
    {"claimed_device_id", FIELD_STRING, TO(device_id), REQUEST_ID_MAX},
    {NULL, FIELD_STRING, 0, 0},
};

// Reading in progress. The first wrong type or unknown key decides: M_NOT_JSON comes before any
// missing or overlong field.
struct reader {
    struct arena *arena;
    struct token_request *out;
    bool ignore_unknown;
    bool not_json;
    bool too_long;
    bool nul;
    bool no_memory;
};

// Go compares keys without case, and Unicode folds two more characters to ASCII letters: KELVIN
// SIGN (U+212A) to k and LONG S (U+017F) to s (authorization-service 1.4).
static bool key_is(const char *written, const char *key)
{
    while (*key) {
        char c = *written;
        size_t step = 1;
        if (memcmp(written, "\xe2\x84\xaa", strnlen(written, 3)) == 0 && *written) {
            c = 'k';
            step = strnlen(written, 3);
        } else if (memcmp(written, "\xc5\xbf", strnlen(written, 2)) == 0 && *written) {
            c = 's';
            step = strnlen(written, 2);
        } else if (c >= 'A' && c <= 'Z') {
            c = (char)(c - 'A' + 'a');
        }
        if (c != *key) {
            return false;
        }
        written += step;
        key++;
    }
    return *written == '\0';
}

static const struct field *find_field(const struct field *fields, const char *written)
{
    for (; fields->key; fields++) {
        if (key_is(written, fields->key)) {
            return fields;
        }
    }
    return NULL;
}

static void read_str(struct reader *rd, const struct field *f, const struct jsonx *v)
{
    const char **const to = (void *)((char *)rd->out + f->to);
    struct bytes s = {0};
    if (jsonx_str(v, &s) < 0) {
        rd->not_json = true;
        return;
    }
    if (s.n > f->max) {
        rd->too_long = true;
        *to = "-"; // present, as far as the checks for missing fields go
        return;
    }
    rd->nul = rd->nul || memchr(s.p, 0, s.n) != NULL;
    const char *const copy = arena_strdup(rd->arena, s);
    rd->no_memory = rd->no_memory || !copy;
    *to = copy ? copy : "";
}

// Upstream takes integers only; the MSC shows a string here, and some encoders write 8e3.
static void read_delay(struct reader *rd, const struct jsonx *v)
{
    int64_t ms = 0;
    if (jsonx_int_lenient(v, &ms) < 0) {
        rd->not_json = true;
    }
    rd->out->delay_timeout_ms = MIN(ms, REQUEST_DELAY_MAX_MS);
}

// Members in the order they stand in, so that the last one of a key wins, and two objects of one
// key add up.
static void read_object(struct reader *rd, const struct field *fields, const struct jsonx *obj)
{
    const void *pos = NULL;
    const char *key = NULL;
    const struct jsonx *v = NULL;
    struct bytes s;
    int64_t n;
    while (jsonx_next(obj, &pos, &key, &v)) {
        const struct field *const f = find_field(fields, key);
        if (!f) {
            rd->not_json = rd->not_json || !rd->ignore_unknown;
        } else if (jsonx_type(v) == JSONX_NULL) {
            continue; // as if it were not there
        } else if (f->type == FIELD_STRING) {
            read_str(rd, f, v);
        } else if (f->type == FIELD_DELAY) {
            read_delay(rd, v);
        } else if (f->type == FIELD_ANY_STRING) {
            rd->not_json = rd->not_json || jsonx_str(v, &s) < 0;
        } else if (f->type == FIELD_INT) {
            rd->not_json = rd->not_json || jsonx_int(v, &n) < 0;
        } else if (jsonx_type(v) != JSONX_OBJECT) {
            rd->not_json = true;
        } else {
            // Recursion ends here: these two have no objects inside.
            read_object(rd, f->type == FIELD_OPENID ? openid_fields : member_fields, v);
        }
    }
}

static bool missing(const char *s)
{
    return *s == '\0';
}

// A delay id becomes a segment of a path at the homeserver.
static bool bad_delay_id(const char *id)
{
    for (const char *p = id; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            return true;
        }
    }
    return strcmp(id, ".") == 0 || strcmp(id, "..") == 0;
}

static enum matrix_error check_sfu_get(const struct token_request *t)
{
    if (missing(t->room)) {
        return MATRIX_MISSING_ROOM;
    }
    return missing(t->access_token) || missing(t->server_name) ? MATRIX_MISSING_OPENID : MATRIX_OK;
}

static enum matrix_error check_matrix2(const struct token_request *t)
{
    bool const delegates = t->endpoint == TOKEN_DELEGATE;
    if (missing(t->room) || missing(t->slot)) {
        return MATRIX_MISSING_ROOM_OR_SLOT;
    }
    if (missing(t->member_id) || missing(t->claimed_user_id) || missing(t->device_id)) {
        return delegates ? MATRIX_MISSING_MEMBER_2 : MATRIX_MISSING_MEMBER;
    }
    if (missing(t->access_token) || missing(t->server_name)) {
        return delegates ? MATRIX_MISSING_OPENID_MEMBERS_2 : MATRIX_MISSING_OPENID_MEMBERS;
    }
    return MATRIX_OK;
}

// Required fields in the order of section 1.5.
static enum matrix_error check_fields(const struct token_request *t)
{
    enum matrix_error const e = t->endpoint == TOKEN_SFU_GET ? check_sfu_get(t) : check_matrix2(t);
    if (e != MATRIX_OK) {
        return e;
    }
    bool const has_id = !missing(t->delay_id);
    bool const has_timeout = t->delay_timeout_ms > 0;
    if (has_id != has_timeout || (t->endpoint == TOKEN_DELEGATE && !has_id)) {
        return MATRIX_MISSING_DELAY;
    }
    return bad_delay_id(t->delay_id) ? MATRIX_BAD_DELAY_ID : MATRIX_OK;
}

static enum matrix_error read_request(enum token_endpoint endpoint, const struct jsonx *top,
                                      struct reader *rd)
{
    if (jsonx_type(top) != JSONX_OBJECT) {
        return MATRIX_NOT_JSON;
    }
    bool const legacy = endpoint == TOKEN_SFU_GET;
    *rd->out = (struct token_request){.endpoint = endpoint,
                                      .room = "",
                                      .slot = legacy ? LEGACY_SLOT : "",
                                      .member_id = "",
                                      .claimed_user_id = "",
                                      .device_id = "",
                                      .access_token = "",
                                      .server_name = "",
                                      .delay_id = ""};
    read_object(rd, legacy ? sfu_get_fields : get_token_fields, top);
    if (rd->not_json) {
        return MATRIX_NOT_JSON;
    }
    enum matrix_error const e = check_fields(rd->out);
    if (e != MATRIX_OK) {
        return e;
    }
    if (rd->too_long || rd->nul) {
        return rd->too_long ? MATRIX_FIELD_TOO_LONG : MATRIX_FIELD_NUL;
    }
    return rd->no_memory ? MATRIX_INTERNAL : MATRIX_OK;
}

enum matrix_error token_request_parse(enum token_endpoint endpoint, struct bytes body,
                                      bool ignore_unknown, struct arena *arena,
                                      struct token_request *ret)
{
    struct jsonx_limits const limits = {
        .max_bytes = REQUEST_BODY_MAX,
        .max_depth = 32, // authorization-service 1.4
        .flags = JSONX_ALLOW_TRAILING | JSONX_REPAIR_TEXT | JSONX_ALLOW_NUL | JSONX_ANY,
    };
    CLEANUP(jsonx_free) struct jsonx *top = NULL;
    if (jsonx_parse(body, &limits, &top) < 0) {
        return MATRIX_NOT_JSON;
    }
    if (jsonx_type(top) == JSONX_NULL) {
        // Go decodes null as an object without members.
        jsonx_free(STEAL(top));
        top = jsonx_new_object();
    }
    if (!top) {
        return MATRIX_INTERNAL;
    }
    struct token_request t = {0};
    struct reader rd = {.arena = arena, .out = &t, .ignore_unknown = ignore_unknown};
    enum matrix_error const e = read_request(endpoint, top, &rd);
    if (e == MATRIX_OK) {
        *ret = t;
    }
    return e;
}
