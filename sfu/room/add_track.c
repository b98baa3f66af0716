// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/add_track.h"

#include <stdio.h>

#include "common/lk/livekit.h"
#include "sfu/room/backup_codec.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/participant_permission.h"
#include "sfu/room/published_track.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_send.h"

// A request whose cid is in use; in the order in which they came.
struct queued_track {
    struct queued_track *prev, *next;
    char cid[TRACK_INFO_TEXT_MAX + 1]; // as echoed
    struct track_info info;
};

// Requests that wait: for their section, or for another track's end.
static uint32_t waiting_count(const struct participant *p)
{
    uint32_t n = 0;
    const struct published_track *t = NULL;
    const struct queued_track *q = NULL;
    DL_FOREACH(p->tracks, t)
    {
        n += t->state == TRACK_PENDING;
    }
    DL_FOREACH(p->queued_tracks, q)
    {
        n++;
    }
    return n;
}

static bool start(struct participant *p, const char *cid, const struct track_info *info)
{
    struct published_track *t = NULL;
    if (published_track_new(p, info, &t) < 0) {
        p->room->env->no_memory++;
        return false;
    }
    signal_send_track_published(p, cid, t);
    negotiation_track_added(p);
    return true;
}

// ---- the queue ------------------------------------------------------------------------------

static enum request_result enqueue(struct participant *p, const char *cid,
                                   const struct track_info *info)
{
    uint32_t same = 0;
    struct queued_track *q = NULL;
    DL_FOREACH(p->queued_tracks, q)
    {
        same += strcmp(q->cid, cid) == 0;
    }
    if (same >= ADD_TRACK_QUEUE_MAX) {
        return REQUEST_LIMIT_EXCEEDED;
    }
    q = NEW(struct queued_track);
    if (q == NULL) {
        p->room->env->no_memory++;
        return REQUEST_LIMIT_EXCEEDED;
    }
    (void)snprintf(q->cid, sizeof(q->cid), "%s", cid);
    q->info = *info;
    DL_APPEND(p->queued_tracks, q);
    return REQUEST_QUEUED;
}

// The first whose cid is free; NULL if there is none.
static struct queued_track *find_ready(struct participant *p)
{
    struct queued_track *q = NULL;
    DL_FOREACH(p->queued_tracks, q)
    {
        if (published_track_by_cid(p, q->cid) == NULL) {
            return q;
        }
    }
    return NULL;
}

void add_track_queue_next(struct participant *p)
{
    struct queued_track *q = NULL;
    while (!p->closing && (q = find_ready(p)) != NULL) {
        DL_DELETE(p->queued_tracks, q);
        // The permission may have been taken away meanwhile.
        if (participant_may_publish_source(p, q->info.source)) {
            (void)start(p, q->cid, &q->info); // a client that is told nothing gives up by itself
        }
        mem_free(q);
    }
}

void add_track_queue_clear(struct participant *p)
{
    while (p->queued_tracks != NULL) {
        struct queued_track *const q = p->queued_tracks;
        DL_DELETE(p->queued_tracks, q);
        mem_free(q);
    }
}

// ---- requests -------------------------------------------------------------------------------

// Another codec for a track that is up.
static void add_codec(struct participant *p, Livekit__AddTrackRequest *req)
{
    struct published_track *const t = published_track_by_sid(p, req->sid);
    if (t == NULL) {
        signal_send_add_track_response(p, req, REQUEST_NOT_FOUND);
        return;
    }
    if (backup_codec_request(t, req) < 0) {
        signal_send_add_track_response(p, req, REQUEST_UNSUPPORTED_TYPE);
        return;
    }
    signal_send_track_published(p, lk_str(req->cid), t);
    negotiation_track_added(p);
}

static void add_new(struct participant *p, Livekit__AddTrackRequest *req,
                    const struct track_info *info)
{
    const char *const cid = lk_str(req->cid);
    enum request_result result = REQUEST_OK;
    // An empty cid is accepted, any number of times: nothing can be matched by it
    // (recording 10-odd-requests).
    bool const in_use = *cid != 0 && published_track_by_cid(p, cid) != NULL;
    if (waiting_count(p) >= PARTICIPANT_PENDING_TRACKS_MAX ||
        p->track_count >= PARTICIPANT_TRACKS_MAX) {
        result = REQUEST_LIMIT_EXCEEDED;
    } else if (in_use) {
        result = enqueue(p, cid, info);
    } else if (!start(p, cid, info)) {
        result = REQUEST_LIMIT_EXCEEDED;
    }
    if (result != REQUEST_OK) {
        signal_send_add_track_response(p, req, result);
    }
}

void add_track(struct participant *p, Livekit__AddTrackRequest *req)
{
    struct track_info info;
    if (!participant_may_publish_source(p, (unsigned)req->source)) {
        signal_send_add_track_response(p, req, REQUEST_NOT_ALLOWED);
    } else if (*lk_str(req->sid) != 0) {
        add_codec(p, req);
    } else if (track_info_from_request(&info, req, participant_publish_codecs(p)) < 0) {
        signal_send_add_track_response(p, req, REQUEST_UNSUPPORTED_TYPE);
    } else {
        add_new(p, req, &info);
    }
}
