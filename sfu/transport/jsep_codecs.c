// SPDX-License-Identifier: Apache-2.0
// Which codecs, feedback and header extensions we speak, and what is common with a described
// section.
#include "common/base/mem.h"
#include "sfu/transport/jsep_internal.h"

struct codec_def {
    uint8_t codec; // enum codec
    uint8_t pt;
    uint8_t rtx_pt;
    const char *fmtp;
};

#define H264_FMTP(mode, profile)                                                                   \
    "level-asymmetry-allowed=1;packetization-mode=" mode ";profile-level-id=" profile

// Payload types of livekit-server 1.13.5's subscriber offers (recording 02-js-v0).
static const struct codec_def server_codecs[] = {
    {CODEC_OPUS, 111, 0, "minptime=10;useinbandfec=1"},
    {CODEC_RED, 63, 0, "111/111"},
    {CODEC_PCMU, 0, 0, ""},
    {CODEC_PCMA, 8, 0, ""},
    {CODEC_VP8, 96, 97, ""},
    {CODEC_VP9, 98, 99, "profile-id=0"},
    {CODEC_VP9, 100, 101, "profile-id=1"},
    {CODEC_H264, 125, 126, H264_FMTP("0", "42e01f")},
    {CODEC_H264, 108, 109, H264_FMTP("1", "42e01f")},
    {CODEC_H264, 104, 105, H264_FMTP("0", "42001f")},
    {CODEC_H264, 102, 103, H264_FMTP("1", "42001f")},
    {CODEC_AV1, 35, 36, "level-idx=5;profile=0;tier=0"},
    {CODEC_H265, 116, 117, ""},
};

// Payload types of Chromium 156 (recording 01-js-v1): other numbers than the server's on purpose.
static const struct codec_def client_codecs[] = {
    {CODEC_OPUS, 111, 0, "minptime=10;useinbandfec=1"},
    {CODEC_RED, 63, 0, "111/111"},
    {CODEC_PCMU, 0, 0, ""},
    {CODEC_PCMA, 8, 0, ""},
    {CODEC_VP8, 96, 97, ""},
    {CODEC_VP9, 98, 99, "profile-id=0"},
    {CODEC_VP9, 35, 36, "profile-id=1"},
    {CODEC_H264, 102, 103, H264_FMTP("1", "42001f")},
    {CODEC_H264, 104, 107, H264_FMTP("0", "42001f")},
    {CODEC_H264, 108, 109, H264_FMTP("1", "42e01f")},
    {CODEC_H264, 114, 115, H264_FMTP("0", "42e01f")},
    {CODEC_AV1, 45, 46, "level-idx=5;profile=0;tier=0"},
};

static bool enabled(const struct jsep *j, enum codec c)
{
    if (c == CODEC_NONE || c == CODEC_RTX || c == CODEC_G722 || (c == CODEC_RED && j->cfg.no_red)) {
        return false;
    }
    return j->cfg.codecs == 0 || (j->cfg.codecs & (1u << c)) != 0;
}

// ---- parameters -----------------------------------------------------------------------------

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// profile_idc and profile-iop of profile-level-id; false if it is not six hex digits.
static bool profile_level(struct bytes text, uint8_t ret[static 2])
{
    if (text.n != 6) {
        return false;
    }
    int digit[6];
    for (size_t i = 0; i < 6; i++) {
        digit[i] = hex_digit(text.p[i]);
        if (digit[i] < 0) {
            return false;
        }
    }
    ret[0] = (uint8_t)(digit[0] * 16 + digit[1]);
    ret[1] = (uint8_t)(digit[2] * 16 + digit[3]);
    return true;
}

