// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: data_channels data_packet data_router
//
// Data packets between the participants of a room.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/time.h>

#include "tests/support/room_sim.h"

// usrsctp compares its timers with the wall clock (a chunk younger than the time-out is not
// repeated), so this program gives it the virtual one: a definition here comes before libc's for
// the shared library, too.
__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv,
                                                        void *restrict tz)
{
    (void)tz;
    tv->tv_sec = 1700000000 + h.now.us / US_PER_S;
    tv->tv_usec = h.now.us % US_PER_S;
    return 0;
}

static struct room_client *a, *b, *c;

static const char *told(struct room_client *who)
{
    static char text[4096];
    const char *const t = dynbuf_cstr(&who->data.told);
    (void)snprintf(text, sizeof(text), "%s", t != NULL ? t : "");
    dynbuf_reset(&who->data.told);
    return text;
}

static void three(bool v0)
{
    begin();
    a = join_as("alice", v0);
    b = join_as("bob", false);
    c = join_as("carol", true);
    run(S(2));
    assert_true(a->data.opened[ROOM_RELIABLE] && b->data.opened[ROOM_LOSSY]);
}

static void everybody_else_gets_a_packet(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        three(v0 != 0);
        assert_int_equal(room_client_say(a, ROOM_RELIABLE, "hello", NULL), 0);
        run(MS(500));
        assert_int_equal(room_client_say(c, ROOM_LOSSY, "pos", NULL), 0);
        run(MS(500));
        assert_string_equal(told(a), "carol:pos");
        assert_string_equal(told(b), "alice:hello, carol:pos");
        assert_string_equal(told(c), "alice:hello");
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everybody_else_gets_a_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
