// SPDX-License-Identifier: Apache-2.0
#include "common/lk/access_claims.h"

#include <strings.h>

#include "common/base/mem.h"

// Largest integer that a double holds exactly; times beyond are nonsense and would overflow sums.
#define TIME_MAX INT64_C(9007199254740991)

// Names of Livekit__TrackSource in tokens; the index is the number.
static const char *const source_names[] = {"", "camera", "microphone", "screen_share",
                                           "screen_share_audio"};

// ---- reading
// ------------------------------------------------------------------------------------------------------

static int no_memory(const struct arena *a)
{
    return a->over_cap ? -E2BIG : -ENOMEM;
}

// Absent is fine everywhere and leaves *ret alone.
static int read_str(const struct jsonx *obj, const char *key, struct arena *a, const char **ret)
{
    const char *s = NULL;
    int const r = jsonx_get_cstr(obj, key, &s);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    *ret = arena_strdup(a, bytes_str(s));
    return *ret ? 0 : no_memory(a);
}

static int read_bool(const struct jsonx *obj, const char *key, bool *ret)
{
    int const r = jsonx_get_bool(obj, key, ret);
    return r == -ENOENT ? 0 : r;
}

static int read_tristate(const struct jsonx *obj, const char *key, enum tristate *ret)
{
    bool b = false;
    int const r = jsonx_get_bool(obj, key, &b);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    *ret = tristate_of(b);
    return 0;
}

// NumericDate (RFC 7519 section 2) may be fractional.
static int read_time(const struct jsonx *obj, const char *key, int64_t *ret)
{
    double d = 0;
    int const r = jsonx_get_real(obj, key, &d);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    if (!(d >= -(double)TIME_MAX && d <= (double)TIME_MAX)) {
        return -EINVAL;
    }
    *ret = (int64_t)d;
    return 0;
}

static int read_sources(const struct jsonx *video, uint32_t *ret)
{
    const struct jsonx *list = NULL;
    int const r = jsonx_get_array(video, "canPublishSources", &list);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    for (size_t i = 0; i < jsonx_len(list); i++) {
        struct bytes name = {0};
        if (jsonx_str(jsonx_at(list, i), &name) < 0) {
            return -EINVAL;
        }
        unsigned bit = 0;
        for (unsigned k = 1; k < ARRAY_LEN(source_names); k++) {
            if (strlen(source_names[k]) == name.n &&
                strncasecmp(source_names[k], (const char *)name.p, name.n) == 0) {
                bit = k;
            }
        }
        *ret |= UINT32_C(1) << bit;
    }
    return 0;
}

static int read_video(const struct jsonx *payload, struct arena *a, struct access_claims *c)
{
    const struct jsonx *v = NULL;
    int r = jsonx_get_object(payload, "video", &v);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    c->has_video = true;
    struct video_grant *const g = &c->video;
    const struct {
        const char *name;
        bool *to;
    } bools[] = {
        {"roomJoin", &g->room_join},
        {"roomCreate", &g->room_create},
        {"roomList", &g->room_list},
        {"roomAdmin", &g->room_admin},
        {"roomRecord", &g->room_record},
        {"ingressAdmin", &g->ingress_admin},
        {"hidden", &g->hidden},
        {"recorder", &g->recorder},
        {"agent", &g->agent},
    };
    const struct {
        const char *name;
        enum tristate *to;
    } tristates[] = {
        {"canPublish", &g->can_publish},
        {"canSubscribe", &g->can_subscribe},
        {"canPublishData", &g->can_publish_data},
        {"canUpdateOwnMetadata", &g->can_update_own_metadata},
        {"canSubscribeMetrics", &g->can_subscribe_metrics},
        {"canManageAgentSession", &g->can_manage_agent_session},
    };
    for (size_t i = 0; i < ARRAY_LEN(bools); i++) {
        r = r < 0 ? r : read_bool(v, bools[i].name, bools[i].to);
    }
    for (size_t i = 0; i < ARRAY_LEN(tristates); i++) {
        r = r < 0 ? r : read_tristate(v, tristates[i].name, tristates[i].to);
    }
    r = r < 0 ? r : read_str(v, "room", a, &g->room);
    r = r < 0 ? r : read_str(v, "destinationRoom", a, &g->destination_room);
    return r < 0 ? r : read_sources(v, &g->can_publish_sources);
}

