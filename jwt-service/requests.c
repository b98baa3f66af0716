// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/requests.h"

#include "common/svc/jsonx.h"

// The slot of every legacy request: it is what brings both kinds of clients into one room.
#define LEGACY_SLOT "m.call#ROOM"

static const char *const sfu_get_keys[] = {
    "room", "openid_token", "device_id", "delay_id", "delay_timeout", "delay_cs_api_url", NULL};
static const char *const get_token_keys[] = {"room_id",          "slot_id",  "openid_token",
                                             "member",           "delay_id", "delay_timeout",
                                             "delay_cs_api_url", NULL};
static const char *const openid_keys[] = {"access_token", "token_type", "matrix_server_name",
                                          "expires_in", NULL};
static const char *const member_keys[] = {"id", "claimed_user_id", "claimed_device_id", NULL};

// Reading in progress. The first wrong type or unknown key decides: M_NOT_JSON comes before any
// missing or overlong field.
struct reader {
    struct arena *arena;
    bool ignore_unknown;
    bool not_json;
    bool too_long;
    bool nul;
    bool no_memory;
};

// A string member, "" if absent or null.
static const char *read_str(struct reader *rd, const struct jsonx *obj, const char *key, size_t max)
{
    struct bytes s = {0};
    int const r = obj ? jsonx_get_str(obj, key, &s) : -ENOENT;
    if (r == -EINVAL) {
        rd->not_json = true;
    }
    if (r < 0 || s.n == 0) {
        return "";
    }
    if (s.n > max) {
        rd->too_long = true;
        return "-"; // present, as far as the checks for missing fields go
    }
    rd->nul = rd->nul || memchr(s.p, 0, s.n) != NULL;
    const char *const copy = arena_strdup(rd->arena, s);
    rd->no_memory = rd->no_memory || !copy;
    return copy ? copy : "";
}

// A string member that nobody reads, whose type is part of the schema all the same.
static void check_str(struct reader *rd, const struct jsonx *obj, const char *key)
{
    struct bytes s = {0};
    if (obj && jsonx_get_str(obj, key, &s) == -EINVAL) {
        rd->not_json = true;
    }
}

// An object member with known keys, NULL if absent or null.
static const struct jsonx *read_object(struct reader *rd, const struct jsonx *obj, const char *key,
                                       const char *const *keys)
{
    const struct jsonx *child = NULL;
    const char *unknown = NULL;
    int const r = jsonx_get_object(obj, key, &child);
    if (r == -EINVAL) {
        rd->not_json = true;
    }
    if (r < 0) {
        return NULL;
    }
    if (!rd->ignore_unknown && !jsonx_only_keys(child, keys, &unknown)) {
        rd->not_json = true;
    }
    return child;
}

static int64_t read_int(struct reader *rd, const struct jsonx *obj, const char *key, bool lenient)
{
    int64_t v = 0;
    int const r = !obj      ? -ENOENT
                  : lenient ? jsonx_get_int_lenient(obj, key, &v)
                            : jsonx_get_int(obj, key, &v);
    if (r == -EINVAL) {
        rd->not_json = true;
    }
    return r == 0 ? v : 0;
}

static void read_fields(struct reader *rd, const struct jsonx *top, struct token_request *t)
{
    const struct jsonx *const openid = read_object(rd, top, "openid_token", openid_keys);
    t->access_token = read_str(rd, openid, "access_token", REQUEST_TOKEN_MAX);
    t->server_name = read_str(rd, openid, "matrix_server_name", REQUEST_ID_MAX);
    check_str(rd, openid, "token_type");
    (void)read_int(rd, openid, "expires_in", false);
    check_str(rd, top, "delay_cs_api_url");
    t->delay_id = read_str(rd, top, "delay_id", REQUEST_ID_MAX);
    // The MSC shows a string here.
    t->delay_timeout_ms = read_int(rd, top, "delay_timeout", true);
    if (t->endpoint == TOKEN_SFU_GET) {
        t->room = read_str(rd, top, "room", REQUEST_ROOM_MAX);
        t->slot = LEGACY_SLOT;
        t->device_id = read_str(rd, top, "device_id", REQUEST_ID_MAX);
        t->member_id = "";
        t->claimed_user_id = "";
    } else {
        const struct jsonx *const member = read_object(rd, top, "member", member_keys);
        t->room = read_str(rd, top, "room_id", REQUEST_ROOM_MAX);
        t->slot = read_str(rd, top, "slot_id", REQUEST_ID_MAX);
        t->member_id = read_str(rd, member, "id", REQUEST_ID_MAX);
        t->claimed_user_id = read_str(rd, member, "claimed_user_id", REQUEST_ID_MAX);
        t->device_id = read_str(rd, member, "claimed_device_id", REQUEST_ID_MAX);
    }
}

static bool missing(const char *s)
{
    return *s == '\0';
}

// Required fields in the order of section 1.5.
static enum matrix_error check_fields(const struct token_request *t)
{
    bool const no_openid = missing(t->access_token) || missing(t->server_name);
    if (t->endpoint == TOKEN_SFU_GET) {
        if (missing(t->room)) {
            return MATRIX_MISSING_ROOM;
        }
        if (no_openid) {
            return MATRIX_MISSING_OPENID;
        }
    } else {
        if (missing(t->room) || missing(t->slot)) {
            return MATRIX_MISSING_ROOM_OR_SLOT;
        }
        if (missing(t->member_id) || missing(t->claimed_user_id) || missing(t->device_id)) {
            return MATRIX_MISSING_MEMBER;
        }
        if (no_openid) {
            return MATRIX_MISSING_OPENID_MEMBERS;
        }
    }
    bool const has_id = !missing(t->delay_id);
    bool const has_timeout = t->delay_timeout_ms > 0;
    return has_id != has_timeout ? MATRIX_MISSING_DELAY : MATRIX_OK;
}

static enum matrix_error read_request(enum token_endpoint endpoint, const struct jsonx *top,
                                      struct reader *rd, struct token_request *t)
{
    const char *unknown = NULL;
    const char *const *const keys = endpoint == TOKEN_SFU_GET ? sfu_get_keys : get_token_keys;
    if (jsonx_type(top) != JSONX_OBJECT ||
        (!rd->ignore_unknown && !jsonx_only_keys(top, keys, &unknown))) {
        return MATRIX_NOT_JSON;
    }
    t->endpoint = endpoint;
    read_fields(rd, top, t);
    if (rd->not_json) {
        return MATRIX_NOT_JSON;
    }
    enum matrix_error const e = check_fields(t);
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
    struct reader rd = {.arena = arena, .ignore_unknown = ignore_unknown};
    struct token_request t = {0};
    enum matrix_error const e = read_request(endpoint, top, &rd, &t);
    if (e == MATRIX_OK) {
        *ret = t;
    }
    return e;
}
