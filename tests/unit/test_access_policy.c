// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: access_policy_file
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jwt-service/access_policy.h"
#include "jwt-service/base/token_issuer.h"

static char err[CONF_ERROR_MAX];
static const struct access_defaults baseline = {.restricted_can_publish = true};

static struct access_policy *policy(const char *text)
{
    struct access_policy *p = NULL;
    err[0] = '\0';
    if (access_policy_parse("p.conf", text, &p, err) != 0) {
        fail_msg("%s", err);
    }
    return p;
}

static struct access_decision decide(const struct access_policy *p, const struct access_defaults *d,
                                     const char *user, const char *room, bool full)
{
    struct access_question const q = {.server_name = access_policy_server_of(user),
                                      .user_id = user,
                                      .room_id = room,
                                      .full_access = full};
    struct access_decision a;
    memset(&a, 0xa5, sizeof(a)); // nothing of the answer may be left to the caller
    access_policy_decide(p, d, &q, &a);
    return a;
}

// ---- patterns -------------------------------------------------------------------------------

static void globs(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool match;
    } row[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "a", true},
        {"a", "A", false},
        {"a", "ab", false},
        {"ab", "a", false},
        {"*", "", true},
        {"*", "anything:at.all", true},
        {"**", "", true},
        {"?", "", false},
        {"?", "a", true},
        {"?", "ab", false},
        {"a*", "a", true},
        {"*a", "aaa", true},
        {"*a", "aab", false},
        {"a*b*c", "abc", true},
        {"a*b*c", "aXbXbXc", true},
        {"a*b*c", "aXcXb", false},
        {"*ab*ab", "abab", true},
        {"*ab*ab", "ab", false},
        {"@guest-*:example.org", "@guest-12:example.org", true},
        {"@guest-*:example.org", "@guest-12:example.org.evil.example", false},
        {"*.example.org", "a.b.example.org", true},
        {"*.example.org", "example.org", false},
        {"a?c", "abc", true},
        {"a?c",
         "a\xc3\xa9"
         "c",
         true},
        {"a??c",
         "a\xc3\xa9"
         "c",
         false},
        {"*??", "\xe2\x82\xac", false},
        {"*?", "\xe2\x82\xac", true},
        {"??", "\xff\xfe", true}, // no UTF-8: byte by byte
        {"[a]", "a", false},
        {"\\*", "*", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        if (access_policy_glob(row[i].pattern, row[i].text) != row[i].match) {
            fail_msg("\"%s\" and \"%s\"", row[i].pattern, row[i].text);
        }
    }
}

// The worst that patterns and ids of full length can do stays far below a second.
static void many_stars_end_soon(void **state)
{
    (void)state;
    char pattern[ACCESS_POLICY_PATTERN_MAX + 1];
    char text[REQUEST_ROOM_MAX + 1];
    for (size_t i = 0; i + 1 < sizeof(pattern); i++) {
        pattern[i] = i % 2 == 0 ? '*' : 'a';
    }
    pattern[sizeof(pattern) - 2] = 'b';
    pattern[sizeof(pattern) - 1] = '\0';
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (int i = 0; i < 100; i++) {
        assert_false(access_policy_glob(pattern, text));
    }
}

static void server_of_a_user_id(void **state)
{
    (void)state;
    assert_string_equal(access_policy_server_of("@alice:example.org:8448"), "example.org:8448");
    assert_string_equal(access_policy_server_of("@a:[::1]:80"), "[::1]:80");
    assert_null(access_policy_server_of("alice:example.org"));
    assert_null(access_policy_server_of("@alice"));
    assert_null(access_policy_server_of("@:example.org"));
    assert_null(access_policy_server_of("@alice:"));
    assert_null(access_policy_server_of(""));
}

// ---- decisions ------------------------------------------------------------------------------

