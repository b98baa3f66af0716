// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/dtls_record.h"

#include "common/base/mem.h"

#define VERSION_DTLS12 0xfefd
#define EXPLICIT_NONCE_LEN 8
#define AAD_LEN 13
#define ALERT_LEVEL_FATAL 2
#define ALERT_CLOSE_NOTIFY 0
#define SEQ_MAX ((UINT64_C(1) << 48) - 1)
// Anti-replay window (RFC 6347 section 4.1.2.6).
#define WINDOW_BITS 64

struct dtls_record {
    struct crypto_gcm *seal;
    struct crypto_gcm *open;
    uint8_t local_iv[4];
    uint8_t remote_iv[4];
    uint64_t next_seq_plain;
    uint64_t next_seq;
    uint64_t highest; // record number of the peer; bit 0 of window stands for it
    uint64_t window;
    bool has_finished;
    uint8_t finished[DTLS_FINISHED_LEN];
};

static void make_aad(uint64_t epoch_seq, uint8_t type, size_t len, uint8_t ret[static AAD_LEN])
{
    struct wr w = wr_init(ret, AAD_LEN);
    wr_be64(&w, epoch_seq);
    wr_u8(&w, type);
    wr_be16(&w, VERSION_DTLS12);
    wr_be16(&w, (uint16_t)len);
}

static void make_iv(const uint8_t salt[static 4], const uint8_t nonce[static EXPLICIT_NONCE_LEN],
                    uint8_t ret[static CRYPTO_GCM_IV_LEN])
{
    memcpy(ret, salt, 4);
    memcpy(ret + 4, nonce, EXPLICIT_NONCE_LEN);
}

// Decrypts the payload of an epoch 1 record in place.
static int open_with(struct crypto_gcm *gcm, const uint8_t salt[static 4],
                     const struct dtls_record_view *rec, struct bytes_mut *ret)
{
    if (rec->payload.n < EXPLICIT_NONCE_LEN + CRYPTO_GCM_TAG_LEN) {
        return -EBADMSG;
    }
    uint8_t aad[AAD_LEN];
    uint8_t iv[CRYPTO_GCM_IV_LEN];
    size_t const len = rec->payload.n - EXPLICIT_NONCE_LEN - CRYPTO_GCM_TAG_LEN;
    struct bytes_mut const text = {(uint8_t *)(uintptr_t)rec->payload.p + EXPLICIT_NONCE_LEN, len};

    make_aad(((uint64_t)rec->epoch << 48) | rec->seq, rec->type, len, aad);
    make_iv(salt, rec->payload.p, iv);
    int const e = crypto_gcm_open(gcm, iv, bytes_of(aad, sizeof(aad)), text, text.p + len);
    if (e == 0) {
        *ret = text;
    }
    return e;
}

// Recovers the plain text of our own Finished, so that it can be sent again under another record
// number.
static int recover_finished(struct dtls_record *r, const uint8_t key[static CRYPTO_AES128_KEY_LEN],
                            struct bytes last)
{
    uint8_t copy[128];
    struct dtls_record_view rec;
    struct bytes_mut text;
    struct crypto_gcm *gcm = NULL;

    if (last.n > sizeof(copy)) {
        return -EBADMSG;
    }
    memcpy(copy, last.p, last.n);
    struct rd rd = rd_init(bytes_of(copy, last.n));
    if (dtls_record_next(&rd, &rec) < 0 || rec.type != DTLS_HANDSHAKE || rec.epoch != 1) {
        return -EBADMSG;
    }
    int e = crypto_gcm_new(key, false, &gcm);
    if (e < 0) {
        return e;
    }
    e = open_with(gcm, r->local_iv, &rec, &text);
    crypto_gcm_free(gcm);
    if (e < 0 || text.n != DTLS_FINISHED_LEN) {
        return -EBADMSG;
    }
    memcpy(r->finished, text.p, text.n);
    r->has_finished = true;
    return 0;
}

int dtls_record_new(const struct dtls_record_keys *keys, struct bytes last,
                    struct dtls_record **ret)
{
    struct dtls_record *const r = NEW(struct dtls_record);
    if (r == NULL) {
        return -ENOMEM;
    }
    memcpy(r->local_iv, keys->local_iv, sizeof(r->local_iv));
    memcpy(r->remote_iv, keys->remote_iv, sizeof(r->remote_iv));
    r->next_seq_plain = keys->next_seq_plain;
    r->next_seq = keys->next_seq;
    int e = crypto_gcm_new(keys->local_key, true, &r->seal);
    if (e == 0) {
        e = crypto_gcm_new(keys->remote_key, false, &r->open);
    }
    if (e == 0 && last.n > 0) {
        e = recover_finished(r, keys->local_key, last);
    }
    if (e < 0) {
        dtls_record_free(r);
        return e;
    }
    *ret = r;
    return 0;
}

