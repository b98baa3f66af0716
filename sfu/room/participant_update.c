// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/participant_update.h"

#include "common/lk/livekit.h"
#include "sfu/room/published_track.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_send.h"

// ---- attributes -----------------------------------------------------------------------------

static size_t find_attribute(const struct participant_attribute *v, size_t n, const char *key)
{
    size_t i = 0;
    while (i < n && strcmp(v[i].key, key) != 0) {
        i++;
    }
    return i;
}

static bool put_attribute(struct participant_attribute *v, size_t *count, const char *key,
                          const char *value)
{
    size_t const at = find_attribute(v, *count, key);
    if (at < *count) {
        mem_free(v[at].value);
        v[at].value = mem_strdup(value);
    } else {
        v[at] = (struct participant_attribute){mem_strdup(key), mem_strdup(value)};
        *count += v[at].key != NULL;
        if (v[at].key == NULL) {
            mem_free(v[at].value);
            return false;
        }
    }
    return v[at].value != NULL;
}

static int drop_empty(struct participant_attribute *v, size_t *count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < *count;) {
        if (v[i].value[0] == 0) {
            mem_free(v[i].key);
            mem_free(v[i].value);
            v[i] = v[--*count];
            continue;
        }
        bytes += strlen(v[i].key) + strlen(v[i].value);
        i++;
    }
    return bytes > PARTICIPANT_ATTRIBUTES_BYTES_MAX || *count > PARTICIPANT_ATTRIBUTES_MAX ? -E2BIG
                                                                                           : 0;
}

// Merges into a fresh list so that nothing has changed when it fails.
static int merge_attributes(const struct participant *p, const struct access_attribute *add,
                            size_t n, struct participant_attribute **ret, size_t *ret_n)
{
    if (n > PARTICIPANT_ATTRIBUTES_MAX) {
        return -E2BIG;
    }
    struct participant_attribute *const v = mem_array(p->attribute_count + n, sizeof(*v));
    size_t count = 0;
    bool ok = v != NULL;
    for (size_t i = 0; ok && i < p->attribute_count; i++) {
        ok = put_attribute(v, &count, p->attributes[i].key, p->attributes[i].value);
    }
    for (size_t i = 0; ok && i < n; i++) {
        ok = put_attribute(v, &count, add[i].key, add[i].value);
    }
    int const rc = ok ? drop_empty(v, &count) : -ENOMEM;
    if (rc < 0) {
        participant_attributes_free(v, count);
        return rc;
    }
    *ret = v;
    *ret_n = count;
    return 0;
}

static bool attributes_differ(const struct participant *p, const struct access_attribute *add,
                              size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t const at = find_attribute(p->attributes, p->attribute_count, add[i].key);
        const char *const now = at < p->attribute_count ? p->attributes[at].value : "";
        if (strcmp(now, add[i].value) != 0) {
            return true;
        }
    }
    return false;
}

// ---- changes --------------------------------------------------------------------------------

static int check_limits(const char *name, const char *metadata)
{
    if (name != NULL && strlen(name) > PARTICIPANT_NAME_MAX) {
        return -ENAMETOOLONG;
    }
    return metadata != NULL && strlen(metadata) > PARTICIPANT_METADATA_MAX ? -EFBIG : 0;
}

static void replace(char **text, char *with)
{
    if (with != NULL) {
        mem_free(*text);
        *text = with;
    }
}

static int apply(struct participant *p, const char *name, const char *metadata,
                 const struct access_attribute *attributes, size_t attribute_count)
{
    struct participant_attribute *merged = NULL;
    size_t merged_n = 0;
    int const rc = merge_attributes(p, attributes, attribute_count, &merged, &merged_n);
    if (rc < 0) {
        return rc;
    }
    char *const new_name = name != NULL ? mem_strdup(name) : NULL;
    char *const new_metadata = metadata != NULL ? mem_strdup(metadata) : NULL;
    if ((name != NULL && new_name == NULL) || (metadata != NULL && new_metadata == NULL)) {
        mem_free(new_name);
        mem_free(new_metadata);
        participant_attributes_free(merged, merged_n);
        return -ENOMEM;
    }
    replace(&p->name, new_name);
    replace(&p->metadata, new_metadata);
    participant_attributes_free(p->attributes, p->attribute_count);
    p->attributes = merged;
    p->attribute_count = merged_n;
    return 0;
}

