// SPDX-License-Identifier: Apache-2.0
// LINK: svc

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/svc/redis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned answers;
static unsigned downs;
static size_t items;

static void on_state(void *user, bool up, const char *why)
{
    (void)user;
    (void)why;
    downs += !up;
}

static void on_item(void *user, size_t index, struct bytes item)
{
    (void)user;
    items++;
    if (index > REDIS_ITEMS_MAX || item.n > REDIS_ITEM_MAX * 2) {
        abort();
    }
}

static void on_answer(void *user, const struct redis_answer *a)
{
    (void)user;
    answers++;
    if (a->text.n > REDIS_ITEM_MAX * 2 || (unsigned)a->type > REDIS_ANSWER_ARRAY) {
        abort();
    }
}

static int listen_here(struct redis_url *u)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/fuzz_redis.%d", (int)getpid());
    (void)snprintf(u->host, sizeof(u->host), "%s", at.sun_path);
    (void)unlink(u->host);
    int const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 8) != 0) {
        abort();
    }
    return fd;
}

// What a server says after its PONG, whoever it is: answers or the end of the connection, each
// command is told once.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct bytes words[] = {{(const uint8_t *)"HGETALL", 7},
                                         {(const uint8_t *)"x", 1}};
    struct redis_url url = {.local = true, .dial_timeout_ms = 1000, .read_timeout_ms = 1000};
    struct loop *const loop = loop_new();
    int const listener = listen_here(&url);
    answers = 0;
    downs = 0;
    items = 0;
    struct redis *const r =
        redis_new(&(struct redis_conf){.loop = loop, .url = &url, .on_state = on_state});
    int const peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (r == NULL || peer < 0) {
        abort();
    }
    for (int i = 0; i < 100 && !redis_is_up(r); i++) {
        loop_run_once(loop, 1);
        if (i == 1) {
            (void)!send(peer, "+PONG\r\n", 7, MSG_NOSIGNAL);
        }
    }
    unsigned sent = 0;
    for (; sent < 3 && redis_is_up(r); sent++) {
        struct redis_ask const ask = {
            .args = words, .count = 2, .on_item = on_item, .on_answer = on_answer};
        if (redis_send(r, &ask) != 0) {
            abort();
        }
    }
    (void)!send(peer, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(peer);
    for (int i = 0; i < 100 && downs == 0; i++) {
        loop_run_once(loop, 1);
    }
    if (answers != sent) {
        abort();
    }
    redis_free(r);
    loop_free(loop);
    (void)close(listener);
    (void)unlink(url.host);
    return 0;
}
