// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the test client sends as media: made-up bytes that tell who sent them, when, and whether
// they arrived whole. Pure.
//
//   0                   1                   2                   3
//  |  'F'          |  'c'          |    track      |    layer      |
//  |    flags      |                  0                            |
//  |                          publisher                            |
//  |                     counter of the encoding                   |
//  |                      frame of the encoding                    |
//  |                 time of sending, monotonic us (64)            |
//  |                        total length                           |
//  |                    CRC-32 of all of the above                 |
//  |  filler that depends on the counter ...

#include "common/base/bytes.h"

#define CLIENT_PATTERN_LEN 36u // without filler

struct client_pattern {
    uint32_t publisher;
    uint8_t track;
    uint8_t layer;
    uint8_t flags; // free for the sender
    uint32_t counter;
    uint32_t frame;
    int64_t sent_us; // CLOCK_MONOTONIC: comparable between processes of one host
};

// Writes total bytes (at least CLIENT_PATTERN_LEN; less sets w->err).
void client_pattern_write(struct wr *w, const struct client_pattern *p, size_t total);

// Reads and checks every byte. -ENOMSG: not ours (servers end a track with blank frames). -EBADMSG:
// cut, grown or changed.
int client_pattern_read(struct bytes in, struct client_pattern *ret) NODISCARD;
