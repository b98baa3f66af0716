// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: auth_config_log auth_settings
// The settings of authorization-service section 2, with the verdicts of the recording 06-startup.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "jwt-service/auth_config.h"

static char err[CONF_ERROR_MAX];

// Loads from environment entries that end with NULL, and flags.
static struct auth_config *load(const char *const *env, const char *flag)
{
    const char *const argv[] = {"foci-jwt", flag};
    struct auth_config *c = NULL;
    err[0] = '\0';
    int const r = auth_config_load(flag ? 2 : 1, argv, env, &c, err);
    assert_true((r == 0) == (c != NULL));
    return c;
}

#define REQUIRED "LIVEKIT_URL=ws://127.0.0.1:7899", "LIVEKIT_KEY=devkey", "LIVEKIT_SECRET=devsecret"
#define ALL                                                                                        \
    REQUIRED, "LIVEKIT_FULL_ACCESS_HOMESERVERS=example.org", "LIVEKIT_JWT_BIND=127.0.0.1:8089"

static void assert_loads(const char *const *env)
{
    struct auth_config *const c = load(env, NULL);
    if (!c) {
        fail_msg("refused: %s", err);
    }
    auth_config_free(c);
}

static void assert_refuses(const char *const *env, const char *named)
{
    struct auth_config *const c = load(env, NULL);
    assert_null(c);
    if (!strstr(err, named)) {
        fail_msg("\"%s\" does not name %s", err, named);
    }
    assert_null(strchr(err, '\n'));
    assert_null(strstr(err, "devsecret"));
}

#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})

static void the_required_settings_suffice(void **state)
{
    (void)state;
    CLEANUP(auth_config_free) struct auth_config *c = load(ENV(ALL), NULL);
    assert_non_null(c);
    assert_string_equal(c->livekit_url, "ws://127.0.0.1:7899");
    assert_string_equal(c->api_url, "ws://127.0.0.1:7899");
    assert_string_equal(api_keys_first(c->keys)->key, "devkey");
    assert_string_equal(api_keys_first(c->keys)->secret, "devsecret");
    assert_int_equal(c->bind_count, 1);
    assert_int_equal(c->bind[0].port, 8089);
    assert_false(c->insecure || c->dev || c->everybody || c->ignore_unknown);
    assert_true(auth_config_full_access(c, "example.org"));
    assert_false(auth_config_full_access(c, "Example.org"));
    assert_false(auth_config_full_access(c, "example.org:8448"));
}

static void each_missing_setting_is_named(void **state)
{
    (void)state;
    assert_refuses(ENV("X=y"), "LIVEKIT_KEY");
    assert_refuses(ENV("LIVEKIT_KEY=k", "LIVEKIT_SECRET=s", "LIVEKIT_FULL_ACCESS_HOMESERVERS=a"),
                   "LIVEKIT_URL");
    assert_refuses(ENV("LIVEKIT_URL=ws://a", "LIVEKIT_KEY=", "LIVEKIT_SECRET=s"), "LIVEKIT_KEY");
    assert_refuses(ENV("LIVEKIT_URL=ws://a", "LIVEKIT_KEY= \n", "LIVEKIT_SECRET=s"), "LIVEKIT_KEY");
    assert_refuses(ENV("LIVEKIT_URL=ws://a", "LIVEKIT_KEY=k"), "LIVEKIT_SECRET");
    assert_refuses(ENV(REQUIRED), "LIVEKIT_FULL_ACCESS_HOMESERVERS");
    assert_refuses(ENV(REQUIRED, "LIVEKIT_FULL_ACCESS_HOMESERVERS="),
                   "LIVEKIT_FULL_ACCESS_HOMESERVERS");
}

