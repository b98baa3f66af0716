// SPDX-License-Identifier: Apache-2.0
// LINK: ctl
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sys/clock.h"
#include "deploy/focictl/atomic_file.h"

static char folder[64];

static const char *in(const char *name)
{
    static char text[4][128];
    static unsigned next;
    char *const t = text[next++ % ARRAY_LEN(text)];
    (void)snprintf(t, sizeof(text[0]), "%s/%s", folder, name);
    return t;
}

static void put(const char *path, const char *text, mode_t mode)
{
    int const fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void assert_file(const char *path, const char *text, mode_t mode)
{
    char got[64] = "";
    struct stat st;
    int const fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, got, sizeof(got) - 1) >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(close(fd), 0);
    assert_string_equal(got, text);
    assert_int_equal(st.st_mode & 07777u, mode);
}

static unsigned names_in_folder(void)
{
    unsigned n = 0;
    DIR *const d = opendir(folder);
    while (readdir(d) != NULL) {
        n++;
    }
    assert_int_equal(closedir(d), 0);
    return n - 2; // . and ..
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/foci-atomic-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static int replace(const char *path, const char *text)
{
    CLEANUP(atomic_file_close) struct atomic_file *f = NULL;
    int const rc = atomic_file_open(path, &f);
    return rc < 0 ? rc : atomic_file_replace(f, bytes_str(text));
}

static void a_new_file_is_for_its_owner_alone(void **state)
{
    (void)state;
    mode_t const before = umask(0);
    assert_int_equal(replace(in("f"), "1"), 0);
    (void)umask(before);
    assert_file(in("f"), "1", 0600);
    assert_int_equal(names_in_folder(), 1);
}

static void permissions_and_owner_are_kept(void **state)
{
    (void)state;
    put(in("f"), "1", 0640);
    bool const root = geteuid() == 0;
    assert_true(!root || chown(in("f"), 12, 34) == 0);
    assert_int_equal(replace(in("f"), "2"), 0);
    assert_file(in("f"), "2", 0640);
    struct stat st;
    assert_int_equal(stat(in("f"), &st), 0);
    assert_true(!root || (st.st_uid == 12 && st.st_gid == 34));
}

static void a_reader_has_the_old_file_or_the_new_one(void **state)
{
    (void)state;
    put(in("f"), "old", 0600);
    int const fd = open(in("f"), O_RDONLY);
    char got[8] = "";
    assert_int_equal(replace(in("f"), "new"), 0);
    assert_int_equal(read(fd, got, sizeof(got)), 3);
    assert_string_equal(got, "old");
    assert_int_equal(close(fd), 0);
    assert_file(in("f"), "new", 0600);
}

static void a_link_stays_one(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in("real"), 0700), 0);
    put(in("real/f"), "1", 0600);
    assert_int_equal(symlink("real/f", in("link")), 0);
    CLEANUP(atomic_file_close) struct atomic_file *f = NULL;
    assert_int_equal(atomic_file_open(in("link"), &f), 0);
    assert_string_equal(atomic_file_path(f), in("real/f"));
    assert_int_equal(atomic_file_replace(f, bytes_str("2")), 0);
    struct stat st;
    assert_int_equal(lstat(in("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_file(in("real/f"), "2", 0600);
}

static void only_one_at_a_time_changes_it(void **state)
{
    (void)state;
    put(in("f"), "1", 0600);
    int const other = open(folder, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(other, LOCK_EX), 0);
    struct atomic_file *f = NULL;
    mono_t const from = clock_mono();
    assert_int_equal(atomic_file_open(in("f"), &f), -EBUSY);
    assert_true(mono_diff_ms(clock_mono(), from) >= ATOMIC_FILE_LOCK_MS);
    assert_int_equal(close(other), 0);
    assert_int_equal(replace(in("f"), "2"), 0);
    assert_int_equal(replace(in("f"), "3"), 0);
}

static void what_cannot_be_replaced_is_left_as_it_is(void **state)
{
    (void)state;
    struct atomic_file *f = NULL;
    assert_int_equal(atomic_file_open(in("no/such/f"), &f), -ENOENT);
    assert_int_equal(atomic_file_open(in("no/"), &f), -EISDIR);
    put(in("f"), "1", 0600);
    assert_int_equal(atomic_file_open(in("f/g"), &f), -ENOTDIR);
    assert_int_equal(mkdir(in("d"), 0700), 0);
    assert_int_equal(replace(in("d"), "2"), -EINVAL);
    assert_int_equal(names_in_folder(), 2);
    char path[8192];
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(atomic_file_open(path, &f), -ENAMETOOLONG);
}

static void relative_paths_are_fine(void **state)
{
    (void)state;
    char back[512];
    assert_non_null(getcwd(back, sizeof(back)));
    assert_int_equal(chdir(folder), 0);
    int const rc = replace("f", "1");
    assert_int_equal(chdir(back), 0);
    assert_int_equal(rc, 0);
    assert_file(in("f"), "1", 0600);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_new_file_is_for_its_owner_alone),
        TEST(permissions_and_owner_are_kept),
        TEST(a_reader_has_the_old_file_or_the_new_one),
        TEST(a_link_stays_one),
        TEST(only_one_at_a_time_changes_it),
        TEST(what_cannot_be_replaced_is_left_as_it_is),
        TEST(relative_paths_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
