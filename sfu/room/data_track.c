// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/data_track.h"

#include "common/lk/livekit.h"
#include "sfu/room/data_channels.h"
#include "sfu/room/data_subscription.h"
#include "sfu/room/room.h"
#include "sfu/room/room_update.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/signal_send.h"
#include "sfu/wire/data_track_packet.h"

// Encoded DataTrackInfo: three names and a few numbers.
#define INFO_MAX 2048
// And decoded.
#define INFO_ARENA_CAP 8192

// ---- life -----------------------------------------------------------------------------------

struct data_track *data_track_by_sid(const struct room *r, const char *sid)
{
    struct data_track *t = NULL;
    HASH_FIND(hh_sid, r->data_tracks, sid, strlen(sid), t);
    return t;
}

static Livekit__DataTrackInfo *info_of(const struct data_track *t)
{
    return t->info->msg;
}

static struct data_track *by_handle(const struct participant *p, uint32_t handle)
{
    struct data_track *t = NULL;
    DL_FOREACH(p->data_tracks, t)
    {
        if (t->pub_handle == handle) {
            return t;
        }
    }
    return NULL;
}

static struct data_track *by_name(const struct participant *p, const char *name)
{
    struct data_track *t = NULL;
    DL_FOREACH(p->data_tracks, t)
    {
        if (strcmp(lk_str(info_of(t)->name), name) == 0) {
            return t;
        }
    }
    return NULL;
}

static void track_free(struct data_track *t)
{
    if (t != NULL) {
        pbuf_free(t->info);
        mem_free(t->subscriptions);
        mem_free(t);
    }
}

// Keeps what the request says as the DataTrackInfo that everybody is told.
static int make_info(struct data_track *t, const Livekit__PublishDataTrackRequest *req)
{
    Livekit__DataTrackInfo info = LIVEKIT__DATA_TRACK_INFO__INIT;
    LK_SET(&info, pub_handle, req->pub_handle);
    LK_SET_STR(&info, sid, t->sid);
    LK_SET_STR(&info, name, req->name);
    LK_SET(&info, encryption, req->encryption);
    info.frame_encoding = req->frame_encoding;
    info.schema = req->schema;
    struct shared_buf *packed = NULL;
    int rc = pbuf_pack_shared(&info.base, INFO_MAX, &packed);
    if (rc == 0) {
        rc = pbuf_unpack(&livekit__data_track_info__descriptor, shared_buf_view(packed),
                         INFO_ARENA_CAP, &t->info);
        shared_buf_unref(packed);
    }
    return rc;
}

// NULL without memory.
static struct data_track *track_new(struct participant *p,
                                    const Livekit__PublishDataTrackRequest *req)
{
    struct data_track *const t = NEW(struct data_track);
    if (t == NULL) {
        return NULL;
    }
    t->publisher = p;
    t->pub_handle = (uint16_t)req->pub_handle;
    (void)room_env_sid(p->room->env, SID_DATA_TRACK, t->sid);
    if (make_info(t, req) < 0) {
        track_free(t);
        return NULL;
    }
    HASH_ADD_KEYPTR(hh_sid, p->room->data_tracks, t->sid, strlen(t->sid), t);
    if (data_track_by_sid(p->room, t->sid) != t) {
        track_free(t);
        return NULL;
    }
    DL_APPEND(p->data_tracks, t);
    p->data_track_count++;
    return t;
}

// Takes it out of everything but memory.
static void track_leave(struct data_track *t)
{
    struct participant *const p = t->publisher;
    data_subscription_drop_track(t);
    HASH_DELETE(hh_sid, p->room->data_tracks, t);
    DL_DELETE(p->data_tracks, t);
    p->data_track_count--;
}

static void end_all(struct participant *p)
{
    while (p->data_tracks != NULL) {
        struct data_track *const t = p->data_tracks;
        track_leave(t);
        track_free(t);
    }
}

// ---- publishing -----------------------------------------------------------------------------

static void refuse(struct participant *p, Livekit__PublishDataTrackRequest *req,
                   enum request_result result, const char *text)
{
    Livekit__RequestResponse r = LIVEKIT__REQUEST_RESPONSE__INIT;
    LK_SET_STR(&r, message, text);
    r.request_case = LIVEKIT__REQUEST_RESPONSE__REQUEST_PUBLISH_DATA_TRACK;
    r.publish_data_track = req;
    signal_send_request_result(p, &r, result);
}

