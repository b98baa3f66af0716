// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/codec.h"

struct codec_row {
    const char *name;
    const char *mime;
    enum media_kind kind;
    uint32_t clock;
};

static const struct codec_row rows[CODEC_COUNT] = {
    [CODEC_NONE] = {"", "", MEDIA_NONE, 0},
    [CODEC_OPUS] = {"opus", "audio/opus", MEDIA_AUDIO, 48000},
    [CODEC_RED] = {"red", "audio/red", MEDIA_AUDIO, 48000},
    [CODEC_PCMU] = {"PCMU", "audio/PCMU", MEDIA_AUDIO, 8000},
    [CODEC_PCMA] = {"PCMA", "audio/PCMA", MEDIA_AUDIO, 8000},
    [CODEC_G722] = {"G722", "audio/G722", MEDIA_AUDIO, 8000},
    [CODEC_VP8] = {"VP8", "video/VP8", MEDIA_VIDEO, 90000},
    [CODEC_VP9] = {"VP9", "video/VP9", MEDIA_VIDEO, 90000},
    [CODEC_H264] = {"H264", "video/H264", MEDIA_VIDEO, 90000},
    [CODEC_H265] = {"H265", "video/H265", MEDIA_VIDEO, 90000},
    [CODEC_AV1] = {"AV1", "video/AV1", MEDIA_VIDEO, 90000},
    [CODEC_RTX] = {"rtx", "", MEDIA_NONE, 90000},
};

static const struct codec_row *row_of(enum codec c)
{
    return &rows[(unsigned)c < CODEC_COUNT ? c : CODEC_NONE];
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool eq_nocase(struct bytes a, const char *s)
{
    if (a.n != strlen(s)) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower((uint8_t)s[i])) {
            return false;
        }
    }
    return true;
}

const char *codec_name(enum codec c)
{
    return row_of(c)->name;
}

const char *codec_mime(enum codec c)
{
    return row_of(c)->mime;
}

enum media_kind codec_kind(enum codec c)
{
    return row_of(c)->kind;
}

uint32_t codec_clock(enum codec c)
{
    return row_of(c)->clock;
}

enum codec codec_by_name(struct bytes name)
{
    for (unsigned i = CODEC_NONE + 1; i < CODEC_COUNT; i++) {
        if (eq_nocase(name, rows[i].name)) {
            return (enum codec)i;
        }
    }
    return CODEC_NONE;
}

enum codec codec_by_mime(struct bytes mime)
{
    for (unsigned i = CODEC_NONE + 1; i < CODEC_COUNT; i++) {
        if (rows[i].mime[0] != '\0' && eq_nocase(mime, rows[i].mime)) {
            return (enum codec)i;
        }
    }
    return CODEC_NONE;
}
