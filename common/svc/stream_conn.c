// SPDX-License-Identifier: Apache-2.0
#include "common/svc/stream_conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"
#include "common/sys/udp.h"

#define TIMEOUT_MS_DEFAULT 5000
// An address that does not answer must leave time for the next ones.
#define ADDRESS_TIMEOUT_MIN_MS 1000

#define READ_CHUNK (16u << 10)
// One connection does not hold the loop for more than this in one turn.
#define FLUSH_NOW ((size_t)64 << 10) // so much goes out at once
#define READ_ROUNDS 32

// A peer that is gone without a word is noticed after 60 + 4 * 15 s of silence.
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_COUNT 4

enum state {
    STATE_RESOLVING,
    STATE_CONNECTING,
    STATE_HANDSHAKE,
    STATE_OPEN,
    STATE_CLOSING, // on_close comes with the next turn
    STATE_CLOSED,
};

struct stream_tls {
    SSL_CTX *ctx;
    bool insecure;
};

struct stream_conn {
    struct stream_conn_conf conf;
    enum state state;
    char *host;
    struct dns_query *query;
    struct addr addrs[DNS_ADDR_MAX];
    size_t addr_count;
    size_t addr_at;
    int fd;
    struct loop_poll *poll;
    unsigned polled;          // what poll waits for
    struct loop_timer *timer; // of the phase; STATE_OPEN: something is to be sent
    SSL *ssl;
    BIO *net_in;       // ciphertext that came
    BIO *net_out;      // ciphertext to send
    struct dynbuf out; // what the socket did not take yet
    size_t out_at;
    char why[STREAM_CONN_ERROR_MAX];
    bool freed;
    unsigned busy;
    uint8_t chunk[READ_CHUNK];
};

// ---- TLS settings ---------------------------------------------------------------------------

static const char *ssl_reason(void)
{
    unsigned long const e = ERR_get_error();
    const char *const text = e != 0 ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return text != NULL ? text : "unknown error";
}

