// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/dynacast.h"

#include <ctype.h>

#include "sfu/room/published_track.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/subscription.h"

void dynacast_init(struct dynacast *d)
{
    *d = (struct dynacast){.first_at = MONO_NEVER, .less_at = MONO_NEVER, .repeat_at = MONO_NEVER};
    d->timer.kind = ROOM_TIMER_DYNACAST;
    for (size_t i = 0; i < ARRAY_LEN(d->told); i++) {
        d->told[i] = DYNACAST_NOTHING;
    }
}

// The highest quality of a codec that somebody wants, or DYNACAST_NOTHING.
static int wanted_quality(const struct dynacast *d, uint8_t codec)
{
    int quality = DYNACAST_QUALITIES - 1;
    while (quality >= 0 && d->wanted[codec][quality] == 0) {
        quality--;
    }
    return quality;
}

// ---- telling --------------------------------------------------------------------------------

#define NAME_MAX_LEN 8

// What the client called the codec in add_track, else what it sends; bare and in lower case:
// livekit-client compares it so.
static void codec_text(const struct track_media *m, char ret[static NAME_MAX_LEN])
{
    const char *const name = codec_name(m->asked != CODEC_NONE ? m->asked : m->codec);
    size_t i = 0;
    for (; i + 1 < NAME_MAX_LEN && name[i] != 0; i++) {
        ret[i] = (char)tolower((unsigned char)name[i]);
    }
    ret[i] = 0;
}

struct codec_entry {
    Livekit__SubscribedCodec codec;
    Livekit__SubscribedQuality qualities[DYNACAST_QUALITIES];
    Livekit__SubscribedQuality *list[DYNACAST_QUALITIES];
    char name[NAME_MAX_LEN];
};

static void fill_codec(const struct published_track *t, uint8_t codec, struct codec_entry *e)
{
    int const best = wanted_quality(&t->dynacast, codec);
    livekit__subscribed_codec__init(&e->codec);
    codec_text(&t->media[codec], e->name);
    LK_SET_STR(&e->codec, codec, e->name);
    for (int q = 0; q < DYNACAST_QUALITIES; q++) {
        livekit__subscribed_quality__init(&e->qualities[q]);
        LK_SET(&e->qualities[q], quality, (Livekit__VideoQuality)q);
        LK_SET(&e->qualities[q], enabled, q <= best);
        e->list[q] = &e->qualities[q];
    }
    e->codec.qualities = e->list;
    e->codec.n_qualities = DYNACAST_QUALITIES;
}

// A backup is listed once it is wanted, and from then on.
static bool backup_is_listed(const struct published_track *t, uint8_t codec)
{
    return codec < t->info.codec_count &&
           (t->dynacast.named[codec] || wanted_quality(&t->dynacast, codec) >= 0);
}

static void post(struct published_track *t)
{
    struct codec_entry entries[TRACK_INFO_CODECS_MAX];
    Livekit__SubscribedCodec *codecs[TRACK_INFO_CODECS_MAX];
    Livekit__SubscribedQualityUpdate u = LIVEKIT__SUBSCRIBED_QUALITY_UPDATE__INIT;
    LK_SET_STR(&u, track_sid, t->info.sid);
    fill_codec(t, 0, &entries[0]);
    codecs[u.n_subscribed_codecs++] = &entries[0].codec;
    for (uint8_t i = 1; i < TRACK_INFO_CODECS_MAX; i++) {
        if (backup_is_listed(t, i)) {
            t->dynacast.named[i] = true;
            fill_codec(t, i, &entries[i]);
            codecs[u.n_subscribed_codecs++] = &entries[i].codec;
        }
    }
    u.subscribed_codecs = codecs;
    // Older clients read only this copy of the first codec.
    u.subscribed_qualities = entries[0].list;
    u.n_subscribed_qualities = DYNACAST_QUALITIES;
    Livekit__SignalResponse rsp =
        signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_SUBSCRIBED_QUALITY_UPDATE);
    rsp.subscribed_quality_update = &u;
    signal_post(t->publisher, &rsp);
}

