// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/svc/ws.h"
#include "common/svc/ws_deflate.h"
#include "common/svc/ws_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What one connection may bring here: more than the largest message that is let through below.
#define MESSAGE_MAX 4096

struct end {
    struct ws *ws;
    unsigned messages;
    unsigned ends;
};

static void on_message(void *user, enum ws_kind kind, struct bytes data)
{
    struct end *const e = user;
    if (data.n > MESSAGE_MAX || e->ends > 0) {
        abort();
    }
    e->messages++;
    // An answer makes both directions run.
    (void)!ws_send(e->ws, kind, data);
}

static void on_end(void *user, const struct ws_end *end)
{
    struct end *const e = user;
    if (end->reason == NULL || e->ends > 0) {
        abort();
    }
    e->ends++;
}

// Frames of a stranger: messages within the cap, then exactly one end.
static void frames(const uint8_t *data, size_t size, bool client, struct ws_deflate *deflate)
{
    int fd[2];
    struct end e = {0};
    struct loop *const l = loop_new();
    if (l == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) != 0) {
        abort();
    }
    // The first half comes behind the handshake, the rest through the socket.
    size_t const early = size / 2;
    struct ws_conf const conf = {.client = client,
                                 .message_max = MESSAGE_MAX,
                                 .deflate = deflate,
                                 .queue_max = 1u << 20,
                                 .ping_ms = -1,
                                 .close_ms = 20,
                                 .on_message = on_message,
                                 .on_end = on_end,
                                 .user = &e};
    if (ws_new(l, fd[0], bytes_of(data, early), &conf, &e.ws) != 0) {
        abort();
    }
    if (size > early) {
        (void)!write(fd[1], data + early, size - early);
    }
    loop_run_once(l, 0);
    (void)shutdown(fd[1], SHUT_WR);
    for (int i = 0; e.ends == 0 && i < 100; i++) {
        loop_run_once(l, 5);
    }
    if (e.ends != 1) {
        abort();
    }
    ws_free(e.ws);
    (void)close(fd[1]);
    loop_free(l);
}

// Header values are texts.
static void server_handshake(const char *text)
{
    char accept[WS_ACCEPT_LEN];
    (void)ws_handshake_wanted(text, text);
    (void)ws_handshake_wanted("websocket", text);
    (void)!ws_handshake_accept(text, text, accept);
    (void)ws_handshake_deflate(text);
    if (ws_handshake_accept("13", text, accept) == 0 && strlen(accept) != WS_ACCEPT_LEN - 1) {
        abort();
    }
}

static void client_handshake(const uint8_t *data, size_t size)
{
    struct ws_handshake_reply r;
    int const rc = ws_handshake_read(bytes_of(data, size), "dGhlIHNhbXBsZSBub25jZQ==", &r);
    if (rc == 0 && (r.head_len > size || r.status > 999 || (r.accepted && r.status != 101))) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    char *const text = malloc(size);
    CLEANUP(ws_deflate_free) struct ws_deflate *deflate = ws_deflate_new();
    switch (data[0] & 7u) {
    case 4:
        frames(data + 1, size - 1, false, deflate);
        break;
    case 5:
        frames(data + 1, size - 1, true, deflate);
        break;
    case 0:
        client_handshake(data + 1, size - 1);
        break;
    case 1:
        if (text != NULL) {
            memcpy(text, data + 1, size - 1);
            text[size - 1] = '\0';
            server_handshake(text);
        }
        break;
    case 2:
        frames(data + 1, size - 1, false, NULL);
        break;
    default:
        frames(data + 1, size - 1, true, NULL);
        break;
    }
    free(text);
    return 0;
}
