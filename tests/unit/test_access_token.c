// SPDX-License-Identifier: Apache-2.0
// LINK: lk
// COVERS: access_claims digest
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/base64.h"
#include "common/base/mem.h"
#include "common/lk/access_token.h"
#include "common/svc/digest.h"

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

// Signs any header and payload: what a peer may make up.
static char *forge(const char *header, const char *payload, const char *secret)
{
    struct dynbuf b;
    dynbuf_init(&b, 256u << 10);
    base64_encode(BASE64_URL_NOPAD, bytes_str(header), &b);
    dynbuf_add_u8(&b, '.');
    base64_encode(BASE64_URL_NOPAD, bytes_str(payload), &b);
    uint8_t mac[DIGEST_SHA256_LEN];
    digest_hmac_sha256(bytes_str(secret), dynbuf_view(&b), mac);
    dynbuf_add_u8(&b, '.');
    if (*secret) {
        base64_encode(BASE64_URL_NOPAD, bytes_of(mac, sizeof(mac)), &b);
    }
    size_t n = 0;
    return dynbuf_take_cstr(&b, &n);
}

static enum access_token_why verdict(const char *token, int64_t now_s, char *ret_text)
{
    struct access_token *t = NULL;
    struct access_token_refusal refusal = {0};
    int const r = access_token_verify(keys, at(now_s), bytes_str(token), &t, &refusal);
    if (r == 0) {
        access_token_free(t);
        return ACCESS_TOKEN_OK;
    }
    assert_int_equal(r, -EACCES);
    assert_null(t);
    if (ret_text) {
        strcpy(ret_text, refusal.text);
    }
    return refusal.why;
}

static enum access_token_why verdict_of(const char *header, const char *payload, int64_t now_s)
{
    char *const token = forge(header, payload, "devsecret");
    enum access_token_why const why = verdict(token, now_s, NULL);
    mem_free(token);
    return why;
}

#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

// authorization-service 4.3.
static const char spec_token[] =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJpc3MiOiJkZXZrZXkiLCJzdWIiOiJ2WVZ0OE5VTVRiMHJBYXdrRnFpbGNBdHhLZ1kyNlUzQWI3UjlJTnZpTm5VIiwi"
    "ZXhwIjoxNzY3MjI5MjAwLCJuYmYiOjE3NjcyMjU2MDAsImlhdCI6MTc2NzIyNTYwMCwiaWRlbnRpdHkiOiJ2WVZ0OE5V"
    "TVRiMHJBYXdrRnFpbGNBdHhLZ1kyNlUzQWI3UjlJTnZpTm5VIiwidmlkZW8iOnsicm9vbUpvaW4iOnRydWUsInJvb20i"
    "OiJrcmoyZGd4dzJLNkVPbTloZTRHZlFKNkpzU1ZXZko4YTdCa3lqWmNTbXhzIiwiY2FuUHVibGlzaCI6dHJ1ZSwiY2Fu"
    "U3Vic2NyaWJlIjp0cnVlLCJjYW5VcGRhdGVPd25NZXRhZGF0YSI6dHJ1ZX19."
    "x9xCHNw3gham7roDycwZhFFOKN3U6w9u4FRJJHybCiA";

static void a_token_of_the_original_service_is_read(void **state)
{
    (void)state;
    CLEANUP(access_token_free) struct access_token *t = NULL;
    struct access_token_refusal refusal;
    assert_int_equal(access_token_verify(keys, at(NOW), bytes_str(spec_token), &t, &refusal), 0);
    const struct access_claims *const c = &t->claims;
    assert_string_equal(t->api_key, "devkey");
    assert_string_equal(c->identity, "vYVt8NUMTb0rAawkFqilcAtxKgY26U3Ab7R9INviNnU");
    assert_true(c->has_video);
    assert_true(c->video.room_join);
    assert_false(c->video.room_create);
    assert_string_equal(c->video.room, "krj2dgxw2K6EOm9he4GfQJ6JsSVWfJ8a7BkyjZcSmxs");
    assert_int_equal(c->video.can_publish, TRISTATE_TRUE);
    assert_int_equal(c->video.can_publish_data, TRISTATE_UNSET);
    assert_true(video_grant_may_publish_data(&c->video));
    assert_true(video_grant_may_update_own_metadata(&c->video));
    assert_false(video_grant_may_subscribe_metrics(&c->video));
    assert_true(video_grant_may_publish_source(&c->video, 3));
    assert_int_equal(c->exp, NOW + 3600);
}

