// SPDX-License-Identifier: Apache-2.0
// Where a call goes. Names of calls that are not trusted are resolved here, checked, and handed to
// libcurl as the only addresses it may connect to (CURLOPT_RESOLVE), which it then races. Redirects
// are followed here as well, so that each hop takes the same way.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "common/svc/httpc_internal.h"

// ---- the addresses of a hop -----------------------------------------------------------------

// Host (without brackets) and port of the URL that comes next.
static int place_of_url(const char *url, char *ret_host, size_t cap, uint16_t *ret_port)
{
    char *host = NULL;
    char *port = NULL;
    CURLU *const u = curl_url();
    int r = -EINVAL;
    if (u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
        size_t const n = strlen(host);
        bool const bracket = n > 1 && host[0] == '[' && host[n - 1] == ']';
        unsigned v = 0;
        for (const char *p = port; *p >= '0' && *p <= '9' && v <= UINT16_MAX; p++) {
            v = v * 10 + (unsigned)(*p - '0');
        }
        if (n < cap && n > 0 && v <= UINT16_MAX) {
            (void)snprintf(ret_host, cap, "%.*s", (int)(bracket ? n - 2 : n), host + bracket);
            *ret_port = (uint16_t)v;
            r = 0;
        }
    }
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return r;
}

// What this hop connects to.
static int place_of_hop(struct httpc_call *c, char ret_host[static DNS_NAME_MAX],
                        uint16_t *ret_port)
{
    char *url = NULL;
    if (c->connect_host != NULL) {
        size_t const n = strlen(c->connect_host);
        if (n >= DNS_NAME_MAX) {
            return -EINVAL;
        }
        memcpy(ret_host, c->connect_host, n + 1);
        *ret_port = c->connect_port;
        return 0;
    }
    (void)curl_easy_getinfo(c->easy, CURLINFO_EFFECTIVE_URL, &url);
    return url != NULL ? place_of_url(url, ret_host, DNS_NAME_MAX, ret_port) : -EINVAL;
}

// Gives libcurl the addresses in c->pin for this host and port: "+host:port:a,[b]"; the plus lets
// the entry age away.
static bool set_addresses(struct httpc_call *c, const char *host, uint16_t port)
{
    struct dynbuf line;
    dynbuf_init(&line, DNS_NAME_MAX + 16 + HTTPC_PIN_MAX * (ADDR_STRLEN + 3));
    dynbuf_addf(&line, "+%s:%u:", host, port);
    for (size_t i = 0; i < c->pin_count; i++) {
        char ip[ADDR_STRLEN];
        bool const v6 = c->pin[i].family == ADDR_V6;
        dynbuf_addf(&line, "%s%s%s%s", i > 0 ? "," : "", v6 ? "[" : "",
                    addr_format_ip(&c->pin[i], ip), v6 ? "]" : "");
    }
    const char *const text = dynbuf_cstr(&line);
    struct curl_slist *const l = text != NULL ? curl_slist_append(NULL, text) : NULL;
    dynbuf_done(&line);
    if (l == NULL || curl_easy_setopt(c->easy, CURLOPT_RESOLVE, l) != CURLE_OK) {
        curl_slist_free_all(l);
        return false;
    }
    curl_slist_free_all(c->resolve);
    c->resolve = l;
    return true;
}

// Those of r that may be connected to, into c->pin. False: they are the same as before.
static bool take_allowed(struct httpc_call *c, const struct dns_addrs *r, uint16_t port)
{
    struct addr was[HTTPC_PIN_MAX];
    size_t const had = c->pin_count;
    memcpy(was, c->pin, sizeof(was));
    memset(c->pin, 0, sizeof(c->pin));
    c->pin_count = 0;
    for (size_t i = 0; i < r->count && c->pin_count < HTTPC_PIN_MAX; i++) {
        struct addr a = r->addrs[i];
        a.port = port;
        if (httpc_call_allows(c, &a)) {
            c->pin[c->pin_count++] = a;
        }
    }
    c->pin_at = c->pin_count; // no single ones are tried one after the other
    return c->pin_count != had || memcmp(was, c->pin, sizeof(was)) != 0;
}

static const char *why_no_address(const struct dns_addrs *r)
{
    switch (r->status) {
    case DNS_OK:
    case DNS_NOT_FOUND:
        return "the name does not exist or has no address";
    case DNS_TEMPORARY:
        return "the name servers failed";
    case DNS_TIMEOUT:
        return "the name servers did not answer in time";
    case DNS_BAD_NAME:
        return "it is no name that can be looked up";
    }
    return "";
}

// The addresses are known. 0: the call runs, or ends in the next turn.
static int go(struct httpc_call *c, const struct dns_addrs *r)
{
    char host[DNS_NAME_MAX];
    uint16_t port = 0;
    int const e = place_of_hop(c, host, &port);
    if (e < 0) {
        return e;
    }
    c->allowed = false;
    c->denied = false;
    bool const changed = take_allowed(c, r, port);
    if (c->pin_count == 0) {
        httpc_end_later(c, c->denied ? HTTPC_DENIED : HTTPC_DNS,
                        c->denied ? NULL : why_no_address(r));
        return 0;
    }
    if (c->looked_again && !changed) {
        // Looked up once more because the last attempt failed, and nothing is different.
        httpc_finish(c, c->failed, httpc_step_of(c, c->failed), NULL);
        return 0;
    }
    c->errbuf[0] = 0;
    struct addr literal;
    bool const is_literal = addr_parse_ip(bytes_str(host), &literal) == 0;
    return (is_literal || set_addresses(c, host, port)) && httpc_run(c) ? 0 : -ENOMEM;
}

