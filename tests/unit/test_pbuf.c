// SPDX-License-Identifier: Apache-2.0
// LINK: lk
// COVERS: arena
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/lk/livekit.h"

// A ParticipantUpdate of n empty participants: two bytes each on the wire.
static void many_empty_participants(struct dynbuf *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dynbuf_add_u8(out, 0x0a);
        dynbuf_add_u8(out, 0x00);
    }
    assert_true(dynbuf_ok(out));
}

static void decoding_stops_at_the_memory_cap(void **state)
{
    (void)state;
    struct dynbuf in;
    dynbuf_init(&in, 1u << 20);
    many_empty_participants(&in, 100000);
    struct pbuf *m = NULL;
    assert_int_equal(pbuf_unpack(&livekit__participant_update__descriptor, dynbuf_view(&in),
                                 PBUF_CAP_DEFAULT, &m),
                     -E2BIG);
    assert_null(m);
    dynbuf_reset(&in);
    many_empty_participants(&in, 1000);
    assert_int_equal(pbuf_unpack(&livekit__participant_update__descriptor, dynbuf_view(&in),
                                 PBUF_CAP_DEFAULT, &m),
                     0);
    assert_int_equal(((Livekit__ParticipantUpdate *)m->msg)->n_participants, 1000);
    pbuf_free(m);
    dynbuf_done(&in);
}

static void truncated_and_foreign_bytes_are_malformed(void **state)
{
    (void)state;
    static const uint8_t truncated[] = {0x0a, 0x05, 'a'};
    static const uint8_t varint_without_end[] = {0x70, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t group[] = {0x0b};
    struct pbuf *m = NULL;
    assert_int_equal(lk_unpack_signal_request(bytes_of(truncated, sizeof(truncated)), &m),
                     -EBADMSG);
    assert_int_equal(
        lk_unpack_signal_request(bytes_of(varint_without_end, sizeof(varint_without_end)), &m),
        -EBADMSG);
    assert_int_equal(lk_unpack_signal_request(bytes_of(group, sizeof(group)), &m), -EBADMSG);
    assert_null(m);
}

static void nothing_is_an_empty_message(void **state)
{
    (void)state;
    struct pbuf *m = NULL;
    assert_int_equal(lk_unpack_signal_response(bytes_of(NULL, 0), &m), 0);
    assert_non_null(m->msg);
    pbuf_free(m);
}

static void packing_respects_the_cap_of_the_buffer(void **state)
{
    (void)state;
    Livekit__CreateRoomRequest req = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    LK_SET_STR(&req, name, "a room with a name");
    struct dynbuf small;
    dynbuf_init(&small, 8);
    assert_int_equal(pbuf_pack(&req.base, &small), -ENOBUFS);
    dynbuf_done(&small);
}

static void a_built_message_lives_in_its_arena(void **state)
{
    (void)state;
    struct pbuf *const p = pbuf_new(4096);
    assert_non_null(p);
    Livekit__Room *const room = arena_alloc(&p->arena, sizeof(*room));
    livekit__room__init(room);
    room->name = arena_strdup(&p->arena, bytes_str("lobby"));
    p->msg = room;
    struct dynbuf out;
    dynbuf_init(&out, 64);
    assert_int_equal(pbuf_pack(p->msg, &out), 0);
    assert_int_equal(out.n, 7);
    dynbuf_done(&out);
    assert_null(arena_alloc(&p->arena, 5000));
    assert_true(p->arena.over_cap);
    pbuf_free(p);
}

static void arena_hands_out_zeroed_aligned_memory(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 16, 1u << 16);
    for (size_t i = 0; i < 500; i++) {
        uint8_t *const p = arena_alloc(&a, i % 100);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t k = 0; k < i % 100; k++) {
            assert_int_equal(p[k], 0);
            p[k] = 0xff;
        }
    }
    assert_null(arena_array(&a, SIZE_MAX / 2, 4));
    arena_done(&a);
    arena_done(&a);
}

static int unpack_name(const char *name)
{
    Livekit__UpdateParticipantMetadata u = LIVEKIT__UPDATE_PARTICIPANT_METADATA__INIT;
    Livekit__UpdateParticipantMetadata__AttributesEntry e =
        LIVEKIT__UPDATE_PARTICIPANT_METADATA__ATTRIBUTES_ENTRY__INIT;
    Livekit__UpdateParticipantMetadata__AttributesEntry *list[] = {&e};
    LK_SET_STR(&e, value, name);
    u.attributes = list;
    u.n_attributes = 1;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_METADATA;
    r.update_metadata = &u;
    struct dynbuf b;
    dynbuf_init(&b, 1024);
    assert_int_equal(pbuf_pack(&r.base, &b), 0);
    struct pbuf *m = NULL;
    int const rc = lk_unpack_signal_request(dynbuf_view(&b), &m);
    pbuf_free(m);
    dynbuf_done(&b);
    return rc;
}

static void text_is_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"x",
                                       "\xc2\x80",
                                       "\xc3\xa9t\xc3\xa9",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xc3(",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xe2\x82(",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "fine until \xff"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(unpack_name(good[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(unpack_name(bad[i]), -EBADMSG);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_utf8),
        cmocka_unit_test(decoding_stops_at_the_memory_cap),
        cmocka_unit_test(truncated_and_foreign_bytes_are_malformed),
        cmocka_unit_test(nothing_is_an_empty_message),
        cmocka_unit_test(packing_respects_the_cap_of_the_buffer),
        cmocka_unit_test(a_built_message_lives_in_its_arena),
        cmocka_unit_test(arena_hands_out_zeroed_aligned_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
