// SPDX-License-Identifier: Apache-2.0
// LINK: signal
// SUPPORT: signal_bed
// COVERS: signal_server auth connect_limit room_service
//
// What HTTP says: tables 1.1 to 1.4, 6.1 and 6.2 of livekit-protocol, row by row, over real
// sockets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/base/base64.h"
#include "common/base/mem.h"
#include "sfu/base/sfu_limits.h"
#include "tests/support/signal_bed.h"

static struct signal_bed bed;
static struct signal_bed_answer ans;
static char target[65536];

#define UPGRADE                                                                                    \
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define NOT_FOUND "404 page not found\n"

static int setup(void **state)
{
    (void)state;
    signal_bed_init(&bed, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    signal_bed_done(&bed);
    return 0;
}

static void get(const char *path, const char *headers)
{
    signal_bed_http(&bed, "GET", path, headers, bytes_of(NULL, 0), &ans);
}

static void expect(int status, const char *body)
{
    assert_int_equal(ans.status, status);
    assert_string_equal(ans.body, body);
}

static void expect_header(const char *name, const char *value)
{
    char v[256];
    unsigned n = 0;
    assert_true(signal_bed_header(&ans, name, v, sizeof(v), &n));
    assert_string_equal(v, value);
    assert_int_equal(n, 1);
}

static bool has_header(const char *name)
{
    return signal_bed_header(&ans, name, NULL, 0, NULL);
}

// GET path?access_token=token&rest
static const char *with_token(const char *path, const char *token, const char *rest)
{
    (void)snprintf(target, sizeof(target), "%s?access_token=%s%s", path, token, rest);
    return target;
}

// ---- 1.1 routes -----------------------------------------------------------------------------

static void health_is_answered(void **state)
{
    (void)state;
    get("/", NULL);
    expect(200, "OK");
    signal_bed_http(&bed, "HEAD", "/", NULL, bytes_of(NULL, 0), &ans);
    expect(200, "");
    signal_bed_http(&bed, "POST", "/", NULL, bytes_str("x"), &ans);
    expect(200, "OK");
}

static void unknown_paths_are_not_found(void **state)
{
    (void)state;
    static const char *const paths[] = {"/x",
                                        "/rtcx",
                                        "/xrtc",
                                        "/rtc/v2",
                                        "/rtc/v1/x",
                                        "/validate",
                                        "/RTC",
                                        "/agent",
                                        "/whip/v1",
                                        "/debug",
                                        "/settings/regions",
                                        "/twirp",
                                        "/twirpx/livekit.RoomService/ListRooms"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        get(paths[i], NULL);
        expect(404, NOT_FOUND);
        expect_header("Content-Type", "text/plain; charset=utf-8");
    }
}

static void plain_requests_to_signalling_are_not_found(void **state)
{
    (void)state;
    char *const token = signal_bed_token(&bed, NULL);
    static const char *const paths[] = {"/rtc", "/rtc/v1", "//rtc", "/prefix/rtc", "/a/b/rtc/v1"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        get(with_token(paths[i], token, ""), NULL);
        expect(404, "");
        get(paths[i], NULL); // checked before the token
        expect(404, "");
    }
    mem_free(token);
}

static void paths_match_under_prefixes(void **state)
{
    (void)state;
    char *const token = signal_bed_token(&bed, NULL);
    static const char *const paths[] = {"/rtc/validate", "//rtc/validate", "/livekit/rtc/validate",
                                        "/a/b/c/rtc/validate", "/rtc/validate/"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        get(with_token(paths[i], token, ""), NULL);
        expect(200, "success");
    }
    get(with_token("/sfu/rtc/v1/validate", token, ""), NULL);
    expect(400, "join_request is required");
    mem_free(token);
}

// ---- 1.2 CORS -------------------------------------------------------------------------------

static void validate_has_one_wildcard_origin_on_every_status(void **state)
{
    (void)state;
    char *const token = signal_bed_token(&bed, NULL);
    static const char *const origins[] = {NULL, "Origin: https://call.example\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(origins); i++) {
        const struct {
            const char *path;
            int status;
        } cases[] = {
            {with_token("/rtc/validate", token, ""), 200},
            {"/rtc/validate", 401},
            {"/rtc/v1/validate?access_token=x", 401},
        };
        for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
            get(cases[k].path, origins[i]);
            assert_int_equal(ans.status, cases[k].status);
            expect_header("Access-Control-Allow-Origin", "*");
            expect_header("Access-Control-Expose-Headers", "*");
            expect_header("Vary", "Origin");
        }
    }
    get(with_token("/rtc/v1/validate", token, ""), NULL);
    assert_int_equal(ans.status, 400);
    expect_header("Access-Control-Allow-Origin", "*");
    mem_free(token);
}

