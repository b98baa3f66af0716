// SPDX-License-Identifier: Apache-2.0
#pragma once
// Finds the client-server API of a homeserver by its server name: the operator's override, what is
// cached, or GET https://<server name>/.well-known/matrix/client (authorization-service 7.6). Owner
// thread: the loop's. Never blocks.
//
// Many requests for one name share one look-up. A URL that was good is handed out for up to 48
// hours while it cannot be confirmed, at once and whatever the refresh brings: a homeserver's web
// server that is away for a minute must not end a call that is up. Deviations from the original:
// only status 200 counts, the URL is checked, a name with a port is also asked without it (the
// specification's form), failures are kept for a minute.

#include "common/svc/httpc.h"
#include "jwt-service/openid/server_name.h"

struct cs_discovery;
struct cs_query;

#define CS_BASE_URL_MAX 1023 // ours; real ones have some forty characters

// Where the client-server API of a server is.
struct cs_location {
    char base_url[CS_BASE_URL_MAX + 1]; // http or https, without slash at the end
    bool trusted; // named by the operator: the address policy does not apply to calls there
    bool cached;  // came from a document read earlier: may be out of date (cs_discovery_forget)
};

// A homeserver whose API is at a URL of the operator's.
struct cs_override {
    const char *server_name; // compared exactly
    const char *base_url;    // http or https; a slash at the end is cut off
};

struct cs_discovery_conf {
    struct loop *loop;
    struct httpc *http;                  // for the documents; the address policy is its
    const struct cs_override *overrides; // borrowed
    size_t override_count;
    // True: the operator named this server, so the address policy does not apply to it. NULL: none.
    bool (*trusts)(void *user, const char *server_name);
    void *user;
};

struct cs_result {
    const struct cs_location *location; // NULL: nothing usable
    const char *step; // nothing usable: what failed: "dns", "tls", "status", "body", ...
    const char *text; // nothing usable: one line for the operator
};

// NULL without memory. conf's objects must outlive it.
struct cs_discovery *cs_discovery_new(const struct cs_discovery_conf *conf) NODISCARD;
// Drops what is under way; waiting queries are never told. Accepts NULL.
void cs_discovery_free(struct cs_discovery *d);
DEFINE_CLEANUP(struct cs_discovery *, cs_discovery_free)

// Fills *ret if the answer needs no waiting: an override, or a document that was good within 48
// hours (one that is due is fetched again behind it). -ENOENT otherwise: cs_discovery_start.
int cs_discovery_known(struct cs_discovery *d, const char *server_name,
                       struct cs_location *ret) NODISCARD;

// Looks it up; also for names that are known. fn is called once from the loop, never from inside
// this call, within some 10 s; *ret is valid until then. -EINVAL: no server name by the grammar and
// no override. -ENOMEM.
int cs_discovery_start(struct cs_discovery *d, const char *server_name,
                       void (*fn)(void *user, const struct cs_result *result), void *user,
                       struct cs_query **ret) NODISCARD;

// fn will not be called; the look-up goes on for others and for the cache.
void cs_discovery_cancel(struct cs_query *q);

// What is known led nowhere: it is fetched again at the next use, not more often than once a
// minute. The old one serves on meanwhile.
void cs_discovery_forget(struct cs_discovery *d, const char *server_name);

// ---- the pure part (cs_well_known.c) --------------------------------------------------------

#define CS_WELL_KNOWN_MAX (64u << 10) // authorization-service 7.6

// A base URL as it may be used: http or https, a host, no user info, query or fragment, no
// characters that do not belong into a URL. Slashes at the end are cut off. -EINVAL.
int cs_base_url_check(struct bytes url, char ret[static CS_BASE_URL_MAX + 1]) NODISCARD;

// m.homeserver.base_url of a client document, checked as above. -EINVAL: none that is usable.
int cs_well_known_parse(struct bytes body, char ret[static CS_BASE_URL_MAX + 1]) NODISCARD;

// Seconds a document may be kept by its Cache-Control header (NULL: none): max-age clamped to 5
// minutes .. 24 hours; 4 hours without, as the original.
int64_t cs_well_known_ttl_s(const char *cache_control);
