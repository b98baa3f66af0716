// SPDX-License-Identifier: Apache-2.0
// LINK: signal
#include <stdlib.h>
#include <string.h>

#include "sfu/signal/user_agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *const text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    struct user_agent u;
    user_agent_parse(text, &u);
    if (memchr(u.browser, 0, sizeof(u.browser)) == NULL ||
        memchr(u.browser_version, 0, sizeof(u.browser_version)) == NULL ||
        memchr(u.os, 0, sizeof(u.os)) == NULL ||
        memchr(u.os_version, 0, sizeof(u.os_version)) == NULL ||
        memchr(u.device, 0, sizeof(u.device)) == NULL) {
        abort();
    }
    free(text);
    return 0;
}