static void others_echo_the_origin(void **state)
{
    (void)state;
    static const char origin[] = "Origin: https://call.example\r\n";
    static const char *const paths[] = {"/", "/x", "/rtc", "/twirp/livekit.RoomService/ListRooms"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        get(paths[i], origin);
        expect_header("Access-Control-Allow-Origin", "https://call.example");
        expect_header("Vary", "Origin");
        get(paths[i], NULL);
        assert_false(has_header("Access-Control-Allow-Origin"));
    }
    get("/rtc", UPGRADE "Origin: https://call.example\r\n"); // a refused upgrade too
    assert_int_equal(ans.status, 401);
    expect_header("Access-Control-Allow-Origin", "https://call.example");
}

static void preflights_name_what_was_asked_for(void **state)
{
    (void)state;
    static const char *const paths[] = {"/rtc", "/rtc/v1", "/rtc/validate", "/",
                                        "/twirp/livekit.RoomService/ListRooms"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        signal_bed_http(&bed, "OPTIONS", paths[i],
                        "Origin: https://o.example\r\nAccess-Control-Request-Method: POST\r\n"
                        "Access-Control-Request-Headers: authorization,x-a\r\n",
                        bytes_of(NULL, 0), &ans);
        expect(204, "");
        expect_header("Access-Control-Allow-Methods", "POST");
        expect_header("Access-Control-Allow-Headers", "authorization,x-a");
        expect_header("Access-Control-Max-Age", "86400");
    }
}

static void bodies_have_a_limit(void **state)
{
    (void)state;
    signal_bed_http(&bed, "POST", "/twirp/livekit.RoomService/ListRooms",
                    "Content-Type: application/protobuf\r\nContent-Length: 99999999\r\n",
                    bytes_of(NULL, 0), &ans);
    assert_int_equal(ans.status, 413);
}

// ---- 1.3 tokens -----------------------------------------------------------------------------

static void validate_with(const char *authorization, const char *query)
{
    char headers[40000];
    (void)snprintf(headers, sizeof(headers), "%s%s%s",
                   authorization != NULL ? "Authorization: " : "",
                   authorization != NULL ? authorization : "", authorization != NULL ? "\r\n" : "");
    (void)snprintf(target, sizeof(target), "/rtc/validate%s%s",
                   query != NULL ? "?access_token=" : "", query != NULL ? query : "");
    get(target, headers);
}

static void tokens_come_by_header_or_query(void **state)
{
    (void)state;
    char *const token = signal_bed_token(&bed, NULL);
    char bearer[8192];
    (void)snprintf(bearer, sizeof(bearer), "Bearer %s", token);
    validate_with(bearer, NULL);
    expect(200, "success");
    validate_with(NULL, token);
    expect(200, "success");
    validate_with(bearer, "garbage"); // the header decides
    expect(200, "success");
    (void)snprintf(bearer, sizeof(bearer), "bearer %s", token);
    validate_with(bearer, token);
    expect(401, "invalid authorization header. Must start with Bearer ");
    validate_with("Basic abc", token);
    expect(401, "invalid authorization header. Must start with Bearer ");
    validate_with(NULL, NULL);
    expect(401, "no permissions to access the room");
    validate_with(NULL, "");
    expect(401, "no permissions to access the room");
    mem_free(token);
}

