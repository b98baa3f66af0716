// SPDX-License-Identifier: Apache-2.0
// LINK: lk
// COVERS: livekit
// What real clients and livekit-server sent, decoded by our schema and encoded back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

#include "common/base/base64.h"
#include "common/lk/livekit.h"

#define LINE_MAX_ (64u << 10)

static char line_buf[LINE_MAX_];

static FILE *open_data(const char *name)
{
    FILE *const f = fopen(name, "r");
    if (!f) {
        print_error("cannot open %s (run from the root of the tree)\n", name);
    }
    assert_non_null(f);
    return f;
}

// Cuts the next word off *p.
static char *word(char **p)
{
    char *const w = *p;
    size_t const n = strcspn(w, " \n");
    *p = w[n] ? w + n + 1 : w + n;
    w[n] = '\0';
    return w;
}

static void frames_of_real_peers_survive_a_round_trip_byte_by_byte(void **state)
{
    (void)state;
    const char *const path =
        getenv("FRAMES") ? getenv("FRAMES") : "tests/data/signalling/frames.txt";
    FILE *const f = open_data(path);
    size_t frames = 0;
    while (fgets(line_buf, sizeof(line_buf), f)) {
        char *p = line_buf;
        bool const from_client = strcmp(word(&p), "c2s") == 0;
        const char *const name = word(&p);
        struct dynbuf raw;
        struct dynbuf out;
        dynbuf_init(&raw, LINE_MAX_);
        dynbuf_init(&out, LINE_MAX_);
        assert_int_equal(base64_decode(BASE64_STD, bytes_str(word(&p)), &raw), 0);
        struct pbuf *m = NULL;
        int const r = from_client ? lk_unpack_signal_request(dynbuf_view(&raw), &m)
                                  : lk_unpack_signal_response(dynbuf_view(&raw), &m);
        if (r != 0) {
            // A hand-made client sent a few frames that are no message.
            assert_string_equal(name, "none");
            assert_int_equal(r, -EBADMSG);
        } else {
            assert_int_equal(pbuf_pack(m->msg, &out), 0);
            if (!bytes_eq(dynbuf_view(&raw), dynbuf_view(&out))) {
                fail_msg("%s (frame %zu) came back changed", name, frames + 1);
            }
        }
        frames++;
        pbuf_free(m);
        dynbuf_done(&raw);
        dynbuf_done(&out);
    }
    (void)fclose(f);
    assert_true(frames > 150);
}

// Decodes the first frame called `name` of the recordings.
static struct pbuf *recorded(const char *dir, const char *name)
{
    FILE *const f = open_data("tests/data/signalling/frames.txt");
    struct pbuf *m = NULL;
    while (!m && fgets(line_buf, sizeof(line_buf), f)) {
        char *p = line_buf;
        if (strcmp(word(&p), dir) != 0 || strcmp(word(&p), name) != 0) {
            continue;
        }
        struct dynbuf raw;
        dynbuf_init(&raw, LINE_MAX_);
        assert_int_equal(base64_decode(BASE64_STD, bytes_str(word(&p)), &raw), 0);
        int const r = dir[0] == 'c' ? lk_unpack_signal_request(dynbuf_view(&raw), &m)
                                    : lk_unpack_signal_response(dynbuf_view(&raw), &m);
        assert_int_equal(r, 0);
        dynbuf_done(&raw);
    }
    (void)fclose(f);
    assert_non_null(m);
    return m;
}

static void recorded_join_has_what_clients_need(void **state)
{
    (void)state;
    CLEANUP(pbuf_free) struct pbuf *m = recorded("s2c", "join");
    const Livekit__SignalResponse *const res = m->msg;
    assert_int_equal(res->message_case, LIVEKIT__SIGNAL_RESPONSE__MESSAGE_JOIN);
    const Livekit__JoinResponse *const join = res->join;
    assert_string_equal(lk_str(join->server_info->version), "1.13.5");
    assert_int_equal(join->ping_interval, 5);
    assert_int_equal(join->ping_timeout, 15);
    assert_memory_equal(join->participant->sid, "PA_", 3);
    assert_memory_equal(join->room->sid, "RM_", 3);
    // JOINING and version 0 are left out, as proto3 does.
    assert_false(join->participant->has_state);
    assert_false(join->participant->has_version);
    assert_int_equal(join->participant->state, LIVEKIT__PARTICIPANT_INFO__STATE__JOINING);
    assert_true(join->n_enabled_publish_codecs > 0);
}

static void recorded_add_track_has_its_layers(void **state)
{
    (void)state;
    CLEANUP(pbuf_free) struct pbuf *m = recorded("c2s", "addTrack");
    const Livekit__SignalRequest *const req = m->msg;
    assert_int_equal(req->message_case, LIVEKIT__SIGNAL_REQUEST__MESSAGE_ADD_TRACK);
    assert_non_null(req->add_track->cid);
}

