// SPDX-License-Identifier: Apache-2.0
// LINK: app
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/app/key_watch.h"
#include "common/base/utc.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"

#define SECRET1 "Zt4pQ8sLw2Xn6Vb1Mc9Rk3Hf7Jd5Gy0TaUeIoPqS"
#define SECRET2 "aZt4pQ8sLw2Xn6Vb1Mc9Rk3Hf7Jd5Gy0TaUeIoPq"

static char folder[64];
static char path[128];
static char said[16384]; // the log
static struct loop *loop;
static struct api_keys *keys;
static struct key_watch *watch;
static struct loop_timer *timer;
static bool timed_out;
static unsigned read_ok;
static unsigned read_failed;
static unsigned signers;

static void on_line(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    (void)level;
    size_t const n = strlen(said);
    (void)snprintf(said + n, sizeof(said) - n, "%.*s\n", (int)line.n, (const char *)line.p);
}

static void on_read(void *user, bool ok)
{
    (void)user;
    read_ok += ok;
    read_failed += !ok;
}

static void on_signer(void *user)
{
    (void)user;
    signers++;
}

static void on_time(void *user)
{
    (void)user;
    timed_out = true;
}

static void run(int64_t ms)
{
    timed_out = false;
    loop_timer_set_ms(timer, ms);
    while (!timed_out) {
        loop_run_once(loop, 100); // bounded: a timer that is due before the wait does not end it
    }
}

// Runs until the log has it.
static void wait_for(const char *text)
{
    mono_t const end = mono_add_ms(clock_mono(), 10000);
    while (!strstr(said, text) && !mono_reached(end, clock_mono())) {
        run(5);
    }
    if (!strstr(said, text)) {
        fail_msg("no %s in %s", text, said);
    }
}

static void put(const char *text)
{
    char tmp[160];
    (void)snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    int const fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    assert_int_equal(rename(tmp, path), 0);
}