// authorization-service 6.1, its second table, and the switch of 11.2.
static void without_a_policy_the_full_access_list_decides(void **state)
{
    (void)state;
    struct access_policy *const empty = policy("");
    const struct access_policy *const both[] = {NULL, empty};
    for (size_t i = 0; i < 2; i++) {
        struct access_decision a = decide(both[i], &baseline, "@a:full.example", "!r:x", true);
        assert_true(a.allowed && a.create && a.publish && a.subscribe && a.delegate);
        assert_int_equal(a.sources, 0);
        assert_int_equal(a.max_participants, 0);
        assert_int_equal(a.token_lifetime_s, TOKEN_JOIN_LIFETIME_S);
        assert_string_equal(a.rule, "");
        assert_int_equal(a.line, 0);
        a = decide(both[i], &baseline, "@a:other.example", "!r:x", false);
        assert_true(a.allowed && a.publish && a.subscribe);
        assert_false(a.create || a.delegate);
        assert_int_equal(a.token_lifetime_s, TOKEN_JOIN_LIFETIME_S);

        struct access_defaults const newer = {
            .restricted_can_publish = false, .max_participants = 9, .token_lifetime_s = 60};
        a = decide(both[i], &newer, "@a:other.example", "!r:x", false);
        assert_true(a.allowed && a.subscribe);
        assert_false(a.publish);
        assert_int_equal(a.token_lifetime_s, 60);
        assert_int_equal(a.max_participants, 0); // creates none
        a = decide(both[i], &newer, "@a:full.example", "!r:x", true);
        assert_true(a.publish);
        assert_int_equal(a.max_participants, 9);
    }
    access_policy_free(empty);
}

static void the_first_rule_that_matches_decides_all(void **state)
{
    (void)state;
    struct access_policy *const p = policy(
        "rules = ( { name = \"a\"; user = \"@a*:x\"; create = false; },\n"
        "  { name = \"b\"; server = [ \"y\", \"x\" ]; room = \"!1*\"; sources = \"camera\";"
        "    create = true; max_participants = 5; },\n"
        "  { delegate = true; publish = false; subscribe = false; token_lifetime = 90; } );");
    assert_int_equal(access_policy_rules(p), 3);
    struct access_decision a = decide(p, &baseline, "@anna:x", "!1", true);
    assert_string_equal(a.rule, "a");
    assert_int_equal(a.line, 1);
    assert_false(a.create);
    assert_int_equal(a.sources, 0); // of the second rule, which is not asked any more
    a = decide(p, &baseline, "@bob:x", "!1", false);
    assert_string_equal(a.rule, "b");
    assert_int_equal(a.line, 2);
    assert_true(a.create && a.publish && !a.delegate);
    assert_int_equal(a.sources, ACCESS_SOURCE_CAMERA);
    assert_int_equal(a.max_participants, 5);
    a = decide(p, &baseline, "@bob:x", "!2", false);
    assert_string_equal(a.rule, "rule 3");
    assert_true(a.allowed && a.delegate && !a.publish && !a.subscribe && !a.create);
    assert_int_equal(a.token_lifetime_s, 90);
    access_policy_free(p);
}

// Sources limit; they let nobody publish who may not.
static void sources_do_not_grant_publishing(void **state)
{
    (void)state;
    struct access_policy *const p = policy("rules = ( { sources = [ \"microphone\" ]; } );");
    struct access_defaults const listening = {.restricted_can_publish = false};
    struct access_decision a = decide(p, &listening, "@a:x", "!r", false);
    assert_true(a.allowed && !a.publish);
    assert_int_equal(a.sources, 0);
    a = decide(p, &listening, "@a:x", "!r", true);
    assert_true(a.publish);
    assert_int_equal(a.sources, ACCESS_SOURCE_MICROPHONE);
    access_policy_free(p);
}

