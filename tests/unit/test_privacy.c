// SPDX-License-Identifier: Apache-2.0
// LINK: sys
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sys/privacy.h"

#if defined(__SANITIZE_ADDRESS__)
#define EXPECTED_DUMPABLE 1
#else
#define EXPECTED_DUMPABLE 0
#endif

// In a child: the effect lasts for the life of a process.
static void memory_stays_in_the_process(void **state)
{
    (void)state;
    pid_t const child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit l = {1, 1};
        privacy_no_dumps();
        bool const limited = getrlimit(RLIMIT_CORE, &l) == 0 && l.rlim_cur == 0 && l.rlim_max == 0;
        bool const hidden = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == EXPECTED_DUMPABLE;
        _exit(hidden && (limited || EXPECTED_DUMPABLE) ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_stays_in_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
