// SPDX-License-Identifier: Apache-2.0
#pragma once
// Twirp (v7 protocol) framing over HTTP, both sides, without any HTTP: livekit-protocol 6.1,
// authorization-service 6.2. Pure.
//
// Upstream: twitchtv/twirp v8.1.3 errors.go and server templates.

#include "common/base/dynbuf.h"

enum twirp_code {
    TWIRP_OK = 0,
    TWIRP_CANCELED,
    TWIRP_UNKNOWN,
    TWIRP_INVALID_ARGUMENT,
    TWIRP_MALFORMED,
    TWIRP_DEADLINE_EXCEEDED,
    TWIRP_NOT_FOUND,
    TWIRP_BAD_ROUTE,
    TWIRP_ALREADY_EXISTS,
    TWIRP_PERMISSION_DENIED,
    TWIRP_UNAUTHENTICATED,
    TWIRP_RESOURCE_EXHAUSTED,
    TWIRP_FAILED_PRECONDITION,
    TWIRP_ABORTED,
    TWIRP_OUT_OF_RANGE,
    TWIRP_UNIMPLEMENTED,
    TWIRP_INTERNAL,
    TWIRP_UNAVAILABLE,
    TWIRP_DATA_LOSS,
    TWIRP_CODE_COUNT,
};

enum twirp_format {
    TWIRP_PROTOBUF,
    TWIRP_JSON,
};

struct twirp_error {
    enum twirp_code code;
    char msg[256];     // UTF-8, cut if longer
    char meta_key[32]; // "" = no meta
    char meta_value[256];
};

#define TWIRP_CONTENT_PROTOBUF "application/protobuf"
#define TWIRP_CONTENT_JSON "application/json"
#define TWIRP_VERSION "v8.1.3"

// The name on the wire ("not_found") and the HTTP status (404). TWIRP_OK is "" and 200.
const char *twirp_code_name(enum twirp_code code);
int twirp_code_http(enum twirp_code code);
// TWIRP_UNKNOWN for names that we do not know.
enum twirp_code twirp_code_of_name(struct bytes name);

struct twirp_error twirp_error_of(enum twirp_code code, const char *fmt, ...) PRINTF_LIKE(2, 3);

// ---- server ---------------------------------------------------------------------------------

// One call as its HTTP request names it; views into the path.
struct twirp_call {
    struct bytes service; // "livekit.RoomService"
    struct bytes method;  // "CreateRoom"
    enum twirp_format format;
};

// Splits ".../twirp/<service>/<method>" (anything may stand in front of /twirp/). -ENOENT: no such
// form, for a plain 404.
int twirp_split_path(struct bytes path, struct bytes *ret_service,
                     struct bytes *ret_method) NODISCARD;

// Checks verb and content type of a request to a service that exists and fills *ret. -EINVAL with
// *ret_error filled (bad_route, texts of livekit-protocol 6.1), -ENOENT as twirp_split_path.
// content_type may be empty.
int twirp_parse_request(const char *http_method, struct bytes path, struct bytes content_type,
                        struct twirp_call *ret, struct twirp_error *ret_error) NODISCARD;

// The error for a method that the service does not have.
struct twirp_error twirp_no_handler(struct bytes path);

// The error for a body that cannot be decoded.
struct twirp_error twirp_bad_body(enum twirp_format format);

// Appends the JSON body of an error answer. Its content type is TWIRP_CONTENT_JSON, its status
// twirp_code_http.
void twirp_error_write(const struct twirp_error *e, struct dynbuf *out);

// The same for a text of any length, without meta.
void twirp_error_write_text(enum twirp_code code, const char *msg, struct dynbuf *out);

// ---- client ---------------------------------------------------------------------------------

// Appends the URL of a call: ws becomes http, wss https, a path in `base` is kept, slashes at its
// end are not. -EINVAL: base is no ws, wss, http or https URL.
int twirp_url(const char *base, const char *service, const char *method,
              struct dynbuf *out) NODISCARD;

// What an answer with a status other than 200 means. A JSON body with a `code` is taken as it is;
// anything else (a proxy's page) is mapped from the status as Twirp clients do, so that 404 without
// code is bad_route and never not_found.
struct twirp_error twirp_error_parse(int http_status, struct bytes body);