static void a_denial_gives_nothing(void **state)
{
    (void)state;
    struct access_policy *const p =
        policy("rules = ( { name = \"no\"; user = \"@bad:*\"; deny = true; } );");
    struct access_decision const a = decide(p, &baseline, "@bad:x", "!r", true);
    assert_string_equal(a.rule, "no");
    assert_int_equal(a.line, 1);
    assert_false(a.allowed || a.create || a.publish || a.subscribe || a.delegate);
    assert_int_equal(a.sources, 0);
    assert_int_equal(a.max_participants, 0);
    assert_int_equal(a.token_lifetime_s, 0);
    access_policy_free(p);
}

static void lists_of_servers_come_first(void **state)
{
    (void)state;
    static const char *const blocked[] = {"bad.example", "*.bad.example"};
    static const char *const allowed[] = {"*.example"};
    struct access_defaults const d = {.restricted_can_publish = true,
                                      .allowed_servers = allowed,
                                      .allowed_server_count = 1,
                                      .blocked_servers = blocked,
                                      .blocked_server_count = 2};
    struct access_policy *const p =
        policy("denied_servers = \"spam.example\";\nallowed_servers = [ \"ok.*\", \"sp*\" ];\n"
               "rules = ( { create = true; } );");
    static const struct {
        const char *user, *rule;
        unsigned line;
        bool allowed;
    } row[] = {
        {"@a:bad.example", ACCESS_RULE_BLOCKED_SETTING, 0, false},
        {"@a:x.bad.example", ACCESS_RULE_BLOCKED_SETTING, 0, false},
        {"@a:ok.org", ACCESS_RULE_ALLOWED_SETTING, 0, false},
        {"@a:spam.example", ACCESS_RULE_DENIED, 1, false},
        {"@a:other.example", ACCESS_RULE_ALLOWED, 2, false},
        {"@a:ok.example", "rule 1", 3, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct access_decision const a = decide(p, &d, row[i].user, "!r", true);
        assert_int_equal(a.allowed, row[i].allowed);
        assert_string_equal(a.rule, row[i].rule);
        assert_int_equal(a.line, row[i].line);
        char rule[ACCESS_POLICY_NAME_MAX + 1] = "";
        assert_int_equal(
            access_policy_denies_server(p, &d, access_policy_server_of(row[i].user), rule),
            !row[i].allowed);
        assert_string_equal(rule, row[i].allowed ? "" : row[i].rule);
    }
    access_policy_free(p);
}

// No lookup is saved that could have ended with a token.
static void a_server_is_denied_beforehand_only_if_nobody_gets_in(void **state)
{
    (void)state;
    struct access_policy *const p =
        policy("rules = ( { server = \"a\"; user = \"@x:*\"; deny = true; },\n"
               "{ server = \"b\"; user = \"@x:*\"; },\n"
               "{ name = \"no a\"; server = [ \"a\", \"b\", \"c\" ]; room = [ \"!1\", \"*\" ];"
               "  deny = true; } );");
    char rule[ACCESS_POLICY_NAME_MAX + 1] = "";
    assert_true(access_policy_denies_server(p, &baseline, "a", rule)); // @x and all others
    assert_string_equal(rule, "no a");
    assert_false(access_policy_denies_server(p, &baseline, "b", NULL)); // @x:b gets in
    assert_true(access_policy_denies_server(p, &baseline, "c", NULL));
    assert_false(access_policy_denies_server(p, &baseline, "d", NULL));
    assert_false(access_policy_denies_server(NULL, &baseline, "a", NULL));
    access_policy_free(p);
}

// ---- files ----------------------------------------------------------------------------------

static void each_mistake_is_told_with_its_place_and_the_way_out(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } row[] = {
        {"\nrule = ();", "p.conf:2: there is no \"rule\" here; did you mean \"rules\"?"},
        {"rules = 5;", "p.conf:1: rules must be a list"},
        {"rules = ( 5 );", "p.conf:1: an entry must be a group { }, not a whole number"},
        {"rules = ( { user = \"@a:b\";\n crate = true; } );",
         "p.conf:2: there is no \"crate\" here; did you mean \"create\"?"},
        {"rules = ( {\n create = 1; } );", "p.conf:2: create must be true or false"},
        {"rules = ( { server = 5; } );", "server must be a text in quotes, not a whole number"},
        {"rules = ( { server = ( true ); } );", "an entry must be a text in quotes"},
        {"rules = ( { server = \"https://x\"; } );", "is no server name; write it as in user ids"},
        {"rules = ( { server = \"@a:b\"; } );", "is no server name"},
        {"rules = ( { server = \"\"; } );", "an empty pattern matches nothing"},
        {"rules = ( { server = [ ]; } );", "server is an empty list; put something in"},
        {"rules = ( { user = \"alice\"; } );", "user ids begin with @"},
        {"rules = ( { user = \"@a\\x01:b\"; } );", "control character"},
        {"rules = ( { room = \"#room:x\"; } );", "addresses are not known here"},
        {"rules = ( { room = \"room\"; } );", "begins with !"},
        {"rules = ( { sources = \"mic\"; } );", "there is no source \"mic\"; there are camera"},
        {"rules = ( { sources = [ ]; } );", "write publish = false"},
        {"rules = ( { sources = ( 1 ); } );", "must be a text in quotes"},
        {"rules = ( { max_participants = -1; } );", "from 0 (no limit) to 100000"},
        {"rules = ( { max_participants = 100001; } );", "from 0 (no limit) to 100000"},
        {"rules = ( { max_participants = \"5\"; } );", "must be a whole number"},
        {"rules = ( { token_lifetime = \"soon\"; } );", "\"soon\" is no time; write"},
        {"rules = ( { token_lifetime = \"1s\"; } );", "token_lifetime must be from 10s to 24h"},
        {"rules = ( { token_lifetime = 86401; } );", "token_lifetime must be from 10s to 24h"},
        {"rules = ( { token_lifetime = -9223372036854775807L; } );", "must be from 10s to 24h"},
        {"rules = ( { token_lifetime = true; } );", "token_lifetime must be a time such as"},
        {"rules = ( { name = \"\"; } );", "a name has 1 to 63 bytes"},
        {"rules = ( { name = 1; } );", "name must be a text in quotes"},
        {"rules = ( { name = \"denied_servers\"; } );", "has a meaning of its own"},
        {"rules = ( { name = \"a\"; user = \"@x:*\"; },\n { name = \"a\"; } );",
         "p.conf:2: the name \"a\" is the one of the rule in line 1"},
        {"rules = (\n { },\n { create = true; } );",
         "p.conf:3: rule \"rule 2\" is never reached: rule \"rule 1\" (line 2) matches everything"},
        {"rules = (\n { server = [ \"x\", \"**\" ]; },\n { create = true; } );", "never reached"},
        {"rules = ( { deny = true;\n create = true; } );",
         "rule \"rule 1\" has deny (line 1) and create (line 2); drop one"},
        {"rules = ( { publish = false;\n sources = \"camera\"; } );",
         "sources (line 2) means nothing with publish = false (line 1)"},
        {"rules = ( { create = false; max_participants = 3; } );",
         "max_participants (line 1) means nothing with create = false (line 1)"},
        {"denied_servers = [ \"a b\" ];", "p.conf:1: \"a b\" is no server name"},
        {"allowed_servers = [ ];", "allowed_servers is an empty list"},
        {"rules = ( { ", "p.conf:1: syntax error"},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct access_policy *p = NULL;
        err[0] = '\0';
        if (access_policy_parse("p.conf", row[i].text, &p, err) != -EINVAL || p != NULL ||
            strstr(err, row[i].message) == NULL || strncmp(err, "p.conf:", 7) != 0) {
            fail_msg("%s\n  gives: %s\n  wants: %s", row[i].text, err, row[i].message);
        }
    }
}

