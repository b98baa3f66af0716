// SPDX-License-Identifier: Apache-2.0
// LINK: media
// A publisher, a lossy path and the SFU's repair loop (rtp_stats, nack_queue, rx_buffer) on a
// virtual clock.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "sfu/media/nack_queue.h"
#include "sfu/media/packet_pool.h"
#include "sfu/media/rtp_stats.h"
#include "sfu/media/rx_buffer.h"

#define STEP_US 500
#define TICK_US 10000    // how often NACKs are sent
#define INTERVAL_US 2500 // 400 packets a second
#define PACKETS 8000u
#define IN_FLIGHT 512u
#define NACK_LEN 64u

struct path {
    unsigned loss_permille;
    unsigned reorder_permille; // these packets take longer
    int64_t reorder_us;
    unsigned duplicate_permille;
    int64_t delay_us;
    unsigned burst; // consecutive packets lost with each loss
};

enum kind {
    NOTHING,
    MEDIA,
    RTX,
    NACK,
};

struct flight {
    enum kind kind;
    mono_t at;
    uint64_t sn; // the sender's own extended number
    uint16_t nack[NACK_LEN];
    size_t nack_len;
};

struct sim {
    struct rng rng;
    struct path path;
    mono_t now;
    struct flight flight[IN_FLIGHT];
    unsigned burst_left;
    struct packet_pool pool;
    struct rx_buffer buffer;
    struct nack_queue queue;
    struct rtp_stats_rx stats;
    uint64_t sent; // media packets so far
    bool got[PACKETS + 65536];
    unsigned lost_media;
    unsigned rtx_answers;
    unsigned rtx_useless;
    unsigned rejected;
};

static struct sim sim;

static bool chance(unsigned permille)
{
    return rng_u32(&sim.rng) % 1000 < permille;
}

static void launch(const struct flight *f, int64_t extra_us)
{
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        if (sim.flight[i].kind == NOTHING) {
            sim.flight[i] = *f;
            sim.flight[i].at = mono_add_us(sim.now, sim.path.delay_us + extra_us);
            return;
        }
    }
    fail_msg("too much in flight");
}

static void transmit(const struct flight *f)
{
    if (sim.burst_left > 0 || chance(sim.path.loss_permille)) {
        sim.burst_left = sim.burst_left > 0 ? sim.burst_left - 1 : sim.path.burst;
        sim.lost_media += f->kind == MEDIA;
        return;
    }
    int64_t const slow = chance(sim.path.reorder_permille) ? sim.path.reorder_us : 0;
    launch(f, slow);
    if (chance(sim.path.duplicate_permille)) {
        launch(f, slow + 3000);
    }
}

static struct packet *packet_of(uint64_t ext_sn)
{
    struct packet *const p = packet_pool_get(&sim.pool);
    assert_non_null(p);
    p->ext_sn = ext_sn;
    p->arrival = sim.now;
    return p;
}

static void store(uint64_t ext_sn, uint64_t sender_sn)
{
    struct packet *const p = packet_of(ext_sn);
    enum rx_buffer_result const r = rx_buffer_put(&sim.buffer, sim.now, p);
    packet_unref(p);
    if (r == RX_BUFFER_STORED) {
        assert_false(sim.got[sender_sn]); // no number is taken twice
        sim.got[sender_sn] = true;
    }
    sim.rejected += r == RX_BUFFER_TOO_OLD;
}

static void receive_media(const struct flight *f)
{
    struct rtp_flow_info const i = rtp_stats_rx_packet(&sim.stats, sim.now, (uint16_t)f->sn,
                                                       (uint32_t)(f->sn / 4 * 900), 1000, 980);
    switch (i.flow) {
    case RTP_FLOW_NEXT:
        if (i.gap_count > 0) {
            assert_true(nack_queue_add(&sim.queue, sim.now, i.gap_first, i.gap_count));
        }
        break;
    case RTP_FLOW_LATE:
        (void)nack_queue_remove(&sim.queue, sim.now, i.ext_sn, false);
        break;
    case RTP_FLOW_FIRST:
        break;
    case RTP_FLOW_DUPLICATE:
        return;
    case RTP_FLOW_RESTART:
    case RTP_FLOW_STRAY:
        fail_msg("no restart in this world");
    }
    store(i.ext_sn, f->sn);
}

