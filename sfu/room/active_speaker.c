// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/active_speaker.h"

#include "sfu/room/audience.h"
#include "sfu/room/published_track.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/signal_send.h"

// livekit audio.update_interval.
#define SPEAKER_INTERVAL_MS 400

// Entries one update may hold; more people do not speak at once, and the rest follows with the next
// tick.
#define SPEAKERS_MAX AUDIENCE_NEWS_MAX

struct change {
    struct participant *participant;
    struct speaker_entry entry;
};

// The loudest microphone of a participant.
static float level_of(const struct participant *p, mono_t now, bool *ret_audio)
{
    double best = 0;
    const struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        if (t->state != TRACK_PUBLISHED || t->info.type != TRACK_AUDIO) {
            continue;
        }
        *ret_audio = true;
        bool active = false;
        double const level = audio_level_get(&t->level, now, &active);
        if (t->info.source == TRACK_SOURCE_MICROPHONE && active && !t->info.muted && level > best) {
            best = level;
        }
    }
    return (float)audio_level_quantize(best);
}

// Updates what is known of everybody; returns the differences to what was told.
static size_t measure(struct room *r, struct change *ret, bool *ret_audio)
{
    size_t n = 0;
    for (struct participant *p = r->participants; p != NULL; p = p->hh.next) {
        float const level = level_of(p, r->env->now, ret_audio);
        bool const speaking = level > 0;
        bool const same =
            speaking == p->speaking && !(level < p->speaker_level) && !(level > p->speaker_level);
        if (same || n == SPEAKERS_MAX) {
            continue;
        }
        p->speaking = speaking;
        p->speaker_level = level;
        ret[n++] = (struct change){p, {p->sid, level, speaking}};
    }
    return n;
}

// The changes of the mask, encoded.
static struct shared_buf *pack(struct room_env *env, const struct change *changes, size_t n,
                               uint64_t mask)
{
    struct speaker_entry v[SPEAKERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (mask & (UINT64_C(1) << i)) {
            v[count++] = changes[i].entry;
        }
    }
    return signal_pack_speakers(env, v, count);
}

// Encoded once for all who are told the same.
static void tell(struct room *r, const struct change *changes, size_t n)
{
    struct shared_buf *data = NULL;
    uint64_t data_mask = 0;
    uint64_t mask = 0;
    struct participant *p = NULL;
    for (size_t i = 0; i < n; i++) {
        audience_add(changes[i].participant, (unsigned)i);
    }
    while ((p = audience_next(r, p, &mask)) != NULL) {
        if (data == NULL || mask != data_mask) {
            shared_buf_unref(data);
            data = pack(r->env, changes, n, mask);
            data_mask = mask;
        }
        if (data != NULL) {
            signal_post_news(p, shared_buf_ref(data));
        }
    }
    shared_buf_unref(data);
}

void active_speaker_tick(struct room *r)
{
    struct change changes[SPEAKERS_MAX];
    bool audio = false;
    size_t const n = measure(r, changes, &audio);
    if (n > 0) {
        tell(r, changes, n);
    }
    if (audio) {
        timer_heap_set(r->env->timers, &r->speakers, mono_add_ms(r->env->now, SPEAKER_INTERVAL_MS));
    }
}

void active_speaker_start(struct room *r)
{
    if (!timer_is_set(&r->speakers)) {
        timer_heap_set(r->env->timers, &r->speakers, mono_add_ms(r->env->now, SPEAKER_INTERVAL_MS));
    }
}

void active_speaker_gone(struct participant *p)
{
    p->speaking = false;
    p->speaker_level = 0;
}

void active_speaker_tell(struct participant *listener, const struct participant *p)
{
    if (p->speaking) {
        struct speaker_entry const e = {p->sid, p->speaker_level, true};
        signal_send_speakers(listener, &e, 1);
    }
}

void active_speaker_tell_lost(struct participant *listener, const struct participant *p)
{
    if (p->speaking) {
        struct speaker_entry const e = {p->sid, 0, false};
        signal_send_speakers(listener, &e, 1);
    }
}

static bool has_microphone(const struct participant *p)
{
    const struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        if (t->state == TRACK_PUBLISHED && t->info.source == TRACK_SOURCE_MICROPHONE) {
            return true;
        }
    }
    return false;
}

void active_speaker_resumed(struct participant *p)
{
    struct speaker_entry v[SPEAKERS_MAX];
    size_t n = 0;
    for (const struct participant *o = p->room->participants; o != NULL; o = o->hh.next) {
        if (!has_microphone(o) || (o != p && !audience_hears(p, o))) {
            continue;
        }
        v[n++] = (struct speaker_entry){o->sid, o->speaker_level, o->speaking};
        if (n == SPEAKERS_MAX) {
            signal_send_speakers(p, v, n);
            n = 0;
        }
    }
    if (n > 0) {
        signal_send_speakers(p, v, n);
    }
}
