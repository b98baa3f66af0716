// SPDX-License-Identifier: Apache-2.0
// SUPPORT: room_client room_data
#include "tests/support/room_comeback.h"

#include <stdio.h>

// livekit-client: src/api/SignalClient.ts, src/room/DefaultReconnectPolicy.ts, RTCEngine.ts.
#define PING_MS 5000
#define PING_TIMEOUT_MS 15000
#define CONNECTED_MS 15000
#define TEXT_MS 100

static const int64_t delays_ms[] = {250, 300, 1200, 2700, 4800, 7000};

void room_comeback_join(struct room_comeback *b, struct room_harness *h,
                        const struct room_client_conf *conf, bool publishes, bool talks)
{
    *b = (struct room_comeback){.conf = *conf, .publishes = publishes, .talks = talks};
    b->next_try = MONO_NEVER;
    b->c = room_client_join(h, conf);
    b->last_message = h->now;
    b->next_ping = mono_add_ms(h->now, PING_MS);
}

static mono_t in_ms(const struct room_comeback *b, int64_t ms)
{
    return mono_add_ms(b->c->h->now, ms);
}

static void come(struct room_comeback *b)
{
    size_t const i = MIN(b->attempt, ARRAY_LEN(delays_ms) - 1);
    b->coming = true;
    b->connected_by = MONO_NEVER;
    b->next_try = in_ms(b, delays_ms[i]);
    b->attempt++;
}

void room_comeback_socket_lost(struct room_comeback *b)
{
    room_client_drop_socket(b->c);
    b->attempt = 0;
    come(b);
}

static void rejoin(struct room_comeback *b)
{
    struct room_harness *const h = b->c->h;
    b->rejoins++;
    // The old one stays for inspection; its network and socket are gone.
    room_client_set_vanished(b->c, true);
    b->c->session = HANDLE_NONE;
    b->c = room_client_join(h, &b->conf);
    b->sender = NULL;
    b->coming = false;
    b->attempt = 0;
    b->texts = 0;
    b->last_message = h->now;
}

static void try_now(struct room_comeback *b)
{
    if (b->offline) {
        come(b);
        return;
    }
    // The old socket, if there is one, is not closed: nobody could tell the server.
    b->resumes++;
    b->next_try = MONO_NEVER;
    b->connected_by = in_ms(b, CONNECTED_MS);
    b->last_message = b->c->h->now;
    room_client_resume(b->c);
}

static bool media_failed(const struct room_client *c)
{
    return (c->publisher != NULL && c->publisher->state == PEER_CONNECTION_FAILED) ||
           (c->subscriber != NULL && c->subscriber->state == PEER_CONNECTION_FAILED);
}

static int say_again(struct room_client *c, unsigned number, uint32_t sequence)
{
    char text[16];
    Livekit__UserPacket u = LIVEKIT__USER_PACKET__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    (void)snprintf(text, sizeof(text), "%u", number);
    LK_SET_BYTES(&u, payload, bytes_str(text));
    LK_SET(&p, sequence, sequence);
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    p.user = &u;
    return room_client_send_packet(c, ROOM_RELIABLE, &p, true);
}

// What the server did not get, as soon as its channel takes it.
static bool replay(struct room_comeback *b)
{
    for (unsigned i = 0; b->talks && i < b->texts; i++) {
        if (b->sequence[i] > b->c->last_message_seq && say_again(b->c, i, b->sequence[i]) != 0) {
            return false;
        }
    }
    return true;
}

static void look_at_socket(struct room_comeback *b)
{
    struct room_client *const c = b->c;
    if (c->messages != b->messages) {
        b->messages = c->messages;
        b->last_message = c->h->now;
    }
    if (c->closed && c->left && c->leave_action == LIVEKIT__LEAVE_REQUEST__ACTION__RECONNECT) {
        if (!b->offline) {
            rejoin(b);
        }
    } else if (c->closed && (!b->coming || mono_is_never(b->next_try))) {
        come(b);
    }
}

static void look_at_resume(struct room_comeback *b)
{
    struct room_client *const c = b->c;
    if (mono_reached(b->next_try, c->h->now)) {
        try_now(b);
    } else if (c->reconnected && room_client_active(c) && !media_failed(c)) {
        if (!replay(b)) {
            return;
        }
        b->coming = false;
        b->attempt = 0;
        b->next_try = MONO_NEVER;
    } else if (mono_reached(b->connected_by, c->h->now)) {
        come(b);
    }
}

static void ping(struct room_comeback *b)
{
    struct room_client *const c = b->c;
    if (!mono_reached(b->next_ping, c->h->now)) {
        return;
    }
    b->next_ping = in_ms(b, PING_MS);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING;
    r.ping = 1;
    room_client_request(c, &r);
}

static void talk(struct room_comeback *b)
{
    struct room_client *const c = b->c;
    // Applications cannot send while their session is reconnecting.
    if (!b->talks || b->coming || !room_client_active(c) || b->texts == ROOM_COMEBACK_TEXTS ||
        !mono_reached(b->next_text, c->h->now)) {
        return;
    }
    b->next_text = in_ms(b, TEXT_MS);
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", b->texts);
    if (room_client_say(c, ROOM_RELIABLE, text, NULL) == 0) {
        b->sequence[b->texts++] = c->data.sequence;
    }
}

void room_comeback_tick(struct room_comeback *b)
{
    if (b->frozen) {
        return;
    }
    look_at_socket(b);
    if (b->coming) {
        look_at_resume(b);
    } else if (media_failed(b->c) ||
               mono_diff_ms(b->c->h->now, b->last_message) >= PING_TIMEOUT_MS) {
        come(b);
    }
    if (b->publishes && b->sender == NULL && b->c->joined) {
        b->sender = room_client_publish(b->c, ROOM_VIDEO_SIMULCAST);
    }
    ping(b);
    talk(b);
}

bool room_comeback_settled(const struct room_comeback *b)
{
    return !b->coming && !b->c->closed && b->c->joined && room_client_active(b->c) &&
           !handle_is_none(b->c->session);
}
