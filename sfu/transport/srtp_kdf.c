// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/srtp_kdf.h"

// RFC 3711 section 4.3.2, for RTP; RTCP adds 3.
#define LABEL_KEY 0
#define LABEL_AUTH 1
#define LABEL_SALT 2
#define LABELS_RTCP 3

static int derive(struct crypto_ctr *prf, const struct srtp_master *master, uint8_t label,
                  struct bytes_mut ret)
{
    uint8_t iv[CRYPTO_AES_BLOCK_LEN] = {0};
    memcpy(iv, master->salt, SRTP_KEYS_SALT_LEN);
    iv[7] ^= label; // key derivation rate 0: label << 48 over the 112-bit salt
    memset(ret.p, 0, ret.n);
    return crypto_ctr_xor(prf, iv, ret);
}

int srtp_kdf_derive(const struct srtp_master *master, bool rtcp, struct srtp_kdf_keys *ret)
{
    uint8_t const base = rtcp ? LABELS_RTCP : 0;
    uint8_t auth[CRYPTO_SHA1_LEN] = {0};
    struct srtp_kdf_keys s = {0};
    struct crypto_ctr *prf = NULL;
    int e = crypto_ctr_new(master->key, &prf);
    if (e < 0) {
        return e;
    }
    if (derive(prf, master, (uint8_t)(base + LABEL_KEY), (struct bytes_mut){s.key, sizeof(s.key)}) <
            0 ||
        derive(prf, master, (uint8_t)(base + LABEL_AUTH), (struct bytes_mut){auth, sizeof(auth)}) <
            0 ||
        derive(prf, master, (uint8_t)(base + LABEL_SALT),
               (struct bytes_mut){s.salt, SRTP_KEYS_SALT_LEN}) < 0) {
        e = -ENOMEM;
    } else {
        crypto_hmac_sha1_init(&s.hmac, bytes_of(auth, sizeof(auth)));
        *ret = s;
    }
    crypto_ctr_free(prf);
    crypto_wipe(auth, sizeof(auth));
    crypto_wipe(&s, sizeof(s));
    return e;
}
