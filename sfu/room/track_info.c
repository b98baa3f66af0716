// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/track_info.h"

#include <stdio.h>

#include "common/lk/livekit.h"

static void copy_text(char *dst, size_t cap, const char *src)
{
    (void)snprintf(dst, cap, "%.*s", (int)cap - 1, lk_str(src));
}

static bool add_unique(uint8_t *list, uint8_t *count, int value)
{
    for (uint8_t i = 0; i < *count; i++) {
        if (list[i] == value) {
            return false;
        }
    }
    if (*count >= TRACK_INFO_FEATURES_MAX || value < 0 || value > 255) {
        return false;
    }
    list[(*count)++] = (uint8_t)value;
    return true;
}

// livekit-server tells them in the order of their numbers (recording 03-audio-red-off-dtx-off).
static void sort_features(struct track_info *info)
{
    for (uint8_t i = 1; i < info->feature_count; i++) {
        uint8_t const f = info->features[i];
        uint8_t k = i;
        for (; k > 0 && info->features[k - 1] > f; k--) {
            info->features[k] = info->features[k - 1];
        }
        info->features[k] = f;
    }
}

// LOW to HIGH; a later layer of the same quality is dropped. OFF is not a layer.
static void copy_layers(struct track_codec *c, Livekit__VideoLayer *const *layers, size_t n)
{
    for (int quality = 0; quality < TRACK_INFO_LAYERS_MAX; quality++) {
        for (size_t i = 0; i < n; i++) {
            if ((int)layers[i]->quality != quality) {
                continue;
            }
            c->layers[c->layer_count] = (struct track_layer){
                .quality = (uint8_t)quality,
                .width = layers[i]->width,
                .height = layers[i]->height,
                .bitrate = layers[i]->bitrate,
            };
            c->layer_count++;
            break;
        }
    }
}

static enum codec first_enabled(uint8_t type, uint32_t enabled)
{
    static const enum codec video[] = {CODEC_VP8, CODEC_H264, CODEC_VP9, CODEC_AV1, CODEC_H265};
    for (size_t i = 0; type == TRACK_VIDEO && i < ARRAY_LEN(video); i++) {
        if (enabled & (1u << video[i])) {
            return video[i];
        }
    }
    return CODEC_OPUS;
}

// "vp8" or "video/VP8". CODEC_NONE: not known, of another kind, or it may not be published.
static enum codec parse_codec(uint8_t type, const char *name, uint32_t enabled)
{
    struct bytes const text = bytes_str(lk_str(name));
    enum codec c = codec_by_mime(text);
    if (c == CODEC_NONE) {
        c = codec_by_name(text);
    }
    bool const fits = codec_kind(c) == (type == TRACK_VIDEO ? MEDIA_VIDEO : MEDIA_AUDIO);
    return fits && (enabled & (1u << c)) ? c : CODEC_NONE;
}

static void lower_mime(char *dst, size_t cap, uint8_t type, enum codec c)
{
    (void)snprintf(dst, cap, "%s/%s", type == TRACK_VIDEO ? "video" : "audio", codec_name(c));
    // livekit answers track_published with the lower case name of the request and updates with the
    // registered one (livekit-protocol 3.6).
    for (char *p = dst; *p != 0; p++) {
        if (*p >= 'A' && *p <= 'Z') {
            *p = (char)(*p | 0x20);
        }
    }
}

// Its number in the list, codec_count if it is not there.
static uint8_t find_codec(const struct track_info *info, enum codec c)
{
    uint8_t i = 0;
    while (i < info->codec_count && codec_by_mime(bytes_str(info->codecs[i].mime)) != c) {
        i++;
    }
    return i;
}

