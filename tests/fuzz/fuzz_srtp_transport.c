// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// SUPPORT: srtp_twins
// Both ingress back ends get the same packets (good, late, repeated, damaged, invented), bindings
// and silences in any order, and must agree on each. The input's bytes are commands.
#include <stdlib.h>

#include "tests/support/srtp_twins.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMMANDS_MAX 400 // libsrtp2 takes microseconds for each
#define SOURCES 128      // twice what fits

static struct srtp_twins twins;
static uint64_t next_index[SOURCES];
static uint8_t last[SRTP_TWINS_PACKET_MAX];
static size_t last_len;

static void make_packet(struct rd *r)
{
    uint32_t const ssrc = rd_u8(r) % SOURCES;
    uint8_t const shape = rd_u8(r);
    struct srtp_twins_packet const p = {.ssrc = ssrc,
                                        .index = next_index[ssrc],
                                        .csrcs = shape & 15,
                                        .ext_words = (shape >> 4 & 7) - 1,
                                        .payload = shape};
    last_len = srtp_twins_make(&twins, &p, last);
    next_index[ssrc]++;
}

static void move_index(struct rd *r)
{
    uint64_t *const i = &next_index[rd_u8(r) % SOURCES];
    int16_t const by = (int16_t)rd_be16(r);
    if (by >= 0 || *i >= (uint64_t)-by) {
        *i += (uint64_t)(int64_t)by;
    }
}

// Wrong bits, or the end cut off.
static void give_damaged(struct rd *r, mono_t now)
{
    uint16_t const at = rd_be16(r);
    uint8_t const mask = rd_u8(r);
    if (last_len == 0) {
        return;
    }
    last[at % last_len] ^= mask;
    (void)srtp_twins_give(&twins, now, bytes_of(last, mask == 0 ? at % last_len : last_len));
    last[at % last_len] ^= mask;
}

static void give_raw(struct rd *r, mono_t now)
{
    size_t const n = rd_u8(r);
    (void)srtp_twins_give(&twins, now, rd_take(r, MIN(n, rd_left(r))));
}

static void command(struct rd *r, mono_t *now)
{
    switch (rd_u8(r) % 8) {
    case 0:
    case 1:
        make_packet(r);
        if (srtp_twins_give(&twins, *now, bytes_of(last, last_len)) == SRTP_OK &&
            srtp_twins_give(&twins, *now, bytes_of(last, last_len)) != SRTP_DROP_REPLAY) {
            abort();
        }
        break;
    case 2:
        move_index(r);
        break;
    case 3:
        (void)srtp_twins_give(&twins, *now, bytes_of(last, last_len));
        break;
    case 4:
        give_damaged(r, *now);
        break;
    case 5:
        give_raw(r, *now);
        break;
    case 6:
        *now = mono_add_ms(*now, (int64_t)rd_u8(r) * 500);
        break;
    default: {
        uint8_t const what = rd_u8(r);
        if (what >= SOURCES) {
            srtp_twins_release(&twins, what % SOURCES);
        } else {
            (void)srtp_twins_bind(&twins, what);
        }
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd r = rd_init(bytes_of(data, size));
    mono_t now = {0};
    srtp_twins_init(&twins);
    memset(next_index, 0, sizeof(next_index));
    last_len = 0;
    for (int i = 0; i < COMMANDS_MAX && rd_left(&r) > 0; i++) {
        command(&r, &now);
    }
    srtp_twins_done(&twins);
    return 0;
}
