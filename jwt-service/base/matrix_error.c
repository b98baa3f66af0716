// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/base/matrix_error.h"

static const struct {
    unsigned status;
    const char *code;
    const char *text; // plain ASCII without quotes and backslashes: written as it is
} errors[MATRIX_ERROR_COUNT] = {
    [MATRIX_OK] = {200, "", ""},
    [MATRIX_NOT_JSON] = {400, "M_NOT_JSON", "Error reading request"},
    [MATRIX_MISSING_ROOM] = {400, "M_BAD_JSON", "Missing room parameter"},
    [MATRIX_MISSING_OPENID] = {400, "M_BAD_JSON", "Missing OpenID token parameters"},
    [MATRIX_MISSING_ROOM_OR_SLOT] = {400, "M_BAD_JSON",
                                     "The request body is missing `room_id` or `slot_id`"},
    [MATRIX_MISSING_MEMBER] = {400, "M_BAD_JSON",
                               "The request body `member` is missing a `id`, `claimed_user_id` or "
                               "`claimed_device_id`"},
    [MATRIX_MISSING_OPENID_MEMBERS] = {400, "M_BAD_JSON",
                                       "The request body `openid_token` is missing a "
                                       "`access_token` or `matrix_server_name`"},
    [MATRIX_MISSING_MEMBER_2] = {400, "M_BAD_JSON",
                                 "The request body `member` is missing `id`, `claimed_user_id` or "
                                 "`claimed_device_id`"},
    [MATRIX_MISSING_OPENID_MEMBERS_2] = {400, "M_BAD_JSON",
                                         "The request body `openid_token` is missing "
                                         "`access_token` or `matrix_server_name`"},
    [MATRIX_MISSING_DELAY] = {400, "M_BAD_JSON",
                              "The request body is missing `delay_id` or `delay_timeout`"},
    [MATRIX_FIELD_TOO_LONG] = {400, "M_BAD_JSON", "A field of the request body is too long"},
    [MATRIX_FIELD_NUL] = {400, "M_BAD_JSON",
                          "A field of the request body contains a NUL character"},
    [MATRIX_BAD_DELAY_ID] = {400, "M_BAD_JSON", "`delay_id` is no identifier"},
    [MATRIX_NO_DELEGATION] = {400, "M_BAD_JSON",
                              "Delegation of delayed events is only supported for full access "
                              "users"},
    [MATRIX_DELEGATION_FORBIDDEN] = {403, "M_FORBIDDEN",
                                     "Delegation of delayed events is only supported for full "
                                     "access users"},
    [MATRIX_NO_CS_API] = {400, "M_BAD_JSON", "Unable to resolve client-server API"},
    [MATRIX_DENIED] = {403, "M_FORBIDDEN", "This service does not serve this user"},
    [MATRIX_UNAUTHORIZED] = {401, "M_UNAUTHORIZED", "The request could not be authorised."},
    [MATRIX_TOO_LARGE] = {413, "M_TOO_LARGE", "The request body is too large"},
    [MATRIX_BUSY] = {429, "M_LIMIT_EXCEEDED", "Too many requests are being worked on"},
    [MATRIX_LIMITED] = {429, "M_LIMIT_EXCEEDED", "Too many requests"},
    [MATRIX_NO_ROOM] = {500, "M_UNKNOWN", "Unable to create room on SFU"},
    [MATRIX_INTERNAL] = {500, "M_UNKNOWN", "Internal Server Error"},
    [MATRIX_SHUTTING_DOWN] = {503, "M_UNKNOWN", "Service is shutting down"},
    [MATRIX_UNRECOGNIZED] = {404, "M_UNRECOGNIZED", "Unrecognized request"},
    [MATRIX_MISSING_TOKEN] = {401, "M_MISSING_TOKEN", "Missing access token"},
    [MATRIX_UNKNOWN_TOKEN] = {401, "M_UNKNOWN_TOKEN", "Unknown access token"},
    [MATRIX_MISSING_CALLER] = {401, "M_UNAUTHORIZED", "The request could not be authorised."},
    [MATRIX_INVALID_USER] = {400, "M_INVALID_PARAM", "The user id is not valid"},
    [MATRIX_INVALID_ORIGIN] = {400, "M_INVALID_PARAM", "The origin is not a server name"},
    [MATRIX_FOREIGN_USER] = {403, "M_FORBIDDEN", "The user is not of the calling server"},
    [MATRIX_AS_MISSING_FIELDS] = {400, "M_BAD_JSON",
                                  "The request body is missing `url`, `room_id`, `slot_id` or "
                                  "`member_id`"},
    [MATRIX_AS_MISSING_DELAY] = {400, "M_BAD_JSON", "The request body is missing `delay_id`"},
    [MATRIX_AS_MISSING_USER] = {400, "M_BAD_JSON", "The request body is missing `user_id`"},
    [MATRIX_INVALID_SERVER] = {400, "M_INVALID_PARAM", "`server_name` is not a server name"},
    [MATRIX_WRONG_URL] = {400, "M_INVALID_PARAM", "`url` is not an SFU of this server"},
    [MATRIX_NOT_JOINED] = {403, "M_FORBIDDEN", "The user is not joined to the room"},
    [MATRIX_NO_MEMBERSHIP] = {502, "M_UNKNOWN", "Unable to check room membership"},
    [MATRIX_RELAY_FORBIDDEN] = {403, "M_FORBIDDEN", "The other server refused the request"},
    [MATRIX_RELAY_INVALID] = {400, "M_INVALID_PARAM", "The other server refused the request"},
    [MATRIX_NO_RELAY] = {502, "M_UNKNOWN", "Unable to get a token from the other server"},
    [MATRIX_NO_DELAYED_EVENT] = {400, "M_INVALID_PARAM",
                                 "`delay_id` is not a delayed event of the user in this room"},
    [MATRIX_DELAYED_EVENT_UNKNOWN] = {503, "M_UNKNOWN", "Unable to look up the delayed event"},
};

unsigned matrix_error_status(enum matrix_error e)
{
    return errors[e].status;
}

const char *matrix_error_code(enum matrix_error e)
{
    return errors[e].code;
}

const char *matrix_error_text(enum matrix_error e)
{
    return errors[e].text;
}

void matrix_error_write(enum matrix_error e, int64_t retry_after_ms, struct dynbuf *out)
{
    dynbuf_addf(out, "{\"errcode\":\"%s\",\"error\":\"%s\"", errors[e].code, errors[e].text);
    if (retry_after_ms > 0) {
        dynbuf_addf(out, ",\"retry_after_ms\":%lld", (long long)retry_after_ms);
    }
    dynbuf_add_str(out, "}\n");
}
