// SPDX-License-Identifier: Apache-2.0
#pragma once
// The inside of httpc, shared by its parts: httpc.c (libcurl's multi on our loop, the end of a
// call), httpc_call.c (the options of a call), httpc_hop.c (where a call goes: names, redirects,
// other addresses), httpc_queue.c (those that wait for others to end) and httpc_watch.c (sockets).
// Nobody else includes this.
//
//   start ─► QUEUED (while max_total are under way) ─► a new hop
//   start ─► RESOLVING ─addresses─► RUNNING (in the multi) ─answer, failure─► on_done
//     │          └─nothing that may be connected to─► ENDING ─next turn─► on_done
//     └─trusted, pinned─► RUNNING ─redirect─► a new hop

#include <curl/curl.h>

#include "common/base/dynbuf.h"
#include "common/base/timer_heap.h"
#include "common/svc/dns_cache.h"
#include "common/svc/httpc.h"

#define HTTPC_PIN_MAX 16
#define HTTPC_TOTAL_MS_DEFAULT 30000

struct httpc {
    struct loop *loop;
    struct httpc_conf conf;
    char *ca_file;
    char *ca_dir;
    char *extra_ca_file;
    char *user_agent;
    CURLM *multi; // NULL: nothing to do for a while
    struct loop_timer *timer;
    struct loop_timer *idle;  // closes kept connections
    struct timer_heap limits; // of calls
    struct loop_timer *limit_timer;
    struct loop_timer *pump; // begins calls of the line
    struct httpc_call *calls;
    uint32_t call_count;
    unsigned begun; // calls that are not in the line
    struct httpc_call *line;
    struct httpc_watch **watches; // by descriptor
    size_t watch_count;
    bool ending;
};

enum httpc_phase {
    HTTPC_QUEUED,  // in the line
    HTTPC_RUNNING, // in the multi
    HTTPC_RESOLVING,
    HTTPC_ENDING, // end_step is told in the next turn
};

struct httpc_call {
    struct timer limit; // the end of the phase
    struct httpc_call *prev, *next;
    struct httpc_call *line_prev, *line_next;
    struct httpc_saved *saved; // in the line: what to ask for
    bool begun;
    enum httpc_phase phase;
    enum httpc_step end_step;
    const char *end_why; // static
    struct dns_cache_query *query;
    char *connect_host; // of connect_to, for the first hop; NULL: the URL's
    uint16_t connect_port;
    unsigned redirects_left;
    bool https_only;   // after a redirect
    bool may_redirect; // GET or HEAD
    bool guarded;      // not trusted: resolved by us if there is a dns_cache
    bool cached;       // addresses of this hop were not looked up just now
    bool looked_again; // they have been since
    CURLcode failed;   // why they were
    int64_t connect_ms;
    struct curl_slist *resolve;
    struct httpc *owner;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *connect_to;
    struct dynbuf body;
    struct dynbuf head; // "name: value\0" of the last answer
    char errbuf[CURL_ERROR_SIZE];
    bool trusted;
    bool too_large;
    bool allowed; // some address passed the policy
    bool denied;  // some did not
    // Addresses still to be tried, for a pinned call.
    char *pin_host;
    uint16_t pin_port;
    struct addr pin[HTTPC_PIN_MAX];
    size_t pin_count;
    size_t pin_at;
    mono_t start;
    mono_t deadline;
    void (*on_done)(void *user, const struct httpc_result *result);
    void *user;
};

// Sets all options of a new call by req. -ENOMEM, -EINVAL.
int httpc_call_prepare(struct httpc_call *c, const struct httpc_request *req) NODISCARD;

// Sends the connection of a pinned call to its next address. False: no memory.
bool httpc_call_next_pin(struct httpc_call *c);

// From here on a call goes without the headers and the connect_to of its request: they were for the
// host that it named. -ENOMEM.
int httpc_call_strip(struct httpc_call *c) NODISCARD;

// Whether the policy lets the call connect to a; notes it for step_of.
bool httpc_call_allows(struct httpc_call *c, const struct addr *a);

// Begins the first hop. -ENOMEM, -EINVAL (URL).
int httpc_hop_begin(struct httpc_call *c) NODISCARD;

// The multi is through with the call. True: it goes on, by a redirect or to another address.
// *ret_step (set if false) is what it ended with.
bool httpc_hop_next(struct httpc_call *c, CURLcode code, enum httpc_step *ret_step);

// Puts a call into the multi, with the time that it has left. False: no memory.
bool httpc_run(struct httpc_call *c);

// Makes the call of the request, out of the line or at once. -ENOMEM, -EINVAL.
int httpc_begin(struct httpc_call *c, const struct httpc_request *req) NODISCARD;

// Whether as many calls are under way as may be.
bool httpc_is_full(const struct httpc *h);

// Puts a call into the line. -ENOMEM.
int httpc_queue_add(struct httpc_call *c, const struct httpc_request *req) NODISCARD;
// Takes it out; it need not be in it.
void httpc_queue_remove(struct httpc_call *c);
// Begins those that may.
void httpc_queue_pump(struct httpc *h);
// The URL of a call in the line, else NULL.
const char *httpc_saved_url(const struct httpc_call *c);

// libcurl's CURLMOPT_SOCKETFUNCTION and CURLOPT_CLOSESOCKETFUNCTION; user: the httpc.
int httpc_watch_wanted(CURL *easy, curl_socket_t fd, int what, void *user, void *watched);
int httpc_watch_close(void *user, curl_socket_t fd);
// A socket was opened that httpc_watch_close will close. False: no memory.
bool httpc_watch_opened(struct httpc *h, int fd) NODISCARD;
// All sockets are closed.
void httpc_watch_done(struct httpc *h);
// Something is there: bits of CURL_CSELECT_*.
void httpc_socket_action(struct httpc *h, curl_socket_t fd, int bits);

// Ends a call in the next turn. why: static text.
void httpc_end_later(struct httpc_call *c, enum httpc_step step, const char *why);

// Sets the end of the present phase.
void httpc_limit(struct httpc_call *c, mono_t at);

// Which step libcurl's code stands for.
enum httpc_step httpc_step_of(const struct httpc_call *c, CURLcode code);

// Tells the owner and frees the call. why NULL: what libcurl says.
void httpc_finish(struct httpc_call *c, CURLcode code, enum httpc_step step, const char *why);

int64_t httpc_left_ms(const struct httpc_call *c); // of the whole time