static void times_have_a_minute_of_leeway(void **state)
{
    (void)state;
    char text[160];
    assert_int_equal(verdict(spec_token, NOW - 60, NULL), ACCESS_TOKEN_OK);
    assert_int_equal(verdict(spec_token, NOW - 61, text), ACCESS_TOKEN_NOT_YET_VALID);
    assert_string_equal(text,
                        "invalid token, error: token has invalid claims: token is not valid yet");
    assert_int_equal(verdict(spec_token, NOW + 3600 + 59, NULL), ACCESS_TOKEN_OK);
    assert_int_equal(verdict(spec_token, NOW + 3600 + 60, text), ACCESS_TOKEN_EXPIRED);
    assert_string_equal(text, "invalid token, error: token has invalid claims: token is expired");
}

static void only_hs256_is_accepted(void **state)
{
    (void)state;
    static const char p[] = "{\"iss\":\"devkey\",\"exp\":1767229200}";
    assert_int_equal(verdict_of(HS256, p, NOW), ACCESS_TOKEN_OK);
    assert_int_equal(verdict_of("{\"alg\":\"HS256\"}", p, NOW), ACCESS_TOKEN_OK);
    assert_int_equal(verdict_of("{\"alg\":\"none\"}", p, NOW), ACCESS_TOKEN_BAD_ALG);
    assert_int_equal(verdict_of("{\"alg\":\"RS256\"}", p, NOW), ACCESS_TOKEN_BAD_ALG);
    assert_int_equal(verdict_of("{\"alg\":\"HS384\"}", p, NOW), ACCESS_TOKEN_BAD_ALG);
    assert_int_equal(verdict_of("{\"alg\":\"hs256\"}", p, NOW), ACCESS_TOKEN_BAD_ALG);
    assert_int_equal(verdict_of("{\"alg\":\"HS256\",\"crit\":[\"x\"]}", p, NOW),
                     ACCESS_TOKEN_BAD_ALG);
    assert_int_equal(verdict_of("{\"typ\":\"JWT\"}", p, NOW), ACCESS_TOKEN_MALFORMED);
    assert_int_equal(verdict_of("[]", p, NOW), ACCESS_TOKEN_MALFORMED);
    char *const unsigned_token = forge("{\"alg\":\"none\"}", p, "");
    assert_int_equal(verdict(unsigned_token, NOW, NULL), ACCESS_TOKEN_BAD_ALG);
    mem_free(unsigned_token);
}

static void a_foreign_or_changed_signature_is_refused(void **state)
{
    (void)state;
    static const char p[] = "{\"iss\":\"devkey\",\"exp\":1767229200}";
    char *token = forge(HS256, p, "othersecret");
    char text[160];
    assert_int_equal(verdict(token, NOW, text), ACCESS_TOKEN_BAD_SIGNATURE);
    assert_string_equal(text,
                        "invalid token, error: token signature is invalid: signature is invalid");
    mem_free(token);
    token = forge(HS256, p, "devsecret");
    size_t const n = strlen(token);
    assert_int_equal(verdict(token, NOW, NULL), ACCESS_TOKEN_OK);
    token[n - 20] = token[n - 20] == 'A' ? 'B' : 'A';
    assert_int_equal(verdict(token, NOW, NULL), ACCESS_TOKEN_BAD_SIGNATURE);
    strrchr(token, '.')[1] = '\0';
    assert_int_equal(verdict(token, NOW, NULL), ACCESS_TOKEN_BAD_SIGNATURE);
    mem_free(token);
}

