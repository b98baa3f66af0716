// SPDX-License-Identifier: Apache-2.0
#pragma once
// Asks a homeserver whom an OpenID token belongs to (authorization-service 5.1). Owner thread: the
// loop's. Never blocks; each check ends within OPENID_TOTAL_MS.
//
// One userinfo request per check: an HTTP answer of any status is final. Deviations from the
// original: no redirects (the token would go to whoever is named there), 10 s instead of 30 s.
//
// Strangers choose which server is asked, so what they can set off is bounded (5.8 rules 8, 9): at
// most `total` checks at once go to servers that the operator did not name, `per_server` of them to
// one, `per_client` of them for one client address. Others wait in line, each server having its
// own, up to `queue_per_server` and `queue_total`; beyond that they end at once as busy. A server
// that cannot be reached is not asked again for a minute (server_health.h). Servers that the
// operator named (trusted) have places of their own and many of them, so that neither a crowd of
// unknown servers nor one slow homeserver with ten thousand users waiting holds up anybody else;
// they are tried each time. Refusals take at least OPENID_REFUSED_MS, so that their time says
// little about what is inside the network.

#include "jwt-service/openid/server_discovery.h"

#define OPENID_TOTAL_MS 10000 // authorization-service 5.8 rule 7, waiting in line included
#define OPENID_REFUSED_MS 50  // authorization-service 5.8 rule 9

// Zero means the default.
struct openid_limits {
    unsigned total;            // 256
    unsigned per_server;       // 8
    unsigned per_client;       // 8
    unsigned queue_per_server; // 256
    unsigned queue_total;      // 1024
    unsigned trusted;          // 1024: to one trusted server; httpc's max_per_host must allow it
    unsigned trusted_queue;    // 16384: waiting for one trusted server
};

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
    struct openid_limits limits;
};

struct openid_result {
    const char *user_id; // NULL: refused
    const char *step;    // refused: what failed: "dns", "connect", "tls", "status", "subject", ...
    const char *text;    // refused: one line for the operator, without the token
    bool busy;           // refused for too many checks at once (step "busy"): better told as 429
    int64_t elapsed_ms;
};

struct openid_verifier *openid_verifier_new(const struct openid_verifier_conf *conf) NODISCARD;
// Every check must have ended or been cancelled. Accepts NULL.
void openid_verifier_free(struct openid_verifier *v);
DEFINE_CLEANUP(struct openid_verifier *, openid_verifier_free)

struct openid_ask {
    const char *server_name;
    const char *token;
    bool trusted;              // the operator named this server
    const struct addr *client; // who is asking, for per_client (IPv6: his /64); NULL: not counted
};

// Starts a check; everything in ask is copied. fn is called once from the loop, never from inside
// this call; *ret is valid until then. -EINVAL: no server name by the grammar, nothing was sent.
// -ENOMEM.
int openid_verifier_ask(struct openid_verifier *v, const struct openid_ask *ask,
                        void (*fn)(void *user, const struct openid_result *result), void *user,
                        struct openid_check **ret) NODISCARD;

// fn will not be called.
void openid_verifier_cancel(struct openid_check *c);

// The user id in the body of a userinfo answer, if it is one of server_name: "sub" is "@", a local
// part that is not empty, ":" and exactly server_name. -EINVAL no such JSON, -EACCES another server
// or malformed. Pure.
#define OPENID_USER_MAX 255 // matrix-spec appendices: user identifiers
int openid_subject(struct bytes body, const char *server_name,
                   char ret[static OPENID_USER_MAX + 1]) NODISCARD;
