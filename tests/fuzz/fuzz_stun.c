// SPDX-License-Identifier: Apache-2.0
// LINK: wire base
#include <stdlib.h>

#include "sfu/wire/classify.h"
#include "sfu/wire/stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A message that was accepted can be written again, attribute by attribute, into every smaller
// buffer without harm.
static void rewrite(const struct stun_msg *m)
{
    uint8_t buf[2048];
    size_t const caps[] = {sizeof(buf),  m->raw.n, m->raw.n > 0 ? m->raw.n - 1 : 0,
                           m->raw.n / 2, 20,       3};
    for (size_t i = 0; i < ARRAY_LEN(caps); i++) {
        struct wr w = wr_init(buf, MIN(caps[i], sizeof(buf)));
        stun_begin(&w, (enum stun_class)m->cls, (enum stun_method)m->method, m->txid);
        size_t pos = 0;
        struct stun_attr a;
        while (stun_next_attr(m, &pos, &a)) {
            stun_put(&w, a.type, a.value);
        }
        stun_end_integrity(&w, bytes_str("key"));
        stun_end_fingerprint(&w);
        struct stun_msg again;
        if (wr_ok(&w) && (stun_parse(wr_bytes_view(&w), &again) != 0 ||
                          !stun_check_integrity(&again, bytes_str("key")) ||
                          again.method != m->method || again.cls != m->cls)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes const d = bytes_of(data, size);
    (void)classify_packet(d);
    struct bytes ufrag;
    (void)!stun_peek_local_ufrag(d, &ufrag);
    struct stun_msg m;
    if (stun_parse(d, &m) != 0) {
        return 0;
    }
    struct addr addr;
    uint32_t u32;
    uint64_t u64;
    uint16_t code;
    uint16_t unknown[3];
    struct bytes a;
    struct bytes b;
    (void)!stun_get_u32(&m, STUN_ATTR_PRIORITY, &u32);
    (void)!stun_get_u64(&m, STUN_ATTR_ICE_CONTROLLING, &u64);
    (void)!stun_get_xor_addr(&m, STUN_ATTR_XOR_MAPPED_ADDRESS, &addr);
    (void)!stun_get_xor_addr(&m, STUN_ATTR_XOR_PEER_ADDRESS, &addr);
    (void)!stun_get_error(&m, &code);
    (void)!stun_get_username(&m, &a, &b);
    (void)stun_check_integrity(&m, bytes_str("password"));
    (void)stun_unknown_attrs(&m, NULL, 0, unknown, ARRAY_LEN(unknown));
    rewrite(&m);
    return 0;
}
