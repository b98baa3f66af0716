// SPDX-License-Identifier: Apache-2.0
// LINK: worker
// SUPPORT: pc_pair vnet
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "sfu/worker/dtls_pool.h"
#include "tests/support/pc_pair.h"

#define DEADLINE_MS 20000
#define NEVER_US ((int64_t)1 << 40)
#define PAIRS 6

static struct loop *loop;
static struct mailbox *mail;
static struct dtls_pool *pool;
static struct dtls_cert *certs[2];
static struct pc_pair pairs[PAIRS];
static unsigned returned, out;

// The index of a job's side travels in the handle.
static void on_done(void *user, void *msg)
{
    (void)user;
    struct room_dtls_job *const job = msg;
    struct pc_pair *const p = &pairs[job->transport.index / 2];
    struct pc_side *const s = &p->side[job->transport.index % 2];
    peer_connection_finish_dtls_work(s->pc, p->now, job->work, &s->ep.out);
    mem_free(job);
    returned++;
    out--;
}

static void drop(void *user, void *msg)
{
    (void)user;
    struct room_dtls_job *const job = msg;
    dtls_work_free(job->work);
    mem_free(job);
    out--;
}

static int setup(void **state)
{
    (void)state;
    returned = out = 0;
    loop = loop_new();
    mail = mailbox_new(loop, on_done, NULL);
    return dtls_cert_new(1790000000, &certs[0]) + dtls_cert_new(1790000000, &certs[1]);
}

static int teardown(void **state)
{
    (void)state;
    dtls_pool_free(pool);
    pool = NULL;
    mailbox_close(mail, drop);
    mailbox_free(mail);
    loop_free(loop);
    dtls_cert_free(certs[0]);
    dtls_cert_free(certs[1]);
    return 0;
}

static struct pc_pair_config config(uint64_t seed)
{
    return (struct pc_pair_config){.seed = seed,
                                   .link = {.delay_us = 1000},
                                   .server_is_dtls_client = true,
                                   .work_us = NEVER_US, // held here instead of run in the pair
                                   .certs = {certs[0], certs[1]}};
}

static void submit(size_t pair, size_t side)
{
    struct room_dtls_job *const job = NEW(struct room_dtls_job);
    assert_non_null(job);
    *job = (struct room_dtls_job){.transport = {(uint32_t)(pair * 2 + side), 1},
                                  .work = STEAL(pairs[pair].side[side].work)};
    assert_int_equal(dtls_pool_submit(pool, job, mail), 0);
    out++;
}

static bool all_connected(void)
{
    for (size_t i = 0; i < PAIRS; i++) {
        if (pairs[i].side[0].state != PEER_CONNECTION_CONNECTED ||
            pairs[i].side[1].state != PEER_CONNECTION_CONNECTED) {
            return false;
        }
    }
    return true;
}

static void handshakes_are_done_elsewhere(void **state)
{
    (void)state;
    assert_int_equal(dtls_pool_new(3, &pool), 0);
    for (size_t i = 0; i < PAIRS; i++) {
        struct pc_pair_config const cfg = config(i + 1);
        pc_pair_init(&pairs[i], &cfg);
        pc_pair_signal(&pairs[i], &cfg);
    }
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (!all_connected() && mono_before(clock_mono(), end)) {
        for (size_t i = 0; i < PAIRS; i++) {
            pc_pair_run(&pairs[i], 1000);
            for (size_t k = 0; k < 2; k++) {
                if (pairs[i].side[k].work != NULL) {
                    submit(i, k);
                }
            }
        }
        loop_run_once(loop, out > 0 ? 1 : 0);
    }
    assert_true(all_connected());
    assert_true(returned >= 4 * PAIRS); // two steps on each side at least
    while (out > 0) {
        loop_run_once(loop, 10);
    }
    for (size_t i = 0; i < PAIRS; i++) {
        pc_pair_done(&pairs[i]);
    }
}

// A job whose step can run: the first one of a server that got its peer's tuple.
static struct room_dtls_job *make_job(uint64_t seed)
{
    static struct pc_pair p;
    struct pc_pair_config const cfg = config(seed);
    pc_pair_init(&p, &cfg);
    pc_pair_signal(&p, &cfg);
    for (int i = 0; i < 50 && p.side[PC_SERVER].work == NULL; i++) {
        pc_pair_run(&p, 1000);
    }
    struct room_dtls_job *const job = NEW(struct room_dtls_job);
    assert_non_null(job);
    assert_non_null(p.side[PC_SERVER].work);
    job->work = STEAL(p.side[PC_SERVER].work);
    pc_pair_done(&p); // its owner may be gone before the step comes back
    return job;
}

static void a_full_queue_says_so_and_the_end_drops_what_waits(void **state)
{
    (void)state;
    static struct room_dtls_job *jobs[DTLS_POOL_QUEUE_MAX + 88];
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        jobs[i] = make_job(i);
    }
    mailbox_close(mail, drop); // what is finished is freed by the pool
    assert_int_equal(dtls_pool_new(1, &pool), 0);
    unsigned refused = 0;
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        if (dtls_pool_submit(pool, jobs[i], mail) == -ENOBUFS) {
            refused++;
            dtls_work_free(jobs[i]->work); // still the caller's
            mem_free(jobs[i]);
        }
    }
    // Submitting takes microseconds, a step a millisecond.
    assert_in_range(refused, 1, 88);
    dtls_pool_free(STEAL(pool)); // with most of them inside
    assert_int_equal(returned, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(handshakes_are_done_elsewhere),
        TEST(a_full_queue_says_so_and_the_end_drops_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