static void on_addrs(void *user, const struct dns_addrs *r)
{
    struct httpc_call *const c = user;
    c->query = NULL;
    if (go(c, r) < 0) {
        httpc_finish(c, CURLE_OUT_OF_MEMORY, HTTPC_INTERNAL, NULL);
    }
}

static int resolve(struct httpc_call *c)
{
    struct httpc *const h = c->owner;
    char host[DNS_NAME_MAX];
    uint16_t port = 0;
    struct dns_addrs known;
    int const e = place_of_hop(c, host, &port);
    if (e < 0) {
        return e;
    }
    c->cached = false;
    if (dns_cache_known(h->conf.dns, host, &known, &c->cached) == 0) {
        return go(c, &known);
    }
    c->phase = HTTPC_RESOLVING;
    httpc_limit(c, mono_add_ms(loop_now(h->loop), MIN(c->connect_ms, httpc_left_ms(c))));
    int const r = dns_cache_start(h->conf.dns, host, on_addrs, c, &c->query);
    if (r < 0) {
        c->query = NULL;
        httpc_end_later(c, HTTPC_DNS,
                        r == -EBUSY    ? "too many look-ups at once"
                        : r == -EINVAL ? "it is no name that can be looked up"
                                       : "no memory");
    }
    return 0;
}

static bool resolves(const struct httpc_call *c)
{
    return c->guarded && c->owner->conf.dns != NULL && c->pin_host == NULL &&
           !c->owner->conf.proxy_from_env;
}

int httpc_hop_begin(struct httpc_call *c)
{
    if (!resolves(c)) {
        return httpc_run(c) ? 0 : -ENOMEM;
    }
    int const r = resolve(c);
    if (r == -EINVAL) {
        httpc_end_later(c, HTTPC_BAD_URL, "it is no URL of a host");
        return 0;
    }
    return r;
}

// ---- after an attempt -----------------------------------------------------------------------

static void out_of_multi(struct httpc_call *c)
{
    (void)curl_multi_remove_handle(c->owner->multi, c->easy);
}

// The next pinned address. False: there is none, or no memory.
static bool next_pin(struct httpc_call *c)
{
    if (c->pin_at >= c->pin_count) {
        return false;
    }
    out_of_multi(c);
    c->errbuf[0] = 0;
    c->denied = false;
    c->allowed = false;
    return httpc_call_next_pin(c) && httpc_run(c);
}

// Another address of a resolved name, when TLS with the one that answered failed. (Connecting has
// been tried with all of them.)
static bool other_address(struct httpc_call *c)
{
    char host[DNS_NAME_MAX];
    char *ip = NULL;
    uint16_t port = 0;
    struct addr bad;
    if (curl_easy_getinfo(c->easy, CURLINFO_PRIMARY_IP, &ip) != CURLE_OK || ip == NULL ||
        addr_parse_ip(bytes_str(ip), &bad) < 0 || place_of_hop(c, host, &port) < 0) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < c->pin_count; i++) {
        bool const same =
            c->pin[i].family == bad.family && memcmp(c->pin[i].ip, bad.ip, sizeof(bad.ip)) == 0;
        if (!same) {
            c->pin[n++] = c->pin[i];
        }
    }
    if (n == 0 || n == c->pin_count) {
        return false;
    }
    c->pin_count = n;
    c->pin_at = n;
    out_of_multi(c);
    c->errbuf[0] = 0;
    return set_addresses(c, host, port) && httpc_run(c);
}

// What the cache said led nowhere: asks the name servers once (authorization-service 5.5).
static bool look_again(struct httpc_call *c, CURLcode code)
{
    char host[DNS_NAME_MAX];
    uint16_t port = 0;
    if (!c->cached || c->looked_again || place_of_hop(c, host, &port) < 0) {
        return false;
    }
    c->looked_again = true;
    c->failed = code;
    dns_cache_forget(c->owner->conf.dns, host);
    out_of_multi(c);
    return resolve(c) == 0;
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool is_http_url(const char *url, bool https_only)
{
    return strncasecmp(url, "https://", 8) == 0 ||
           (!https_only && strncasecmp(url, "http://", 7) == 0);
}

// An answer came. True: it is a redirect, and the call goes on there.
static bool follow(struct httpc_call *c, enum httpc_step *ret_step)
{
    long status = 0;
    char *url = NULL;
    *ret_step = HTTPC_OK;
    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(c->easy, CURLINFO_REDIRECT_URL, &url);
    if (!c->may_redirect || !is_redirect(status) || url == NULL) {
        return false;
    }
    *ret_step = HTTPC_REDIRECT;
    if (c->redirects_left == 0 || !is_http_url(url, c->https_only)) {
        return false;
    }
    c->redirects_left--;
    char *const to = mem_strdup(url); // libcurl's is gone with the next setting
    out_of_multi(c);
    bool const ok = to != NULL && curl_easy_setopt(c->easy, CURLOPT_URL, to) == CURLE_OK &&
                    httpc_call_strip(c) == 0;
    mem_free(to);
    c->looked_again = false;
    c->pin_count = 0;
    c->errbuf[0] = 0;
    if (ok && httpc_hop_begin(c) == 0) {
        return true;
    }
    *ret_step = HTTPC_INTERNAL;
    return false;
}

bool httpc_hop_next(struct httpc_call *c, CURLcode code, enum httpc_step *ret_step)
{
    enum httpc_step const step = httpc_step_of(c, code);
    if (step == HTTPC_OK) {
        return follow(c, ret_step);
    }
    *ret_step = step;
    bool const of_address = step == HTTPC_CONNECT || step == HTTPC_TLS || step == HTTPC_DENIED;
    if (!of_address || httpc_left_ms(c) <= 0) {
        return false;
    }
    return next_pin(c) ||
           (resolves(c) && ((step == HTTPC_TLS && other_address(c)) || look_again(c, code)));
}
