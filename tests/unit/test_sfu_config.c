// SPDX-License-Identifier: Apache-2.0
// LINK: sfu
// COVERS: sfu_webhooks
// The settings of foci-sfu: what an operator may write, and the one line that says what is wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "sfu/sfu_config.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define KEYS "LIVEKIT_KEYS=k: " SECRET
#define ARGS(...) ((const char *const[]){"foci-sfu", __VA_ARGS__, NULL})
#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})

static char err[CONF_ERROR_MAX];

static struct sfu_config *load(const char *const *env, const char *const *argv)
{
    struct sfu_config *c = NULL;
    int argc = 0;
    while (argv[argc] != NULL) {
        argc++;
    }
    err[0] = '\0';
    int const rc = sfu_config_load(argc, argv, env, &c, err);
    assert_true((rc == 0) == (c != NULL));
    return c;
}

static struct sfu_config *accepted(const char *const *env, const char *const *argv)
{
    struct sfu_config *const c = load(env, argv);
    if (c == NULL) {
        fail_msg("refused: %s", err);
    }
    return c;
}

// The line begins with the setting and its origin, holds the way out, and never the secret.
static void assert_refused(const char *const *env, const char *const *argv, const char *begins,
                           const char *way_out)
{
    assert_null(load(env, argv));
    if (strncmp(err, begins, strlen(begins)) != 0 || strstr(err, way_out) == NULL) {
        fail_msg("\"%s\" does not begin with %s or does not hold %s", err, begins, way_out);
    }
    assert_null(strchr(err, '\n'));
    assert_null(strstr(err, SECRET));
}

static void a_key_is_all_that_is_needed(void **state)
{
    (void)state;
    struct sfu_config *const c = accepted(ENV(KEYS), ARGS(NULL));
    assert_int_equal(api_keys_count(c->keys), 1);
    assert_int_equal(c->listen_count, 2);
    assert_true(addr_is_unspecified(&c->listen[0]) && addr_is_unspecified(&c->listen[1]));
    assert_int_equal(c->listen[1].port, 7880);
    assert_int_equal(c->rtc_bind_count, 2);
    assert_int_equal(c->udp_port, 7882);
    assert_int_equal(c->node_ip_count, 0);
    assert_true(c->workers >= 1);
    assert_int_equal(c->log.redact, LOG_REDACT_HASH);
    assert_false(c->dev || c->dev_keys);
    sfu_config_free(c);
}

static void keys_are_checked(void **state)
{
    (void)state;
    assert_refused(ENV("A=b"), ARGS(NULL), "keys (unset)", "--dev");
    assert_refused(ENV("LIVEKIT_KEYS=nonsense"), ARGS(NULL), "keys (environment LIVEKIT_KEYS)",
                   "key: secret");
    assert_refused(ENV("LIVEKIT_KEYS=k: short"), ARGS(NULL), "keys (environment LIVEKIT_KEYS)",
                   "openssl rand");
    assert_refused(ENV(KEYS), ARGS("--key-file", "/nonexistent"), "keys (environment LIVEKIT_KEYS)",
                   "keep one");
    assert_refused(ENV("A=b"), ARGS("--key-file", "/nonexistent"), "key_file (flag --key-file)",
                   "cannot read");
    assert_refused(ENV("A=b"), ARGS("--key-file", "/dev/null"), "key_file (flag --key-file)",
                   "key: secret");
}

static void keys_come_from_a_file(void **state)
{
    (void)state;
    static const char lines[] = "first: " SECRET "\nsecond: " SECRET "\n";
    char path[] = "/tmp/sfu_config_keys_XXXXXX";
    int const fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, lines, sizeof(lines) - 1), sizeof(lines) - 1);
    assert_int_equal(close(fd), 0);
    struct sfu_config *const c = accepted(ENV("A=b"), ARGS("--key-file", path));
    assert_int_equal(api_keys_count(c->keys), 2);
    assert_string_equal(api_keys_first(c->keys)->key, "first");
    sfu_config_free(c);
    assert_int_equal(unlink(path), 0);
}

