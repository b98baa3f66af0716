// SPDX-License-Identifier: Apache-2.0
// LINK: jwt

#include <stdlib.h>
#include <string.h>

#include "jwt-service/leave/job_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t end;
    size_t count;
    size_t size;
};

static void on_frame(void *user, const struct job_frame *f, size_t offset)
{
    struct seen *const s = user;
    if (offset < s->end || f->len == 0 || offset + f->len > s->size) {
        abort();
    }
    s->end = offset + f->len;
    s->count++;
    if (f->kind == JOB_FRAME_PUT && job_record_check(&f->record) != 0) {
        abort();
    }
    // What was read is written as the same bytes.
    struct dynbuf b;
    struct job_frame again;
    dynbuf_init(&b, JOB_FRAME_MAX);
    if (f->kind == JOB_FRAME_PUT) {
        job_frame_put(&f->record, &b);
        if (!dynbuf_ok(&b) || b.n != f->len || job_frame_read(dynbuf_view(&b), &again) != 0 ||
            strcmp(again.record.identity, f->record.identity) != 0) {
            abort();
        }
    }
    dynbuf_done(&b);
}

// A journal of anybody: frames in order and within it, and every byte accounted for.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen s = {.size = size};
    struct job_scan scan;
    job_frame_scan(bytes_of(data, size), on_frame, &s, &scan);
    if (scan.frames != s.count || scan.end != s.end || scan.tail != size - s.end ||
        scan.gap_bytes > size) {
        abort();
    }
    return 0;
}
