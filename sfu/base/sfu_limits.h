// SPDX-License-Identifier: Apache-2.0
#pragma once
// Limits of foci-sfu that no protocol names, each with its reason.

// Objects of one worker. They bound memory (a connection costs up to 100 KB), not calls: a core is
// busy long before.
#define WORKER_TRANSPORTS_MAX 65536u
#define WORKER_SUBSCRIPTIONS_MAX 1048576u
#define WORKER_TRACKS_MAX 65536u

// Media workers of one process: more cores than this in one machine run more processes.
#define WORKERS_MAX 64u

// Requests of one signalling connection (request_gate.h). Who is faster is not read until he may go on;
// nothing is lost. Real clients stay far below: the busiest known moments are a change of layout among
// 300 tracks (two track settings each), the queue of requests that a client sends after a resume, and
// a publisher of hundreds of tracks.
#define SIGNAL_REQUESTS_PER_S 500
#define SIGNAL_REQUESTS_BURST 2000
// Offers of hundreds of sections have some hundred KB.
#define SIGNAL_REQUEST_BYTES_PER_S (1u << 20)
#define SIGNAL_REQUEST_BYTES_BURST (8u << 20)
// Under way to the worker and not yet handled: a worker handles thousands in a turn. The bytes let one
// message of the largest size go (livekit-protocol 1.7).
#define SIGNAL_REQUESTS_UNDER_WAY 256u
#define SIGNAL_REQUEST_BYTES_UNDER_WAY (2u << 20)
