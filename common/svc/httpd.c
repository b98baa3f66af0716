// SPDX-License-Identifier: Apache-2.0
#include "common/svc/httpd.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/httpd_conn.h"
#include "common/svc/httpd_internal.h"
#include "common/sys/log.h"
#include "common/sys/udp.h"

#define CONNECTIONS_DEFAULT 4096
#define IDLE_DEFAULT_S 30
// An offer of Chromium makes a request line of 3 to 12 kB, one of a large meeting 64 kB;
// libmicrohttpd keeps the line and its parsed parts in the same pool.
#define HEADER_DEFAULT (256u << 10)

// ---- driving libmicrohttpd ------------------------------------------------------------------

static void run(struct httpd_listener *li)
{
    MHD_UNSIGNED_LONG_LONG ms = 0;
    li->has_place = false;
    (void)MHD_run(li->daemon);
    if (li->has_place) {
        // At the limit of connections or descriptors the library has taken its listening socket out
        // of its epoll descriptor. It puts it back when it is run again, for which there may be no
        // other reason ever.
        loop_timer_set(li->timer, (mono_t){0});
    } else if (MHD_get_timeout(li->daemon, &ms) == MHD_YES) {
        loop_timer_set_ms(li->timer,
                          (int64_t)MIN(ms, (MHD_UNSIGNED_LONG_LONG)IDLE_DEFAULT_S * 1000));
    } else {
        loop_timer_stop(li->timer);
    }
}

static void on_poll(void *user, unsigned events)
{
    (void)events;
    run(user);
}

static void on_timer(void *user)
{
    run(user);
}

void httpd_listener_kick(struct httpd_listener *li)
{
    loop_timer_set(li->timer, (mono_t){0});
}

static void on_library_log(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    char text[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" // the library's own formats
    (void)vsnprintf(text, sizeof(text), fmt, ap);
#pragma GCC diagnostic pop
    text[strcspn(text, "\n")] = 0;
    log_debug(NULL, "httpd.library", KV_STR("text", text));
}

// ---- opening and closing --------------------------------------------------------------------

static int listen_on(struct httpd_listener *li, const struct addr *a)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = addr_to_sockaddr(a, (struct sockaddr *)&ss, sizeof(ss));
    if (len == 0) {
        return -EAFNOSUPPORT;
    }
    li->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (li->fd < 0) {
        return -errno;
    }
    int const on = 1;
    (void)setsockopt(li->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ss.ss_family == AF_INET6) {
        (void)setsockopt(li->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (bind(li->fd, (struct sockaddr *)&ss, len) != 0 || listen(li->fd, SOMAXCONN) != 0) {
        return -errno;
    }
    len = sizeof(ss);
    if (getsockname(li->fd, (struct sockaddr *)&ss, &len) != 0) {
        return -errno;
    }
    return addr_from_sockaddr((struct sockaddr *)&ss, &li->addr);
}

static enum MHD_Result on_accept(void *cls, const struct sockaddr *sa, socklen_t len)
{
    const struct httpd_listener *const li = cls;
    struct addr a;
    (void)len;
    return addr_from_sockaddr(sa, &a) < 0 || httpd_conn_admit(li->owner, &a) ? MHD_YES : MHD_NO;
}

// The connection is there, or is about to be closed.
static void on_connection(void *cls, struct MHD_Connection *conn, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    struct httpd_listener *const li = cls;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        httpd_conn_close(*slot);
        *slot = NULL;
        li->has_place = true;
        return;
    }
    struct addr a = {0};
    const union MHD_ConnectionInfo *const at =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (at != NULL && addr_from_sockaddr(at->client_addr, &a) < 0) {
        a = (struct addr){0};
    }
    const union MHD_ConnectionInfo *const fd =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    *slot = fd != NULL ? httpd_conn_open(li->owner, &a, fd->connect_fd) : NULL;
    if (*slot == NULL && fd != NULL) {
        (void)shutdown(fd->connect_fd, SHUT_RDWR); // no memory: better none than one without end
    }
}

static int start_daemon(struct httpd_listener *li)
{
    const struct httpd_conf *const c = &li->owner->conf;
    struct httpd_callbacks const cb = httpd_req_callbacks();
    struct MHD_OptionItem const options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_library_log,
         NULL}, // first, so that it is used for the others
        {MHD_OPTION_LISTEN_SOCKET, li->fd, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)cb.completed, li},
        {MHD_OPTION_CONNECTION_LIMIT, c->max_connections, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, 0, NULL}, // httpd_conn sees to that
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, li},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)cb.request_line, li},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)c->header_max, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_INCREMENT, 8192, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    li->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
                                      MHD_USE_ERROR_LOG,
                                  0, on_accept, li, (MHD_AccessHandlerCallback)cb.access, li,
                                  MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (li->daemon == NULL) {
        return -ENOMEM;
    }
    const union MHD_DaemonInfo *const info =
        MHD_get_daemon_info(li->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || info->epoll_fd < 0) {
        return -ENOTSUP;
    }
    li->timer = loop_timer_new(li->owner->loop, on_timer, li);
    li->poll = loop_poll_new(li->owner->loop, info->epoll_fd, on_poll, li);
    if (li->timer == NULL || li->poll == NULL) {
        return -ENOMEM;
    }
    loop_poll_set(li->poll, LOOP_READ);
    return 0;
}

