// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_stream vnet
// SUPPORT: media_model media_subscriber
//
// Audio as RED: asked for from those who may send it, passed on to those who take it, and plain Opus
// for everybody else, without what was lost on the way in.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sfu/room/published_track.h"
#include "tests/support/room_sim.h"

#define WITHOUT_RED ((1u << CODEC_OPUS) | (1u << CODEC_VP8))

static struct room_client *join_with(const char *identity, bool v0, uint32_t codecs,
                                     const char *browser)
{
    return room_client_join(
        &h, &(struct room_client_conf){
                .identity = identity, .v0 = v0, .codecs = codecs, .browser = browser});
}

static const char *mime_of(const struct room_client *viewer, const struct room_client *publisher)
{
    const struct room_peer *const p = room_client_peer(viewer, publisher->identity);
    assert_non_null(p);
    assert_int_equal(p->track_count, 1);
    return p->tracks[0].mime;
}

// The packets that c has of s, of which `red` are RED.
static uint64_t check_stream(const struct room_client *c, const struct room_sender *s, bool red)
{
    const struct room_stream *const st = room_client_stream(c, s->sid);
    assert_non_null(st);
    assert_int_equal(st->audio_bad, 0);
    assert_true(st->packets > 0);
    assert_int_equal(st->red, red ? st->packets : 0);
    return st->packets;
}

static void passes_to_those_who_take_it(bool v0)
{
    begin();
    struct room_client *const chrome = join_with("chrome", v0, 0, "Chrome");
    struct room_client *const firefox = join_with("firefox", v0, 0, "Firefox");
    struct room_client *const safari = join_with("safari", v0, 0, "Safari");
    struct room_client *const simple = join_with("simple", v0, WITHOUT_RED, "Chrome");
    struct room_client *const other = join_with("other", !v0, 0, "Chrome");
    run(S(1));
    struct room_sender *const s = room_client_publish(chrome, ROOM_AUDIO);
    struct room_sender *const f = room_client_publish(firefox, ROOM_AUDIO);
    struct room_sender *const w = room_client_publish(simple, ROOM_AUDIO);
    run(S(5));
    assert_string_equal(mime_of(other, chrome), "audio/red");
    assert_string_equal(mime_of(chrome, chrome), "audio/red");
    assert_string_equal(mime_of(other, firefox), "audio/opus");
    assert_string_equal(mime_of(other, simple), "audio/opus");
    assert_true(check_stream(other, s, true) > 200);
    assert_true(check_stream(firefox, s, false) > 200);
    assert_true(check_stream(safari, s, false) > 200);
    assert_true(check_stream(simple, s, false) > 200);
    assert_true(check_stream(chrome, f, false) > 200);
    assert_true(check_stream(other, w, false) > 200);
    end();
}

static void red_passes_to_those_who_take_it(void **state)
{
    (void)state;
    passes_to_those_who_take_it(false);
    passes_to_those_who_take_it(true);
}

static void nobody_is_asked_for_red_against_their_will(void **state)
{
    (void)state;
    begin();
    struct room_client *const viewer = join_with("viewer", false, 0, NULL);
    struct room_client *const secret = join_with("secret", false, 0, NULL);
    struct room_client *const plain = join_with("plain", true, 0, NULL);
    run(S(1));
    struct room_sender *const e = room_client_publish_as(
        secret, &(struct room_publish){.media = ROOM_AUDIO, .encrypted = true});
    struct room_sender *const p = room_client_publish_as(
        plain, &(struct room_publish){.media = ROOM_AUDIO, .disable_red = true});
    run(S(3));
    assert_string_equal(mime_of(viewer, secret), "audio/opus");
    assert_string_equal(mime_of(viewer, plain), "audio/opus");
    assert_true(check_stream(viewer, e, false) > 100);
    assert_true(check_stream(viewer, p, false) > 100);
    end();
}

static uint64_t recovered(const struct room_sender *s)
{
    const struct published_track *const t = room_track(room_find(&h.env, "room"), s->sid);
    struct receiver_encoding_stats st;
    receiver_get_encoding_stats(t->media[0].receiver, h.now, 0, &st);
    return st.recovered;
}

// A tenth is lost on each way, and some of it overtaken: who takes plain Opus misses what was lost on
// the way down, and of the way up only three in a row.
static void losses_on_the_way_in_are_filled(void **state)
{
    (void)state;
    struct vnet_link const lossy = {
        .delay_us = 20000, .jitter_us = 30000, .reorder = true, .loss_ppm = 100000};
    begin_with(&(struct room_harness_conf){.seed = 3, .link = lossy, .signal_us = 3000});
    struct room_client *const chrome = join_with("chrome", false, 0, NULL);
    struct room_client *const taker = join_with("taker", false, 0, NULL);
    struct room_client *const simple = join_with("simple", false, WITHOUT_RED, NULL);
    run(S(8));
    struct room_sender *const s = room_client_publish(chrome, ROOM_AUDIO);
    run(S(3));
    uint64_t const sent = s->packets;
    uint64_t const plain = check_stream(simple, s, false);
    uint64_t const red = check_stream(taker, s, true);
    run(S(20));
    assert_true(s->packets - sent >= 990);
    uint64_t const got = check_stream(simple, s, false) - plain;
    uint64_t const passed = check_stream(taker, s, true) - red;
    print_message("of %u packets: %u as Opus, %u as RED, %u filled\n",
                  (unsigned)(s->packets - sent), (unsigned)got, (unsigned)passed,
                  (unsigned)recovered(s));
    assert_true(got * 100 >= (s->packets - sent) * 87);
    assert_true(got < s->packets - sent);
    assert_true(passed * 100 <= (s->packets - sent) * 86);
    assert_true(recovered(s) >= 80);
    end();
}

// Muted, the numbers go on without frames: nothing is made up when it goes on.
static void a_pause_is_no_loss(void **state)
{
    (void)state;
    begin();
    struct room_client *const chrome = join_with("chrome", false, 0, NULL);
    struct room_client *const simple = join_with("simple", false, WITHOUT_RED, NULL);
    run(S(1));
    struct room_sender *const s = room_client_publish(chrome, ROOM_AUDIO);
    run(S(3));
    room_client_mute(chrome, s, true);
    run(S(2));
    room_client_mute(chrome, s, false);
    run(S(2));
    assert_true(check_stream(simple, s, false) > 200);
    assert_int_equal(recovered(s), 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(red_passes_to_those_who_take_it),
        TEST(nobody_is_asked_for_red_against_their_will),
        TEST(losses_on_the_way_in_are_filled),
        TEST(a_pause_is_no_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
