// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/lk/livekit.h"
#include "common/sys/clock.h"
#include "tests/support/http_ask.h"
#include "tests/support/signal_world.h"

// The programs of this folder are built without cmocka.
static void need(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "signal_world: %s\n", what);
        abort();
    }
}

static void post(void *user, uint32_t worker, struct channel_msg *m)
{
    struct world *const w = user;
    m->worker = worker;
    LL_APPEND(w->mail, m);
}

void open_world(struct world *w, bool auto_create)
{
    *w = (struct world){.loop = loop_new(), .keys = api_keys_new()};
    need(api_keys_add(w->keys, bytes_str(KEY), bytes_str(SECRET)) == 0, "the key is refused");
    struct addr const lo = addr_v4(127, 0, 0, 1, 0);
    struct signal_server_conf const conf = {.loop = w->loop,
                                            .listen = &lo,
                                            .listen_count = 1,
                                            .keys = w->keys,
                                            .worker_count = 2,
                                            .auto_create = auto_create,
                                            .post = post,
                                            .user = w};
    need(signal_server_new(&conf, &w->server, NULL) == 0, "the server does not start");
    dynbuf_init(&w->out, 1u << 20);
}

void close_world(struct world *w)
{
    signal_server_free(w->server);
    while (w->mail != NULL) {
        struct channel_msg *const m = w->mail;
        w->mail = m->next;
        channel_msg_free(m);
    }
    dynbuf_done(&w->out);
    api_keys_free(w->keys);
    loop_free(w->loop);
}

struct channel_msg *expect_mail(struct world *w, enum channel_msg_type type)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (w->mail == NULL && mono_before(clock_mono(), end)) {
        loop_run_once(w->loop, 10);
    }
    struct channel_msg *const m = w->mail;
    need(m != NULL && m->type == type, "not the message that was expected");
    LL_DELETE(w->mail, m);
    return m;
}

void tell_room(struct world *w, uint32_t worker, const char *name, uint32_t participants)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_ROOM_INFO, HANDLE_NONE);
    m->worker = worker;
    m->u.room_info.name = mem_strdup(name);
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, name, name);
    LK_SET_STR(&room, sid, "RM_x");
    LK_SET(&room, num_participants, participants);
    LK_SET(&room, empty_timeout, 300);
    LK_SET(&room, creation_time, INT64_C(1790000000));
    need(pbuf_pack_shared(&room.base, 4096, &m->u.room_info.room) == 0, "memory");
    m->u.room_info.num_participants = participants;
    signal_server_deliver(w->server, m);
}

void tell_ended(struct world *w, uint32_t worker, const char *name)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_ROOM_ENDED, HANDLE_NONE);
    m->worker = worker;
    m->u.room_info.name = mem_strdup(name);
    signal_server_deliver(w->server, m);
}

const struct access_claims alice = {
    .identity = "alice",
    .name = "Alice",
    .has_video = true,
    .video = {.room = "lobby", .room_join = true},
};

char *mint(struct access_claims c, const char *key, const char *secret)
{
    struct api_key const k = {.key = mem_strdup(key), .secret = mem_strdup(secret)};
    char *jwt = NULL;
    c.exp = c.exp != 0 ? c.exp : clock_wall().us / US_PER_S + 3600;
    need(access_token_mint(&c, &k, &jwt) == 0, "the token is refused");
    mem_free(k.key);
    mem_free(k.secret);
    return jwt;
}

unsigned ask_raw(struct world *w, struct bytes request)
{
    struct addr const to = signal_server_address(w->server, 0);
    dynbuf_reset(&w->out);
    http_ask(w->loop, &to, request, &w->out);
    return http_ask_status(dynbuf_view(&w->out));
}

unsigned ask(struct world *w, const char *line, const char *headers)
{
    struct dynbuf req;
    dynbuf_init(&req, 1u << 20);
    dynbuf_addf(&req, "%s HTTP/1.1\r\nHost: x\r\n%s\r\n", line, headers);
    unsigned const status = ask_raw(w, dynbuf_view(&req));
    dynbuf_done(&req);
    return status;
}

bool has(struct world *w, const char *text)
{
    return strstr(dynbuf_cstr(&w->out), text) != NULL;
}