void dtls_record_free(struct dtls_record *r)
{
    if (r == NULL) {
        return;
    }
    crypto_gcm_free(r->seal);
    crypto_gcm_free(r->open);
    mem_free(r);
}

static bool replayed(const struct dtls_record *r, uint64_t seq)
{
    if (seq > r->highest || r->window == 0) {
        return false;
    }
    uint64_t const behind = r->highest - seq;
    return behind >= WINDOW_BITS || ((r->window >> behind) & 1) != 0;
}

static void mark_seen(struct dtls_record *r, uint64_t seq)
{
    if (r->window == 0) {
        r->highest = seq;
        r->window = 1;
    } else if (seq > r->highest) {
        uint64_t const ahead = seq - r->highest;
        r->window = ahead < WINDOW_BITS ? (r->window << ahead) | 1 : 1;
        r->highest = seq;
    } else {
        r->window |= UINT64_C(1) << (r->highest - seq);
    }
}

static enum dtls_record_result classify_alert(struct bytes_mut text)
{
    if (text.n != 2) {
        return DTLS_RECORD_IGNORED;
    }
    if (text.p[1] == ALERT_CLOSE_NOTIFY) {
        return DTLS_RECORD_CLOSE;
    }
    return text.p[0] == ALERT_LEVEL_FATAL ? DTLS_RECORD_FATAL : DTLS_RECORD_IGNORED;
}

enum dtls_record_result dtls_record_open(struct dtls_record *r, const struct dtls_record_view *rec,
                                         struct bytes *ret_data)
{
    struct bytes_mut text;
    if (rec->epoch != 1 || rec->version != VERSION_DTLS12 || replayed(r, rec->seq) ||
        open_with(r->open, r->remote_iv, rec, &text) < 0) {
        return DTLS_RECORD_IGNORED;
    }
    mark_seen(r, rec->seq);
    switch (rec->type) {
    case DTLS_APPLICATION_DATA:
        if (text.n == 0) {
            return DTLS_RECORD_IGNORED;
        }
        *ret_data = bytes_of(text.p, text.n);
        return DTLS_RECORD_DATA;
    case DTLS_ALERT:
        return classify_alert(text);
    case DTLS_HANDSHAKE:
        // Nothing but a repeated Finished comes here: renegotiation is off.
        return r->has_finished ? DTLS_RECORD_REPEAT : DTLS_RECORD_IGNORED;
    default:
        return DTLS_RECORD_IGNORED;
    }
}

static void write_header(struct wr *w, uint8_t type, uint16_t epoch, uint64_t seq, size_t len)
{
    wr_u8(w, type);
    wr_be16(w, VERSION_DTLS12);
    wr_be64(w, ((uint64_t)epoch << 48) | seq);
    wr_be16(w, (uint16_t)len);
}

int dtls_record_seal(struct dtls_record *r, enum dtls_content_type type, struct bytes data,
                     struct wr *w)
{
    uint8_t aad[AAD_LEN];
    uint8_t iv[CRYPTO_GCM_IV_LEN];
    uint8_t tag[CRYPTO_GCM_TAG_LEN];
    if (r->next_seq > SEQ_MAX) {
        return -EOVERFLOW;
    }
    if (!wr_need_(w, DTLS_RECORD_OVERHEAD + data.n)) {
        return -ENOBUFS;
    }
    uint64_t const epoch_seq = (UINT64_C(1) << 48) | r->next_seq;
    write_header(w, (uint8_t)type, 1, r->next_seq,
                 EXPLICIT_NONCE_LEN + data.n + CRYPTO_GCM_TAG_LEN);
    // The explicit nonce must never repeat under one key: epoch and record number (RFC 5288 section
    // 3, as mbedTLS does).
    const uint8_t *const nonce = w->p;
    wr_be64(w, epoch_seq);
    make_iv(r->local_iv, nonce, iv);
    struct bytes_mut const text = {w->p, data.n};
    wr_bytes(w, data);
    make_aad(epoch_seq, (uint8_t)type, data.n, aad);
    r->next_seq++;
    int const e = crypto_gcm_seal(r->seal, iv, bytes_of(aad, sizeof(aad)), text, tag);
    wr_bytes(w, bytes_of(tag, sizeof(tag)));
    return e;
}

int dtls_record_write_last_flight(struct dtls_record *r, struct wr *w)
{
    if (!r->has_finished) {
        return -ENOENT;
    }
    write_header(w, DTLS_CHANGE_CIPHER_SPEC, 0, r->next_seq_plain++, 1);
    wr_u8(w, 1);
    return dtls_record_seal(r, DTLS_HANDSHAKE, bytes_of(r->finished, sizeof(r->finished)), w);
}
