// SPDX-License-Identifier: Apache-2.0
#pragma once
// Recorded descriptions of tests/data/sdp for unit tests. Tests run in the root of the project.

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"

#ifndef SDP_FILES_DIR
#define SDP_FILES_DIR "tests/data/sdp"
#endif

// Content of a file, to be freed; NULL if there is none.
static inline char *sdp_file_read(const char *name, size_t *ret_n)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", SDP_FILES_DIR, name);
    FILE *const f = fopen(path, "rb");
    if (f == NULL) {
        return NULL;
    }
    size_t const cap = 1u << 20;
    char *const text = malloc(cap);
    *ret_n = text != NULL ? fread(text, 1, cap, f) : 0;
    fclose(f);
    return text;
}

// Names of all .sdp files, sorted; *ret is freed with its entries.
static inline int sdp_file_list(struct dirent ***ret)
{
    return scandir(SDP_FILES_DIR, ret, NULL, alphasort);
}

static inline bool sdp_file_is(const char *name, const char *part)
{
    return strstr(name, part) != NULL && strstr(name, ".sdp") != NULL;
}
