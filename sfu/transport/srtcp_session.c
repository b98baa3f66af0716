// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/srtcp_session.h"

#include "common/base/mem.h"
#include "sfu/transport/srtp_kdf.h"

#define HEADER_LEN 8 // stays in the clear
#define INDEX_LEN 4
#define TAG_LEN 10
#define E_FLAG UINT32_C(0x80000000)
#define INDEX_MAX UINT32_C(0x7fffffff)
// Anti-replay per sender SSRC. When all places are used the oldest is given to the new one: a peer
// has one RTCP sender per sending track at most.
#define SOURCES_MAX 1024
#define WINDOW_BITS 64

struct source {
    uint32_t ssrc;
    uint32_t highest; // bit 0 of window stands for it
    uint64_t window;
};

struct direction {
    struct srtp_kdf_keys keys;
    struct crypto_ctr *ctr;
};

struct srtcp_session {
    struct direction out;
    struct direction in;
    uint32_t next_index;
    uint32_t source_count;
    uint32_t source_victim;
    uint32_t source_cap;
    struct source *sources;
};

static int direction_init(struct direction *d, const struct srtp_master *master)
{
    int const e = srtp_kdf_derive(master, true, &d->keys);
    return e < 0 ? e : crypto_ctr_new(d->keys.key, &d->ctr);
}

int srtcp_session_new(const struct srtp_keys *keys, struct srtcp_session **ret)
{
    struct srtcp_session *const s = NEW(struct srtcp_session);
    if (s == NULL) {
        return -ENOMEM;
    }
    int e = direction_init(&s->out, &keys->local);
    if (e == 0) {
        e = direction_init(&s->in, &keys->remote);
    }
    if (e < 0) {
        srtcp_session_free(s);
        return e;
    }
    *ret = s;
    return 0;
}

void srtcp_session_free(struct srtcp_session *s)
{
    if (s == NULL) {
        return;
    }
    crypto_ctr_free(s->out.ctr);
    crypto_ctr_free(s->in.ctr);
    mem_free(s->sources);
    crypto_wipe(s, sizeof(*s));
    mem_free(s);
}

static uint32_t be32_at(const uint8_t *p)
{
    struct rd r = rd_init(bytes_of(p, 4));
    return rd_be32(&r);
}

// Encrypts or decrypts what follows the header.
static int crypt(struct direction *d, uint8_t *packet, size_t len, uint32_t index)
{
    uint8_t iv[CRYPTO_AES_BLOCK_LEN];
    if (len == HEADER_LEN) {
        return 0;
    }
    srtp_kdf_iv(&d->keys, be32_at(packet + 4), index, iv);
    return crypto_ctr_xor(d->ctr, iv, (struct bytes_mut){packet + HEADER_LEN, len - HEADER_LEN});
}

int srtcp_session_protect(struct srtcp_session *s, uint8_t *buf, size_t cap, size_t *len)
{
    uint8_t tag[CRYPTO_SHA1_LEN];
    if (*len < HEADER_LEN) {
        return -EINVAL;
    }
    if (cap < *len || cap - *len < SRTP_RTCP_OVERHEAD) {
        return -ENOBUFS;
    }
    if (s->next_index > INDEX_MAX) {
        return -EPROTO;
    }
    uint32_t const index = s->next_index++;
    int const e = crypt(&s->out, buf, *len, index);
    if (e < 0) {
        return e;
    }
    struct wr w = wr_init(buf + *len, SRTP_RTCP_OVERHEAD);
    wr_be32(&w, E_FLAG | index);
    crypto_hmac_sha1(&s->out.keys.hmac, bytes_of(buf, *len + INDEX_LEN), tag);
    wr_bytes(&w, bytes_of(tag, TAG_LEN));
    *len += SRTP_RTCP_OVERHEAD;
    return 0;
}

static struct source *find_source(struct srtcp_session *s, uint32_t ssrc)
{
    for (uint32_t i = 0; i < s->source_count; i++) {
        if (s->sources[i].ssrc == ssrc) {
            return &s->sources[i];
        }
    }
    return NULL;
}

static enum srtp_drop check_replay(const struct source *src, uint32_t index)
{
    if (src == NULL || index > src->highest) {
        return SRTP_OK;
    }
    uint32_t const behind = src->highest - index;
    if (behind >= WINDOW_BITS) {
        return SRTP_DROP_OLD;
    }
    return (src->window >> behind) & 1 ? SRTP_DROP_REPLAY : SRTP_OK;
}

static struct source *add_source(struct srtcp_session *s, uint32_t ssrc)
{
    if (s->source_count == s->source_cap && s->source_cap < SOURCES_MAX) {
        uint32_t const cap = s->source_cap == 0 ? 2 : s->source_cap * 2;
        struct source *const grown = mem_regrow(s->sources, cap, sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        s->sources = grown;
        s->source_cap = cap;
    }
    struct source *src = NULL;
    if (s->source_count < s->source_cap) {
        src = &s->sources[s->source_count++];
    } else {
        src = &s->sources[s->source_victim++ % SOURCES_MAX];
    }
    *src = (struct source){.ssrc = ssrc};
    return src;
}

static void mark_seen(struct source *src, uint32_t index)
{
    if (src->window == 0) {
        src->highest = index;
        src->window = 1;
    } else if (index > src->highest) {
        uint32_t const ahead = index - src->highest;
        src->window = ahead < WINDOW_BITS ? (src->window << ahead) | 1 : 1;
        src->highest = index;
    } else {
        src->window |= UINT64_C(1) << (src->highest - index);
    }
}

enum srtp_drop srtcp_session_unprotect(struct srtcp_session *s, struct bytes_mut *packet)
{
    uint8_t tag[CRYPTO_SHA1_LEN];
    if (packet->n < HEADER_LEN + SRTP_RTCP_OVERHEAD || packet->p[0] >> 6 != 2) {
        return SRTP_DROP_MALFORMED;
    }
    size_t const len = packet->n - SRTP_RTCP_OVERHEAD;
    uint32_t const trailer = be32_at(packet->p + len);
    uint32_t const index = trailer & INDEX_MAX;
    if ((trailer & E_FLAG) == 0) {
        return SRTP_DROP_MALFORMED; // the profile encrypts
    }
    uint32_t const ssrc = be32_at(packet->p + 4);
    struct source *src = find_source(s, ssrc);
    enum srtp_drop const drop = check_replay(src, index);
    if (drop != SRTP_OK) {
        return drop;
    }
    crypto_hmac_sha1(&s->in.keys.hmac, bytes_of(packet->p, len + INDEX_LEN), tag);
    if (!bytes_eq_consttime(bytes_of(tag, TAG_LEN),
                            bytes_of(packet->p + len + INDEX_LEN, TAG_LEN))) {
        return SRTP_DROP_AUTH;
    }
    if (src == NULL) {
        src = add_source(s, ssrc);
    }
    if (src == NULL || crypt(&s->in, packet->p, len, index) < 0) {
        return SRTP_DROP_LIBRARY;
    }
    mark_seen(src, index);
    packet->n = len;
    return SRTP_OK;
}
