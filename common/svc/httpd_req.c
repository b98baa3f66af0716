// SPDX-License-Identifier: Apache-2.0
#include <microhttpd.h>
#include <string.h>
#include <strings.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/svc/httpd_conn.h"
#include "common/svc/httpd_framing.h"
#include "common/svc/httpd_internal.h"
#include "common/svc/httpd_pool.h"
#include "common/svc/httpd_route.h"
#include "common/sys/udp.h"

// Strings of one request that we keep, beside its URL.
#define REQUEST_TEXT_MAX ((size_t)64 << 10)
// Body of a request to a route that wants none.
#define BODY_IGNORED_MAX (64u << 10)
// A body that came in chunks (without Content-Length) is read this far past its cap, to be able to
// answer 413.
#define BODY_EXCESS_MAX (1u << 20)
// So much of every body is kept without counting.
#define BODY_SMALL_MAX ((size_t)64 << 10)
#define BODIES_DEFAULT ((size_t)64 << 20)

// After an upgrade, until the library has zeroed its pool; and so that a crowd is served in one go.
#define TRIM_DELAY_MS 500

// ---- requests -------------------------------------------------------------------------------

static void req_close(struct httpd_req *r)
{
    if (!r->answered) {
        r->answered = true;
        DL_DELETE(r->owner->open, r);
        r->owner->open_count--;
    }
}

static void forget_body(struct httpd_req *r)
{
    r->owner->body_bytes -= r->body_counted;
    r->body_counted = 0;
    dynbuf_done(&r->body);
}

static void req_free(struct httpd_req *r)
{
    req_close(r);
    if (r->response != NULL) {
        MHD_destroy_response(r->response);
    }
    forget_body(r);
    arena_done(&r->arena);
    mem_free(r);
}

static size_t declared_length(struct httpd_req *r)
{
    const char *const text = httpd_header(r, "Content-Length");
    size_t v = 0;
    for (const char *p = text; p != NULL && *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(v, (size_t)10, &v) ||
            __builtin_add_overflow(v, (size_t)(*p - '0'), &v)) {
            return SIZE_MAX;
        }
    }
    return v;
}

static void find_route(struct httpd_req *r)
{
    for (size_t i = 0; i < r->owner->conf.route_count; i++) {
        const struct httpd_route *const route = &r->owner->routes[i];
        size_t at = 0;
        if (!httpd_route_match(route, r->path, &at, &r->tail)) {
            continue;
        }
        r->matched = r->path + at;
        if (httpd_route_allows(route->methods, r->method)) {
            r->route = route;
            return;
        }
        r->allow = r->allow != NULL ? r->allow : route->methods;
    }
}

static struct httpd_conn *conn_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *const info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static struct httpd_req *req_new(struct httpd_listener *li, struct MHD_Connection *conn,
                                 const char *method, const char *url)
{
    struct httpd_req *const r = NEW(struct httpd_req);
    if (r == NULL) {
        return NULL;
    }
    r->owner = li->owner;
    r->listener = li;
    r->conn = conn;
    r->deadlines = conn_of(conn);
    // The URL may be as long as all headers together.
    arena_init(&r->arena, 256, REQUEST_TEXT_MAX + li->owner->conf.header_max);
    char *const path = arena_alloc(&r->arena, strlen(url) + 2);
    r->pool = method;
    r->method = arena_strdup(&r->arena, bytes_str(method));
    DL_APPEND(li->owner->open, r);
    li->owner->open_count++;
    if (path == NULL || r->method == NULL) {
        req_free(r);
        return NULL;
    }
    httpd_route_clean(url, path);
    r->path = path;
    r->matched = path;
    r->tail = "";
    find_route(r);
    r->body_max =
        r->route != NULL && r->route->body_max > 0 ? r->route->body_max : BODY_IGNORED_MAX;
    // A little too much is read all the same: a client that still sends would see a reset, no
    // answer.
    r->too_large = declared_length(r) > r->body_max + BODY_EXCESS_MAX;
    dynbuf_init(&r->body, r->body_max);
    return r;
}

// Counts n more bytes of the body. False: there is no room for them.
static bool count_body(struct httpd_req *r, size_t n)
{
    struct httpd *const h = r->owner;
    size_t const max = h->conf.bodies_max != 0 ? h->conf.bodies_max : BODIES_DEFAULT;
    size_t const now = r->body.n + n;
    size_t const more = now > BODY_SMALL_MAX ? now - BODY_SMALL_MAX - r->body_counted : 0;
    if (more > max - MIN(h->body_bytes, max)) {
        return false;
    }
    h->body_bytes += more;
    r->body_counted += more;
    return true;
}