static void too_much_is_refused(void **state)
{
    (void)state;
    struct dynbuf text;
    dynbuf_init(&text, 1u << 20);
    dynbuf_add_str(&text, "rules = ( { user = \"@0:x\"; }");
    for (int i = 1; i <= ACCESS_POLICY_RULES_MAX; i++) {
        dynbuf_addf(&text, ",{ user = \"@%d:x\"; }", i);
    }
    dynbuf_add_str(&text, ");");
    struct access_policy *p = NULL;
    assert_int_equal(access_policy_parse("p.conf", dynbuf_cstr(&text), &p, err), -EINVAL);
    assert_non_null(strstr(err, "more than 1000 rules"));
    dynbuf_reset(&text);
    dynbuf_add_str(&text, "denied_servers = [ \"0\"");
    for (int i = 1; i <= ACCESS_POLICY_PATTERNS_MAX; i++) {
        dynbuf_addf(&text, ",\"%d\"", i);
    }
    dynbuf_add_str(&text, "];");
    assert_int_equal(access_policy_parse("p.conf", dynbuf_cstr(&text), &p, err), -EINVAL);
    assert_non_null(strstr(err, "more than 10000 patterns"));
    dynbuf_reset(&text);
    dynbuf_add_str(&text, "denied_servers = \"");
    for (int i = 0; i <= ACCESS_POLICY_PATTERN_MAX; i++) {
        dynbuf_add_u8(&text, 'a');
    }
    dynbuf_add_str(&text, "\";");
    assert_int_equal(access_policy_parse("p.conf", dynbuf_cstr(&text), &p, err), -EINVAL);
    assert_non_null(strstr(err, "longer than any id"));
    assert_null(p);
    dynbuf_done(&text);
}

