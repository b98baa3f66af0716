// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_script room_harness room_client room_client_signal room_client_pc room_stream vnet
// SUPPORT: room_data room_data_track media_model media_subscriber
//
// Clients that do what recordings of a LiveKit server say, against our room layer on a virtual clock;
// tests/conformance/replay.py tells it what, and compares what comes back.
//
//     room_replay <script >answers
//
// A script is lines of fields separated by tabs; times are milliseconds. Each line is answered by
// what happened, and then "ok" and the time, or "no".
//     conf    empty_timeout_s departure_timeout_s
//     join    connection identity v0|v1|silent jwt json [offer_id sections]    silent: v0, answers nothing
//     resume  connection connection_before jwt json
//     say     connection json
//     offer   connection id 0|1 sections           1: restarts ICE
//     drop    connection                           the socket is gone
//     vanish  connection 0|1                       1: its network is dead, 0: it is back
//     level   connection dBov                      of what its microphones send
//     api     method json, or base64: and the encoded request
//     path    connection 0|1                       0: its datagrams are lost
//     run     until
// What happened: "connection time json" of a SignalResponse; of a new token {"claims":{...}}; "connection
// time close status" (0: after messages).
#include <stdio.h>
#include <stdlib.h>

#include "common/base/base64.h"
#include "common/base/hash.h"
#include "common/svc/pbjson.h"
#include "tests/support/room_script.h"

#define CONNECTIONS 64
#define FIELDS 8
#define LINE_MAX_BYTES (8u << 20)

static struct room_harness h;
static int64_t begin_us;

static struct connection {
    char name[64];
    handle_t session;
    struct room_client *client;
} connections[CONNECTIONS];
static size_t connection_count;

static int64_t now_ms(void)
{
    return (h.now.us - begin_us) / US_PER_MS;
}

static struct connection *by_name(const char *name)
{
    for (size_t i = 0; i < connection_count; i++) {
        if (strcmp(connections[i].name, name) == 0) {
            return &connections[i];
        }
    }
    (void)fprintf(stderr, "room_replay: there is no %s\n", name);
    exit(1);
}

static const char *name_of(handle_t session)
{
    for (size_t i = 0; i < connection_count; i++) {
        if (handle_eq(connections[i].session, session)) {
            return connections[i].name;
        }
    }
    return "?";
}

static void print_json(handle_t session, const ProtobufCMessage *m, const char *around)
{
    struct dynbuf b;
    dynbuf_init(&b, (size_t)16 << 20);
    room_must(pbjson_write(m, 0, &b) == 0, "pbjson_write");
    (void)printf("%s\t%lld\t%s%s%s\n", name_of(session), (long long)now_ms(),
                 around != NULL ? around : "", dynbuf_cstr(&b), around != NULL ? "}" : "");
    dynbuf_done(&b);
}

// What a token says of its participant, as a ParticipantInfo.
static void print_claims(handle_t session, const struct access_claims *c)
{
    Livekit__ParticipantInfo p = LIVEKIT__PARTICIPANT_INFO__INIT;
    Livekit__ParticipantPermission perm = LIVEKIT__PARTICIPANT_PERMISSION__INIT;
    LK_SET_STR(&p, identity, c->identity);
    LK_SET_STR(&p, name, c->name);
    LK_SET_STR(&p, metadata, c->metadata);
    Livekit__ParticipantInfo__AttributesEntry entries[64];
    Livekit__ParticipantInfo__AttributesEntry *list[64];
    for (size_t i = 0; i < c->attribute_count && i < ARRAY_LEN(list); i++) {
        livekit__participant_info__attributes_entry__init(&entries[i]);
        LK_SET_STR(&entries[i], key, c->attributes[i].key);
        LK_SET_STR(&entries[i], value, c->attributes[i].value);
        list[i] = &entries[i];
        p.n_attributes++;
    }
    p.attributes = list;
    LK_SET(&perm, can_publish, video_grant_may_publish(&c->video));
    LK_SET(&perm, can_subscribe, video_grant_may_subscribe(&c->video));
    LK_SET(&perm, can_publish_data, video_grant_may_publish_data(&c->video));
    LK_SET(&perm, can_update_metadata, c->video.can_update_own_metadata == TRISTATE_TRUE);
    p.permission = &perm;
    print_json(session, &p.base, "{\"claims\":");
}

