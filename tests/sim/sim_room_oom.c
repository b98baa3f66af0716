// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_data_track room_stream
// SUPPORT: vnet media_model media_subscriber doubles/quick_dtls doubles/failing_mem
//
// Memory runs out: a whole scenario of a room is played again and again, and each time other
// allocations of the server's code fail, one or many in a row. Whatever was under way may be refused,
// dropped and counted, or end that session with a word; but nothing crashes or leaks, nobody sees what
// may not be, and when memory is back, everybody who was not told to leave hears somebody new, and is
// heard, by voice and by data.
//
// What fails are the allocations of common/base/mem.h while the room layer and what is below it runs: all
// of ours, hash tables and decoded messages included. Those inside of usrsctp and libcrypto do not fail:
// they are the business of those libraries, as is mbedTLS's, whose handshakes are quick_dtls.c's here.
//
// Each run is a process, made by fork, in which the allocations [first, last] fail; a run without failures
// has counted them before. OOM_SAMPLE: how many runs with one failure, at most (0: one for each allocation).
// OOM_ONLY="first last" plays one run in this process, for a debugger: failing_mem_failed_here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "common/svc/pbuf.h"
#include "tests/support/doubles/failing_mem.h"
#include "tests/support/room_sim.h"

// As in sim_room_data.c: usrsctp gets the virtual clock.
__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv,
                                                        void *restrict tz)
{
    (void)tz;
    tv->tv_sec = 1700000000 + h.now.us / US_PER_S;
    tv->tv_usec = h.now.us % US_PER_S;
    return 0;
}

// ---- the scenario ---------------------------------------------------------------------------

#define CALLS_MAX 32
#define CALL_GEN 9
// Sessions that cannot go on are told at the latest after PARTICIPANT_JOIN_DEADLINE_MS.
#define SETTLE_MAX S(70)

static struct {
    // Inside before and after.
    struct room_client *speaker, *listener;
    struct room_sender *voice;
    // Those who do things.
    struct room_client *alice, *bob, *carol, *dave;
    struct room_client *erin, *frank;
    uint32_t calls;
    unsigned answered, refused; // of the calls
    char rpc[64];
} t;

static void see_reply(void *user, const struct channel_msg *m)
{
    (void)user;
    if (m->type == CHANNEL_API_REPLY) {
        t.answered++;
        t.refused += m->u.api_reply.error != NULL;
        h.api_call = m->handle;
    }
}

static void call(enum room_api_method method, const char *room, const ProtobufCMessage *request)
{
    struct dynbuf b;
    dynbuf_init(&b, 65536);
    struct channel_msg *const m = channel_msg_new(CHANNEL_API, (handle_t){t.calls++, CALL_GEN});
    room_must(m != NULL && pbuf_pack(request, &b) == 0, "call");
    m->u.api = (struct channel_api){
        .method = method,
        .room_name = mem_strdup(room),
        .request = mem_alloc(b.n + 1),
        .request_len = b.n,
    };
    if (b.n > 0) {
        memcpy(m->u.api.request, b.p, b.n);
    }
    dynbuf_done(&b);
    room_harness_post(&h, m);
}

static bool has_socket(const struct room_client *c)
{
    return !c->closed && !handle_is_none(c->session);
}

static void publish(struct room_client *c, enum room_media media)
{
    if (has_socket(c) && c->joined) {
        (void)room_client_publish(c, media);
    }
}

static void say(struct room_client *c, enum room_channel channel, const char *text, const char *to)
{
    (void)!room_client_say(c, channel, text, to);
}

static const char *first_sid(const struct room_client *c)
{
    return c->sender_count > 0 ? c->senders[0]->sid : "TR_none";
}

