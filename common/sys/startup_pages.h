// SPDX-License-Identifier: Apache-2.0
#pragma once
// Lets go of what only starting needed: pages of the program and its libraries that were read once to
// find symbols, settings and ciphers. They stay mapped otherwise, which is two thirds of what an idle
// service holds (measured: 10.4 MB of PSS, 8.5 of it in files, 3.4 in libcrypto alone). A page that is
// wanted again comes back from the page cache at the cost of a minor fault.
//
// Thread: the loop's.

#include "common/sys/loop.h"

// What a service looks at first, such as whether its neighbour answers, belongs to the start.
#define STARTUP_PAGES_MS 3000

struct startup_pages;

// Does so once, STARTUP_PAGES_MS from now. NULL when out of memory.
struct startup_pages *startup_pages_new(struct loop *l) NODISCARD;
void startup_pages_free(struct startup_pages *s);

// Does so at once.
void startup_pages_release(void);