static void put_file(const char *path, const char *text)
{
    FILE *const f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void a_bad_file_leaves_the_old_rules_in_force(void **state)
{
    (void)state;
    char path[] = "/tmp/foci-test-XXXXXX";
    int const fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    struct access_policy *p = NULL;
    put_file(path, "rules = ( { name = \"one\"; } );");
    assert_int_equal(access_policy_reload(path, &p, err), 0);
    struct access_policy *const before = p;
    put_file(path, "rules = ( { name = \"two\" crate = 1; } );");
    assert_int_equal(access_policy_reload(path, &p, err), -EINVAL);
    assert_non_null(strstr(err, path));
    assert_ptr_equal(p, before);
    assert_string_equal(decide(p, &baseline, "@a:x", "!r", true).rule, "one");
    put_file(path, "rules = ( { name = \"two\"; } );");
    struct access_decision const earlier = decide(p, &baseline, "@a:x", "!r", true);
    assert_int_equal(access_policy_reload(path, &p, err), 0);
    assert_string_equal(decide(p, &baseline, "@a:x", "!r", true).rule, "two");
    assert_string_equal(earlier.rule, "one"); // holds no pointer into the old one
    (void)unlink(path);
    assert_int_equal(access_policy_reload(path, &p, err), -ENOENT);
    assert_string_equal(decide(p, &baseline, "@a:x", "!r", true).rule, "two");
    access_policy_free(p);
}

// ---- explaining -----------------------------------------------------------------------------

static void explains(const struct access_policy *p, const struct access_defaults *d,
                     const char *user, const char *room, bool full, const char *const *lines)
{
    struct dynbuf out;
    dynbuf_init(&out, 64u << 10);
    struct access_question const q = {.server_name = access_policy_server_of(user),
                                      .user_id = user,
                                      .room_id = room,
                                      .full_access = full};
    access_policy_explain(p, d, &q, &out);
    const char *at = dynbuf_cstr(&out);
    for (size_t i = 0; lines[i] != NULL; i++) {
        const char *const found = strstr(at, lines[i]);
        if (found == NULL) {
            fail_msg("\"%s\" is not in:\n%s", lines[i], dynbuf_cstr(&out));
        }
        at = found;
    }
    for (const char *c = dynbuf_cstr(&out); *c != '\0'; c++) {
        assert_true((unsigned char)*c >= ' ' || *c == '\n');
    }
    dynbuf_done(&out);
}

// The example is part of the documentation: it loads, and does what its comments say.
static void the_example_file_explains_itself(void **state)
{
    (void)state;
    struct access_policy *p = NULL;
    if (access_policy_load("deploy/policy.example.conf", &p, err) != 0) {
        fail_msg("%s", err);
    }
    explains(
        p, &baseline, "@troll:example.org", "!r:x", true,
        (const char *const[]){"server            example.org  (full access)", "\"banned\"",
                              "decision          no token  (deploy/policy.example.conf:", NULL});
    explains(p, &baseline, "@a:b.spam.example", "!r:x", true,
             (const char *const[]){"no token: the server is in denied_servers  (deploy/", NULL});
    explains(p, &baseline, "@a:school.example", "!r:x", false,
             (const char *const[]){
                 "not rule          \"banned\": user is not \"@troll:example.org\"",
                 "not rule          \"announcements\"",
                 "rule              \"class rooms\", server is \"school.example\"",
                 "create rooms      yes  (deploy/", "participants      at most 30  (deploy/",
                 "publish           yes  (setting restricted_can_publish)",
                 "sources           microphone, screen_share, "
                 "screen_share_audio  (deploy/",
                 "delegate leaves   yes  (deploy/", "token valid for   600 s  (deploy/", NULL});
    explains(p, &baseline, "@a:x", "!announcements:example.org", false,
             (const char *const[]){"create rooms      no  (default without full access)",
                                   "publish           no  (deploy/",
                                   "token valid for   3600 s  (setting token_lifetime)", NULL});
    explains(p, &baseline, "@a:x", "!r", true,
             (const char *const[]){"rule              \"everybody else\"  (deploy/",
                                   "participants      at most 100  (deploy/",
                                   "sources           all  (default)", NULL});
    access_policy_free(p);
}

static void explains_without_rules_and_shows_no_control_characters(void **state)
{
    (void)state;
    explains(NULL, &baseline, "@a\x1b[2J:x", "!r\n", true,
             (const char *const[]){"user              @a?[2J:x\n", "room              !r?\n",
                                   "rule              none: the defaults hold",
                                   "participants      no limit  (default)", NULL});
    struct access_policy *const p = policy(
        "rules = ( { user = [ \"@1:x\", \"@2:x\", \"@3:x\", \"@4:x\", \"@5:x\", \"@6:x\" ]; } );");
    explains(p, &baseline, "@a:x", "!r", false,
             (const char *const[]){"\"@4:x\" and 2 more  (p.conf:1)",
                                   "rule              none matches: the defaults hold", NULL});
    static const char *const allowed[] = {"y"};
    struct access_defaults const d = {.allowed_servers = allowed, .allowed_server_count = 1};
    explains(p, &d, "@a:x", "!r", false,
             (const char *const[]){"the server is not in allowed_homeservers  (setting)", NULL});
    access_policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs),
        cmocka_unit_test(many_stars_end_soon),
        cmocka_unit_test(server_of_a_user_id),
        cmocka_unit_test(without_a_policy_the_full_access_list_decides),
        cmocka_unit_test(the_first_rule_that_matches_decides_all),
        cmocka_unit_test(sources_do_not_grant_publishing),
        cmocka_unit_test(a_denial_gives_nothing),
        cmocka_unit_test(lists_of_servers_come_first),
        cmocka_unit_test(a_server_is_denied_beforehand_only_if_nobody_gets_in),
        cmocka_unit_test(each_mistake_is_told_with_its_place_and_the_way_out),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(a_bad_file_leaves_the_old_rules_in_force),
        cmocka_unit_test(the_example_file_explains_itself),
        cmocka_unit_test(explains_without_rules_and_shows_no_control_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
