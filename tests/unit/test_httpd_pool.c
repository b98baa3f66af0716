// SPDX-License-Identifier: Apache-2.0
// LINK: svc

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/svc/httpd_pool.h"

static void only_pages_of_zeros_go_and_nothing_reads_differently(void **state)
{
    (void)state;
    size_t const page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *const p =
        mmap(NULL, 8 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    memset(p, 0, 8 * page); // resident zeros, as the library leaves them
    p[0] = 1;
    p[3 * page + page - 1] = 2;
    assert_int_equal(httpd_pool_trim(p, 8 * page), 6 * page);
    assert_int_equal(httpd_pool_trim(p, 8 * page), 0);
    assert_int_equal(p[0], 1);
    assert_int_equal(p[3 * page + page - 1], 2);
    for (size_t i = 1; i < 8 * page; i++) {
        assert_true(p[i] == 0 || i == 3 * page + page - 1);
    }
    (void)munmap(p, 8 * page);
}

static void what_is_no_pool_is_left_alone(void **state)
{
    (void)state;
    size_t const page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *const p =
        mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    memset(p, 0, 4 * page);
    assert_int_equal(httpd_pool_trim(p + 16, 2 * page), 0);
    (void)munmap(p + 2 * page, 2 * page);
    assert_int_equal(httpd_pool_trim(p, 4 * page), 0);
    assert_int_equal(httpd_pool_trim(p, page - 1), 0);
    (void)munmap(p, 2 * page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_pages_of_zeros_go_and_nothing_reads_differently),
        cmocka_unit_test(what_is_no_pool_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