static void receive_rtx(const struct flight *f)
{
    uint64_t ext = 0;
    if (!rtp_stats_rx_extend(&sim.stats, (uint16_t)f->sn, &ext) ||
        rx_buffer_peek(&sim.buffer, ext)) {
        sim.rtx_useless++;
        return;
    }
    (void)nack_queue_remove(&sim.queue, sim.now, ext, true);
    store(ext, f->sn);
}

static void receive_nack(const struct flight *f)
{
    for (size_t i = 0; i < f->nack_len; i++) {
        uint64_t const sn = seq16_extend(sim.sent, f->nack[i]);
        assert_true(sn <= sim.sent);
        sim.rtx_answers++;
        transmit(&(struct flight){.kind = RTX, .sn = sn});
    }
}

static void deliver(void)
{
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        if (sim.flight[i].kind == NOTHING || !mono_reached(sim.flight[i].at, sim.now)) {
            continue;
        }
        struct flight const f = sim.flight[i];
        sim.flight[i].kind = NOTHING;
        if (f.kind == MEDIA) {
            receive_media(&f);
        } else if (f.kind == RTX) {
            receive_rtx(&f);
        } else {
            receive_nack(&f);
        }
    }
}

static void tick(void)
{
    struct flight f = {.kind = NACK};
    for (;;) {
        f.nack_len = nack_queue_collect(&sim.queue, sim.now, f.nack, NACK_LEN);
        if (f.nack_len == 0) {
            break;
        }
        transmit(&f);
    }
    rx_buffer_timeout(&sim.buffer, sim.now);
}

static void run(struct path path, uint8_t seed)
{
    static const uint64_t first = 65000; // wraps soon
    uint8_t key[32] = {seed};
    memset(&sim, 0, sizeof(sim));
    rng_seed(&sim.rng, key);
    sim.path = path;
    assert_int_equal(packet_pool_init(&sim.pool, 4096, 2048), 0);
    assert_int_equal(rx_buffer_init(&sim.buffer, 128, 1024), 0);
    nack_queue_init(&sim.queue);
    nack_queue_set_rtt(&sim.queue, 2 * path.delay_us);
    rtp_stats_rx_init(&sim.stats, 90000);
    sim.sent = first;
    transmit(&(struct flight){.kind = MEDIA, .sn = first});
    while (sim.sent < first + PACKETS - 1 || sim.now.us % 1000000 != 0) {
        sim.now = mono_add_us(sim.now, STEP_US);
        if (sim.now.us % INTERVAL_US == 0 && sim.sent < first + PACKETS - 1) {
            sim.sent++;
            transmit(&(struct flight){.kind = MEDIA, .sn = sim.sent});
        }
        deliver();
        if (sim.now.us % TICK_US == 0) {
            tick();
        }
    }
    for (unsigned i = 0; i < 4000; i++) { // let it settle
        sim.now = mono_add_us(sim.now, STEP_US);
        deliver();
        if (sim.now.us % TICK_US == 0) {
            tick();
        }
    }
}

// Packets that never came, of those whose loss could be seen (the very last ones have no
// successor).
static unsigned missing(void)
{
    unsigned n = 0;
    for (uint64_t i = 0; i < PACKETS - 20; i++) {
        n += !sim.got[65000 + i];
    }
    return n;
}

static void finish(void)
{
    rx_buffer_done(&sim.buffer);
    packet_pool_done(&sim.pool); // asserts that no reference was lost
}

static void clean_path_needs_no_repair(void **state)
{
    (void)state;
    run((struct path){.delay_us = 20000}, 1);
    assert_int_equal(missing(), 0);
    assert_int_equal(sim.queue.stats.asked, 0);
    assert_int_equal(sim.rejected, 0);
    assert_int_equal(rtp_stats_rx_lost(&sim.stats), 0);
    finish();
}