static void calls_about_alice(void)
{
    char *const alice = lk_unconst_str("alice");
    char *sid = lk_unconst_str(first_sid(t.alice));
    Livekit__ListParticipantsRequest list = LIVEKIT__LIST_PARTICIPANTS_REQUEST__INIT;
    call(ROOM_API_LIST_PARTICIPANTS, "room", &list.base);
    Livekit__UpdateParticipantRequest update = LIVEKIT__UPDATE_PARTICIPANT_REQUEST__INIT;
    Livekit__UpdateParticipantRequest__AttributesEntry attribute =
        LIVEKIT__UPDATE_PARTICIPANT_REQUEST__ATTRIBUTES_ENTRY__INIT;
    Livekit__UpdateParticipantRequest__AttributesEntry *attributes[] = {&attribute};
    update.identity = alice;
    LK_SET_STR(&update, metadata, "of the server");
    attribute.key = lk_unconst_str("key");
    attribute.value = lk_unconst_str("value");
    update.attributes = attributes;
    update.n_attributes = 1;
    call(ROOM_API_UPDATE_PARTICIPANT, "room", &update.base);
    Livekit__MuteRoomTrackRequest mute = LIVEKIT__MUTE_ROOM_TRACK_REQUEST__INIT;
    mute.identity = alice;
    mute.track_sid = sid;
    LK_SET(&mute, muted, true);
    call(ROOM_API_MUTE_PUBLISHED_TRACK, "room", &mute.base);
    Livekit__UpdateRoomMetadataRequest metadata = LIVEKIT__UPDATE_ROOM_METADATA_REQUEST__INIT;
    LK_SET_STR(&metadata, metadata, "about the room");
    call(ROOM_API_UPDATE_ROOM_METADATA, "room", &metadata.base);
    Livekit__SendDataRequest data = LIVEKIT__SEND_DATA_REQUEST__INIT;
    uint8_t nonce[16] = {1};
    LK_SET(&data, kind, LIVEKIT__DATA_PACKET__KIND__RELIABLE);
    data.destination_identities = (char *[]){alice};
    data.n_destination_identities = 1;
    LK_SET_BYTES(&data, nonce, bytes_of(nonce, sizeof(nonce)));
    call(ROOM_API_SEND_DATA, "room", &data.base);
    Livekit__PerformRpcRequest rpc = LIVEKIT__PERFORM_RPC_REQUEST__INIT;
    rpc.destination_identity = alice;
    LK_SET(&rpc, response_timeout_ms, 100);
    call(ROOM_API_PERFORM_RPC, "room", &rpc.base);
    Livekit__UpdateSubscriptionsRequest sub = LIVEKIT__UPDATE_SUBSCRIPTIONS_REQUEST__INIT;
    sub.identity = lk_unconst_str("bob");
    sub.track_sids = &sid;
    sub.n_track_sids = 1;
    LK_SET(&sub, subscribe, false);
    call(ROOM_API_UPDATE_SUBSCRIPTIONS, "room", &sub.base);
}

// The one who is called answers.
static void note_rpc(struct room_client *c, const Livekit__DataPacket *p)
{
    if (p->value_case != LIVEKIT__DATA_PACKET__VALUE_RPC_REQUEST) {
        return;
    }
    Livekit__DataPacket answer = LIVEKIT__DATA_PACKET__INIT;
    Livekit__RpcAck ack = LIVEKIT__RPC_ACK__INIT;
    LK_SET_STR(&ack, request_id, lk_str(p->rpc_request->id));
    answer.value_case = LIVEKIT__DATA_PACKET__VALUE_RPC_ACK;
    answer.rpc_ack = &ack;
    (void)!room_client_send_packet(c, ROOM_RELIABLE, &answer, false);
    Livekit__RpcResponse response = LIVEKIT__RPC_RESPONSE__INIT;
    LK_SET_STR(&response, request_id, lk_str(p->rpc_request->id));
    response.payload = lk_unconst_str("done");
    response.value_case = LIVEKIT__RPC_RESPONSE__VALUE_PAYLOAD;
    answer.value_case = LIVEKIT__DATA_PACKET__VALUE_RPC_RESPONSE;
    answer.rpc_response = &response;
    (void)!room_client_send_packet(c, ROOM_RELIABLE, &answer, false);
}