static int read_sip(const struct jsonx *payload, struct access_claims *c)
{
    const struct jsonx *sip = NULL;
    int r = jsonx_get_object(payload, "sip", &sip);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    r = read_bool(sip, "admin", &c->sip_admin);
    return r < 0 ? r : read_bool(sip, "call", &c->sip_call);
}

static int read_attributes(const struct jsonx *payload, struct arena *a, struct access_claims *c)
{
    const struct jsonx *obj = NULL;
    int r = jsonx_get_object(payload, "attributes", &obj);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    struct access_attribute *const list = arena_array(a, jsonx_len(obj), sizeof(*list));
    if (!list) {
        return no_memory(a);
    }
    const void *pos = NULL;
    const char *key = NULL;
    const struct jsonx *value = NULL;
    size_t n = 0;
    while (jsonx_next(obj, &pos, &key, &value)) {
        r = read_str(obj, key, a, &list[n].value);
        list[n].key = arena_strdup(a, bytes_str(key));
        if (r < 0 || !list[n].key) {
            return r < 0 ? r : no_memory(a);
        }
        n += list[n].value != NULL; // null is no attribute
    }
    c->attributes = list;
    c->attribute_count = n;
    return 0;
}

static int read_kind_details(const struct jsonx *payload, struct arena *a, struct access_claims *c)
{
    const struct jsonx *arr = NULL;
    int const r = jsonx_get_array(payload, "kindDetails", &arr);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    size_t const n = jsonx_len(arr);
    const char **const list = arena_array(a, n, sizeof(*list));
    if (!list) {
        return no_memory(a);
    }
    for (size_t i = 0; i < n; i++) {
        struct bytes s = {0};
        if (jsonx_str(jsonx_at(arr, i), &s) < 0) {
            return -EINVAL;
        }
        list[i] = arena_strdup(a, s);
        if (!list[i]) {
            return no_memory(a);
        }
    }
    c->kind_details = list;
    c->kind_detail_count = n;
    return 0;
}

// roomConfig is protojson of RoomConfiguration; it stays text until a room is created from it.
static int read_room_config(const struct jsonx *payload, struct arena *a, struct access_claims *c)
{
    const struct jsonx *obj = NULL;
    int const r = jsonx_get_object(payload, "roomConfig", &obj);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    size_t n = 0;
    char *const text = jsonx_dump(obj, 0, &n);
    c->room_config = text ? arena_strdup(a, bytes_of(text, n)) : NULL;
    mem_free(text);
    return c->room_config ? 0 : no_memory(a);
}

int access_claims_read(const struct jsonx *payload, struct arena *arena, struct access_claims *ret)
{
    if (jsonx_type(payload) != JSONX_OBJECT) {
        return -EINVAL;
    }
    struct access_claims *const c = ret;
    const struct {
        const char *name;
        const char **to;
    } strings[] = {
        {"sub", &c->identity},      {"name", &c->name},     {"kind", &c->kind},
        {"metadata", &c->metadata}, {"sha256", &c->sha256}, {"roomPreset", &c->room_preset},
    };
    const struct {
        const char *name;
        int64_t *to;
    } times[] = {{"exp", &c->exp}, {"nbf", &c->nbf}, {"iat", &c->iat}};
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(strings) && r == 0; i++) {
        r = read_str(payload, strings[i].name, arena, strings[i].to);
    }
    if (r == 0 && (!c->identity || !*c->identity)) {
        r = read_str(payload, "jti", arena, &c->identity);
    }
    for (size_t i = 0; i < ARRAY_LEN(times) && r == 0; i++) {
        r = read_time(payload, times[i].name, times[i].to);
    }
    r = r < 0 ? r : read_video(payload, arena, c);
    r = r < 0 ? r : read_sip(payload, c);
    r = r < 0 ? r : read_attributes(payload, arena, c);
    r = r < 0 ? r : read_kind_details(payload, arena, c);
    return r < 0 ? r : read_room_config(payload, arena, c);
}

// ---- writing
// ------------------------------------------------------------------------------------------------------
// Failures of the setters are remembered by the tree (jsonx.h), so that they are checked once, in
// jsonx_dump.

static void write_str(struct jsonx *obj, const char *key, const char *s)
{
    if (s && *s) {
        (void)jsonx_set_cstr(obj, key, s);
    }
}

static void write_bool(struct jsonx *obj, const char *key, bool b)
{
    if (b) {
        (void)jsonx_set_bool(obj, key, true);
    }
}

