// SPDX-License-Identifier: Apache-2.0
#include "common/svc/httpc.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/svc/httpc_internal.h"

#define PER_HOST_DEFAULT 8
#define TOTAL_DEFAULT 256
#define IDLE_DEFAULT_S 30 // authorization-service 5.5
#define LIMIT_SLACK_MS 100
#define BODY_MAX_DEFAULT ((size_t)1 << 20)
#define HEADER_MAX_DEFAULT ((size_t)64 << 10)

static const char *const step_names[HTTPC_STEP_COUNT] = {
    "ok",      "bad_url", "dns",       "connect",  "denied",    "tls",      "send",
    "receive", "timeout", "too_large", "redirect", "cancelled", "internal",
};

const char *httpc_step_name(enum httpc_step s)
{
    return (unsigned)s < HTTPC_STEP_COUNT ? step_names[s] : "unknown";
}

// ---- the end of a call --------------------------------------------------------------------------

static void call_free(struct httpc_call *c)
{
    struct httpc *const h = c->owner;
    DL_DELETE(h->calls, c);
    timer_heap_cancel(&h->limits, &c->limit);
    httpc_queue_remove(c);
    if (c->begun) {
        h->begun--;
        if (h->line != NULL && !h->ending) {
            loop_timer_set_ms(h->pump, 0); // not now: this is called from everywhere
        }
    }
    if (--h->call_count == 0 && !h->ending) {
        loop_timer_set_ms(h->idle,
                          (int64_t)(h->conf.idle_s != 0 ? h->conf.idle_s : IDLE_DEFAULT_S) * 1000);
    }
    if (c->query != NULL) {
        dns_cache_cancel(c->query);
    }
    if (c->easy != NULL) {
        (void)curl_multi_remove_handle(h->multi, c->easy);
        curl_easy_cleanup(c->easy);
    }
    curl_slist_free_all(c->headers);
    curl_slist_free_all(c->connect_to);
    curl_slist_free_all(c->resolve);
    mem_free(c->connect_host);
    dynbuf_done(&c->body);
    dynbuf_done(&c->head);
    mem_free(c->pin_host);
    mem_free(c);
}