static void calls_about_erin(void)
{
    Livekit__CreateRoomRequest create = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    LK_SET_STR(&create, name, "third");
    LK_SET_STR(&create, metadata, "of the third");
    call(ROOM_API_CREATE_ROOM, "third", &create.base);
    Livekit__PerformRpcRequest rpc = LIVEKIT__PERFORM_RPC_REQUEST__INIT;
    rpc.destination_identity = lk_unconst_str("erin");
    LK_SET_STR(&rpc, method, "method");
    LK_SET(&rpc, response_timeout_ms, 500);
    call(ROOM_API_PERFORM_RPC, "room", &rpc.base);
    Livekit__RoomParticipantIdentity frank = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    frank.identity = lk_unconst_str("frank");
    call(ROOM_API_GET_PARTICIPANT, "room", &frank.base);
    Livekit__UpdateParticipantRequest update = LIVEKIT__UPDATE_PARTICIPANT_REQUEST__INIT;
    Livekit__ParticipantPermission permission = LIVEKIT__PARTICIPANT_PERMISSION__INIT;
    update.identity = lk_unconst_str("frank");
    LK_SET(&permission, can_subscribe, true);
    LK_SET(&permission, can_publish_data, true);
    update.permission = &permission;
    call(ROOM_API_UPDATE_PARTICIPANT, "room", &update.base);
}

static void rename_oneself(struct room_client *c)
{
    Livekit__UpdateParticipantMetadata u = LIVEKIT__UPDATE_PARTICIPANT_METADATA__INIT;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    LK_SET_STR(&u, name, "another name");
    LK_SET(&u, request_id, 7);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_METADATA;
    r.update_metadata = &u;
    room_client_request(c, &r);
}

static void ping(struct room_client *c)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING;
    r.ping = 1;
    room_client_request(c, &r);
}

static struct room_client *join(const char *identity, bool v0)
{
    return room_client_join(
        &h, &(struct room_client_conf){
                .identity = identity, .v0 = v0, .update_metadata = true, .dynacast = true});
}

static void act_join_and_publish(void)
{
    t.alice = join("alice", true);
    run(MS(200));
    t.bob = join("bob", false);
    publish(t.alice, ROOM_AUDIO);
    run(MS(200));
    publish(t.alice, ROOM_VIDEO_SIMULCAST);
    publish(t.bob, ROOM_VIDEO);
    run(MS(300));
}

static void act_data(void)
{
    for (int i = 0; i < 3; i++) {
        say(t.alice, ROOM_RELIABLE, "one", NULL);
        say(t.bob, ROOM_RELIABLE, "two", "alice");
        say(t.bob, ROOM_LOSSY, "three", NULL);
    }
    room_data_track_publish(t.alice, 1, "track");
    run(MS(60));
    if (t.alice->tracks.published_count > 0) {
        room_data_track_subscribe(t.bob, t.alice->tracks.published[0].sid, true);
        run(MS(60));
        (void)!room_data_track_send(t.alice, 1, 0, 100);
        (void)!room_data_track_send(t.alice, 1, 1, 100);
        run(MS(30));
        room_data_track_subscribe(t.bob, t.alice->tracks.published[0].sid, false);
    }
    ping(t.bob);
    rename_oneself(t.bob);
    run(MS(30));
}

static void act_change(void)
{
    calls_about_alice();
    run(MS(60));
    room_client_permit(t.alice, "bob", NULL);
    room_client_settings(t.bob, first_sid(t.alice), false, 1, 320, 180);
    run(MS(250));
    room_client_permit(t.alice, "*", NULL);
    room_client_subscribe(t.bob, first_sid(t.alice), true);
    run(MS(150));
}

static void act_return(void)
{
    if (has_socket(t.alice)) {
        room_client_drop_socket(t.alice);
        run(MS(50));
        if (t.alice->joined) {
            room_client_resume(t.alice);
        }
    }
    if (has_socket(t.bob) && t.bob->joined) {
        room_client_offer(t.bob, true); // restarts ICE
    }
    run(MS(300));
    say(t.alice, ROOM_RELIABLE, "again", NULL);
    if (t.bob->sender_count > 0 && t.bob->senders[0]->section != NULL) {
        room_client_unpublish(t.bob, t.bob->senders[0]);
    }
    run(MS(300));
}

