// SPDX-License-Identifier: Apache-2.0
#pragma once
// Random bytes of the kernel, fit for keys. Any thread.

#include "common/base/macros.h"

// Fills p with n bytes of getrandom(2). Cannot fail: a kernel that has no randomness to give ends
// the process, because nothing that needs it may go on with less.
void rand_bytes(void *p, size_t n);

// A uniform 32/64-bit value.
uint32_t rand_u32(void);
uint64_t rand_u64(void);