// Which step a call was at when its time was over.
static enum httpc_step late_step(const struct httpc_call *c)
{
    curl_off_t resolved = 0;
    curl_off_t connected = 0;
    curl_off_t ready = 0;
    (void)curl_easy_getinfo(c->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
    (void)curl_easy_getinfo(c->easy, CURLINFO_CONNECT_TIME_T, &connected);
    (void)curl_easy_getinfo(c->easy, CURLINFO_PRETRANSFER_TIME_T, &ready);
    if (ready > 0) {
        return HTTPC_TIMEOUT;
    }
    if (connected > 0) {
        return HTTPC_TLS;
    }
    return resolved > 0 ? HTTPC_CONNECT : HTTPC_DNS;
}

enum httpc_step httpc_step_of(const struct httpc_call *c, CURLcode code)
{
    if (c->too_large) {
        return HTTPC_TOO_LARGE;
    }
    if (code != CURLE_OK && code != CURLE_OPERATION_TIMEDOUT && c->denied && !c->allowed) {
        return HTTPC_DENIED;
    }
    switch (code) {
    case CURLE_OK:
        return HTTPC_OK;
    case CURLE_URL_MALFORMAT:
        return HTTPC_BAD_URL;
    case CURLE_UNSUPPORTED_PROTOCOL: // the URL's, or the one that the server speaks
        return late_step(c) == HTTPC_TIMEOUT ? HTTPC_RECEIVE : HTTPC_BAD_URL;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return HTTPC_DNS;
    case CURLE_COULDNT_CONNECT:
        return HTTPC_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_SHUTDOWN_FAILED:
        return HTTPC_TLS;
    case CURLE_SEND_ERROR:
        return HTTPC_SEND;
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return HTTPC_RECEIVE;
    case CURLE_OPERATION_TIMEDOUT:
        return late_step(c);
    default:
        return HTTPC_INTERNAL;
    }
}

static const char *const step_texts[HTTPC_STEP_COUNT] = {
    [HTTPC_OK] = "request to",        [HTTPC_BAD_URL] = "URL for",
    [HTTPC_DNS] = "name look-up for", [HTTPC_CONNECT] = "connection to",
    [HTTPC_DENIED] = "connection to", [HTTPC_TLS] = "TLS with",
    [HTTPC_SEND] = "sending to",      [HTTPC_RECEIVE] = "answer of",
    [HTTPC_TIMEOUT] = "request to",   [HTTPC_TOO_LARGE] = "answer of",
    [HTTPC_REDIRECT] = "redirect of", [HTTPC_CANCELLED] = "request to",
    [HTTPC_INTERNAL] = "request to",
};

// Host and port of the URL the call is at now, without path and query (which may hold tokens).
static void place_of(const struct httpc_call *c, char *ret, size_t cap)
{
    char *url = NULL;
    char *host = NULL;
    char *port = NULL;
    CURLU *const u = curl_url();
    (void)curl_easy_getinfo(c->easy, CURLINFO_EFFECTIVE_URL, &url);
    const char *const at = url != NULL ? url : httpc_saved_url(c);
    bool const ok = u != NULL && at != NULL && curl_url_set(u, CURLUPART_URL, at, 0) == CURLUE_OK &&
                    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    (void)snprintf(ret, cap, "%s%s%s", ok ? host : "an invalid URL", ok ? ":" : "", ok ? port : "");
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
}

static void describe(const struct httpc_call *c, enum httpc_step step, const char *why, char *ret,
                     size_t cap)
{
    char place[300];
    place_of(c, place, sizeof(place));
    (void)snprintf(ret, cap, "%s %s failed: %s", step_texts[step], place, why);
}

static struct addr peer_of(const struct httpc_call *c)
{
    struct addr a = {0};
    char *ip = NULL;
    long port = 0;
    if (curl_easy_getinfo(c->easy, CURLINFO_PRIMARY_IP, &ip) == CURLE_OK && ip != NULL &&
        addr_parse_ip(bytes_str(ip), &a) == 0 &&
        curl_easy_getinfo(c->easy, CURLINFO_PRIMARY_PORT, &port) == CURLE_OK) {
        a.port = (uint16_t)port;
    }
    return a;
}

static const char *why_of(const struct httpc_call *c, CURLcode code, enum httpc_step step)
{
    switch (step) {
    case HTTPC_DENIED:
        return "its address is not allowed by policy";
    case HTTPC_TOO_LARGE:
        return "it is too large";
    case HTTPC_CANCELLED:
        return "cancelled";
    case HTTPC_REDIRECT:
        return "more redirects than allowed, or to another scheme";
    default:
        return c->errbuf[0] != 0 ? c->errbuf : curl_easy_strerror(code);
    }
}

void httpc_finish(struct httpc_call *c, CURLcode code, enum httpc_step step, const char *why)
{
    long status = 0;
    char text[640] = "";
    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (step != HTTPC_OK) {
        describe(c, step, why != NULL ? why : why_of(c, code, step), text, sizeof(text));
    }
    (void)dynbuf_cstr(&c->body); // terminates
    struct httpc_result const result = {
        .step = step,
        .status = (unsigned)status,
        .body = step == HTTPC_OK ? dynbuf_view(&c->body) : bytes_of("", 0),
        .peer = peer_of(c),
        .elapsed_ms = mono_diff_ms(loop_now(c->owner->loop), c->start),
        .text = text,
        .call = c,
    };
    c->on_done(c->user, &result);
    call_free(c);
}

const char *httpc_result_header(const struct httpc_result *r, const char *name)
{
    size_t const len = strlen(name);
    const struct dynbuf *const head = &r->call->head;
    for (size_t at = 0; at < head->n;) {
        const char *const line = (const char *)head->p + at;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            return line + len + 1 + strspn(line + len + 1, " \t");
        }
        at += strlen(line) + 1;
    }
    return NULL;
}

// ---- phases of a call ---------------------------------------------------------------------------

int64_t httpc_left_ms(const struct httpc_call *c)
{
    return mono_diff_ms(c->deadline, loop_now(c->owner->loop));
}

static void schedule(struct httpc *h)
{
    loop_timer_set(h->limit_timer, timer_heap_next(&h->limits));
}

void httpc_limit(struct httpc_call *c, mono_t at)
{
    mono_t const was = timer_heap_next(&c->owner->limits);
    timer_heap_set(&c->owner->limits, &c->limit, at);
    if (timer_heap_next(&c->owner->limits).us != was.us) {
        schedule(c->owner);
    }
}

