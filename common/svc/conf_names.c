// SPDX-License-Identifier: Apache-2.0
// Which name was meant by one that is none.
#include <string.h>

#include "common/svc/conf_internal.h"

static char fold(char c)
{
    if (c == '-' || c == '.') {
        return '_';
    }
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

// Edit distance, rows of at most 64 characters.
static size_t distance(const char *a, const char *b)
{
    enum { CAP = 64 };
    size_t row[CAP + 1];
    size_t const n = MIN(strlen(b), (size_t)CAP);
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t const substitute = diagonal + (fold(a[i - 1]) != fold(b[j - 1]));
            diagonal = row[j];
            row[j] = MIN(substitute, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[n];
}

// Every word of `part` is a word of `whole`: LIVEKIT_API_KEY means LIVEKIT_KEY.
static bool words_within(const char *part, const char *whole)
{
    while (*part != '\0') {
        size_t n = 0;
        while (part[n] != '\0' && fold(part[n]) != '_') {
            n++;
        }
        bool found = false;
        for (const char *w = whole; *w != '\0' && !found;) {
            size_t m = 0;
            while (w[m] != '\0' && fold(w[m]) != '_') {
                m++;
            }
            found = m == n;
            for (size_t k = 0; k < n && found; k++) {
                found = fold(w[k]) == fold(part[k]);
            }
            w += m + (w[m] != '\0');
        }
        if (!found) {
            return false;
        }
        part += n + (part[n] != '\0');
    }
    return true;
}

const char *conf_nearest(const char *written, const char *const *names)
{
    const char *best = NULL;
    // A third of the letters wrong is no misspelling any more.
    size_t best_distance = MAX(strlen(written) / 3, (size_t)2) + 1;
    for (size_t i = 0; names[i] != NULL; i++) {
        size_t const d = distance(written, names[i]);
        if (d < best_distance) {
            best = names[i];
            best_distance = d;
        }
    }
    for (size_t i = 0; best == NULL && names[i] != NULL; i++) {
        if (words_within(names[i], written) || words_within(written, names[i])) {
            best = names[i];
        }
    }
    return best;
}
