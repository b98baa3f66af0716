// SPDX-License-Identifier: Apache-2.0
// Fills a store with delegated leaves of participants who are in calls, ten a room and thousands a
// homeserver, as a foci-jwt that was killed would have left them.
//
//   jwt_jobs --state-dir DIR | --redis URL [--count N] [--delay SECONDS] --server NAME...
//
// Rooms are called aN..., their participants as jwt_standin says who is in them.

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/sys/clock.h"
#include "common/sys/loop.h"
#include "jwt-service/leave/job_store.h"

#define ROOM_SIZE 10
#define SERVERS_MAX 64
#define FLUSH_MS 60000
// As long as the hashes that stand for rooms and identities in reality.
#define ROOM_FORMAT "a%042lu"

static void on_loaded(void *user, const struct job_load *load)
{
    if (load->result != JOB_LOAD_OK) {
        (void)fprintf(stderr, "jwt_jobs: %s\n", load->text);
        exit(1);
    }
    loop_stop(user);
}

static void on_each(void *user, const struct job_record *r)
{
    (void)user;
    (void)r;
}

static void on_safe(void *user, int error)
{
    if (error < 0) {
        (void)fprintf(stderr, "jwt_jobs: not written\n");
        exit(1);
    }
    loop_stop(user);
}

static int put(struct job_store *store, unsigned long i, const char *server, int64_t delay_s)
{
    char room[64];
    char identity[80];
    char delay_id[64];
    char user_id[128];
    (void)snprintf(room, sizeof(room), ROOM_FORMAT, i / ROOM_SIZE);
    (void)snprintf(identity, sizeof(identity), "%s-%lu", room, i % ROOM_SIZE);
    (void)snprintf(delay_id, sizeof(delay_id), "syd_%016lu", i);
    (void)snprintf(user_id, sizeof(user_id), "@user%lu:%s", i, server);
    struct job_record const r = {
        .room = room,
        .identity = identity,
        .delay_id = delay_id,
        .server_name = server,
        .user_id = user_id,
        .sid = "PA_abcdefghijkl",
        .delay_timeout_ns = delay_s * 1000000000,
        .restarted_at = clock_wall(),
        .state = JOB_CONNECTED,
    };
    return job_store_put(store, &r, NULL, NULL, NULL);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"state-dir", required_argument, 0, 'd'}, {"redis", required_argument, 0, 'r'},
        {"count", required_argument, 0, 'c'},     {"delay", required_argument, 0, 't'},
        {"server", required_argument, 0, 's'},    {0}};
    struct loop *const loop = loop_new();
    struct job_store_conf conf = {.loop = loop};
    const char *servers[SERVERS_MAX];
    unsigned long server_count = 0;
    unsigned long count = 100000;
    int64_t delay_s = 3600;
    char err[JOB_STORE_ERROR_MAX];
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'd') {
            conf.state_dir = optarg;
        } else if (o == 'r') {
            conf.redis_url = optarg;
        } else if (o == 'c') {
            count = strtoul(optarg, NULL, 10);
        } else if (o == 't') {
            delay_s = strtol(optarg, NULL, 10);
        } else if (o == 's' && server_count < SERVERS_MAX) {
            servers[server_count++] = optarg;
        } else {
            return 2;
        }
    }
    struct job_store *store = NULL;
    if (!loop || server_count == 0 || job_store_new(&conf, &store, err) < 0) {
        (void)fprintf(stderr, "jwt_jobs: cannot open the store: %s\n", server_count ? err : "");
        return 1;
    }
    job_store_load(store, on_each, on_loaded, loop);
    loop_run(loop);
    for (unsigned long i = 0; i < count; i++) {
        if (put(store, i, servers[i / ROOM_SIZE % server_count], delay_s) < 0) {
            (void)fprintf(stderr, "jwt_jobs: refused\n");
            return 1;
        }
    }
    job_store_flush(store, FLUSH_MS, on_safe, loop);
    loop_run(loop);
    job_store_free(store);
    loop_free(loop);
    return 0;
}
