// SPDX-License-Identifier: Apache-2.0
#pragma once
// Asks a homeserver whom an OpenID token belongs to (authorization-service 5.1). Owner thread: the
// loop's. Never blocks; each check ends within OPENID_TOTAL_MS.
//
// One userinfo request per check: an HTTP answer of any status is final. Deviations from the
// original: no redirects (the token would go to whoever is named there), 10 s instead of 30 s.

#include "jwt-service/server_discovery.h"

#define OPENID_TOTAL_MS 10000 // authorization-service 5.8 rule 7

struct openid_verifier;
struct openid_check;

// A homeserver that is asked at a URL of the operator's instead of being looked up.
struct openid_override {
    const char *server_name;
    const char *base_url; // http or https, without slash at the end
};

struct openid_verifier_conf {
    struct loop *loop;
    struct httpc *http;
    struct server_discovery *discovery;
    const struct openid_override *overrides; // borrowed
    size_t override_count;
};

struct openid_result {
    const char *user_id; // NULL: refused
    const char *step;    // refused: what failed: "dns", "connect", "tls", "status", "subject", ...
    const char *text;    // refused: one line for the operator, without the token
    int64_t elapsed_ms;
};

struct openid_verifier *openid_verifier_new(const struct openid_verifier_conf *conf) NODISCARD;
// Every check must have ended or been cancelled. Accepts NULL.
void openid_verifier_free(struct openid_verifier *v);
DEFINE_CLEANUP(struct openid_verifier *, openid_verifier_free)

// Starts a check; the strings are copied. `trusted`: the operator named this server. fn is called
// once from the loop, never from inside this call; *ret is valid until then. -EINVAL: no server
// name by the grammar, nothing was sent. -ENOMEM.
int openid_verifier_check(struct openid_verifier *v, const char *server_name, const char *token,
                          bool trusted, void (*fn)(void *user, const struct openid_result *result),
                          void *user, struct openid_check **ret) NODISCARD;

// fn will not be called.
void openid_verifier_cancel(struct openid_check *c);

// The user id in the body of a userinfo answer, if it is one of server_name: "sub" is "@", a local
// part that is not empty, ":" and exactly server_name. -EINVAL no such JSON, -EACCES another server
// or malformed. Pure.
#define OPENID_USER_MAX 255 // matrix-spec appendices: user identifiers
int openid_subject(struct bytes body, const char *server_name,
                   char ret[static OPENID_USER_MAX + 1]) NODISCARD;
