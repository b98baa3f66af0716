// SPDX-License-Identifier: Apache-2.0
// LINK: room
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/lk/livekit.h"
#include "sfu/room/client_codecs.h"
#include "sfu/wire/codec.h"

#define AV1 (1u << CODEC_AV1)
#define VP9 (1u << CODEC_VP9)
#define H264 (1u << CODEC_H264)

static struct client_codecs of(const char *browser, const char *version, const char *os,
                               const char *device)
{
    Livekit__ClientInfo info = LIVEKIT__CLIENT_INFO__INIT;
    LK_SET_STR(&info, browser, browser);
    LK_SET_STR(&info, browser_version, version);
    LK_SET_STR(&info, os, os);
    LK_SET_STR(&info, device_model, device);
    LK_SET_STR(&info, os_version, device); // one or the other
    return client_codecs_of(&info);
}

static void browsers_keep_what_they_do_well(void **state)
{
    (void)state;
    static const struct {
        const char *browser, *version, *os, *device;
        uint32_t disabled, not_published;
    } cases[] = {
        {"", "", "", "", 0, 0},
        {"chrome", "156.0", "linux", "", 0, 0},
        {"Safari", "17.5", "mac os x", "", AV1, 0},
        {"safari", "18.3", "mac os x", "", AV1, 0},
        {"safari", "18.3.1", "mac os x", "", AV1, 0},
        {"safari", "18.10", "mac os x", "", AV1, VP9},
        {"safari", "26", "mac os x", "", AV1, VP9},
        {"mobile safari", "17.5", "iOS", "17.5", AV1, 0},
        {"Chrome Mobile iOS", "150.0", "iOS", "18.5", AV1, VP9},
        {"firefox", "153.0", "linux", "", AV1, H264},
        {"firefox", "153.0", "windows", "", AV1, 0},
        {"firefox", "157.0", "linux", "", 0, H264},
        {"firefox", "", "windows", "", 0, 0},
        {"Firefox Mobile", "153.0", "Android", "", AV1, H264},
        {"chrome mobile", "150.0", "android", "XiaoMi 2201117TI", 0, H264},
        {"chrome mobile", "150.0", "android", "K", 0, 0},
        {"safari", "99999999999999999999999.5", "mac os x", "", AV1, VP9},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client_codecs const c =
            of(cases[i].browser, cases[i].version, cases[i].os, cases[i].device);
        assert_int_equal(c.disabled, cases[i].disabled);
        assert_int_equal(c.not_published, cases[i].not_published);
    }
}

static void the_message_says_so(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1024, 1 << 20);
    Livekit__ClientConfiguration *m = NULL;
    struct client_codecs c = {0};
    assert_int_equal(client_codecs_to_proto(&c, &a, &m), 0);
    assert_null(m);
    assert_int_equal(client_codecs_publish(&c, AV1 | VP9), AV1 | VP9);
    c = of("firefox", "153.0", "linux", "");
    assert_int_equal(client_codecs_publish(&c, AV1 | VP9 | H264), VP9);
    assert_int_equal(client_codecs_to_proto(&c, &a, &m), 0);
    assert_int_equal(m->disabled_codecs->n_codecs, 1);
    assert_string_equal(m->disabled_codecs->codecs[0]->mime, "video/AV1");
    assert_int_equal(m->disabled_codecs->n_publish, 1);
    assert_string_equal(m->disabled_codecs->publish[0]->mime, "video/H264");
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(browsers_keep_what_they_do_well),
        cmocka_unit_test(the_message_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
