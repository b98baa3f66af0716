// SPDX-License-Identifier: Apache-2.0
// LINK: signal room
// SUPPORT: signal_bed room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: signal_codec
//
// Connect requests of real clients, as recorded, through the whole of our server: HTTP, the codec,
// the join. What comes back is compared with what livekit-server 1.13.5 answered to the same
// request, field by field.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/base/base64.h"
#include "sfu/wire/sdp.h"
#include "tests/support/room_harness.h"
#include "tests/support/signal_bed.h"

#define JOINS "tests/data/signalling/joins.txt"

static struct signal_bed bed;
static struct room_harness h;

// One recorded connection: name, path, query, JoinResponse (base64 of the frame), file of the first
// answer or "-".
struct recorded {
    char name[64], path[32], query[8192], join[4096], answer[256];
};

struct ours {
    struct pbuf *join, *answer;
};

static char *read_text(const char *path)
{
    FILE *const f = fopen(path, "rb");
    assert_non_null(f);
    char *const text = mem_alloc(1 << 16);
    text[fread(text, 1, (1 << 16) - 1, f)] = 0;
    (void)fclose(f);
    return text;
}

static struct pbuf *decode(const char *base64)
{
    struct dynbuf b;
    struct pbuf *p = NULL;
    dynbuf_init(&b, 1 << 16);
    assert_int_equal(base64_decode(BASE64_STD, bytes_str(base64), &b), 0);
    assert_int_equal(lk_unpack_signal_response(dynbuf_view(&b), &p), 0);
    dynbuf_done(&b);
    return p;
}

static void tap(void *user, const struct channel_msg *m)
{
    struct ours *const o = user;
    struct pbuf *p = NULL;
    if (m->type != CHANNEL_SEND) {
        return;
    }
    assert_int_equal(lk_unpack_signal_response(shared_buf_view(m->u.send.data), &p), 0);
    const Livekit__SignalResponse *const rsp = p->msg;
    if (rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_JOIN && o->join == NULL) {
        o->join = p;
    } else if (rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ANSWER && o->answer == NULL) {
        o->answer = p;
    } else {
        pbuf_free(p);
    }
}

// The token that the recorded client must have had.
static char *token_for(const Livekit__JoinResponse *theirs)
{
    const Livekit__ParticipantInfo *const p = theirs->participant;
    struct access_attribute attributes[8];
    struct access_claims c = {
        .identity = lk_str(p->identity),
        .name = lk_str(p->name),
        .metadata = p->metadata,
        .attributes = attributes,
        .attribute_count = p->n_attributes,
        .has_video = true,
        .video =
            {
                .room = lk_str(theirs->room->name),
                .room_join = true,
                .can_publish = tristate_of(p->permission->can_publish),
                .can_subscribe = tristate_of(p->permission->can_subscribe),
                .can_publish_data = tristate_of(p->permission->can_publish_data),
                .can_update_own_metadata = tristate_of(p->permission->can_update_metadata),
            },
    };
    assert_true(p->n_attributes <= ARRAY_LEN(attributes));
    for (size_t i = 0; i < p->n_attributes; i++) {
        attributes[i] = (struct access_attribute){p->attributes[i]->key, p->attributes[i]->value};
    }
    return signal_bed_token(&bed, &c);
}

static bool told_or_over(void *arg)
{
    const struct signal_bed_ws *const w = arg;
    return w->ended || w->messages >= 2;
}

// Sends the request to our server, and its join into a room.
static struct ours replay(const struct recorded *r, const Livekit__JoinResponse *theirs)
{
    static char target[16384];
    struct signal_bed_ws ws;
    struct ours ours = {0};
    char *const token = token_for(theirs);
    (void)snprintf(target, sizeof(target), "%s?access_token=%s&%s", r->path, token, r->query);
    mem_free(token);
    signal_bed_connect(&bed, target, NULL, &ws);
    assert_true(signal_bed_until(&bed, told_or_over, &ws));
    assert_int_equal(ws.refused, 0);
    signal_bed_disconnect(&ws);
    h.tap = tap;
    h.tap_user = &ours;
    room_harness_post(&h, STEAL(bed.join));
    room_harness_run(&h, 100 * US_PER_MS);
    assert_non_null(ours.join);
    return ours;
}

