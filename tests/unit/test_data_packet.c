// SPDX-License-Identifier: Apache-2.0
// LINK: room
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/base64.h"
#include "common/base/dynbuf.h"
#include "sfu/room/data_packet.h"

static const struct data_packet_sender alice = {.sid = "PA_alice", .identity = "alice"};
static const struct data_packet_sender agent = {
    .sid = "PA_agent", .identity = "agent", .agent = true};
static const struct data_packet_sender ghost = {
    .sid = "PA_ghost", .identity = "ghost", .hidden = true};

static void decode(const char *text, struct pbuf **ret)
{
    struct dynbuf b;
    dynbuf_init(&b, 65536);
    assert_int_equal(base64_decode(BASE64_STD, bytes_str(text), &b), 0);
    assert_int_equal(
        pbuf_unpack(&livekit__data_packet__descriptor, dynbuf_view(&b), DATA_PACKET_ARENA_CAP, ret),
        0);
    dynbuf_done(&b);
}

// Maps have no order on the wire; ours keeps the sender's.
static void sort_attributes(const Livekit__DataPacket *p)
{
    if (p->value_case != LIVEKIT__DATA_PACKET__VALUE_STREAM_HEADER) {
        return;
    }
    Livekit__DataStream__Header__AttributesEntry **const v = p->stream_header->attributes;
    for (size_t i = 1; i < p->stream_header->n_attributes; i++) {
        for (size_t k = i; k > 0 && strcmp(lk_str(v[k - 1]->key), lk_str(v[k]->key)) > 0; k--) {
            Livekit__DataStream__Header__AttributesEntry *const swap = v[k];
            v[k] = v[k - 1];
            v[k - 1] = swap;
        }
    }
}

// What livekit-server 1.13.5 made of packets of livekit-client, rtc-node and Python.
static void recorded_packets_are_delivered_alike(void **state)
{
    (void)state;
    FILE *const in = fopen("tests/data/signalling/data_packets.txt", "r");
    static char line[16384], sent[8192], delivered[8192];
    size_t n = 0;
    assert_non_null(in);
    while (fgets(line, sizeof(line), in) != NULL) {
        char scenario[64], client[64], channel[16], sid[32], identity[64];
        if (line[0] == '#') {
            continue;
        }
        assert_int_equal(sscanf(line, "%63s %63s %15s %31s %63s %8191s %8191s", scenario, client,
                                channel, sid, identity, sent, delivered),
                         7);
        struct data_packet_sender const from = {.sid = sid, .identity = identity};
        struct pbuf *ours = NULL;
        struct pbuf *theirs = NULL;
        decode(sent, &ours);
        decode(delivered, &theirs);
        assert_int_equal(
            data_packet_prepare(ours->msg,
                                strcmp(channel, "lossy") == 0 ? DATA_LOSSY : DATA_RELIABLE, &from),
            DATA_PACKET_FORWARD);
        sort_attributes(ours->msg);
        sort_attributes(theirs->msg);
        struct dynbuf a, b;
        dynbuf_init(&a, 65536);
        dynbuf_init(&b, 65536);
        assert_int_equal(pbuf_pack(ours->msg, &a), 0);
        assert_int_equal(pbuf_pack(theirs->msg, &b), 0);
        if (!bytes_eq(dynbuf_view(&a), dynbuf_view(&b))) {
            fail_msg("%s %s: other bytes than livekit-server's", scenario, client);
        }
        dynbuf_done(&a);
        dynbuf_done(&b);
        pbuf_free(ours);
        pbuf_free(theirs);
        n++;
    }
    fclose(in);
    assert_true(n > 30);
}

static void names_of_the_sender_are_ours(void **state)
{
    (void)state;
    Livekit__UserPacket u = LIVEKIT__USER_PACKET__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    p.user = &u;
    LK_SET_STR(&p, participant_identity, "eve");
    LK_SET(&p, kind, LIVEKIT__DATA_PACKET__KIND__LOSSY);
    assert_int_equal(data_packet_prepare(&p, DATA_RELIABLE, &alice), DATA_PACKET_FORWARD);
    assert_string_equal(p.participant_identity, "alice");
    assert_string_equal(u.participant_identity, "alice");
    assert_string_equal(p.participant_sid, "PA_alice");
    assert_string_equal(u.participant_sid, "PA_alice");
    assert_int_equal(p.kind, LIVEKIT__DATA_PACKET__KIND__RELIABLE);
    assert_int_equal(data_packet_prepare(&p, DATA_LOSSY, &ghost), DATA_PACKET_FORWARD);
    assert_string_equal(lk_str(p.participant_identity), "");
    assert_string_equal(lk_str(u.participant_identity), "");
    assert_string_equal(lk_str(u.participant_sid), "");
    assert_string_equal(p.participant_sid, "PA_ghost"); // clients tell repetitions by it
}

