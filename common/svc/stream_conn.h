// SPDX-License-Identifier: Apache-2.0
#pragma once
// A connection to a server as a stream of bytes: TCP, TLS on TCP (libssl), or a Unix socket.
// Owner thread: the loop's. One attempt; who wants another makes another.
//
// The addresses of a name are tried one after the other. TLS is 1.2 or newer and the certificate is
// checked against host, be it a name or an address.

#include "common/svc/dns.h"

struct stream_conn;
struct stream_tls;

#define STREAM_CONN_ERROR_MAX 512

// Authorities for TLS connections, made once: the system's (SSL_CERT_FILE and SSL_CERT_DIR are
// heeded) and those in ca_file (PEM; NULL or "": none). insecure: nothing is checked. NULL: err says
// why.
struct stream_tls *stream_tls_new(const char *ca_file, bool insecure,
                                  char err[static STREAM_CONN_ERROR_MAX]) NODISCARD;
void stream_tls_free(struct stream_tls *t); // accepts NULL

struct stream_conn_conf {
    struct loop *loop;
    struct dns *dns;        // NULL: host is a literal
    const char *host;       // name or literal without brackets; with `local` a path
    uint16_t port;          //
    bool local;             // Unix socket
    struct stream_tls *tls; // NULL: none; must outlive the connection
    int64_t timeout_ms;     // until it is open, 0: 5 s
    // From the loop, never from inside a call of this module. on_close once, also when it could not
    // be opened; nothing comes after it. Any of them may write and free.
    void (*on_open)(void *user);
    void (*on_data)(void *user, struct bytes data);
    void (*on_close)(void *user, const char *why);
    void *user;
};

// Most bytes that wait to be sent.
#define STREAM_CONN_OUT_MAX (64u << 20)

// conf's texts are copied. NULL without memory.
struct stream_conn *stream_conn_new(const struct stream_conn_conf *conf) NODISCARD;
// Closes at once: no callback comes any more. Accepts NULL.
void stream_conn_free(struct stream_conn *c);

// Sends data as soon as possible, in the order of the calls. -ENOTCONN not open, -ENOBUFS over
// STREAM_CONN_OUT_MAX, -EPIPE it is about to be told closed.
int stream_conn_write(struct stream_conn *c, struct bytes data) NODISCARD;