static void the_issuer_selects_the_secret(void **state)
{
    (void)state;
    char *token = forge(HS256, "{\"iss\":\"old\",\"exp\":1767229200}", "oldsecret");
    assert_int_equal(verdict(token, NOW, NULL), ACCESS_TOKEN_OK);
    mem_free(token);
    char text[160];
    token = forge(HS256, "{\"iss\":\"nobody\",\"exp\":1767229200}", "devsecret");
    assert_int_equal(verdict(token, NOW, text), ACCESS_TOKEN_UNKNOWN_KEY);
    assert_string_equal(text, "invalid API key: nobody");
    mem_free(token);
    token = forge(HS256, "{\"iss\":\"a\\r\\nb\",\"exp\":1767229200}", "devsecret");
    assert_int_equal(verdict(token, NOW, text), ACCESS_TOKEN_UNKNOWN_KEY);
    assert_string_equal(text, "invalid API key");
    mem_free(token);
    assert_int_equal(verdict_of(HS256, "{\"exp\":1767229200}", NOW), ACCESS_TOKEN_UNKNOWN_KEY);
    assert_int_equal(verdict_of(HS256, "{\"iss\":7,\"exp\":1767229200}", NOW),
                     ACCESS_TOKEN_UNKNOWN_KEY);
}

static void a_retired_key_is_told(void **state)
{
    (void)state;
    unsigned line = 0;
    char text[160];
    assert_int_equal(
        api_keys_parse(keys, bytes_str("gone: s # retires 2026-01-01T01:00:00Z"), &line), 0);
    char *const token = forge(HS256, "{\"iss\":\"gone\",\"exp\":1767239200}", "s");
    assert_int_equal(verdict(token, NOW + 3599, NULL), ACCESS_TOKEN_OK);
    assert_int_equal(verdict(token, NOW + 3600, text), ACCESS_TOKEN_RETIRED_KEY);
    assert_string_equal(text, "invalid API key: gone (retired)");
    mem_free(token);
}

static void expiry_is_mandatory(void **state)
{
    (void)state;
    assert_int_equal(verdict_of(HS256, "{\"iss\":\"devkey\"}", NOW), ACCESS_TOKEN_NO_EXP);
    assert_int_equal(verdict_of(HS256, "{\"iss\":\"devkey\",\"exp\":null}", NOW),
                     ACCESS_TOKEN_NO_EXP);
    assert_int_equal(verdict_of(HS256, "{\"iss\":\"devkey\",\"exp\":\"soon\"}", NOW),
                     ACCESS_TOKEN_MALFORMED);
    assert_int_equal(verdict_of(HS256, "{\"iss\":\"devkey\",\"exp\":1e300}", NOW),
                     ACCESS_TOKEN_MALFORMED);
    assert_int_equal(verdict_of(HS256, "{\"iss\":\"devkey\",\"exp\":1767229200.5}", NOW),
                     ACCESS_TOKEN_OK);
    assert_int_equal(verdict_of(HS256, "{\"iss\":\"devkey\",\"exp\":-1}", NOW),
                     ACCESS_TOKEN_EXPIRED);
}

static void what_is_no_jwt_is_malformed(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",          "x",      ".",        "..",         "a.b",       "....",        "e30.e30",
        "e30.e30.x", "e30..x", "!!.e30.x", "e30=.e30.x", "e30.W10.x", "bnVsbA.e30.x"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(verdict(texts[i], NOW, NULL), ACCESS_TOKEN_MALFORMED);
    }
    assert_int_equal(
        verdict_of(HS256, "{\"iss\":\"old\",\"iss\":\"devkey\",\"exp\":1767229200}", NOW),
        ACCESS_TOKEN_MALFORMED);
    assert_int_equal(verdict_of(HS256, "{\"iss\":\"devkey\",\"exp\":1767229200,\"video\":[]}", NOW),
                     ACCESS_TOKEN_MALFORMED);
    assert_int_equal(
        verdict_of(HS256, "{\"iss\":\"devkey\",\"exp\":1767229200,\"sub\":\"a\\u0000b\"}", NOW),
        ACCESS_TOKEN_MALFORMED);
}

static void an_oversized_token_is_refused_unread(void **state)
{
    (void)state;
    char *const big = mem_alloc(ACCESS_TOKEN_MAX + 2);
    memset(big, 'A', ACCESS_TOKEN_MAX + 1);
    assert_int_equal(verdict(big, NOW, NULL), ACCESS_TOKEN_TOO_LONG);
    mem_free(big);
}

