// SPDX-License-Identifier: Apache-2.0
#pragma once
// The inside of httpc, shared by its two halves: httpc.c (libcurl's multi on our loop, the end of a
// call) and httpc_call.c (the options of a call). Nobody else includes this.

#include <curl/curl.h>

#include "common/base/dynbuf.h"
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
    CURLM *multi;
    struct loop_timer *timer;
    struct httpc_call *calls;
    bool ending;
};

struct httpc_call {
    struct httpc_call *prev, *next;
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
