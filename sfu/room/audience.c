// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/audience.h"

#include "sfu/room/active_speaker.h"
#include "sfu/room/connection_quality.h"
#include "sfu/room/published_track.h"
#include "sfu/room/subscription.h"

void audience_add(struct participant *p, unsigned index)
{
    uint64_t const bit = UINT64_C(1) << index;
    assert(index < AUDIENCE_NEWS_MAX);
    p->news |= bit;
    const struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        for (size_t k = 0; k < ARRAY_LEN(t->media); k++) {
            const struct track_media *const m = &t->media[k];
            for (uint32_t i = 0; i < m->output_count; i++) {
                m->outputs[i].subscription->subscriber->news |= bit;
            }
        }
    }
}

struct participant *audience_next(struct room *r, struct participant *after, uint64_t *ret_mask)
{
    struct participant *p = after != NULL ? after->hh.next : r->participants;
    for (; p != NULL; p = p->hh.next) {
        uint64_t const mask = p->news;
        p->news = 0;
        if (mask != 0 && !handle_is_none(p->session)) {
            *ret_mask = mask;
            return p;
        }
    }
    return NULL;
}

// Whether listener has at least n live subscriptions to tracks of p. Looks no further: some publish
// hundreds.
static bool has_live(struct participant *listener, const struct participant *p, uint32_t n)
{
    for (const struct published_track *t = p->tracks; n > 0 && t != NULL; t = t->next) {
        const struct subscription *const s = subscription_find(listener, t);
        n -= s != NULL && s->down_track != NULL;
    }
    return n == 0;
}

bool audience_hears(struct participant *listener, const struct participant *p)
{
    return has_live(listener, p, 1);
}

void audience_joined(struct subscription *s)
{
    const struct participant *const p = s->track->publisher;
    if (!has_live(s->subscriber, p, 2)) { // it is the first
        active_speaker_tell(s->subscriber, p);
        connection_quality_tell(s->subscriber, p);
    }
}

void audience_left(struct participant *subscriber, const struct participant *p)
{
    if (!subscriber->closing && !p->closing && !audience_hears(subscriber, p)) {
        active_speaker_tell_lost(subscriber, p);
    }
}

void audience_resumed(struct participant *p)
{
    active_speaker_resumed(p);
    connection_quality_resumed(p);
}