// RFC 6184 section 8.1, table 5.
static enum jsep_h264_profile h264_profile(struct bytes fmtp)
{
    struct bytes text;
    uint8_t id[2];
    // Without profile-level-id the RFC means Baseline level 1; browsers then assume Constrained
    // Baseline, which every Baseline decoder takes.
    if (!sdp_fmtp_param(fmtp, "profile-level-id", &text)) {
        return JSEP_H264_CONSTRAINED_BASELINE;
    }
    if (!profile_level(text, id)) {
        return JSEP_H264_OTHER;
    }
    static const struct {
        uint8_t idc, mask, value;
        uint8_t profile;
    } table[] = {
        {0x42, 0x4f, 0x40, JSEP_H264_CONSTRAINED_BASELINE},
        {0x4d, 0x8f, 0x80, JSEP_H264_CONSTRAINED_BASELINE},
        {0x58, 0xcf, 0xc0, JSEP_H264_CONSTRAINED_BASELINE},
        {0x42, 0x4f, 0x00, JSEP_H264_BASELINE},
        {0x58, 0xcf, 0x80, JSEP_H264_BASELINE},
        {0x4d, 0xaf, 0x00, JSEP_H264_MAIN},
        {0x64, 0xff, 0x00, JSEP_H264_HIGH},
        {0x64, 0xff, 0x0c, JSEP_H264_CONSTRAINED_HIGH},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].idc == id[0] && (id[1] & table[i].mask) == table[i].value) {
            return (enum jsep_h264_profile)table[i].profile;
        }
    }
    return JSEP_H264_OTHER;
}

static uint8_t number_param(struct bytes fmtp, const char *name)
{
    struct bytes text;
    uint64_t v;
    if (!sdp_fmtp_param(fmtp, name, &text)) {
        return 0;
    }
    return sdp_parse_uint(text, UINT8_MAX, &v) ? (uint8_t)v : UINT8_MAX;
}

static void read_params(struct jsep_codec_view *v)
{
    struct jsep_codec *const c = &v->c;
    c->profile = 0;
    c->packetization_mode = 0;
    if (c->codec == CODEC_VP9) {
        c->profile = number_param(v->fmtp, "profile-id");
    } else if (c->codec == CODEC_AV1) {
        c->profile = number_param(v->fmtp, "profile");
    } else if (c->codec == CODEC_H264) {
        c->profile = (uint8_t)h264_profile(v->fmtp);
        c->packetization_mode = number_param(v->fmtp, "packetization-mode");
    }
}

// What livekit-server's tables contain (5.4): VP9 profiles 0 and 1, AV1 profile 0, H264 of the
// baseline family, and High in packetization mode 1.
static bool speaks(const struct jsep_codec *c)
{
    switch ((enum codec)c->codec) {
    case CODEC_OPUS:
    case CODEC_RED:
        return c->clock == 48000 && c->channels == 2;
    case CODEC_VP9:
        return c->profile <= 1;
    case CODEC_AV1:
        return c->profile == 0;
    case CODEC_H264:
        if (c->profile == JSEP_H264_HIGH || c->profile == JSEP_H264_CONSTRAINED_HIGH) {
            return c->packetization_mode == 1;
        }
        return c->profile <= JSEP_H264_BASELINE && c->packetization_mode <= 1;
    case CODEC_PCMU:
    case CODEC_PCMA:
    case CODEC_VP8:
    case CODEC_H265:
        return c->clock == codec_clock((enum codec)c->codec);
    case CODEC_NONE:
    case CODEC_G722:
    case CODEC_RTX:
    case CODEC_COUNT:
        break;
    }
    return false;
}

// ---- common codecs --------------------------------------------------------------------------

static uint8_t rtx_of(const struct sdp_media *m, uint8_t pt)
{
    for (size_t i = 0; i < m->codec_count; i++) {
        struct bytes apt;
        uint64_t v;
        if (m->codecs[i].pt != 0 && sdp_name_eq(m->codecs[i].name, "rtx") &&
            sdp_fmtp_param(m->codecs[i].fmtp, "apt", &apt) && sdp_parse_uint(apt, 127, &v) &&
            v == pt) {
            return m->codecs[i].pt;
        }
    }
    return 0;
}