static struct track_codec make_codec(const struct track_info *info,
                                     const Livekit__AddTrackRequest *req,
                                     const Livekit__SimulcastCodec *sc, enum codec c)
{
    struct track_codec n = {0};
    lower_mime(n.mime, sizeof(n.mime), info->type, c);
    copy_text(n.cid, sizeof(n.cid), sc->cid);
    if (sc->n_layers > 0) {
        copy_layers(&n, sc->layers, sc->n_layers);
    } else {
        copy_layers(&n, req->layers, req->n_layers);
    }
    bool const svc = c == CODEC_VP9 || c == CODEC_AV1;
    n.layer_mode =
        sc->video_layer_mode != 0
            ? (uint8_t)sc->video_layer_mode
            : (uint8_t)(svc ? LIVEKIT__VIDEO_LAYER__MODE__MULTIPLE_SPATIAL_LAYERS_PER_STREAM
                            : LIVEKIT__VIDEO_LAYER__MODE__ONE_SPATIAL_LAYER_PER_STREAM);
    return n;
}

static void add_codec(struct track_info *info, const Livekit__AddTrackRequest *req,
                      const Livekit__SimulcastCodec *sc, uint32_t enabled)
{
    enum codec const asked = parse_codec(info->type, sc->codec, enabled);
    enum codec const c = asked != CODEC_NONE ? asked : first_enabled(info->type, enabled);
    if (find_codec(info, c) < info->codec_count) {
        return;
    }
    struct track_codec n = make_codec(info, req, sc, c);
    if (asked == CODEC_NONE) {
        // What the server chose is spelled as registered (recording 10-odd-requests).
        copy_text(n.mime, sizeof(n.mime), codec_mime(c));
    }
    info->codecs[info->codec_count++] = n;
}

static void number_layers(struct track_codec *c)
{
    for (uint8_t i = 0; i < c->layer_count; i++) {
        c->layers[i].spatial = i;
    }
}

void track_info_number_layers(struct track_info *info, uint8_t index)
{
    if (index < info->codec_count) {
        number_layers(&info->codecs[index]);
    }
}

// Three layers of one codec each in its own stream have these names with all clients; livekit-server
// answers a backup codec with them before any description has come (recording
// 03-av1-backup-requested).
static void name_backup(struct track_codec *c)
{
    static const char *const rids[TRACK_INFO_LAYERS_MAX] = {"q", "h", "f"};
    bool const streams = c->layer_mode == LIVEKIT__VIDEO_LAYER__MODE__ONE_SPATIAL_LAYER_PER_STREAM;
    for (uint8_t i = 0; streams && c->layer_count > 1 && i < c->layer_count; i++) {
        copy_text(c->layers[i].rid, sizeof(c->layers[i].rid), rids[i]);
    }
    number_layers(c);
}

int track_info_add_codec(struct track_info *info, const Livekit__AddTrackRequest *req,
                         uint32_t enabled, uint8_t *ret_index)
{
    if (info->type != TRACK_VIDEO || req->n_simulcast_codecs == 0) {
        return -ENOTSUP;
    }
    const Livekit__SimulcastCodec *const sc = req->simulcast_codecs[0];
    enum codec const c = parse_codec(info->type, sc->codec, enabled);
    uint8_t const index = find_codec(info, c);
    if (c == CODEC_NONE || index >= TRACK_INFO_CODECS_MAX) {
        return -ENOTSUP;
    }
    *ret_index = index;
    // The primary codec under another name of the client's, or one that is published: nothing to
    // change.
    if (index == 0 || (index < info->codec_count && info->codecs[index].mid[0] != 0)) {
        return 0;
    }
    info->codecs[index] = make_codec(info, req, sc, c);
    name_backup(&info->codecs[index]);
    info->codec_count = (uint8_t)MAX(info->codec_count, index + 1);
    return 0;
}

