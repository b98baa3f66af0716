// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/srtp_session.h"

#include "common/base/mem.h"
#include "sfu/transport/srtp_kdf.h"

#define FIXED_HEADER_LEN 12
#define TAG_LEN SRTP_RTP_OVERHEAD
#define ROC_LEN 4
// RFC 9335 section 4: one-byte and two-byte header extensions, encrypted.
#define CRYPTEX_ONE_BYTE 0xc0de
#define CRYPTEX_TWO_BYTE 0xc2de

#define WORD_BITS 64
#define WINDOW_WORDS (SRTP_TRANSPORT_WINDOW / WORD_BITS)
_Static_assert(SRTP_TRANSPORT_WINDOW % WORD_BITS == 0, "the window is made of words");

struct stream {
    uint64_t highest; // index
    // Bit (index % SRTP_TRANSPORT_WINDOW) stands for the newest such index up to `highest`.
    uint64_t seen[WINDOW_WORDS];
};

struct srtp_session {
    struct srtp_kdf_keys keys;
    struct crypto_ctr *ctr;
    uint32_t count, cap;
    uint32_t *ssrcs; // apart from the streams: one search, few cache lines
    struct stream *streams;
};

int srtp_session_new(const struct srtp_master *remote, struct srtp_session **ret)
{
    struct srtp_session *const s = NEW(struct srtp_session);
    if (s == NULL) {
        return -ENOMEM;
    }
    int e = srtp_kdf_derive(remote, false, &s->keys);
    if (e == 0) {
        e = crypto_ctr_new(s->keys.key, &s->ctr);
    }
    if (e == 0) {
        e = srtp_session_reserve(s, SRTP_SESSION_STREAMS);
    }
    if (e < 0) {
        srtp_session_free(s);
        return e;
    }
    *ret = s;
    return 0;
}

void srtp_session_free(struct srtp_session *s)
{
    if (s == NULL) {
        return;
    }
    crypto_ctr_free(s->ctr);
    crypto_wipe(&s->keys, sizeof(s->keys));
    mem_free(s->ssrcs);
    mem_free(s->streams);
    mem_free(s);
}

int srtp_session_reserve(struct srtp_session *s, uint32_t count)
{
    if (count <= s->cap) {
        return 0;
    }
    uint32_t *const ssrcs = mem_regrow(s->ssrcs, count, sizeof(*ssrcs));
    if (ssrcs == NULL) {
        return -ENOMEM;
    }
    s->ssrcs = ssrcs;
    struct stream *const streams = mem_regrow(s->streams, count, sizeof(*streams));
    if (streams == NULL) {
        return -ENOMEM;
    }
    s->streams = streams;
    s->cap = count;
    return 0;
}

bool srtp_session_parse(struct bytes packet, struct srtp_session_header *ret)
{
    struct rd r = rd_init(packet);
    uint8_t const first = rd_u8(&r);
    rd_skip(&r, 1);
    uint16_t const seq = rd_be16(&r);
    rd_skip(&r, 4);
    uint32_t const ssrc = rd_be32(&r);
    rd_skip(&r, (size_t)(first & 0x0f) * 4);
    if ((first & 0x10) != 0) {
        uint16_t const profile = rd_be16(&r);
        rd_skip(&r, (size_t)rd_be16(&r) * 4);
        if (profile == CRYPTEX_ONE_BYTE || profile == CRYPTEX_TWO_BYTE) {
            return false;
        }
    }
    if (!rd_ok(&r) || first >> 6 != 2 || rd_left(&r) < TAG_LEN || packet.n > UINT16_MAX) {
        return false;
    }
    *ret = (struct srtp_session_header){.ssrc = ssrc, .seq = seq, .len = packet.n - rd_left(&r)};
    return true;
}

// ---- streams --------------------------------------------------------------------------------

static struct stream *find_stream(struct srtp_session *s, uint32_t ssrc)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->ssrcs[i] == ssrc) {
            return &s->streams[i];
        }
    }
    return NULL;
}

static struct stream *add_stream(struct srtp_session *s, uint32_t ssrc, uint64_t index)
{
    struct stream *const st = &s->streams[s->count];
    s->ssrcs[s->count++] = ssrc;
    *st = (struct stream){.highest = index};
    return st;
}

