// SPDX-License-Identifier: Apache-2.0
// LINK: sys
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "common/sys/filewatch.h"

// Each test has a folder of its own and counts what it is told, with what the file held then.
struct bed {
    char folder[64];
    char path[128];
    struct loop *loop;
    struct filewatch *watch;
    struct loop_timer *timer;
    unsigned told;
    char seen[64];
    bool timed_out;
};

static const char *in(const struct bed *b, const char *name)
{
    static char text[4][160];
    static unsigned next;
    char *const t = text[next++ % ARRAY_LEN(text)];
    (void)snprintf(t, sizeof(text[0]), "%s/%s", b->folder, name);
    return t;
}

static void put(const char *path, const char *text)
{
    int const fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void on_change(void *user)
{
    struct bed *const b = user;
    b->told++;
    memset(b->seen, 0, sizeof(b->seen));
    int const fd = open(b->path, O_RDONLY);
    if (fd < 0) {
        (void)snprintf(b->seen, sizeof(b->seen), "-");
        return;
    }
    assert_true(read(fd, b->seen, sizeof(b->seen) - 1) >= 0);
    (void)close(fd);
}

static void on_time(void *user)
{
    ((struct bed *)user)->timed_out = true;
}

// Runs the loop until `ms` have gone by.
static void run(struct bed *b, int64_t ms)
{
    b->timed_out = false;
    loop_timer_set_ms(b->timer, ms);
    while (!b->timed_out) {
        loop_run_once(b->loop, 100); // bounded: a timer that is due before the wait does not end it
    }
}

// Runs until the file was seen with this content ("-": not there), then until nothing more comes.
static void expect(struct bed *b, const char *content)
{
    mono_t const end = mono_add_ms(clock_mono(), 10000);
    while (strcmp(b->seen, content) != 0 && !mono_reached(end, clock_mono())) {
        run(b, 5);
    }
    assert_string_equal(b->seen, content);
    run(b, FILEWATCH_SETTLE_MS * 3);
    assert_string_equal(b->seen, content);
}

static void start(struct bed *b, const char *name)
{
    (void)snprintf(b->path, sizeof(b->path), "%s", in(b, name));
    assert_int_equal(filewatch_new(b->loop, b->path, on_change, b, &b->watch), 0);
}

static int setup(void **state)
{
    struct bed *const b = NEW(struct bed);
    (void)snprintf(b->folder, sizeof(b->folder), "/tmp/foci-filewatch-XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    b->loop = loop_new();
    b->timer = loop_timer_new(b->loop, on_time, b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bed *const b = *state;
    char command[128];
    filewatch_free(b->watch);
    loop_timer_free(b->timer);
    loop_free(b->loop);
    (void)snprintf(command, sizeof(command), "rm -rf %s", b->folder);
    int const r = system(command);
    mem_free(b);
    return r;
}

static void a_write_in_place_is_told_once(void **state)
{
    struct bed *const b = *state;
    put(in(b, "f"), "1");
    start(b, "f");
    run(b, 100);
    assert_int_equal(b->told, 0);
    put(in(b, "f"), "2");
    expect(b, "2");
    assert_int_equal(b->told, 1);
}

static void a_write_in_two_halves_is_told_when_it_is_whole(void **state)
{
    struct bed *const b = *state;
    put(in(b, "f"), "1");
    start(b, "f");
    int const fd = open(b->path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "ha", 2), 2);
    run(b, 300);
    assert_int_equal(fchmod(fd, 0640), 0);
    run(b, 300);
    assert_int_equal(b->told, 0);
    assert_int_equal(write(fd, "lf", 2), 2);
    assert_int_equal(close(fd), 0);
    expect(b, "half");
    assert_int_equal(b->told, 1);
}

static void a_writer_that_never_closes_is_told_nevertheless(void **state)
{
    struct bed *const b = *state;
    put(in(b, "f"), "1");
    start(b, "f");
    int const fd = open(b->path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "2", 1), 1);
    mono_t const from = clock_mono();
    expect(b, "12");
    assert_true(mono_diff_ms(clock_mono(), from) >= FILEWATCH_OPEN_WRITER_MS);
    assert_int_equal(close(fd), 0);
}

static void a_file_that_never_rests_is_told_from_time_to_time(void **state)
{
    struct bed *const b = *state;
    put(in(b, "f"), "1");
    start(b, "f");
    int const fd = open(b->path, O_WRONLY | O_APPEND);
    mono_t const from = clock_mono();
    while (b->told == 0) {
        assert_int_equal(write(fd, "", 1), 1);
        run(b, 200);
        assert_true(mono_diff_ms(clock_mono(), from) < FILEWATCH_MAX_DELAY_MS + 3000);
    }
    assert_int_equal(close(fd), 0);
}

static void a_replacement_by_rename_is_told_each_time(void **state)
{
    struct bed *const b = *state;
    put(in(b, "f"), "1");
    start(b, "f");
    for (unsigned i = 2; i < 6; i++) {
        char text[2] = {(char)('0' + i), '\0'};
        put(in(b, "f.tmp"), text);
        assert_int_equal(rename(in(b, "f.tmp"), b->path), 0);
        expect(b, text);
        assert_int_equal(b->told, i - 1);
    }
    // The one that stands there now is the one that is watched.
    put(b->path, "new");
    expect(b, "new");
}

static void removing_and_making_again_are_told(void **state)
{
    struct bed *const b = *state;
    start(b, "f");
    put(b->path, "born");
    expect(b, "born");
    assert_int_equal(unlink(b->path), 0);
    expect(b, "-");
    int const fd = open(b->path, O_WRONLY | O_CREAT, 0600);
    run(b, 100);
    assert_int_equal(write(fd, "aga", 3), 3);
    run(b, 300);
    assert_string_equal(b->seen, "-");
    assert_int_equal(write(fd, "in", 2), 2);
    assert_int_equal(close(fd), 0);
    expect(b, "again");
    // A second name for a whole file is whole at once.
    assert_int_equal(unlink(b->path), 0);
    put(in(b, "other"), "linked");
    assert_int_equal(link(in(b, "other"), b->path), 0);
    expect(b, "linked");
    put(in(b, "other"), "by its other name");
    expect(b, "by its other name");
}

static void a_link_that_points_elsewhere_is_told(void **state)
{
    struct bed *const b = *state;
    assert_int_equal(mkdir(in(b, "a"), 0700), 0);
    assert_int_equal(mkdir(in(b, "b"), 0700), 0);
    put(in(b, "a/real"), "1");
    put(in(b, "b/real"), "2");
    assert_int_equal(symlink("a/real", in(b, "f")), 0);
    start(b, "f");
    put(in(b, "a/real"), "in place");
    expect(b, "in place");
    assert_int_equal(symlink(in(b, "b/real"), in(b, "f.tmp")), 0);
    assert_int_equal(rename(in(b, "f.tmp"), b->path), 0);
    expect(b, "2");
    put(in(b, "b/real.tmp"), "3");
    assert_int_equal(rename(in(b, "b/real.tmp"), in(b, "b/real")), 0);
    expect(b, "3");
    unsigned const told = b->told;
    put(in(b, "a/real"), "nobody looks here any more");
    run(b, 300);
    assert_int_equal(b->told, told);
}

// kubelet's atomic writer: the file is a link through ..data, which is swapped by a rename; then
// the old folder goes.
static void a_volume_of_kubernetes_is_told_when_it_is_swapped(void **state)
{
    struct bed *const b = *state;
    assert_int_equal(mkdir(in(b, "..2026_01"), 0700), 0);
    put(in(b, "..2026_01/keys"), "1");
    assert_int_equal(symlink("..2026_01", in(b, "..data")), 0);
    assert_int_equal(symlink("..data/keys", in(b, "keys")), 0);
    start(b, "keys");
    static const char *const generations[] = {"..2026_01", "..2026_02", "..2026_03", "..2026_04"};
    for (size_t i = 1; i < ARRAY_LEN(generations); i++) {
        char file[64];
        char text[2] = {(char)('1' + i), '\0'};
        assert_int_equal(mkdir(in(b, generations[i]), 0700), 0);
        (void)snprintf(file, sizeof(file), "%s/keys", generations[i]);
        put(in(b, file), text);
        assert_int_equal(symlink(generations[i], in(b, "..data_tmp")), 0);
        assert_int_equal(rename(in(b, "..data_tmp"), in(b, "..data")), 0);
        (void)snprintf(file, sizeof(file), "%s/keys", generations[i - 1]);
        assert_int_equal(unlink(in(b, file)), 0);
        assert_int_equal(rmdir(in(b, generations[i - 1])), 0);
        expect(b, text);
        assert_int_equal(b->told, i);
    }
}

static void folders_on_the_way_may_come_and_go(void **state)
{
    struct bed *const b = *state;
    start(b, "x/y/f");
    assert_int_equal(mkdir(in(b, "x"), 0700), 0);
    run(b, 50);
    assert_int_equal(mkdir(in(b, "x/y"), 0700), 0);
    put(b->path, "1");
    expect(b, "1");
    assert_int_equal(rename(in(b, "x"), in(b, "z")), 0);
    expect(b, "-");
    assert_int_equal(rename(in(b, "z"), in(b, "x")), 0);
    expect(b, "1");
    assert_int_equal(mkdir(in(b, "new"), 0700), 0);
    put(in(b, "new/f"), "2");
    assert_int_equal(rename(in(b, "x/y"), in(b, "x/old")), 0);
    assert_int_equal(rename(in(b, "new"), in(b, "x/y")), 0);
    expect(b, "2");
}

static void neighbours_and_reading_wake_nobody(void **state)
{
    struct bed *const b = *state;
    put(in(b, "f"), "1");
    start(b, "./f");
    put(in(b, "g"), "1");
    put(in(b, "ff"), "1");
    assert_int_equal(unlink(in(b, "g")), 0);
    char text[8];
    int const fd = open(b->path, O_RDONLY);
    assert_int_equal(read(fd, text, sizeof(text)), 1);
    assert_int_equal(close(fd), 0);
    run(b, 300);
    assert_int_equal(b->told, 0);
    assert_int_equal(chmod(b->path, 0400), 0);
    expect(b, "1");
    assert_int_equal(b->told, 1);
}

static void loops_of_links_and_long_paths_do_no_harm(void **state)
{
    struct bed *const b = *state;
    assert_int_equal(symlink("f", in(b, "f")), 0);
    start(b, "f");
    assert_int_equal(unlink(b->path), 0);
    put(b->path, "1");
    expect(b, "1");
    struct filewatch *w = NULL;
    char path[8192];
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(filewatch_new(b->loop, path, on_change, b, &w), -ENAMETOOLONG);
    path[300] = '\0'; // a name that no file can have
    assert_int_equal(filewatch_new(b->loop, path, on_change, b, &w), 0);
    filewatch_free(w);
    assert_int_equal(filewatch_new(b->loop, "", on_change, b, &w), 0);
    filewatch_free(w);
    assert_int_equal(filewatch_new(b->loop, "../relative", on_change, b, &w), 0);
    filewatch_free(w);
}

static void free_inside(void *user)
{
    struct bed *const b = user;
    b->told++;
    filewatch_free(b->watch);
    b->watch = NULL;
}

static void a_watch_may_end_in_its_own_call(void **state)
{
    struct bed *const b = *state;
    put(in(b, "f"), "1");
    (void)snprintf(b->path, sizeof(b->path), "%s", in(b, "f"));
    assert_int_equal(filewatch_new(b->loop, b->path, free_inside, b, &b->watch), 0);
    put(b->path, "2");
    while (b->told == 0) {
        run(b, 10);
    }
    put(b->path, "3");
    run(b, 200);
    assert_int_equal(b->told, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_write_in_place_is_told_once),
        TEST(a_write_in_two_halves_is_told_when_it_is_whole),
        TEST(a_writer_that_never_closes_is_told_nevertheless),
        TEST(a_file_that_never_rests_is_told_from_time_to_time),
        TEST(a_replacement_by_rename_is_told_each_time),
        TEST(removing_and_making_again_are_told),
        TEST(a_link_that_points_elsewhere_is_told),
        TEST(a_volume_of_kubernetes_is_told_when_it_is_swapped),
        TEST(folders_on_the_way_may_come_and_go),
        TEST(neighbours_and_reading_wake_nobody),
        TEST(loops_of_links_and_long_paths_do_no_harm),
        TEST(a_watch_may_end_in_its_own_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