static struct bytes inflate_gzip(struct bytes in, uint8_t *buf, size_t cap)
{
    z_stream z = {.next_in = lk_unconst(in.p),
                  .avail_in = (unsigned)in.n,
                  .next_out = buf,
                  .avail_out = (unsigned)cap};
    assert_int_equal(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    return bytes_of(buf, z.total_out);
}

static void join_requests_of_real_clients_decode_and_come_back(void **state)
{
    (void)state;
    FILE *const f = open_data("tests/data/signalling/join_requests.txt");
    static uint8_t plain[1u << 20];
    size_t n = 0;
    size_t offers = 0;
    while (fgets(line_buf, sizeof(line_buf), f)) {
        char *p = line_buf;
        (void)word(&p);
        struct dynbuf raw;
        struct dynbuf out;
        dynbuf_init(&raw, LINE_MAX_);
        dynbuf_init(&out, sizeof(plain));
        assert_int_equal(base64_decode(BASE64_URL, bytes_str(word(&p)), &raw), 0);
        struct pbuf *wrapped = NULL;
        assert_int_equal(pbuf_unpack(&livekit__wrapped_join_request__descriptor, dynbuf_view(&raw),
                                     PBUF_CAP_DEFAULT, &wrapped),
                         0);
        const Livekit__WrappedJoinRequest *const w = wrapped->msg;
        struct bytes body = lk_bytes(&w->join_request);
        if (w->compression == LIVEKIT__WRAPPED_JOIN_REQUEST__COMPRESSION__GZIP) {
            body = inflate_gzip(body, plain, sizeof(plain));
        }
        struct pbuf *m = NULL;
        assert_int_equal(
            pbuf_unpack(&livekit__join_request__descriptor, body, PBUF_CAP_DEFAULT, &m), 0);
        const Livekit__JoinRequest *const join = m->msg;
        assert_non_null(join->client_info);
        offers += join->publisher_offer != NULL;
        assert_int_equal(pbuf_pack(m->msg, &out), 0);
        assert_true(bytes_eq(dynbuf_view(&out), body));
        pbuf_free(m);
        pbuf_free(wrapped);
        dynbuf_done(&raw);
        dynbuf_done(&out);
        n++;
    }
    (void)fclose(f);
    assert_true(n >= 8);
    assert_true(offers > 0);
}

static void an_enum_value_of_tomorrow_survives(void **state)
{
    (void)state;
    // SignalResponse.leave {reason = 99, action = 77}
    static const uint8_t in[] = {0x42, 0x04, 0x10, 99, 0x18, 77};
    struct pbuf *m = NULL;
    assert_int_equal(lk_unpack_signal_response(bytes_of(in, sizeof(in)), &m), 0);
    const Livekit__SignalResponse *const res = m->msg;
    assert_int_equal((int)res->leave->reason, 99);
    assert_int_equal((int)res->leave->action, 77);
    struct dynbuf out;
    dynbuf_init(&out, 64);
    assert_int_equal(pbuf_pack(m->msg, &out), 0);
    assert_true(bytes_eq(dynbuf_view(&out), bytes_of(in, sizeof(in))));
    dynbuf_done(&out);
    pbuf_free(m);
}

static void an_unknown_member_is_no_error_and_no_message(void **state)
{
    (void)state;
    // Field 1000, a string.
    static const uint8_t in[] = {0xc2, 0x3e, 0x02, 'h', 'i'};
    struct pbuf *m = NULL;
    assert_int_equal(lk_unpack_signal_request(bytes_of(in, sizeof(in)), &m), 0);
    const Livekit__SignalRequest *const req = m->msg;
    assert_int_equal(req->message_case, LIVEKIT__SIGNAL_REQUEST__MESSAGE__NOT_SET);
    pbuf_free(m);
}

static void setters_leave_out_what_proto3_leaves_out(void **state)
{
    (void)state;
    Livekit__LeaveRequest leave = LIVEKIT__LEAVE_REQUEST__INIT;
    LK_SET(&leave, reason, LIVEKIT__DISCONNECT_REASON__DUPLICATE_IDENTITY);
    LK_SET(&leave, action, LIVEKIT__LEAVE_REQUEST__ACTION__DISCONNECT);
    Livekit__SignalResponse res = LIVEKIT__SIGNAL_RESPONSE__INIT;
    res.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_LEAVE;
    res.leave = &leave;
    struct shared_buf *b = NULL;
    assert_int_equal(pbuf_pack_shared(&res.base, 1024, &b), 0);
    static const uint8_t want[] = {0x42, 0x02, 0x10, 0x02};
    assert_true(bytes_eq(shared_buf_view(b), bytes_of(want, sizeof(want))));
    shared_buf_unref(b);

    Livekit__SessionDescription sd = LIVEKIT__SESSION_DESCRIPTION__INIT;
    LK_SET_STR(&sd, type, "");
    assert_null(sd.type);
    assert_int_equal(pbuf_pack_shared(&res.base, 3, &b), -E2BIG);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_join_has_what_clients_need),
        cmocka_unit_test(recorded_add_track_has_its_layers),
        cmocka_unit_test(join_requests_of_real_clients_decode_and_come_back),
        cmocka_unit_test(an_enum_value_of_tomorrow_survives),
        cmocka_unit_test(an_unknown_member_is_no_error_and_no_message),
        cmocka_unit_test(setters_leave_out_what_proto3_leaves_out),
        cmocka_unit_test(frames_of_real_peers_survive_a_round_trip_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