static enum MHD_Result take_body(struct httpd_req *r, struct bytes data)
{
    r->body_seen += data.n;
    if (r->body_seen > r->body_max) {
        r->too_large = true;
        forget_body(r);
        return r->body_seen > r->body_max + BODY_EXCESS_MAX ? MHD_NO : MHD_YES;
    }
    if (r->route == NULL || r->route->body_max == 0 || r->crowded) {
        return MHD_YES; // read, so that the answer arrives, but not kept
    }
    if (!count_body(r, data.n)) {
        r->crowded = true;
        forget_body(r);
        return MHD_YES;
    }
    dynbuf_add(&r->body, data);
    return dynbuf_ok(&r->body) ? MHD_YES : MHD_NO;
}

static void not_found(struct httpd_req *r)
{
    unsigned const status = r->allow != NULL ? 405 : 404;
    if (r->owner->conf.not_found != NULL) {
        r->owner->conf.not_found(r->owner->conf.user, r, status, r->allow);
    } else if (status == 405) {
        httpd_respond(r, status, NULL, bytes_of(NULL, 0));
    } else {
        httpd_respond(r, status, "text/plain; charset=utf-8", bytes_str("404 page not found\n"));
    }
}

static void too_large(struct httpd_req *r)
{
    if (r->owner->conf.too_large != NULL) {
        r->owner->conf.too_large(r->owner->conf.user, r);
    } else {
        httpd_respond(r, 413, "text/plain; charset=utf-8", bytes_str("request body too large"));
    }
}

static void unavailable(struct httpd_req *r)
{
    if (r->owner->conf.unavailable != NULL) {
        r->owner->conf.unavailable(r->owner->conf.user, r, r->crowded);
    } else {
        httpd_respond(r, 503, "text/plain; charset=utf-8",
                      bytes_str(r->crowded ? "too many at once" : "shutting down"));
    }
}

// Whatever follows on this connection cannot be trusted to be a request.
static void ambiguous(struct httpd_req *r)
{
    r->dispatched = true;
    httpd_add_header(r, "Connection", "close");
    httpd_respond(r, 400, "text/plain; charset=utf-8", bytes_str("malformed request"));
}

static void dispatch(struct httpd_req *r)
{
    r->dispatched = true;
    httpd_conn_enter(r->deadlines, HTTPD_WORKING, 0);
    if (r->owner->stopping || r->crowded) {
        unavailable(r);
    } else if (r->too_large) {
        too_large(r);
    } else if (r->route == NULL) {
        not_found(r);
    } else {
        r->route->handler(r->route->user, r);
    }
}

static enum MHD_Result queue_answer(struct httpd_req *r)
{
    if (r->response == NULL) {
        return MHD_NO; // no memory for it: drop the connection
    }
    return MHD_queue_response(r->conn, r->status, r->response);
}

// The first thing heard of a request. What it returns is on_access' *req_cls.
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *conn)
{
    (void)cls;
    (void)uri;
    httpd_conn_enter(conn_of(conn), HTTPD_HEADERS, 0);
    return NULL;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *conn, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *data_size, void **req_cls)
{
    struct httpd_listener *const li = cls;
    struct httpd_req *r = *req_cls;
    if (r == NULL) {
        r = req_new(li, conn, method, url);
        *req_cls = r;
        if (r == NULL) {
            return MHD_NO;
        }
        if (!httpd_framing_ok(conn, version)) {
            ambiguous(r);
            return queue_answer(r);
        }
        if (!r->too_large) {
            httpd_conn_enter(r->deadlines, HTTPD_BODY, 0);
            return MHD_YES;
        }
        // Refused before the body is read; the library then closes the connection.
        dispatch(r);
        return queue_answer(r);
    }
    if (*data_size > 0) {
        enum MHD_Result const ok = take_body(r, bytes_of(data, *data_size));
        *data_size = 0;
        return ok;
    }
    if (!r->dispatched && !r->answered) {
        dispatch(r);
    }
    if (r->answered) {
        return queue_answer(r);
    }
    r->suspended = true;
    MHD_suspend_connection(conn);
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **req_cls,
                         enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)conn;
    (void)why;
    struct httpd_req *const r = *req_cls;
    *req_cls = NULL;
    if (r == NULL) {
        return;
    }
    httpd_conn_enter(r->deadlines, HTTPD_IDLE, 0);
    if (r->upgrade != NULL) {
        // The connection broke before it could be handed over.
        struct httpd_upgrade *const u = r->upgrade;
        DL_DELETE(u->owner->upgrades, u);
        u->owner->upgrade_count--;
        struct httpd_upgraded const up = {.fd = -1};
        u->fn(u->user, &up);
        mem_free(u);
    }
    if (!r->answered && r->gone != NULL) {
        r->gone(r->gone_user);
    }
    req_free(r);
}

