// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/openid/openid_verifier.h"

#include <stdio.h>

#include "common/base/cidr.h"
#include "common/base/dynbuf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/svc/jsonx.h"
#include "jwt-service/openid/server_gate.h"
#include "jwt-service/openid/server_health.h"

#define USERINFO_PATH "/_matrix/federation/v1/openid/userinfo?access_token="
#define USERINFO_BODY_MAX (64u << 10)   // authorization-service 5.8 rule 7
#define USERINFO_HEADER_MAX (16u << 10) // same
#define USERINFO_CONNECT_MS 5000
#define USERINFO_CONNECT_NEXT_MS 3000 // when there is another target to try in the same time
#define URL_MAX ((size_t)16 << 10)    // a token of 4096 bytes, each escaped, and the rest

struct openid_verifier {
    struct openid_verifier_conf conf;
    struct gate *gate;
    struct server_health *health;  // of servers that are not trusted
    struct openid_check *admitted; // have got a place and begin in the next turn
    struct loop_timer *kick;
};

struct openid_check {
    struct openid_check *prev, *next; // in admitted
    struct gate_ticket ticket;
    bool is_admitted;
    struct openid_verifier *v;
    void (*fn)(void *user, const struct openid_result *result);
    void *user;
    char *token;
    char server_name[SERVER_NAME_TEXT]; // as given
    char server_key[SERVER_NAME_TEXT];  // in lower case
    struct server_name name;
    const char *base_url; // of an override, else NULL
    bool trusted;
    bool from_cache; // the route may be out of date: worth one more look-up
    bool repeated;   // that look-up was made
    mono_t started;
    struct loop_timer *deadline;
    // Refused, and told when OPENID_REFUSED_MS are over.
    const char *end_step; // NULL: not yet
    char *end_text;
    bool end_busy;
    int64_t end_ms;
    struct server_query *query;
    struct httpc_call *call;
    struct server_route *route; // large, and those who wait have none
    size_t target;
};

// ---- places ---------------------------------------------------------------------------------

// Those who have got a place begin in a turn of their own: this is called from everywhere.
static void pump(struct openid_verifier *v)
{
    struct gate_ticket *t = NULL;
    while ((t = gate_pop(v->gate)) != NULL) {
        struct openid_check *const c = CONTAINER_OF(t, struct openid_check, ticket);
        c->is_admitted = true;
        DL_APPEND(v->admitted, c);
        loop_timer_set_ms(v->kick, 0);
    }
}

static void give_place_back(struct openid_check *c)
{
    if (c->is_admitted) {
        DL_DELETE(c->v->admitted, c);
        c->is_admitted = false;
    }
    gate_leave(c->v->gate, &c->ticket);
    pump(c->v);
}

static void begin(struct openid_check *c);
static bool is_dead(const struct openid_check *c);
static void refuse_dead(struct openid_check *c);

static void on_kick(void *user)
{
    struct openid_verifier *const v = user;
    struct openid_check *c = NULL;
    while ((c = v->admitted) != NULL) {
        if (loop_turn_is_long(v->conf.loop)) {
            loop_timer_set_ms(v->kick, 0);
            return;
        }
        DL_DELETE(v->admitted, c);
        c->is_admitted = false;
        if (is_dead(c)) { // found out while it waited
            refuse_dead(c);
        } else {
            begin(c);
        }
    }
}

struct openid_verifier *openid_verifier_new(const struct openid_verifier_conf *conf)
{
    struct openid_verifier *const v = NEW(struct openid_verifier);
    if (!v) {
        return NULL;
    }
    const struct openid_limits *const l = &conf->limits;
    v->conf = *conf;
    v->gate = gate_new(&(struct gate_conf){.total = l->total,
                                           .per_server = l->per_server,
                                           .per_client = l->per_client,
                                           .queue_per_server = l->queue_per_server,
                                           .queue_total = l->queue_total,
                                           .trusted = l->trusted,
                                           .trusted_queue = l->trusted_queue});
    v->health = server_health_new(0);
    v->kick = loop_timer_new(conf->loop, on_kick, v);
    if (!v->gate || !v->health || !v->kick) {
        openid_verifier_free(v);
        return NULL;
    }
    return v;
}

void openid_verifier_free(struct openid_verifier *v)
{
    if (v) {
        gate_free(v->gate);
        server_health_free(v->health);
        loop_timer_free(v->kick);
        mem_free(v);
    }
}

// ---- the end of a check ---------------------------------------------------------------------