static char *jwt_of(const char *header, const char *payload, const char *signature)
{
    struct dynbuf b;
    dynbuf_init(&b, 65536);
    base64_encode(BASE64_URL_NOPAD, bytes_str(header), &b);
    dynbuf_add_str(&b, ".");
    base64_encode(BASE64_URL_NOPAD, bytes_str(payload), &b);
    dynbuf_addf(&b, ".%s", signature);
    char *const s = mem_strdup(dynbuf_cstr(&b));
    dynbuf_done(&b);
    return s;
}

static void expect_refused_token(char *token, const char *text)
{
    validate_with(NULL, token);
    expect(401, text);
    // The original repeats the token, which then stands in logs.
    assert_true(token[0] == 0 || strlen(token) < 20 || strstr(ans.body, token) == NULL);
    expect_header("Content-Type", "text/plain; charset=utf-8");
    mem_free(token);
}

static void bad_tokens_are_refused_in_words(void **state)
{
    (void)state;
    static const char claims[] = "{\"iss\":\"testkey\",\"sub\":\"a\",\"exp\":4000000000,"
                                 "\"video\":{\"room\":\"r\",\"roomJoin\":true}}";
    static const char foreign[] = "{\"iss\":\"nokey\",\"sub\":\"a\",\"exp\":4000000000}";
    static const char sig[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    int64_t const now = loop_wall(bed.loop).us / US_PER_S;
    expect_refused_token(mem_strdup("garbage"), "invalid authorization token");
    expect_refused_token(mem_strdup("a.b.c"), "invalid authorization token");
    expect_refused_token(jwt_of("{\"alg\":\"HS256\"}", foreign, sig), "invalid API key: nokey");
    expect_refused_token(jwt_of("{\"alg\":\"HS256\"}", claims, sig),
                         "invalid token, error: token signature is invalid: signature is invalid");
    static const char *const algs[] = {"none",  "None",  "NONE",  "RS256",
                                       "HS384", "HS512", "ES256", ""};
    for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
        char header[64];
        (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\"}", algs[i]);
        for (int with_signature = 0; with_signature < 2; with_signature++) {
            char *const token = jwt_of(header, claims, with_signature ? sig : "");
            validate_with(NULL, token);
            assert_int_equal(ans.status, 401);
            mem_free(token);
        }
    }
    struct access_claims c = {.identity = "alice",
                              .exp = now - 61,
                              .has_video = true,
                              .video = {.room = "r", .room_join = true}};
    expect_refused_token(signal_bed_token(&bed, &c),
                         "invalid token, error: token has invalid claims: token is expired");
    c.exp = now + 3600;
    c.nbf = now + 3000;
    expect_refused_token(signal_bed_token(&bed, &c),
                         "invalid token, error: token has invalid claims: token is not valid yet");
    char *const huge = mem_alloc(ACCESS_TOKEN_MAX + 2000);
    memset(huge, 'a', ACCESS_TOKEN_MAX + 1999);
    (void)snprintf(target, sizeof(target), "/rtc/validate");
    struct dynbuf h;
    dynbuf_init(&h, 1 << 20);
    dynbuf_addf(&h, "Authorization: Bearer %s\r\n", huge);
    get("/rtc/validate", dynbuf_cstr(&h));
    expect(401, "invalid authorization token");
    dynbuf_done(&h);
    mem_free(huge);
}

// ---- 1.4 connect requests -------------------------------------------------------------------

// validate and the upgrade answer alike.
static void refuse_both(const char *path, const struct access_claims *claims, const char *rest,
                        int status, const char *body)
{
    char *const token = signal_bed_token(&bed, claims);
    char validate[64];
    (void)snprintf(validate, sizeof(validate), "%s/validate", path);
    get(with_token(validate, token, rest), NULL);
    expect(status, body);
    get(with_token(path, token, rest), UPGRADE);
    expect(status, body);
    assert_int_equal(bed.seen.joins, 0);
    mem_free(token);
}