struct stream_tls *stream_tls_new(const char *ca_file, bool insecure,
                                  char err[static STREAM_CONN_ERROR_MAX])
{
    struct stream_tls *const t = NEW(struct stream_tls);
    (void)snprintf(err, STREAM_CONN_ERROR_MAX, "out of memory");
    if (t == NULL) {
        return NULL;
    }
    ERR_clear_error();
    t->insecure = insecure;
    t->ctx = SSL_CTX_new(TLS_client_method());
    if (t->ctx == NULL || SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1) {
        (void)snprintf(err, STREAM_CONN_ERROR_MAX, "TLS: %s", ssl_reason());
        stream_tls_free(t);
        return NULL;
    }
    SSL_CTX_set_verify(t->ctx, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    // Without any authority of the system's the handshake will say so.
    (void)SSL_CTX_set_default_verify_paths(t->ctx);
    if (ca_file != NULL && ca_file[0] != '\0' &&
        SSL_CTX_load_verify_locations(t->ctx, ca_file, NULL) != 1) {
        (void)snprintf(err, STREAM_CONN_ERROR_MAX, "cannot read certificates from %s: %s", ca_file,
                       ssl_reason());
        stream_tls_free(t);
        return NULL;
    }
    ERR_clear_error();
    return t;
}

void stream_tls_free(struct stream_tls *t)
{
    if (t != NULL) {
        SSL_CTX_free(t->ctx);
        mem_free(t);
    }
}

// ---- the end --------------------------------------------------------------------------------

static void close_socket(struct stream_conn *c)
{
    loop_poll_free(c->poll);
    c->poll = NULL;
    c->polled = 0;
    if (c->fd >= 0) {
        (void)close(c->fd);
        c->fd = -1;
    }
    SSL_free(c->ssl); // and its two BIOs
    c->ssl = NULL;
    c->net_in = NULL;
    c->net_out = NULL;
}

static void destroy(struct stream_conn *c)
{
    if (c->query != NULL) {
        dns_cancel(c->query);
    }
    close_socket(c);
    loop_timer_free(c->timer);
    dynbuf_done(&c->out);
    mem_free(c->host);
    explicit_bzero(c->chunk, sizeof(c->chunk));
    mem_free(c);
}

static void enter(struct stream_conn *c)
{
    c->busy++;
}

static void leave(struct stream_conn *c)
{
    c->busy--;
    if (c->freed && c->busy == 0) {
        destroy(c);
    }
}

// Ends it; the owner hears of it from the timer, not from inside whatever found out.
static void close_later(struct stream_conn *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void close_later(struct stream_conn *c, const char *fmt, ...)
{
    if (c->state >= STATE_CLOSING) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(c->why, sizeof(c->why), fmt, ap);
    va_end(ap);
    c->state = STATE_CLOSING;
    close_socket(c);
    loop_timer_set_ms(c->timer, 0);
}

// ---- sending --------------------------------------------------------------------------------

static void watch(struct stream_conn *c)
{
    bool const more = c->out_at < c->out.n || c->state == STATE_CONNECTING;
    unsigned const events = (c->state == STATE_CONNECTING ? 0u : (unsigned)LOOP_READ) |
                            (more ? (unsigned)LOOP_WRITE : 0u);
    if (c->poll != NULL && events != c->polled) {
        c->polled = events;
        loop_poll_set(c->poll, events);
    }
}

static void flush(struct stream_conn *c)
{
    while (c->state < STATE_CLOSING && c->out_at < c->out.n) {
        ssize_t const n =
            send(c->fd, c->out.p + c->out_at, c->out.n - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        if (n < 0) {
            close_later(c, "write: %s", strerror(errno));
            return;
        }
        c->out_at += (size_t)n;
    }
    if (c->out_at == c->out.n) {
        // Neither secrets nor the memory of a burst are left behind.
        if (c->out.n > 0) {
            explicit_bzero(c->out.p, c->out.n);
        }
        if (c->out.cap > (1u << 16)) {
            dynbuf_done(&c->out);
        }
        dynbuf_reset(&c->out);
        c->out_at = 0;
    }
    watch(c);
}

// What is written in one turn goes out together, in the next one: a store that restores a hundred
// thousand records writes as many.
static void flush_soon(struct stream_conn *c)
{
    if (c->out.n - c->out_at >= FLUSH_NOW) {
        flush(c);
    } else if (!loop_timer_is_set(c->timer)) {
        loop_timer_set_ms(c->timer, 0);
    }
}

// Moves ciphertext from the TLS machine to what is to be sent.
static void move_tls(struct stream_conn *c)
{
    char *p = NULL;
    long const n = c->net_out != NULL ? BIO_get_mem_data(c->net_out, &p) : 0;
    if (n > 0) {
        dynbuf_add(&c->out, bytes_of(p, (size_t)n));
        (void)BIO_reset(c->net_out);
        if (!dynbuf_ok(&c->out)) {
            close_later(c, "too much waits to be sent");
        }
    }
}

static void drain_tls(struct stream_conn *c)
{
    move_tls(c);
    if (c->state < STATE_CLOSING) {
        flush(c);
    }
}

int stream_conn_write(struct stream_conn *c, struct bytes data)
{
    if (c->state != STATE_OPEN) {
        return c->state < STATE_OPEN ? -ENOTCONN : -EPIPE;
    }
    if (data.n > STREAM_CONN_OUT_MAX / 2 || c->out.n > STREAM_CONN_OUT_MAX / 2) {
        return -ENOBUFS;
    }
    if (c->ssl == NULL) {
        dynbuf_add(&c->out, data);
        if (!dynbuf_ok(&c->out)) {
            close_later(c, "out of memory");
            return -EPIPE;
        }
        flush_soon(c);
        return c->state == STATE_OPEN ? 0 : -EPIPE;
    }
    size_t done = 0;
    ERR_clear_error();
    // A memory BIO takes everything.
    if (data.n > 0 && (SSL_write_ex(c->ssl, data.p, data.n, &done) != 1 || done != data.n)) {
        close_later(c, "TLS write: %s", ssl_reason());
        return -EPIPE;
    }
    move_tls(c);
    if (c->state == STATE_OPEN) {
        flush_soon(c);
    }
    return c->state == STATE_OPEN ? 0 : -EPIPE;
}

// ---- receiving ------------------------------------------------------------------------------

static void opened(struct stream_conn *c)
{
    c->state = STATE_OPEN;
    loop_timer_stop(c->timer);
    c->conf.on_open(c->conf.user);
}

static void handshake(struct stream_conn *c)
{
    ERR_clear_error();
    int const r = SSL_do_handshake(c->ssl);
    int const e = r == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, r);
    if (e != SSL_ERROR_NONE && e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) {
        long const verify = SSL_get_verify_result(c->ssl);
        const char *const why =
            verify != X509_V_OK ? X509_verify_cert_error_string(verify) : ssl_reason();
        ERR_clear_error();
        drain_tls(c); // the alert
        close_later(c, "TLS handshake: %s", why);
        return;
    }
    drain_tls(c);
    if (r == 1 && c->state == STATE_HANDSHAKE) {
        opened(c);
    }
}

// Everything that can be decrypted now.
static void read_tls(struct stream_conn *c)
{
    while (c->state == STATE_OPEN && !c->freed) {
        size_t n = 0;
        ERR_clear_error();
        int const r = SSL_read_ex(c->ssl, c->chunk, sizeof(c->chunk), &n);
        if (r == 1) {
            c->conf.on_data(c->conf.user, bytes_of(c->chunk, n));
            continue;
        }
        int const e = SSL_get_error(c->ssl, r);
        if (e == SSL_ERROR_ZERO_RETURN) {
            close_later(c, "connection closed by the server");
        } else if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) {
            close_later(c, "TLS: %s", ssl_reason());
        } else {
            drain_tls(c); // key updates
        }
        return;
    }
}

static void got(struct stream_conn *c, size_t n)
{
    if (c->ssl == NULL) {
        c->conf.on_data(c->conf.user, bytes_of(c->chunk, n));
        return;
    }
    if (BIO_write(c->net_in, c->chunk, (int)n) != (int)n) {
        close_later(c, "out of memory");
        return;
    }
    if (c->state == STATE_HANDSHAKE) {
        handshake(c);
    }
    if (c->state == STATE_OPEN && !c->freed) {
        read_tls(c);
    }
}

static void receive(struct stream_conn *c)
{
    for (int i = 0; i < READ_ROUNDS && c->state < STATE_CLOSING && !c->freed; i++) {
        ssize_t const n = recv(c->fd, c->chunk, sizeof(c->chunk), MSG_DONTWAIT);
        if (n > 0) {
            got(c, (size_t)n);
        } else if (n == 0) {
            close_later(c, c->state == STATE_HANDSHAKE ? "closed during the TLS handshake"
                                                       : "connection closed by the server");
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            close_later(c, "read: %s", strerror(errno));
        }
    }
}

// ---- connecting -----------------------------------------------------------------------------

static int start_tls(struct stream_conn *c)
{
    struct addr literal;
    bool const is_ip = addr_parse_ip(bytes_str(c->host), &literal) == 0;
    c->ssl = SSL_new(c->conf.tls->ctx);
    c->net_in = BIO_new(BIO_s_mem());
    c->net_out = BIO_new(BIO_s_mem());
    if (c->ssl == NULL || c->net_in == NULL || c->net_out == NULL) {
        (void)BIO_free(c->net_in);
        (void)BIO_free(c->net_out);
        c->net_in = NULL;
        c->net_out = NULL;
        return -ENOMEM;
    }
    SSL_set_bio(c->ssl, c->net_in, c->net_out);
    SSL_set_connect_state(c->ssl);
    int ok = 1;
    if (!is_ip) {
        ok = SSL_set_tlsext_host_name(c->ssl, c->host) == 1;
    }
    if (ok && !c->conf.tls->insecure) {
        ok = is_ip ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), c->host)
                   : SSL_set1_host(c->ssl, c->host);
    }
    return ok ? 0 : -EINVAL;
}

