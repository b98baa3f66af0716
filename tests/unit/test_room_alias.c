// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: token_issuer
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "jwt-service/base/token_issuer.h"

// authorization-service 3.3.
static const struct {
    const char *parts[3];
    const char *hash;
} vectors[] = {
    {{"!roomid:example.com", "slot1234"}, "O8437W3+jmzMVjoIP3tNwbm+XxHQk2iKpOA7aqw3qSc"},
    {{"!room:example.com", "m.call#ROOM"}, "krj2dgxw2K6EOm9he4GfQJ6JsSVWfJ8a7BkyjZcSmxs"},
    {{"!room:example.com", "m.call#"}, "hrQ0l3fv1RI0sCBUn3Nu59Bu/b3f7hWXbMLLfFMLNOY"},
    {{"!room-a:example.com", "m.call#"}, "2cHfMFYkSCG0sSSNyhua00HhjgTBRdPCxeJqCcPl3wM"},
    {{"!room-b:example.com", "m.call#"}, "qDZClpPYdYhmfOnEd22J/bCtPcsTiEG2DchJPyzFMWY"},
    {{"!room-a:example.com", "m.call#ROOM"}, "oQ6HMW8vQTeQBAh0ZtH5Kl/VDp5H3v/WLbDXqCmcdNw"},
    {{"!room-b:example.com", "m.call#ROOM"}, "J8ky6mGHdeCE7t6yA/wSYkD2f1PtxsxPUaPCRgEbjyw"},
    {{"!gIpOlaUSrXBmgtveWK:call.ems.host", "m.call#ROOM"},
     "O9fjXP35ffUz7WTQRfX6zrLDjkDv7VX2N1CVFzP01tQ"},
    {{"!roomid:example.com", "slot123", "random123"},
     "IMeDd+K3MIqJTI20EXBIrepKkhhORvf3q8fx3rlrhTk"},
    {{"", ""}, "Q5CD84lWulHs6QYxVSxuojxcKVcNPVcQ5AjnfgG6c3U"},
    {{"@alice:example.com", "DEVICE123", "memberABC"},
     "J+T45tGruxc+HrUOqJJlyQSV33m728Cme4+vt8/SWrU"},
    {{"@alice:example.com", "DEVICE", "member-1"}, "vYVt8NUMTb0rAawkFqilcAtxKgY26U3Ab7R9INviNnU"},
    {{"@alice:127.0.0.1:8448", "DEVICE", "member-1"},
     "c0x3IaatFgGb8aOdjTwQIKoJJB5phhA0teoiTNqNqXI"},
    {{"@alice:example.com", "memberABC"}, "M3VnsLXrkbxIDINXO64u8PZzFyD9ZYFiQULR2dshWYs"},
    {{"@\xc3\xa4lice:ex\xc3\xa4mple.com", "GER\xc3\x84T", "\xf0\x9f\x98\x80"},
     "z+uSwXw+YgoVv1Yl7VTfCd7uu3p9Ot2rf5/B3Wfpc7w"},
    {{"@q\"uote\\:example.com", "tab\there", "ctl\x01\x7f"},
     "VYtb173vM4R+AJjZ95riXM0tJdkb/CJ2Sl2Qxl3MIes"},
    {{"@a&b:example.com", "D<1>", "m"}, "2BzI1mmiJY/hhvfiMSMAbUNjWuqhyKcUFZ5JrBP1yeo"},
    {{"!ro\xe2\x80\xa8om:example.com", "m.call#ROOM"},
     "dEptSqTyJl/1pWLcwxAllT89ayaUS/stg87vgEsmOqc"},
};

static void hashes_are_those_of_the_specification(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char got[ROOM_ALIAS_SIZE];
        assert_int_equal(room_alias_hash(vectors[i].parts, vectors[i].parts[2] ? 3 : 2, got), 0);
        assert_string_equal(got, vectors[i].hash);
    }
}