static void grants_are_checked(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'x', 257);
    text[257] = 0;
    struct access_claims c = {.identity = "alice"};
    refuse_both("/rtc", &c, "", 401, "no permissions to access the room");
    c = (struct access_claims){.identity = "alice", .has_video = true, .video = {.room = "r"}};
    refuse_both("/rtc", &c, "", 401, "permissions denied");
    c = (struct access_claims){.has_video = true, .video = {.room = "r", .room_join = true}};
    refuse_both("/rtc", &c, "", 400, "identity cannot be empty");
    c.identity = text;
    refuse_both("/rtc", &c, "", 400, "participant identity length exceeds limits: max length 256");
    c = (struct access_claims){
        .identity = "alice", .has_video = true, .video = {.room_join = true}};
    refuse_both("/rtc", &c, "", 400, "no room name");
    c.video.room = text;
    refuse_both("/rtc", &c, "", 400, "room name length exceeds limits: max length 256");
    text[256] = 0; // 256 bytes are fine
    char *const token = signal_bed_token(&bed, &c);
    get(with_token("/rtc/validate", token, ""), NULL);
    expect(200, "success");
    mem_free(token);
    c = (struct access_claims){
        .identity = "alice",
        .has_video = true,
        .video = {.room = "r", .room_join = true, .can_publish = TRISTATE_FALSE}};
    refuse_both("/rtc", &c, "&publish=cam", 401, "no permissions to access the room");
}

// It fits into a join request, and is more than a participant may have.
static void refuse_long_metadata(char *text)
{
    struct access_claims const c = {
        .identity = "alice",
        .has_video = true,
        .video = {.room = "r", .room_join = true, .can_update_own_metadata = TRISTATE_TRUE},
    };
    Livekit__JoinRequest j = LIVEKIT__JOIN_REQUEST__INIT;
    text[PARTICIPANT_METADATA_MAX + 1] = 0;
    j.metadata = text;
    char *const request = signal_bed_join_request(&j, true);
    char *const rest = mem_alloc(strlen(request) + 20);
    (void)snprintf(rest, strlen(request) + 20, "&join_request=%s", request);
    refuse_both("/rtc/v1", &c, rest, 400, "metadata size exceeds limits");
    mem_free(rest);
    mem_free(request);
}

static void join_requests_are_checked(void **state)
{
    (void)state;
    refuse_both("/rtc/v1", NULL, "", 400, "join_request is required");
    refuse_both("/rtc/v1", NULL, "&join_request=", 400, "join_request is required");
    refuse_both("/rtc/v1", NULL, "&join_request=%25%25%25", 400,
                "cannot base64 decode wrapped join request");
    refuse_both("/rtc/v1", NULL, "&join_request=AAA", 400, // no padding
                "cannot base64 decode wrapped join request");
    refuse_both("/rtc/v1", NULL, "&join_request=%2B%2B%2B%2B", 400, // the other alphabet
                "cannot base64 decode wrapped join request");
    refuse_both("/rtc/v1", NULL, "&join_request=AAAA", 400,
                "cannot unmarshal wrapped join request");
    refuse_both("/rtc", NULL, "&join_request=AAAA", 400, // v1 wherever it stands
                "cannot unmarshal wrapped join request");
    refuse_both("/rtc/v1", NULL, "&join_request=CAESAgEC", 400, // gzip that is none
                "cannot read decompressed join request");
    refuse_both("/rtc/v1", NULL, "&join_request=EgIBAg==", 400, "cannot unmarshal join request");

    Livekit__JoinRequest j = LIVEKIT__JOIN_REQUEST__INIT;
    char *const big = mem_alloc((1u << 20) + 100);
    memset(big, 'a', (1u << 20) + 99);
    j.metadata = big;
    char *const request = signal_bed_join_request(&j, true);
    char *const rest = mem_alloc(strlen(request) + 20);
    (void)snprintf(rest, strlen(request) + 20, "&join_request=%s", request);
    refuse_both("/rtc/v1", NULL, rest, 400, "join request too large");
    mem_free(rest);
    mem_free(request);
    refuse_long_metadata(big);
    j.metadata = (char[]){"m"};
    char *const small = signal_bed_join_request(&j, false);
    char query[256];
    (void)snprintf(query, sizeof(query), "&join_request=%s", small);
    refuse_both("/rtc/v1", NULL, query, 401, "no permissions to access the room");
    mem_free(small);
    mem_free(big);
}