// Merging compares each attribute with all others, and all that p has goes into its next token.
static void count_effort(struct participant *p)
{
    int64_t const compared = (int64_t)(p->attribute_count * p->attribute_count);
    int64_t const token_kib = (int64_t)strlen(p->metadata) >> 10;
    effort_turn(p, EFFORT_TOKEN_US + compared / (4 * EFFORT_LOOKS_PER_US) +
                       token_kib * EFFORT_TOKEN_KIB_US);
}

int participant_update(struct participant *p, const char *name, const char *metadata,
                       const struct access_attribute *attributes, size_t attribute_count)
{
    int rc = check_limits(name, metadata);
    if (rc < 0) {
        return rc;
    }
    bool const differs = (name != NULL && strcmp(name, p->name) != 0) ||
                         (metadata != NULL && strcmp(metadata, p->metadata) != 0) ||
                         attributes_differ(p, attributes, attribute_count);
    if (!differs) {
        return 0;
    }
    rc = apply(p, name, metadata, attributes, attribute_count);
    count_effort(p);
    // Nobody knows somebody whose join is being answered; the answer has it all.
    if (rc == 0 && p->state != PARTICIPANT_JOINING) {
        participant_changed(p, true);
        participant_post_claims(p);
    }
    return rc;
}

// LiveKit's words.
static const char *error_text(int rc)
{
    switch (rc) {
    case -ENAMETOOLONG:
        return "exceeds name length limit";
    case -EFBIG:
        return "exceeds metadata size limit";
    case -E2BIG:
        return "exceeds attributes size limit";
    default:
        return "out of memory";
    }
}

// ---- claims ---------------------------------------------------------------------------------

static void grant_of(const struct participant *p, struct video_grant *g)
{
    const struct participant_permission *const perm = &p->permission;
    g->can_publish = tristate_of(perm->can_publish);
    g->can_subscribe = tristate_of(perm->can_subscribe);
    g->can_publish_data = tristate_of(perm->can_publish_data);
    g->can_update_own_metadata = tristate_of(perm->can_update_metadata);
    g->can_subscribe_metrics = tristate_of(perm->can_subscribe_metrics);
    g->can_manage_agent_session = tristate_of(perm->can_manage_agent_session);
    g->can_publish_sources = perm->sources;
    g->hidden = perm->hidden;
    g->recorder = perm->recorder;
    g->agent = perm->agent;
}

static int claims_of(const struct participant *p, const char *room, struct access_token **ret)
{
    struct access_claims c = p->token->claims;
    c.video.room = room;
    struct access_attribute *const v = mem_array(p->attribute_count, sizeof(*v));
    if (v == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < p->attribute_count; i++) {
        v[i] = (struct access_attribute){p->attributes[i].key, p->attributes[i].value};
    }
    c.attributes = v;
    c.attribute_count = p->attribute_count;
    c.name = p->name[0] != 0 ? p->name : NULL;
    c.metadata = p->metadata[0] != 0 ? p->metadata : NULL;
    if (p->permission_replaced) {
        grant_of(p, &c.video);
    }
    int const rc = access_token_new(&c, p->token->api_key, ret);
    mem_free(v);
    return rc;
}

bool participant_post_claims_of(struct participant *p, const char *room)
{
    struct room_env *const env = p->room->env;
    if (handle_is_none(p->session) || p->token == NULL) {
        return false;
    }
    struct channel_msg *const m = channel_msg_new(CHANNEL_CLAIMS, p->session);
    if (m == NULL || claims_of(p, room, &m->u.claims.token) < 0) {
        env->no_memory++;
        channel_msg_free(m);
        return false;
    }
    room_env_post(env, m);
    return true;
}