static void random_loss_is_repaired(void **state)
{
    (void)state;
    static const unsigned losses[] = {5, 20, 50, 100, 200};
    for (size_t i = 0; i < ARRAY_LEN(losses); i++) {
        run((struct path){.loss_permille = losses[i], .delay_us = 25000}, (uint8_t)(10 + i));
        assert_true(sim.lost_media > PACKETS * losses[i] / 1300);
        // A try fails with 2p - p^2; six tries leave its sixth power.
        assert_true(missing() <= (losses[i] <= 100 ? 1 : PACKETS / 500));
        assert_in_range(sim.queue.stats.asked, sim.queue.stats.missing,
                        sim.queue.stats.missing * 18 / 10);
        // What RTX repaired still counts as lost in reports (RFC 3550).
        assert_in_range(rtp_stats_rx_lost(&sim.stats), sim.lost_media - 20, sim.lost_media);
        finish();
    }
}

static void bursts_are_repaired(void **state)
{
    (void)state;
    run((struct path){.loss_permille = 3, .burst = 15, .delay_us = 60000}, 40);
    assert_true(sim.lost_media > 200);
    assert_true(missing() <= 2);
    assert_int_equal(sim.rejected, 0);
    finish();
}

// Slow packets of 8 ms are within the first delay. 25 ms ones are asked for at first, until the
// queue has learnt.
static void reordering_is_not_taken_for_loss(void **state)
{
    (void)state;
    run((struct path){.reorder_permille = 50, .reorder_us = 8000, .delay_us = 30000}, 50);
    assert_int_equal(missing(), 0);
    assert_int_equal(sim.queue.stats.asked, 0);
    assert_true(sim.stats.late > 200);
    finish();
    run((struct path){.reorder_permille = 50, .reorder_us = 25000, .delay_us = 30000}, 51);
    assert_int_equal(missing(), 0);
    assert_true(sim.queue.first_delay_us > 22000);
    assert_true(sim.queue.stats.asked < sim.stats.late / 5);
    finish();
}

static void everything_at_once_keeps_its_order(void **state)
{
    (void)state;
    for (uint8_t seed = 60; seed < 66; seed++) {
        run((struct path){.loss_permille = 60,
                          .reorder_permille = 30,
                          .reorder_us = 12000,
                          .duplicate_permille = 40,
                          .delay_us = 40000},
            seed);
        assert_true(missing() <= 2);
        assert_true(sim.stats.duplicates > 200);
        assert_int_equal(rtp_stats_rx_lost(&sim.stats) + sim.stats.packets,
                         sim.stats.highest_sn - sim.stats.first_sn + 1);
        assert_true(sim.rtx_useless < sim.rtx_answers / 5);
        finish();
    }
}

// A lost packet is given up in time: nothing is asked for forever.
static void dead_path_ends_the_asking(void **state)
{
    (void)state;
    run((struct path){.delay_us = 20000}, 70);
    uint64_t const first = sim.stats.highest_sn + 1;
    assert_true(nack_queue_add(&sim.queue, sim.now, first, 50));
    sim.path.loss_permille = 1000;
    for (unsigned i = 0; i < 4000; i++) {
        sim.now = mono_add_us(sim.now, STEP_US);
        tick();
    }
    assert_int_equal(sim.queue.count, 0);
    assert_int_equal(sim.queue.stats.asked, 50 * NACK_QUEUE_TRIES);
    assert_true(mono_is_never(nack_queue_deadline(&sim.queue)));
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_path_needs_no_repair),
        cmocka_unit_test(random_loss_is_repaired),
        cmocka_unit_test(bursts_are_repaired),
        cmocka_unit_test(reordering_is_not_taken_for_loss),
        cmocka_unit_test(everything_at_once_keeps_its_order),
        cmocka_unit_test(dead_path_ends_the_asking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