static void tell(struct published_track *t)
{
    struct dynacast *const d = &t->dynacast;
    d->less_at = MONO_NEVER;
    if (t->info.muted) {
        return; // told when it is unmuted
    }
    for (uint8_t i = 0; i < TRACK_INFO_CODECS_MAX; i++) {
        d->told[i] = (int8_t)wanted_quality(d, i);
    }
    d->missed = handle_is_none(t->publisher->session);
    post(t);
}

static void arm(struct published_track *t)
{
    struct dynacast *const d = &t->dynacast;
    struct timer_heap *const timers = t->publisher->room->env->timers;
    mono_t const next = mono_min(d->first_at, mono_min(d->less_at, d->repeat_at));
    if (mono_is_never(next)) {
        timer_heap_cancel(timers, &d->timer);
    } else {
        timer_heap_set(timers, &d->timer, next);
    }
}

// Compares what is wanted with what was told.
static void update(struct published_track *t)
{
    struct dynacast *const d = &t->dynacast;
    bool more = false;
    bool less = false;
    if (t->state != TRACK_PUBLISHED || t->closing) {
        return;
    }
    for (uint8_t i = 0; i < TRACK_INFO_CODECS_MAX; i++) {
        int const quality = wanted_quality(d, i);
        more |= quality > d->told[i];
        less |= quality < d->told[i];
    }
    if (more) {
        d->begun = true;
        d->first_at = MONO_NEVER;
        tell(t);
    } else if (!less) {
        d->less_at = MONO_NEVER;
    } else if (mono_is_never(d->less_at)) {
        d->less_at = mono_add_ms(t->publisher->room->env->now, DYNACAST_LESS_MS);
    }
    arm(t);
}

// ---- events ---------------------------------------------------------------------------------

void dynacast_start(struct published_track *t)
{
    if (t->info.type == TRACK_VIDEO) {
        t->dynacast.first_at = mono_add_ms(t->publisher->room->env->now, DYNACAST_FIRST_MS);
        update(t);
    }
}

void dynacast_set_need(struct subscription *s, uint8_t codec, int quality)
{
    struct dynacast *const d = &s->track->dynacast;
    struct dynacast_need const need = {
        .set = quality >= 0 && codec < TRACK_INFO_CODECS_MAX,
        .codec = codec,
        .quality = (uint8_t)MIN(MAX(quality, 0), DYNACAST_QUALITIES - 1),
    };
    if (s->track->info.type != TRACK_VIDEO) {
        return;
    }
    if (need.set) {
        d->wanted[need.codec][need.quality]++;
    }
    if (s->need.set) {
        d->wanted[s->need.codec][s->need.quality]--;
    }
    s->need = need;
    update(s->track);
}

void dynacast_replaced(struct published_track *t)
{
    if (!mono_is_never(t->dynacast.less_at)) {
        tell(t);
        arm(t);
    }
}

void dynacast_muted(struct published_track *t)
{
    if (!t->info.muted && t->dynacast.begun && t->state == TRACK_PUBLISHED) {
        tell(t);
        arm(t);
    }
}

void dynacast_resumed(struct participant *p)
{
    struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        if (!t->dynacast.begun || t->state != TRACK_PUBLISHED) {
            continue;
        }
        if (t->dynacast.missed) {
            tell(t);
        }
        t->dynacast.repeat_at = mono_add_ms(p->room->env->now, DYNACAST_REPEAT_MS);
        arm(t);
    }
}

void dynacast_timeout(struct published_track *t)
{
    struct dynacast *const d = &t->dynacast;
    mono_t const now = t->publisher->room->env->now;
    bool const first = mono_reached(d->first_at, now);
    bool const repeat = mono_reached(d->repeat_at, now);
    if (first) {
        d->first_at = MONO_NEVER;
        d->begun = true;
    }
    if (repeat) {
        d->repeat_at = MONO_NEVER;
    }
    if (first || repeat || mono_reached(d->less_at, now)) {
        tell(t);
    }
    arm(t);
}