static void fill_codecs(struct track_info *info, const Livekit__AddTrackRequest *req,
                        uint32_t enabled)
{
    for (size_t i = 0; i < req->n_simulcast_codecs && info->codec_count < TRACK_INFO_CODECS_MAX;
         i++) {
        if (*lk_str(req->simulcast_codecs[i]->codec) != 0) {
            add_codec(info, req, req->simulcast_codecs[i], enabled);
        }
    }
    if (info->codec_count == 0) {
        // All audio, and old video clients: the media decides about the mime.
        struct track_codec *const c = &info->codecs[info->codec_count++];
        copy_text(c->cid, sizeof(c->cid), req->cid);
        c->layer_mode = LIVEKIT__VIDEO_LAYER__MODE__ONE_SPATIAL_LAYER_PER_STREAM;
        copy_layers(c, req->layers, req->n_layers);
    }
    struct track_codec *const c = &info->codecs[0];
    if (c->cid[0] == 0) {
        copy_text(c->cid, sizeof(c->cid), req->cid); // the section will have it
    }
    info->simulcast =
        c->layer_count > 1 &&
        c->layer_mode != LIVEKIT__VIDEO_LAYER__MODE__MULTIPLE_SPATIAL_LAYERS_PER_STREAM;
}

static const char *default_stream(uint8_t source)
{
    switch (source) {
    case TRACK_SOURCE_CAMERA:
    case TRACK_SOURCE_MICROPHONE:
        return "camera";
    case TRACK_SOURCE_SCREEN_SHARE:
    case TRACK_SOURCE_SCREEN_SHARE_AUDIO:
        return "screen";
    default:
        return "unknown";
    }
}

int track_info_from_request(struct track_info *info, const Livekit__AddTrackRequest *req,
                            uint32_t enabled)
{
    if (req->type != LIVEKIT__TRACK_TYPE__AUDIO && req->type != LIVEKIT__TRACK_TYPE__VIDEO) {
        return -EINVAL;
    }
    *info = (struct track_info){
        .type = (uint8_t)req->type,
        .source =
            (uint8_t)((unsigned)req->source <= TRACK_SOURCE_SCREEN_SHARE_AUDIO ? req->source : 0),
        .muted = req->muted,
        .disable_dtx = req->disable_dtx,
        .stereo = req->stereo,
        .disable_red = req->disable_red,
        .encryption = (uint8_t)req->encryption,
        .width = req->width,
        .height = req->height,
    };
    copy_text(info->name, sizeof(info->name), req->name);
    copy_text(info->stream, sizeof(info->stream),
              *lk_str(req->stream) ? req->stream : default_stream(info->source));
    for (size_t i = 0; i < req->n_audio_features; i++) {
        (void)add_unique(info->features, &info->feature_count, (int)req->audio_features[i]);
    }
    if (info->type == TRACK_AUDIO && info->stereo) {
        (void)add_unique(info->features, &info->feature_count,
                         LIVEKIT__AUDIO_TRACK_FEATURE__TF_STEREO);
    }
    if (info->type == TRACK_AUDIO && info->disable_dtx) {
        (void)add_unique(info->features, &info->feature_count,
                         LIVEKIT__AUDIO_TRACK_FEATURE__TF_NO_DTX);
    }
    sort_features(info);
    for (size_t i = 0; i < req->n_packet_trailer_features; i++) {
        (void)add_unique(info->trailer_features, &info->trailer_feature_count,
                         (int)req->packet_trailer_features[i]);
    }
    bool const regression = req->backup_codec_policy == LIVEKIT__BACKUP_CODEC_POLICY__REGRESSION;
    info->backup_codec_policy = info->type == TRACK_AUDIO && !regression
                                    ? (uint8_t)LIVEKIT__BACKUP_CODEC_POLICY__SIMULCAST
                                    : (uint8_t)req->backup_codec_policy;
    fill_codecs(info, req, enabled);
    return 0;
}

enum codec track_info_codec(const struct track_info *info, uint8_t index)
{
    if (index > 0 && index >= info->codec_count) {
        return CODEC_NONE;
    }
    if (info->type == TRACK_AUDIO) {
        return CODEC_OPUS;
    }
    enum codec const c =
        info->codec_count > 0 ? codec_by_mime(bytes_str(info->codecs[index].mime)) : CODEC_NONE;
    return c != CODEC_NONE ? c : CODEC_VP8;
}

uint8_t track_info_rid_rank(struct bytes rid, uint8_t index, uint8_t count)
{
    static const char *const names[2][3] = {{"q", "h", "f"}, {"2", "1", "0"}};
    for (size_t set = 0; set < 2; set++) {
        for (uint8_t rank = 0; rank < 3; rank++) {
            if (bytes_eq_str(rid, names[set][rank])) {
                return rank < count ? rank : (uint8_t)(count - 1);
            }
        }
    }
    return index;
}