static void both_endpoints_lead_into_one_room(void **state)
{
    (void)state;
    struct token_request legacy = {.endpoint = TOKEN_SFU_GET,
                                   .room = "!room:example.com",
                                   .slot = "m.call#ROOM",
                                   .device_id = "DEV"};
    struct token_request m2 = {.endpoint = TOKEN_GET_TOKEN,
                               .room = "!room:example.com",
                               .slot = "m.call#ROOM",
                               .device_id = "DEVICE",
                               .member_id = "member-1"};
    struct token_subject a;
    struct token_subject b;
    assert_int_equal(token_subject_make(&legacy, "@alice:example.com", &a), 0);
    assert_int_equal(token_subject_make(&m2, "@alice:example.com", &b), 0);
    assert_string_equal(a.room, b.room);
    assert_string_equal(a.identity, "@alice:example.com:DEV");
    assert_string_equal(b.identity, "vYVt8NUMTb0rAawkFqilcAtxKgY26U3Ab7R9INviNnU");
    legacy.device_id = "";
    assert_int_equal(token_subject_make(&legacy, "@alice:example.com", &a), 0);
    assert_string_equal(a.identity, "@alice:example.com:");
}

static void join_tokens_carry_exactly_the_grants_of_the_original(void **state)
{
    (void)state;
    CLEANUP(api_keys_free) struct api_keys *keys = api_keys_new();
    assert_int_equal(api_keys_add(keys, bytes_str("devkey"), bytes_str("devsecret")), 0);
    struct token_subject s = {.room = "R", .identity = "I"};
    wall_t const now = {INT64_C(1767225600) * US_PER_S};
    char *token = NULL;
    struct token_rights const rights = {
        .publish = true, .subscribe = true, .update_metadata = true, .lifetime_s = 3600};
    assert_int_equal(token_issue_join(api_keys_first(keys), now, &s, &rights, &token), 0);
    CLEANUP(access_token_free) struct access_token *t = NULL;
    struct access_token_refusal refusal;
    assert_int_equal(access_token_verify(keys, now, bytes_str(token), &t, &refusal), 0);
    mem_free(token);
    const struct access_claims *const c = &t->claims;
    assert_int_equal(c->exp - c->iat, 3600);
    assert_true(c->nbf < c->iat);
    assert_true(c->video.room_join);
    assert_false(c->video.room_create || c->video.room_admin || c->video.room_list);
    assert_int_equal(c->video.can_publish, TRISTATE_TRUE);
    assert_int_equal(c->video.can_subscribe, TRISTATE_TRUE);
    assert_int_equal(c->video.can_publish_data, TRISTATE_UNSET);
    assert_int_equal(c->video.can_update_own_metadata, TRISTATE_TRUE);

    assert_int_equal(token_issue_room_create(api_keys_first(keys), now, &token), 0);
    CLEANUP(access_token_free) struct access_token *create = NULL;
    assert_int_equal(access_token_verify(keys, now, bytes_str(token), &create, &refusal), 0);
    mem_free(token);
    assert_true(create->claims.video.room_create);
    assert_false(create->claims.video.room_join);
    assert_null(create->claims.identity);
}

static void what_is_not_allowed_is_written_out(void **state)
{
    (void)state;
    CLEANUP(api_keys_free) struct api_keys *keys = api_keys_new();
    assert_int_equal(api_keys_add(keys, bytes_str("devkey"), bytes_str("devsecret")), 0);
    struct token_subject s = {.room = "R", .identity = "I"};
    wall_t const now = {INT64_C(1767225600) * US_PER_S};
    // Camera is LiveKit's source 1, microphone 2.
    struct token_rights const rights = {.subscribe = true, .sources = 1u << 2, .lifetime_s = 60};
    char *token = NULL;
    assert_int_equal(token_issue_join(api_keys_first(keys), now, &s, &rights, &token), 0);
    CLEANUP(access_token_free) struct access_token *t = NULL;
    struct access_token_refusal refusal;
    assert_int_equal(access_token_verify(keys, now, bytes_str(token), &t, &refusal), 0);
    mem_free(token);
    assert_int_equal(t->claims.exp - t->claims.iat, 60);
    assert_int_equal(t->claims.video.can_publish, TRISTATE_FALSE);
    assert_int_equal(t->claims.video.can_update_own_metadata, TRISTATE_FALSE);
    assert_int_equal(t->claims.video.can_publish_sources, 1u << 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_the_specification),
        cmocka_unit_test(both_endpoints_lead_into_one_room),
        cmocka_unit_test(join_tokens_carry_exactly_the_grants_of_the_original),
        cmocka_unit_test(what_is_not_allowed_is_written_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