static void next_address(struct stream_conn *c, const char *why);

static void connected(struct stream_conn *c)
{
    if (c->conf.tls == NULL) {
        opened(c);
        watch(c);
        return;
    }
    c->state = STATE_HANDSHAKE;
    loop_timer_set_ms(c->timer, c->conf.timeout_ms);
    if (start_tls(c) != 0) {
        close_later(c, "TLS: cannot be set up for this host");
        return;
    }
    handshake(c);
}

static void finish_connect(struct stream_conn *c)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    if (error == 0) {
        connected(c);
    } else {
        next_address(c, strerror(error));
    }
}

static void on_poll(void *user, unsigned events)
{
    struct stream_conn *const c = user;
    enter(c);
    if (c->state == STATE_CONNECTING) {
        finish_connect(c);
    } else {
        if ((events & LOOP_WRITE) != 0) {
            flush(c);
        }
        if ((events & (LOOP_READ | LOOP_HANGUP)) != 0 && c->state < STATE_CLOSING) {
            receive(c);
        }
    }
    leave(c);
}

// 0, or why connecting to this address failed at once.
static int start_connect(struct stream_conn *c, const struct sockaddr *to, socklen_t len)
{
    c->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        return -errno;
    }
    if (to->sa_family != AF_UNIX) {
        static const struct {
            int level;
            int name;
            int value;
        } settings[] = {{IPPROTO_TCP, TCP_NODELAY, 1},
                        {SOL_SOCKET, SO_KEEPALIVE, 1},
                        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
                        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
                        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT}};
        for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
            (void)setsockopt(c->fd, settings[i].level, settings[i].name, &settings[i].value,
                             sizeof(settings[i].value));
        }
    }
    if (connect(c->fd, to, len) != 0 && errno != EINPROGRESS) {
        return -errno;
    }
    c->poll = loop_poll_new(c->conf.loop, c->fd, on_poll, c);
    if (c->poll == NULL) {
        return -ENOMEM;
    }
    watch(c);
    return 0;
}

