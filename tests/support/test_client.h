// SPDX-License-Identifier: Apache-2.0
#pragma once
// The built-in test client: a WebRTC client that speaks LiveKit's signalling (v1: one peer
// connection, v0: two), made of the same sans-IO machines as the server, on one event loop with
// thousands of its kind and no thread of its own.
//
//     test_client_new ──► WebSocket, join ──► offer/answer, trickle ──► ICE, DTLS, SCTP ──► media
//     both ways
//                                                                              └─ test_client_leave
//                                                                              ──► ENDED
//
// It publishes audio and video that can be verified (client_pattern), subscribes to what the server
// gives it, answers key frame requests and NACKs, reports what it receives, asks for what it
// misses, and counts (client_stream).
//
// Upstream behaviour: livekit-client 2.23 (livekit-protocol sections 1 and 4). Deviations: plain
// WebSockets only; no relays; publishes VP8 and Opus only; does not stop layers that nobody wants;
// resumes only when told to.
//
// Owner thread: the net's loop. No function may be called from inside on_event but those that only
// read, publish, mute, subscribe, and leave; never test_client_free.

#include "tests/support/client_pc.h"
#include "tests/support/client_signal.h"

struct test_client;

enum test_client_event {
    TEST_CLIENT_JOINED,    // the join response is there
    TEST_CLIENT_CONNECTED, // ICE and DTLS of every transport that is needed, first time
    TEST_CLIENT_PUBLISHED, // a track of ours got its sid
    TEST_CLIENT_RESUMED,
    TEST_CLIENT_SIGNAL_LOST, // the socket ended without our doing; media may go on
    TEST_CLIENT_ENDED,       // left, or told to leave; status->text says why
    TEST_CLIENT_FAILED,      // could not join or connect; status->text says why
};

struct test_client_conf {
    struct client_net *net;
    const char *url;   // ws://host:port[/prefix]
    const char *token; // JWT
    bool v0;
    uint32_t id; // publisher number in the pattern
    bool manual; // no auto-subscribe
    bool no_data;
    uint8_t spare_audio,
        spare_video;   // v1: sections offered for subscriptions at once; livekit-client: 3 and 3
    uint32_t ping_ms;  // 0: what the server wishes
    bool headers_only; // see client_pc_conf
    bool stamps;
    void (*on_event)(void *user, struct test_client *c, enum test_client_event e); // NULL: none
    void *user;
};

// Livekit's clients offer this many sections at once.
#define TEST_CLIENT_SPARE 3

struct test_client_status {
    bool joined, connected, ended, failed, signal;
    char text[160]; // why it ended or failed
    char sid[40], room_sid[40], server_version[24];
    int leave_reason, leave_action; // of the server's leave, -1: none came
    uint32_t published;             // tracks with a sid
    uint32_t participants;          // others in the room, as far as told
    uint32_t remote_tracks;         // that these publish
    uint32_t messages, pongs, speaker_updates, quality_updates, answers, offers_sent,
        offers_received;
    uint32_t sections_asked;                    // by media_sections_requirement
    mono_t started_at, joined_at, connected_at; // 0: not yet
    bool sctp_up;                               // on every transport
};

// Resolves, connects and joins. -EINVAL and others of client_url_parse, -ENOMEM, errno of sockets.
int test_client_new(const struct test_client_conf *conf, struct test_client **ret) NODISCARD;
// Cuts everything, without a goodbye to the signalling server (see test_client_leave). Accepts
// NULL.
void test_client_free(struct test_client *c);

const struct test_client_status *test_client_status(const struct test_client *c);

// ---- publishing ---------------------------------------------------------------------------------

// Publishes a track, now or as soon as joined. *ret_index names it (may be NULL). -E2BIG, -ENOMEM.
int test_client_publish(struct test_client *c, const struct client_track_conf *conf,
                        size_t *ret_index) NODISCARD;
int test_client_unpublish(struct test_client *c, size_t index) NODISCARD;
// Stops sending and tells the server. -ENOENT, errors of the socket.
int test_client_mute(struct test_client *c, size_t index, bool muted) NODISCARD;
// Frames of all tracks are held back, without telling the server.
void test_client_pause(struct test_client *c, bool paused);
// NULL if there is none. Borrowed.
const struct client_sender *test_client_track(const struct test_client *c, size_t index);
// Of all tracks.
uint64_t test_client_sent(const struct test_client *c);

// ---- receiving ----------------------------------------------------------------------------------

int test_client_subscribe(struct test_client *c, const char *track_sid, bool subscribe) NODISCARD;
int test_client_track_settings(struct test_client *c, const char *track_sid, bool disabled,
                               int quality) NODISCARD;

// Streams in the order of their first description: start with NULL.
const struct client_stream *test_client_next_stream(const struct test_client *c,
                                                    const struct client_stream *s);
// Adds the counters of all streams to sum (latencies: the extremes).
void test_client_sum(const struct test_client *c, struct client_stream_stats *sum);
// Datagrams that found our own socket full: losses that are not the server's.
uint32_t test_client_socket_drops(const struct test_client *c);

// The transports: 0 publisher (v1: the only one), 1 subscriber; NULL.
const struct client_pc *test_client_pc(const struct test_client *c, size_t i);

// ---- session ------------------------------------------------------------------------------------

// Says goodbye; ENDED follows when the server has closed, at the latest after 2 s.
void test_client_leave(struct test_client *c);
// Cuts the signalling socket, as a lost network does.
void test_client_cut_signal(struct test_client *c);
// A new socket for the same session, then an ICE restart. RESUMED or ENDED follows. -EPROTO before
// joining, -ENOMEM, errno.
int test_client_resume(struct test_client *c) NODISCARD;
