// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// Secrets among the settings: where they may come from, and that they do not stay where others see
// them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/svc/conf.h"

enum { KEY, SECRET, KEY_FILE, URL, PLAIN, ITEMS };

static const struct conf_item items[ITEMS] = {
    [KEY] = {.name = "key", .flags = CONF_CREDENTIAL, .env = {"X_KEY"}, .help = "Key."},
    [SECRET] = {.name = "group.secret",
                .type = CONF_SECRET,
                .flags = CONF_FROM_FILE,
                .env = {"X_SECRET", "Y_SECRET"},
                .flag = {"secret"},
                .help = "Secret."},
    [KEY_FILE] = {.name = "key_file",
                  .flags = CONF_CREDENTIAL_PATH,
                  .env = {"X_FILE"},
                  .help = "Keys."},
    [URL] = {.name = "url", .flags = CONF_HIDDEN, .env = {"X_URL"}, .flag = {"url"}, .help = "U."},
    [PLAIN] = {.name = "plain", .env = {"X_PLAIN"}, .flag = {"plain"}, .help = "Plain."},
};
static const struct conf_spec spec = {
    .program = "prog", .version = "1", .summary = "Test.", .items = items, .count = ITEMS};

static char folder[] = "/tmp/foci-credentials-XXXXXX";
static char directory[96]; // the environment's line for it
static char err[CONF_ERROR_MAX];

static const char *in_folder(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    int const fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(directory, sizeof(directory), "CREDENTIALS_DIRECTORY=%s", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"key", "group.secret", "key_file", "plain", "url"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)unlink(in_folder(names[i]));
    }
    return rmdir(folder);
}

static struct conf *load(const char *env)
{
    struct conf *c = NULL;
    const char *const argv[] = {"prog", NULL};
    const char *const envp[] = {directory, env, NULL};
    if (conf_load(&spec, 1, argv, envp, &c, err) < 0) {
        fail_msg("%s", err);
    }
    return c;
}

static void credentials_of_systemd_are_taken_by_name(void **state)
{
    (void)state;
    put("key", "k\n");
    put("group.secret", "s\n");
    put("key_file", "a: b\n");
    put("plain", "not a credential");
    CLEANUP(conf_free) struct conf *c = load(NULL);
    assert_string_equal(conf_str(c, KEY), "k");
    assert_string_equal(conf_str(c, SECRET), "s");
    assert_string_equal(conf_path(c, SECRET), in_folder("group.secret"));
    assert_string_equal(conf_str(c, KEY_FILE), in_folder("key_file"));
    assert_null(conf_path(c, KEY_FILE)); // the path is the value
    assert_false(conf_has(c, PLAIN));
    assert_int_equal(strncmp(conf_origin(c, KEY), "credential /tmp/", 16), 0);
    assert_int_equal(conf_warnings(c), 0);
}

static void a_credential_that_is_outranked_is_told(void **state)
{
    (void)state;
    put("group.secret", "s\n");
    CLEANUP(conf_free) struct conf *c = load("X_SECRET=other");
    assert_string_equal(conf_str(c, SECRET), "other");
    assert_null(conf_path(c, SECRET));
    assert_int_equal(conf_warnings(c), 1);
    assert_non_null(strstr(conf_warning(c, 0), "X_SECRET"));
    assert_non_null(strstr(conf_warning(c, 0), in_folder("group.secret")));
    put("group.secret", "\n");
    const char *const argv[] = {"prog", NULL};
    const char *const envp[] = {directory, NULL};
    struct conf *d = NULL;
    assert_int_equal(conf_load(&spec, 1, argv, envp, &d, err), -EINVAL);
    assert_non_null(strstr(err, "group.secret (credential "));
    put("group.secret", "s\n");
}

static void the_file_of_a_value_is_known(void **state)
{
    (void)state;
    char env[160];
    put("plain", "p");
    (void)snprintf(env, sizeof(env), "X_SECRET_FROM_FILE=%s", in_folder("plain"));
    CLEANUP(conf_free) struct conf *c = load(env);
    assert_string_equal(conf_path(c, SECRET), in_folder("plain"));
    assert_null(conf_path(c, PLAIN));
}

static void secrets_are_hidden_where_they_came_in(void **state)
{
    (void)state;
    char args[][32] = {"prog",      "--secret=s3cret", "-secret", "s3cret", "--plain",
                       "--secrets", "--url",           "u:p@h",   "s3cret", "--secret"};
    char envs[][32] = {"X_SECRET=s3cret", "Y_SECRET=s3cret", "X_PLAIN=s3cret",
                       "X_URL=s3cret",    "X_SECRETS=x",     "X_SECRET"};
    char *argv[ARRAY_LEN(args) + 1] = {0};
    char *envp[ARRAY_LEN(envs) + 1] = {0};
    for (size_t i = 0; i < ARRAY_LEN(args); i++) {
        argv[i] = args[i];
    }
    for (size_t i = 0; i < ARRAY_LEN(envs); i++) {
        envp[i] = envs[i];
    }
    conf_hide_secrets(&spec, (int)ARRAY_LEN(args), argv, envp);
    static const char *const want_args[] = {"prog",    "--secret=******", "-secret", "******",
                                            "--plain", "--secrets",       "--url",   "*****",
                                            "s3cret",  "--secret"};
    static const char *const want_envs[] = {"X_SECRET=", "Y_SECRET=",   "X_PLAIN=s3cret",
                                            "X_URL=",    "X_SECRETS=x", "X_SECRET"};
    for (size_t i = 0; i < ARRAY_LEN(want_args); i++) {
        assert_string_equal(args[i], want_args[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(want_envs); i++) {
        assert_string_equal(envs[i], want_envs[i]);
    }
    assert_int_equal(envs[0][strlen("X_SECRET=s3cret") - 1], 0); // all of it
    conf_hide_secrets(&spec, 1, argv, NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(credentials_of_systemd_are_taken_by_name),
        cmocka_unit_test(a_credential_that_is_outranked_is_told),
        cmocka_unit_test(the_file_of_a_value_is_known),
        cmocka_unit_test(secrets_are_hidden_where_they_came_in),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
