// SPDX-License-Identifier: Apache-2.0
#pragma once
// Limits of foci-sfu: what one client, one room and one process may take, each with its reason and
// with what the client sees when it is reached. Times after which somebody is given up stand with
// their state machines (participant.h, negotiation.h, subscription_timer.h).
//
// Limits of a protocol machine stand with it, below the layer that may read this header: sections,
// codecs and lines of a description (sfu/wire/sdp.h: a description over them is ignored), sections
// and SSRCs of a transport (sfu/media/rtp_demux.h, sfu/transport/srtp_transport.h: packets beyond are
// dropped as `ssrc_limit` or `unbound_ssrc`), channels and the size of their messages
// (sfu/transport/data_channel.h, sctp_transport.h: a channel beyond is closed, a message dropped as
// `data_too_large`).

#include <stddef.h>
#include <stdint.h>

// ---- process --------------------------------------------------------------------------------

// Media workers of one process: more cores than this in one machine run more processes.
#define WORKERS_MAX 64u

// Objects of one worker. They bound memory (a connection costs up to 100 KB), not calls: a core is
// busy long before. A join beyond ends with Leave{JOIN_FAILURE}, an add_track is LIMIT_EXCEEDED, a
// subscription is tried again until there is room.
#define WORKER_TRANSPORTS_MAX 65536u
#define WORKER_SUBSCRIPTIONS_MAX 1048576u
#define WORKER_TRACKS_MAX 65536u

// HTTP connections: browsers, a proxy's health check, idle keep-alives. Sockets cost little, rooms
// bound themselves. Further ones are not accepted until others end.
#define HTTP_CONNECTIONS_MAX 65536u
// Of one address that is no trusted proxy: a quarter, so that nobody alone can take all the others'
// places.
#define HTTP_CONNECTIONS_OF_ADDRESS_MAX (HTTP_CONNECTIONS_MAX / 4)

// WebSockets; each costs some KB on the signalling thread and up to 100 KB in its worker. 503
// `node has exceeded its configured limit`.
#define SIGNAL_SESSIONS_MAX 65536u

// Connect requests of one address, a thousand seconds' worth and at once: connect_limit.h. 429 with
// Retry-After; validate says the same.
#define CONNECT_LIMIT_DEFAULT "100/1000" // for rate_limit_parse
// Addresses remembered: 16 bytes each, as they come to be used. More than this at once, and those
// that are nearest to a full allowance are forgotten first.
#define CONNECT_LIMIT_KEYS 16384u

// Connect requests of one identity in one room, joins and resumes. Each join is a key exchange and tells
// the whole room of one who left and one who came. Clients that lose their network again and again wait
// longer from one attempt to the next; two programs that were given the same identity throw each other
// out in a loop. 429 with Retry-After.
#define IDENTITY_LIMIT ((struct rate_limit){.per_1000s = 500, .burst = 60})
#define IDENTITY_LIMIT_KEYS 65536u

// ---- names and texts ------------------------------------------------------------------------

// livekit limit.max_participant_identity_length, max_room_name_length. Connect request: 400 with a
// text; Twirp: invalid_argument.
#define PARTICIPANT_IDENTITY_MAX 256u
#define ROOM_NAME_MAX 256u

// livekit limit.max_participant_name_length, max_metadata_size, max_attributes_size (all keys and
// values). update_metadata: RequestResponse LIMIT_EXCEEDED with a text; Twirp: invalid_argument; join
// request: 400 for metadata, attributes over it are left out.
#define PARTICIPANT_NAME_MAX 256u
#define PARTICIPANT_METADATA_MAX (512u << 10)
#define PARTICIPANT_ATTRIBUTES_BYTES_MAX (64u << 10)
// Without a limit of their number one request could make us compare 30,000 keys with each other. More
// are refused as over the size limit.
#define PARTICIPANT_ATTRIBUTES_MAX 256

// livekit limit.max_metadata_size. Twirp: invalid_argument.
#define ROOM_METADATA_MAX (512u << 10)

// ---- signalling -----------------------------------------------------------------------------

// The largest message in either direction, inflated (livekit-protocol 1.7). A larger one of the client
// closes its socket with 1009. Updates of large rooms are split long before.
#define SIGNAL_MESSAGE_MAX ((size_t)2 << 20)

// JoinRequest before parsing and after inflating (livekit: 1 << 20). 400 `join request too large`.
#define JOIN_REQUEST_MAX ((size_t)1 << 20)