static void sample_secrets_are_for_development(void **state)
{
    (void)state;
    // Long enough, but printed in LiveKit's documents.
    static const char sample[] =
        "LIVEKIT_KEYS=APIwLeah7g4fuLYDYAJeaKsSE: 8nTlwISkb-63DPP7OH4e.nw.J44JjicvZDiz8J59EoQ+";
    assert_refused(ENV(sample), ARGS(NULL), "keys (environment LIVEKIT_KEYS)", "focictl keys");
    struct sfu_config *const c = accepted(ENV(sample), ARGS("--dev"));
    assert_int_equal(c->key_finding_count, 1);
    assert_int_equal(c->key_findings[0].kind, KEY_FINDING_SAMPLE);
    sfu_config_free(c);
}

static void files_of_keys_are_known_for_reading_them_again(void **state)
{
    (void)state;
    static const char line[] = "first: " SECRET "\nsecond\n";
    char path[] = "/tmp/sfu_config_keys_XXXXXX";
    char env[80];
    int const fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, line, sizeof(line) - 1), sizeof(line) - 1);
    (void)snprintf(env, sizeof(env), "LIVEKIT_KEYS_FROM_FILE=%s", path);
    assert_refused(ENV("A=b"), ARGS("--key-file", path), "key_file (flag --key-file): line 2",
                   "key: secret");
    assert_refused(ENV(env), ARGS(NULL), "keys (environment LIVEKIT_KEYS_FROM_FILE", "line 2");
    assert_int_equal(ftruncate(fd, (off_t)strlen("first: " SECRET "\n")), 0);
    struct sfu_config *c = accepted(ENV("A=b"), ARGS("--key-file", path));
    assert_string_equal(c->key_source.file, path);
    assert_true(c->key_source.strict);
    sfu_config_free(c);
    c = accepted(ENV(env), ARGS("--dev"));
    assert_string_equal(c->key_source.file, path);
    assert_false(c->key_source.strict);
    sfu_config_free(c);
    c = accepted(ENV(KEYS), ARGS(NULL));
    assert_null(c->key_source.file);
    sfu_config_free(c);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
}

static void development_needs_no_settings(void **state)
{
    (void)state;
    struct sfu_config *const c = accepted(ENV("A=b"), ARGS("--dev"));
    assert_true(c->dev && c->dev_keys);
    assert_false(api_key_is_weak(api_keys_first(c->keys)));
    for (size_t i = 0; i < c->listen_count; i++) {
        assert_true(addr_is_loopback(&c->listen[i]));
    }
    assert_int_equal(c->log.redact, LOG_REDACT_NONE);
    sfu_config_free(c);
    struct sfu_config *const weak = accepted(ENV("LIVEKIT_KEYS=k: short"), ARGS("--dev"));
    assert_false(weak->dev_keys);
    sfu_config_free(weak);
}

static void addresses_are_ip_addresses(void **state)
{
    (void)state;
    struct sfu_config *const c =
        accepted(ENV(KEYS, "NODE_IP=192.0.2.1,2001:db8::1"),
                 ARGS("--bind", "127.0.0.1", "--rtc-bind", "127.0.0.1,::1", "--port", "0"));
    assert_int_equal(c->listen_count, 1);
    assert_int_equal(c->listen[0].port, 0);
    assert_int_equal(c->rtc_bind_count, 2);
    assert_int_equal(c->node_ip_count, 2);
    sfu_config_free(c);
    assert_refused(ENV(KEYS), ARGS("--bind", "example.org"), "bind_addresses (flag --bind)",
                   "no IP address");
    assert_refused(ENV(KEYS, "NODE_IP=0.0.0.0"), ARGS(NULL), "rtc.node_ip (environment NODE_IP)",
                   "could send to");
    assert_refused(ENV(KEYS), ARGS("--rtc-bind", "127.0.0.1,127.0.0.2"),
                   "rtc.bind (flag --rtc-bind)", "leave one out");
    assert_refused(ENV(KEYS), ARGS("--rtc-bind", "1.1.1.1,::1,2.2.2.2"),
                   "rtc.bind (flag --rtc-bind)", "at most 2");
}