void srtp_session_forget(struct srtp_session *s, uint32_t ssrc)
{
    struct stream *const st = find_stream(s, ssrc);
    if (st != NULL) {
        s->count--;
        s->ssrcs[st - s->streams] = s->ssrcs[s->count];
        *st = s->streams[s->count];
    }
}

// ---- replay window --------------------------------------------------------------------------

static uint64_t *word_of(struct stream *st, uint64_t index)
{
    return &st->seen[index / WORD_BITS % WINDOW_WORDS];
}

static uint64_t bit_of(uint64_t index)
{
    return UINT64_C(1) << index % WORD_BITS;
}

static enum srtp_drop check_replay(struct stream *st, uint64_t index)
{
    if (index > st->highest) {
        return SRTP_OK;
    }
    if (st->highest - index >= SRTP_TRANSPORT_WINDOW) {
        return SRTP_DROP_OLD;
    }
    return (*word_of(st, index) & bit_of(index)) != 0 ? SRTP_DROP_REPLAY : SRTP_OK;
}

static void mark_seen(struct stream *st, uint64_t index)
{
    if (index > st->highest && index - st->highest >= SRTP_TRANSPORT_WINDOW) {
        memset(st->seen, 0, sizeof(st->seen));
        st->highest = index;
    }
    while (st->highest < index) {
        st->highest++;
        *word_of(st, st->highest) &= ~bit_of(st->highest);
    }
    *word_of(st, index) |= bit_of(index);
}

// ---- packets --------------------------------------------------------------------------------

// The tag covers the packet and the ROC, which is written over the start of the tag meanwhile.
static bool is_authentic(const struct srtp_session *s, const struct bytes_mut *packet, uint32_t roc)
{
    uint8_t received[TAG_LEN];
    uint8_t expected[CRYPTO_SHA1_LEN];
    size_t const len = packet->n - TAG_LEN;
    struct wr w = wr_init(packet->p + len, ROC_LEN);
    memcpy(received, packet->p + len, TAG_LEN);
    wr_be32(&w, roc);
    crypto_hmac_sha1(&s->keys.hmac, bytes_of(packet->p, len + ROC_LEN), expected);
    memcpy(packet->p + len, received, ROC_LEN);
    return bytes_eq_consttime(bytes_of(received, TAG_LEN), bytes_of(expected, TAG_LEN));
}

static bool decrypt(struct srtp_session *s, const struct srtp_session_header *h,
                    const struct bytes_mut *packet, uint64_t index)
{
    uint8_t iv[CRYPTO_AES_BLOCK_LEN];
    struct bytes_mut const payload = {packet->p + h->len, packet->n - TAG_LEN - h->len};
    if (payload.n == 0) {
        return true;
    }
    srtp_kdf_iv(&s->keys, h->ssrc, index, iv);
    return crypto_ctr_xor(s->ctr, iv, payload) == 0;
}

enum srtp_drop srtp_session_unprotect(struct srtp_session *s, const struct srtp_session_header *h,
                                      struct bytes_mut *packet)
{
    struct stream *st = find_stream(s, h->ssrc);
    uint64_t const index = st != NULL ? srtp_session_guess(st->highest, h->seq) : h->seq;
    if (index > SRTP_SESSION_INDEX_MAX) {
        return SRTP_DROP_LIBRARY;
    }
    if (st != NULL) {
        enum srtp_drop const drop = check_replay(st, index);
        if (drop != SRTP_OK) {
            return drop;
        }
    }
    if (!is_authentic(s, packet, (uint32_t)(index >> 16))) {
        return SRTP_DROP_AUTH;
    }
    if (st == NULL && s->count == s->cap) {
        return SRTP_DROP_SSRC_LIMIT;
    }
    if (!decrypt(s, h, packet, index)) {
        return SRTP_DROP_LIBRARY;
    }
    if (st == NULL) {
        st = add_stream(s, h->ssrc, index);
    }
    mark_seen(st, index);
    packet->n -= TAG_LEN;
    return SRTP_OK;
}
