// SPDX-License-Identifier: Apache-2.0
#pragma once
// What client_pc.c and client_pc_rtcp.c share.

#include "tests/support/client_pc.h"

// A decrypted RTCP compound of the server.
void client_pc_rtcp_input_(struct client_pc *p, struct bytes compound);

// Timers: reports, and feedback that is due.
void client_pc_send_reports_(void *user);
void client_pc_send_feedback_(void *user);

// The feedback timer follows what streams and recorder want.
void client_pc_schedule_feedback_(struct client_pc *p);
