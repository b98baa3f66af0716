// SPDX-License-Identifier: Apache-2.0
#pragma once
// HTTP/1.1 server on our loop (libmicrohttpd behind it), with hand-over of upgraded sockets. Requests
// that another server might read in another way are refused with 400 (httpd_framing.h).
//
// libmicrohttpd runs without threads: our loop polls its epoll descriptor and calls MHD_run. (Its
// own epoll thread stalls when 128 or more connections are ready at once, measured with 0.9.75;
// this arrangement does not.) Owner thread of the loop for everything.

#include "common/base/addr.h"
#include "common/sys/loop.h"

struct httpd;
struct httpd_req;

// Called once per request when its body is complete. The request must be answered exactly once, by
// httpd_respond or httpd_upgrade, now or later; it is gone after that. See httpd_on_gone for
// requests whose client left.
typedef void (*httpd_handler)(void *user, struct httpd_req *req);

enum {
    HTTPD_EXACT = 0,
    HTTPD_ANY_PREFIX =
        1,          // matches under any path prefix, so that reverse proxies need not strip theirs
    HTTPD_TAIL = 2, // also matches when more segments follow (path must end in '/')
};

struct httpd_route {
    const char *path;    // "/sfu/get"; compared with the cleaned path (see httpd_path)
    const char *methods; // "GET", "GET,POST"; NULL: all. GET includes HEAD
    unsigned flags;
    size_t body_max; // 0: no body expected (64 KiB are read and ignored), more than this: 413
    httpd_handler handler;
    void *user;
};

struct httpd_conf {
    const struct addr
        *listen; // port 0: any (all listeners with port 0 get the same one if that is possible)
    size_t listen_count;
    const struct httpd_route *routes; // first match wins; copied
    size_t route_count;
    unsigned max_connections; // 0: 4096. Upgraded ones count until they are released
    // Connections at once from one address (IPv6: one /64), 0: no limit. One more is closed as soon
    // as it is accepted.
    unsigned max_per_ip;
    // True: max_per_ip is not for this one (a trusted proxy, behind which everybody has one
    // address). NULL: for all but loopback.
    bool (*exempt_address)(void *user, const struct addr *a);
    // Who is slower is cut off, so that a connection costs a bounded time whatever its client does
    // (authorization-service 9.2).
    unsigned idle_timeout_s;    // from one answer to the next request line, 0: 30
    unsigned header_timeout_ms; // from connecting, or from a later request line, to the end of the
                                // headers, 0: 10000
    unsigned body_timeout_ms;   // from there to the end of the body, 0: 10000
    unsigned send_timeout_ms;   // for taking an answer, 0: 10000, and beside that
    unsigned send_rate;         // a second for this many bytes of it, 0: 16384 (128 kbit/s)
    size_t
        header_max; // request line and headers, 0: 256 KiB (an offer is inside the URL of /rtc/v1)
    // Memory for large bodies of all requests together, 0: 64 MiB. The first 64 KiB of each do not
    // count, so that a crowd of large ones (which cost their senders little) is in nobody's way; a
    // request that does not fit any more is answered 503.
    size_t bodies_max;
    const char *server_name; // value of Server, NULL: none
    // Called for every response just before it leaves, also for 404, 405 and 413, to add headers
    // (CORS).
    void (*decorate)(void *user, struct httpd_req *req, unsigned status);
    // No route matched (status 404), or one by path but not by method (405; allow: its methods).
    // NULL: text/plain "404 page not found\n", or 405 with an empty body.
    void (*not_found)(void *user, struct httpd_req *req, unsigned status, const char *allow);
    // The body is over the route's cap: must answer. NULL: 413 with a line of text.
    void (*too_large)(void *user, struct httpd_req *req);
    // The server stops, or (crowded) has no memory for the body: must answer. NULL: 503 with a line
    // of text.
    void (*unavailable)(void *user, struct httpd_req *req, bool crowded);
    void *user;
};

// Opens the sockets and serves. -EADDRINUSE and other negative errno; *ret_failed (may be NULL) is
// the listener that could not be opened.
int httpd_new(struct loop *l, const struct httpd_conf *conf, struct httpd **ret,
              size_t *ret_failed) NODISCARD;

// Accepts no more connections; what is going on continues.
void httpd_quiesce(struct httpd *h);

// Requests not yet answered (connections that are idle do not count), and upgraded sockets not yet
// released.
size_t httpd_busy(const struct httpd *h);

// Ends. Requests still open are answered 503, upgraded sockets not yet released are closed: their
// owners must not use them any more. NULL is fine.
void httpd_free(struct httpd *h);
DEFINE_CLEANUP(struct httpd *, httpd_free)

// Listeners that are open: all that were asked for, but for "[::]" beside "0.0.0.0" where the kernel
// has no IPv6.
size_t httpd_listeners(const struct httpd *h);
// Where listener i really listens.
struct addr httpd_address(const struct httpd *h, size_t i);

// ---- the request; everything is valid until it is answered ----------------------------------

const char *httpd_method(const struct httpd_req *r);
// The cleaned path: percent-decoded, double slashes collapsed, dot segments resolved, no trailing
// slash ("/" alone stays).
const char *httpd_path(const struct httpd_req *r);
// The part of the path that the route matched, from its leading slash: "/rtc" for "/prefix/rtc".
const char *httpd_matched(const struct httpd_req *r);
// HTTPD_TAIL: what follows the route's path, "" if nothing.
const char *httpd_tail(const struct httpd_req *r);
// First header of that name (any case), NULL if there is none.
const char *httpd_header(const struct httpd_req *r, const char *name);
// The values of all headers of that name in their order, joined by ", "; NULL if there is none.
// For lists that each proxy adds a line to.
const char *httpd_header_all(struct httpd_req *r, const char *name);
// First query parameter of that name, decoded; "" if it has no value, NULL if there is none.
const char *httpd_query(const struct httpd_req *r, const char *name);
struct bytes httpd_body(const struct httpd_req *r);
// The socket's peer (a reverse proxy, if there is one).
struct addr httpd_peer(const struct httpd_req *r);

// Told when the request ends unanswered: the server stops, or its connection was found broken. r is
// gone afterwards and must not be answered. (A client that leaves while an answer is awaited is
// noticed only when the answer is sent.)
void httpd_on_gone(struct httpd_req *r, void (*fn)(void *user), void *user);

// ---- the answer -----------------------------------------------------------------------------

// Adds a response header (up to 24; more are left out). Copied.
void httpd_add_header(struct httpd_req *r, const char *name, const char *value);

// Answers. content_type may be NULL. The body is copied (for HEAD only its length is sent).
// Consumes r.
void httpd_respond(struct httpd_req *r, unsigned status, const char *content_type,
                   struct bytes body);

// A socket that left HTTP. fd is non-blocking and stays httpd's: call httpd_release instead of
// close().
struct httpd_upgraded {
    int fd;
    struct bytes early; // bytes that came behind the request; valid during the callback only
    struct httpd_upgrade *handle;
};

// Answers 101 with what httpd_add_header gave (Connection: Upgrade is added) and hands over the
// socket: fn is called once, in a later turn; if the connection broke before, with fd -1 and handle
// NULL. Consumes r.
void httpd_upgrade(struct httpd_req *r, const char *protocol,
                   void (*fn)(void *user, const struct httpd_upgraded *up), void *user);

// Closes the socket. Exactly once per httpd_upgraded with a handle.
void httpd_release(struct httpd_upgrade *u);
