// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// A live association whose peer goes mad: a sequence of {operation, length (two bytes), bytes}.
#include <stdlib.h>

#include "common/base/mem.h"
#include "sfu/transport/sctp_transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum operation {
    OP_RAW,    // bytes as a packet
    OP_CHUNKS, // bytes as chunks of a packet with the right ports, tag and checksum
    OP_MUTATE, // the peer's next packet with some bytes changed and the checksum put right:
               // {offset, mask}...
    OP_PUMP,
    OP_TICK,
    OP_OPEN,
    OP_SEND,
    OP_CLOSE,
    OP_COUNT,
};

#define HEADER_LEN 12
#define PACKET_MAX 2048

struct pair {
    struct sctp_transport *t[2];
    uint8_t header[HEADER_LEN]; // of the last packet from 1 to 0
};

static mono_t now; // SCTP timers are process-wide

// RFC 9260 appendix A.
static uint32_t crc32c(const uint8_t *p, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) {
            crc = (crc >> 1) ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
        }
    }
    return ~crc;
}

static void inject(struct pair *p, uint8_t *packet, size_t n)
{
    if (n >= HEADER_LEN) {
        memset(packet + 8, 0, 4);
        uint32_t const crc = crc32c(packet, n);
        for (size_t i = 0; i < 4; i++) {
            packet[8 + i] = (uint8_t)(crc >> (8 * i));
        }
    }
    uint8_t *const exact = mem_alloc(n);
    memcpy(exact, packet, n);
    sctp_transport_input(p->t[0], bytes_of(exact, n));
    mem_free(exact);
}

static void take_events(struct sctp_transport *t)
{
    struct sctp_event e;
    uint8_t sum = 0;
    while (sctp_transport_poll_event(t, &e)) {
        for (size_t i = 0; e.kind == SCTP_EVENT_MESSAGE && i < e.data.n; i++) {
            sum ^= e.data.p[i]; // readable
        }
    }
    (void)sum;
}

// Moves at most `limit` packets each way.
static void pump(struct pair *p, size_t limit)
{
    struct bytes b;
    for (size_t i = 0; i < limit; i++) {
        bool moved = false;
        for (size_t k = 0; k < 2; k++) {
            if (sctp_transport_next_output(p->t[k], &b)) {
                moved = true;
                if (k == 1 && b.n >= HEADER_LEN) {
                    memcpy(p->header, b.p, HEADER_LEN);
                }
                sctp_transport_input(p->t[1 - k], b);
            }
            take_events(p->t[k]);
        }
        if (!moved) {
            return;
        }
    }
}

static void mutate(struct pair *p, struct bytes changes)
{
    static uint8_t packet[PACKET_MAX];
    struct bytes b;
    if (!sctp_transport_next_output(p->t[1], &b) || b.n > sizeof(packet)) {
        return;
    }
    memcpy(packet, b.p, b.n);
    for (size_t i = 0; i + 1 < changes.n; i += 2) {
        packet[changes.p[i] % b.n] ^= changes.p[i + 1];
    }
    inject(p, packet, b.n);
}

static void chunks(struct pair *p, struct bytes body)
{
    static uint8_t packet[PACKET_MAX];
    size_t const n = MIN(body.n, sizeof(packet) - HEADER_LEN);
    memcpy(packet, p->header, HEADER_LEN);
    if (n > 0) {
        memcpy(packet + HEADER_LEN, body.p, n);
    }
    inject(p, packet, HEADER_LEN + n);
}

static void operate(struct sctp_hub *hub, struct pair *p, enum operation op, struct bytes body)
{
    static uint8_t packet[PACKET_MAX];
    uint8_t const first = body.n > 0 ? body.p[0] : 0;
    struct data_channel_params const params = {
        .label = bytes_of(body.p, MIN(body.n, DATA_CHANNEL_LABEL_MAX)),
        .unordered = first & 1,
        .reliability_kind = first % 3,
    };
    uint16_t id = 0;
    switch (op) {
    case OP_RAW:
        memcpy(packet, body.n > 0 ? body.p : packet, MIN(body.n, sizeof(packet)));
        sctp_transport_input(p->t[0], bytes_of(packet, MIN(body.n, sizeof(packet))));
        break;
    case OP_CHUNKS:
        chunks(p, body);
        break;
    case OP_MUTATE:
        mutate(p, body);
        break;
    case OP_PUMP:
        pump(p, 1 + body.n % 64);
        break;
    case OP_TICK:
        now = mono_add_ms(now, 10 + 4 * first);
        sctp_hub_tick(hub, now);
        while (sctp_hub_next_ready(hub) != NULL) {
        }
        break;
    case OP_OPEN:
        (void)!sctp_transport_open_channel(p->t[first & 1], &params, &id);
        break;
    case OP_SEND:
        (void)!sctp_transport_send(p->t[first & 1], first / 2 % 8, first & 1, body);
        break;
    case OP_CLOSE:
        (void)!sctp_transport_close_channel(p->t[first & 1], first / 2 % 8);
        break;
    case OP_COUNT:
        break;
    }
    take_events(p->t[0]);
    take_events(p->t[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd in = rd_init(bytes_of(data, size));
    struct sctp_hub *hub = NULL;
    struct pair p = {0};
    uint8_t const first = rd_u8(&in);
    if (sctp_hub_new(NULL, NULL, &hub) < 0 || sctp_transport_new(hub, NULL, &p.t[0]) < 0 ||
        sctp_transport_new(hub, NULL, &p.t[1]) < 0 || sctp_transport_start(p.t[0], true, 0) < 0 ||
        sctp_transport_start(p.t[1], false, 0) < 0) {
        abort();
    }
    // Half of the inputs begin with the association up, the others in the middle of its making.
    pump(&p, first & 1 ? 100 : first / 2 % 4);
    while (rd_left(&in) >= 3) {
        enum operation const op = (enum operation)(rd_u8(&in) % OP_COUNT);
        size_t const n = rd_be16(&in);
        operate(hub, &p, op, rd_take(&in, MIN(n, rd_left(&in))));
    }
    sctp_transport_free(p.t[0]);
    sctp_transport_free(p.t[1]);
    sctp_hub_free(hub);
    return 0;
}
