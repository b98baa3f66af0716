// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/active_speaker.h"

#include "sfu/room/published_track.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/subscription.h"

// livekit audio.update_interval.
#define SPEAKER_INTERVAL_MS 400

// Entries one update may hold; more people do not speak at once, and the rest follows with the next
// tick.
#define SPEAKERS_MAX 64

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

static bool hears(struct participant *listener, const struct participant *speaker)
{
    if (listener == speaker) {
        return true;
    }
    const struct published_track *t = NULL;
    DL_FOREACH(speaker->tracks, t)
    {
        if (subscription_find(listener, t) != NULL) {
            return true;
        }
    }
    return false;
}

static void tell(struct participant *p, const struct change *changes, size_t n)
{
    struct speaker_entry v[SPEAKERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (hears(p, changes[i].participant)) {
            v[count++] = changes[i].entry;
        }
    }
    if (count > 0) {
        signal_send_speakers(p, v, count);
    }
}

void active_speaker_tick(struct room *r)
{
    struct change changes[SPEAKERS_MAX];
    bool audio = false;
    size_t const n = measure(r, changes, &audio);
    for (struct participant *p = r->participants; n > 0 && p != NULL; p = p->hh.next) {
        tell(p, changes, n);
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

void active_speaker_tell_subscriber(struct subscription *s)
{
    const struct participant *const p = s->track->publisher;
    if (p->speaking && s->track->info.type == TRACK_AUDIO) {
        struct speaker_entry const e = {p->sid, p->speaker_level, true};
        signal_send_speakers(s->subscriber, &e, 1);
    }
}
