// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// Everything foci-jwt reads from strangers: request bodies, server names, well-known documents and
// userinfo answers. What is accepted keeps the promises of its header.
#include <stdint.h>
#include <stdlib.h>

#include "jwt-service/base/token_issuer.h"
#include "jwt-service/openid/openid_verifier.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void requests(struct bytes in, enum token_endpoint endpoint, bool ignore_unknown)
{
    struct arena arena;
    struct token_request t = {0};
    struct token_subject s;
    arena_init(&arena, 1024, 16u << 10);
    if (token_request_parse(endpoint, in, ignore_unknown, &arena, &t) == MATRIX_OK) {
        if (!*t.room || !*t.access_token || !*t.server_name || strlen(t.room) > REQUEST_ROOM_MAX ||
            strlen(t.device_id) > REQUEST_ID_MAX ||
            (*t.delay_id != '\0') != (t.delay_timeout_ms > 0)) {
            abort();
        }
        (void)!token_subject_make(&t, "@user:example.com", &s);
    }
    arena_done(&arena);
}

static void names(struct bytes in)
{
    struct server_name n;
    if (server_name_parse(in, &n) < 0) {
        return;
    }
    char text[SERVER_NAME_TEXT];
    struct server_name again;
    server_name_format(n.host, n.is_v6, n.port, text);
    if (server_name_parse(bytes_str(text), &again) < 0 || strcmp(n.host, again.host) != 0 ||
        n.port != again.port) {
        abort();
    }
}

static void documents(struct bytes in)
{
    static const struct server_name name = {.host = "example.org"};
    struct server_lookup l;
    char user[OPENID_USER_MAX + 1];
    server_lookup_begin(&l, &name);
    if (server_lookup_well_known(&l, in) && l.step == SERVER_ROUTE_DONE && l.route.count != 1) {
        abort();
    }
    if (openid_subject(in, "example.org", user) == 0 && !strstr(user, ":example.org")) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes const in = bytes_of(data, size);
    requests(in, TOKEN_SFU_GET, false);
    requests(in, TOKEN_GET_TOKEN, true);
    names(in);
    documents(in);
    return 0;
}