// A kernel without IPv6: "[::]" beside "0.0.0.0" asks for what there is.
static bool is_dispensable(const struct httpd *h, const struct addr *want, int error)
{
    const struct addr *const first = &h->listeners[0].addr;
    return error == -EAFNOSUPPORT && want->family == ADDR_V6 && addr_is_unspecified(want) &&
           h->listener_count > 1 && first->family == ADDR_V4 && addr_is_unspecified(first);
}

static int open_listeners(struct httpd *h, const struct httpd_conf *conf, size_t *ret_failed)
{
    uint16_t port = 0; // what the first "any port" became
    for (size_t i = 0; i < conf->listen_count; i++) {
        struct httpd_listener *const li = &h->listeners[h->listener_count];
        struct addr want = conf->listen[i];
        bool const any = want.port == 0;
        want.port = any ? port : want.port;
        h->listener_count++;
        *li = (struct httpd_listener){.owner = h, .fd = -1};
        int r = listen_on(li, &want);
        if (r == 0) {
            r = start_daemon(li);
        } else if (is_dispensable(h, &want, r)) {
            h->listener_count--;
            continue;
        }
        if (r != 0) {
            *ret_failed = i;
            return r;
        }
        port = any ? li->addr.port : port;
    }
    return 0;
}

int httpd_new(struct loop *l, const struct httpd_conf *conf, struct httpd **ret, size_t *ret_failed)
{
    struct httpd *const h = NEW(struct httpd);
    if (h == NULL) {
        return -ENOMEM;
    }
    h->loop = l;
    h->conf = *conf;
    h->conf.listen = NULL;
    h->conf.max_connections =
        conf->max_connections != 0 ? conf->max_connections : CONNECTIONS_DEFAULT;
    h->conf.idle_timeout_s = conf->idle_timeout_s != 0 ? conf->idle_timeout_s : IDLE_DEFAULT_S;
    h->conf.header_max = conf->header_max != 0 ? conf->header_max : HEADER_DEFAULT;
    h->routes = mem_array(MAX(conf->route_count, (size_t)1), sizeof(*h->routes));
    h->listeners = mem_array(MAX(conf->listen_count, (size_t)1), sizeof(*h->listeners));
    size_t failed = 0;
    int r = -ENOMEM;
    h->trim = loop_timer_new(l, httpd_req_trim_pools, h);
    if (httpd_conn_setup(h) == 0 && h->routes != NULL && h->listeners != NULL && h->trim != NULL) {
        memcpy(h->routes, conf->routes, conf->route_count * sizeof(*h->routes));
        r = open_listeners(h, conf, &failed);
    }
    if (r != 0) {
        httpd_free(h);
        if (ret_failed != NULL) {
            *ret_failed = failed;
        }
        return r;
    }
    *ret = h;
    return 0;
}

void httpd_quiesce(struct httpd *h)
{
    for (size_t i = 0; !h->quiet && i < h->listener_count; i++) {
        if (h->listeners[i].daemon == NULL) {
            continue; // half-built: its socket is closed by httpd_free
        }
        // Gives the socket back; closing it makes the kernel refuse newcomers instead of queueing
        // them.
        (void)MHD_quiesce_daemon(h->listeners[i].daemon);
        (void)close(h->listeners[i].fd);
        h->listeners[i].fd = -1;
    }
    h->quiet = true;
}

size_t httpd_busy(const struct httpd *h)
{
    return h->open_count + h->upgrade_count;
}

size_t httpd_listeners(const struct httpd *h)
{
    return h->listener_count;
}

struct addr httpd_address(const struct httpd *h, size_t i)
{
    return h->listeners[i].addr;
}

void httpd_free(struct httpd *h)
{
    if (h == NULL) {
        return;
    }
    httpd_quiesce(h);
    h->stopping = true;
    httpd_req_end_all(h);
    for (size_t i = 0; i < h->listener_count; i++) {
        struct httpd_listener *const li = &h->listeners[i];
        if (li->daemon != NULL) {
            // Resumes what was answered, writes the answers.
            (void)MHD_run(li->daemon);
            (void)MHD_run(li->daemon);
        }
        loop_poll_free(li->poll);
        loop_timer_free(li->timer);
        if (li->daemon != NULL) {
            MHD_stop_daemon(li->daemon);
        }
        if (li->fd >= 0) {
            (void)close(li->fd);
        }
    }
    httpd_conn_teardown(h);
    loop_timer_free(h->trim);
    mem_free(h->listeners);
    mem_free(h->routes);
    mem_free(h);
}
