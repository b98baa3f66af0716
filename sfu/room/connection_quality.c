// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/connection_quality.h"

#include "sfu/room/audience.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/published_track.h"
#include "sfu/room/signal_post.h"
#include "sfu/room/subscription.h"
#include "sfu/transport/peer_connection.h"

// A transport that was silent for this long is dead. Browsers prove their consent every 4 to 6 s
// (RFC 7675 section 5.1) even when they send nothing else.
#define DEAD_US (7500 * US_PER_MS)

// livekit noReceiverReportTooLongThreshold 30 s: a subscriber who has not reported about packets
// for this many windows does not get them.
#define UNREPORTED_MAX 6

// A large room is measured a part at a time, so that packets do not wait for it: a turn ends after so
// many participants, tracks and subscriptions, up to half a microsecond each out of the cache, or when
// one message is full of news, and goes on in SLICE_MS. 5 s are enough for 250,000 of them.
#define SLICE_ITEMS 1000u
#define SLICE_MS 20

// From this protocol on clients know LOST; others are told POOR (livekit-protocol 3.3).
#define PROTOCOL_LOST 11

static bool is_dead(const struct pc_transport *t, mono_t now)
{
    return t == NULL || mono_diff_us(now, peer_connection_last_rx(t->pc)) >= DEAD_US;
}

static uint32_t rise(uint64_t now, uint64_t before)
{
    return now > before ? (uint32_t)MIN(now - before, UINT32_MAX) : 0;
}

// Layers missing over the whole window: what was wanted at both of its ends and there at neither.
// A switch takes a key frame, which is no fault of the connection.
static float layers_missing(struct quality_meter *m, int wanted, int got)
{
    int const missing = MIN(m->wanted, wanted) - MAX(m->got, got);
    m->wanted = (int8_t)wanted;
    m->got = (int8_t)got;
    return (float)MAX(missing, 0);
}

// ---- up: what the participant publishes -----------------------------------------------------

struct up_state {
    struct receiver_totals totals;
    bool watched; // somebody takes it
    int wanted, got;
};

static int top_bit(uint8_t mask)
{
    return mask == 0 ? -1 : 31 - __builtin_clz(mask);
}

static void add_media(const struct track_media *m, struct up_state *s)
{
    if (m->receiver == NULL) {
        return;
    }
    struct receiver_totals t;
    receiver_get_totals(m->receiver, &t);
    s->totals.expected += t.expected;
    s->totals.lost += t.lost;
    if (!m->video) {
        return; // who takes it makes no difference
    }
    int wanted = -1;
    for (uint32_t i = 0; i < m->output_count; i++) {
        const struct down_track *const dt = m->outputs[i].down_track;
        struct down_track_layers l;
        down_track_get_layers(dt, &l);
        if (down_track_is_forwarding(dt) && l.max_spatial >= 0) {
            s->watched = true;
            wanted = MAX(wanted, l.max_spatial);
        }
    }
    // Layers within one stream (SVC) are not told apart here.
    uint8_t const encodings = receiver_conf(m->receiver)->encodings;
    if (m->index == 0 && encodings > 1) {
        s->wanted = MIN(wanted, encodings - 1);
        s->got = top_bit(receiver_live_mask(m->receiver));
    }
}

static float measure_up(struct published_track *t, mono_t now)
{
    struct quality_meter *const q = &t->quality;
    struct up_state s = {.wanted = -1, .got = -1};
    for (size_t i = 0; i < ARRAY_LEN(t->media); i++) {
        add_media(&t->media[i], &s);
    }
    // Nobody watches: the client is told to stop sending (dynacast), so nothing is expected.
    bool const idle = t->info.type == TRACK_VIDEO && !s.watched;
    quality_score_set_muted(&q->score, now, t->info.muted || idle);
    uint32_t const expected = rise(s.totals.expected, q->expected);
    uint32_t const lost =
        s.totals.lost > (uint64_t)q->lost ? rise(s.totals.lost, (uint64_t)q->lost) : 0;
    q->expected = s.totals.expected;
    q->lost = (int64_t)s.totals.lost;
    struct quality_window const w = {
        .expected = expected,
        .lost = lost,
        .distance = layers_missing(q, s.wanted, s.got),
        .dead = is_dead(t->publisher->publisher, now),
        .sparse = t->info.source == TRACK_SOURCE_SCREEN_SHARE ||
                  t->info.source == TRACK_SOURCE_SCREEN_SHARE_AUDIO,
    };
    quality_score_update(&q->score, now, &w);
    return q->score.score;
}

// ---- down: what the participant receives ----------------------------------------------------

static bool is_unwanted(enum down_track_result block, const struct down_track_layers *l)
{
    return block == DOWN_TRACK_DISABLED || block == DOWN_TRACK_MUTED || l->max_spatial < 0;
}