// RED is of use only around an opus of this list ("111/111").
static bool red_wraps_opus(const struct jsep_codec_view *red, const struct jsep_codec_view *list,
                           size_t n)
{
    struct bytes fmtp = red->fmtp;
    uint64_t pt;
    if (!sdp_parse_uint(sdp_token(&fmtp, '/'), 127, &pt)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (list[i].c.codec == CODEC_OPUS && list[i].c.pt == pt) {
            return true;
        }
    }
    return false;
}

static size_t drop_useless_red(struct jsep_codec_view *list, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (list[i].c.codec != CODEC_RED || red_wraps_opus(&list[i], list, n)) {
            list[kept++] = list[i];
        }
    }
    return kept;
}

size_t jsep_common_codecs_(const struct jsep *j, const struct sdp_media *m,
                           struct jsep_codec_view ret[static JSEP_MAX_CODECS])
{
    enum media_kind const kind = m->kind == SDP_KIND_AUDIO ? MEDIA_AUDIO : MEDIA_VIDEO;
    size_t n = 0;
    for (size_t i = 0; i < m->codec_count && n < JSEP_MAX_CODECS; i++) {
        const struct sdp_codec *const d = &m->codecs[i];
        enum codec const codec = codec_by_name(d->name);
        if (!enabled(j, codec) || codec_kind(codec) != kind || d->fmtp.n > JSEP_MAX_FMTP) {
            continue;
        }
        struct jsep_codec_view v = {
            .c = {.codec = (uint8_t)codec,
                  .pt = d->pt,
                  .channels = d->channels,
                  .fb = d->fb,
                  .clock = d->clock},
            .fmtp = d->fmtp,
        };
        read_params(&v);
        if (speaks(&v.c)) {
            v.c.rtx_pt = kind == MEDIA_VIDEO ? rtx_of(m, d->pt) : 0;
            ret[n++] = v;
        }
    }
    return drop_useless_red(ret, n);
}

size_t jsep_offered_codecs_(const struct jsep *j, enum jsep_kind kind,
                            struct jsep_codec_view ret[static JSEP_MAX_CODECS])
{
    const struct codec_def *const table = j->cfg.client ? client_codecs : server_codecs;
    size_t const size = j->cfg.client ? ARRAY_LEN(client_codecs) : ARRAY_LEN(server_codecs);
    enum media_kind const media = kind == JSEP_AUDIO ? MEDIA_AUDIO : MEDIA_VIDEO;
    bool const red = enabled(j, CODEC_RED) && enabled(j, CODEC_OPUS);
    size_t n = 0;
    for (size_t i = 0; i < size && n < JSEP_MAX_CODECS; i++) {
        enum codec const codec = (enum codec)table[i].codec;
        if (!enabled(j, codec) || codec_kind(codec) != media || (codec == CODEC_RED && !red)) {
            continue;
        }
        struct jsep_codec_view v = {
            .c = {.codec = table[i].codec,
                  .pt = table[i].pt,
                  .rtx_pt = table[i].rtx_pt,
                  .channels = codec == CODEC_OPUS || codec == CODEC_RED ? 2 : 1,
                  .fb = jsep_offered_feedback_(j, codec, red),
                  .clock = codec_clock(codec)},
            .fmtp = bytes_str(table[i].fmtp),
        };
        read_params(&v);
        ret[n++] = v;
    }
    return n;
}

// ---- shared lists ---------------------------------------------------------------------------

static bool same(const struct jsep_codec *a, const struct jsep_codec_view *b)
{
    const struct jsep_codec *const c = &b->c;
    return a->codec == c->codec && a->pt == c->pt && a->rtx_pt == c->rtx_pt &&
           a->channels == c->channels && a->fb == c->fb && a->clock == c->clock &&
           bytes_eq_str(b->fmtp, a->fmtp);
}

static struct jsep_set *find_set(struct jsep *j, const struct jsep_codec_view *codecs, size_t count)
{
    for (struct jsep_set *s = j->sets; s != NULL; s = s->next) {
        size_t i = 0;
        while (s->count == count && i < count && same(&s->codecs[i], &codecs[i])) {
            i++;
        }
        if (s->count == count && i == count) {
            return s;
        }
    }
    return NULL;
}