// ---- what a handler may ask -----------------------------------------------------------------

const char *httpd_method(const struct httpd_req *r)
{
    return r->method;
}

const char *httpd_path(const struct httpd_req *r)
{
    return r->path;
}

const char *httpd_matched(const struct httpd_req *r)
{
    return r->matched;
}

const char *httpd_tail(const struct httpd_req *r)
{
    return r->tail;
}

const char *httpd_header(const struct httpd_req *r, const char *name)
{
    return MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);
}

const char *httpd_query(const struct httpd_req *r, const char *name)
{
    const char *value = NULL;
    size_t n = 0;
    if (MHD_lookup_connection_value_n(r->conn, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value,
                                      &n) != MHD_YES) {
        return NULL;
    }
    return value != NULL ? value : "";
}

struct joined {
    const char *name;
    size_t n; // length of what is joined so far
    char *to; // NULL: only count
};

static enum MHD_Result join_one(void *cls, enum MHD_ValueKind kind, const char *name,
                                const char *value)
{
    struct joined *const j = cls;
    (void)kind;
    if (strcasecmp(name, j->name) != 0 || value == NULL) {
        return MHD_YES;
    }
    size_t const gap = j->n > 0 ? 2 : 0;
    size_t const len = strlen(value);
    if (j->to != NULL) {
        memcpy(j->to + j->n, ", ", gap);
        memcpy(j->to + j->n + gap, value, len);
    }
    j->n += gap + len;
    return MHD_YES;
}

const char *httpd_header_all(struct httpd_req *r, const char *name)
{
    if (httpd_header(r, name) == NULL) {
        return NULL;
    }
    struct joined j = {.name = name};
    (void)MHD_get_connection_values(r->conn, MHD_HEADER_KIND, join_one, &j);
    j.to = arena_alloc(&r->arena, j.n + 1);
    if (j.to == NULL) {
        return ""; // not a part of it: the last line may be the one that counts
    }
    j.n = 0;
    (void)MHD_get_connection_values(r->conn, MHD_HEADER_KIND, join_one, &j);
    j.to[j.n] = '\0';
    return j.to;
}

struct bytes httpd_body(const struct httpd_req *r)
{
    return dynbuf_view(&r->body);
}

struct addr httpd_peer(const struct httpd_req *r)
{
    struct addr a = {0};
    const union MHD_ConnectionInfo *const info =
        MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info != NULL && info->client_addr != NULL &&
        addr_from_sockaddr(info->client_addr, &a) != 0) {
        a = (struct addr){0};
    }
    return a;
}

void httpd_on_gone(struct httpd_req *r, void (*fn)(void *user), void *user)
{
    r->gone = fn;
    r->gone_user = user;
}

// ---- answers --------------------------------------------------------------------------------

void httpd_add_header(struct httpd_req *r, const char *name, const char *value)
{
    if (r->header_count < HTTPD_HEADERS_OUT_MAX) {
        struct httpd_header *const h = &r->headers[r->header_count];
        h->name = arena_strdup(&r->arena, bytes_str(name));
        h->value = arena_strdup(&r->arena, bytes_str(value));
        r->header_count += h->name != NULL && h->value != NULL ? 1u : 0u;
    }
}

// Consumes the request as far as its owner is concerned; r itself lives until libmicrohttpd is done
// with it.
static void answer(struct httpd_req *r, unsigned status, struct MHD_Response *response,
                   enum httpd_phase phase, size_t size)
{
    httpd_conn_enter(r->deadlines, phase, size);
    if (r->owner->conf.decorate != NULL) {
        r->owner->conf.decorate(r->owner->conf.user, r, status);
    }
    if (r->owner->conf.server_name != NULL) {
        httpd_add_header(r, "Server", r->owner->conf.server_name);
    }
    for (size_t i = 0; response != NULL && i < r->header_count; i++) {
        // Refuses names and values that would break the message; such a header is our bug or
        // somebody's attack.
        (void)MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
    }
    req_close(r);
    r->status = status;
    r->response = response;
    if (r->suspended) {
        r->suspended = false;
        MHD_resume_connection(r->conn);
        httpd_listener_kick(r->listener);
    }
}

