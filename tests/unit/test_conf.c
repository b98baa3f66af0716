// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// COVERS: conf conf_file conf_value conf_names

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/svc/conf.h"
#include "common/svc/conf_internal.h"

enum { PORT, NAME, SECRET, TIMEOUT, VERBOSE, HOSTS, BIND, MODE, OLD, NEEDED, ITEMS };

static const char *const modes[] = {"fast", "slow", NULL};

static const struct conf_item items[ITEMS] = {
    [PORT] = {.name = "net.port",
              .type = CONF_INT,
              .env = {"X_PORT"},
              .flag = {"port"},
              .def = "80",
              .min = 1,
              .max = 65535,
              .help = "Port."},
    [NAME] = {.name = "name",
              .type = CONF_STRING,
              .env = {"X_NAME"},
              .flag = {"name"},
              .alias = {"label"},
              .help = "Name."},
    [SECRET] = {.name = "secret",
                .type = CONF_SECRET,
                .flags = CONF_FROM_FILE,
                .env = {"X_SECRET"},
                .flag = {"secret"},
                .help = "Secret."},
    [TIMEOUT] = {.name = "timeout",
                 .type = CONF_DURATION,
                 .flag = {"timeout"},
                 .def = "10s",
                 .help = "Timeout."},
    [VERBOSE] = {.name = "verbose",
                 .type = CONF_BOOL,
                 .flag = {"verbose"},
                 .def = "false",
                 .help = "Verbose."},
    [HOSTS] = {.name = "hosts",
               .type = CONF_LIST,
               .env = {"X_HOSTS"},
               .flag = {"hosts"},
               .help = "Hosts."},
    [BIND] =
        {.name = "bind", .type = CONF_BIND, .flag = {"bind"}, .conflicts = "old", .help = "Bind."},
    [MODE] =
        {.name = "mode", .type = CONF_STRING, .flag = {"mode"}, .choices = modes, .help = "Mode."},
    [OLD] = {.name = "old",
             .type = CONF_INT,
             .flags = CONF_DEPRECATED,
             .flag = {"old"},
             .instead = "bind",
             .help = "Old."},
    [NEEDED] = {.name = "needed",
                .type = CONF_STRING,
                .flags = CONF_REQUIRED,
                .env = {"X_NEEDED"},
                .flag = {"needed"},
                .help = "Needed."},
};

static const char *const prefixes[] = {"X_", NULL};
static const char *const foreign[] = {"X_OTHER", "X_THEIR_*", NULL};
static const struct conf_spec spec = {
    .program = "prog",
    .version = "1",
    .summary = "Test.",
    .items = items,
    .count = ITEMS,
    .config_env = "X_CONFIG",
    .env_prefixes = prefixes,
    .env_foreign = foreign,
    .positional_max = 1,
};

static char err[CONF_ERROR_MAX];

#define ARGS(...) ((const char *const[]){"prog", __VA_ARGS__, NULL})
#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})

static int load(const char *const *argv, const char *const *envp, struct conf **ret)
{
    int argc = 0;
    while (argv[argc] != NULL) {
        argc++;
    }
    err[0] = '\0';
    return conf_load(&spec, argc, argv, envp, ret, err);
}

static char *temp_file(const char *text)
{
    char *const path = strdup("/tmp/test_conf_XXXXXX");
    int const fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    return path;
}

static void drop_file(char *path)
{
    (void)unlink(path);
    free(path);
}

static void a_stronger_source_wins_and_says_where_it_is_from(void **state)
{
    (void)state;
    char *const path =
        temp_file("name = \"file\";\nnet = { port = 81; };\nneeded = \"f\";\ntimeout = \"5m\";\n");
    char config[64];
    (void)snprintf(config, sizeof(config), "X_CONFIG=%s", path);
    struct conf *c = NULL;
    assert_int_equal(
        load(ARGS("--port", "83"), ENV(config, "X_PORT=82", "X_NAME=env", "X_HOSTS="), &c), 0);
    assert_int_equal(conf_int(c, PORT), 83);
    assert_string_equal(conf_origin(c, PORT), "flag --port");
    assert_string_equal(conf_str(c, NAME), "env");
    assert_string_equal(conf_origin(c, NAME), "environment X_NAME");
    assert_int_equal(conf_ms(c, TIMEOUT), 300000);
    char origin[128];
    (void)snprintf(origin, sizeof(origin), "file %s:4", path);
    assert_string_equal(conf_origin(c, TIMEOUT), origin);
    assert_string_equal(conf_origin(c, VERBOSE), "default");
    assert_string_equal(conf_origin(c, HOSTS), "unset");
    assert_false(conf_has(c, HOSTS));
    assert_false(conf_is_set(c, VERBOSE));
    conf_free(c);
    drop_file(path);
}