static void the_access_list_means_what_it_did(void **state)
{
    (void)state;
    struct auth_config *c = load(ENV(REQUIRED, "LIVEKIT_FULL_ACCESS_HOMESERVERS=,"), NULL);
    assert_non_null(c);
    assert_false(auth_config_full_access(c, ","));
    assert_false(auth_config_full_access(c, ""));
    auth_config_free(c);
    c = load(ENV(REQUIRED, "LIVEKIT_FULL_ACCESS_HOMESERVERS=*"), NULL);
    assert_true(auth_config_full_access(c, "anything"));
    assert_false(auth_config_names_server(c, "anything"));
    auth_config_free(c);
    c = load(ENV(REQUIRED, "LIVEKIT_FULL_ACCESS_HOMESERVERS=*, a.example\tb.example:8448"), NULL);
    assert_false(auth_config_full_access(c, "c.example"));
    assert_true(auth_config_full_access(c, "a.example"));
    assert_true(auth_config_full_access(c, "b.example:8448"));
    auth_config_free(c);
}

static void bind_and_port(void **state)
{
    (void)state;
    struct auth_config *c = load(ENV(REQUIRED, "LIVEKIT_FULL_ACCESS_HOMESERVERS=a"), NULL);
    assert_non_null(c);
    assert_true(c->bind_count >= 1);
    assert_int_equal(c->bind[0].port, 8080);
    auth_config_free(c);
    c = load(ENV(REQUIRED, "LIVEKIT_FULL_ACCESS_HOMESERVERS=a", "LIVEKIT_JWT_PORT=8090"), NULL);
    assert_non_null(c);
    assert_int_equal(c->bind_count, 2);
    assert_int_equal(c->bind[0].port, 8090);
    assert_true(conf_warnings(c->conf) > 0);
    auth_config_free(c);
    assert_refuses(ENV(ALL, "LIVEKIT_JWT_PORT=8089"), "LIVEKIT_JWT_PORT");
    assert_refuses(ENV(REQUIRED, "LIVEKIT_JWT_BIND=127.0.0.1"), "LIVEKIT_JWT_BIND");
    assert_refuses(ENV(REQUIRED, "LIVEKIT_JWT_PORT=abc"), "LIVEKIT_JWT_PORT");
    assert_refuses(ENV(REQUIRED, "LIVEKIT_JWT_PORT=70000"), "LIVEKIT_JWT_PORT");
}

static void only_the_whole_phrase_switches_checks_off(void **state)
{
    (void)state;
    static const char *const off[] = {
        "LIVEKIT_INSECURE_SKIP_VERIFY_TLS=", "LIVEKIT_INSECURE_SKIP_VERIFY_TLS=true",
        "LIVEKIT_INSECURE_SKIP_VERIFY_TLS=yes_i_know_what_i_am_doing"};
    for (size_t i = 0; i < ARRAY_LEN(off); i++) {
        CLEANUP(auth_config_free) struct auth_config *c = load(ENV(ALL, off[i]), NULL);
        assert_non_null(c);
        assert_false(c->insecure);
    }
    CLEANUP(auth_config_free)
    struct auth_config *c =
        load(ENV(ALL, "LIVEKIT_INSECURE_SKIP_VERIFY_TLS=YES_I_KNOW_WHAT_I_AM_DOING"), NULL);
    assert_true(c->insecure);
}

static void certificates_that_cannot_be_read_are_told_at_the_start(void **state)
{
    (void)state;
    assert_refuses(ENV(ALL, "LIVEKIT_CA_FILE=/nonexistent/ca.pem"), "LIVEKIT_CA_FILE");
    assert_refuses(ENV(ALL, "SSL_CERT_FILE=/nonexistent/ca.pem"), "SSL_CERT_FILE");
    assert_loads(ENV(ALL, "LIVEKIT_CA_FILE=/dev/null"));
}

static void only_development_logs_people(void **state)
{
    (void)state;
    CLEANUP(auth_config_free) struct auth_config *c = load(ENV(ALL), NULL);
    CLEANUP(auth_config_free) struct auth_config *d = load(ENV(ALL), "--dev");
    assert_non_null(c);
    assert_non_null(d);
    assert_int_equal(c->log.redact, LOG_REDACT_HASH);
    assert_int_equal(d->log.redact, LOG_REDACT_NONE);
}

static size_t no_effect;

static void count_no_effect(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    (void)level;
    no_effect += memmem(line.p, line.n, "config.no_effect", 16) != NULL;
}

static size_t settings_without_effect(const char *const *env)
{
    CLEANUP(auth_config_free) struct auth_config *c = load(env, NULL);
    assert_non_null(c);
    no_effect = 0;
    log_set_sink(count_no_effect, NULL);
    auth_config_log(c);
    log_set_sink(NULL, NULL);
    return no_effect;
}

