// SPDX-License-Identifier: Apache-2.0
#include "common/sys/privacy.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif

// LeakSanitizer attaches to the process with ptrace, which is one of the things this forbids.
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#define LEAK_CHECK 1
#else
#define LEAK_CHECK 0
#endif

void privacy_no_dumps(void)
{
    if (LEAK_CHECK) {
        return;
    }
    // Neither can fail with these arguments: a limit may always be lowered.
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