// ---- comparison -----------------------------------------------------------------------------

static void compare_participant(const Livekit__ParticipantInfo *o,
                                const Livekit__ParticipantInfo *t)
{
    assert_int_equal(strlen(o->sid), strlen(t->sid));
    assert_memory_equal(o->sid, "PA_", 3);
    assert_string_equal(lk_str(o->identity), lk_str(t->identity));
    assert_string_equal(lk_str(o->name), lk_str(t->name));
    assert_string_equal(lk_str(o->metadata), lk_str(t->metadata));
    assert_int_equal(o->has_state, t->has_state); // JOINING: absent
    assert_int_equal(o->state, t->state);
    assert_int_equal(o->has_version, t->has_version); // 0: absent
    assert_int_equal(o->kind, t->kind);
    assert_int_equal(o->is_publisher, t->is_publisher);
    assert_int_equal(o->client_protocol, t->client_protocol);
    assert_int_equal(o->n_tracks, t->n_tracks);
    assert_true(o->joined_at > 0 && o->joined_at_ms / 1000 == o->joined_at);
    assert_int_equal(o->n_attributes, t->n_attributes);
    for (size_t i = 0; i < t->n_attributes; i++) {
        assert_string_equal(o->attributes[i]->key, t->attributes[i]->key);
        assert_string_equal(o->attributes[i]->value, t->attributes[i]->value);
    }
    assert_int_equal(o->n_capabilities, t->n_capabilities);
    for (size_t i = 0; i < t->n_capabilities; i++) {
        assert_int_equal(o->capabilities[i], t->capabilities[i]);
    }
    const Livekit__ParticipantPermission *const op = o->permission;
    const Livekit__ParticipantPermission *const tp = t->permission;
    assert_int_equal(op->can_publish, tp->can_publish);
    assert_int_equal(op->can_subscribe, tp->can_subscribe);
    assert_int_equal(op->can_publish_data, tp->can_publish_data);
    assert_int_equal(op->can_update_metadata, tp->can_update_metadata);
    assert_int_equal(op->hidden, tp->hidden);
    assert_int_equal(op->recorder, tp->recorder);
    assert_int_equal(op->agent, tp->agent);
    assert_int_equal(op->n_can_publish_sources, tp->n_can_publish_sources);
}

static bool lists(Livekit__Codec *const *v, size_t n, const char *mime)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(v[i]->mime, mime) == 0) {
            return true;
        }
    }
    return false;
}

// What we do not take from publishers: H265 has no key frame detection here that is proven; RTX is no
// codec of its own.
static bool left_out(const char *mime)
{
    return strcmp(mime, "video/H265") == 0 || strcmp(mime, "video/rtx") == 0;
}

static void compare_codecs(const Livekit__JoinResponse *o, const Livekit__JoinResponse *t)
{
    for (size_t i = 0; i < t->n_enabled_publish_codecs; i++) {
        const char *const mime = t->enabled_publish_codecs[i]->mime;
        // The harness enables what its media models speak.
        bool const in_harness =
            strcmp(mime, "video/AV1") != 0 && strncmp(mime, "audio/PCM", 9) != 0;
        assert_int_equal(lists(o->enabled_publish_codecs, o->n_enabled_publish_codecs, mime),
                         !left_out(mime) && in_harness);
    }
    // livekit-client takes the first video codec as its default.
    assert_string_equal(o->enabled_publish_codecs[0]->mime, t->enabled_publish_codecs[0]->mime);
    // Theirs has no H264 for Firefox (clientConfiguration, a work-around of theirs); ours has one
    // list for everybody.
    for (size_t i = 0; i < o->n_enabled_publish_codecs; i++) {
        const char *const mime = o->enabled_publish_codecs[i]->mime;
        assert_true(lists(t->enabled_publish_codecs, t->n_enabled_publish_codecs, mime) ||
                    strcmp(mime, "video/H264") == 0);
    }
}