void httpd_respond(struct httpd_req *r, unsigned status, const char *content_type,
                   struct bytes body)
{
    if (content_type != NULL) {
        httpd_add_header(r, "Content-Type", content_type);
    }
    // MHD_RESPMEM_MUST_COPY does not write through the pointer.
    void *const p = body.n > 0 ? (void *)(uintptr_t)body.p : (void *)(uintptr_t) "";
    answer(r, status, MHD_create_response_from_buffer(body.n, p, MHD_RESPMEM_MUST_COPY),
           HTTPD_SENDING, body.n);
}

static void on_upgrade(void *cls, struct MHD_Connection *conn, void *req_cls, const char *extra,
                       size_t extra_size, MHD_socket sock, struct MHD_UpgradeResponseHandle *urh)
{
    (void)conn;
    (void)req_cls;
    struct httpd_upgrade *const u = cls;
    u->req->upgrade = NULL; // from here on it belongs to its owner
    u->mhd = urh;
    if (u->owner->stopping) {
        struct httpd_upgraded const none = {.fd = -1};
        u->fn(u->user, &none);
        httpd_release(u);
        return;
    }
    // The library is not through with the request yet: a little later.
    loop_timer_set_ms(u->owner->trim, TRIM_DELAY_MS);
    struct httpd_upgraded const up = {
        .fd = sock, .early = bytes_of(extra, extra_size), .handle = u};
    u->fn(u->user, &up);
}

void httpd_upgrade(struct httpd_req *r, const char *protocol,
                   void (*fn)(void *user, const struct httpd_upgraded *up), void *user)
{
    struct httpd_upgrade *const u = NEW(struct httpd_upgrade);
    struct MHD_Response *const response =
        u != NULL ? MHD_create_response_for_upgrade(on_upgrade, u) : NULL;
    if (u != NULL) {
        *u = (struct httpd_upgrade){.req = r,
                                    .owner = r->owner,
                                    .listener = r->listener,
                                    .pool = r->pool,
                                    .fn = fn,
                                    .user = user};
        DL_APPEND(r->owner->upgrades, u);
        r->owner->upgrade_count++;
        // Without a response the connection is dropped, and on_completed tells.
        r->upgrade = u;
    } else {
        struct httpd_upgraded const up = {.fd = -1};
        fn(user, &up);
    }
    httpd_add_header(r, "Upgrade", protocol);
    answer(r, MHD_HTTP_SWITCHING_PROTOCOLS, response, HTTPD_WORKING, 0);
}

void httpd_release(struct httpd_upgrade *u)
{
    struct httpd_listener *const li = u->listener;
    DL_DELETE(u->owner->upgrades, u);
    u->owner->upgrade_count--;
    (void)MHD_upgrade_action(u->mhd, MHD_UPGRADE_ACTION_CLOSE);
    mem_free(u);
    httpd_listener_kick(li);
}

void httpd_req_trim_pools(void *h)
{
    struct httpd *const owner = h;
    struct httpd_upgrade *u = NULL;
    DL_FOREACH(owner->upgrades, u)
    {
        if (u->mhd != NULL && u->pool != NULL) {
            (void)httpd_pool_trim((void *)(uintptr_t)u->pool, owner->conf.header_max);
            u->pool = NULL;
        }
    }
}

// ---- for httpd.c ----------------------------------------------------------------------------

struct httpd_callbacks httpd_req_callbacks(void)
{
    return (struct httpd_callbacks){.access = (void (*)(void))on_access,
                                    .request_line = (void (*)(void))on_request_line,
                                    .completed = (void (*)(void))on_completed};
}

void httpd_req_end_all(struct httpd *h)
{
    while (h->open != NULL) {
        struct httpd_req *const r = h->open;
        if (r->gone != NULL) {
            r->gone(r->gone_user);
            r->gone = NULL;
        }
        unavailable(r);
    }
    struct httpd_upgrade *u = NULL;
    struct httpd_upgrade *next = NULL;
    DL_FOREACH_SAFE(h->upgrades, u, next)
    {
        if (u->mhd != NULL) {
            httpd_release(u);
        }
    }
}
