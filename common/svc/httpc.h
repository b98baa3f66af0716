// SPDX-License-Identifier: Apache-2.0
#pragma once
// HTTP client on our loop (libcurl multi behind it). Owner thread of the loop.
//
// Nothing is contacted that the request does not name: no proxy unless asked for, redirects off
// unless asked for, and an address policy looks at every address before a connection is made to it.
//
// With a dns_cache, names of calls that are not trusted are resolved by it, anew for each hop of a
// redirect; what the policy refuses is left out, and the connection goes to exactly those addresses
// that it let pass (IPv6 and IPv4 raced, RFC 8305). The policy is asked a second time for the
// socket and a third time for the connection that is really used, so that neither a name that
// changes its address nor a kept connection leads around it. Trusted calls (and all without a
// dns_cache) use the system's resolver, which knows search domains and whatever else the operator's
// names need.

#include "common/base/addr.h"
#include "common/sys/loop.h"

struct dns_cache;
struct httpc;
struct httpc_call;

enum httpc_step {
    HTTPC_OK, // an HTTP answer came, of whatever status
    HTTPC_BAD_URL,
    HTTPC_DNS,
    HTTPC_CONNECT,
    HTTPC_DENIED, // the address policy refused every address, or the one after a redirect
    HTTPC_TLS,    // handshake or certificate
    HTTPC_SEND,
    HTTPC_RECEIVE, // broken or malformed answer
    HTTPC_TIMEOUT,
    HTTPC_TOO_LARGE, // more than max_body or max_header
    HTTPC_REDIRECT,  // more redirects than allowed, or to a scheme that is not
    HTTPC_CANCELLED, // the client object was freed
    HTTPC_INTERNAL,
    HTTPC_STEP_COUNT
};

const char *httpc_step_name(enum httpc_step s);

struct httpc_conf {
    const char *ca_file;       // trust roots; NULL: the system's
    const char *ca_dir;        // hashed directory; NULL: the system's
    const char *extra_ca_file; // in addition to the roots above; NULL: none
    bool insecure;             // no verification at all
    bool proxy_from_env;       // honour HTTPS_PROXY and the like
    unsigned max_per_host;     // connections at once per host, 0: 8; more calls wait
    unsigned max_total;        // 0: 256; calls at once, more wait in line at little cost
    const char *user_agent;    // NULL: none
    unsigned idle_s;           // kept connections without use are closed then, 0: 30
    struct dns_cache *dns;     // resolves names of calls that are not trusted; NULL: the system
    // False refuses the address (with its port). NULL: everything is allowed. Not asked for calls with trusted set.
    bool (*allow_address)(void *user, const struct addr *a);
    void *user;
};

// NULL when out of memory.
struct httpc *httpc_new(struct loop *l, const struct httpc_conf *conf) NODISCARD;

// Ends. Every call still under way gets its on_done with HTTPC_CANCELLED.
void httpc_free(struct httpc *c);
DEFINE_CLEANUP(struct httpc *, httpc_free)

struct httpc_result {
    enum httpc_step step;
    unsigned status;   // HTTPC_OK: of the last answer
    struct bytes body; // HTTPC_OK; zero-terminated behind its end
    struct addr peer;  // last address connected to, ADDR_NONE if none
    int64_t elapsed_ms;
    // Not HTTPC_OK: one line for the operator that names the step, "TLS with
    // matrix.example.org:8448 failed: ...". Without the query of the URL, which may hold tokens.
    const char *text;
    struct httpc_call *call; // for httpc_result_header
};

// First header of that name of the last answer, NULL if there is none. Only inside on_done.
const char *httpc_result_header(const struct httpc_result *r, const char *name);

// NAME: VALUE lines, copied.
struct httpc_header {
    const char *name;
    const char *value;
};

// Connect `host:port` of the URL to this address whatever DNS says; Host and TLS name stay those of
// the URL.
struct httpc_pin {
    const char *host;
    uint16_t port;
    const struct addr *addrs; // tried in order; ports are ignored
    size_t count;
};

struct httpc_request {
    const char *method; // NULL: GET, or POST if there is a body
    const char *url;
    const struct httpc_header *headers;
    size_t header_count;
    struct bytes body;
    int64_t connect_ms;     // DNS, TCP and TLS together, 0: 5 s
    int64_t total_ms;       // 0: 30 s
    size_t max_body;        // 0: 1 MiB
    size_t max_header;      // 0: 64 KiB
    unsigned max_redirects; // only GET and HEAD are sent on
    bool redirect_https_only;
    const struct httpc_pin *pin; // NULL: none
    // Connect to this host and port instead of the URL's (CURLOPT_CONNECT_TO), for SRV targets:
    // "host:port". NULL: none. For the first hop only.
    const char *connect_to;
    const char *host_header; // overrides Host; NULL: of the URL
    bool trusted;            // named by the operator: the address policy is not asked
    // Once, from the loop, never from inside httpc_start. Everything in result is valid during the
    // call only.
    void (*on_done)(void *user, const struct httpc_result *result);
    void *user;
};

// Starts a call, or puts it in line; everything in req is copied. *ret (may be NULL) is valid until on_done. -ENOMEM,
// -EINVAL.
int httpc_start(struct httpc *c, const struct httpc_request *req,
                struct httpc_call **ret) NODISCARD;

// Drops a call; on_done will not be called.
void httpc_cancel(struct httpc_call *call);
