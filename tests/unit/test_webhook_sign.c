// SPDX-License-Identifier: Apache-2.0
// LINK: lk
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/base64.h"
#include "common/base/mem.h"
#include "common/lk/webhook_sign.h"

#define NOW INT64_C(1767225600)

static struct api_keys *keys;

static int setup(void **state)
{
    (void)state;
    keys = api_keys_new();
    return api_keys_add(keys, bytes_str("devkey"), bytes_str("devsecret")) == 0 &&
                   api_keys_add(keys, bytes_str("old"), bytes_str("oldsecret")) == 0
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    api_keys_free(keys);
    return 0;
}

static wall_t at(int64_t s)
{
    return (wall_t){s * US_PER_S};
}

static enum webhook_check_why check(const char *authorization, const char *body, int64_t now_s)
{
    struct webhook_refusal refusal = {0};
    int const r =
        webhook_check(keys, at(now_s), bytes_str(authorization), bytes_str(body), &refusal);
    assert_true(r == 0 || r == -EACCES);
    assert_true((r == 0) == (refusal.why == WEBHOOK_CHECK_OK));
    assert_true((refusal.text[0] != 0) == (r != 0));
    return refusal.why;
}

// authorization-service 1.10, the worked example.
#define BODY                                                                                       \
    "{\"event\":\"participant_joined\",\"room\":{\"name\":\"R\"},\"participant\":{\"identity\":"   \
    "\"I\"},\"id\":\"EV_1\",\"createdAt\":\"1767225600\"}"
#define TOKEN                                                                                      \
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."                                                        \
    "eyJpc3MiOiJkZXZrZXkiLCJleHAiOjE3NjcyMjU5MDAsIm5iZiI6MTc2NzIyNTYwMCwiaWF0IjoxNzY3MjI1NjAwLCJz" \
    "aGEyNTYiOiJ6OG02dmRMdXA4VW5ONXRoTlJTK1YyQTRXZVVjY290VjBKT0xNWEczckpjPSJ9."                    \
    "1tyixbsbWTD-ovjNMPHfg0Z77KHZvu80uDczql_it00"

static void the_worked_example_is_accepted_and_made(void **state)
{
    (void)state;
    assert_int_equal(check(TOKEN, BODY, NOW), WEBHOOK_CHECK_OK);
    char *token = NULL;
    assert_int_equal(webhook_sign(api_keys_first(keys), at(NOW), bytes_str(BODY), &token), 0);
    struct access_token *t = NULL;
    struct access_token_refusal refusal;
    assert_int_equal(access_token_verify(keys, at(NOW), bytes_str(token), &t, &refusal), 0);
    assert_string_equal(t->api_key, "devkey");
    assert_int_equal(t->claims.iat, NOW);
    assert_int_equal(t->claims.nbf, NOW);
    assert_int_equal(t->claims.exp, NOW + 300);
    assert_string_equal(t->claims.sha256, "z8m6vdLup8UnN5thNRS+V2A4WeUccotV0JOLMXG3rJc=");
    assert_null(t->claims.identity);
    assert_false(t->claims.has_video);
    access_token_free(t);
    assert_int_equal(check(token, BODY, NOW), WEBHOOK_CHECK_OK);
    mem_free(token);
}

static void any_key_of_the_set_may_have_signed(void **state)
{
    (void)state;
    char *token = NULL;
    assert_int_equal(webhook_sign(api_keys_at(keys, 1), at(NOW), bytes_str("{}"), &token), 0);
    assert_int_equal(check(token, "{}", NOW), WEBHOOK_CHECK_OK);
    mem_free(token);
}

static void a_changed_body_is_refused(void **state)
{
    (void)state;
    assert_int_equal(check(TOKEN, BODY " ", NOW), WEBHOOK_CHECK_BAD_DIGEST);
    assert_int_equal(check(TOKEN, "", NOW), WEBHOOK_CHECK_BAD_DIGEST);
}

static void a_token_made_for_a_client_is_refused(void **state)
{
    (void)state;
    struct access_claims const claims = {.identity = "alice",
                                         .exp = NOW + 600,
                                         .has_video = true,
                                         .video = {.room = "r", .room_join = true}};
    char *token = NULL;
    assert_int_equal(access_token_mint(&claims, api_keys_first(keys), &token), 0);
    assert_int_equal(check(token, BODY, NOW), WEBHOOK_CHECK_NO_DIGEST);
    mem_free(token);
}

static void nothing_is_no_token(void **state)
{
    (void)state;
    assert_int_equal(check("", BODY, NOW), WEBHOOK_CHECK_NO_TOKEN);
    assert_int_equal(check("Bearer ", BODY, NOW), WEBHOOK_CHECK_NO_TOKEN);
    assert_int_equal(check("Bearer", BODY, NOW), WEBHOOK_CHECK_BAD_TOKEN);
    assert_int_equal(check("bEARER " TOKEN, BODY, NOW), WEBHOOK_CHECK_OK);
}

static void times_have_a_minute_of_leeway(void **state)
{
    (void)state;
    assert_int_equal(check(TOKEN, BODY, NOW + 300 + 59), WEBHOOK_CHECK_OK);
    assert_int_equal(check(TOKEN, BODY, NOW + 300 + 60), WEBHOOK_CHECK_BAD_TOKEN);
    assert_int_equal(check(TOKEN, BODY, NOW - 60), WEBHOOK_CHECK_OK);
    assert_int_equal(check(TOKEN, BODY, NOW - 61), WEBHOOK_CHECK_BAD_TOKEN);
}

static void the_refusal_says_what_was_wrong_with_the_token(void **state)
{
    (void)state;
    struct webhook_refusal refusal = {0};
    assert_int_equal(
        webhook_check(keys, at(NOW + 1000), bytes_str(TOKEN), bytes_str(BODY), &refusal), -EACCES);
    assert_int_equal(refusal.token, ACCESS_TOKEN_EXPIRED);
    assert_non_null(strstr(refusal.text, "expired"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_example_is_accepted_and_made),
        cmocka_unit_test(any_key_of_the_set_may_have_signed),
        cmocka_unit_test(a_changed_body_is_refused),
        cmocka_unit_test(a_token_made_for_a_client_is_refused),
        cmocka_unit_test(nothing_is_no_token),
        cmocka_unit_test(times_have_a_minute_of_leeway),
        cmocka_unit_test(the_refusal_says_what_was_wrong_with_the_token),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
