// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/dcep.h"

// Channel types are the reliability in the lower bits and this flag (RFC 8832 section 5.1).
#define TYPE_UNORDERED 0x80

static int parse_open(struct rd *r, struct dcep_open *ret)
{
    struct dcep_open o = {0};
    uint8_t const type = rd_u8(r);
    o.priority = rd_be16(r);
    o.reliability = rd_be32(r);
    uint16_t const label_len = rd_be16(r);
    uint16_t const protocol_len = rd_be16(r);
    o.label = rd_take(r, label_len);
    o.protocol = rd_take(r, protocol_len);
    if (!rd_ok(r) || rd_left(r) != 0) {
        return -EBADMSG;
    }
    o.unordered = (type & TYPE_UNORDERED) != 0;
    o.reliability_kind = type & (uint8_t)~TYPE_UNORDERED;
    if (o.reliability_kind > DCEP_TIMED) {
        return -ENOTSUP;
    }
    *ret = o;
    return 0;
}

int dcep_parse(struct bytes data, struct dcep_message *ret)
{
    struct rd r = rd_init(data);
    struct dcep_message m = {.type = rd_u8(&r)};
    if (!rd_ok(&r)) {
        return -EBADMSG;
    }
    switch (m.type) {
    case DCEP_ACK:
        break;
    case DCEP_OPEN: {
        int const e = parse_open(&r, &m.open);
        if (e < 0) {
            return e;
        }
        break;
    }
    default:
        return -ENOTSUP;
    }
    *ret = m;
    return 0;
}

void dcep_write_open(struct wr *w, const struct dcep_open *open)
{
    if (open->label.n > UINT16_MAX || open->protocol.n > UINT16_MAX) {
        w->err = true;
        return;
    }
    wr_u8(w, DCEP_OPEN);
    wr_u8(w, (uint8_t)(open->reliability_kind | (open->unordered ? TYPE_UNORDERED : 0)));
    wr_be16(w, open->priority);
    wr_be32(w, open->reliability);
    wr_be16(w, (uint16_t)open->label.n);
    wr_be16(w, (uint16_t)open->protocol.n);
    wr_bytes(w, open->label);
    wr_bytes(w, open->protocol);
}

void dcep_write_ack(struct wr *w)
{
    wr_u8(w, DCEP_ACK);
}
