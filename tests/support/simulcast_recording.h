// SPDX-License-Identifier: Apache-2.0
#pragma once
// The recorded simulcast publishers of tests/data/media/video-*.pcap: which SSRC is which layer,
// and the ids of their header extensions. Video and sender reports only, payloads cut to 24 bytes
// behind the header.

#include "sfu/wire/rtp_ext.h"
#include "tests/support/pcap.h"

struct simulcast_recording {
    const char *file;
    uint32_t ssrc[3]; // q, h, f
    uint32_t rtx[3];
    uint8_t pt, rtx_pt;
    uint8_t ext_dd, ext_vla, ext_twcc; // 0 = not in use
};

static const struct simulcast_recording simulcast_cr_nodd = {
    .file = "video-cr-vp8-simulcast-nodd.pcap",
    .ssrc = {0x39d90315, 0xe83d1a4b, 0x89950292},
    .rtx = {0xbd559678, 0xc08739a7, 0x46c09335},
    .pt = 96,
    .rtx_pt = 97,
    .ext_twcc = 4,
};
static const struct simulcast_recording simulcast_cr_dd = {
    .file = "video-cr-vp8-simulcast.pcap",
    .ssrc = {0xd657efe4, 0x20465f61, 0x267528e3},
    .rtx = {0x4d87bc13, 0x03889294, 0xe6618912},
    .pt = 96,
    .rtx_pt = 97,
    .ext_twcc = 4,
    .ext_vla = 12,
    .ext_dd = 14,
};
static const struct simulcast_recording simulcast_ff = {
    .file = "video-ff-vp8-simulcast.pcap",
    .ssrc = {0x19980766, 0xdbeb48af, 0xc69a1827},
    .rtx = {0xea487074, 0xb26dcc96, 0xa443223e},
    .pt = 120,
    .rtx_pt = 124,
    .ext_twcc = 7,
};

// Layer of an SSRC, -1 if it is none of them.
static inline int simulcast_layer(const struct simulcast_recording *r, uint32_t ssrc, bool *ret_rtx)
{
    for (int i = 0; i < 3; i++) {
        if (ssrc == r->ssrc[i] || ssrc == r->rtx[i]) {
            *ret_rtx = ssrc == r->rtx[i];
            return i;
        }
    }
    return -1;
}