// Requests of one signalling connection (request_gate.h). Who is faster is not read until he may go on;
// nothing is lost, and nothing is told. Real clients stay far below: the busiest known moments are a
// change of layout among 300 tracks (two track settings each), the queue of requests that a client
// sends after a resume, and a publisher of hundreds of tracks.
#define SIGNAL_REQUESTS_PER_S 500
#define SIGNAL_REQUESTS_BURST 2000
// Offers of hundreds of sections have some hundred KB.
#define SIGNAL_REQUEST_BYTES_PER_S (1u << 20)
#define SIGNAL_REQUEST_BYTES_BURST (8u << 20)
// Under way to the worker and not yet handled: a worker handles thousands in a turn. The bytes let one
// message of the largest size go.
#define SIGNAL_REQUESTS_UNDER_WAY 256u
#define SIGNAL_REQUEST_BYTES_UNDER_WAY SIGNAL_MESSAGE_MAX

// What one client may make the server do with its requests (effort.h): in a turn, so that the packets
// of others do not wait for it, and in all, worked out from what it causes. What is beyond waits in
// its place, and is not told. Two seconds of a core at once are a speaker in a room of a thousand who
// comes in and publishes three times; a bridge that brings 300 tracks to a hundred people needs as
// much.
#define EFFORT_START_SHARE 10
#define EFFORT_TURN_PERCENT 20
#define EFFORT_TURN_BURST_US INT64_C(20000)
#define EFFORT_WORK_PERCENT 5
#define EFFORT_WORK_BURST_US INT64_C(2000000)
// Telling others what one client changes of itself: 25 changes at once and 6 a second in a room of a
// thousand, more in smaller ones; and for each of the others, who is told the whole ParticipantInfo,
// three of the largest at once and then 5 % of a line of 5 Mbit/s. Beyond that the changes of a while
// are told together.
#define EFFORT_NEWS_PERCENT 5
#define EFFORT_NEWS_BURST_US INT64_C(200000)
#define EFFORT_TOLD_BYTES_PER_S (INT64_C(32) << 10)
#define EFFORT_TOLD_BURST (INT64_C(2) << 20)

// Responses for a client that does not read them: two of the largest. Its socket is closed; it may
// resume.
#define SIGNAL_QUEUE_MAX (2 * SIGNAL_MESSAGE_MAX)
// Responses that came before the socket did. It takes one turn of the loop; a JoinResponse and some
// updates fit. The socket is closed after them; the client resumes.
#define SIGNAL_EARLY_MAX 256u

// ---- publishing -----------------------------------------------------------------------------

// livekit-protocol 4.5: unanswered add_track requests. LIMIT_EXCEEDED.
#define PARTICIPANT_PENDING_TRACKS_MAX 20
// livekit-protocol 4.5: requests with the cid of one track that is still there. LIMIT_EXCEEDED.
#define ADD_TRACK_QUEUE_MAX 3

// Published tracks of one participant: a bridge that brings a conference in has some hundreds. What
// the demultiplexer of a transport can tell apart, but for some second codecs. LIMIT_EXCEEDED.
#define PARTICIPANT_TRACKS_MAX 300

// Subscribers that a publisher may name in its SubscriptionPermission, and tracks for one of them:
// more than a room holds and more than one may publish. What is named beyond is not permitted.
#define SUBSCRIPTION_PERMITS_MAX 4096
#define SUBSCRIPTION_PERMIT_TRACKS_MAX 512

// ---- subscribing ----------------------------------------------------------------------------

// Text of one section in a description, at most: Chromium offers 4.9 KB for video and 0.9 KB for
// audio. All sections of a connection together stay below SIGNAL_MESSAGE_MAX, the identifiers of
// mid_to_track_id included: 400 videos, or 300 with 300 audios. Subscriptions beyond that wait until
// others end, and their clients are told (subscription_response SE_UNKNOWN after 15 s).
#define NEGOTIATION_VIDEO_BYTES 5000u
#define NEGOTIATION_AUDIO_BYTES 1200u
#define NEGOTIATION_TEXT_MAX 2000000u

// Tracks one client may have spoken about at a time (UpdateSubscription, UpdateTrackSettings): all
// those of the largest session twice over. More are ignored, as if nothing had been said: what was
// subscribed automatically stays.
#define TRACK_PREFERENCES_MAX 2048

// ---- data -----------------------------------------------------------------------------------

// A receiver's queue of reliable messages (data_channels.h). media-plane 9.3: 4 MiB; then the receiver
// gets Leave{RECONNECT, STATE_MISMATCH}.
#define DATA_QUEUE_MAX ((size_t)4 << 20)
// From here on senders are slowed; they go on below DATA_RELIEVED_BYTES. What several of them have in
// flight still fits below DATA_QUEUE_MAX.
#define DATA_CONGESTED_BYTES ((size_t)1 << 20)
#define DATA_RELIEVED_BYTES ((size_t)512 << 10)

