// SPDX-License-Identifier: Apache-2.0
// LINK: room
//
// AddTrackRequest to TrackInfo by the rules of livekit-protocol 4.5.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/base64.h"
#include "common/lk/livekit.h"
#include "sfu/room/track_info.h"

#define ALL                                                                                        \
    ((1u << CODEC_OPUS) | (1u << CODEC_VP8) | (1u << CODEC_VP9) | (1u << CODEC_H264) |             \
     (1u << CODEC_AV1))

static struct track_info info;
static Livekit__VideoLayer layer[4];
static Livekit__VideoLayer *layers[4] = {&layer[0], &layer[1], &layer[2], &layer[3]};

static Livekit__AddTrackRequest request(Livekit__TrackType type, Livekit__TrackSource source)
{
    Livekit__AddTrackRequest r = LIVEKIT__ADD_TRACK_REQUEST__INIT;
    LK_SET(&r, type, type);
    LK_SET(&r, source, source);
    static char cid[] = "cid-1";
    r.cid = cid;
    return r;
}

static void set_layer(size_t i, int quality, uint32_t height)
{
    livekit__video_layer__init(&layer[i]);
    LK_SET(&layer[i], quality, (Livekit__VideoQuality)quality);
    LK_SET(&layer[i], height, height);
}

static void audio_waits_for_its_mime(void **state)
{
    (void)state;
    Livekit__AddTrackRequest const r =
        request(LIVEKIT__TRACK_TYPE__AUDIO, LIVEKIT__TRACK_SOURCE__MICROPHONE);
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    assert_int_equal(info.codec_count, 1);
    assert_string_equal(info.codecs[0].mime, "");
    assert_string_equal(info.codecs[0].cid, "cid-1");
    assert_string_equal(info.stream, "camera");
    assert_int_equal(info.backup_codec_policy, LIVEKIT__BACKUP_CODEC_POLICY__SIMULCAST);
    assert_int_equal(info.codecs[0].layer_mode,
                     LIVEKIT__VIDEO_LAYER__MODE__ONE_SPATIAL_LAYER_PER_STREAM);
    assert_int_equal(track_info_codec(&info, 0), CODEC_OPUS);
    assert_false(info.simulcast);
}

static void other_types_are_refused(void **state)
{
    (void)state;
    Livekit__AddTrackRequest r = request(LIVEKIT__TRACK_TYPE__DATA, 0);
    assert_int_equal(track_info_from_request(&info, &r, ALL), -EINVAL);
    r.type = (Livekit__TrackType)77;
    assert_int_equal(track_info_from_request(&info, &r, ALL), -EINVAL);
}

static void layers_are_sorted_and_unique(void **state)
{
    (void)state;
    Livekit__AddTrackRequest r = request(LIVEKIT__TRACK_TYPE__VIDEO, LIVEKIT__TRACK_SOURCE__CAMERA);
    set_layer(0, 2, 720);
    set_layer(1, 0, 180);
    set_layer(2, 2, 1);
    set_layer(3, 1, 360);
    r.layers = layers;
    r.n_layers = 4;
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    const struct track_codec *const c = &info.codecs[0];
    assert_int_equal(c->layer_count, 3);
    track_info_number_layers(&info, 0);
    for (uint8_t i = 0; i < 3; i++) {
        assert_int_equal(c->layers[i].quality, i);
        assert_int_equal(c->layers[i].spatial, i);
        assert_int_equal(c->layers[i].height, 180u << i);
    }
    assert_true(info.simulcast);
    // OFF and unknown qualities are no layers.
    set_layer(0, 3, 720);
    set_layer(1, 9, 720);
    r.n_layers = 2;
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    assert_int_equal(info.codecs[0].layer_count, 0);
}

