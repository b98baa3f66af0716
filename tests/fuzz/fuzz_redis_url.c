// SPDX-License-Identifier: Apache-2.0
// LINK: svc

#include <stdlib.h>
#include <string.h>

#include "common/svc/redis_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A setting of the operator's: parts within their bounds, or one line that says why not.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char err[REDIS_URL_ERROR_MAX] = "";
    char shown[REDIS_URL_SHOWN_MAX];
    struct redis_url u;
    char *const text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    if (redis_url_parse(text, &u, err) != 0) {
        if (err[0] == '\0' || strchr(err, '\n') != NULL) {
            abort();
        }
    } else if (u.host[0] == '\0' || u.dial_timeout_ms <= 0 || u.read_timeout_ms <= 0 ||
               (!u.local && u.port == 0) || redis_url_show(&u, shown)[0] == '\0') {
        abort();
    }
    free(text);
    return 0;
}
