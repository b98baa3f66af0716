// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/appservice/as_auth.h"

#include <strings.h>

#include "common/svc/digest.h"
#include "jwt-service/openid/server_name.h"

#define BEARER "Bearer "

enum matrix_error as_auth_homeserver(const char *hs_token, const char *authorization)
{
    if (!authorization || strncasecmp(authorization, BEARER, strlen(BEARER)) != 0) {
        return MATRIX_MISSING_TOKEN;
    }
    const char *given = authorization + strlen(BEARER);
    while (*given == ' ') {
        given++;
    }
    if (!*given) {
        return MATRIX_MISSING_TOKEN;
    }
    // Digests have one length, so that not even the token's length shows in the time it takes.
    uint8_t want[DIGEST_SHA256_LEN];
    uint8_t got[DIGEST_SHA256_LEN];
    digest_sha256(bytes_str(hs_token), want);
    digest_sha256(bytes_str(given), got);
    bool const same = bytes_eq_consttime(bytes_of(want, sizeof(want)), bytes_of(got, sizeof(got)));
    return same && *hs_token ? MATRIX_OK : MATRIX_UNKNOWN_TOKEN;
}

const char *as_auth_server_of(const char *user_id)
{
    const char *const colon = strchr(user_id, ':');
    return colon ? colon + 1 : "";
}

bool as_auth_user_id_valid(const char *user_id)
{
    size_t const n = strlen(user_id);
    if (n < 4 || n > OPENID_USER_MAX || user_id[0] != '@' || user_id[1] == ':') {
        return false;
    }
    for (const char *p = user_id; *p; p++) {
        if ((uint8_t)*p < 0x20 || *p == 0x7f) {
            return false;
        }
    }
    struct server_name name;
    return server_name_parse(bytes_str(as_auth_server_of(user_id)), &name) == 0;
}

enum matrix_error as_auth_user(const char *header, const char *server_name)
{
    if (!header || !*header) {
        return MATRIX_MISSING_CALLER;
    }
    if (!as_auth_user_id_valid(header)) {
        return MATRIX_INVALID_USER;
    }
    return strcmp(as_auth_server_of(header), server_name) == 0 ? MATRIX_OK : MATRIX_FOREIGN_USER;
}

enum matrix_error as_auth_origin(const char *header, const char *user_id)
{
    struct server_name name;
    if (!header || !*header) {
        return MATRIX_MISSING_CALLER;
    }
    if (server_name_parse(bytes_str(header), &name) < 0) {
        return MATRIX_INVALID_ORIGIN;
    }
    if (!as_auth_user_id_valid(user_id)) {
        return MATRIX_INVALID_USER;
    }
    return strcmp(as_auth_server_of(user_id), header) == 0 ? MATRIX_OK : MATRIX_FOREIGN_USER;
}