static void attributes_are_checked_by_validate_only(void **state)
{
    (void)state;
    char *const token = signal_bed_token(&bed, NULL);
    static const char *const bad[] = {"&attributes=%25", "&attributes=e30",
                                      "&attributes=W10=", "&attributes=eyJhIjoxfQ=="};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        get(with_token("/rtc/validate", token, bad[i]), NULL);
        expect(400, "cannot decode attributes");
        unsigned const joins = bed.seen.joins;
        struct signal_bed_ws w;
        signal_bed_connect(&bed, with_token("/rtc", token, bad[i]), NULL, &w);
        while (!w.ended && w.messages < 2) {
            signal_bed_turn(&bed);
        }
        assert_int_equal(w.refused, 0);
        assert_int_equal(bed.seen.joins, joins + 1);
        signal_bed_disconnect(&w);
    }
    // {"a":"b"}: needs the permission.
    get(with_token("/rtc/validate", token, "&attributes=eyJhIjoiYiJ9"), NULL);
    expect(401, "no permissions to access the room");
    mem_free(token);
}

static void rooms_must_exist_when_they_are_not_made(void **state)
{
    (void)state;
    signal_bed_done(&bed);
    signal_bed_init(&bed, false);
    refuse_both("/rtc", NULL, "", 404, "requested room does not exist");
    struct access_claims const creator = {
        .identity = "alice",
        .has_video = true,
        .video = {.room = "r", .room_join = true, .room_create = true}};
    char *token = signal_bed_token(&bed, &creator);
    get(with_token("/rtc/validate", token, ""), NULL);
    expect(200, "success");
    mem_free(token);
    signal_bed_room(&bed, 1, "r", 0);
    token = signal_bed_token(&bed, NULL);
    get(with_token("/rtc/validate", token, ""), NULL);
    expect(200, "success");
    signal_bed_room_ended(&bed, 1, "r");
    get(with_token("/rtc/validate", token, ""), NULL);
    expect(404, "requested room does not exist");
    mem_free(token);
}

// Requests of one address are limited; the proxy that names it is not.
static void connects_of_one_address_are_limited(void **state)
{
    (void)state;
    static const char *const from[] = {
        "X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\n" UPGRADE,
        "X-Forwarded-For: 2001:db8:1:2:3::4\r\n" UPGRADE,
        "X-Forwarded-For: 2001:db8:1:2:5::6\r\n" UPGRADE, // the same /64
    };
    // What is refused for its token counts as well.
    for (int i = 0; i < SIGNAL_BED_CONNECTS; i++) {
        get("/rtc", from[0]);
        expect(401, "no permissions to access the room");
        get("/rtc/v1", from[1]);
        expect(401, "no permissions to access the room");
        get("/rtc", UPGRADE); // the proxy itself, or this machine
        expect(401, "no permissions to access the room");
    }
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        get("/rtc", from[i]);
        expect(429, "too many connection requests");
        expect_header("Retry-After", "1");
        get("/rtc/validate", from[i]); // tells why
        expect(429, "too many connection requests");
        expect_header("Access-Control-Allow-Origin", "*");
    }
    for (int i = 0; i < 3 * SIGNAL_BED_CONNECTS; i++) {
        get("/rtc/validate", "X-Forwarded-For: 192.0.2.1\r\n"); // takes nothing
        expect(401, "no permissions to access the room");
        get("/rtc", UPGRADE);
        expect(401, "no permissions to access the room");
    }
}

