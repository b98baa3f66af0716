// SPDX-License-Identifier: Apache-2.0
#pragma once
// The public-key arithmetic of DTLS handshakes on libcrypto instead of mbedTLS, with what nearly
// all of them use: ECDSA with P-256 (RFC 8827 section 6.5) and X25519. mbedTLS 2.28 takes 2.0 ms of
// CPU for one side's key, shared secret, signature and verification, libcrypto 0.14 ms (measured in
// the same minute; tests/bench/floor_dtls.c tells today's). Everything else (RSA, P-384, a key
// exchange on P-256) stays mbedTLS's.
//
// It enters at two places that mbedTLS leaves open:
//   - a key says by its type (mbedtls_pk_info_t) what signs and verifies;
//   - mbedtls_ecdh_gen_public and mbedtls_ecdh_compute_shared may be an application's own (the
//     options MBEDTLS_ECDH_*_ALT). A distribution's library has its own ones, but the program's
//     come first for the dynamic linker. They are weak, so a static library's are taken instead:
//     then the key exchange costs what it did.
// mbedTLS 3 hides types of keys: with it, everything is as it comes.
//
// dtls_cert uses it; any thread, as long as nobody changes a key at the same time.

#include "common/base/bytes.h"

// Makes *ret_signing (mbedtls_pk_context, initialised and empty) the key of *key (the same, with a
// P-256 key pair) that signs and verifies here. It may be shared by threads. -ENOMEM, -EIO.
int dtls_curves_own_key(const void *key, void *ret_signing) NODISCARD;

// Makes a peer's key (mbedtls_pk_context) verify here if it is on P-256. signing is from
// dtls_curves_own_key. A key of another kind stays as it is, and so does any when memory is short.
void dtls_curves_peer_key(const void *signing, void *key);