static void families_that_contradict_each_other_name_both_places(void **state)
{
    (void)state;
    assert_refused(ENV(KEYS, "NODE_IP=2001:db8::1"), ARGS("--ipv6=false"),
                   "rtc.node_ip (environment NODE_IP)", "rtc.ipv6 (flag --ipv6)");
    assert_refused(ENV(KEYS), ARGS("--ipv6=false", "--rtc-bind", "::1"),
                   "rtc.bind (flag --rtc-bind)", "rtc.ipv6 (flag --ipv6)");
    assert_refused(ENV(KEYS), ARGS("--node-ip", "2001:db8::1", "--rtc-bind", "127.0.0.1"),
                   "rtc.node_ip (flag --node-ip)", "rtc.bind (flag --rtc-bind)");
    assert_refused(ENV(KEYS), ARGS("--node-ip", "192.0.2.1", "--rtc-bind", "::1"),
                   "rtc.node_ip (flag --node-ip)", "rtc.bind (flag --rtc-bind)");
    struct sfu_config *const c =
        accepted(ENV(KEYS, "NODE_IP=192.0.2.1"), ARGS("--ipv6=false", "--rtc-bind", "127.0.0.1"));
    assert_int_equal(c->rtc_bind_count, 1);
    sfu_config_free(c);
}

static void numbers_have_limits(void **state)
{
    (void)state;
    assert_refused(ENV(KEYS), ARGS("--port", "65536"), "port (flag --port)", "give 0 to 65535");
    assert_refused(ENV(KEYS), ARGS("--port", "http"), "port (flag --port)", "give 0 to 65535");
    assert_refused(ENV(KEYS), ARGS("--dtls-threads", "0"), "dtls_threads (flag", "give 1 to 4");
    assert_refused(ENV(KEYS), ARGS("--udp-port", "65535", "--workers", "2"),
                   "rtc.udp_port (flag --udp-port)", "fewer workers");
    assert_refused(ENV(KEYS), ARGS("--log-level", "loud"), "logging.level (flag", "debug");
    assert_refused(ENV(KEYS), ARGS("--empty-timeout", "10ms"), "room.empty_timeout (flag", "1000");
}

