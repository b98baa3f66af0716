// SPDX-License-Identifier: Apache-2.0
#include "common/lk/access_claims.h"

#include <strings.h>

#include "common/base/mem.h"

// Largest integer that a double holds exactly; times beyond are nonsense and would overflow sums.
#define TIME_MAX INT64_C(9007199254740991)

// Names of Livekit__TrackSource in tokens; the index is the number.
static const char *const source_names[] = {"", "camera", "microphone", "screen_share",
                                           "screen_share_audio"};

// ---- reading --------------------------------------------------------------------------------

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

// ---- writing --------------------------------------------------------------------------------

// An object under construction that remembers the first failure, so that it is checked once.
struct out {
    struct jsonx *j; // NULL after a failed allocation
    int err;
};

static struct out out_of(struct jsonx *fresh)
{
    return (struct out){fresh, fresh ? 0 : -ENOMEM};
}

static void note(struct out *o, int r)
{
    if (o->err == 0) {
        o->err = r;
    }
}

static void put_str(struct out *o, const char *key, const char *s)
{
    if (o->err == 0 && s && *s) {
        note(o, jsonx_set_cstr(o->j, key, s));
    }
}

static void put_bool(struct out *o, const char *key, bool b)
{
    if (o->err == 0 && b) {
        note(o, jsonx_set_bool(o->j, key, true));
    }
}

static void put_tristate(struct out *o, const char *key, enum tristate t)
{
    if (o->err == 0 && t != TRISTATE_UNSET) {
        note(o, jsonx_set_bool(o->j, key, t == TRISTATE_TRUE));
    }
}

static void put_time(struct out *o, const char *key, int64_t t)
{
    if (o->err == 0 && t != 0) {
        note(o, jsonx_set_int(o->j, key, t));
    }
}

// Takes over part, whatever its state.
static void put_part(struct out *o, const char *key, struct out part)
{
    note(o, part.err);
    if (o->err == 0) {
        note(o, jsonx_set(o->j, key, part.j));
    } else {
        jsonx_free(part.j);
    }
}

static void add_str(struct out *list, const char *s)
{
    if (list->err == 0) {
        note(list, jsonx_add_str(list->j, bytes_str(s)));
    }
}

static void put_sources(struct out *v, uint32_t mask)
{
    if (mask == 0) {
        return;
    }
    struct out list = out_of(jsonx_new_array());
    for (unsigned k = 1; k < ARRAY_LEN(source_names); k++) {
        if ((mask >> k) & 1u) {
            add_str(&list, source_names[k]);
        }
    }
    if (mask & 1u) {
        add_str(&list, "unknown"); // an empty list would allow everything
    }
    put_part(v, "canPublishSources", list);
}

static struct out video_out(const struct video_grant *g)
{
    struct out v = out_of(jsonx_new_object());
    put_bool(&v, "roomCreate", g->room_create);
    put_bool(&v, "roomList", g->room_list);
    put_bool(&v, "roomRecord", g->room_record);
    put_bool(&v, "roomAdmin", g->room_admin);
    put_bool(&v, "roomJoin", g->room_join);
    put_str(&v, "room", g->room);
    put_tristate(&v, "canPublish", g->can_publish);
    put_tristate(&v, "canSubscribe", g->can_subscribe);
    put_tristate(&v, "canPublishData", g->can_publish_data);
    put_sources(&v, g->can_publish_sources);
    put_tristate(&v, "canUpdateOwnMetadata", g->can_update_own_metadata);
    put_bool(&v, "ingressAdmin", g->ingress_admin);
    put_bool(&v, "hidden", g->hidden);
    put_bool(&v, "recorder", g->recorder);
    put_bool(&v, "agent", g->agent);
    put_tristate(&v, "canSubscribeMetrics", g->can_subscribe_metrics);
    put_tristate(&v, "canManageAgentSession", g->can_manage_agent_session);
    put_str(&v, "destinationRoom", g->destination_room);
    return v;
}

static void put_lists(struct out *p, const struct access_claims *c)
{
    if (c->attribute_count > 0) {
        struct out obj = out_of(jsonx_new_object());
        for (size_t i = 0; obj.err == 0 && i < c->attribute_count; i++) {
            note(&obj, jsonx_set_cstr(obj.j, c->attributes[i].key, c->attributes[i].value));
        }
        put_part(p, "attributes", obj);
    }
    if (c->kind_detail_count > 0) {
        struct out list = out_of(jsonx_new_array());
        for (size_t i = 0; i < c->kind_detail_count; i++) {
            add_str(&list, c->kind_details[i]);
        }
        put_part(p, "kindDetails", list);
    }
}

static void put_objects(struct out *p, const struct access_claims *c)
{
    if (c->has_video) {
        put_part(p, "video", video_out(&c->video));
    }
    if (c->sip_admin || c->sip_call) {
        struct out sip = out_of(jsonx_new_object());
        put_bool(&sip, "admin", c->sip_admin);
        put_bool(&sip, "call", c->sip_call);
        put_part(p, "sip", sip);
    }
    if (c->room_config) {
        struct out config = {0};
        config.err = jsonx_parse(bytes_str(c->room_config), &JSONX_LIMITS_DEFAULT, &config.j);
        put_part(p, "roomConfig", config);
    }
}

int access_claims_write(const struct access_claims *c, const char *iss, struct jsonx **ret)
{
    struct out p = out_of(jsonx_new_object());
    put_str(&p, "iss", iss);
    put_str(&p, "sub", c->identity);
    put_time(&p, "exp", c->exp);
    put_time(&p, "nbf", c->nbf);
    put_time(&p, "iat", c->iat);
    if (c->with_identity) {
        put_str(&p, "identity", c->identity);
    }
    put_str(&p, "name", c->name);
    put_str(&p, "kind", c->kind);
    put_str(&p, "metadata", c->metadata);
    put_lists(&p, c);
    put_objects(&p, c);
    put_str(&p, "roomPreset", c->room_preset);
    put_str(&p, "sha256", c->sha256);
    if (p.err < 0) {
        jsonx_free(p.j);
        return p.err;
    }
    *ret = p.j;
    return 0;
}