static void act_leave(void)
{
    // The same identity once more, somebody who cannot do it, a room that ends.
    t.carol = join("alice", false);
    t.dave = room_client_join(&h, &(struct room_client_conf){.identity = "dave", .room = "other"});
    run(MS(200));
    room_client_leave(t.bob);
    Livekit__DeleteRoomRequest delete = LIVEKIT__DELETE_ROOM_REQUEST__INIT;
    call(ROOM_API_DELETE_ROOM, "other", &delete.base);
    run(MS(100));
}

// What fewer clients do: an agent that goes without a word, data for one whose channels are not open yet,
// a file, a second codec, the same cid twice, scenarios of test tools, a lost packet that comes again.
static void act_rare(void)
{
    t.frank = room_client_join(&h, &(struct room_client_conf){.identity = "frank",
                                                              .v0 = true,
                                                              .agent = true,
                                                              .go_channels = true,
                                                              .metadata = "of frank"});
    t.erin = room_client_join(&h, &(struct room_client_conf){.identity = "erin",
                                                             .no_offer = true,
                                                             .dynacast = true,
                                                             .auto_subscribe_data = true,
                                                             .join_metadata = "of erin",
                                                             .update_metadata = true});
    t.erin->data.tap = note_rpc;
    run(MS(10));
    say(t.speaker, ROOM_RELIABLE, "early", NULL);
    run(MS(300));
    calls_about_erin();
    room_data_track_publish(t.speaker, 3, "of the speaker");
    if (has_socket(t.erin) && t.erin->joined) {
        (void)room_client_publish_as(t.erin, &(struct room_publish){.media = ROOM_VIDEO_SIMULCAST,
                                                                    .codec = CODEC_VP9,
                                                                    .backup = CODEC_VP8,
                                                                    .cid = "again"});
        (void)room_client_publish_as(
            t.erin,
            &(struct room_publish){.media = ROOM_AUDIO, .cid = "again", .only_request = true});
        room_client_subscribe(t.erin, "TR_nothing", true);
    }
    run(MS(150));
    if (has_socket(t.speaker)) {
        room_client_send_file(t.speaker, 40000);
    }
    Livekit__SimulateScenario s = LIVEKIT__SIMULATE_SCENARIO__INIT;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    s.scenario_case = LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SPEAKER_UPDATE;
    s.speaker_update = 1;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SIMULATE;
    r.simulate = &s;
    room_client_request(t.erin, &r);
    run(MS(250));
    Livekit__RoomParticipantIdentity frank = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    frank.identity = lk_unconst_str("frank");
    call(ROOM_API_REMOVE_PARTICIPANT, "room", &frank.base);
    room_client_leave(t.erin);
    run(MS(50));
}

static void scenario(void)
{
    act_join_and_publish();
    act_data();
    act_change();
    act_return();
    act_rare();
    act_leave();
}

// ---- and afterwards -------------------------------------------------------------------------

static struct room_client *newcomer;
static struct room_sender *new_voice;
static const char *trouble; // what does not work, and for whom
static const char *troubled;

static bool works(struct room_client *c)
{
    const struct room_stream *const s = room_client_stream(c, new_voice->sid);
    const char *const told = dynbuf_cstr(&c->data.told);
    troubled = c->identity;
    if (!room_client_active(c)) {
        trouble = "is not connected";
    } else if (s == NULL || s->packets < 5) {
        trouble = "does not hear the newcomer";
    } else if (told == NULL || strstr(told, "newcomer:hello") == NULL) {
        trouble = "does not get the newcomer's data";
    } else {
        trouble = NULL;
    }
    return trouble == NULL;
}

// A session of which the client was told nothing bad; of those that have left on purpose nothing is
// expected, nor of connect requests that were never answered (the signalling thread has a deadline).
static bool goes_on(const struct room_client *c)
{
    return c != newcomer && has_socket(c) && !c->left && c->first_seen &&
           strcmp(c->room, "room") == 0 && !(c == t.alice && t.carol != NULL && t.carol->joined);
}

