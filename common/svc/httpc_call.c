// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/httpc_internal.h"
#include "common/sys/udp.h"

#define CONNECT_MS_DEFAULT 5000
#define HAPPY_EYEBALLS_MS 250L // RFC 8305 section 8, Connection Attempt Delay
#define IDLE_DEFAULT_S 30      // authorization-service 5.5

// Each call holds these while it waits: small ones, since thousands may wait for one slow server
// and the answers are short. (libcurl takes no smaller one for sending.)
#define RECEIVE_BUFFER 4096L
#define SEND_BUFFER 16384L

#define HEADER_LINE_MAX ((size_t)64 << 10)

// Where Debian and most others keep the hashed roots; used beside an extra CA file when libcurl was
// built without a directory.
#define CA_DIR_FALLBACK "/etc/ssl/certs"

// ---- what libcurl asks of us while a call runs --------------------------------------------------

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct httpc_call *const c = user;
    dynbuf_add(&c->body, bytes_of(data, size * n));
    if (!dynbuf_ok(&c->body)) {
        c->too_large = true;
        return 0;
    }
    return size * n;
}

static size_t on_head(char *data, size_t size, size_t n, void *user)
{
    struct httpc_call *const c = user;
    struct bytes line = bytes_of(data, size * n);
    if (line.n >= 5 && memcmp(line.p, "HTTP/", 5) == 0) {
        // Another answer (after a redirect or a 100): only the last one counts.
        dynbuf_reset(&c->head);
        dynbuf_reset(&c->body);
    }
    while (line.n > 0 && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == '\n')) {
        line.n--;
    }
    dynbuf_add(&c->head, line);
    dynbuf_add_u8(&c->head, 0);
    if (!dynbuf_ok(&c->head)) {
        c->too_large = true;
        return 0;
    }
    return size * n;
}

bool httpc_call_allows(struct httpc_call *c, const struct addr *a)
{
    const struct httpc_conf *const conf = &c->owner->conf;
    bool const ok = c->trusted || conf->allow_address == NULL || conf->allow_address(conf->user, a);
    c->allowed = c->allowed || ok;
    c->denied = c->denied || !ok;
    return ok;
}

static curl_socket_t on_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *to)
{
    (void)purpose;
    struct addr a;
    if (addr_from_sockaddr(&to->addr, &a) != 0 || !httpc_call_allows(user, &a)) {
        return CURL_SOCKET_BAD;
    }
    struct httpc_call *const c = user;
    int const fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    if (fd >= 0 && !httpc_watch_opened(c->owner, fd)) {
        (void)close(fd);
        return CURL_SOCKET_BAD;
    }
    return fd;
}

// Asked again for the connection that the request will really use: it may be one that a trusted
// call has opened.
static int on_prereq(void *user, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    (void)local_ip;
    (void)local_port;
    struct addr a;
    if (addr_parse_ip(bytes_str(remote_ip), &a) == 0) {
        a.port = (uint16_t)remote_port;
        if (httpc_call_allows(user, &a)) {
            return CURL_PREREQFUNC_OK;
        }
    }
    struct httpc_call *const c = user;
    c->allowed = false;
    return CURL_PREREQFUNC_ABORT;
}

// ---- where it connects to -----------------------------------------------------------------------

static bool append(struct curl_slist **list, const char *line)
{
    struct curl_slist *const l = curl_slist_append(*list, line);
    if (l == NULL) {
        return false;
    }
    *list = l;
    return true;
}

// Sends the connection of this call to the next pinned address.
bool httpc_call_next_pin(struct httpc_call *c)
{
    char ip[ADDR_STRLEN];
    char line[ADDR_STRLEN + 300];
    const struct addr *const a = &c->pin[c->pin_at++];
    (void)addr_format_ip(a, ip);
    bool const v6 = a->family == ADDR_V6;
    (void)snprintf(line, sizeof(line), "%s:%u:%s%s%s:", c->pin_host, c->pin_port, v6 ? "[" : "", ip,
                   v6 ? "]" : "");
    curl_slist_free_all(c->connect_to);
    c->connect_to = NULL;
    return append(&c->connect_to, line) &&
           curl_easy_setopt(c->easy, CURLOPT_CONNECT_TO, c->connect_to) == CURLE_OK;
}

// ---- options of a call --------------------------------------------------------------------------

// Every curl_easy_setopt of a call goes through this: the first failure is kept.
#define SET(c, option, value)                                                                      \
    do {                                                                                           \
        if (r == CURLE_OK) {                                                                       \
            r = curl_easy_setopt((c)->easy, option, value);                                        \
        }                                                                                          \
    } while (0)

// True if the file of trust roots that libcurl was built for is there.
static bool has_bundle(void)
{
    const curl_version_info_data *const v = curl_version_info(CURLVERSION_NOW);
    return v->cainfo != NULL && access(v->cainfo, R_OK) == 0;
}