int jsep_set_get_(struct jsep *j, const struct jsep_codec_view *codecs, size_t count,
                  struct jsep_set **ret)
{
    struct jsep_set *s = find_set(j, codecs, count);
    if (s == NULL) {
        size_t text = 0;
        for (size_t i = 0; i < count; i++) {
            text += codecs[i].fmtp.n + 1;
        }
        s = mem_alloc(sizeof(*s) + count * sizeof(s->codecs[0]) + text);
        if (s == NULL) {
            return -ENOMEM;
        }
        char *at = (char *)&s->codecs[count];
        for (size_t i = 0; i < count; i++) {
            s->codecs[i] = codecs[i].c;
            s->codecs[i].fmtp = at;
            if (codecs[i].fmtp.n > 0) {
                memcpy(at, codecs[i].fmtp.p, codecs[i].fmtp.n);
            }
            at += codecs[i].fmtp.n + 1; // zeroed memory terminates
        }
        s->count = (uint8_t)count;
        s->next = j->sets;
        j->sets = s;
    }
    s->refs++;
    *ret = s;
    return 0;
}

void jsep_set_put_(struct jsep *j, struct jsep_set *set)
{
    if (set == NULL || --set->refs > 0) {
        return;
    }
    for (struct jsep_set **at = &j->sets; *at != NULL; at = &(*at)->next) {
        if (*at == set) {
            *at = set->next;
            break;
        }
    }
    mem_free(set);
}

void jsep_set_assign_(struct jsep_transceiver *t, struct jsep_set *set)
{
    jsep_set_put_(t->j, t->set);
    t->set = set;
    t->codecs = set != NULL ? set->codecs : NULL;
    t->codec_count = set != NULL ? set->count : 0;
}

// ---- feedback and extensions ----------------------------------------------------------------

uint8_t jsep_feedback_mask_(const struct jsep *j, const struct jsep_transceiver *t,
                            enum codec codec, bool send, bool recv, bool red)
{
    if (t->kind == JSEP_AUDIO) {
        // Retransmitting what RED repeats anyway is a waste; livekit drops nack on such sections
        // too (5.4).
        bool const nack = codec != CODEC_RED && !(send && red && codec == CODEC_OPUS);
        uint8_t const tcc = j->cfg.audio_transport_cc || j->cfg.client ? SDP_FB_TRANSPORT_CC : 0;
        return (uint8_t)((nack ? SDP_FB_NACK : 0) | tcc);
    }
    uint8_t mask = SDP_FB_NACK | SDP_FB_PLI | SDP_FB_FIR | SDP_FB_TRANSPORT_CC;
    // 5.4: goog-remb on everything of a single PC and on what we send; a v0 publisher is measured
    // by transport-cc only.
    if (j->cfg.single_pc || j->cfg.client || send || !recv) {
        mask |= SDP_FB_REMB;
    }
    return mask;
}

uint8_t jsep_offered_feedback_(const struct jsep *j, enum codec codec, bool red)
{
    if (codec_kind(codec) == MEDIA_VIDEO) {
        return SDP_FB_NACK | SDP_FB_PLI | SDP_FB_FIR | SDP_FB_TRANSPORT_CC | SDP_FB_REMB;
    }
    if (codec != CODEC_OPUS) {
        return 0;
    }
    if (j->cfg.client) {
        return SDP_FB_TRANSPORT_CC; // as Chromium
    }
    return (uint8_t)(red ? 0 : SDP_FB_NACK);
}