static void all_claims_are_read(void **state)
{
    (void)state;
    char *const token = forge(
        HS256,
        "{\"iss\":\"devkey\",\"exp\":1767229200,\"jti\":\"anna\",\"name\":\"Anna\",\"kind\":"
        "\"agent\","
        "\"kindDetails\":[\"cloud_agent\"],\"metadata\":\"m\",\"attributes\":{\"a\":\"1\",\"n\":"
        "null,"
        "\"b\":\"\"},\"roomConfig\":{\"emptyTimeout\":5},\"roomPreset\":\"p\",\"sha256\":\"s=\","
        "\"sip\":{\"admin\":true},\"future\":{\"x\":[1]},\"video\":{\"canPublish\":false,"
        "\"canPublishSources\":[\"camera\",\"SCREEN_SHARE\",\"holodeck\"],\"hidden\":true,"
        "\"destinationRoom\":\"d\",\"canSubscribeMetrics\":true,\"roomAdmin\":true}}",
        "devsecret");
    CLEANUP(access_token_free) struct access_token *t = NULL;
    struct access_token_refusal refusal;
    assert_int_equal(access_token_verify(keys, at(NOW), bytes_str(token), &t, &refusal), 0);
    mem_free(token);
    const struct access_claims *const c = &t->claims;
    assert_string_equal(c->identity, "anna"); // jti stands in for sub
    assert_string_equal(c->name, "Anna");
    assert_string_equal(c->kind, "agent");
    assert_int_equal(c->kind_detail_count, 1);
    assert_string_equal(c->kind_details[0], "cloud_agent");
    assert_int_equal(c->attribute_count, 2);
    assert_string_equal(c->attributes[0].key, "a");
    assert_string_equal(c->attributes[1].value, "");
    assert_string_equal(c->room_config, "{\"emptyTimeout\":5}");
    assert_string_equal(c->room_preset, "p");
    assert_true(c->sip_admin && !c->sip_call);
    assert_false(video_grant_may_publish_data(&c->video)); // follows canPublish
    assert_int_equal(c->video.can_publish_sources, 1u | 1u << 1 | 1u << 3);
    assert_true(c->video.hidden && c->video.room_admin);
    assert_string_equal(c->video.destination_room, "d");
}

static struct access_claims join_claims(const char *identity)
{
    return (struct access_claims){
        .identity = identity,
        .with_identity = true,
        .exp = NOW + 3600,
        .nbf = NOW,
        .iat = NOW,
        .has_video = true,
        .video = {.room_join = true,
                  .room = "krj2dgxw2K6EOm9he4GfQJ6JsSVWfJ8a7BkyjZcSmxs",
                  .can_publish = TRISTATE_TRUE,
                  .can_subscribe = TRISTATE_FALSE,
                  .can_update_own_metadata = TRISTATE_TRUE},
    };
}