static void destinations_are_united(void **state)
{
    (void)state;
    char *outer[] = {lk_unconst_str("bob")};
    char *inner[] = {lk_unconst_str("carol"), lk_unconst_str("dave")};
    Livekit__UserPacket u = LIVEKIT__USER_PACKET__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    p.user = &u;
    u.destination_identities = inner;
    u.n_destination_identities = 2;
    (void)data_packet_prepare(&p, DATA_RELIABLE, &alice);
    assert_int_equal(p.n_destination_identities, 2);
    p.destination_identities = outer;
    p.n_destination_identities = 1;
    (void)data_packet_prepare(&p, DATA_RELIABLE, &alice);
    assert_int_equal(u.n_destination_identities, 1);
    assert_string_equal(u.destination_identities[0], "bob");
}

static void agents_may_speak_for_others_in_text(void **state)
{
    (void)state;
    Livekit__ChatMessage chat = LIVEKIT__CHAT_MESSAGE__INIT;
    Livekit__RpcAck ack = LIVEKIT__RPC_ACK__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_CHAT_MESSAGE;
    p.chat_message = &chat;
    LK_SET_STR(&p, participant_identity, "bob");
    (void)data_packet_prepare(&p, DATA_RELIABLE, &agent);
    assert_string_equal(p.participant_identity, "bob");
    assert_string_equal(p.participant_sid, "PA_agent");
    assert_true(chat.generated);
    chat.generated = false;
    LK_SET_STR(&p, participant_identity, "agent");
    (void)data_packet_prepare(&p, DATA_RELIABLE, &agent);
    assert_false(chat.generated);
    // Nothing else.
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_RPC_ACK;
    p.rpc_ack = &ack;
    LK_SET_STR(&p, participant_identity, "bob");
    (void)data_packet_prepare(&p, DATA_RELIABLE, &agent);
    assert_string_equal(p.participant_identity, "agent");
}

static void transcriptions_are_for_agents(void **state)
{
    (void)state;
    Livekit__Transcription t = LIVEKIT__TRANSCRIPTION__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_TRANSCRIPTION;
    p.transcription = &t;
    assert_int_equal(data_packet_prepare(&p, DATA_RELIABLE, &alice), DATA_PACKET_FORBIDDEN);
    assert_int_equal(data_packet_prepare(&p, DATA_RELIABLE, &agent), DATA_PACKET_FORWARD);
}

static void metrics_get_our_times(void **state)
{
    (void)state;
    Livekit__MetricSample sample = LIVEKIT__METRIC_SAMPLE__INIT;
    Livekit__MetricSample *samples[] = {&sample};
    Livekit__TimeSeriesMetric series = LIVEKIT__TIME_SERIES_METRIC__INIT;
    Livekit__TimeSeriesMetric *list[] = {&series};
    Livekit__EventMetric event = LIVEKIT__EVENT_METRIC__INIT;
    Livekit__EventMetric *events[] = {&event};
    Livekit__MetricsBatch m = LIVEKIT__METRICS_BATCH__INIT;
    struct arena a;
    arena_init(&a, 256, 65536);
    LK_SET(&m, timestamp_ms, 10000);
    LK_SET(&sample, timestamp_ms, 9000);
    LK_SET(&event, start_timestamp_ms, INT64_MAX);
    series.samples = samples;
    series.n_samples = 1;
    m.time_series = list;
    m.n_time_series = 1;
    m.events = events;
    m.n_events = 1;
    data_packet_normalize_metrics(&m, (wall_t){INT64_C(1700000000123000)}, &a);
    assert_int_equal(m.normalized_timestamp->seconds, 1700000000);
    assert_int_equal(m.normalized_timestamp->nanos, 123000000);
    assert_int_equal(sample.normalized_timestamp->seconds, 1699999999);
    assert_null(event.normalized_start_timestamp); // no such time
    assert_null(event.normalized_end_timestamp);
    arena_done(&a);
}

static void other_messages_are_wrapped(void **state)
{
    (void)state;
    Livekit__DataPacket p;
    Livekit__UserPacket u;
    data_packet_wrap(&p, &u, bytes_str("opaque"), &alice);
    assert_int_equal(u.payload.len, 6);
    assert_string_equal(p.participant_identity, "alice");
    assert_int_equal(p.sequence, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_packets_are_delivered_alike),
        cmocka_unit_test(names_of_the_sender_are_ours),
        cmocka_unit_test(destinations_are_united),
        cmocka_unit_test(agents_may_speak_for_others_in_text),
        cmocka_unit_test(transcriptions_are_for_agents),
        cmocka_unit_test(metrics_get_our_times),
        cmocka_unit_test(other_messages_are_wrapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