static void stop_work(struct openid_check *c)
{
    if (c->query) {
        server_discovery_cancel(c->query);
        c->query = NULL;
    }
    if (c->call) {
        httpc_cancel(c->call);
        c->call = NULL;
    }
    give_place_back(c);
}

static void check_free(struct openid_check *c)
{
    if (!c) {
        return;
    }
    stop_work(c);
    if (c->deadline) {
        loop_timer_free(c->deadline);
    }
    if (c->token) {
        explicit_bzero(c->token, strlen(c->token));
        mem_free(c->token);
    }
    mem_free(c->route);
    mem_free(c->end_text);
    mem_free(c);
}

void openid_verifier_cancel(struct openid_check *c)
{
    check_free(c);
}

static void tell(struct openid_check *c, const struct openid_result *r)
{
    c->fn(c->user, r);
    check_free(c);
}

static int64_t elapsed_ms(const struct openid_check *c)
{
    return mono_diff_ms(loop_now(c->v->conf.loop), c->started);
}

// Refuses, but not before OPENID_REFUSED_MS are over. step: static.
static void refuse(struct openid_check *c, const char *step, const char *text)
{
    int64_t const ms = elapsed_ms(c);
    if (ms >= OPENID_REFUSED_MS) {
        tell(c, &(struct openid_result){
                    .step = step, .text = text, .elapsed_ms = ms, .busy = c->end_busy});
        return;
    }
    stop_work(c);
    c->end_step = step;
    c->end_text = mem_strdup(text);
    c->end_ms = ms;
    loop_timer_set(c->deadline, mono_add_ms(c->started, OPENID_REFUSED_MS));
}

static void accept_user(struct openid_check *c, const char *user_id)
{
    tell(c, &(struct openid_result){.user_id = user_id, .elapsed_ms = elapsed_ms(c)});
}

// Where it counts: what the operator named is tried each time.
static void note_health(struct openid_check *c, enum server_outcome o)
{
    if (!c->trusted) {
        server_health_note(c->v->health, loop_now(c->v->conf.loop), c->server_key, o);
    }
}

static bool is_dead(const struct openid_check *c)
{
    return !c->trusted &&
           server_health_dead(c->v->health, loop_now(c->v->conf.loop), c->server_key);
}

static void refuse_dead(struct openid_check *c)
{
    refuse(c, "unreachable", "the homeserver could not be reached less than a minute ago");
}

static void on_deadline(void *user)
{
    struct openid_check *const c = user;
    if (c->end_step) {
        tell(c, &(struct openid_result){.step = c->end_step,
                                        .text = c->end_text ? c->end_text : "",
                                        .elapsed_ms = c->end_ms,
                                        .busy = c->end_busy});
    } else if (c->ticket.state == GATE_WAITING || c->is_admitted) {
        c->end_busy = true;
        refuse(c, "busy", "too many others wait for that homeserver");
    } else if (c->query) {
        note_health(c, SERVER_UNREACHABLE);
        refuse(c, "discovery", "the look-up of the server name took too long");
    } else {
        note_health(c, SERVER_SILENT);
        refuse(c, "timeout", "the homeserver did not answer in time");
    }
}

int openid_subject(struct bytes body, const char *server_name, char ret[static OPENID_USER_MAX + 1])
{
    struct jsonx_limits const limits = {
        .max_bytes = USERINFO_BODY_MAX, .max_depth = 16, .flags = JSONX_ALLOW_TRAILING};
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    struct bytes sub = {0};
    if (body.n == 0 || jsonx_parse(body, &limits, &j) < 0 || jsonx_get_str(j, "sub", &sub) < 0) {
        return -EINVAL;
    }
    if (sub.n == 0 || sub.n > OPENID_USER_MAX || sub.p[0] != '@') {
        return -EACCES;
    }
    for (size_t i = 0; i < sub.n; i++) {
        if (sub.p[i] < 0x20 || sub.p[i] == 0x7f) {
            return -EACCES;
        }
    }
    // Without this comparison any server could vouch for the users of another.
    const uint8_t *const colon = memchr(sub.p, ':', sub.n);
    if (!colon || colon == sub.p + 1) {
        return -EACCES;
    }
    size_t const local = (size_t)(colon - sub.p) + 1;
    if (!bytes_eq_str(bytes_of(colon + 1, sub.n - local), server_name)) {
        return -EACCES;
    }
    memcpy(ret, sub.p, sub.n);
    ret[sub.n] = '\0';
    return 0;
}

static void finish_status(struct openid_check *c, unsigned status)
{
    char text[160];
    const char *const hint =
        status == 401 || status == 403 ? "the token is unknown there or has expired"
        : status == 404                ? "its listener lacks the resource openid (or federation)"
                                       : "see its log";
    (void)snprintf(text, sizeof(text), "the homeserver answered the userinfo request with %u: %s",
                   status, hint);
    refuse(c, "status", text);
}