bool httpc_run(struct httpc_call *c)
{
    c->phase = HTTPC_RUNNING;
    // libcurl's own limit comes first, unless the call still waits for a connection: there it looks
    // at no clock (7.88).
    httpc_limit(c, mono_add_ms(c->deadline, LIMIT_SLACK_MS));
    return curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)MAX(httpc_left_ms(c), 1)) ==
               CURLE_OK &&
           curl_multi_add_handle(c->owner->multi, c->easy) == CURLM_OK;
}

void httpc_end_later(struct httpc_call *c, enum httpc_step step, const char *why)
{
    c->phase = HTTPC_ENDING;
    c->end_step = step;
    c->end_why = why;
    httpc_limit(c, (mono_t){0});
}

static void on_limit(void *user)
{
    struct httpc *const h = user;
    struct timer *t = NULL;
    while ((t = timer_heap_pop(&h->limits, loop_now(h->loop))) != NULL) {
        struct httpc_call *const c = CONTAINER_OF(t, struct httpc_call, limit);
        switch (c->phase) {
        case HTTPC_QUEUED:
        case HTTPC_RUNNING:
            httpc_finish(c, CURLE_OPERATION_TIMEDOUT, HTTPC_TIMEOUT,
                         "no connection to it became free in time");
            break;
        case HTTPC_RESOLVING:
            httpc_finish(c, CURLE_OPERATION_TIMEDOUT, HTTPC_DNS,
                         "the name servers did not answer in time");
            break;
        case HTTPC_ENDING:
            httpc_finish(c, CURLE_OK, c->end_step, c->end_why);
            break;
        }
    }
    schedule(h);
}

static void check_done(struct httpc *h)
{
    CURLMsg *m = NULL;
    int left = 0;
    while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
        if (m->msg != CURLMSG_DONE) {
            continue;
        }
        char *p = NULL;
        CURLcode const code = m->data.result;
        enum httpc_step step = HTTPC_INTERNAL;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &p);
        struct httpc_call *const c = (struct httpc_call *)(void *)p;
        if (!httpc_hop_next(c, code, &step)) {
            httpc_finish(c, code, step, NULL);
        }
    }
}

// ---- the loop -----------------------------------------------------------------------------------

void httpc_socket_action(struct httpc *h, curl_socket_t fd, int bits)
{
    int running = 0;
    (void)curl_multi_socket_action(h->multi, fd, bits, &running);
    check_done(h);
}

static void on_timer(void *user)
{
    httpc_socket_action(user, CURL_SOCKET_TIMEOUT, 0);
}

static void on_pump(void *user)
{
    httpc_queue_pump(user);
}

static int on_timeout_wanted(CURLM *multi, long ms, void *user)
{
    (void)multi;
    struct httpc *const h = user;
    if (ms < 0) {
        loop_timer_stop(h->timer);
    } else {
        loop_timer_set_ms(h->timer, ms);
    }
    return 0;
}

// ---- the multi, while there is something to do --------------------------------------------------

static long total_of(const struct httpc *h)
{
    return h->conf.max_total != 0 ? (long)h->conf.max_total : TOTAL_DEFAULT;
}

bool httpc_is_full(const struct httpc *h)
{
    return (long)h->begun >= total_of(h);
}

static int open_multi(struct httpc *h)
{
    if (h->multi != NULL) {
        return 0;
    }
    h->multi = curl_multi_init();
    if (h->multi == NULL) {
        return -ENOMEM;
    }
    long const per_host = h->conf.max_per_host != 0 ? (long)h->conf.max_per_host : PER_HOST_DEFAULT;
    long const total = total_of(h);
    bool const ok =
        curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, httpc_watch_wanted) == CURLM_OK &&
        curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) == CURLM_OK &&
        curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted) == CURLM_OK &&
        curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h) == CURLM_OK &&
        curl_multi_setopt(h->multi, CURLMOPT_MAX_HOST_CONNECTIONS, per_host) == CURLM_OK &&
        curl_multi_setopt(h->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, total) == CURLM_OK &&
        // Else it keeps four for each call that is under way, and between two waves closes the rest.
        curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, total) == CURLM_OK;
    return ok ? 0 : -ENOMEM;
}

static void close_multi(struct httpc *h)
{
    if (h->multi != NULL) {
        (void)curl_multi_cleanup(h->multi); // closes its sockets
        h->multi = NULL;
        httpc_watch_done(h);
    }
    loop_timer_stop(h->timer);
}