static int connect_local(struct stream_conn *c)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t const n = strlen(c->host);
    if (n >= sizeof(to.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(to.sun_path, c->host, n);
    return start_connect(c, (const struct sockaddr *)&to, sizeof(to));
}

static int connect_to(struct stream_conn *c, const struct addr *a)
{
    struct sockaddr_storage ss = {0};
    uint32_t const len = addr_to_sockaddr(a, (struct sockaddr *)&ss, sizeof(ss));
    return len > 0 ? start_connect(c, (const struct sockaddr *)&ss, len) : -EAFNOSUPPORT;
}

// Tries the next address; with none left, why the last one failed ends the connection.
static void next_address(struct stream_conn *c, const char *why)
{
    int r = 0;
    char last[128];
    (void)snprintf(last, sizeof(last), "%s", why);
    c->state = STATE_CONNECTING;
    while (c->addr_at < c->addr_count) {
        struct addr a = c->addrs[c->addr_at++];
        a.port = c->conf.port;
        a.tcp = 1;
        close_socket(c);
        int64_t const share = c->conf.timeout_ms / (int64_t)c->addr_count;
        loop_timer_set_ms(c->timer, MAX(share, ADDRESS_TIMEOUT_MIN_MS));
        r = connect_to(c, &a);
        if (r == 0) {
            return;
        }
        (void)snprintf(last, sizeof(last), "%s", strerror(-r));
    }
    if (strchr(c->host, ':') != NULL) {
        close_later(c, "connect to [%s]:%u: %s", c->host, c->conf.port, last);
    } else {
        close_later(c, "connect to %s:%u: %s", c->host, c->conf.port, last);
    }
}

static void on_resolved(void *user, const struct dns_addrs *r)
{
    struct stream_conn *const c = user;
    c->query = NULL;
    if (r->status != DNS_OK || r->count == 0) {
        close_later(c, "look up %s: %s", c->host, dns_status_name(r->status));
        return;
    }
    memcpy(c->addrs, r->addrs, r->count * sizeof(r->addrs[0]));
    c->addr_count = r->count;
    enter(c);
    next_address(c, "no address");
    leave(c);
}

static void begin(struct stream_conn *c)
{
    if (c->conf.local) {
        c->state = STATE_CONNECTING;
        int const r = connect_local(c);
        if (r != 0) {
            close_later(c, "connect to %s: %s", c->host, strerror(-r));
        }
        return;
    }
    if (addr_parse_ip(bytes_str(c->host), &c->addrs[0]) == 0) {
        c->addr_count = 1;
        next_address(c, "no address");
        return;
    }
    int const r = c->conf.dns != NULL ? dns_resolve(c->conf.dns, c->host, on_resolved, c, &c->query)
                                      : -EINVAL;
    if (r != 0) {
        close_later(c, "look up %s: %s", c->host, strerror(-r));
    }
}

static void timed_out(struct stream_conn *c)
{
    switch (c->state) {
    case STATE_RESOLVING:
        close_later(c, "look up %s: no answer in time", c->host);
        break;
    case STATE_CONNECTING:
        if (c->conf.local) {
            close_later(c, "connect to %s: %s", c->host, strerror(ETIMEDOUT));
        } else {
            next_address(c, strerror(ETIMEDOUT));
        }
        break;
    case STATE_HANDSHAKE:
        close_later(c, "TLS handshake: no answer in time");
        break;
    case STATE_CLOSING:
        c->state = STATE_CLOSED;
        c->conf.on_close(c->conf.user, c->why);
        break;
    case STATE_OPEN:
        flush(c);
        break;
    case STATE_CLOSED:
        break;
    }
}

static void on_timer(void *user)
{
    struct stream_conn *const c = user;
    enter(c);
    timed_out(c);
    leave(c);
}

struct stream_conn *stream_conn_new(const struct stream_conn_conf *conf)
{
    struct stream_conn *const c = NEW(struct stream_conn);
    if (c == NULL) {
        return NULL;
    }
    c->conf = *conf;
    c->conf.host = NULL;
    c->conf.timeout_ms = conf->timeout_ms > 0 ? conf->timeout_ms : TIMEOUT_MS_DEFAULT;
    c->fd = -1;
    c->host = mem_strdup(conf->host);
    c->timer = loop_timer_new(conf->loop, on_timer, c);
    dynbuf_init(&c->out, STREAM_CONN_OUT_MAX);
    if (c->host == NULL || c->timer == NULL) {
        destroy(c);
        return NULL;
    }
    loop_timer_set_ms(c->timer, c->conf.timeout_ms);
    begin(c);
    return c;
}

void stream_conn_free(struct stream_conn *c)
{
    if (c == NULL || c->freed) {
        return;
    }
    if (c->state == STATE_OPEN) {
        flush(c); // the last words; those that the socket does not take now are lost
    }
    c->freed = true;
    if (c->query != NULL) {
        dns_cancel(c->query);
        c->query = NULL;
    }
    if (c->busy == 0) {
        destroy(c);
    }
}