static void tap(void *user, const struct channel_msg *m)
{
    (void)user;
    struct pbuf *p = NULL;
    switch (m->type) {
    case CHANNEL_SEND:
        room_must(pbuf_unpack(&livekit__signal_response__descriptor,
                              shared_buf_view(m->u.send.data), 16u << 20, &p) == 0,
                  "unpack");
        print_json(m->handle, p->msg, NULL);
        pbuf_free(p);
        break;
    case CHANNEL_CLOSE:
        (void)printf("%s\t%lld\tclose %u\n", name_of(m->handle), (long long)now_ms(),
                     m->u.close.http_status);
        break;
    case CHANNEL_CLAIMS:
        print_claims(m->handle, &m->u.claims.token->claims);
        break;
    default:
        break;
    }
}

static struct connection *add_connection(const char *name, struct room_client *c)
{
    room_must(connection_count < CONNECTIONS, "room for a connection");
    struct connection *const x = &connections[connection_count++];
    (void)snprintf(x->name, sizeof(x->name), "%s", name);
    x->client = c;
    x->session = c->session;
    return x;
}

// ---- commands -------------------------------------------------------------------------------

static bool do_join(char **f)
{
    struct room_client *const c =
        room_script_join(&h, f[2], strcmp(f[3], "v1") == 0, f[4], f[5], f[7],
                         f[6] != NULL ? (uint32_t)strtoul(f[6], NULL, 10) : 0);
    if (c != NULL) {
        c->conf.silent = strcmp(f[3], "silent") == 0;
    }
    return c != NULL && add_connection(f[1], c) != NULL;
}

static bool do_resume(char **f)
{
    struct room_client *const c = by_name(f[2])->client;
    return room_script_resume(c, f[3], f[4]) && add_connection(f[1], c) != NULL;
}

static const struct {
    const char *name;
    enum room_api_method method;
    const ProtobufCMessageDescriptor *request;
} methods[] = {
    {"CreateRoom", ROOM_API_CREATE_ROOM, &livekit__create_room_request__descriptor},
    {"DeleteRoom", ROOM_API_DELETE_ROOM, &livekit__delete_room_request__descriptor},
    {"RemoveParticipant", ROOM_API_REMOVE_PARTICIPANT,
     &livekit__room_participant_identity__descriptor},
    {"UpdateParticipant", ROOM_API_UPDATE_PARTICIPANT,
     &livekit__update_participant_request__descriptor},
    {"MutePublishedTrack", ROOM_API_MUTE_PUBLISHED_TRACK,
     &livekit__mute_room_track_request__descriptor},
    {"UpdateSubscriptions", ROOM_API_UPDATE_SUBSCRIPTIONS,
     &livekit__update_subscriptions_request__descriptor},
    {"SendData", ROOM_API_SEND_DATA, &livekit__send_data_request__descriptor},
    {"UpdateRoomMetadata", ROOM_API_UPDATE_ROOM_METADATA,
     &livekit__update_room_metadata_request__descriptor},
};

// The room's name is the field "room", for CreateRoom "name".
static const char *room_of(const ProtobufCMessage *m)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "room");
    if (f == NULL) {
        f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "name");
    }
    const char *name = NULL;
    memcpy(&name, (const char *)m + f->offset, sizeof(name));
    return lk_str(name);
}

static bool do_api(char **f)
{
    size_t i = 0;
    while (i < ARRAY_LEN(methods) && strcmp(methods[i].name, f[1]) != 0) {
        i++;
    }
    if (i == ARRAY_LEN(methods)) {
        return false;
    }
    struct dynbuf b;
    struct pbuf *p = NULL;
    struct pbjson_limits const limits = PBJSON_LIMITS_DEFAULT;
    dynbuf_init(&b, 1u << 20);
    int rc = 0;
    if (strncmp(f[2], "base64:", 7) == 0) {
        rc = base64_decode(BASE64_STD, bytes_str(f[2] + 7), &b);
        rc = rc < 0 ? rc : pbuf_unpack(methods[i].request, dynbuf_view(&b), 1u << 20, &p);
    } else {
        rc = pbjson_read(methods[i].request, bytes_str(f[2]), &limits, &p);
    }
    dynbuf_done(&b);
    if (rc < 0) {
        return false;
    }
    const struct room_api_result *const r =
        room_harness_api(&h, methods[i].method, room_of(p->msg), p->msg);
    if (*r->error != 0) {
        (void)fprintf(stderr, "room_replay: %s: %s %s\n", f[1], r->error, r->text);
    }
    bool const ok = *r->error == 0;
    pbuf_free(p);
    return ok;
}