static void settings_without_effect_are_told(void **state)
{
    (void)state;
    char path[] = "/tmp/auth_config_keys_XXXXXX";
    char entry[80];
    int const fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a: b\n", 5), 5);
    assert_int_equal(close(fd), 0);
    (void)snprintf(entry, sizeof(entry), "LIVEKIT_KEY_FILE=%s", path);
    assert_int_equal(settings_without_effect(ENV(ALL)), 0);
    assert_int_equal(settings_without_effect(ENV(ALL, entry)), 2); // the pair in ALL
    assert_int_equal(settings_without_effect(ENV(ALL, "LIVEKIT_INSECURE_SKIP_VERIFY_TLS=true")), 1);
    assert_int_equal(settings_without_effect(ENV(ALL, "LIVEKIT_INSECURE_SKIP_VERIFY_TLS=")), 0);
    assert_int_equal(unlink(path), 0);
}

static const char *explained(const char *const *env)
{
    static char text[16384];
    struct dynbuf out;
    CLEANUP(auth_config_free) struct auth_config *c = load(env, NULL);
    assert_non_null(c);
    dynbuf_init(&out, sizeof(text));
    auth_config_explain(c, (wall_t){1788220800 * US_PER_S}, &out);
    (void)snprintf(text, sizeof(text), "%s", dynbuf_cstr(&out));
    dynbuf_done(&out);
    assert_null(strstr(text, "devsecret"));
    return text;
}

#define SAYS(env, part)                                                                            \
    do {                                                                                           \
        if (!strstr(explained(env), part)) {                                                       \
            fail_msg("no \"%s\" in\n%s", part, explained(env));                                    \
        }                                                                                          \
    } while (0)

// --check-config: what holds, from where, and what the log would warn of at the start.
static void a_check_tells_what_holds_and_what_does_not(void **state)
{
    (void)state;
    char path[] = "/tmp/auth_config_half_XXXXXX";
    char entry[80];
    int const fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "filekey\n", 8), 8);
    assert_int_equal(close(fd), 0);
    (void)snprintf(entry, sizeof(entry), "LIVEKIT_KEY_FROM_FILE=%s", path);
    SAYS(ENV(ALL), "livekit_url = ws://127.0.0.1:7899  (environment LIVEKIT_URL)\n");
    SAYS(ENV(ALL), "own calls go to    ws://127.0.0.1:7899\n"); // nobody set it
    SAYS(ENV(ALL), "listens on         127.0.0.1:8089\n");
    SAYS(ENV(ALL), "warning: key devkey: everybody knows this secret");
    SAYS(ENV(ALL, "LIVEKIT_API_KEY=x"), "did you mean LIVEKIT_KEY?\n");
    SAYS(ENV(ALL, "LIVEKIT_LOG_LEVEL=loud"), "warning: LIVEKIT_LOG_LEVEL: unknown log level");
    SAYS(ENV(ALL, "LIVEKIT_INSECURE_SKIP_VERIFY_TLS=yes"), "certificates are checked: only ");
    SAYS(ENV(ALL, "FOCI_JWT_DELEGATION=false", "LIVEKIT_REDIS_URL=redis://h"),
         "LIVEKIT_REDIS_URL: no leaves are taken over: FOCI_JWT_DELEGATION is false (environment");
    // Contradictions name both places.
    SAYS(ENV(ALL, entry), "keys               filekey (signs)\n");
    SAYS(ENV(ALL, entry),
         "what the environment LIVEKIT_KEY says is not used: LIVEKIT_KEY_FROM_FILE "
         "(environment LIVEKIT_KEY_FROM_FILE) outranks it");
    assert_int_equal(unlink(path), 0);
}