void track_info_set_rids(struct track_info *info, uint8_t index, const char *const *rids_by_rank,
                         uint8_t count)
{
    if (index >= info->codec_count) {
        return;
    }
    struct track_codec *const c = &info->codecs[index];
    for (uint8_t i = 0; i < c->layer_count && i < count; i++) {
        copy_text(c->layers[i].rid, sizeof(c->layers[i].rid), rids_by_rank[i]);
    }
}

static Livekit__VideoLayer **layers_to_proto(const struct track_codec *c, struct arena *a)
{
    Livekit__VideoLayer **const v = arena_array(a, c->layer_count, sizeof(*v));
    Livekit__VideoLayer *const m = arena_array(a, c->layer_count, sizeof(*m));
    if (v == NULL || m == NULL) {
        return NULL;
    }
    for (uint8_t i = 0; i < c->layer_count; i++) {
        const struct track_layer *const l = &c->layers[i];
        livekit__video_layer__init(&m[i]);
        LK_SET(&m[i], quality, (Livekit__VideoQuality)l->quality);
        LK_SET(&m[i], width, l->width);
        LK_SET(&m[i], height, l->height);
        LK_SET(&m[i], bitrate, l->bitrate);
        LK_SET(&m[i], ssrc, l->ssrc);
        LK_SET(&m[i], spatial_layer, l->spatial);
        LK_SET_STR(&m[i], rid, l->rid);
        LK_SET(&m[i], repair_ssrc, l->repair_ssrc);
        v[i] = &m[i];
    }
    return v;
}

static bool codecs_to_proto(const struct track_info *info, Livekit__TrackInfo *t, struct arena *a)
{
    t->codecs = arena_array(a, info->codec_count, sizeof(*t->codecs));
    Livekit__SimulcastCodecInfo *const m = arena_array(a, info->codec_count, sizeof(*m));
    if (t->codecs == NULL || m == NULL) {
        return false;
    }
    for (uint8_t i = 0; i < info->codec_count; i++) {
        const struct track_codec *const c = &info->codecs[i];
        livekit__simulcast_codec_info__init(&m[i]);
        LK_SET_STR(&m[i], mime_type, c->mime);
        LK_SET_STR(&m[i], mid, c->mid);
        LK_SET_STR(&m[i], cid, c->cid);
        LK_SET_STR(&m[i], sdp_cid, c->sdp_cid);
        LK_SET(&m[i], video_layer_mode, (Livekit__VideoLayer__Mode)c->layer_mode);
        m[i].layers = layers_to_proto(c, a);
        if (m[i].layers == NULL) {
            return false;
        }
        m[i].n_layers = c->layer_count;
        t->codecs[i] = &m[i];
    }
    t->n_codecs = info->codec_count;
    if (info->codec_count > 0) {
        t->layers = m[0].layers;
        t->n_layers = m[0].n_layers;
    }
    return true;
}

static bool features_to_proto(const struct track_info *info, Livekit__TrackInfo *t, struct arena *a)
{
    t->audio_features = arena_array(a, info->feature_count, sizeof(*t->audio_features));
    t->packet_trailer_features =
        arena_array(a, info->trailer_feature_count, sizeof(*t->packet_trailer_features));
    if (t->audio_features == NULL || t->packet_trailer_features == NULL) {
        return false;
    }
    for (uint8_t i = 0; i < info->feature_count; i++) {
        t->audio_features[i] = (Livekit__AudioTrackFeature)info->features[i];
    }
    for (uint8_t i = 0; i < info->trailer_feature_count; i++) {
        t->packet_trailer_features[i] = (Livekit__PacketTrailerFeature)info->trailer_features[i];
    }
    t->n_audio_features = info->feature_count;
    t->n_packet_trailer_features = info->trailer_feature_count;
    return true;
}