static bool settled(void *arg)
{
    (void)arg;
    struct room_client *c = NULL;
    if (newcomer->data.opened[ROOM_RELIABLE] && newcomer->data.sequence == 0) {
        say(newcomer, ROOM_RELIABLE, "hello", NULL);
    }
    for (c = h.clients; c != NULL; c = c->next) {
        if (goes_on(c) && !works(c)) {
            return false;
        }
    }
    trouble = NULL;
    return true;
}

// Bystanders hear each other.
static bool hears_voice(void *arg)
{
    uint64_t const *const before = arg;
    const struct room_stream *const s = room_client_stream(t.listener, t.voice->sid);
    return s != NULL && s->packets >= *before + 5;
}

static bool check_afterwards(void)
{
    newcomer = join("newcomer", false);
    run(MS(300));
    new_voice = room_client_publish(newcomer, ROOM_AUDIO);
    run(MS(300));
    if (!room_harness_until(&h, settled, NULL, SETTLE_MAX)) {
        (void)printf("%s %s\n", troubled, trouble);
        return false;
    }
    const struct room_stream *const s = room_client_stream(t.listener, t.voice->sid);
    uint64_t before = s != NULL ? s->packets : 0;
    if (goes_on(t.speaker) && goes_on(t.listener) &&
        !room_harness_until(&h, hears_voice, &before, S(2))) {
        (void)printf("bystanders do not hear each other\n");
        return false;
    }
    return true;
}

// ---- what became of it ----------------------------------------------------------------------

#define STORY_MAX 8192

struct story {
    char sessions[STORY_MAX]; // how they went
    char told[STORY_MAX];     // what they and callers of the API were told
    uint64_t counted;         // what was dropped
};

static struct story usual; // of the run in which nothing failed

static void tell_story(struct story *ret)
{
    size_t n = 0;
    size_t k =
        (size_t)snprintf(ret->told, STORY_MAX, "%u calls, %u refused; ", t.answered, t.refused);
    for (struct room_client *c = h.clients; c != NULL; c = c->next) {
        const char *const told = dynbuf_cstr(&c->data.told);
        n += (size_t)snprintf(ret->sessions + n, STORY_MAX - n,
                              "%s: joined %d left %d %d closed %d; ", c->identity, c->joined,
                              c->left, c->leave_reason, c->closed);
        k += (size_t)snprintf(ret->told + k, STORY_MAX - k, "%s: %s file %llu tracks %u; ",
                              c->identity, told != NULL ? told : "",
                              (unsigned long long)c->data.file_bytes, c->tracks.packets);
        room_must(n < STORY_MAX && k < STORY_MAX, "room for the story");
    }
    ret->counted = h.env.no_memory + sctp_hub_packets_dropped(h.env.sctp);
    for (size_t i = 0; i < ROOM_DROP_COUNT; i++) {
        ret->counted += h.env.drops[i];
    }
}

// Where all sessions went on, what is missing was counted.
static bool check_story(void)
{
    static struct story story;
    tell_story(&story);
    if (getenv("OOM_ONLY") != NULL) {
        (void)printf("%s\n%s\n", story.sessions, story.told);
    }
    if (usual.sessions[0] == 0) {
        usual = story;
    }
    if (strcmp(story.sessions, usual.sessions) == 0 && strcmp(story.told, usual.told) != 0 &&
        story.counted <= usual.counted) {
        (void)printf("something is missing that nothing counted\n");
        return false;
    }
    return true;
}

static unsigned count_ended(void)
{
    unsigned n = 0;
    n += goes_on(t.speaker) ? 0 : 1;
    n += goes_on(t.listener) ? 0 : 1;
    return n;
}

