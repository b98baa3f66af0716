// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/matrix_error.h"

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
    [MATRIX_MISSING_DELAY] = {400, "M_BAD_JSON",
                              "The request body is missing `delay_id` or `delay_timeout`"},
    [MATRIX_FIELD_TOO_LONG] = {400, "M_BAD_JSON", "A field of the request body is too long"},
    [MATRIX_FIELD_NUL] = {400, "M_BAD_JSON",
                          "A field of the request body contains a NUL character"},
    [MATRIX_NO_DELEGATION] = {400, "M_BAD_JSON",
                              "Delegation of delayed events is only supported for full access "
                              "users"},
    [MATRIX_UNAUTHORIZED] = {401, "M_UNAUTHORIZED", "The request could not be authorised."},
    [MATRIX_TOO_LARGE] = {413, "M_TOO_LARGE", "The request body is too large"},
    [MATRIX_BUSY] = {429, "M_LIMIT_EXCEEDED", "Too many requests are being worked on"},
    [MATRIX_NO_ROOM] = {500, "M_UNKNOWN", "Unable to create room on SFU"},
    [MATRIX_INTERNAL] = {500, "M_UNKNOWN", "Internal Server Error"},
    [MATRIX_SHUTTING_DOWN] = {503, "M_UNKNOWN", "Service is shutting down"},
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

void matrix_error_write(enum matrix_error e, struct dynbuf *out)
{
    dynbuf_addf(out, "{\"errcode\":\"%s\",\"error\":\"%s\"", errors[e].code, errors[e].text);
    if (e == MATRIX_BUSY) {
        dynbuf_add_str(out, ",\"retry_after_ms\":1000");
    }
    dynbuf_add_str(out, "}\n");
}
