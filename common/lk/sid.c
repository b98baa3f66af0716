// SPDX-License-Identifier: Apache-2.0
#include "common/lk/sid.h"

// protocol: utils/guid/id.go. No 0 1 I O l: the ids are read aloud.
static const char sid_alphabet[] = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
#define SID_BASE (sizeof(sid_alphabet) - 1)

// One digit of the big-endian number in v, by long division in place.
static char sid_next_char(uint8_t v[static SID_RANDOM_LEN])
{
    uint32_t rest = 0;
    for (size_t i = 0; i < SID_RANDOM_LEN; i++) {
        uint32_t const x = (rest << 8) | v[i];
        v[i] = (uint8_t)(x / SID_BASE);
        rest = x % (uint32_t)SID_BASE;
    }
    return sid_alphabet[rest];
}

const char *sid_make(const char *prefix, const uint8_t random[static SID_RANDOM_LEN],
                     char ret[static SID_SIZE])
{
    size_t const n = strlen(prefix);
    assert(n + SID_CHARS < SID_SIZE);
    uint8_t v[SID_RANDOM_LEN];
    memcpy(v, random, sizeof(v));
    memcpy(ret, prefix, n);
    for (size_t i = 0; i < SID_CHARS; i++) {
        ret[n + i] = sid_next_char(v);
    }
    ret[n + SID_CHARS] = '\0';
    return ret;
}

const char *sid_make_track(int type, int source, const uint8_t random[static SID_RANDOM_LEN],
                           char ret[static SID_SIZE])
{
    static const char kinds[] = {'A', 'V'};                   // Livekit__TrackType AUDIO, VIDEO
    static const char sources[] = {'\0', 'C', 'M', 'S', 's'}; // Livekit__TrackSource
    char prefix[8] = SID_TRACK;
    size_t n = strlen(prefix);
    if (type >= 0 && type < (int)ARRAY_LEN(kinds)) {
        prefix[n++] = kinds[type];
    }
    if (source > 0 && source < (int)ARRAY_LEN(sources)) {
        prefix[n++] = sources[source];
    }
    prefix[n] = '\0';
    return sid_make(prefix, random, ret);
}

bool sid_has_prefix(const char *sid, const char *prefix)
{
    size_t const n = strlen(prefix);
    return strncmp(sid, prefix, n) == 0 && sid[n] != '\0';
}