static void upgrades_follow_rfc6455(void **state)
{
    (void)state;
    char *const token = signal_bed_token(&bed, NULL);
    get(with_token("/rtc", token, ""),
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    assert_int_equal(ans.status, 426);
    expect_header("Sec-WebSocket-Version", "13");
    get(with_token("/rtc", token, ""),
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: short\r\n");
    assert_int_equal(ans.status, 400);
    assert_int_equal(bed.seen.joins, 0);
    mem_free(token);
}

// ---- 6.1, 6.2 Twirp -------------------------------------------------------------------------

static void call_as(const struct video_grant *g, const char *method, const char *type,
                    struct bytes body)
{
    struct access_claims const c = {.identity = "api",
                                    .has_video = g != NULL,
                                    .video = g != NULL ? *g : (struct video_grant){0}};
    char *const token = signal_bed_token(&bed, &c);
    char headers[8192];
    char path[256];
    (void)snprintf(headers, sizeof(headers), "Authorization: Bearer %s\r\n%s%s%s", token,
                   type != NULL ? "Content-Type: " : "", type != NULL ? type : "",
                   type != NULL ? "\r\n" : "");
    (void)snprintf(path, sizeof(path), "/twirp/livekit.RoomService/%s", method);
    signal_bed_http(&bed, "POST", path, headers, body, &ans);
    mem_free(token);
}

static void expect_twirp(int status, const char *code, const char *msg)
{
    char want[256];
    assert_int_equal(ans.status, status);
    expect_header("Content-Type", "application/json");
    (void)snprintf(want, sizeof(want), "\"code\":\"%s\"", code);
    assert_non_null(strstr(ans.body, want));
    if (msg != NULL) {
        assert_non_null(strstr(ans.body, msg));
    }
}

static const struct video_grant all = {
    .room = "r", .room_create = true, .room_list = true, .room_admin = true};
#define PROTOBUF "application/protobuf"
// RoomParticipantIdentity{room "r", identity "a"}; CreateRoomRequest{name "r"} begins the same.
#define ROOM_R bytes_of("\x0a\x01r", 3)
#define ROOM_R_A                                                                                   \
    bytes_of("\x0a\x01r\x12\x01"                                                                   \
             "a",                                                                                  \
             6)

static void twirp_routes_are_checked(void **state)
{
    (void)state;
    signal_bed_http(&bed, "POST", "/twirp/livekit.NoService/ListEgress", NULL, bytes_of(NULL, 0),
                    &ans);
    expect(404, NOT_FOUND);
    call_as(&all, "Nothing", PROTOBUF, bytes_of(NULL, 0));
    expect_twirp(404, "bad_route", "no handler for path");
    assert_non_null(strstr(ans.body, "\"twirp_invalid_route\""));
    call_as(&all, "ListRooms", NULL, bytes_of(NULL, 0));
    expect_twirp(404, "bad_route", "unexpected Content-Type: \\\"\\\"");
    call_as(&all, "ListRooms", "text/plain", bytes_of(NULL, 0));
    expect_twirp(404, "bad_route", "unexpected Content-Type");
    get("/twirp/livekit.RoomService/ListRooms", "Content-Type: application/protobuf\r\n");
    expect_twirp(404, "bad_route", "unsupported method");
    call_as(&all, "ListRooms", "application/json; charset=UTF-8", bytes_str("{}"));
    assert_int_equal(ans.status, 200);
    expect_header("Content-Type", "application/json");
    assert_string_equal(ans.body, "{\"rooms\":[]}");
    call_as(&all, "CreateRoom", PROTOBUF, bytes_of("\xff\xff", 2));
    expect_twirp(400, "malformed", "the protobuf request could not be decoded");
    signal_bed_http(&bed, "POST", "/twirp/livekit.RoomService/ListRooms",
                    "Authorization: Bearer x\r\nContent-Type: application/protobuf\r\n",
                    bytes_of(NULL, 0), &ans);
    expect(401, "invalid authorization token");
    expect_header("Content-Type", "text/plain; charset=utf-8");
}

static void twirp_grants_are_checked(void **state)
{
    (void)state;
    static const char *const methods[] = {"CreateRoom",     "DeleteRoom",
                                          "ListRooms",      "ListParticipants",
                                          "GetParticipant", "RemoveParticipant"};
    static const struct video_grant nothing = {.room = "r", .room_join = true};
    static const struct video_grant other = {.room = "other", .room_admin = true};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        call_as(&nothing, methods[i], PROTOBUF, ROOM_R);
        expect_twirp(401, "unauthenticated", "permissions denied");
        call_as(NULL, methods[i], PROTOBUF, ROOM_R);
        expect_twirp(401, "unauthenticated", "permissions denied");
        call_as(&other, methods[i], PROTOBUF, ROOM_R);
        expect_twirp(401, "unauthenticated", "permissions denied");
    }
    signal_bed_http(&bed, "POST", "/twirp/livekit.RoomService/ListRooms",
                    "Content-Type: application/protobuf\r\n", bytes_of(NULL, 0), &ans);
    expect_twirp(401, "unauthenticated", "permissions denied");
    assert_int_equal(bed.seen.api, 0);
}

static void absent_rooms_are_answered_at_once(void **state)
{
    (void)state;
    call_as(&all, "DeleteRoom", PROTOBUF, ROOM_R);
    expect_twirp(404, "not_found", "requested room does not exist");
    call_as(&all, "GetParticipant", PROTOBUF, ROOM_R_A);
    expect_twirp(404, "not_found", "participant does not exist");
    call_as(&all, "RemoveParticipant", PROTOBUF, ROOM_R_A);
    expect_twirp(404, "not_found", "participant does not exist");
    call_as(&all, "ListParticipants", PROTOBUF, ROOM_R);
    assert_int_equal(ans.status, 200);
    assert_int_equal(ans.body_len, 0);
    assert_int_equal(bed.seen.api, 0);
}

static void calls_go_to_the_rooms_worker(void **state)
{
    (void)state;
    call_as(&all, "CreateRoom", PROTOBUF, ROOM_R);
    assert_int_equal(ans.status, 200);
    expect_header("Content-Type", PROTOBUF);
    assert_int_equal(bed.seen.method, ROOM_API_CREATE_ROOM);
    assert_string_equal(bed.seen.room, "r");
    signal_bed_room(&bed, bed.seen.worker, "r", 1);
    uint32_t const worker = bed.seen.worker;
    static const struct {
        const char *name;
        enum room_api_method method;
    } methods[] = {
        {"CreateRoom", ROOM_API_CREATE_ROOM},
        {"ListParticipants", ROOM_API_LIST_PARTICIPANTS},
        {"GetParticipant", ROOM_API_GET_PARTICIPANT},
        {"RemoveParticipant", ROOM_API_REMOVE_PARTICIPANT},
        {"DeleteRoom", ROOM_API_DELETE_ROOM},
    };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        call_as(&all, methods[i].name, PROTOBUF, ROOM_R);
        assert_int_equal(ans.status, 200);
        assert_int_equal(bed.seen.method, methods[i].method);
        assert_int_equal(bed.seen.worker, worker);
    }
    bed.api_error = "not_found";
    call_as(&all, "GetParticipant", PROTOBUF, ROOM_R_A);
    expect_twirp(404, "not_found", "as ordered");
    bed.api_error = "nonsense";
    call_as(&all, "GetParticipant", PROTOBUF, ROOM_R_A);
    assert_true(ans.status >= 500);
}

