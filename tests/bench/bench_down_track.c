// SPDX-License-Identifier: Apache-2.0
// LINK: media
// Cost of forwarding without encryption and sending: down_track_write for one packet and
// subscriber, for video packets of 1150 bytes and audio packets of 120, with 1 to 1000 subscribers.
// Fan-out as the router does it: for each down track all packets of a batch, written into a ring of
// 256 slots.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/mem.h"
#include "sfu/media/down_track.h"

#define SLOTS 256u
#define SLOT_SIZE 1536u
#define PACKETS_MAX 16u
#define TRACKS_MAX 1000u

static uint8_t slots[SLOTS][SLOT_SIZE];
static struct packet_pool pool;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void must(int res)
{
    if (res < 0) {
        fprintf(stderr, "error %d\n", res);
        exit(1);
    }
}

struct source {
    enum codec codec;
    size_t len; // of the RTP packet
    uint16_t sn;
    uint32_t ts;
    struct receiver *receiver;
};

static const uint8_t ext_ids[RTP_EXT_COUNT] = {[RTP_EXT_MID] = 9,
                                               [RTP_EXT_AUDIO_LEVEL] = 1,
                                               [RTP_EXT_TRANSPORT_CC] = 4,
                                               [RTP_EXT_ABS_SEND_TIME] = 2};

// A packet as a browser sends it: transport-cc (and audio level), VP8 descriptor of six bytes. A
// new picture each eight packets.
static struct packet *make(struct source *s, mono_t now, bool key)
{
    struct packet *const p = packet_pool_get(&pool);
    if (!p) {
        fprintf(stderr, "pool is empty\n");
        exit(1);
    }
    bool const video = s->codec == CODEC_VP8;
    bool const start = s->sn % 8 == 0;
    s->ts += start ? 3000 : 0;
    struct rtp_header h = {.pt = 96, .sn = s->sn, .ts = s->ts, .ssrc = 7, .marker = s->sn % 8 == 7};
    static const uint8_t twcc[2] = {0}, level[1] = {0x20};
    struct rtp_ext_elem const e[2] = {{4, {twcc, 2}}, {1, {level, 1}}};
    struct wr w = wr_init(p->data, PACKET_DATA_CAP);
    rtp_write_with_ext(&w, &h, e, video ? 1 : 2, NULL);
    if (video) {
        struct vp8_desc const d = {.start = start,
                                   .has_picture_id = true,
                                   .picture_id_15 = true,
                                   .picture_id = (uint16_t)(s->sn / 8) & 0x7fff,
                                   .has_tl0 = true,
                                   .tl0_pic_idx = (uint8_t)(s->sn / 8),
                                   .has_tid = true};
        vp8_desc_write(&w, &d);
        wr_u8(&w, key ? 0 : 1);
    }
    wr_fill(&w, 0xab, s->len - wr_len(&w));
    p->len = (uint16_t)wr_len(&w);
    p->arrival = now;
    s->sn++;
    struct rtp_header parsed;
    must(rtp_parse(packet_bytes(p), &parsed));
    struct rtp_demux_route const route = {
        .codec = (uint8_t)s->codec, .media_pt = 96, .media_ssrc = 7};
    if (receiver_input(s->receiver, now, &route, p, &parsed) != RECEIVER_FORWARD) {
        fprintf(stderr, "packet refused\n");
        exit(1);
    }
    return p;
}

static struct down_track *make_track(const struct source *s, uint32_t ssrc)
{
    struct down_track_conf conf = {
        .codec = s->codec,
        .clock_rate = codec_clock(s->codec),
        .pt = 100,
        .rtx_pt = s->codec == CODEC_VP8 ? 101 : 0,
        .ssrc = ssrc,
        .rtx_ssrc = ssrc + 1,
        .first_ts = ssrc * 77,
        .first_sn = (uint16_t)ssrc,
        .cname = "bench",
    };
    memcpy(conf.ext.id, ext_ids, sizeof(ext_ids));
    conf.ext.id[RTP_EXT_ABS_SEND_TIME] = 0;
    struct down_track *dt = NULL;
    must(down_track_new(&conf, &dt));
    down_track_set_writable(dt, (mono_t){1}, true);
    return dt;
}

static void run(enum codec codec, size_t len, unsigned tracks, unsigned batch)
{
    static struct down_track *dt[TRACKS_MAX];
    static uint16_t twcc[TRACKS_MAX];
    struct packet *packets[PACKETS_MAX];
    struct source s = {.codec = codec, .len = len};
    struct receiver_conf conf = {.codec = codec, .encodings = 1, .nack = true, .pli = true};
    conf.clock_rate = codec_clock(codec);
    memcpy(conf.ext.id, ext_ids, sizeof(ext_ids));
    must(receiver_new(&conf, &s.receiver));
    for (unsigned i = 0; i < tracks; i++) {
        dt[i] = make_track(&s, 1000 + 2 * i);
    }
    mono_t now = {1000000};
    unsigned slot = 0;
    uint64_t written = 0, sent = 0;
    int64_t spent = 0;
    uint64_t allocations = 0;
    unsigned const rounds = MAX(50u, 2000000u / (tracks * batch));
    for (unsigned round = 0; round < rounds; round++) {
        now = mono_add_us(now, 4000 * batch);
        for (unsigned i = 0; i < batch; i++) {
            packets[i] = make(&s, now, round == 0);
        }
        uint64_t const before = mem_thread_allocations();
        int64_t const begin = now_ns();
        for (unsigned t = 0; t < tracks; t++) {
            if (t + 1 < tracks) {
                down_track_prefetch(dt[t + 1]);
            }
            for (unsigned i = 0; i < batch; i++) {
                struct down_track_out out = {.data = slots[slot], .cap = SLOT_SIZE};
                sent += down_track_write(dt[t], now, s.receiver, packets[i], &twcc[t], &out) ==
                        DOWN_TRACK_SENT;
                slot = (slot + 1) % SLOTS;
                written++;
            }
        }
        spent += now_ns() - begin;
        allocations += mem_thread_allocations() - before;
        for (unsigned i = 0; i < batch; i++) {
            packet_unref(packets[i]);
        }
    }
    printf("%-5s %4zu B  %4u down tracks  batch %2u  %6.1f ns/packet  (%.1f %% sent, %llu "
           "allocations)\n",
           codec_name(codec), len, tracks, batch, (double)spent / (double)written,
           100.0 * (double)sent / (double)written, (unsigned long long)allocations);
    for (unsigned i = 0; i < tracks; i++) {
        down_track_free(dt[i]);
    }
    receiver_free(s.receiver);
}

int main(void)
{
    static const unsigned tracks[] = {1, 10, 100, 1000};
    must(packet_pool_init(&pool, 4096, 4096));
    for (size_t i = 0; i < ARRAY_LEN(tracks); i++) {
        run(CODEC_VP8, 1150, tracks[i], 1);
        run(CODEC_VP8, 1150, tracks[i], 8);
    }
    for (size_t i = 0; i < ARRAY_LEN(tracks); i++) {
        run(CODEC_OPUS, 120, tracks[i], 1);
    }
    packet_pool_done(&pool);
    return 0;
}
