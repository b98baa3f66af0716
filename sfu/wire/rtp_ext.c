// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/rtp_ext.h"

static const char *const uris[RTP_EXT_COUNT] = {
    [RTP_EXT_NONE] = "",
    [RTP_EXT_MID] = "urn:ietf:params:rtp-hdrext:sdes:mid",
    [RTP_EXT_RID] = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    [RTP_EXT_RRID] = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    [RTP_EXT_AUDIO_LEVEL] = "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    [RTP_EXT_TRANSPORT_CC] =
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    [RTP_EXT_ABS_SEND_TIME] = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    [RTP_EXT_ABS_CAPTURE_TIME] = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    [RTP_EXT_DEPENDENCY_DESCRIPTOR] =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
    [RTP_EXT_VIDEO_LAYERS_ALLOCATION] =
        "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
    [RTP_EXT_PLAYOUT_DELAY] = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    [RTP_EXT_VIDEO_ORIENTATION] = "urn:3gpp:video-orientation",
    [RTP_EXT_VIDEO_CONTENT_TYPE] =
        "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
    [RTP_EXT_VIDEO_TIMING] = "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
    [RTP_EXT_COLOR_SPACE] = "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
    [RTP_EXT_TOFFSET] = "urn:ietf:params:rtp-hdrext:toffset",
    [RTP_EXT_FRAME_MARKING] = "http://tools.ietf.org/html/draft-ietf-avtext-framemarking-07",
};

#define ONE_BYTE_STOP_ID 15u
#define TWO_BYTE_LEN_MAX 255u

const char *rtp_ext_uri(enum rtp_ext_type t)
{
    return uris[(unsigned)t < RTP_EXT_COUNT ? t : RTP_EXT_NONE];
}

enum rtp_ext_type rtp_ext_by_uri(struct bytes uri)
{
    for (unsigned i = RTP_EXT_NONE + 1; i < RTP_EXT_COUNT; i++) {
        if (bytes_eq_str(uri, uris[i])) {
            return (enum rtp_ext_type)i;
        }
    }
    return RTP_EXT_NONE;
}

void rtp_ext_iter_init(struct rtp_ext_iter *it, const struct rtp_header *h)
{
    struct bytes block = h->has_ext ? h->ext : (struct bytes){NULL, 0};
    // The low four bits of the two-byte profile are for the application (RFC 8285 section 4.3).
    it->two_byte = (h->ext_profile & 0xfff0u) == RTP_EXT_PROFILE_TWO_BYTE;
    if (!it->two_byte && h->ext_profile != RTP_EXT_PROFILE_ONE_BYTE) {
        block = (struct bytes){NULL, 0};
    }
    it->r = rd_init(block);
}

bool rtp_ext_next(struct rtp_ext_iter *it, struct rtp_ext_elem *ret)
{
    struct rd *const r = &it->r;
    while (rd_left(r) > 0) {
        uint8_t const b = rd_u8(r);
        uint8_t id;
        size_t len;
        if (it->two_byte) {
            id = b;
            if (id == 0) {
                continue;
            }
            len = rd_u8(r);
        } else {
            id = b >> 4;
            if (id == 0) {
                // RFC 8285 section 4.2: a padding byte is all zero; id 0 with a length is skipped
                // with its data.
                rd_skip(r, b == 0 ? 0 : (b & 0x0fu) + 1u);
                continue;
            }
            if (id == ONE_BYTE_STOP_ID) {
                rd_fail(r);
                return false;
            }
            len = (b & 0x0fu) + 1u;
        }
        struct bytes const data = rd_take(r, len);
        if (!rd_ok(r)) {
            return false;
        }
        *ret = (struct rtp_ext_elem){id, data};
        return true;
    }
    return false;
}

bool rtp_ext_find(const struct rtp_header *h, uint8_t id, struct bytes *ret)
{
    if (id == 0) {
        return false;
    }
    struct rtp_ext_iter it;
    struct rtp_ext_elem e;
    rtp_ext_iter_init(&it, h);
    while (rtp_ext_next(&it, &e)) {
        if (e.id == id) {
            *ret = e.data;
            return true;
        }
    }
    return false;
}