static CURLcode set_trust(struct httpc_call *c)
{
    const struct httpc *const h = c->owner;
    CURLcode r = CURLE_OK;
    SET(c, CURLOPT_SSL_VERIFYPEER, h->conf.insecure ? 0L : 1L);
    SET(c, CURLOPT_SSL_VERIFYHOST, h->conf.insecure ? 0L : 2L);
    SET(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (h->ca_dir != NULL) {
        SET(c, CURLOPT_CAPATH, h->ca_dir);
    }
    if (h->extra_ca_file != NULL) {
        // libcurl takes one file and one directory: the file is the operator's, so the roots must
        // come from a directory.
        const curl_version_info_data *const v = curl_version_info(CURLVERSION_NOW);
        const char *const dir = v->capath != NULL ? v->capath : CA_DIR_FALLBACK;
        SET(c, CURLOPT_CAPATH, h->ca_dir != NULL ? h->ca_dir : dir);
        SET(c, CURLOPT_CAINFO, h->extra_ca_file);
    } else if (h->ca_file != NULL) {
        SET(c, CURLOPT_CAINFO, h->ca_file);
    } else if (h->ca_dir == NULL && has_bundle()) {
        // The system's roots come from one file. With a directory beside it libcurl (7.88) would
        // read that file again for each connection, instead of once for all.
        SET(c, CURLOPT_CAPATH, NULL);
    }
    return r;
}

static CURLcode set_limits(struct httpc_call *c)
{
    CURLcode r = CURLE_OK;
    SET(c, CURLOPT_NOSIGNAL, 1L);
    // A call that ends while its name is looked up must not wait for the system's resolver thread.
    SET(c, CURLOPT_QUICK_EXIT, 1L);
    SET(c, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_ms);
    SET(c, CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS, HAPPY_EYEBALLS_MS);
    SET(c, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(c, CURLOPT_FOLLOWLOCATION, 0L); // httpc_hop does
    SET(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(c, CURLOPT_MAXAGE_CONN,
        (long)(c->owner->conf.idle_s != 0 ? c->owner->conf.idle_s : IDLE_DEFAULT_S));
    SET(c, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
    SET(c, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER);
    if (!c->owner->conf.proxy_from_env) {
        SET(c, CURLOPT_PROXY, "");
    }
    return r;
}

static CURLcode set_callbacks(struct httpc_call *c)
{
    CURLcode r = CURLE_OK;
    SET(c, CURLOPT_PRIVATE, c);
    SET(c, CURLOPT_ERRORBUFFER, c->errbuf);
    SET(c, CURLOPT_WRITEFUNCTION, on_body);
    SET(c, CURLOPT_WRITEDATA, c);
    SET(c, CURLOPT_HEADERFUNCTION, on_head);
    SET(c, CURLOPT_HEADERDATA, c);
    SET(c, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(c, CURLOPT_OPENSOCKETDATA, c);
    SET(c, CURLOPT_CLOSESOCKETFUNCTION, httpc_watch_close);
    SET(c, CURLOPT_CLOSESOCKETDATA, c->owner); // connections outlive calls
    SET(c, CURLOPT_PREREQFUNCTION, on_prereq);
    SET(c, CURLOPT_PREREQDATA, c);
    return r;
}

static bool has_header(const struct httpc_request *req, const char *name)
{
    for (size_t i = 0; i < req->header_count; i++) {
        if (strcasecmp(req->headers[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

// A line break would let one header become two.
static bool header_is_clean(const struct httpc_header *h)
{
    return strpbrk(h->name, "\r\n:") == NULL && strpbrk(h->value, "\r\n") == NULL;
}

static int add_header(struct httpc_call *c, const char *name, const char *value)
{
    struct httpc_header const h = {name, value};
    if (!header_is_clean(&h)) {
        return -EINVAL;
    }
    struct dynbuf line;
    dynbuf_init(&line, HEADER_LINE_MAX);
    // "Name;" is libcurl's way to send an empty value.
    dynbuf_addf(&line, value[0] != 0 ? "%s: %s" : "%s;%s", name, value);
    const char *const text = dynbuf_cstr(&line);
    bool const ok = text != NULL && append(&c->headers, text);
    dynbuf_done(&line);
    return ok ? 0 : -ENOMEM;
}

// Lines that end in a colon take away what libcurl would send by itself.
static bool end_headers(struct httpc_call *c, bool no_type)
{
    return append(&c->headers, "Expect:") && (!no_type || append(&c->headers, "Content-Type:")) &&
           curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK;
}

static int set_headers(struct httpc_call *c, const struct httpc_request *req)
{
    int r = 0;
    for (size_t i = 0; i < req->header_count && r == 0; i++) {
        r = add_header(c, req->headers[i].name, req->headers[i].value);
    }
    if (r == 0 && req->host_header != NULL) {
        r = add_header(c, "Host", req->host_header);
    }
    bool const ok = end_headers(c, !has_header(req, "Content-Type"));
    return r != 0 ? r : (ok ? 0 : -ENOMEM);
}

int httpc_call_strip(struct httpc_call *c)
{
    curl_slist_free_all(c->headers);
    curl_slist_free_all(c->connect_to);
    c->headers = NULL;
    c->connect_to = NULL;
    mem_free(c->connect_host);
    mem_free(c->pin_host);
    c->connect_host = NULL;
    c->pin_host = NULL;
    bool const ok = curl_easy_setopt(c->easy, CURLOPT_CONNECT_TO, NULL) == CURLE_OK;
    return ok && end_headers(c, true) ? 0 : -ENOMEM;
}

static CURLcode set_method(struct httpc_call *c, const struct httpc_request *req)
{
    CURLcode r = CURLE_OK;
    const char *const method =
        req->method != NULL ? req->method : (req->body.n > 0 ? "POST" : "GET");
    if (strcmp(method, "HEAD") == 0) {
        SET(c, CURLOPT_NOBODY, 1L);
    } else if (req->body.n > 0 || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
        SET(c, CURLOPT_POST, 1L);
        SET(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body.n);
        SET(c, CURLOPT_COPYPOSTFIELDS, req->body.n > 0 ? (const char *)req->body.p : "");
        SET(c, CURLOPT_CUSTOMREQUEST, method);
    } else {
        SET(c, CURLOPT_HTTPGET, 1L);
        SET(c, CURLOPT_CUSTOMREQUEST, method);
    }
    return r;
}

// "host:port" or "[v6]:port" into its halves.
static int split_connect_to(struct httpc_call *c, const char *text)
{
    const char *const colon = strrchr(text, ':');
    unsigned port = 0;
    for (const char *p = colon != NULL ? colon + 1 : ""; *p >= '0' && *p <= '9'; p++) {
        port = MIN(port * 10 + (unsigned)(*p - '0'), UINT16_MAX + 1u);
    }
    if (colon == NULL || colon == text || port == 0 || port > UINT16_MAX) {
        return -EINVAL;
    }
    size_t const n = (size_t)(colon - text);
    bool const bracket = n > 2 && text[0] == '[' && text[n - 1] == ']';
    c->connect_host = mem_strndup(text + bracket, bracket ? n - 2 : n);
    c->connect_port = (uint16_t)port;
    return c->connect_host != NULL ? 0 : -ENOMEM;
}

// CONNECT_TO for the URL's own host only, so that a redirect elsewhere is not sent there too.
static int set_connect_to(struct httpc_call *c, const struct httpc_request *req)
{
    char *host = NULL;
    char *port = NULL;
    struct dynbuf line;
    dynbuf_init(&line, 1024);
    CURLU *const u = curl_url();
    int r = -EINVAL;
    if (u != NULL && curl_url_set(u, CURLUPART_URL, req->url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
        dynbuf_addf(&line, "%s:%s:%s", host, port, req->connect_to);
        const char *const text = dynbuf_cstr(&line);
        bool const ok = text != NULL && append(&c->connect_to, text) &&
                        curl_easy_setopt(c->easy, CURLOPT_CONNECT_TO, c->connect_to) == CURLE_OK;
        r = ok ? split_connect_to(c, req->connect_to) : -ENOMEM;
    }
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    dynbuf_done(&line);
    return r;
}

static int set_pin(struct httpc_call *c, const struct httpc_pin *pin)
{
    c->pin_count = MIN(pin->count, (size_t)HTTPC_PIN_MAX);
    if (c->pin_count == 0) {
        return -EINVAL;
    }
    memcpy(c->pin, pin->addrs, c->pin_count * sizeof(c->pin[0]));
    c->pin_port = pin->port;
    bool const bracket = strchr(pin->host, ':') != NULL && pin->host[0] != '[';
    struct dynbuf host;
    dynbuf_init(&host, 300);
    dynbuf_addf(&host, bracket ? "[%s]" : "%s", pin->host);
    c->pin_host = dynbuf_take_cstr(&host, NULL);
    dynbuf_done(&host);
    return c->pin_host != NULL && httpc_call_next_pin(c) ? 0 : -ENOMEM;
}

int httpc_call_prepare(struct httpc_call *c, const struct httpc_request *req)
{
    const char *const method = req->method != NULL ? req->method : "GET";
    c->connect_ms = req->connect_ms != 0 ? req->connect_ms : CONNECT_MS_DEFAULT;
    c->redirects_left = req->max_redirects;
    c->https_only = req->redirect_https_only;
    c->may_redirect = req->max_redirects > 0 && req->body.n == 0 &&
                      (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0);
    CURLcode r = set_callbacks(c);
    r = r == CURLE_OK ? set_limits(c) : r;
    r = r == CURLE_OK ? set_trust(c) : r;
    r = r == CURLE_OK ? set_method(c, req) : r;
    SET(c, CURLOPT_URL, req->url);
    if (c->owner->user_agent != NULL) {
        SET(c, CURLOPT_USERAGENT, c->owner->user_agent);
    }
    if (r != CURLE_OK) {
        return -ENOMEM;
    }
    int e = set_headers(c, req);
    if (e == 0 && req->pin != NULL) {
        e = set_pin(c, req->pin);
    } else if (e == 0 && req->connect_to != NULL) {
        e = set_connect_to(c, req);
    }
    return e;
}
