// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/auth.h"

#include <stdio.h>

int auth_refuse(struct auth_refusal *refusal, unsigned status, const char *text)
{
    refusal->status = status;
    (void)snprintf(refusal->text, sizeof(refusal->text), "%s", text);
    return -EACCES;
}

int auth_request(const struct httpd_req *r, const struct api_keys *keys, wall_t now,
                 struct access_token **ret, struct auth_refusal *refusal)
{
    static const char bearer[] = "Bearer ";
    const char *const header = httpd_header(r, "Authorization");
    const char *text = httpd_query(r, "access_token");
    *ret = NULL;
    if (header != NULL && header[0] != 0) {
        if (strncmp(header, bearer, sizeof(bearer) - 1) != 0) {
            return auth_refuse(refusal, 401,
                               "invalid authorization header. Must start with Bearer ");
        }
        text = header + sizeof(bearer) - 1;
    }
    if (text == NULL || text[0] == 0) {
        return 0;
    }
    struct access_token_refusal why;
    int const rc = access_token_verify(keys, now, bytes_str(text), ret, &why);
    return rc == -EACCES ? auth_refuse(refusal, 401, why.text) : rc;
}