static void create_room_checks_lengths(void **state)
{
    (void)state;
    call_as(&all, "CreateRoom", PROTOBUF, bytes_of(NULL, 0));
    expect_twirp(400, "invalid_argument", NULL);
    Livekit__CreateRoomRequest r = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    char *const text = mem_alloc(600u << 10);
    for (int i = 0; i < 2; i++) {
        memset(text, 'x', (600u << 10) - 1);
        text[i == 0 ? 257 : (512u << 10) + 1] = 0;
        r.name = i == 0 ? text : (char[]){"r"};
        r.metadata = i == 0 ? NULL : text;
        struct dynbuf b;
        dynbuf_init(&b, 1 << 20);
        assert_int_equal(pbuf_pack(&r.base, &b), 0);
        call_as(&all, "CreateRoom", PROTOBUF, dynbuf_view(&b));
        expect_twirp(400, "invalid_argument", NULL);
        dynbuf_done(&b);
    }
    mem_free(text);
    assert_int_equal(bed.seen.api, 0);
}

static void list_rooms_names_what_is_there(void **state)
{
    (void)state;
    signal_bed_room(&bed, 0, "one", 2);
    signal_bed_room(&bed, 1, "two", 0);
    call_as(&all, "ListRooms", PROTOBUF, bytes_of(NULL, 0));
    assert_int_equal(ans.status, 200);
    struct pbuf *p = NULL;
    assert_int_equal(pbuf_unpack(&livekit__list_rooms_response__descriptor,
                                 bytes_of(ans.body, ans.body_len), 1 << 20, &p),
                     0);
    const Livekit__ListRoomsResponse *const rsp = p->msg;
    assert_int_equal(rsp->n_rooms, 2);
    for (size_t i = 0; i < 2; i++) {
        bool const one = strcmp(rsp->rooms[i]->name, "one") == 0;
        assert_int_equal(rsp->rooms[i]->num_participants, one ? 2 : 0);
        assert_int_equal(rsp->rooms[i]->empty_timeout, 300);
        assert_int_equal(rsp->rooms[i]->creation_time, 1790000000);
    }
    pbuf_free(p);
    call_as(&all, "ListRooms", PROTOBUF, bytes_of("\x0a\x03two\x0a\x04none", 11));
    assert_int_equal(pbuf_unpack(&livekit__list_rooms_response__descriptor,
                                 bytes_of(ans.body, ans.body_len), 1 << 20, &p),
                     0);
    assert_int_equal(((const Livekit__ListRoomsResponse *)p->msg)->n_rooms, 1);
    pbuf_free(p);
    signal_bed_room_ended(&bed, 0, "one");
    call_as(&all, "ListRooms", PROTOBUF, bytes_of("\x0a\x03one", 5));
    assert_int_equal(ans.status, 200);
    assert_int_equal(ans.body_len, 0);
}

