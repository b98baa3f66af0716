// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads tests/data/transport/*.rec: records of {type (one character), length (two bytes, network
// order), bytes}.
//   hello_*  D: datagrams of a browser's first DTLS flight
//   srtp_*   K, k: master key and salt of client and server; C, S: SRTP or SRTCP packet from client
//   or server, each followed by
//            P: the same packet in plain text (AES_CM_128_HMAC_SHA1_80)

#include <stdio.h>
#include <stdlib.h>

#include "common/base/bytes.h"

struct rec_file {
    uint8_t data[65536];
    struct rd rd;
};

static inline void rec_file_open(struct rec_file *f, const char *path)
{
    FILE *const in = fopen(path, "rb");
    if (in == NULL) {
        fprintf(stderr, "cannot open %s (run from the project root)\n", path);
        abort();
    }
    size_t const n = fread(f->data, 1, sizeof(f->data), in);
    fclose(in);
    f->rd = rd_init(bytes_of(f->data, n));
}

static inline bool rec_file_next(struct rec_file *f, char *ret_type, struct bytes *ret)
{
    if (rd_left(&f->rd) == 0) {
        return false;
    }
    *ret_type = (char)rd_u8(&f->rd);
    *ret = rd_take(&f->rd, rd_be16(&f->rd));
    return rd_ok(&f->rd);
}