static void events_go_to_urls_and_to_the_authorization_service(void **state)
{
    (void)state;
    struct sfu_config *c = accepted(ENV(KEYS), ARGS(NULL));
    assert_int_equal(c->webhook_count, 0);
    sfu_config_free(c);
    c = accepted(
        ENV(KEYS, "FOCI_AUTH_SERVICE=http://127.0.0.1:8080/jwt//"),
        ARGS("--webhook-urls", "https://a.example/x,http://[::1]:9/", "--webhook-api-key", "k"));
    assert_int_equal(c->webhook_count, 3);
    assert_string_equal(c->webhooks[0].url, "https://a.example/x");
    assert_string_equal(c->webhooks[1].url, "http://[::1]:9/");
    assert_string_equal(c->webhooks[2].url, "http://127.0.0.1:8080/jwt/sfu_webhook");
    assert_true(c->auth_hook);
    sfu_config_free(c);
    // Named twice, told once, and then in full.
    c = accepted(ENV(KEYS), ARGS("--auth-service", "http://h/sfu_webhook", "--webhook-urls",
                                 "http://h/sfu_webhook"));
    assert_int_equal(c->webhook_count, 1);
    assert_false(c->auth_hook);
    sfu_config_free(c);
    c = accepted(ENV(KEYS, "FOCI_WEBHOOK_EXCLUDE_EVENTS=room_started"),
                 ARGS("--webhook-include-events", "track_published,participant_left",
                      "--webhook-urls", "http://h,http://i#exclude=room_finished+track_published",
                      "--auth-service", "http://a"));
    assert_int_equal(c->webhooks[0].include.count, 2);
    assert_string_equal(c->webhooks[0].include.names[1], "participant_left");
    assert_int_equal(c->webhooks[0].exclude.count, 1);
    assert_string_equal(c->webhooks[0].exclude.names[0], "room_started");
    // Its own choice instead of the general one.
    assert_string_equal(c->webhooks[1].url, "http://i");
    assert_int_equal(c->webhooks[1].include.count, 0);
    assert_int_equal(c->webhooks[1].exclude.count, 2);
    assert_string_equal(c->webhooks[1].exclude.names[1], "track_published");
    assert_int_equal(c->webhooks[2].include.count + c->webhooks[2].exclude.count, 0);
    sfu_config_free(c);
    assert_refused(ENV(KEYS), ARGS("--webhook-urls", "http://h#include=room_started+room_began"),
                   "webhook.urls (flag", "\"room_began\" is no event");
    assert_refused(ENV(KEYS), ARGS("--webhook-urls", "http://h#include="), "webhook.urls (flag",
                   "\"\" is no event");
    assert_refused(ENV(KEYS), ARGS("--webhook-urls", "http://h#top"), "webhook.urls (flag",
                   "\"#top\" behind a URL is no choice of events");
    assert_refused(ENV(KEYS), ARGS("--webhook-urls", "http://h,http://h#include=room_started"),
                   "webhook.urls (flag", "names \"http://h\" twice");
    assert_refused(ENV(KEYS), ARGS("--webhook-include-events", "room_began"),
                   "webhook.include_events (flag", "\"room_began\" is no event");
    assert_refused(ENV(KEYS), ARGS("--auth-service", "127.0.0.1:8080"),
                   "auth_service (flag --auth-service)", "http://");
    assert_refused(ENV(KEYS), ARGS("--webhook-urls", "http://a,wss://b"),
                   "webhook.urls (flag --webhook-urls)", "\"wss://b\"");
    assert_refused(ENV(KEYS), ARGS("--webhook-urls", "http:///x"), "webhook.urls (flag", "http://");
    assert_refused(ENV(KEYS),
                   ARGS("--webhook-urls", "http://1,http://2,http://3,http://4,http://5,"
                                          "http://6,http://7,http://8,http://9"),
                   "webhook.urls (flag", "at most 8");
    assert_refused(ENV(KEYS, "FOCI_WEBHOOK_API_KEY=other"), ARGS(NULL),
                   "webhook.api_key (environment FOCI_WEBHOOK_API_KEY)", "leave it out");
}

static void help_needs_no_key(void **state)
{
    (void)state;
    struct sfu_config *const c = accepted(ENV("A=b"), ARGS("--help"));
    assert_int_equal(conf_action(c->conf), CONF_SHOW_HELP);
    sfu_config_free(c);
    assert_refused(ENV("A=b"), ARGS("--check-config"), "keys (unset)", "--dev");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_all_that_is_needed),
        cmocka_unit_test(keys_are_checked),
        cmocka_unit_test(keys_come_from_a_file),
        cmocka_unit_test(sample_secrets_are_for_development),
        cmocka_unit_test(files_of_keys_are_known_for_reading_them_again),
        cmocka_unit_test(development_needs_no_settings),
        cmocka_unit_test(addresses_are_ip_addresses),
        cmocka_unit_test(families_that_contradict_each_other_name_both_places),
        cmocka_unit_test(numbers_have_limits),
        cmocka_unit_test(events_go_to_urls_and_to_the_authorization_service),
        cmocka_unit_test(help_needs_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
