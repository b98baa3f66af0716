// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// What application-service mode reads: the registration file, request bodies and headers, and the
// homeserver's answers. What is accepted keeps the promises of its header.
#include <stdint.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "jwt-service/appservice/as_auth.h"
#include "jwt-service/appservice/as_config.h"
#include "jwt-service/appservice/as_requests.h"
#include "jwt-service/appservice/federation_relay.h"
#include "jwt-service/appservice/membership.h"
#include "jwt-service/appservice/membership_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void registration(struct bytes in)
{
    char err[CONF_ERROR_MAX] = "";
    struct as_registration r;
    if (as_registration_parse(in, "file", &r, err) == 0) {
        must(*r.as_token && *r.hs_token && r.as_token_line > 0 && r.hs_token_line > 0);
        must(!strpbrk(r.as_token, " \t\r\n") && !strpbrk(r.hs_token, " \t\r\n"));
        as_registration_done(&r);
    } else {
        must(*err != '\0');
    }
}

static void body(struct bytes in, enum as_endpoint endpoint, bool ignore_unknown)
{
    struct arena arena;
    struct as_request r = {0};
    arena_init(&arena, 512, 16u << 10);
    if (as_request_parse(endpoint, in, ignore_unknown, &arena, &r) == MATRIX_OK) {
        must(*r.url && *r.room_id && *r.slot_id && *r.member_id);
        must(strlen(r.url) <= AS_REQUEST_URL_MAX && strlen(r.room_id) <= REQUEST_ROOM_MAX);
        must(strlen(r.slot_id) <= REQUEST_ID_MAX && strlen(r.member_id) <= REQUEST_ID_MAX);
        must(endpoint != AS_CLIENT_DELEGATE || *r.delay_id);
        must(endpoint != AS_FEDERATION_GET_TOKEN || *r.user_id);
    }
    arena_done(&arena);
}

static void headers(struct bytes in)
{
    char *const text = mem_strndup((const char *)in.p, in.n);
    if (!text) {
        return;
    }
    must(as_auth_homeserver("sesame", text) != MATRIX_OK || strstr(text, "sesame"));
    if (as_auth_user(text, "example.org") == MATRIX_OK) {
        must(text[0] == '@' && strlen(text) <= OPENID_USER_MAX &&
             strcmp(as_auth_server_of(text), "example.org") == 0);
    }
    if (as_auth_origin("example.org", text) == MATRIX_OK) {
        must(strcmp(as_auth_server_of(text), "example.org") == 0);
    }
    (void)as_auth_origin(text, "@a:example.org");
    struct dynbuf path;
    dynbuf_init(&path, 3 * in.n + 1);
    as_client_add_segment(&path, text);
    must(dynbuf_ok(&path));
    must(!memchr(path.p ? path.p : (uint8_t *)text, '/', path.n));
    dynbuf_done(&path);
    mem_free(text);
}

static void answers(struct bytes in)
{
    static const unsigned statuses[] = {200, 400, 403, 404, 502};
    struct jsonx_limits const limits = JSONX_LIMITS_DEFAULT;
    CLEANUP(jsonx_free) struct jsonx *json = NULL;
    if (jsonx_parse(in, &limits, &json) < 0 || jsonx_type(json) != JSONX_OBJECT) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct as_client_result r = {.status = statuses[i], .json = json, .errcode = ""};
        struct federation_relay_result relay;
        const char *text = NULL;
        bool unrecognized = false;
        (void)!jsonx_get_cstr(json, "errcode", &r.errcode);
        enum membership_state const state = membership_classify(&r, &text);
        must(state != MEMBERSHIP_JOINED || r.status == 200);
        must(state != MEMBERSHIP_UNKNOWN || text);
        federation_relay_classify(&r, &relay, &unrecognized);
        must((relay.error == MATRIX_OK) == (relay.jwt != NULL));
        must(relay.error == MATRIX_OK || (relay.step && relay.text));
    }
}

static void on_record(void *user, const struct membership_record *r)
{
    must(r->expires_s > 1000);
    membership_file_add(user, r);
}

// What was read is read again.
static void members(struct bytes in)
{
    struct dynbuf once;
    struct dynbuf twice;
    dynbuf_init(&once, 1u << 20);
    dynbuf_init(&twice, 1u << 20);
    (void)membership_file_parse(in, (wall_t){1000 * US_PER_S}, on_record, &once);
    must(membership_file_parse(dynbuf_view(&once), (wall_t){1000 * US_PER_S}, on_record, &twice) ==
         0);
    must(bytes_eq(dynbuf_view(&once), dynbuf_view(&twice)));
    dynbuf_done(&once);
    dynbuf_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes const in = bytes_of(data, size);
    registration(in);
    body(in, AS_CLIENT_GET_TOKEN, false);
    body(in, AS_CLIENT_DELEGATE, true);
    body(in, AS_FEDERATION_GET_TOKEN, true);
    headers(in);
    answers(in);
    members(in);
    return 0;
}
