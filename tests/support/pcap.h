// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads the recordings in tests/data/media: classic pcap (little endian, microseconds), link type
// 101 (raw IPv4), UDP. For tests only: it stops the program when a file is missing or not of this
// form.

#include "common/base/bytes.h"
#include "common/base/mono.h"

struct pcap_file {
    uint8_t *data;
    size_t n;
    size_t pos;
    unsigned index; // of the packet returned last, from 1
};

struct pcap_packet {
    mono_t at;         // time of the record
    bool from_client;  // sent by 192.0.2.1, the browser
    bool rtcp;         // by RFC 5761: second byte 192 to 223
    bool cut;          // the record was truncated
    struct bytes data; // UDP payload, as far as it was kept
    size_t full_len;   // UDP payload on the wire
};

// `name`: a file of tests/data/media, with its ending. Run from the root of the tree.
void pcap_file_open(struct pcap_file *f, const char *name);
void pcap_file_close(struct pcap_file *f);
// False at the end.
bool pcap_file_next(struct pcap_file *f, struct pcap_packet *ret);
