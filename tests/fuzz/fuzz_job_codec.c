// SPDX-License-Identifier: Apache-2.0
// LINK: jwt

#include <stdlib.h>
#include <string.h>

#include "jwt-service/leave/job_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Field, tab, value of a hash that anybody may have written: what is accepted is written back and
// read as the same.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *const tab = size > 0 ? memchr(data, '\t', size) : NULL;
    size_t const n = tab != NULL ? (size_t)(tab - data) : size;
    struct bytes const value = tab != NULL ? bytes_of(tab + 1, size - n - 1) : bytes_of(NULL, 0);
    struct job_decoded d;
    struct job_decoded again;
    wall_t age;
    (void)!job_codec_time_read(bytes_of(data, size), &age);
    if (job_codec_decode(bytes_of(data, n), value, &d, &age) != 0) {
        return 0;
    }
    struct dynbuf field;
    struct dynbuf text;
    dynbuf_init(&field, 1u << 20);
    dynbuf_init(&text, 1u << 20);
    job_codec_field(d.record.room, d.record.identity, &field);
    if (!dynbuf_ok(&field) || job_codec_value(&d.record, d.owner, &text) != 0 ||
        job_codec_decode(dynbuf_view(&field), dynbuf_view(&text), &again, NULL) != 0) {
        abort();
    }
    if (strcmp(again.record.identity, d.record.identity) != 0 ||
        strcmp(again.record.delay_id, d.record.delay_id) != 0 ||
        again.record.delay_timeout_ns != d.record.delay_timeout_ns ||
        again.record.state != d.record.state) {
        abort();
    }
    job_decoded_done(&d);
    job_decoded_done(&again);
    dynbuf_done(&field);
    dynbuf_done(&text);
    return 0;
}
