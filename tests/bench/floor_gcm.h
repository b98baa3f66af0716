// SPDX-License-Identifier: Apache-2.0
#pragma once
// AES-128-GCM for one packet at a time: ipsec-mb where the build and the CPU have it, else
// libcrypto. Benchmarks only.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct floor_gcm; // one expanded key

// Chooses the implementation for the process. Returns its name.
const char *floor_gcm_init(bool libcrypto_only);

struct floor_gcm *
floor_gcm_new(const uint8_t key[16]); // NULL: out of memory. Lives as long as the process

// out may be in. The tag is written, or compared: false when it differs.
void floor_gcm_seal(struct floor_gcm *g, uint8_t *out, const uint8_t *in, size_t n,
                    const uint8_t iv[12], const uint8_t *aad, size_t aad_len, uint8_t tag[16]);
bool floor_gcm_open(struct floor_gcm *g, uint8_t *out, const uint8_t *in, size_t n,
                    const uint8_t iv[12], const uint8_t *aad, size_t aad_len,
                    const uint8_t tag[16]);