Livekit__TrackInfo *track_info_to_proto(const struct track_info *info, struct arena *a)
{
    Livekit__TrackInfo *const t = arena_alloc(a, sizeof(*t));
    if (t == NULL) {
        return NULL;
    }
    livekit__track_info__init(t);
    LK_SET_STR(t, sid, info->sid);
    LK_SET(t, type, (Livekit__TrackType)info->type);
    LK_SET_STR(t, name, info->name);
    LK_SET(t, muted, info->muted);
    LK_SET(t, width, info->width);
    LK_SET(t, height, info->height);
    LK_SET(t, simulcast, info->simulcast);
    LK_SET(t, disable_dtx, info->disable_dtx);
    LK_SET(t, source, (Livekit__TrackSource)info->source);
    LK_SET_STR(t, mime_type, info->mime);
    LK_SET_STR(t, mid, info->mid);
    LK_SET(t, stereo, info->stereo);
    LK_SET(t, disable_red, info->disable_red);
    LK_SET(t, encryption, (Livekit__Encryption__Type)info->encryption);
    LK_SET_STR(t, stream, info->stream);
    LK_SET(t, backup_codec_policy, (Livekit__BackupCodecPolicy)info->backup_codec_policy);
    if (info->version_us != 0) {
        t->version = arena_alloc(a, sizeof(*t->version));
        if (t->version == NULL) {
            return NULL;
        }
        livekit__timed_version__init(t->version);
        LK_SET(t->version, unix_micro, info->version_us);
    }
    return codecs_to_proto(info, t, a) && features_to_proto(info, t, a) ? t : NULL;
}

uint8_t track_info_layer_for_quality(const struct track_info *info, uint8_t index, uint8_t quality)
{
    if (index >= info->codec_count || info->codecs[index].layer_count == 0) {
        return quality;
    }
    // The best layer that is not better than asked for; the lowest if there is none.
    const struct track_codec *const c = &info->codecs[index];
    uint8_t best = 0;
    for (uint8_t i = 0; i < c->layer_count; i++) {
        if (c->layers[i].quality <= quality) {
            best = i;
        }
    }
    return best;
}

uint8_t track_info_layer_quality(const struct track_info *info, uint8_t index, int layer)
{
    if (index >= info->codec_count || info->codecs[index].layer_count == 0 || layer < 0) {
        return LIVEKIT__VIDEO_QUALITY__HIGH;
    }
    const struct track_codec *const c = &info->codecs[index];
    return c->layers[MIN(layer, c->layer_count - 1)].quality;
}

static bool has_feature(const struct track_info *info, int feature)
{
    uint8_t i = 0;
    while (i < info->feature_count && info->features[i] != feature) {
        i++;
    }
    return i < info->feature_count;
}

bool track_info_stereo(const struct track_info *info)
{
    return has_feature(info, LIVEKIT__AUDIO_TRACK_FEATURE__TF_STEREO);
}

bool track_info_dtx(const struct track_info *info)
{
    return info->type == TRACK_AUDIO && !has_feature(info, LIVEKIT__AUDIO_TRACK_FEATURE__TF_NO_DTX);
}

bool track_info_red(const struct track_info *info)
{
    return info->type == TRACK_AUDIO && !info->disable_red &&
           info->encryption == LIVEKIT__ENCRYPTION__TYPE__NONE;
}

bool track_info_update_features(struct track_info *info, const Livekit__UpdateLocalAudioTrack *req)
{
    struct track_info const old = *info;
    info->feature_count = 0;
    for (size_t i = 0; i < req->n_features; i++) {
        (void)add_unique(info->features, &info->feature_count, (int)req->features[i]);
    }
    sort_features(info);
    info->stereo = has_feature(info, LIVEKIT__AUDIO_TRACK_FEATURE__TF_STEREO);
    info->disable_dtx = has_feature(info, LIVEKIT__AUDIO_TRACK_FEATURE__TF_NO_DTX);
    return info->feature_count != old.feature_count || info->stereo != old.stereo ||
           info->disable_dtx != old.disable_dtx ||
           memcmp(info->features, old.features, info->feature_count) != 0;
}
