// SPDX-License-Identifier: Apache-2.0
// LINK: wire base
#include <stdlib.h>

#include "sfu/wire/candidate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct candidate c;
    if (candidate_parse(bytes_of(data, size), &c) != 0 || c.is_name) {
        return 0;
    }
    // What was read is written so that it reads the same.
    char text[4096];
    struct wr w = wr_init(text, MIN(sizeof(text), CANDIDATE_TEXT_CAP + c.ufrag.n));
    candidate_write(&w, &c);
    struct candidate again;
    if (!wr_ok(&w) || candidate_parse(wr_bytes_view(&w), &again) != 0 ||
        !addr_eq(&c.addr, &again.addr) || c.priority != again.priority || c.type != again.type ||
        !bytes_eq(c.ufrag, again.ufrag)) {
        if (c.ufrag.n < 3000) {
            abort();
        }
    }
    for (size_t cap = 0; cap < wr_len(&w); cap += 7) {
        struct wr small = wr_init(text, cap);
        candidate_write(&small, &c);
        if (wr_ok(&small)) {
            abort();
        }
    }
    return 0;
}