static bool is_name(const char *s)
{
    size_t const n = strlen(lk_str(s));
    return n > 0 && n <= DATA_TRACK_NAME_MAX;
}

static bool is_frame_encoding(const Livekit__DataTrackFrameEncoding *e)
{
    return e == NULL || e->value_case != LIVEKIT__DATA_TRACK_FRAME_ENCODING__VALUE_CUSTOM ||
           is_name(e->custom);
}

static bool is_schema(const Livekit__DataTrackSchemaId *s)
{
    if (s == NULL) {
        return true;
    }
    const Livekit__DataTrackSchemaEncoding *const e = s->encoding;
    bool const custom =
        e != NULL && e->value_case == LIVEKIT__DATA_TRACK_SCHEMA_ENCODING__VALUE_CUSTOM;
    return is_name(s->name) && (!custom || is_name(e->custom));
}

// The checks in livekit's order, with its texts. False: it was refused.
static bool check_publish(struct participant *p, Livekit__PublishDataTrackRequest *req)
{
    const char *text = NULL;
    enum request_result result = REQUEST_OK;
    if (!p->permission.can_publish_data) {
        result = REQUEST_NOT_ALLOWED;
        text = "does not have permission to publish data";
    } else if (req->pub_handle == 0 || req->pub_handle > UINT16_MAX) {
        result = REQUEST_INVALID_HANDLE;
        text = "handle should be > 0 AND < 65536";
    } else if (!is_name(req->name)) {
        result = REQUEST_INVALID_NAME;
        text = "name should not be empty and should not exceed 256 characters";
    } else if (!is_frame_encoding(req->frame_encoding) || !is_schema(req->schema)) {
        result = REQUEST_INVALID_REQUEST;
        text = "custom encoding identifier is empty or exceeds the maximum length";
    } else if (by_handle(p, req->pub_handle) != NULL) {
        result = REQUEST_DUPLICATE_HANDLE;
        text = "a data track with same handle already exists";
    } else if (by_name(p, lk_str(req->name)) != NULL) {
        result = REQUEST_DUPLICATE_NAME;
        text = "a data track with same name already exists";
    } else if (p->data_track_count >= DATA_TRACKS_MAX) {
        result = REQUEST_LIMIT_EXCEEDED;
        text = "too many data tracks";
    }
    if (result != REQUEST_OK) {
        refuse(p, req, result, text);
    }
    return result == REQUEST_OK;
}

static void tell_published(struct participant *p, const struct data_track *t)
{
    Livekit__PublishDataTrackResponse r = LIVEKIT__PUBLISH_DATA_TRACK_RESPONSE__INIT;
    r.info = info_of(t);
    Livekit__SignalResponse rsp =
        signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PUBLISH_DATA_TRACK_RESPONSE);
    rsp.publish_data_track_response = &r;
    signal_post(p, &rsp);
}

static void tell_unpublished(struct participant *p, const struct data_track *t)
{
    Livekit__UnpublishDataTrackResponse r = LIVEKIT__UNPUBLISH_DATA_TRACK_RESPONSE__INIT;
    r.info = info_of(t);
    Livekit__SignalResponse rsp =
        signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UNPUBLISH_DATA_TRACK_RESPONSE);
    rsp.unpublish_data_track_response = &r;
    signal_post(p, &rsp);
}

void data_track_publish_request(struct participant *p, Livekit__PublishDataTrackRequest *req)
{
    if (!check_publish(p, req)) {
        return;
    }
    struct data_track *const t = track_new(p, req);
    if (t == NULL) {
        p->room->env->no_memory++;
        refuse(p, req, REQUEST_LIMIT_EXCEEDED, "out of memory");
        return;
    }
    tell_published(p, t);
    room_count_publisher(p);
    // Its name must be known before its handle is.
    participant_changed(p, true);
    data_subscription_reconcile_track(t);
}

void data_track_unpublish_request(struct participant *p, Livekit__UnpublishDataTrackRequest *req)
{
    struct data_track *const t = by_handle(p, req->pub_handle);
    if (t == NULL) {
        Livekit__RequestResponse r = LIVEKIT__REQUEST_RESPONSE__INIT;
        r.request_case = LIVEKIT__REQUEST_RESPONSE__REQUEST_UNPUBLISH_DATA_TRACK;
        r.unpublish_data_track = req;
        signal_send_request_result(p, &r, REQUEST_NOT_FOUND);
        return;
    }
    track_leave(t);
    participant_changed(p, true);
    tell_unpublished(p, t);
    data_subscription_flush(p->room);
    track_free(t);
}

