// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/floor_gcm.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_include) && __has_include(<intel-ipsec-mb.h>)
#include <intel-ipsec-mb.h>
#define HAVE_IPSEC_MB 1
static IMB_MGR *manager;
#else
#define HAVE_IPSEC_MB 0
#endif

struct floor_gcm {
#if HAVE_IPSEC_MB
    struct gcm_key_data mb;
#endif
    EVP_CIPHER_CTX *seal, *open; // libcrypto only
};

const char *floor_gcm_init(bool libcrypto_only)
{
#if HAVE_IPSEC_MB
    if (!libcrypto_only) {
        IMB_ARCH arch = IMB_ARCH_NONE;
        manager = alloc_mb_mgr(0);
        if (manager != NULL) {
            init_mb_mgr_auto(manager, &arch);
            return arch == IMB_ARCH_AVX512 ? "ipsec-mb avx512" : "ipsec-mb";
        }
    }
#endif
    (void)libcrypto_only;
    return "libcrypto";
}

static EVP_CIPHER_CTX *context(const uint8_t *key, int encrypt)
{
    EVP_CIPHER_CTX *const c = EVP_CIPHER_CTX_new();
    if (c != NULL && EVP_CipherInit_ex(c, EVP_aes_128_gcm(), NULL, key, NULL, encrypt) != 1) {
        EVP_CIPHER_CTX_free(c);
        return NULL;
    }
    return c;
}

struct floor_gcm *floor_gcm_new(const uint8_t key[16])
{
    // ipsec-mb's tables want 64-byte lines.
    struct floor_gcm *const g = aligned_alloc(64, (sizeof(*g) + 63) / 64 * 64);
    if (g == NULL) {
        return NULL;
    }
    memset(g, 0, sizeof(*g));
#if HAVE_IPSEC_MB
    if (manager != NULL) {
        IMB_AES128_GCM_PRE(manager, key, &g->mb);
        return g;
    }
#endif
    g->seal = context(key, 1);
    g->open = context(key, 0);
    return g->seal != NULL && g->open != NULL ? g : NULL;
}

void floor_gcm_seal(struct floor_gcm *g, uint8_t *out, const uint8_t *in, size_t n,
                    const uint8_t iv[12], const uint8_t *aad, size_t aad_len, uint8_t tag[16])
{
    int len = 0;
#if HAVE_IPSEC_MB
    if (manager != NULL) {
        struct gcm_context_data c;
        IMB_AES128_GCM_ENC(manager, &g->mb, &c, out, in, n, iv, aad, aad_len, tag, 16);
        return;
    }
#endif
    (void)EVP_EncryptInit_ex(g->seal, NULL, NULL, NULL, iv);
    (void)EVP_EncryptUpdate(g->seal, NULL, &len, aad, (int)aad_len);
    (void)EVP_EncryptUpdate(g->seal, out, &len, in, (int)n);
    (void)EVP_EncryptFinal_ex(g->seal, out + len, &len);
    (void)EVP_CIPHER_CTX_ctrl(g->seal, EVP_CTRL_GCM_GET_TAG, 16, tag);
}

bool floor_gcm_open(struct floor_gcm *g, uint8_t *out, const uint8_t *in, size_t n,
                    const uint8_t iv[12], const uint8_t *aad, size_t aad_len, const uint8_t tag[16])
{
    int len = 0;
    uint8_t copy[16];
#if HAVE_IPSEC_MB
    if (manager != NULL) {
        struct gcm_context_data c;
        IMB_AES128_GCM_DEC(manager, &g->mb, &c, out, in, n, iv, aad, aad_len, copy, 16);
        return memcmp(copy, tag, 16) == 0;
    }
#endif
    memcpy(copy, tag, sizeof(copy));
    (void)EVP_DecryptInit_ex(g->open, NULL, NULL, NULL, iv);
    (void)EVP_DecryptUpdate(g->open, NULL, &len, aad, (int)aad_len);
    (void)EVP_DecryptUpdate(g->open, out, &len, in, (int)n);
    (void)EVP_CIPHER_CTX_ctrl(g->open, EVP_CTRL_GCM_SET_TAG, 16, copy);
    return EVP_DecryptFinal_ex(g->open, out + len, &len) == 1;
}