static void start(const char *text)
{
    struct key_source const source = {.file = path};
    struct key_source_result r;
    struct key_source_error e;
    put(text);
    assert_int_equal(key_source_read(&source, clock_wall(), &r, &e), 0);
    keys = r.keys;
    watch = key_watch_new(&(struct key_watch_conf){
        .loop = loop, .source = source, .keys = keys, .on_read = on_read, .on_signer = on_signer});
    assert_non_null(watch);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/foci-keywatch-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/keys", folder);
    said[0] = '\0';
    read_ok = read_failed = signers = 0;
    loop = loop_new();
    timer = loop_timer_new(loop, on_time, NULL);
    log_set_sink(on_line, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    key_watch_free(watch);
    watch = NULL;
    api_keys_free(keys);
    keys = NULL;
    loop_timer_free(timer);
    loop_free(loop);
    log_set_sink(NULL, NULL);
    (void)unlink(path);
    // Whatever happened: a secret is in no line.
    assert_null(strstr(said, SECRET1));
    assert_null(strstr(said, SECRET2));
    return rmdir(folder);
}

static const char *signer(void)
{
    return api_keys_signer(keys, clock_wall())->key;
}

static void a_new_key_verifies_at_once_and_signs_after_the_grace(void **state)
{
    (void)state;
    start("old: " SECRET1 "\n");
    assert_string_equal(said, "");
    put("new: " SECRET2 "\nold: " SECRET1 "\n");
    mono_t const from = clock_mono();
    wait_for("keys.loaded");
    assert_true(mono_diff_ms(clock_mono(), from) < 1000);
    assert_non_null(api_keys_find(keys, bytes_str("new"), clock_wall()));
    assert_string_equal(signer(), "old");
    wait_for("keys.signing");
    assert_string_equal(signer(), "new");
    assert_true(mono_diff_ms(clock_mono(), from) >= KEY_WATCH_GRACE_MS);
    assert_int_equal(read_ok, 1);
    assert_int_equal(signers, 1);
}

static void a_wrong_file_leaves_the_keys_as_they_are(void **state)
{
    (void)state;
    start("old: " SECRET1 "\n");
    put("new: " SECRET2 "\nthis is no key\n");
    wait_for("keys.refused");
    assert_non_null(strstr(said, path));
    assert_non_null(strstr(said, "\"line\":2"));
    assert_int_equal(api_keys_count(keys), 1);
    assert_string_equal(signer(), "old");
    assert_int_equal(read_failed, 1);
    said[0] = '\0';
    assert_int_equal(unlink(path), 0);
    wait_for("cannot read");
    assert_string_equal(signer(), "old");
    assert_false(key_watch_reload(watch));
    put("new: " SECRET2 "\n");
    wait_for("keys.loaded");
    assert_string_equal(signer(), "new"); // nothing else could
    assert_true(key_watch_reload(watch));
}

static void the_same_content_is_no_news(void **state)
{
    (void)state;
    start("old: " SECRET1 "\n");
    put("# comment\nold: " SECRET1 "\n");
    run(300);
    assert_int_equal(read_ok, 1);
    assert_string_equal(said, "");
}

static void a_key_retires_without_the_file_being_touched(void **state)
{
    (void)state;
    char text[256];
    char when[UTC_STRLEN];
    wall_t const soon = {clock_wall().us + 2 * US_PER_S};
    (void)snprintf(text, sizeof(text), "new: %s\nold: %s # retires %s\n", SECRET2, SECRET1,
                   utc_format(soon, when));
    start(text);
    assert_non_null(api_keys_find(keys, bytes_str("old"), clock_wall()));
    wait_for("keys.retired");
    assert_non_null(strstr(said, "\"old\""));
    assert_null(api_keys_find(keys, bytes_str("old"), clock_wall()));
    (void)snprintf(text, sizeof(text), "new: %s # retires %s\n", SECRET2,
                   utc_format((wall_t){clock_wall().us + 2 * US_PER_S}, when));
    put(text);
    wait_for("no_lasting_key");
    wait_for("every token is refused");
    assert_null(api_keys_signer(keys, clock_wall()));
}

static void a_change_between_start_and_watch_is_seen(void **state)
{
    (void)state;
    put("new: " SECRET2 "\nold: " SECRET1 "\n");
    keys = api_keys_new();
    assert_int_equal(api_keys_add(keys, bytes_str("old"), bytes_str(SECRET1)), 0);
    watch = key_watch_new(&(struct key_watch_conf){
        .loop = loop, .source = {.file = path}, .keys = keys, .on_read = on_read});
    assert_int_equal(api_keys_count(keys), 2);
    assert_int_equal(read_ok, 0);
}

static void what_can_be_read_once_is_read_once(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    keys = api_keys_new();
    assert_int_equal(api_keys_add(keys, bytes_str("old"), bytes_str(SECRET1)), 0);
    watch = key_watch_new(
        &(struct key_watch_conf){.loop = loop, .source = {.file = path}, .keys = keys});
    assert_true(key_watch_reload(watch)); // does not wait for somebody to write
    assert_string_equal(signer(), "old");
    assert_string_equal(said, "");
}

static void the_files_of_a_pair_are_watched_as_well(void **state)
{
    (void)state;
    put(SECRET1 "\n");
    keys = api_keys_new();
    assert_int_equal(api_keys_add(keys, bytes_str("k"), bytes_str(SECRET1)), 0);
    watch = key_watch_new(&(struct key_watch_conf){
        .loop = loop, .source = {.key = "k", .secret_file = path}, .keys = keys});
    assert_string_equal(said, "");
    put(SECRET2 "\n");
    wait_for("keys.loaded");
    assert_string_equal(api_keys_first(keys)->secret, SECRET2);
    put("");
    wait_for("the secret is empty");
    assert_non_null(strstr(said, path));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_new_key_verifies_at_once_and_signs_after_the_grace),
        TEST(a_wrong_file_leaves_the_keys_as_they_are),
        TEST(the_same_content_is_no_news),
        TEST(a_key_retires_without_the_file_being_touched),
        TEST(a_change_between_start_and_watch_is_seen),
        TEST(what_can_be_read_once_is_read_once),
        TEST(the_files_of_a_pair_are_watched_as_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