static void overrides_are_pairs(void **state)
{
    (void)state;
    CLEANUP(auth_config_free)
    struct auth_config *c = load(
        ENV(ALL, "LIVEKIT_OPENID_URL_OVERRIDES= a.example = http://a:8008/ ,[::1]:1=https://b"),
        NULL);
    assert_non_null(c);
    assert_int_equal(c->openid_overrides.count, 2);
    assert_string_equal(c->openid_overrides.list[0].server_name, "a.example");
    assert_string_equal(c->openid_overrides.list[0].base_url, "http://a:8008");
    assert_string_equal(c->openid_overrides.list[1].server_name, "[::1]:1");
    assert_refuses(ENV(ALL, "LIVEKIT_OPENID_URL_OVERRIDES=a"), "LIVEKIT_OPENID_URL_OVERRIDES");
    assert_refuses(ENV(ALL, "LIVEKIT_OPENID_URL_OVERRIDES=a=b"), "LIVEKIT_OPENID_URL_OVERRIDES");
    assert_refuses(ENV(ALL, "LIVEKIT_CS_API_URL_OVERRIDES=a=b,"), "LIVEKIT_CS_API_URL_OVERRIDES");
    assert_refuses(ENV(ALL, "LIVEKIT_CS_API_URL_OVERRIDES==b"), "LIVEKIT_CS_API_URL_OVERRIDES");
    // Upstream's sample has no scheme.
    CLEANUP(auth_config_free)
    struct auth_config *d = load(
        ENV(ALL, "LIVEKIT_CS_API_URL_OVERRIDES=a=b.example,c.example=http://127.0.0.1:8008/x/"),
        NULL);
    assert_non_null(d);
    assert_string_equal(d->cs_api_overrides.list[0].base_url, "https://b.example");
    assert_string_equal(d->cs_api_overrides.list[1].base_url, "http://127.0.0.1:8008/x");
    assert_true(auth_config_names_server(d, "c.example"));
    assert_false(auth_config_names_server(d, "d.example"));
    assert_false(auth_config_full_access(d, "c.example"));
    assert_refuses(ENV(ALL, "LIVEKIT_CS_API_URL_OVERRIDES=a=ftp://b"), "http://");
}

static void commands(void **state)
{
    (void)state;
    static const struct {
        const char *word[4];
        int n;
        int command; // -1: refused
    } rows[] = {
        {{"healthcheck"}, 1, AUTH_COMMAND_HEALTHCHECK},
        {{"policy", "test", "@a:example.org", "!room"}, 4, AUTH_COMMAND_POLICY_TEST},
        {{"policy"}, 1, -1},
        {{"policy", "test", "@a:example.org"}, 3, -1},
        {{"serve"}, 1, -1},
        {{"healthcheck", "now"}, 2, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *argv[5] = {"foci-jwt"};
        memcpy(&argv[1], rows[i].word, sizeof(rows[i].word));
        CLEANUP(auth_config_free) struct auth_config *c = NULL;
        int const r = auth_config_load(rows[i].n + 1, argv, ENV(ALL), &c, err);
        assert_int_equal(r == 0, rows[i].command >= 0);
        if (r == 0) {
            assert_int_equal(c->command, rows[i].command);
        } else {
            assert_non_null(strstr(err, "policy test USER ROOM"));
        }
    }
}

static void the_state_folder(void **state)
{
    (void)state;
    static const struct {
        const char *env;
        const char *flag;
        const char *want; // NULL: none
    } rows[] = {
        {NULL, NULL, "/var/lib/foci-jwt"},
        {NULL, "--dev", NULL},
        {"STATE_DIRECTORY=/var/lib/a:/var/lib/b", NULL, "/var/lib/a"},
        {"STATE_DIRECTORY=/var/lib/a", "--dev", "/var/lib/a"},
        {"FOCI_JWT_STATE_DIR=/a:b", NULL, "/a:b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(auth_config_free)
        struct auth_config *c = load(ENV(ALL, rows[i].env), rows[i].flag);
        assert_non_null(c);
        const char *const dir = auth_config_state_dir(c);
        assert_int_equal(dir != NULL, rows[i].want != NULL);
        if (dir) {
            assert_string_equal(dir, rows[i].want);
        }
    }
}

static void names_of_others_lead_to_ours(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"LK_JWT_PORT=8080", "LIVEKIT_JWT_BIND"},
        {"LIVEKIT_API_KEY=a", "did you mean LIVEKIT_KEY?"},
        {"LIVEKIT_API_SECRET=b", "did you mean LIVEKIT_SECRET?"},
        {"LIVEKIT_LOCAL_HOMESERVERS=b", "LIVEKIT_FULL_ACCESS_HOMESERVERS"},
        {"FOCI_JWT_STATEDIR=b", "FOCI_JWT_STATE_DIR"},
        {"LIVEKIT_FULL_ACCESS_HOMESERVER=b", "LIVEKIT_FULL_ACCESS_HOMESERVERS"},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(auth_config_free) struct auth_config *c = load(ENV(ALL, names[i][0]), NULL);
        assert_non_null(c);
        assert_int_equal(conf_warnings(c->conf), 1);
        if (!strstr(conf_warning(c->conf, 0), names[i][1])) {
            fail_msg("%s", conf_warning(c->conf, 0));
        }
    }
    // And where one is missing, the error says it at once.
    assert_refuses(ENV("LIVEKIT_URL=ws://a", "LIVEKIT_FULL_ACCESS_HOMESERVERS=b",
                       "LIVEKIT_API_KEY=c", "LIVEKIT_SECRET=devsecret"),
                   "did you mean LIVEKIT_KEY?");
}