static void finish_answer(struct openid_check *c, const struct httpc_result *r)
{
    if (r->status < 200 || r->status > 299) {
        finish_status(c, r->status);
        return;
    }
    char user_id[OPENID_USER_MAX + 1];
    int const e = openid_subject(r->body, c->server_name, user_id);
    if (e == 0) {
        accept_user(c, user_id);
    } else if (e == -EACCES) {
        refuse(c, "subject", "the homeserver vouched for a user of another server");
    } else {
        refuse(c, "body", "the answer to the userinfo request is no JSON with a sub");
    }
}

static void try_target(struct openid_check *c);

// True if no request can have reached the homeserver, so that another target may be asked.
static bool is_before_request(const struct httpc_result *r)
{
    return r->step == HTTPC_DNS || r->step == HTTPC_CONNECT || r->step == HTTPC_TLS ||
           r->step == HTTPC_DENIED ||
           (r->step == HTTPC_TIMEOUT && r->peer.family == ADDR_NONE); // no connection in time
}

static void on_userinfo(void *user, const struct httpc_result *r)
{
    struct openid_check *const c = user;
    c->call = NULL;
    if (r->step == HTTPC_OK) {
        note_health(c, SERVER_ANSWERED);
        finish_answer(c, r);
        return;
    }
    if (is_before_request(r) && !c->base_url) {
        if (++c->target < c->route->count) {
            try_target(c);
            return;
        }
        if (c->from_cache && !c->repeated) {
            c->repeated = true;
            server_discovery_forget(c->v->conf.discovery, &c->name);
            begin(c);
            return;
        }
    }
    if (r->step != HTTPC_INTERNAL && r->step != HTTPC_CANCELLED) {
        note_health(c, is_before_request(r) ? SERVER_UNREACHABLE : SERVER_SILENT);
    }
    refuse(c, httpc_step_name(r->step), r->text ? r->text : "");
}

// Percent-encodes what is not unreserved (RFC 3986 section 2.3).
static void add_escaped(struct dynbuf *b, const char *s)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789-._~";
    for (; *s; s++) {
        if (strchr(unreserved, *s)) {
            dynbuf_add_u8(b, (uint8_t)*s);
        } else {
            dynbuf_addf(b, "%%%02X", (unsigned)(uint8_t)*s);
        }
    }
}

static int send_userinfo(struct openid_check *c, const char *base, const char *connect_to,
                         const char *host_header)
{
    struct dynbuf url;
    dynbuf_init(&url, URL_MAX);
    dynbuf_add_str(&url, base);
    dynbuf_add_str(&url, USERINFO_PATH);
    add_escaped(&url, c->token);
    int64_t const left = OPENID_TOTAL_MS - elapsed_ms(c);
    struct httpc_request const req = {
        .url = dynbuf_cstr(&url),
        .connect_ms = c->route && c->target + 1 < c->route->count ? USERINFO_CONNECT_NEXT_MS
                                                                  : USERINFO_CONNECT_MS,
        .total_ms = MAX(left, 1),
        .max_body = USERINFO_BODY_MAX,
        .max_header = USERINFO_HEADER_MAX,
        .connect_to = connect_to,
        .host_header = host_header,
        .trusted = c->trusted,
        .on_done = on_userinfo,
        .user = c,
    };
    int const r = req.url ? httpc_start(c->v->conf.http, &req, &c->call) : -ENOMEM;
    if (url.p) {
        explicit_bzero(url.p, url.n);
    }
    dynbuf_done(&url);
    return r;
}

static int send_to_target(struct openid_check *c)
{
    const struct server_target *const t = &c->route->targets[c->target];
    bool const elsewhere = strcmp(t->host, c->route->tls_name) != 0;
    char authority[SERVER_NAME_TEXT];
    char base[SERVER_NAME_TEXT + 8];
    char connect_to[SERVER_NAME_TEXT];
    // The name in the URL is the one the certificate must have; a SRV target only says where it is.
    server_name_format(c->route->tls_name, c->route->tls_is_v6, t->port, authority);
    (void)snprintf(base, sizeof(base), "https://%s", authority);
    server_name_format(t->host, t->is_v6, t->port, connect_to);
    return send_userinfo(c, base, elsewhere ? connect_to : NULL, c->route->host_header);
}

