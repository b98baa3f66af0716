// SPDX-License-Identifier: Apache-2.0
#pragma once
// Points in time as people write them: RFC 3339 in UTC, "2026-11-21T18:00:00Z". Pure.

#include "common/base/bytes.h"
#include "common/base/mono.h"

#define UTC_STRLEN 32 // the text of any wall_t from year 0 to 9999, and its zero

// Writes t, rounded down to the second. Returns ret. Times outside of the years 0 to 9999 become the
// nearest that is inside.
const char *utc_format(wall_t t, char ret[static UTC_STRLEN]);

// Reads exactly such a text (the T and the Z may be small; fractions and offsets are not
// understood). -EINVAL also for days that do not exist and for leap seconds.
int utc_parse(struct bytes text, wall_t *ret) NODISCARD;