void participant_post_claims(struct participant *p)
{
    (void)participant_post_claims_of(p, p->room->name);
}

void participant_renew_token(struct participant *p, struct access_token *token)
{
    struct access_token *const old = p->token;
    p->token = access_token_ref(token);
    access_token_free(old);
    participant_post_claims(p);
}

// ---- requests -------------------------------------------------------------------------------

static void answer_update(struct participant *p, Livekit__UpdateParticipantMetadata *echo,
                          enum request_result result, const char *text)
{
    Livekit__RequestResponse r = LIVEKIT__REQUEST_RESPONSE__INIT;
    LK_SET(&r, request_id, echo->request_id);
    LK_SET_STR(&r, message, text);
    r.request_case = LIVEKIT__REQUEST_RESPONSE__REQUEST_UPDATE_METADATA;
    r.update_metadata = echo;
    signal_send_late_request_result(p, &r, result);
}

void participant_update_request(struct participant *p, Livekit__UpdateParticipantMetadata *req)
{
    if (!p->permission.can_update_metadata) {
        answer_update(p, req, REQUEST_NOT_ALLOWED,
                      "does not have permission to update own metadata");
        return;
    }
    struct access_attribute attributes[PARTICIPANT_ATTRIBUTES_MAX];
    int rc = req->n_attributes > PARTICIPANT_ATTRIBUTES_MAX ? -E2BIG : 0;
    for (size_t i = 0; rc == 0 && i < req->n_attributes; i++) {
        attributes[i] = (struct access_attribute){lk_str(req->attributes[i]->key),
                                                  lk_str(req->attributes[i]->value)};
    }
    if (rc == 0) {
        // Empty ones are not there: clients cannot clear name or metadata this way.
        rc = participant_update(p, *lk_str(req->name) != 0 ? req->name : NULL,
                                *lk_str(req->metadata) != 0 ? req->metadata : NULL, attributes,
                                req->n_attributes);
    }
    if (rc == 0) {
        answer_update(p, req, REQUEST_OK, NULL);
    } else {
        answer_update(p, req, rc == -ENOMEM ? REQUEST_UNCLASSIFIED_ERROR : REQUEST_LIMIT_EXCEEDED,
                      error_text(rc));
    }
}

void participant_update_audio_track(struct participant *p, Livekit__UpdateLocalAudioTrack *req)
{
    struct published_track *const t = published_track_by_sid(p, lk_str(req->track_sid));
    if (t == NULL) {
        Livekit__RequestResponse r = LIVEKIT__REQUEST_RESPONSE__INIT;
        r.request_case = LIVEKIT__REQUEST_RESPONSE__REQUEST_UPDATE_AUDIO_TRACK;
        r.update_audio_track = req;
        signal_send_request_result(p, &r, REQUEST_NOT_FOUND);
        return;
    }
    if (track_info_update_features(&t->info, req) && t->state == TRACK_PUBLISHED) {
        participant_changed(p, true);
    }
}

void participant_update_video_track(struct participant *p, Livekit__UpdateLocalVideoTrack *req)
{
    struct published_track *const t = published_track_by_sid(p, lk_str(req->track_sid));
    if (t == NULL) {
        Livekit__RequestResponse r = LIVEKIT__REQUEST_RESPONSE__INIT;
        r.request_case = LIVEKIT__REQUEST_RESPONSE__REQUEST_UPDATE_VIDEO_TRACK;
        r.update_video_track = req;
        signal_send_request_result(p, &r, REQUEST_NOT_FOUND);
        return;
    }
    if (t->info.width == req->width && t->info.height == req->height) {
        return;
    }
    t->info.width = req->width;
    t->info.height = req->height;
    if (t->state == TRACK_PUBLISHED) {
        participant_changed(p, true);
    }
}
