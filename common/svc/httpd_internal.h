// SPDX-License-Identifier: Apache-2.0
#pragma once
// The inside of httpd, shared by its two halves: httpd.c (listeners, libmicrohttpd's daemons) and
// httpd_req.c (requests and their answers). Nobody else includes this.

#include "common/base/arena.h"
#include "common/base/dynbuf.h"
#include "common/base/timer_heap.h"
#include "common/svc/httpd.h"

struct MHD_Connection;
struct MHD_Daemon;
struct MHD_Response;
struct MHD_UpgradeResponseHandle;

#define HTTPD_HEADERS_OUT_MAX 24

struct httpd_conn;
struct httpd_peer;

struct httpd_header {
    const char *name;
    const char *value;
};

struct httpd_listener {
    struct httpd *owner;
    struct MHD_Daemon *daemon;
    struct loop_poll *poll;
    struct loop_timer *timer;
    struct addr addr;
    int fd;
    bool has_place; // a connection was closed in this run
};

struct httpd_upgrade {
    struct httpd_upgrade *prev, *next;
    struct httpd_req *req; // until it was handed over
    struct httpd *owner;
    struct httpd_listener *listener;
    struct MHD_UpgradeResponseHandle *mhd; // NULL until the socket was handed over
    const void *pool;                      // of its connection, to be trimmed; NULL: done
    void (*fn)(void *user, const struct httpd_upgraded *up);
    void *user;
};

struct httpd_req {
    struct httpd_req *prev, *next; // in httpd.open while unanswered
    struct httpd *owner;
    struct httpd_listener *listener;
    struct MHD_Connection *conn;
    struct httpd_conn *deadlines; // of its connection; NULL: none
    const struct httpd_route *route;
    const char *allow; // methods of a route whose path matched, but not its method
    const void *pool;  // where libmicrohttpd put the request line
    const char *method;
    const char *path;
    const char *matched;
    const char *tail;
    struct arena arena;
    struct dynbuf body;
    size_t body_max;
    size_t body_seen;
    size_t body_counted; // of what is kept, in httpd.body_bytes
    bool too_large;
    bool crowded; // no room for its body
    bool dispatched;
    bool suspended;
    bool answered;
    unsigned status;
    struct MHD_Response *response;
    struct httpd_upgrade *upgrade; // ours until it is handed over
    struct httpd_header headers[HTTPD_HEADERS_OUT_MAX];
    size_t header_count;
    void (*gone)(void *user);
    void *gone_user;
};

struct httpd {
    struct loop *loop;
    struct httpd_conf conf;
    struct httpd_route *routes;
    struct httpd_listener *listeners;
    size_t listener_count;
    struct httpd_req *open;
    size_t open_count;
    struct httpd_upgrade *upgrades;
    size_t upgrade_count;
    struct loop_timer *trim;     // runs while an upgraded connection's pool waits to be trimmed
    struct timer_heap deadlines; // of connections (httpd_conn.c)
    struct loop_timer *deadline_timer;
    mono_t deadline_at;       // what it is set to
    struct httpd_peer *peers; // connections by address
    uint32_t conn_count;
    size_t body_bytes; // of large bodies that are kept
    bool quiet;        // accepts no more connections
    bool stopping;     // no handler is called any more
};

// Makes libmicrohttpd look at its connections in the next turn: it has work that its epoll
// descriptor does not show.
void httpd_listener_kick(struct httpd_listener *li);

// libmicrohttpd's callbacks for requests, with their generic signatures.
struct httpd_callbacks {
    void (*access)(void);
    void (*request_line)(void);
    void (*completed)(void);
};

// The access handler, the one for request lines and the completion handler (see httpd_req.c), to be
// cast by the file that starts the daemon.
struct httpd_callbacks httpd_req_callbacks(void);

// The trim timer's function: httpd_pool_trim for the upgrades that wait for it.
void httpd_req_trim_pools(void *h);

// Answers everything that is open with 503 and closes what was upgraded: libmicrohttpd cannot stop
// while connections are suspended or handed over.
void httpd_req_end_all(struct httpd *h);