// One run; true: as it must be.
static bool play(uint64_t first, uint64_t last)
{
    size_t const live = failing_mem.live;
    memset(&t, 0, sizeof(t));
    begin_with(
        &(struct room_harness_conf){.seed = 1, .link = {.delay_us = 5000}, .signal_us = 1000});
    h.tap = see_reply;
    h.conf.events = true;
    t.speaker = join("speaker", false);
    t.voice = room_client_publish(t.speaker, ROOM_AUDIO);
    t.listener = join("listener", true);
    run(MS(700));
    failing_mem_plan(first, last);
    h.server_runs = failing_mem_watch;
    scenario();
    h.server_runs = NULL;
    bool ok = check_story();
    ok = check_afterwards() && ok;
    unsigned const ended = count_ended();
    uint64_t const no_memory = h.env.no_memory;
    if (first == last && ended > 1) {
        (void)printf("one failure ended %u sessions of bystanders\n", ended);
        ok = false;
    }
    h.env.no_memory = 0; // as it should be
    begun = false;
    if (room_harness_done(&h) > 0) {
        (void)printf("violation: %s\n", h.violation);
        ok = false;
    }
    if (failing_mem.live != live) {
        (void)printf("%zd blocks leaked\n", (ssize_t)(failing_mem.live - live));
        ok = false;
    }
    if (getenv("OOM_ONLY") != NULL) {
        (void)printf("failed %llu of %llu, no_memory %llu, bystanders ended %u\n",
                     (unsigned long long)failing_mem.failed, (unsigned long long)failing_mem.seen,
                     (unsigned long long)no_memory, ended);
    }
    return ok;
}

// ---- many runs ------------------------------------------------------------------------------

#define JOBS 2

static uint64_t points;
static unsigned failures, runs;

static void reap(void)
{
    int status = 0;
    room_must(wait(&status) > 0, "wait");
    failures += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void play_apart(uint64_t first, uint64_t last, unsigned *busy)
{
    if (*busy == JOBS) {
        reap();
        (*busy)--;
    }
    runs++;
    (void)fflush(NULL);
    pid_t const pid = fork();
    room_must(pid >= 0, "fork");
    if (pid > 0) {
        (*busy)++;
        return;
    }
    (void)alarm(60);
    bool const ok = play(first, last);
    if (!ok) {
        (void)printf("^ with OOM_ONLY=\"%llu %llu\"\n", (unsigned long long)first,
                     (unsigned long long)last);
    }
    exit(ok ? 0 : 1);
}

static uint64_t sample_size(uint64_t standard)
{
    const char *const s = getenv("OOM_SAMPLE");
    return s != NULL ? strtoull(s, NULL, 10) : standard;
}

// A sanitizer is slow, and looks for leaks at the end of each process.
#ifdef __SANITIZE_ADDRESS__
#define STANDARD_SAMPLE 24
#else
#define STANDARD_SAMPLE 100
#endif

// In each of `count` equal parts of the run one point; 0: all points.
static void play_many(uint64_t count, uint64_t length)
{
    unsigned busy = 0;
    struct model_rng rng = {.s = length};
    count = count == 0 || count > points ? points : count;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t const from = i * points / count;
        uint64_t const n = (i + 1) * points / count - from;
        uint64_t const at = 1 + from + model_rand(&rng) % n;
        play_apart(at, at + length - 1, &busy);
    }
    while (busy-- > 0) {
        reap();
    }
    (void)printf("%llu allocations, %u runs, %u failed\n", (unsigned long long)points, runs,
                 failures);
    assert_int_equal(failures, 0);
}

static void nothing_fails(void **state)
{
    (void)state;
    assert_true(play(0, 0));
    points = failing_mem.seen;
    assert_true(points > 1000);
}

static void one_allocation_fails(void **state)
{
    (void)state;
    runs = failures = 0;
    play_many(sample_size(STANDARD_SAMPLE), 1);
}

static void many_in_a_row_fail(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {2, 10, 100, 1000};
    uint64_t const count = sample_size(STANDARD_SAMPLE);
    runs = failures = 0;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        play_many((count == 0 ? points : count) / 4, lengths[i]);
    }
}

int main(void)
{
    begin(); // makes what stays: certificates
    end();
    const char *const only = getenv("OOM_ONLY");
    if (only != NULL) {
        char *end = NULL;
        uint64_t const first = strtoull(only, &end, 10);
        room_must(play(0, 0), "the usual run");
        return play(first, strtoull(end, NULL, 10)) ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {
        TEST(nothing_fails),
        TEST(one_allocation_fails),
        TEST(many_in_a_row_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
