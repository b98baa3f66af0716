// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps what is in this process' memory from other processes and from disks. Main thread, before
// others start.

#include "common/base/macros.h"

// No core dumps (RLIMIT_CORE 0, PR_SET_DUMPABLE 0, which also holds for programs that core_pattern
// pipes to) and no /proc/PID/{environ,mem} or ptrace for other processes of the same user. For
// debugging and in sanitizer builds, whose leak check traces the process, it must not be called:
// there it does nothing.
void privacy_no_dumps(void);