static void every_type_is_read(void **state)
{
    (void)state;
    struct conf *c = NULL;
    struct addr a[CONF_BIND_MAX];
    assert_int_equal(
        load(ARGS("--needed=x", "--verbose", "--hosts", "a, b  c", "--bind=[::1]:8080", "pos"),
             ENV(NULL), &c),
        0);
    assert_true(conf_bool(c, VERBOSE));
    assert_int_equal(conf_list_len(c, HOSTS), 3);
    assert_string_equal(conf_list_at(c, HOSTS, 2), "c");
    assert_int_equal(conf_bind(c, BIND, a), 1);
    assert_int_equal(a[0].port, 8080);
    assert_int_equal(a[0].family, ADDR_V6);
    assert_int_equal(conf_positionals(c), 1);
    assert_string_equal(conf_positional(c, 0), "pos");
    conf_free(c);
    c = NULL;
    assert_int_equal(load(ARGS("--needed=x", "--verbose", "no", "--bind", ":9"), ENV(NULL), &c), 0);
    assert_false(conf_bool(c, VERBOSE));
    assert_int_equal(conf_bind(c, BIND, a), 2);
    conf_free(c);
}

static void bad_settings_name_themselves_their_origin_and_the_way_out(void **state)
{
    (void)state;
    const struct {
        const char *const *argv;
        const char *says[3];
    } t[] = {
        {ARGS("--port", "70000", "--needed=x"),
         {"net.port (flag --port)", "\"70000\"", "1 to 65535"}},
        {ARGS("--port", "8o"), {"net.port (flag --port)", "\"8o\"", "whole number"}},
        {ARGS("--prot", "80"), {"--prot is no flag of prog", "--port?", "--help"}},
        {ARGS("--name"), {"--name needs a value", "Name.", ""}},
        {ARGS("--mode", "medium"), {"mode (flag --mode)", "fast", "slow"}},
        {ARGS("--timeout", "10 parsecs"), {"timeout (flag --timeout)", "no time", "10s"}},
        {ARGS("--bind", "::1:80"), {"bind (flag --bind)", "no address", "[IPV6]:PORT"}},
        {ARGS("--needed=x", "--bind", "1", "--old", "2"),
         {"bind (flag --bind)", "old (flag --old)", "keep one"}},
        {ARGS("--port=1", "--port=2"), {"net.port is given twice", "flag --port", "keep one"}},
        {ARGS("--secret-from-file", "/nonexistent"),
         {"secret (flag --secret-from-file)", "/nonexistent", "No such file"}},
        {ARGS("one", "two"), {"\"two\"", "not understood", "--help"}},
        {ARGS("--config", "/nonexistent"), {"/nonexistent", "No such file", ""}},
        {ARGS("--name", "x"), {"needed is not set", "X_NEEDED", "--needed"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct conf *c = NULL;
        assert_int_equal(load(t[i].argv, ENV(NULL), &c), -EINVAL);
        for (size_t k = 0; k < 3; k++) {
            if (strstr(err, t[i].says[k]) == NULL) {
                fail_msg("\"%s\" does not say \"%s\"", err, t[i].says[k]);
            }
        }
        assert_null(strchr(err, '\n'));
    }
}

// A FIFO with nobody at its other end must not stop a service that reads its settings again.
static void what_is_no_file_is_read_without_waiting_for_ever(void **state)
{
    (void)state;
    char *text = NULL;
    char *const path = temp_file("");
    size_t n = 0;
    conf_set_patience(100);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(conf_read_file(path, 100, &text, &n), -ETIMEDOUT);

    int ends[2];
    char name[32];
    assert_int_equal(pipe(ends), 0);
    (void)snprintf(name, sizeof(name), "/dev/fd/%d", ends[0]);
    assert_int_equal(write(ends[1], "key: value\n", 11), 11);
    assert_int_equal(conf_read_file(name, 100, &text, &n), -ETIMEDOUT);
    assert_int_equal(write(ends[1], "key: value\n", 11), 11);
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(conf_read_file(name, 100, &text, &n), 0);
    assert_string_equal(text, "key: value");
    mem_free(text);
    assert_int_equal(close(ends[0]), 0);
    conf_set_patience(0);
    assert_int_equal(conf_read_file("/dev/zero", 100, &text, &n), -EFBIG);
    drop_file(path);
}

static void files_are_checked_line_by_line(void **state)
{
    (void)state;
    assert_int_equal(conf_check_text(&spec, "name = \"x\";\n\nnmae = \"y\";", err), -EINVAL);
    assert_non_null(strstr(err, ":3"));
    assert_non_null(strstr(err, "did you mean name?"));
    assert_int_equal(conf_check_text(&spec, "name = ;", err), -EINVAL);
    assert_non_null(strstr(err, "line 1"));
    assert_int_equal(
        conf_check_text(&spec, "hosts = [\"a\", \"b\"]; label = \"x\"; net: { port = 5 };", err),
        0);
    assert_int_equal(conf_check_text(&spec, "net: { port = 0 };", err), -EINVAL);
    assert_int_equal(
        conf_check_text(&spec, "a:{a:{a:{a:{a:{a:{a:{a:{a:{a:{a=1;};};};};};};};};};};", err),
        -E2BIG);
}

static void secrets_come_from_files_and_are_never_printed(void **state)
{
    (void)state;
    char *const path = temp_file("  s3cret \n");
    char env[64];
    (void)snprintf(env, sizeof(env), "X_SECRET_FROM_FILE=%s", path);
    struct conf *c = NULL;
    assert_int_equal(load(ARGS("--needed=x"), ENV(env), &c), 0);
    assert_string_equal(conf_str(c, SECRET), "s3cret");
    assert_non_null(strstr(conf_origin(c, SECRET), "read from"));
    struct dynbuf out;
    dynbuf_init(&out, 1u << 16);
    conf_dump(c, &out);
    assert_null(strstr(dynbuf_cstr(&out), "s3cret"));
    assert_non_null(
        strstr(dynbuf_cstr(&out), "secret = ***  (environment X_SECRET_FROM_FILE, read from"));
    dynbuf_done(&out);
    conf_free(c);
    drop_file(path);
}

static void near_misses_in_the_environment_are_told(void **state)
{
    (void)state;
    struct conf *c = NULL;
    assert_int_equal(
        load(ARGS("--needed=x", "--old", "1"),
             ENV("X_API_SECRET=1", "X_OTHER=1", "X_THEIR_PORT=1", "Y_PORT=1", "X_QQQQQQ=1"), &c),
        0);
    assert_int_equal(conf_warnings(c), 3);
    assert_non_null(strstr(conf_warning(c, 0), "X_API_SECRET"));
    assert_non_null(strstr(conf_warning(c, 0), "did you mean X_SECRET?"));
    assert_non_null(strstr(conf_warning(c, 1), "ignored"));
    assert_non_null(strstr(conf_warning(c, 2), "deprecated; use bind"));
    conf_free(c);
}

static void help_works_beside_any_mistake(void **state)
{
    (void)state;
    struct conf *c = NULL;
    assert_int_equal(load(ARGS("--nonsense", "--help"), ENV("X_PORT=bad"), &c), 0);
    assert_int_equal(conf_action(c), CONF_SHOW_HELP);
    conf_free(c);
    struct dynbuf out;
    dynbuf_init(&out, 1u << 16);
    conf_help(&spec, &out);
    for (size_t i = 0; i < ITEMS; i++) {
        assert_non_null(strstr(dynbuf_cstr(&out), items[i].name));
    }
    dynbuf_done(&out);
}

static void durations_and_binds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; // -1: refused
    } d[] = {{"1", 1000},
             {"250ms", 250},
             {"5m", 300000},
             {"2h", 7200000},
             {"1d", 86400000},
             {"", -1},
             {"-1s", -1},
             {"5x", -1},
             {"1.5s", -1},
             {"99999999999999999999", -1},
             {"9223372036854775807h", -1}};
    for (size_t i = 0; i < ARRAY_LEN(d); i++) {
        int64_t ms = -1;
        assert_int_equal(conf_parse_duration_ms(d[i].text, &ms), d[i].ms < 0 ? -EINVAL : 0);
        assert_true(d[i].ms < 0 || ms == d[i].ms);
    }
    static const char *const bad[] = {"",        ":",         "x",          "1:2:3",
                                      "[::1]",   "[::1]8080", "127.0.0.1:", "127.0.0.1:65536",
                                      "host:-1", "[::1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct addr a[CONF_BIND_MAX];
        size_t n = 0;
        assert_int_equal(conf_parse_bind(bad[i], a, &n), -EINVAL);
    }
    struct addr a[CONF_BIND_MAX];
    size_t n = 0;
    assert_int_equal(conf_parse_bind("127.0.0.1:http", a, &n), 0);
    assert_int_equal(a[0].port, 80);
    static const char *const everywhere[] = {"8080", ":8080", "*:8080", "[::]:8080"};
    for (size_t i = 0; i < ARRAY_LEN(everywhere); i++) {
        assert_int_equal(conf_parse_bind(everywhere[i], a, &n), 0);
        assert_int_equal(n, 2);
        assert_true(a[0].family == ADDR_V4 && a[1].family == ADDR_V6);
        assert_true(addr_is_unspecified(&a[0]) && addr_is_unspecified(&a[1]));
        assert_true(a[0].port == 8080 && a[1].port == 8080);
    }
    assert_int_equal(conf_parse_bind("0.0.0.0:8080", a, &n), 0);
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stronger_source_wins_and_says_where_it_is_from),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(bad_settings_name_themselves_their_origin_and_the_way_out),
        cmocka_unit_test(what_is_no_file_is_read_without_waiting_for_ever),
        cmocka_unit_test(files_are_checked_line_by_line),
        cmocka_unit_test(secrets_come_from_files_and_are_never_printed),
        cmocka_unit_test(near_misses_in_the_environment_are_told),
        cmocka_unit_test(help_works_beside_any_mistake),
        cmocka_unit_test(durations_and_binds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
