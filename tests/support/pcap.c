// SPDX-License-Identifier: Apache-2.0
#include "tests/support/pcap.h"

#include <stdio.h>
#include <stdlib.h>

#define PCAP_MAGIC 0xa1b2c3d4u
#define PCAP_LINK_RAW_IP 101u
#define IPV4_UDP_LEN 28u

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void die(const char *name, const char *why)
{
    (void)fprintf(stderr, "%s: %s (run tests from the root of the tree)\n", name, why);
    exit(1);
}

void pcap_file_open(struct pcap_file *f, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "tests/data/media/%s", name);
    FILE *const in = fopen(path, "rb");
    if (in == NULL) {
        die(path, "cannot be opened");
        return;
    }
    (void)fseek(in, 0, SEEK_END);
    long const size = ftell(in);
    rewind(in);
    *f = (struct pcap_file){.n = size > 0 ? (size_t)size : 0};
    f->data = malloc(f->n > 0 ? f->n : 1);
    if (f->data == NULL || fread(f->data, 1, f->n, in) != f->n) {
        die(path, "cannot be read");
    }
    (void)fclose(in);
    if (f->n < 24 || le32(f->data) != PCAP_MAGIC || le32(f->data + 20) != PCAP_LINK_RAW_IP) {
        die(path, "is not a pcap of link type 101");
    }
    f->pos = 24;
}

void pcap_file_close(struct pcap_file *f)
{
    free(f->data);
    *f = (struct pcap_file){0};
}

bool pcap_file_next(struct pcap_file *f, struct pcap_packet *ret)
{
    if (f->n - f->pos < 16) {
        return false;
    }
    const uint8_t *const h = f->data + f->pos;
    size_t const len = le32(h + 8);
    size_t const full = le32(h + 12);
    if (f->n - f->pos - 16 < len || len < IPV4_UDP_LEN + 2 || full < len) {
        die("recording", "is damaged");
    }
    const uint8_t *const ip = h + 16;
    const uint8_t *const payload = ip + IPV4_UDP_LEN;
    f->pos += 16 + len;
    f->index++;
    *ret = (struct pcap_packet){
        .at = {(int64_t)le32(h) * US_PER_S + (int64_t)le32(h + 4)},
        .from_client = ip[15] == 1,
        .rtcp = payload[1] >= 192 && payload[1] <= 223,
        .cut = full > len,
        .data = {payload, len - IPV4_UDP_LEN},
        .full_len = full - IPV4_UDP_LEN,
    };
    return true;
}
