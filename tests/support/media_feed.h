// SPDX-License-Identifier: Apache-2.0
#pragma once
// Feeds recorded or made-up packets into a receiver: what worker, transport and demultiplexer do in
// the program.

#include <stdio.h>
#include <stdlib.h>

#include "sfu/media/receiver.h"
#include "sfu/wire/rtcp.h"
#include "tests/support/simulcast_recording.h"

// The packet with one reference (drop it with packet_unref), and what the receiver said.
static inline struct packet *feed_packet(struct packet_pool *pool, struct receiver *r, mono_t now,
                                         uint8_t encoding, bool rtx, enum codec codec,
                                         struct bytes data, enum receiver_verdict *ret_verdict)
{
    struct packet *const p = packet_pool_get(pool);
    struct rtp_header h;
    if (p == NULL || data.n > PACKET_DATA_CAP) {
        fprintf(stderr, "no room for a packet\n");
        abort();
    }
    memcpy(p->data, data.p, data.n);
    p->len = (uint16_t)data.n;
    p->arrival = now;
    if (rtp_parse(packet_bytes(p), &h) < 0) {
        fprintf(stderr, "recorded packet is malformed\n");
        abort();
    }
    struct rtp_demux_route const route = {
        .encoding = encoding, .rtx = rtx, .codec = (uint8_t)codec, .media_pt = h.pt};
    *ret_verdict = receiver_input(r, now, &route, p, &h);
    return p;
}

static inline void feed_rtcp(struct receiver *r, mono_t now, struct bytes compound)
{
    struct rtcp_iter it;
    struct rtcp_packet p;
    struct rtcp_sr sr;
    rtcp_iter_init(&it, compound);
    while (rtcp_next(&it, &p)) {
        if (p.type == RTCP_SR && rtcp_sr_parse(&p, &sr) == 0) {
            receiver_rtcp_sr(r, now, &sr);
        }
    }
}

// A receiver for one of the recorded simulcast publishers.
static inline struct receiver *feed_simulcast_receiver(const struct simulcast_recording *rec)
{
    struct receiver *r = NULL;
    struct receiver_conf conf = {.codec = CODEC_VP8,
                                 .encodings = 3,
                                 .nack = true,
                                 .pli = true,
                                 .clock_rate = 90000,
                                 .vla_encoding = {0, 1, 2}};
    conf.ext.id[RTP_EXT_DEPENDENCY_DESCRIPTOR] = rec->ext_dd;
    conf.ext.id[RTP_EXT_VIDEO_LAYERS_ALLOCATION] = rec->ext_vla;
    conf.ext.id[RTP_EXT_TRANSPORT_CC] = rec->ext_twcc;
    if (receiver_new(&conf, &r) < 0) {
        abort();
    }
    return r;
}