static void a_minted_token_verifies_and_comes_back(void **state)
{
    (void)state;
    struct access_attribute const attrs[] = {{"role", "host"}};
    struct access_claims in = join_claims("@alice:example.com:DEVICE");
    in.attributes = attrs;
    in.attribute_count = 1;
    in.room_config = "{\"maxParticipants\":3}";
    in.video.can_publish_sources = 1u << 2;
    char *token = NULL;
    assert_int_equal(access_token_mint(&in, api_keys_first(keys), &token), 0);
    assert_memory_equal(token, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.", 37);
    CLEANUP(access_token_free) struct access_token *t = NULL;
    struct access_token_refusal refusal;
    assert_int_equal(access_token_verify(keys, at(NOW), bytes_str(token), &t, &refusal), 0);
    mem_free(token);
    assert_string_equal(t->claims.identity, "@alice:example.com:DEVICE");
    assert_int_equal(t->claims.video.can_subscribe, TRISTATE_FALSE);
    assert_int_equal(t->claims.video.can_publish_data, TRISTATE_UNSET);
    assert_int_equal(t->claims.video.can_publish_sources, 1u << 2);
    assert_string_equal(t->claims.attributes[0].value, "host");
    assert_string_equal(t->claims.room_config, "{\"maxParticipants\":3}");
}

static void payloads_are_readable_by_atob_for_any_identity(void **state)
{
    (void)state;
    static const char *const identities[] = {"@a:b.c:??????",
                                             "@a:b.c:~~~~~~~",
                                             "@a:b.c:>x>>y>>>",
                                             "@\xc3\xa4lice:b.c:GER\xc3\x84T",
                                             "@a:b.c:\xf0\x9f\x98\x80\xf0\x9f\x98\x80",
                                             "@a:b.c:\x7f\x7f\x7f",
                                             "@a:b.c:\"\\\t",
                                             "@a:b.c:\xef\xbf\xbd"};
    for (size_t i = 0; i < ARRAY_LEN(identities); i++) {
        struct access_claims const in = join_claims(identities[i]);
        char *token = NULL;
        assert_int_equal(access_token_mint(&in, api_keys_first(keys), &token), 0);
        char *const dot1 = strchr(token, '.');
        char *const dot2 = strchr(dot1 + 1, '.');
        assert_null(memchr(dot1, '-', (size_t)(dot2 - dot1)));
        assert_null(memchr(dot1, '_', (size_t)(dot2 - dot1)));
        struct access_token *t = NULL;
        struct access_token_refusal refusal;
        assert_int_equal(access_token_verify(keys, at(NOW), bytes_str(token), &t, &refusal), 0);
        assert_string_equal(t->claims.identity, identities[i]);
        access_token_free(t);
        mem_free(token);
    }
}

static void minting_needs_expiry_and_utf8(void **state)
{
    (void)state;
    char *token = NULL;
    struct access_claims in = join_claims("\xff\xfe");
    assert_int_equal(access_token_mint(&in, api_keys_first(keys), &token), -EINVAL);
    in = join_claims("a");
    in.exp = 0;
    assert_int_equal(access_token_mint(&in, api_keys_first(keys), &token), -EINVAL);
    assert_null(token);
}

static void claims_are_copied_whole(void **state)
{
    (void)state;
    struct access_attribute const attributes[] = {{"k", "v"}, {"l", ""}};
    static const char *const details[] = {"forwarded"};
    char name[] = "Alice";
    struct access_claims in = join_claims("alice");
    in.name = name;
    in.attributes = attributes;
    in.attribute_count = 2;
    in.kind_details = details;
    in.kind_detail_count = 1;
    in.room_config = "{}";
    struct access_token *t = NULL;
    assert_int_equal(access_token_new(&in, "devkey", &t), 0);
    name[0] = 'x';
    const struct access_claims *const c = &t->claims;
    assert_string_equal(c->identity, "alice");
    assert_string_equal(c->name, "Alice");
    assert_null(c->metadata);
    assert_int_equal(c->attribute_count, 2);
    assert_string_equal(c->attributes[0].value, "v");
    assert_string_equal(c->kind_details[0], "forwarded");
    assert_string_equal(c->room_config, "{}");
    assert_string_equal(c->video.room, in.video.room);
    assert_true(c->video.room_join && c->exp == in.exp);
    assert_string_equal(t->api_key, "devkey");
    access_token_free(t);
    // More than a participant can have.
    size_t const n = ACCESS_TOKEN_COPY_MAX + 1;
    char *const huge = mem_alloc(n + 1);
    assert_non_null(huge);
    memset(huge, 'x', n);
    in.metadata = huge;
    assert_int_equal(access_token_new(&in, "devkey", &t), -ENOMEM);
    mem_free(huge);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_of_the_original_service_is_read),
        cmocka_unit_test(times_have_a_minute_of_leeway),
        cmocka_unit_test(only_hs256_is_accepted),
        cmocka_unit_test(a_foreign_or_changed_signature_is_refused),
        cmocka_unit_test(the_issuer_selects_the_secret),
        cmocka_unit_test(expiry_is_mandatory),
        cmocka_unit_test(what_is_no_jwt_is_malformed),
        cmocka_unit_test(an_oversized_token_is_refused_unread),
        cmocka_unit_test(all_claims_are_read),
        cmocka_unit_test(a_minted_token_verifies_and_comes_back),
        cmocka_unit_test(payloads_are_readable_by_atob_for_any_identity),
        cmocka_unit_test(minting_needs_expiry_and_utf8),
        cmocka_unit_test(claims_are_copied_whole),
        cmocka_unit_test(a_retired_key_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
