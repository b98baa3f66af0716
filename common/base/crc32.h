// SPDX-License-Identifier: Apache-2.0
#pragma once
// CRC-32 of ITU V.42 (polynomial 0x04C11DB7 reflected), as STUN's FINGERPRINT uses it (RFC 8489
// section 14.7). Pure.

#include "common/base/bytes.h"

// The checksum of data; "123456789" gives 0xCBF43926.
uint32_t crc32_ieee(struct bytes data);
