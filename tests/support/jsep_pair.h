// SPDX-License-Identifier: Apache-2.0
#pragma once
// Two offer/answer engines talking to each other, for unit tests; include cmocka before.

#include <stdio.h>

#include "sfu/transport/jsep.h"

#define PWD "0123456789012345678901"

static inline struct jsep *engine(const struct jsep_config *base)
{
    struct jsep_config c = *base;
    c.session_id = 0x1234;
    c.fingerprint = c.client ? "sha-256 CC:CC" : "sha-256 55:55";
    c.ice_ufrag = c.client ? "cli" : "srv";
    c.ice_pwd = PWD;
    struct jsep *j = NULL;
    assert_int_equal(jsep_new(&c, &j), 0);
    return j;
}

static inline struct jsep *client(void)
{
    return engine(&(struct jsep_config){.client = true});
}

static inline struct jsep *server_v1(void)
{
    return engine(&(struct jsep_config){.single_pc = true, .ice_lite = true});
}

static inline struct jsep *server_v0(void)
{
    return engine(&(struct jsep_config){.ice_lite = true});
}

static inline void offer(struct jsep *from, struct jsep *to, struct jsep_applied *ret)
{
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_offer(from, &b), 0);
    assert_int_equal(jsep_set_remote_offer(to, dynbuf_view(&b), ret), 0);
    dynbuf_done(&b);
}

static inline void answer(struct jsep *from, struct jsep *to, struct jsep_applied *ret)
{
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_answer(from, &b), 0);
    assert_int_equal(jsep_set_remote_answer(to, dynbuf_view(&b), ret), 0);
    dynbuf_done(&b);
    assert_int_equal(jsep_state(from), JSEP_STABLE);
    assert_int_equal(jsep_state(to), JSEP_STABLE);
}

static inline void exchange(struct jsep *offerer, struct jsep *answerer)
{
    offer(offerer, answerer, NULL);
    answer(answerer, offerer, NULL);
}

static inline void send_track(struct jsep_transceiver *t, unsigned n)
{
    char stream[64];
    char track[32];
    assert_non_null(t);
    snprintf(track, sizeof(track), "TR_%u", n);
    snprintf(stream, sizeof(stream), "PA_1|%s", track);
    struct jsep_sender const s = {
        .stream_id = stream,
        .track_id = track,
        .cname = stream,
        .ssrc = 1000 + n,
        .rtx_ssrc = t->kind == JSEP_VIDEO ? 2000 + n : 0,
    };
    assert_int_equal(jsep_transceiver_set_sender(t, &s), 0);
}

static inline struct jsep_transceiver *peer_of(struct jsep *j, const struct jsep_transceiver *t)
{
    struct jsep_transceiver *const p = jsep_by_mid(j, bytes_str(t->mid));
    assert_non_null(p);
    return p;
}

static inline void add_placeholders(struct jsep *c)
{
    struct jsep_transceiver *t;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(jsep_add_receiver_section(c, JSEP_AUDIO, &t), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(jsep_add_receiver_section(c, JSEP_VIDEO, &t), 0);
    }
    assert_int_equal(jsep_add_data_section(c), 0);
}

static inline struct jsep_transceiver *publish(struct jsep *c, enum jsep_kind kind, bool simulcast)
{
    struct jsep_transceiver *t;
    assert_int_equal(jsep_add_sender_section(c, kind, &t), 0);
    struct jsep_sender s = {.stream_id = "ms", .track_id = "cid-1", .cname = "cn", .ssrc = 77};
    if (kind == JSEP_VIDEO) {
        s.rtx_ssrc = 78;
    }
    if (simulcast) {
        s.no_ssrc_lines = true;
        s.rid_count = 3;
        s.rids[0] = "q";
        s.rids[1] = "h";
        s.rids[2] = "f";
    }
    assert_int_equal(jsep_transceiver_set_sender(t, &s), 0);
    return t;
}
