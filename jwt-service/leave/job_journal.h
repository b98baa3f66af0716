// SPDX-License-Identifier: Apache-2.0
#pragma once
// The journal backend of job_store: keeps where each job's frame stands, and has a thread that
// waits for the disk.
//
// Group commit: while one write is on its way to the disk, all changes gather and go with the next
// one, so that the number of fsyncs does not grow with the number of jobs. The file is rewritten
// when more than half of it is out of date and it is worth it (JOB_JOURNAL_COMPACT_MIN), and after
// damage.

#include "jwt-service/leave/job_store_internal.h"

// Below this a file is read in no time, however little of it is current.
#define JOB_JOURNAL_COMPACT_MIN (1u << 20)

// After a failed write the next attempt is made after this, doubled up to the maximum. (A full disk
// is not emptied in seconds, but the first cause may be a passing one.)
#define JOB_JOURNAL_RETRY_MIN_MS 1000
#define JOB_JOURNAL_RETRY_MAX_MS 30000
