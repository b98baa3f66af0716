// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/answer.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/svc/jsonx.h"
#include "common/svc/proxy_addr.h"
#include "common/sys/random.h"
#include "jwt-service/auth_config.h"
#include "jwt-service/ingress_limits.h"

void answer_error(struct httpd_req *req, enum matrix_error e, int64_t retry_after_ms)
{
    struct dynbuf body;
    dynbuf_init(&body, 1024);
    matrix_error_write(e, retry_after_ms, &body);
    if (retry_after_ms > 0) {
        char seconds[24];
        (void)snprintf(seconds, sizeof(seconds), "%lld",
                       (long long)ingress_retry_after_s(retry_after_ms));
        httpd_add_header(req, "Retry-After", seconds);
    }
    httpd_respond(req, matrix_error_status(e), ANSWER_JSON, dynbuf_view(&body));
    dynbuf_done(&body);
}

int answer_write_token(const char *url, const char *jwt, struct dynbuf *out)
{
    CLEANUP(jsonx_free) struct jsonx *j = jsonx_new_object();
    if (!j || (url && jsonx_set_cstr(j, "url", url) < 0) ||
        (jwt && jsonx_set_cstr(j, "jwt", jwt) < 0)) {
        return -ENOMEM;
    }
    size_t n = 0;
    char *const text = jsonx_dump(j, 0, &n);
    if (!text) {
        return -ENOMEM;
    }
    dynbuf_add(out, bytes_of(text, n));
    dynbuf_add_u8(out, '\n');
    explicit_bzero(text, n);
    mem_free(text);
    return dynbuf_ok(out) ? 0 : -ENOMEM;
}

bool answer_client(const struct auth_config *config, struct httpd_req *req, struct addr *ret)
{
    enum proxy_source const source = proxy_addr_of(&config->trusted_proxies, req, ret);
    return source != PROXY_HEADER && addr_is_loopback(ret);
}

void answer_log_start(struct request_log *l, mono_t now, enum request_endpoint endpoint,
                      struct httpd_req *req, const struct addr *client)
{
    char id[REQUEST_LOG_ID_SIZE]; // 16 hexadecimal digits
    (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)rand_u64());
    httpd_add_header(req, "X-Request-Id", id);
    request_log_start(l, now, id, endpoint, httpd_method(req), client);
}

void answer_log_end(const struct request_log *l, struct metrics *metrics, mono_t now,
                    unsigned status, const char *errcode)
{
    auth_metrics_request(metrics, l, now, status);
    request_log_write(l, now, status, errcode);
}

void answer_account(const struct auth_config *config, struct metrics *metrics, mono_t now,
                    struct httpd_req *req, enum request_endpoint endpoint, unsigned status)
{
    struct request_log log;
    struct addr client;
    (void)answer_client(config, req, &client);
    answer_log_start(&log, now, endpoint, req, &client);
    answer_log_end(&log, metrics, now, status, NULL);
}
