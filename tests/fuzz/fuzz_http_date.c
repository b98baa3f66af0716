// SPDX-License-Identifier: Apache-2.0
// LINK: base
#include <stdlib.h>

#include "common/base/http_date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Cache-Control, Expires and Date of any server, one a line.
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
    const char *line[3] = {text, NULL, NULL};
    for (size_t i = 1; i < 3 && line[i - 1]; i++) {
        char *const end = strchr(line[i - 1], '\n');
        if (end) {
            *end = '\0';
            line[i] = end + 1;
        }
    }
    int64_t const age =
        http_date_freshness_s(line[0], line[1], line[2], (wall_t){INT64_C(1700000000) * US_PER_S});
    if (age < -1 || age > INT64_C(1000000000)) {
        abort();
    }
    free(text);
    return 0;
}