static bool fits_one_byte(const struct rtp_ext_elem *e)
{
    return e->id <= RTP_EXT_ONE_BYTE_ID_MAX && e->data.n >= 1 &&
           e->data.n <= RTP_EXT_ONE_BYTE_LEN_MAX;
}

void rtp_ext_write(struct wr *w, const struct rtp_ext_elem *elems, size_t n, uint16_t *ret_off)
{
    if (n == 0) {
        return;
    }
    bool one_byte = true;
    for (size_t i = 0; i < n; i++) {
        one_byte = one_byte && fits_one_byte(&elems[i]);
        if (elems[i].id == 0 || elems[i].data.n > TWO_BYTE_LEN_MAX) {
            w->err = true;
            return;
        }
    }
    wr_be16(w, one_byte ? RTP_EXT_PROFILE_ONE_BYTE : RTP_EXT_PROFILE_TWO_BYTE);
    size_t const at = wr_mark16(w);
    size_t const start = wr_len(w);
    for (size_t i = 0; i < n; i++) {
        size_t const len = elems[i].data.n;
        if (one_byte) {
            wr_u8(w, (uint8_t)((unsigned)elems[i].id << 4 | (unsigned)(len - 1)));
        } else {
            wr_u8(w, elems[i].id);
            wr_u8(w, (uint8_t)len);
        }
        if (ret_off) {
            ret_off[i] = (uint16_t)wr_len(w);
        }
        if (elems[i].data.p) {
            wr_bytes(w, elems[i].data);
        } else {
            wr_fill(w, 0, len);
        }
    }
    size_t const len = wr_len(w) - start;
    wr_fill(w, 0, (4 - len % 4) % 4);
    wr_patch16(w, at, (uint16_t)((len + 3) / 4));
}

void rtp_write_with_ext(struct wr *w, const struct rtp_header *h, const struct rtp_ext_elem *elems,
                        size_t n, uint16_t *ret_off)
{
    struct rtp_header fixed = *h;
    fixed.has_ext = false;
    size_t const start = wr_len(w);
    rtp_write(w, &fixed);
    if (n > 0 && wr_ok(w)) {
        w->base[start] |= 0x10; // X
        rtp_ext_write(w, elems, n, ret_off);
    }
}

// ---- values ---------------------------------------------------------------------------------

bool rtp_ext_audio_level(struct bytes data, uint8_t *ret_level, bool *ret_voice)
{
    if (data.n < 1) {
        return false;
    }
    *ret_level = data.p[0] & 0x7f;
    *ret_voice = (data.p[0] & 0x80) != 0;
    return true;
}

uint8_t rtp_ext_audio_level_byte(uint8_t level, bool voice)
{
    return (uint8_t)((voice ? 0x80u : 0u) | MIN(level, 0x7fu));
}

bool rtp_ext_transport_cc(struct bytes data, uint16_t *ret_sn)
{
    struct rd r = rd_init(data);
    uint16_t const sn = rd_be16(&r);
    if (!rd_ok(&r)) {
        return false;
    }
    *ret_sn = sn;
    return true;
}

uint32_t rtp_ext_abs_send_time_from_us(int64_t us)
{
    // 6.18 fixed point: seconds << 18, modulo 64 s. Reduced first, so that the product cannot
    // overflow.
    uint64_t const in_64s = (uint64_t)us % UINT64_C(64000000);
    return (uint32_t)((in_64s << 18) / 1000000u) & 0xffffffu;
}

void rtp_ext_playout_delay_write(struct wr *w, uint16_t min_10ms, uint16_t max_10ms)
{
    wr_be24(w, ((uint32_t)MIN(min_10ms, 0xfffu) << 12) | MIN(max_10ms, 0xfffu));
}

bool rtp_ext_playout_delay(struct bytes data, uint16_t *ret_min_10ms, uint16_t *ret_max_10ms)
{
    struct rd r = rd_init(data);
    uint32_t const v = rd_be24(&r);
    if (!rd_ok(&r)) {
        return false;
    }
    *ret_min_10ms = (uint16_t)(v >> 12);
    *ret_max_10ms = v & 0xfffu;
    return true;
}
