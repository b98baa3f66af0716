// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the service needs to be an application service of its homeserver: the two tokens and what
// the registration allows (authorization-service 11.3; Matrix application service API, MSC4502,
// MSC4512). Start-up only; read-only afterwards.
//
// The tokens come from two settings or from the registration file that the homeserver reads as
// well. Both ways at once are fine while they agree.

#include "common/svc/conf.h"

// Under which the homeserver hands over: /_matrix/client/<version>/rtc/livekit/... (MSC4195).
#define AS_PROXY_PREFIX "rtc/livekit"

// A setting with its place, for messages: {"abc", "environment LIVEKIT_AS_TOKEN"}.
struct as_setting {
    const char *value; // NULL or "": not set
    const char *origin;
};

struct as_settings {
    struct as_setting as_token;
    struct as_setting hs_token;
    struct as_setting registration_file; // a path
    struct as_setting server_name;       // the homeserver's
};

// What a registration file says. Strings are "" where it says nothing.
struct as_registration {
    char *as_token;
    char *hs_token;
    char *id;
    char *proxy_prefix;
    unsigned as_token_line;
    unsigned hs_token_line;
    unsigned proxy_prefix_line;
    bool has_scopes;       // the key is there at all, under its stable or unstable name
    bool may_query_joined; // the scope of MSC4502's is_joined
    bool has_users;        // namespaces.users is not empty: we may act as users
};

struct as_config {
    char *as_token;    // ours, for calls to the homeserver
    char *hs_token;    // the homeserver's, on its calls to us
    char *server_name; // the homeserver's
    bool from_file;
    char *file_path; // from_file
    bool file_readable_by_others;
    struct as_registration registration; // from_file
};

// Reads the text of a registration file. -EINVAL: err holds one line that starts with `name` and
// names the line that is wrong, without any value. -ENOMEM. Pure.
int as_registration_parse(struct bytes text, const char *name, struct as_registration *ret,
                          char err[static CONF_ERROR_MAX]) NODISCARD;
void as_registration_done(struct as_registration *r); // wipes the tokens

// Puts the settings together. *ret becomes NULL when none of the tokens is set: the mode is off.
// -EINVAL: err holds one line for the operator; a contradiction names both places. -ENOMEM.
int as_config_load(const struct as_settings *s, struct as_config **ret,
                   char err[static CONF_ERROR_MAX]) NODISCARD;
void as_config_free(struct as_config *c); // accepts NULL; wipes the tokens
DEFINE_CLEANUP(struct as_config *, as_config_free)

// Tells the log what the mode is and what in the registration will not work as it stands.
void as_config_log(const struct as_config *c);
