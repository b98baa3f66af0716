// SPDX-License-Identifier: Apache-2.0
#pragma once
// What all endpoints of foci-jwt do with a request besides their work: whose it is, its log line,
// its error body.

#include "common/svc/httpd.h"
#include "jwt-service/auth_metrics.h"
#include "jwt-service/base/matrix_error.h"
#include "jwt-service/base/request_log.h"

struct auth_config;

#define ANSWER_JSON "application/json"
#define ANSWER_TEXT "text/plain; charset=utf-8"

// Answers with a Matrix error. retry_after_ms > 0: says when to come again. Consumes req.
void answer_error(struct httpd_req *req, enum matrix_error e, int64_t retry_after_ms);

// Appends {"url":...,"jwt":...} and a line feed; NULL leaves a member out. -ENOMEM.
int answer_write_token(const char *url, const char *jwt, struct dynbuf *out) NODISCARD;

// The client's address, as far as trusted proxies tell it. True: it is this machine, without a
// proxy that would name somebody else; limits do not apply to it.
bool answer_client(const struct auth_config *config, struct httpd_req *req, struct addr *ret);

// Begins the log line, under a new id that the answer carries as X-Request-Id.
void answer_log_start(struct request_log *l, mono_t now, enum request_endpoint endpoint,
                      struct httpd_req *req, const struct addr *client);

// Its line and its count. status 0: never answered; errcode NULL: the answer has none.
void answer_log_end(const struct request_log *l, struct metrics *metrics, mono_t now,
                    unsigned status, const char *errcode);

// Line and count of a request that is answered at once, under a new id that the answer carries.
void answer_account(const struct auth_config *config, struct metrics *metrics, mono_t now,
                    struct httpd_req *req, enum request_endpoint endpoint, unsigned status);