// ---- resume ---------------------------------------------------------------------------------

static const char *sid_of(const Livekit__PublishDataTrackResponse *m)
{
    return m->info != NULL ? lk_str(m->info->sid) : "";
}

bool data_track_knows_all(const struct participant *p, const Livekit__SyncState *req)
{
    for (size_t i = 0; i < req->n_publish_data_tracks; i++) {
        const char *const sid = sid_of(req->publish_data_tracks[i]);
        const struct data_track *const t = data_track_by_sid(p->room, sid);
        if (*sid != 0 && (t == NULL || t->publisher != p)) {
            return false;
        }
    }
    return true;
}

static bool names(const Livekit__SyncState *req, const char *sid)
{
    for (size_t i = 0; i < req->n_publish_data_tracks; i++) {
        if (strcmp(sid_of(req->publish_data_tracks[i]), sid) == 0) {
            return true;
        }
    }
    return false;
}

void data_track_repeat_published(struct participant *p, const Livekit__SyncState *req)
{
    const struct data_track *t = NULL;
    DL_FOREACH(p->data_tracks, t)
    {
        if (!names(req, t->sid)) {
            tell_published(p, t);
        }
    }
}

// ---- ends and changes -----------------------------------------------------------------------

void data_track_permission_changed(struct participant *p)
{
    while (!p->permission.can_publish_data && p->data_tracks != NULL) {
        struct data_track *const t = p->data_tracks;
        track_leave(t);
        participant_changed(p, true);
        tell_unpublished(p, t);
        track_free(t);
    }
    data_subscription_review(p);
    data_subscription_reconcile(p);
    data_subscription_flush(p->room);
}

void data_track_close_all(struct participant *p)
{
    bool const published = p->data_tracks != NULL;
    data_subscription_close_all(p);
    end_all(p);
    if (published) {
        data_subscription_flush(p->room);
    }
}

bool data_track_map(const struct participant *p, Livekit__ParticipantInfo *m, struct arena *a)
{
    m->data_tracks = arena_array(a, p->data_track_count, sizeof(*m->data_tracks));
    if (m->data_tracks == NULL) {
        return false;
    }
    struct data_track *t = NULL;
    DL_FOREACH(p->data_tracks, t)
    {
        m->data_tracks[m->n_data_tracks++] = info_of(t);
    }
    return true;
}

// ---- packets --------------------------------------------------------------------------------

void data_track_input(struct participant *p, struct bytes message)
{
    struct room_env *const env = p->room->env;
    struct data_track_packet packet;
    if (data_track_packet_parse(message, &packet) < 0) {
        env->drops[ROOM_DROP_DATA_MALFORMED]++;
        return;
    }
    const struct data_track *const t = by_handle(p, packet.handle);
    if (t == NULL) {
        env->drops[ROOM_DROP_DATA_TRACK_UNKNOWN]++;
        return;
    }
    if (t->subscription_count == 0) {
        return;
    }
    // One copy for all; each subscriber's handle is written into it before SCTP takes its own.
    uint8_t *const copy = mem_alloc(message.n);
    if (copy == NULL) {
        env->no_memory++;
        return;
    }
    memcpy(copy, message.p, message.n);
    size_t receivers = 0;
    for (uint32_t i = 0; i < t->subscription_count; i++) {
        const struct data_subscription *const s = t->subscriptions[i];
        if (s->handle != 0) {
            data_track_packet_set_handle((struct bytes_mut){copy, message.n}, s->handle);
            // What does not go is counted there.
            (void)!data_channels_send_bytes(s->subscriber, DATA_TRACK, bytes_of(copy, message.n));
            receivers++;
        }
    }
    mem_free(copy);
    data_channels_spend(p, receivers, message.n);
}

// ---- blobs ----------------------------------------------------------------------------------

void data_track_store_blob_request(struct participant *p, const Livekit__StoreDataBlobRequest *req)
{
    signal_send_request_response(p, req->request_id, REQUEST_NOT_ALLOWED, "data blob not enabled");
}

void data_track_get_blob_request(struct participant *p, const Livekit__GetDataBlobRequest *req)
{
    if (req->key == NULL || req->key->key_case == LIVEKIT__DATA_BLOB_KEY__KEY__NOT_SET) {
        signal_send_request_response(p, req->request_id, REQUEST_INVALID_REQUEST,
                                     "data blob key is required");
        return;
    }
    signal_send_request_response(p, req->request_id, REQUEST_NOT_ALLOWED, "data blob not enabled");
}