bool jsep_accepts_ext_(const struct jsep *j, const struct jsep_transceiver *t,
                       enum rtp_ext_type type, bool send, bool recv, enum codec first)
{
    bool const video = t->kind == JSEP_VIDEO;
    // Not used in either direction: what is refused now is never offered again (media-plane 4.1),
    // so be generous.
    bool const spare = !send && !recv;
    switch (type) {
    case RTP_EXT_MID:
    case RTP_EXT_ABS_CAPTURE_TIME:
        return true;
    case RTP_EXT_AUDIO_LEVEL:
        return !video;
    case RTP_EXT_TRANSPORT_CC:
        return video || j->cfg.audio_transport_cc || j->cfg.client;
    case RTP_EXT_RID:
    case RTP_EXT_RRID:
        return video;
    case RTP_EXT_VIDEO_LAYERS_ALLOCATION:
        return video && !j->cfg.client;
    case RTP_EXT_ABS_SEND_TIME:
        return j->cfg.client || (video && (j->cfg.single_pc || send || spare));
    case RTP_EXT_DEPENDENCY_DESCRIPTOR:
        // media-plane 4.14: VP8 with it loses PictureID, TL0PICIDX and TID; H264 gains nothing.
        return video && (j->cfg.client || !recv || first == CODEC_VP9 || first == CODEC_AV1);
    case RTP_EXT_PLAYOUT_DELAY:
        return video && (j->cfg.client || (j->cfg.playout_delay && (send || spare)));
    case RTP_EXT_NONE:
    case RTP_EXT_VIDEO_ORIENTATION: // libwebrtc rotates before encoding when it is refused
    case RTP_EXT_VIDEO_CONTENT_TYPE:
    case RTP_EXT_VIDEO_TIMING:
    case RTP_EXT_COLOR_SPACE:
    case RTP_EXT_TOFFSET:
    case RTP_EXT_FRAME_MARKING:
    case RTP_EXT_COUNT:
        break;
    }
    return false;
}

// As Chromium 156: dependency descriptor on sections that receive, and on senders with simulcast or
// SVC; layers allocation on senders with simulcast or SVC.
static bool client_offers_ext(const struct jsep_transceiver *t, enum rtp_ext_type type)
{
    bool const video = t->kind == JSEP_VIDEO;
    bool const layered = t->sender != NULL && (t->sender->rid_count > 0 || t->sender->svc);
    switch (type) {
    case RTP_EXT_AUDIO_LEVEL:
        return !video;
    case RTP_EXT_MID:
    case RTP_EXT_ABS_SEND_TIME:
    case RTP_EXT_TRANSPORT_CC:
        return true;
    case RTP_EXT_RID:
    case RTP_EXT_RRID:
    case RTP_EXT_PLAYOUT_DELAY:
        return video;
    case RTP_EXT_DEPENDENCY_DESCRIPTOR:
        return video && (layered || t->sender == NULL);
    case RTP_EXT_VIDEO_LAYERS_ALLOCATION:
        return video && layered;
    default:
        return false;
    }
}

bool jsep_offers_ext_(const struct jsep *j, const struct jsep_transceiver *t,
                      enum rtp_ext_type type)
{
    if (t->kind != JSEP_AUDIO && t->kind != JSEP_VIDEO) {
        return false;
    }
    if (j->cfg.client) {
        return client_offers_ext(t, type);
    }
    bool const video = t->kind == JSEP_VIDEO;
    switch (type) {
    case RTP_EXT_MID:
    case RTP_EXT_ABS_CAPTURE_TIME:
        return true;
    case RTP_EXT_TRANSPORT_CC:
    case RTP_EXT_ABS_SEND_TIME:
    case RTP_EXT_DEPENDENCY_DESCRIPTOR:
        return video;
    case RTP_EXT_PLAYOUT_DELAY:
        return video && j->cfg.playout_delay;
    default:
        return false;
    }
}

uint8_t jsep_ext_id_(struct jsep *j, enum rtp_ext_type type)
{
    if (j->ext_ids.id[type] != 0) {
        return j->ext_ids.id[type];
    }
    // 15 is the stop value of the one-byte form (RFC 8285 section 4.2). There are fewer types than
    // ids below it.
    for (uint8_t id = 1; id < 15; id++) {
        bool used = false;
        for (size_t i = 0; i < RTP_EXT_COUNT; i++) {
            used |= j->ext_ids.id[i] == id;
        }
        if (!used) {
            j->ext_ids.id[type] = id;
            return id;
        }
    }
    return 0;
}