static void set_path(const struct room_client *c, bool down)
{
    struct vnet_link const link = {.delay_us = 1000, .down = down};
    struct room_pc *const pcs[2] = {c->publisher, c->subscriber};
    for (size_t i = 0; i < 2; i++) {
        if (pcs[i] != NULL) {
            vnet_set_link(h.net, &pcs[i]->addr, NULL, &link);
            vnet_set_link(h.net, NULL, &pcs[i]->addr, &link);
        }
    }
}

static bool do_level(char **f)
{
    const struct room_client *const c = by_name(f[1])->client;
    for (size_t i = 0; i < c->sender_count; i++) {
        c->senders[i]->level = (uint8_t)strtoul(f[2], NULL, 10);
    }
    return true;
}

// Whether the connection's socket is still the client's.
static bool is_current(const struct connection *x)
{
    return handle_eq(x->session, x->client->session) && !x->client->closed;
}

static bool do_run(char **f)
{
    int64_t const us = begin_us + strtoll(f[1], NULL, 10) * US_PER_MS - h.now.us;
    if (us > 0) {
        room_harness_run(&h, us);
    }
    return true;
}

static bool perform(char **f)
{
    if (strcmp(f[0], "conf") == 0) {
        h.conf.empty_timeout_s = (uint32_t)strtoul(f[1], NULL, 10);
        h.conf.departure_timeout_s = (uint32_t)strtoul(f[2], NULL, 10);
        return true;
    }
    if (strcmp(f[0], "run") == 0) {
        return do_run(f);
    }
    if (strcmp(f[0], "join") == 0) {
        return do_join(f);
    }
    if (strcmp(f[0], "resume") == 0) {
        return do_resume(f);
    }
    if (strcmp(f[0], "api") == 0) {
        return do_api(f);
    }
    if (strcmp(f[0], "level") == 0) {
        return do_level(f);
    }
    const struct connection *const x = by_name(f[1]);
    if (strcmp(f[0], "vanish") == 0) {
        room_client_set_vanished(x->client, f[2][0] == '1');
        return true;
    }
    if (strcmp(f[0], "path") == 0) {
        set_path(x->client, f[2][0] == '0');
        return true;
    }
    if (!is_current(x)) {
        return false;
    }
    if (strcmp(f[0], "say") == 0) {
        return room_script_request(x->client, f[2]);
    }
    if (strcmp(f[0], "offer") == 0) {
        room_script_offer(x->client, f[4], (uint32_t)strtoul(f[2], NULL, 10), f[3][0] == '1');
        return true;
    }
    if (strcmp(f[0], "drop") == 0) {
        room_client_drop_socket(x->client);
        return true;
    }
    (void)fprintf(stderr, "room_replay: %s?\n", f[0]);
    exit(1);
}

int main(void)
{
    room_harness_init(
        &h, &(struct room_harness_conf){.seed = 1, .link = {.delay_us = 1000}, .signal_us = 500});
    h.conf.codecs |= (1u << CODEC_AV1) | (1u << CODEC_PCMU) | (1u << CODEC_PCMA); // as foci-sfu
    h.tap = tap;
    begin_us = h.now.us;
    char *const line = mem_alloc(LINE_MAX_BYTES);
    room_must(line != NULL, "memory");
    while (fgets(line, (int)LINE_MAX_BYTES, stdin) != NULL) {
        char *f[FIELDS] = {NULL};
        line[strcspn(line, "\n")] = 0;
        char *rest = line;
        for (size_t n = 0; n < FIELDS && rest != NULL; n++) {
            f[n] = strsep(&rest, "\t");
        }
        bool const ok = perform(f);
        (void)printf("%s\t%lld\n", ok ? "ok" : "no", (long long)now_ms());
        (void)fflush(stdout);
    }
    mem_free(line);
    h.tap = NULL;
    unsigned const n = room_harness_done(&h);
    if (n > 0) {
        (void)fprintf(stderr, "room_replay: %u violations, the first: %s\n", n, h.violation);
    }
    return n > 0;
}
