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