static void codecs_are_the_enabled_ones_once(void **state)
{
    (void)state;
    static const struct {
        const char *asked[3];
        uint32_t enabled;
        const char *got[2]; // NULL: no such entry
    } cases[] = {
        {{"vp8"}, ALL, {"video/vp8", NULL}},
        {{"VP9", "vp8"}, ALL, {"video/vp9", "video/vp8"}},
        {{"video/H264"}, ALL, {"video/h264", NULL}},
        {{"nonsense"}, ALL, {"video/VP8", NULL}},
        {{"opus"}, ALL, {"video/VP8", NULL}},              // wrong kind
        {{"h265"}, ALL, {"video/VP8", NULL}},              // not enabled
        {{"av1"}, 1u << CODEC_H264, {"video/H264", NULL}}, // the first enabled one
        {{"vp8", "VP8", "vp8"}, ALL, {"video/vp8", NULL}},
        {{"", "vp9"}, ALL, {"video/vp9", NULL}},
        {{"", ""}, ALL, {"", NULL}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Livekit__AddTrackRequest r =
            request(LIVEKIT__TRACK_TYPE__VIDEO, LIVEKIT__TRACK_SOURCE__CAMERA);
        Livekit__SimulcastCodec sc[3];
        Livekit__SimulcastCodec *list[3];
        r.simulcast_codecs = list;
        for (size_t k = 0; k < 3 && cases[i].asked[k] != NULL; k++) {
            livekit__simulcast_codec__init(&sc[k]);
            LK_SET_STR(&sc[k], codec, cases[i].asked[k]);
            list[k] = &sc[k];
            r.n_simulcast_codecs++;
        }
        assert_int_equal(track_info_from_request(&info, &r, cases[i].enabled), 0);
        assert_string_equal(info.codecs[0].mime, cases[i].got[0]);
        assert_int_equal(info.codec_count, cases[i].got[1] != NULL ? 2 : 1);
        if (cases[i].got[1] != NULL) {
            assert_string_equal(info.codecs[1].mime, cases[i].got[1]);
        }
    }
}

static void svc_codecs_have_their_layers_in_one_stream(void **state)
{
    (void)state;
    Livekit__AddTrackRequest r =
        request(LIVEKIT__TRACK_TYPE__VIDEO, LIVEKIT__TRACK_SOURCE__SCREEN_SHARE);
    Livekit__SimulcastCodec sc = LIVEKIT__SIMULCAST_CODEC__INIT;
    Livekit__SimulcastCodec *list[1] = {&sc};
    sc.codec = (char[]){"vp9"};
    set_layer(0, 0, 180);
    set_layer(1, 1, 360);
    sc.layers = layers;
    sc.n_layers = 2;
    r.simulcast_codecs = list;
    r.n_simulcast_codecs = 1;
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    assert_int_equal(info.codecs[0].layer_mode,
                     LIVEKIT__VIDEO_LAYER__MODE__MULTIPLE_SPATIAL_LAYERS_PER_STREAM);
    assert_false(info.simulcast);
    assert_string_equal(info.stream, "screen");
    LK_SET(&sc, video_layer_mode, LIVEKIT__VIDEO_LAYER__MODE__ONE_SPATIAL_LAYER_PER_STREAM);
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    assert_true(info.simulcast);
}

static void features_are_unique_and_know_the_old_flags(void **state)
{
    (void)state;
    Livekit__AddTrackRequest r = request(LIVEKIT__TRACK_TYPE__AUDIO, 0);
    Livekit__AudioTrackFeature f[30];
    for (size_t i = 0; i < ARRAY_LEN(f); i++) {
        f[i] = (Livekit__AudioTrackFeature)(i % 3);
    }
    r.audio_features = f;
    r.n_audio_features = ARRAY_LEN(f);
    LK_SET(&r, disable_dtx, true);
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    assert_false(info.stereo); // the flag was not set
    assert_true(track_info_stereo(&info));
    assert_true(info.disable_dtx);
    assert_false(track_info_dtx(&info));
    assert_int_equal(info.feature_count, 3);
    assert_string_equal(info.stream, "unknown");
    for (size_t i = 0; i < ARRAY_LEN(f); i++) {
        f[i] = (Livekit__AudioTrackFeature)(i * 100); // numbers nobody knows, too many
    }
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    assert_true(info.feature_count <= TRACK_INFO_FEATURES_MAX);
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    Livekit__AddTrackRequest r = request(LIVEKIT__TRACK_TYPE__VIDEO, (Livekit__TrackSource)99);
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    r.name = r.cid = r.stream = text;
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    assert_int_equal(strlen(info.name), TRACK_INFO_TEXT_MAX);
    assert_int_equal(strlen(info.codecs[0].cid), TRACK_INFO_TEXT_MAX);
    assert_int_equal(info.source, TRACK_SOURCE_UNKNOWN);
}

static void rids_have_ranks(void **state)
{
    (void)state;
    static const struct {
        const char *rid;
        uint8_t index, count, rank;
    } cases[] = {{"q", 2, 3, 0}, {"h", 1, 3, 1}, {"f", 0, 3, 2}, {"2", 0, 3, 0}, {"0", 2, 3, 2},
                 {"f", 0, 1, 0}, {"h", 1, 2, 1}, {"f", 1, 2, 1}, {"a", 1, 3, 1}, {"", 0, 1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(
            track_info_rid_rank(bytes_str(cases[i].rid), cases[i].index, cases[i].count),
            cases[i].rank);
    }
}

static void qualities_find_the_best_layer_below(void **state)
{
    (void)state;
    info = (struct track_info){.codec_count = 1};
    assert_int_equal(track_info_layer_for_quality(&info, 0, 2), 2); // nothing known
    info.codecs[0].layer_count = 2;
    info.codecs[0].layers[0].quality = 0;
    info.codecs[0].layers[1].quality = 2;
    assert_int_equal(track_info_layer_for_quality(&info, 0, 0), 0);
    assert_int_equal(track_info_layer_for_quality(&info, 0, 1), 0);
    assert_int_equal(track_info_layer_for_quality(&info, 0, 2), 1);
    info.codecs[0].layers[0].quality = 1;
    assert_int_equal(track_info_layer_for_quality(&info, 0, 0), 0); // nothing is that low
}

static void the_message_says_what_is_known(void **state)
{
    (void)state;
    Livekit__AddTrackRequest r = request(LIVEKIT__TRACK_TYPE__VIDEO, LIVEKIT__TRACK_SOURCE__CAMERA);
    set_layer(0, 0, 180);
    set_layer(1, 1, 360);
    r.layers = layers;
    r.n_layers = 2;
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    static const char *const rids[] = {"q", "h", "f"};
    track_info_set_rids(&info, 0, rids, 3);
    info.codecs[0].layers[1].ssrc = 7;
    (void)snprintf(info.sid, sizeof(info.sid), "TR_VCx");
    struct arena a;
    arena_init(&a, 512, 1 << 20);
    const Livekit__TrackInfo *const t = track_info_to_proto(&info, &a);
    assert_non_null(t);
    assert_string_equal(t->sid, "TR_VCx");
    assert_int_equal(t->n_codecs, 1);
    assert_int_equal(t->n_layers, 2);
    assert_ptr_equal(t->layers, t->codecs[0]->layers);
    assert_string_equal(t->layers[0]->rid, "q");
    assert_false(t->layers[0]->has_ssrc);
    assert_int_equal(t->layers[1]->ssrc, 7);
    assert_null(t->version);
    arena_done(&a);
    // Too little memory is an error, not half a message.
    arena_init(&a, 64, 128);
    assert_null(track_info_to_proto(&info, &a));
    arena_done(&a);
}

// ---- what livekit-server made of the requests of real clients -------------------------------

#define LINE_CAP (64u << 10)

static char line_buf[LINE_CAP];

static struct pbuf *decode(const char *base64, bool request)
{
    struct dynbuf raw;
    struct pbuf *m = NULL;
    dynbuf_init(&raw, LINE_CAP);
    assert_int_equal(base64_decode(BASE64_STD, bytes_str(base64), &raw), 0);
    assert_int_equal(request ? lk_unpack_signal_request(dynbuf_view(&raw), &m)
                             : lk_unpack_signal_response(dynbuf_view(&raw), &m),
                     0);
    dynbuf_done(&raw);
    return m;
}

static void assert_same(const char *scenario, const ProtobufCMessage *ours,
                        const ProtobufCMessage *theirs)
{
    struct dynbuf v[2];
    dynbuf_init(&v[0], LINE_CAP);
    dynbuf_init(&v[1], LINE_CAP);
    assert_int_equal(pbuf_pack(ours, &v[0]), 0);
    assert_int_equal(pbuf_pack(theirs, &v[1]), 0);
    if (!bytes_eq(dynbuf_view(&v[0]), dynbuf_view(&v[1]))) {
        fail_msg("%s: another TrackInfo than livekit-server's", scenario);
    }
    dynbuf_done(&v[0]);
    dynbuf_done(&v[1]);
}

static void recorded_requests_are_answered_as_recorded(void **state)
{
    (void)state;
    FILE *const f = fopen("tests/data/signalling/add_tracks.txt", "r");
    size_t lines = 0;
    assert_non_null(f); // run from the root of the tree
    while (fgets(line_buf, sizeof(line_buf), f)) {
        char *const scenario = strtok(line_buf, " \n");
        CLEANUP(pbuf_free) struct pbuf *req = decode(strtok(NULL, " \n"), true);
        CLEANUP(pbuf_free) struct pbuf *rsp = decode(strtok(NULL, " \n"), false);
        const Livekit__AddTrackRequest *const a = ((Livekit__SignalRequest *)req->msg)->add_track;
        const Livekit__TrackInfo *const want =
            ((Livekit__SignalResponse *)rsp->msg)->track_published->track;
        // Scenarios with a plus: another codec for the track of the line before.
        bool const backup = scenario[strlen(scenario) - 1] == '+';
        uint8_t index = 0;
        if (backup) {
            assert_int_equal(track_info_add_codec(&info, a, ALL, &index), 0);
            assert_int_equal(index, 1);
        } else {
            assert_int_equal(track_info_from_request(&info, a, ALL | 1u << CODEC_H265), 0);
            (void)snprintf(info.sid, sizeof(info.sid), "%s", want->sid);
        }
        struct arena arena;
        arena_init(&arena, 4096, LINE_CAP);
        const Livekit__TrackInfo *const got = track_info_to_proto(&info, &arena);
        assert_non_null(got);
        // What the first codec became by its publication is in the later answer as well.
        if (backup) {
            assert_same(scenario, &got->codecs[1]->base, &want->codecs[1]->base);
        } else {
            assert_same(scenario, &got->base, &want->base);
        }
        arena_done(&arena);
        lines++;
    }
    (void)fclose(f);
    assert_int_equal(lines, 37);
}

// Wrong ones and those that change nothing.
static void other_codecs_are_added_once(void **state)
{
    (void)state;
    Livekit__AddTrackRequest r = request(LIVEKIT__TRACK_TYPE__VIDEO, LIVEKIT__TRACK_SOURCE__CAMERA);
    Livekit__SimulcastCodec sc = LIVEKIT__SIMULCAST_CODEC__INIT;
    uint8_t index = 9;
    r.simulcast_codecs = (Livekit__SimulcastCodec *[]){&sc};
    r.n_simulcast_codecs = 1;
    LK_SET_STR(&sc, codec, "av1");
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    assert_int_equal(track_info_codec(&info, 1), CODEC_NONE);
    LK_SET_STR(&sc, codec, "h265"); // may not be published
    assert_int_equal(track_info_add_codec(&info, &r, ALL, &index), -ENOTSUP);
    LK_SET_STR(&sc, codec, "av1"); // the primary one
    assert_int_equal(track_info_add_codec(&info, &r, ALL, &index), 0);
    assert_int_equal(index, 0);
    assert_int_equal(info.codec_count, 1);
    LK_SET_STR(&sc, codec, "vp8"); // was not announced, and may be added nevertheless
    LK_SET_STR(&sc, cid, "second");
    assert_int_equal(track_info_add_codec(&info, &r, ALL, &index), 0);
    assert_int_equal(index, 1);
    assert_string_equal(info.codecs[1].cid, "second");
    assert_int_equal(track_info_codec(&info, 1), CODEC_VP8);
    LK_SET_STR(&sc, codec, "h264"); // a third one
    assert_int_equal(track_info_add_codec(&info, &r, ALL, &index), -ENOTSUP);
    // Published: its cid stays.
    (void)snprintf(info.codecs[1].mid, sizeof(info.codecs[1].mid), "5");
    LK_SET_STR(&sc, codec, "vp8");
    LK_SET_STR(&sc, cid, "third");
    assert_int_equal(track_info_add_codec(&info, &r, ALL, &index), 0);
    assert_string_equal(info.codecs[1].cid, "second");
    r.n_simulcast_codecs = 0;
    assert_int_equal(track_info_add_codec(&info, &r, ALL, &index), -ENOTSUP);
}

// UpdateLocalAudioTrack: as if the request had named them.
static void features_may_change(void **state)
{
    (void)state;
    Livekit__AddTrackRequest r =
        request(LIVEKIT__TRACK_TYPE__AUDIO, LIVEKIT__TRACK_SOURCE__MICROPHONE);
    Livekit__UpdateLocalAudioTrack u = LIVEKIT__UPDATE_LOCAL_AUDIO_TRACK__INIT;
    Livekit__AudioTrackFeature features[] = {LIVEKIT__AUDIO_TRACK_FEATURE__TF_ECHO_CANCELLATION,
                                             LIVEKIT__AUDIO_TRACK_FEATURE__TF_STEREO,
                                             LIVEKIT__AUDIO_TRACK_FEATURE__TF_ECHO_CANCELLATION};
    assert_int_equal(track_info_from_request(&info, &r, ALL), 0);
    u.features = features;
    u.n_features = ARRAY_LEN(features);
    assert_true(track_info_update_features(&info, &u));
    assert_int_equal(info.feature_count, 2);
    assert_int_equal(info.features[0], LIVEKIT__AUDIO_TRACK_FEATURE__TF_STEREO);
    assert_int_equal(info.features[1], LIVEKIT__AUDIO_TRACK_FEATURE__TF_ECHO_CANCELLATION);
    assert_true(info.stereo && track_info_stereo(&info));
    u.n_features = 2; // the same ones
    assert_false(track_info_update_features(&info, &u));
    u.n_features = 0;
    assert_true(track_info_update_features(&info, &u));
    assert_false(info.stereo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(audio_waits_for_its_mime),
        cmocka_unit_test(other_types_are_refused),
        cmocka_unit_test(layers_are_sorted_and_unique),
        cmocka_unit_test(codecs_are_the_enabled_ones_once),
        cmocka_unit_test(svc_codecs_have_their_layers_in_one_stream),
        cmocka_unit_test(features_are_unique_and_know_the_old_flags),
        cmocka_unit_test(features_may_change),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(rids_have_ranks),
        cmocka_unit_test(qualities_find_the_best_layer_below),
        cmocka_unit_test(the_message_says_what_is_known),
        cmocka_unit_test(recorded_requests_are_answered_as_recorded),
        cmocka_unit_test(other_codecs_are_added_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