static void compare_join(const Livekit__JoinResponse *o, const Livekit__JoinResponse *t)
{
    compare_participant(o->participant, t->participant);
    compare_codecs(o, t);
    assert_string_equal(lk_str(o->room->name), lk_str(t->room->name));
    assert_int_equal(strlen(o->room->sid), strlen(t->room->sid));
    assert_memory_equal(o->room->sid, "RM_", 3);
    assert_string_equal(lk_str(o->room->metadata), lk_str(t->room->metadata));
    assert_int_equal(o->room->max_participants, t->room->max_participants);
    assert_int_equal(o->room->active_recording, t->room->active_recording);
    assert_string_equal(lk_str(o->server_version), lk_str(t->server_version));
    assert_string_equal(lk_str(o->server_info->version), lk_str(t->server_info->version));
    assert_int_equal(o->server_info->protocol, t->server_info->protocol);
    assert_memory_equal(o->server_info->node_id, "ND_", 3);
    assert_int_equal(o->has_subscriber_primary, t->has_subscriber_primary);
    assert_int_equal(o->subscriber_primary, t->subscriber_primary);
    assert_int_equal(o->ping_timeout, t->ping_timeout);
    assert_int_equal(o->ping_interval, t->ping_interval);
    assert_int_equal(o->fast_publish, t->fast_publish);
    assert_true(o->sif_trailer.len > 0 && t->sif_trailer.len > 0);
    assert_string_equal(lk_str(o->alternative_url), lk_str(t->alternative_url));
    // Differences, each on purpose: no ice_servers (theirs names public STUN servers of third
    // parties), no turn_password in the room, no agent_protocol (there are no agents), no
    // client_configuration, and timeouts as configured.
    assert_int_equal(o->n_ice_servers, 0);
}

static void compare_answer(const Livekit__SessionDescription *o, const char *path)
{
    char *const text = read_text(path);
    struct sdp *a = NULL;
    struct sdp *b = NULL;
    assert_int_equal(sdp_parse(bytes_str(o->sdp), &a), 0);
    assert_int_equal(sdp_parse(bytes_str(text), &b), 0);
    assert_string_equal(o->type, "answer");
    assert_int_equal(o->n_mid_to_track_id, 0); // an empty room here
    assert_int_equal(a->media_count, b->media_count);
    for (size_t i = 0; i < a->media_count; i++) {
        const struct sdp_media *const m = &a->media[i];
        const struct sdp_media *const n = &b->media[i];
        assert_int_equal(m->kind, n->kind);
        assert_true(bytes_eq(m->mid, n->mid));
        assert_int_equal(m->transport.setup, n->transport.setup);
        // Nobody is here, and a section that never had a track is inactive, not sendonly (jsep.h
        // says why).
        assert_int_equal(m->direction, n->direction == SDP_SENDONLY ? SDP_INACTIVE : n->direction);
        assert_int_equal(m->port == 0, n->port == 0);
    }
    sdp_free(a);
    sdp_free(b);
    mem_free(text);
}

// ---- tests ----------------------------------------------------------------------------------

static bool next_recorded(FILE *f, struct recorded *r)
{
    return fscanf(f, "%63s %31s %8191s %4095s %255s", r->name, r->path, r->query, r->join,
                  r->answer) == 5;
}

static void recorded_joins_are_answered_as_livekit_did(void **state)
{
    (void)state;
    static struct recorded r;
    FILE *const f = fopen(JOINS, "rb");
    assert_non_null(f);
    size_t n = 0;
    signal_bed_init(&bed, true);
    while (next_recorded(f, &r)) {
        print_message("%s\n", r.name);
        struct pbuf *const frame = decode(r.join);
        const Livekit__JoinResponse *const theirs = ((Livekit__SignalResponse *)frame->msg)->join;
        room_harness_init(&h, &(struct room_harness_conf){.seed = n});
        struct ours ours = replay(&r, theirs);
        compare_join(((Livekit__SignalResponse *)ours.join->msg)->join, theirs);
        assert_int_equal(ours.answer != NULL, strcmp(r.answer, "-") != 0);
        if (ours.answer != NULL) {
            compare_answer(((Livekit__SignalResponse *)ours.answer->msg)->answer, r.answer);
        }
        pbuf_free(ours.join);
        pbuf_free(ours.answer);
        pbuf_free(frame);
        assert_int_equal(room_harness_done(&h), 0);
        n++;
    }
    signal_bed_done(&bed);
    (void)fclose(f);
    assert_int_equal(n, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_joins_are_answered_as_livekit_did),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
