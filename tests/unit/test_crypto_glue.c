// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// COVERS: srtp_kdf
// Published vectors: RFC 2202 (HMAC-SHA1), NIST SP 800-38A (CTR), the GCM specification, RFC 3711
// B.3, RFC 6979 A.2.5 (ECDSA), RFC 7748 section 6.1 (X25519).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/transport/srtp_kdf.h"

static uint8_t digit(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

static size_t unhex(const char *hex, uint8_t *ret)
{
    size_t n = 0;
    for (; hex[0] != '\0'; hex += 2) {
        ret[n++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
    }
    return n;
}

static void hmac_sha1_matches_rfc_2202(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *data;
        const char *mac;
    } cases[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
         "b617318655057264e28bc0b6fb378c8ef146be00"},
        {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
         "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
        {"0102030405060708090a0b0c0d0e0f10111213141516171819",
         "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
         "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
         "4c9007f4026250c6bc8414f9bf50c86c2d7235da"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t key[64];
        uint8_t data[64];
        uint8_t expected[CRYPTO_SHA1_LEN];
        uint8_t mac[CRYPTO_SHA1_LEN];
        struct crypto_hmac_sha1 h;
        size_t const key_len = unhex(cases[i].key, key);
        size_t const data_len = unhex(cases[i].data, data);
        unhex(cases[i].mac, expected);
        crypto_hmac_sha1_init(&h, bytes_of(key, key_len));
        for (int again = 0; again < 2; again++) { // the state is not used up
            crypto_hmac_sha1(&h, bytes_of(data, data_len), mac);
            assert_memory_equal(mac, expected, sizeof(mac));
        }
    }
}

static void ctr_matches_sp_800_38a(void **state)
{
    (void)state;
    uint8_t key[16];
    uint8_t iv[16];
    uint8_t text[64];
    uint8_t expected[64];
    struct crypto_ctr *c = NULL;
    unhex("2b7e151628aed2a6abf7158809cf4f3c", key);
    unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", iv);
    unhex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
          "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
          expected);
    assert_int_equal(crypto_ctr_new(key, &c), 0);
    for (int again = 0; again < 2; again++) {
        unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
              "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
              text);
        assert_int_equal(crypto_ctr_xor(c, iv, (struct bytes_mut){text, sizeof(text)}), 0);
        assert_memory_equal(text, expected, sizeof(text));
    }
    crypto_ctr_free(c);
}

// Test case 4 of the GCM specification.
static void gcm_matches_its_specification(void **state)
{
    (void)state;
    uint8_t key[16], iv[12], aad[20], text[60], plain[60], expected[60], expected_tag[16], tag[16];
    struct crypto_gcm *seal = NULL;
    struct crypto_gcm *open = NULL;
    unhex("feffe9928665731c6d6a8f9467308308", key);
    unhex("cafebabefacedbaddecaf888", iv);
    unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2", aad);
    unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95"
          "956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
          plain);
    unhex("42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b2"
          "5466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
          expected);
    unhex("5bc94fbc3221a5db94fae95ae7121a47", expected_tag);
    struct bytes const a = bytes_of(aad, sizeof(aad));
    struct bytes_mut const t = {text, sizeof(text)};
    assert_int_equal(crypto_gcm_new(key, true, &seal), 0);
    assert_int_equal(crypto_gcm_new(key, false, &open), 0);
    for (int again = 0; again < 2; again++) {
        memcpy(text, plain, sizeof(text));
        assert_int_equal(crypto_gcm_seal(seal, iv, a, t, tag), 0);
        assert_memory_equal(text, expected, sizeof(text));
        assert_memory_equal(tag, expected_tag, sizeof(tag));
        assert_int_equal(crypto_gcm_open(open, iv, a, t, tag), 0);
        assert_memory_equal(text, plain, sizeof(text));
    }
    memcpy(text, expected, sizeof(text));
    tag[15] ^= 1;
    assert_int_equal(crypto_gcm_open(open, iv, a, t, tag), -EBADMSG);
    // Nothing but AAD.
    struct bytes_mut const none = {text, 0};
    assert_int_equal(crypto_gcm_seal(seal, iv, a, none, tag), 0);
    assert_int_equal(crypto_gcm_open(open, iv, a, none, tag), 0);
    crypto_gcm_free(seal);
    crypto_gcm_free(open);
}

static void session_keys_match_rfc_3711(void **state)
{
    (void)state;
    struct srtp_master m;
    struct srtp_kdf_keys s;
    struct crypto_hmac_sha1 expected_hmac;
    uint8_t expected[20];
    unhex("E1F97A0D3E018BE0D64FA32C06DE4139", m.key);
    unhex("0EC675AD498AFEEBB6960B3AABE6", m.salt);
    assert_int_equal(srtp_kdf_derive(&m, false, &s), 0);
    unhex("C61E7A93744F39EE10734AFE3FF7A087", expected);
    assert_memory_equal(s.key, expected, 16);
    unhex("30CBBC08863D8C85D49DB34A9AE1", expected);
    assert_memory_equal(s.salt, expected, 14);
    unhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4", expected);
    crypto_hmac_sha1_init(&expected_hmac, bytes_of(expected, 20));
    assert_memory_equal(&s.hmac, &expected_hmac, sizeof(expected_hmac));
}