static void calls_without_answer_end(void **state)
{
    (void)state;
    bed.silent = true;
    call_as(&all, "CreateRoom", PROTOBUF, ROOM_R);
    expect_twirp(503, "unavailable", NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(health_is_answered),
        TEST(unknown_paths_are_not_found),
        TEST(plain_requests_to_signalling_are_not_found),
        TEST(paths_match_under_prefixes),
        TEST(validate_has_one_wildcard_origin_on_every_status),
        TEST(others_echo_the_origin),
        TEST(preflights_name_what_was_asked_for),
        TEST(bodies_have_a_limit),
        TEST(tokens_come_by_header_or_query),
        TEST(bad_tokens_are_refused_in_words),
        TEST(grants_are_checked),
        TEST(join_requests_are_checked),
        TEST(attributes_are_checked_by_validate_only),
        TEST(rooms_must_exist_when_they_are_not_made),
        TEST(connects_of_one_address_are_limited),
        TEST(upgrades_follow_rfc6455),
        TEST(twirp_routes_are_checked),
        TEST(twirp_grants_are_checked),
        TEST(absent_rooms_are_answered_at_once),
        TEST(calls_go_to_the_rooms_worker),
        TEST(create_room_checks_lengths),
        TEST(list_rooms_names_what_is_there),
        TEST(calls_without_answer_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