static void numbers_and_levels(void **state)
{
    (void)state;
    assert_loads(ENV(ALL, "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS=5"));
    assert_loads(ENV(ALL, "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS=0"));
    assert_refuses(ENV(ALL, "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS=abc"),
                   "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS");
    assert_refuses(ENV(ALL, "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS=-1"),
                   "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS");
    CLEANUP(auth_config_free)
    struct auth_config *c = load(ENV(ALL, "LIVEKIT_LOG_LEVEL=nonsense"), NULL);
    assert_non_null(c); // a wrong level only warns
    assert_true(c->log_level_unknown);
    assert_int_equal(c->log.level, LOG_LEVEL_INFO);
    CLEANUP(auth_config_free)
    struct auth_config *d = load(ENV(ALL, "LIVEKIT_LOG_LEVEL=DEBUG"), NULL);
    assert_int_equal(d->log.level, LOG_LEVEL_DEBUG);
}

static void write_file(const char *path, const char *text)
{
    FILE *const f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void keys_may_come_from_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/foci-test-XXXXXX";
    char path[64];
    char entry[128];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/keys", folder);
    (void)snprintf(entry, sizeof(entry), "LIVEKIT_KEY_FILE=%s", path);
    write_file(path, "first: one\nsecond: two:three\n");
    struct auth_config *c = load(ENV(ALL, entry), NULL); // the file wins
    assert_non_null(c);
    assert_int_equal(api_keys_count(c->keys), 2);
    assert_string_equal(api_keys_first(c->keys)->key, "first");
    auth_config_free(c);
    write_file(path, "no colon here\n");
    assert_refuses(ENV(ALL, entry), "LIVEKIT_KEY_FILE");
    write_file(path, "\n");
    assert_refuses(ENV(ALL, entry), "LIVEKIT_KEY_FILE");
    write_file(path, "key: \n");
    assert_refuses(ENV(ALL, entry), "LIVEKIT_KEY_FILE");
    assert_refuses(ENV(ALL, "LIVEKIT_KEY_FILE=/nonexistent/keys"), "LIVEKIT_KEY_FILE");
    write_file(path, "filekey\r\n");
    (void)snprintf(entry, sizeof(entry), "LIVEKIT_KEY_FROM_FILE=%s", path);
    c = load(ENV(ALL, entry), NULL); // beside LIVEKIT_KEY, which loses
    assert_non_null(c);
    assert_string_equal(api_keys_first(c->keys)->key, "filekey");
    auth_config_free(c);
    c = load(ENV(ALL, entry), "--key=flagkey"); // but a flag outranks the environment
    assert_string_equal(api_keys_first(c->keys)->key, "flagkey");
    auth_config_free(c);
    write_file(path, "\n");
    assert_refuses(ENV(ALL, entry), "LIVEKIT_KEY_FROM_FILE");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void keys_are_judged_but_never_refused(void **state)
{
    (void)state;
    CLEANUP(auth_config_free) struct auth_config *c = load(ENV(ALL), NULL); // devkey, devsecret
    assert_non_null(c);
    assert_int_equal(c->key_finding_count, 1);
    assert_int_equal(c->key_findings[0].kind, KEY_FINDING_SAMPLE);
    assert_string_equal(c->key_findings[0].key, "devkey");
    assert_false(c->key_source.strict);
}

static void keys_may_come_from_credentials(void **state)
{
    (void)state;
    char folder[] = "/tmp/foci-test-XXXXXX";
    char env[64];
    char path[64];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(env, sizeof(env), "CREDENTIALS_DIRECTORY=%s", folder);
    (void)snprintf(path, sizeof(path), "%s/secret", folder);
    write_file(path, "from the credential, long enough for HS256\n");
    assert_int_equal(chmod(path, 0644), 0);
    struct auth_config *c = load(
        ENV("LIVEKIT_URL=ws://a", "LIVEKIT_FULL_ACCESS_HOMESERVERS=a", "LIVEKIT_KEY=k", env), NULL);
    assert_non_null(c);
    assert_string_equal(api_keys_first(c->keys)->secret,
                        "from the credential, long enough for HS256");
    assert_string_equal(c->key_source.secret_file, path); // watched
    assert_int_equal(c->key_finding_count, 1);            // and readable by others, as made here
    auth_config_free(c);
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/key_file", folder);
    write_file(path, "a: b\n");
    c = load(ENV("LIVEKIT_URL=ws://a", "LIVEKIT_FULL_ACCESS_HOMESERVERS=a", env), NULL);
    assert_non_null(c);
    assert_string_equal(c->key_source.file, path);
    auth_config_free(c);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void development_needs_no_settings(void **state)
{
    (void)state;
    CLEANUP(auth_config_free) struct auth_config *c = load(ENV("X=y"), "--dev");
    if (!c) {
        fail_msg("refused: %s", err);
    }
    assert_true(c->dev && c->keys_generated && c->everybody);
    assert_false(api_key_is_weak(api_keys_first(c->keys)));
    assert_int_equal(c->bind_count, 1);
    assert_true(addr_is_loopback(&c->bind[0]));
    assert_string_equal(c->livekit_url, "ws://127.0.0.1:7880");
    CLEANUP(auth_config_free)
    struct auth_config *d = load(ENV("LIVEKIT_KEY=k", "LIVEKIT_SECRET=s"), "--dev");
    assert_false(d->keys_generated);
    assert_string_equal(api_keys_first(d->keys)->key, "k");
}

static void urls_are_checked(void **state)
{
    (void)state;
    assert_refuses(ENV(ALL, "LIVEKIT_INTERNAL_URL=sfu:7880"), "LIVEKIT_INTERNAL_URL");
    assert_loads(ENV(ALL, "LIVEKIT_INTERNAL_URL=http://sfu:7880"));
    static const char *const bad[] = {"LIVEKIT_URL=not a url", "LIVEKIT_URL=wss://",
                                      "LIVEKIT_URL=wss://a?b", "LIVEKIT_URL=ftp://a"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_refuses(
            ENV("LIVEKIT_KEY=k", "LIVEKIT_SECRET=s", "LIVEKIT_FULL_ACCESS_HOMESERVERS=a", bad[i]),
            "LIVEKIT_URL");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_required_settings_suffice),
        cmocka_unit_test(each_missing_setting_is_named),
        cmocka_unit_test(the_access_list_means_what_it_did),
        cmocka_unit_test(bind_and_port),
        cmocka_unit_test(only_the_whole_phrase_switches_checks_off),
        cmocka_unit_test(certificates_that_cannot_be_read_are_told_at_the_start),
        cmocka_unit_test(only_development_logs_people),
        cmocka_unit_test(settings_without_effect_are_told),
        cmocka_unit_test(a_check_tells_what_holds_and_what_does_not),
        cmocka_unit_test(overrides_are_pairs),
        cmocka_unit_test(numbers_and_levels),
        cmocka_unit_test(commands),
        cmocka_unit_test(the_state_folder),
        cmocka_unit_test(names_of_others_lead_to_ours),
        cmocka_unit_test(keys_may_come_from_files),
        cmocka_unit_test(keys_are_judged_but_never_refused),
        cmocka_unit_test(keys_may_come_from_credentials),
        cmocka_unit_test(development_needs_no_settings),
        cmocka_unit_test(urls_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
