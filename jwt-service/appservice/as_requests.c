// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/appservice/as_requests.h"

#include <stddef.h>

#include "common/svc/jsonx.h"

// One member of a body: all of them are text.
struct field {
    const char *key;
    size_t to; // offset in struct as_request
    size_t max;
};

#define TO(member) offsetof(struct as_request, member)
#define COMMON_FIELDS                                                                              \
    {"url", TO(url), AS_REQUEST_URL_MAX}, {"room_id", TO(room_id), REQUEST_ROOM_MAX},              \
        {"slot_id", TO(slot_id), REQUEST_ID_MAX},                                                  \
    {                                                                                              \
        "member_id", TO(member_id), REQUEST_ID_MAX                                                 \
    }
#define FIELDS_MAX 6

static const struct field fields[][FIELDS_MAX] = {
    [AS_CLIENT_GET_TOKEN] = {COMMON_FIELDS, {"server_name", TO(server_name), REQUEST_ID_MAX}},
    [AS_CLIENT_DELEGATE] = {COMMON_FIELDS, {"delay_id", TO(delay_id), REQUEST_ID_MAX}},
    // Whoever relays ours as it is leaves the name in.
    [AS_FEDERATION_GET_TOKEN] = {COMMON_FIELDS,
                                 {"user_id", TO(user_id), REQUEST_ID_MAX},
                                 {"server_name", TO(server_name), REQUEST_ID_MAX}},
};

// What is wrong with a field, if anything; the first wrong type decides.
struct faults {
    bool not_json;
    bool too_long;
    bool nul;
    bool no_memory;
};

// A text member, "" if absent or null.
static const char *read_text(const struct jsonx *top, const struct field *f, struct arena *arena,
                             struct faults *faults)
{
    struct bytes s = {0};
    int const r = jsonx_get_str(top, f->key, &s);
    if (r == -EINVAL) {
        faults->not_json = true;
    }
    if (r < 0 || s.n == 0) {
        return "";
    }
    if (s.n > f->max) {
        faults->too_long = true;
        return "-"; // present, as far as the checks for missing fields go
    }
    faults->nul = faults->nul || memchr(s.p, 0, s.n) != NULL;
    const char *const copy = arena_strdup(arena, s);
    faults->no_memory = faults->no_memory || !copy;
    return copy ? copy : "";
}

static bool only_known(const struct jsonx *top, const struct field *known)
{
    const char *keys[FIELDS_MAX + 1] = {0};
    const char *unknown = NULL;
    for (size_t i = 0; i < FIELDS_MAX && known[i].key; i++) {
        keys[i] = known[i].key;
    }
    return jsonx_only_keys(top, keys, &unknown);
}

static enum matrix_error check_missing(const struct as_request *r)
{
    if (!*r->url || !*r->room_id || !*r->slot_id || !*r->member_id) {
        return MATRIX_AS_MISSING_FIELDS;
    }
    if (r->endpoint == AS_CLIENT_DELEGATE && !*r->delay_id) {
        return MATRIX_AS_MISSING_DELAY;
    }
    return r->endpoint == AS_FEDERATION_GET_TOKEN && !*r->user_id ? MATRIX_AS_MISSING_USER
                                                                  : MATRIX_OK;
}

static enum matrix_error read_request(enum as_endpoint endpoint, const struct jsonx *top,
                                      bool ignore_unknown, struct arena *arena,
                                      struct as_request *r)
{
    struct faults faults = {0};
    *r = (struct as_request){.endpoint = endpoint,
                             .url = "",
                             .room_id = "",
                             .slot_id = "",
                             .member_id = "",
                             .server_name = "",
                             .user_id = "",
                             .delay_id = ""};
    if (jsonx_type(top) != JSONX_OBJECT ||
        (!ignore_unknown && !only_known(top, fields[endpoint]))) {
        return MATRIX_NOT_JSON;
    }
    for (const struct field *f = fields[endpoint]; f < fields[endpoint] + FIELDS_MAX && f->key;
         f++) {
        const char *const text = read_text(top, f, arena, &faults);
        memcpy((char *)r + f->to, &text, sizeof(text));
    }
    if (faults.not_json) {
        return MATRIX_NOT_JSON;
    }
    enum matrix_error const e = check_missing(r);
    if (e != MATRIX_OK) {
        return e;
    }
    if (faults.too_long || faults.nul) {
        return faults.too_long ? MATRIX_FIELD_TOO_LONG : MATRIX_FIELD_NUL;
    }
    return faults.no_memory ? MATRIX_INTERNAL : MATRIX_OK;
}

enum matrix_error as_request_parse(enum as_endpoint endpoint, struct bytes body,
                                   bool ignore_unknown, struct arena *arena, struct as_request *ret)
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
    if (jsonx_type(top) == JSONX_NULL) { // as in the other bodies: an object without members
        jsonx_free(STEAL(top));
        top = jsonx_new_object();
    }
    if (!top) {
        return MATRIX_INTERNAL;
    }
    struct as_request r;
    enum matrix_error const e = read_request(endpoint, top, ignore_unknown, arena, &r);
    if (e == MATRIX_OK) {
        *ret = r;
    }
    return e;
}