static const char p256_scalar[] =
    "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721";
static const char p256_point[] =
    "0460FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
    "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299";

static void p256_verifies_rfc_6979_and_what_it_signs(void **state)
{
    (void)state;
    uint8_t scalar[CRYPTO_P256_SCALAR_LEN];
    uint8_t point[CRYPTO_P256_POINT_LEN];
    uint8_t digest[64] = {0};
    uint8_t signature[CRYPTO_P256_SIGNATURE_MAX];
    struct crypto_p256 *own = NULL;
    struct crypto_p256 *peer = NULL;
    unhex(p256_scalar, scalar);
    unhex(p256_point, point);
    assert_int_equal(crypto_p256_new_private(scalar, point, &own), 0);
    assert_int_equal(crypto_p256_new_public(own, point, &peer), 0);

    // SHA-256 of "sample"; r and s in DER.
    unhex("AF2BDBE1AA9B6EC1E2ADE1D694F41FC71A831D0268E9891562113D8A62ADD1BF", digest);
    size_t n = unhex("3046022100EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
                     "022100F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
                     signature);
    struct bytes const d = bytes_of(digest, 32);
    assert_int_equal(crypto_p256_verify(own, d, bytes_of(signature, n)), 0);
    assert_int_equal(crypto_p256_verify(peer, d, bytes_of(signature, n)), 0);
    assert_int_equal(crypto_p256_verify(peer, d, bytes_of(signature, n - 1)), -EBADMSG);
    assert_int_equal(crypto_p256_verify(peer, d, bytes_of(signature, 0)), -EBADMSG);
    signature[n - 1] ^= 1;
    assert_int_equal(crypto_p256_verify(peer, d, bytes_of(signature, n)), -EBADMSG);

    // Also of the longer digests that TLS may ask for; often enough that each length of DER occurs.
    for (size_t i = 0; i < 300; i++) {
        size_t const len = i % 3 == 0 ? 32 : i % 3 == 1 ? 48 : 64;
        digest[0]++;
        assert_int_equal(crypto_p256_sign(own, bytes_of(digest, len), signature, &n), 0);
        assert_true(n <= sizeof(signature));
        assert_int_equal(crypto_p256_verify(peer, bytes_of(digest, len), bytes_of(signature, n)),
                         0);
        digest[1] ^= 1;
        assert_int_equal(crypto_p256_verify(peer, bytes_of(digest, len), bytes_of(signature, n)),
                         -EBADMSG);
    }
    // The key that lent its curve may go first.
    crypto_p256_free(own);
    assert_int_equal(crypto_p256_verify(peer, d, bytes_of(signature, n)), -EBADMSG);
    crypto_p256_free(peer);
    crypto_p256_free(NULL);
}

static void p256_refuses_points_off_the_curve(void **state)
{
    (void)state;
    uint8_t scalar[CRYPTO_P256_SCALAR_LEN];
    uint8_t point[CRYPTO_P256_POINT_LEN];
    struct crypto_p256 *own = NULL;
    struct crypto_p256 *peer = NULL;
    unhex(p256_scalar, scalar);
    unhex(p256_point, point);
    assert_int_equal(crypto_p256_new_private(scalar, point, &own), 0);
    point[64] ^= 1;
    assert_int_equal(crypto_p256_new_public(own, point, &peer), -EBADMSG);
    assert_null(peer);
    assert_int_equal(crypto_p256_new_private(scalar, point, &peer), -EBADMSG);
    assert_null(peer);
    crypto_p256_free(own);
}

static void x25519_matches_rfc_7748(void **state)
{
    (void)state;
    uint8_t alice[32], bob[32], alice_point[32], bob_point[32], expected[32], got[32];
    unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", alice);
    unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", alice_point);
    unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", bob);
    unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f", bob_point);
    unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742", expected);
    assert_int_equal(crypto_x25519_public(alice, got), 0);
    assert_memory_equal(got, alice_point, 32);
    assert_int_equal(crypto_x25519_public(bob, got), 0);
    assert_memory_equal(got, bob_point, 32);
    assert_int_equal(crypto_x25519_shared(alice, bob_point, got), 0);
    assert_memory_equal(got, expected, 32);
    assert_int_equal(crypto_x25519_shared(bob, alice_point, got), 0);
    assert_memory_equal(got, expected, 32);
    // A point of low order.
    memset(bob_point, 0, sizeof(bob_point));
    assert_int_equal(crypto_x25519_shared(alice, bob_point, got), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hmac_sha1_matches_rfc_2202),
        cmocka_unit_test(ctr_matches_sp_800_38a),
        cmocka_unit_test(gcm_matches_its_specification),
        cmocka_unit_test(session_keys_match_rfc_3711),
        cmocka_unit_test(p256_verifies_rfc_6979_and_what_it_signs),
        cmocka_unit_test(p256_refuses_points_off_the_curve),
        cmocka_unit_test(x25519_matches_rfc_7748),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