// Lost packets that were ours to send. Holes of the publisher's side are forgiven; reports name
// them up to a window later.
static uint32_t lost_by_us(struct quality_meter *q, const struct down_track_totals *t,
                           uint32_t reported)
{
    int64_t const lost = MAX(t->lost - q->lost, 0);
    uint64_t const holes = rise(t->holes, q->holes) + q->forgiven;
    uint64_t const forgiven = MIN(holes, (uint64_t)lost);
    q->forgiven = MIN(holes - forgiven, rise(t->holes, q->holes));
    return (uint32_t)MIN((uint64_t)lost - forgiven, reported);
}

static float measure_down(struct subscription *s, mono_t now)
{
    struct quality_meter *const q = &s->quality;
    struct down_track_totals t;
    struct down_track_layers l;
    down_track_get_totals(s->down_track, &t);
    down_track_get_layers(s->down_track, &l);
    quality_score_set_muted(&q->score, now, is_unwanted(t.block, &l));
    uint32_t const reported = rise(t.reported, q->expected);
    uint32_t const sent = rise(t.sent, q->sent);
    uint32_t const lost = lost_by_us(q, &t, reported);
    q->unreported = reported > 0 || sent == 0 ? 0 : (uint8_t)MIN(q->unreported + 1, UINT8_MAX);
    int wanted = -1;
    const struct receiver *const r = s->media->receiver;
    if (r != NULL && receiver_conf(r)->encodings > 1) {
        uint8_t const allowed = (uint8_t)((2u << MAX(l.max_spatial, 0)) - 1);
        wanted = top_bit(receiver_live_mask(r) & allowed);
    }
    struct quality_window const w = {
        .expected = reported,
        .lost = lost,
        .distance = layers_missing(q, wanted, wanted < 0 ? -1 : l.current_spatial),
        // Only who was sent something can be found not to have got it.
        .dead = sent > 0 && is_dead(participant_sending(s->subscriber), now),
        .sparse = t.block != DOWN_TRACK_PAUSED && q->unreported < UNREPORTED_MAX,
    };
    q->expected = t.reported;
    q->sent = t.sent;
    q->holes = t.holes;
    q->lost = t.lost;
    quality_score_update(&q->score, now, &w);
    return q->score.score;
}

// ---- participants ---------------------------------------------------------------------------

// The worst track's score; 100 without any. *items: what it cost, in things looked at.
static float measure(struct participant *p, mono_t now, uint32_t *items)
{
    float worst = 100.0F;
    struct published_track *t = NULL;
    DL_FOREACH(p->tracks, t)
    {
        if (t->state == TRACK_PUBLISHED) {
            worst = MIN(worst, measure_up(t, now));
            *items += 1 + t->media[0].output_count;
        }
    }
    for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        if (s->down_track != NULL) {
            worst = MIN(worst, measure_down(s, now));
            *items += 1;
        }
    }
    return worst;
}

struct quality_news {
    size_t n;
    const struct participant *of[AUDIENCE_NEWS_MAX];
};

static struct shared_buf *pack(struct room_env *env, const struct quality_news *news, uint64_t mask,
                               bool knows_lost)
{
    struct shared_buf *data = NULL;
    Livekit__ConnectionQualityUpdate u = LIVEKIT__CONNECTION_QUALITY_UPDATE__INIT;
    Livekit__ConnectionQualityInfo info[AUDIENCE_NEWS_MAX];
    Livekit__ConnectionQualityInfo *list[AUDIENCE_NEWS_MAX];
    for (size_t i = 0; i < news->n; i++) {
        if ((mask & (UINT64_C(1) << i)) == 0) {
            continue;
        }
        const struct participant *const p = news->of[i];
        Livekit__ConnectionQualityInfo *const m = &info[u.n_updates];
        enum quality_level const level = quality_score_level(p->quality);
        livekit__connection_quality_info__init(m);
        LK_SET_STR(m, participant_sid, p->sid);
        LK_SET(m, quality,
               (Livekit__ConnectionQuality)(level == QUALITY_LOST && !knows_lost ? QUALITY_POOR
                                                                                 : level));
        LK_SET(m, score, quality_score_mos(p->quality));
        list[u.n_updates++] = m;
    }
    u.updates = list;
    Livekit__SignalResponse rsp =
        signal_response(LIVEKIT__SIGNAL_RESPONSE__MESSAGE_CONNECTION_QUALITY);
    rsp.connection_quality = &u;
    if (pbuf_pack_shared(&rsp.base, SIGNAL_MESSAGE_MAX, &data) < 0) {
        env->no_memory++;
        return NULL;
    }
    return data;
}

static bool knows_lost(const struct participant *p)
{
    return p->client.protocol >= PROTOCOL_LOST;
}