// A queue that holds senders up must shrink by DATA_STALL_BYTES in each DATA_STALL_MS: 13 kB/s, less
// than the slowest mobile network in use. A client whose network is gone costs others 5 s, and gets
// Leave{RECONNECT, STATE_MISMATCH}.
#define DATA_STALL_MS 5000
#define DATA_STALL_BYTES ((size_t)64 << 10)

// For a channel that is not open yet. A join may take PARTICIPANT_JOIN_DEADLINE_MS; a client that
// opens no channel at all costs this much memory for so long, once. The oldest are dropped
// (`data_held`).
#define DATA_HOLD_MAX ((size_t)1 << 20)
#define DATA_HOLD_MS 60000

// Reliable messages of a sender that is away, which wait for others that it has yet to repeat
// (data_gap.h). Such a client repeats everything after those, so what does not fit (`data_gap`) comes
// once more.
#define DATA_GAP_MAX ((size_t)256 << 10)

// Unreliable messages that wait in front (media-plane 9.3); more are dropped (`data_slow`).
#define DATA_LOSSY_BYTES ((size_t)64 << 10)
#define DATA_LOSSY_MS 200
// So much may wait longer than DATA_LOSSY_MS: on a path with a long round trip a few messages are
// always under way (LiveKit's lossy writer has the same floor).
#define DATA_LOSSY_FLOOR ((size_t)8 << 10)

// Names of receivers in one packet: it bounds what 64 KB can make us sort and look up. A packet with
// more is dropped (`data_too_large`); whoever has so many receivers sends to everybody or twice.
// SendData: invalid_argument.
#define DATA_DESTINATIONS_MAX 4096

// Data tracks of one participant. Everybody is told all of them with each change: so many with the
// longest names are 160 KB. LIMIT_EXCEEDED.
#define DATA_TRACKS_MAX 128
// livekit limits: names 256 characters. The same for custom encodings and names of schemas.
// INVALID_NAME, INVALID_REQUEST.
#define DATA_TRACK_NAME_MAX 256
// Data tracks of others that one participant may have spoken about; more are ignored
// (`data_track_limit`). The map of all of them is about 80 KB.
#define DATA_SUBSCRIPTIONS_MAX 1024

// ---- rooms ----------------------------------------------------------------------------------

// Departures that a room remembers for those who come back (departures.h): one that loses more people
// while somebody is away sends that one through a full reconnect, which is correct at any number. 512
// of them cost 40 KB.
#define DEPARTURES_MAX 512u

// Answers of one room that are held back for some milliseconds (late_response.h): those of a crowd
// that changes its metadata at a time, and two of the largest. Beyond it the oldest go out at once.
#define LATE_RESPONSE_BYTES_MAX (2 * SIGNAL_MESSAGE_MAX)

// Longest simulated speech in seconds; the number comes from the client. It ends then.
#define SIMULATE_SPEECH_MAX_S 60

// ---- server API -----------------------------------------------------------------------------

// livekit limits Twirp bodies to this. 413.
#define API_BODY_MAX ((size_t)10 << 20)

// Calls that wait for a worker. resource_exhausted.
#define API_CALLS_MAX 4096u

// SendData.nonce, if there is one (livekit-protocol 6.2). invalid_argument.
#define API_NONCE_BYTES 16u

// PerformRpc: calls of one room that wait at a time. Each costs a timer and some hundred bytes.
// resource_exhausted.
#define RPC_CALLS_MAX 1024u
// How long the response is waited for, unless the call says how long; longer ones end at the maximum:
// whoever waits at the other end of an HTTP request gave up long before. The original knows no limit.
// canceled, RpcError 1502.
#define RPC_RESPONSE_TIMEOUT_MS 10000u
#define RPC_RESPONSE_TIMEOUT_MAX_MS 600000u

// Agent dispatches of one room: it has a handful of agents. resource_exhausted.
#define AGENT_DISPATCHES_MAX 100u
// Encoded: the metadata and attributes that a participant may have, some times over. invalid_argument.
#define AGENT_DISPATCH_BYTES_MAX ((size_t)1 << 20)

// ---- webhooks -------------------------------------------------------------------------------

// Events of one queue (livekit/protocol webhook: maxDepth). The oldest is dropped, counted and logged.
#define WEBHOOK_QUEUE_MAX 200u
// Bodies of all queues together: 200 events of 64 large rooms. The new one is dropped, likewise.
#define WEBHOOK_MEMORY_MAX ((size_t)64 << 20)