// Nothing was asked for a while. libcurl closes kept connections only when it is asked for
// something, so a burst would leave its connections, and the trust roots, in memory for ever.
static void on_idle(void *user)
{
    struct httpc *const h = user;
    if (h->calls == NULL) {
        close_multi(h);
    }
}

// ---- starting and cancelling --------------------------------------------------------------------

int httpc_begin(struct httpc_call *c, const struct httpc_request *req)
{
    struct httpc *const h = c->owner;
    c->begun = true;
    h->begun++;
    int r = h->ending ? -ENOMEM : open_multi(h);
    c->easy = r == 0 ? curl_easy_init() : NULL;
    r = c->easy != NULL ? httpc_call_prepare(c, req) : -ENOMEM;
    return r == 0 ? httpc_hop_begin(c) : r;
}

int httpc_start(struct httpc *h, const struct httpc_request *req, struct httpc_call **ret)
{
    struct httpc_call *const c = NEW(struct httpc_call);
    if (c == NULL) {
        return -ENOMEM;
    }
    c->owner = h;
    c->trusted = req->trusted;
    c->guarded = !req->trusted;
    c->on_done = req->on_done;
    c->user = req->user;
    c->start = loop_now(h->loop);
    c->deadline =
        mono_add_ms(c->start, req->total_ms != 0 ? req->total_ms : HTTPC_TOTAL_MS_DEFAULT);
    dynbuf_init(&c->body, req->max_body != 0 ? req->max_body : BODY_MAX_DEFAULT);
    dynbuf_init(&c->head, req->max_header != 0 ? req->max_header : HEADER_MAX_DEFAULT);
    DL_APPEND(h->calls, c);
    h->call_count++;
    loop_timer_stop(h->idle);
    int r = timer_heap_reserve(&h->limits, h->call_count) < 0 ? -ENOMEM : 0;
    if (r == 0) {
        r = h->line != NULL || httpc_is_full(h) ? httpc_queue_add(c, req) : httpc_begin(c, req);
    }
    if (r != 0) {
        call_free(c);
        return r;
    }
    if (ret != NULL) {
        *ret = c;
    }
    return 0;
}

void httpc_cancel(struct httpc_call *call)
{
    call_free(call);
}

// ---- opening and closing ------------------------------------------------------------------------

static int dup_text(char **to, const char *from)
{
    *to = from != NULL ? mem_strdup(from) : NULL;
    return from != NULL && *to == NULL ? -ENOMEM : 0;
}

static int open_timers(struct httpc *h)
{
    timer_heap_init(&h->limits);
    h->timer = loop_timer_new(h->loop, on_timer, h);
    h->limit_timer = loop_timer_new(h->loop, on_limit, h);
    h->idle = loop_timer_new(h->loop, on_idle, h);
    h->pump = loop_timer_new(h->loop, on_pump, h);
    return h->timer != NULL && h->limit_timer != NULL && h->idle != NULL && h->pump != NULL
               ? 0
               : -ENOMEM;
}

struct httpc *httpc_new(struct loop *l, const struct httpc_conf *conf)
{
    // Counted by libcurl; thread safe since 7.84.
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return NULL;
    }
    struct httpc *const h = NEW(struct httpc);
    if (h == NULL) {
        curl_global_cleanup();
        return NULL;
    }
    h->loop = l;
    h->conf = *conf;
    if (dup_text(&h->ca_file, conf->ca_file) != 0 || dup_text(&h->ca_dir, conf->ca_dir) != 0 ||
        dup_text(&h->extra_ca_file, conf->extra_ca_file) != 0 ||
        dup_text(&h->user_agent, conf->user_agent) != 0 || open_timers(h) != 0) {
        httpc_free(h);
        return NULL;
    }
    return h;
}

void httpc_free(struct httpc *h)
{
    if (h == NULL) {
        return;
    }
    h->ending = true; // nothing new from the callbacks
    while (h->calls != NULL) {
        httpc_finish(h->calls, CURLE_OK, HTTPC_CANCELLED, NULL);
    }
    close_multi(h);
    loop_timer_free(h->timer);
    loop_timer_free(h->limit_timer);
    loop_timer_free(h->idle);
    loop_timer_free(h->pump);
    timer_heap_done(&h->limits);
    mem_free(h->ca_file);
    mem_free(h->ca_dir);
    mem_free(h->extra_ca_file);
    mem_free(h->user_agent);
    mem_free(h);
    curl_global_cleanup();
}