// Sends what is gathered: encoded once for all who are told the same.
static void flush(struct room *r, struct quality_news *news)
{
    struct shared_buf *data = NULL;
    uint64_t data_mask = 0;
    bool data_lost = false;
    uint64_t mask = 0;
    struct participant *p = NULL;
    while ((p = audience_next(r, p, &mask)) != NULL) {
        if (data == NULL || mask != data_mask || knows_lost(p) != data_lost) {
            shared_buf_unref(data);
            data = pack(r->env, news, mask, knows_lost(p));
            data_mask = mask;
            data_lost = knows_lost(p);
        }
        if (data != NULL) {
            signal_post_news(p, shared_buf_ref(data));
        }
    }
    shared_buf_unref(data);
    news->n = 0;
}

// Measures p; true if others are to be told.
static bool update(struct participant *p, mono_t now, uint32_t *items)
{
    *items += 1;
    if (p->state != PARTICIPANT_ACTIVE) {
        return false;
    }
    float const score = measure(p, now, items);
    bool const same =
        p->quality_known && quality_score_level(score) == quality_score_level(p->quality);
    // The score that goes with the level is told once it changes: livekit does the same.
    p->quality = score;
    p->quality_known = true;
    return !same;
}

// The rest of the round comes in a moment, or the next round when it is its time.
static void schedule(struct room *r)
{
    mono_t const now = r->env->now;
    mono_t const next = mono_add_us(r->quality_round, QUALITY_SCORE_INTERVAL_US);
    if (r->quality_next != NULL) {
        timer_heap_set(r->env->timers, &r->quality, mono_add_ms(now, SLICE_MS));
        return;
    }
    // A thread that was kept waiting makes up for nothing.
    r->quality_round = mono_reached(next, now) ? mono_add_us(now, QUALITY_SCORE_INTERVAL_US) : next;
    timer_heap_set(r->env->timers, &r->quality, r->quality_round);
}

void connection_quality_tick(struct room *r)
{
    struct quality_news news = {0};
    mono_t const now = r->env->now;
    uint32_t items = 0;
    struct participant *p = r->quality_next != NULL ? r->quality_next : r->participants;
    for (; p != NULL && items < SLICE_ITEMS && news.n < AUDIENCE_NEWS_MAX; p = p->hh.next) {
        if (update(p, now, &items)) {
            audience_add(p, (unsigned)news.n);
            news.of[news.n++] = p;
        }
    }
    r->quality_next = p;
    if (news.n > 0) {
        flush(r, &news);
    }
    schedule(r);
}

void connection_quality_leave(struct participant *p)
{
    if (p->room->quality_next == p) {
        p->room->quality_next = p->hh.next;
    }
}

void connection_quality_start(struct room *r)
{
    r->quality_round = mono_add_us(r->env->now, QUALITY_SCORE_INTERVAL_US);
    timer_heap_set(r->env->timers, &r->quality, r->quality_round);
}

void connection_quality_publish(struct published_track *t)
{
    t->quality = (struct quality_meter){.wanted = -1, .got = -1};
    quality_score_init(&t->quality.score, t->publisher->room->env->now,
                       t->info.type == TRACK_AUDIO ? QUALITY_SCORE_WEIGHT_OPUS
                                                   : QUALITY_SCORE_WEIGHT_VIDEO);
}

void connection_quality_subscribe(struct subscription *s)
{
    s->quality = (struct quality_meter){.wanted = -1, .got = -1};
    quality_score_init(&s->quality.score, s->subscriber->room->env->now,
                       s->track->info.type == TRACK_AUDIO ? QUALITY_SCORE_WEIGHT_OPUS
                                                          : QUALITY_SCORE_WEIGHT_VIDEO);
}

static void send(struct participant *listener, const struct quality_news *news)
{
    uint64_t const all = news->n == 64 ? UINT64_MAX : (UINT64_C(1) << news->n) - 1;
    struct shared_buf *const data = pack(listener->room->env, news, all, knows_lost(listener));
    if (data != NULL) {
        signal_post_news(listener, data);
    }
}

void connection_quality_tell(struct participant *listener, const struct participant *p)
{
    if (!handle_is_none(listener->session) && p->quality_known && !p->closing) {
        struct quality_news const news = {1, {p}};
        send(listener, &news);
    }
}

void connection_quality_resumed(struct participant *p)
{
    struct quality_news news = {0};
    if (handle_is_none(p->session)) {
        return;
    }
    for (struct participant *o = p->room->participants; o != NULL; o = o->hh.next) {
        if (!o->quality_known || (o != p && !audience_hears(p, o))) {
            continue;
        }
        news.of[news.n++] = o;
        if (news.n == AUDIENCE_NEWS_MAX) {
            send(p, &news);
            news.n = 0;
        }
    }
    if (news.n > 0) {
        send(p, &news);
    }
}