// Only from callbacks, so that finish() may be called.
static void try_target(struct openid_check *c)
{
    if (send_to_target(c) < 0) {
        c->call = NULL;
        refuse(c, "internal", "the request could not be made");
    }
}

static void on_route(void *user, const struct server_route *route)
{
    struct openid_check *const c = user;
    c->query = NULL;
    *c->route = *route;
    c->target = 0;
    try_target(c);
}

// Starts with what is known, or with a look-up.
static int start(struct openid_check *c)
{
    struct server_discovery *const d = c->v->conf.discovery;
    c->target = 0;
    c->from_cache = false;
    if (c->base_url) {
        return send_userinfo(c, c->base_url, NULL, NULL);
    }
    c->route = c->route ? c->route : NEW(struct server_route);
    if (!c->route) {
        return -ENOMEM;
    }
    if (server_discovery_known(d, &c->name, c->route, &c->from_cache) == 0) {
        return send_to_target(c);
    }
    return server_discovery_start(d, &c->name, c->trusted, on_route, c, &c->query);
}

static void begin(struct openid_check *c)
{
    if (start(c) < 0) {
        refuse(c, "internal", "the request could not be made");
    }
}

static const char *override_of(const struct openid_verifier *v, const char *server_name)
{
    for (size_t i = 0; i < v->conf.override_count; i++) {
        if (strcmp(v->conf.overrides[i].server_name, server_name) == 0) {
            return v->conf.overrides[i].base_url;
        }
    }
    return NULL;
}

// A number for whoever asks, of IPv6 for his /64; 0 for nobody in particular, which this machine's
// own addresses are as well.
static uint64_t client_key(const struct addr *client)
{
    if (!client || client->family == ADDR_NONE || addr_is_loopback(client)) {
        return 0;
    }
    struct addr const a = cidr_unmap(client);
    uint8_t key[9] = {a.family};
    memcpy(key + 1, a.ip, a.family == ADDR_V6 ? 8 : 4);
    return hash_bytes(key, sizeof(key));
}

// Names that differ in letter case only are one server, and so are the ports of a host where places
// are concerned. Trusted ones are apart: "EXAMPLE.org" must not take the place of "example.org".
static void make_keys(struct openid_check *c, char ret_gate[static SERVER_NAME_MAX + 2])
{
    size_t i = 0;
    for (; c->server_name[i]; i++) {
        char const x = c->server_name[i];
        c->server_key[i] = (char)(x >= 'A' && x <= 'Z' ? x | 0x20 : x);
    }
    c->server_key[i] = '\0';
    ret_gate[0] = c->trusted ? '+' : '-';
    for (i = 0; c->name.host[i]; i++) {
        char const x = c->name.host[i];
        ret_gate[i + 1] = (char)(x >= 'A' && x <= 'Z' ? x | 0x20 : x);
    }
    ret_gate[i + 1] = '\0';
}

// Goes in, joins the line, or is refused a little later. -ENOMEM.
static int enter(struct openid_check *c, uint64_t client)
{
    struct openid_verifier *const v = c->v;
    char key[SERVER_NAME_MAX + 2];
    make_keys(c, key);
    if (is_dead(c)) {
        refuse_dead(c);
        return 0;
    }
    int const r = gate_enter(v->gate, key, c->trusted, client, &c->ticket);
    if (r == -EBUSY) {
        c->end_busy = true;
        refuse(c, "busy", "too many others wait for that homeserver, or for any");
        return 0;
    }
    if (r < 0) {
        return r;
    }
    loop_timer_set_ms(c->deadline, OPENID_TOTAL_MS);
    return c->ticket.state == GATE_IN ? start(c) : 0;
}

int openid_verifier_ask(struct openid_verifier *v, const struct openid_ask *ask,
                        void (*fn)(void *user, const struct openid_result *result), void *user,
                        struct openid_check **ret)
{
    struct server_name name;
    if (server_name_parse(bytes_str(ask->server_name), &name) < 0) {
        return -EINVAL;
    }
    struct openid_check *const c = NEW(struct openid_check);
    if (!c) {
        return -ENOMEM;
    }
    c->v = v;
    c->fn = fn;
    c->user = user;
    c->name = name;
    c->base_url = override_of(v, ask->server_name);
    c->trusted = ask->trusted || c->base_url;
    c->started = loop_now(v->conf.loop);
    c->token = mem_strdup(ask->token);
    c->deadline = loop_timer_new(v->conf.loop, on_deadline, c);
    // The grammar bounds it.
    memcpy(c->server_name, ask->server_name, strlen(ask->server_name));
    if (!c->token || !c->deadline || enter(c, client_key(ask->client)) < 0) {
        check_free(c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}