static void write_tristate(struct jsonx *obj, const char *key, enum tristate t)
{
    if (t != TRISTATE_UNSET) {
        (void)jsonx_set_bool(obj, key, t == TRISTATE_TRUE);
    }
}

static struct jsonx *write_video(const struct video_grant *g)
{
    struct jsonx *const v = jsonx_new_object();
    if (!v) {
        return NULL;
    }
    write_bool(v, "roomCreate", g->room_create);
    write_bool(v, "roomList", g->room_list);
    write_bool(v, "roomRecord", g->room_record);
    write_bool(v, "roomAdmin", g->room_admin);
    write_bool(v, "roomJoin", g->room_join);
    write_str(v, "room", g->room);
    write_tristate(v, "canPublish", g->can_publish);
    write_tristate(v, "canSubscribe", g->can_subscribe);
    write_tristate(v, "canPublishData", g->can_publish_data);
    if (g->can_publish_sources) {
        struct jsonx *const list = jsonx_new_array();
        for (unsigned k = 1; list && k < ARRAY_LEN(source_names); k++) {
            if ((g->can_publish_sources >> k) & 1u) {
                (void)jsonx_add_str(list, bytes_str(source_names[k]));
            }
        }
        if (list && (g->can_publish_sources & 1u)) {
            (void)jsonx_add_str(list, bytes_str("unknown")); // an empty list would allow everything
        }
        (void)jsonx_set(v, "canPublishSources", list);
    }
    write_tristate(v, "canUpdateOwnMetadata", g->can_update_own_metadata);
    write_bool(v, "ingressAdmin", g->ingress_admin);
    write_bool(v, "hidden", g->hidden);
    write_bool(v, "recorder", g->recorder);
    write_bool(v, "agent", g->agent);
    write_tristate(v, "canSubscribeMetrics", g->can_subscribe_metrics);
    write_tristate(v, "canManageAgentSession", g->can_manage_agent_session);
    write_str(v, "destinationRoom", g->destination_room);
    return v;
}

static void write_lists(struct jsonx *p, const struct access_claims *c)
{
    if (c->attribute_count > 0) {
        struct jsonx *const obj = jsonx_new_object();
        for (size_t i = 0; obj && i < c->attribute_count; i++) {
            (void)jsonx_set_cstr(obj, c->attributes[i].key, c->attributes[i].value);
        }
        (void)jsonx_set(p, "attributes", obj);
    }
    if (c->kind_detail_count > 0) {
        struct jsonx *const arr = jsonx_new_array();
        for (size_t i = 0; arr && i < c->kind_detail_count; i++) {
            (void)jsonx_add_str(arr, bytes_str(c->kind_details[i]));
        }
        (void)jsonx_set(p, "kindDetails", arr);
    }
}

static void write_objects(struct jsonx *p, const struct access_claims *c)
{
    if (c->has_video) {
        (void)jsonx_set(p, "video", write_video(&c->video));
    }
    if (c->sip_admin || c->sip_call) {
        struct jsonx *const sip = jsonx_new_object();
        if (sip) {
            write_bool(sip, "admin", c->sip_admin);
            write_bool(sip, "call", c->sip_call);
        }
        (void)jsonx_set(p, "sip", sip);
    }
    if (c->room_config) {
        struct jsonx *config = NULL;
        if (jsonx_parse(bytes_str(c->room_config), &JSONX_LIMITS_DEFAULT, &config) == 0) {
            (void)jsonx_set(p, "roomConfig", config);
        }
    }
}

struct jsonx *access_claims_write(const struct access_claims *c, const char *iss)
{
    struct jsonx *const p = jsonx_new_object();
    if (!p) {
        return NULL;
    }
    write_str(p, "iss", iss);
    write_str(p, "sub", c->identity);
    (void)jsonx_set_int(p, "exp", c->exp);
    if (c->nbf) {
        (void)jsonx_set_int(p, "nbf", c->nbf);
    }
    if (c->iat) {
        (void)jsonx_set_int(p, "iat", c->iat);
    }
    if (c->with_identity) {
        write_str(p, "identity", c->identity);
    }
    write_str(p, "name", c->name);
    write_str(p, "kind", c->kind);
    write_str(p, "metadata", c->metadata);
    write_lists(p, c);
    write_objects(p, c);
    write_str(p, "roomPreset", c->room_preset);
    write_str(p, "sha256", c->sha256);
    return p;
}
