// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/svc/gzip.h"
#include "common/svc/jsonx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What was read can be written and read again, with the same bytes.
static void round_trip(struct bytes text, unsigned flags)
{
    struct jsonx_limits const limits = {.max_bytes = 1u << 16, .max_depth = 16, .flags = flags};
    struct jsonx_limits const own = {.max_bytes = 1u << 20, .max_depth = 16, .flags = flags};
    struct jsonx *j = NULL;
    if (jsonx_parse(text, &limits, &j) != 0) {
        return;
    }
    size_t n = 0;
    char *const one = jsonx_dump(j, JSONX_SORT_KEYS, &n);
    struct jsonx *again = NULL;
    if (one == NULL || jsonx_parse(bytes_of(one, n), &own, &again) != 0) {
        abort();
    }
    size_t m = 0;
    char *const two = jsonx_dump(again, JSONX_SORT_KEYS, &m);
    if (two == NULL || n != m || memcmp(one, two, n) != 0) {
        abort();
    }
    mem_free(one);
    mem_free(two);
    jsonx_free(again);
    int64_t v = 0;
    (void)!jsonx_int_lenient(jsonx_get(j, "a"), &v);
    jsonx_free(j);
}

// JSON of strangers, with and without the repairs that Go makes; and gzip of strangers.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dynbuf out;
    dynbuf_init(&out, 1u << 16);
    (void)!gzip_inflate(bytes_of(data, size), &out);
    dynbuf_done(&out);
    round_trip(bytes_of(data, size), JSONX_ANY);
    round_trip(bytes_of(data, size), JSONX_REPAIR_TEXT | JSONX_ALLOW_NUL | JSONX_ANY);
    round_trip(bytes_of(data, size), JSONX_ALLOW_TRAILING | JSONX_REJECT_DUPLICATES);
    return 0;
}
