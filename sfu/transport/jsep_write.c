// SPDX-License-Identifier: Apache-2.0
// Parts of a section that answers and offers share.
#include <stdio.h>

#include "sfu/transport/jsep_internal.h"

void jsep_write_session_(struct jsep_writer *w, struct bytes bundle, bool allow_mixed)
{
    struct jsep *const j = w->j;
    struct sdp_session const s = {
        // RFC 8829 section 5.2.1: below 2^63 - 1.
        .id = j->cfg.session_id >> 1,
        .version = j->version,
        .ice_lite = j->cfg.ice_lite,
        .extmap_allow_mixed = allow_mixed,
        .has_bundle = bundle.n > 0,
        .bundle = bundle,
        .transport.fingerprint = bytes_str(j->fingerprint),
    };
    sdp_write_session(w->out, &s);
}

void jsep_begin_section_(struct jsep_writer *w, const struct jsep_transceiver *t,
                         enum sdp_setup setup, enum sdp_direction direction)
{
    static const struct {
        const char *kind;
        const char *proto;
        enum sdp_kind sdp_kind;
    } kinds[] = {
        [JSEP_AUDIO] = {"audio", "UDP/TLS/RTP/SAVPF", SDP_KIND_AUDIO},
        [JSEP_VIDEO] = {"video", "UDP/TLS/RTP/SAVPF", SDP_KIND_VIDEO},
        [JSEP_DATA] = {"application", "UDP/DTLS/SCTP", SDP_KIND_DATA},
        [JSEP_OTHER] = {"text", "UDP/TLS/RTP/SAVPF", SDP_KIND_OTHER},
    };
    bool const data = t->kind == JSEP_DATA;
    w->m = (struct sdp_media){
        .kind = kinds[t->kind].sdp_kind,
        .kind_text = bytes_str(kinds[t->kind].kind),
        .proto = bytes_str(kinds[t->kind].proto),
        .fmts = bytes_str(data ? "webrtc-datachannel" : "0"),
        .port = 9,
        .mid = bytes_str(t->mid),
        .direction = direction,
        .transport = {.ice_ufrag = bytes_str(w->j->ice_ufrag),
                      .ice_pwd = bytes_str(w->j->ice_pwd),
                      .setup = setup},
        .rtcp_mux = !data,
        .rtcp_rsize = !data,
        // 5.2: livekit-server's values; 65535 is what its SCTP stack takes as one message.
        .sctp_port = 5000,
        .max_message_size = 65535,
        .codecs = w->codecs,
        .extmaps = w->extmaps,
        .ssrcs = w->ssrcs,
        .groups = &w->group,
        .rids = w->rids,
        .msids = &w->msid,
    };
}

void jsep_add_codecs_(struct jsep_writer *w, const struct jsep_codec_view *list, size_t n)
{
    for (size_t i = 0; i < n && i < JSEP_MAX_CODECS; i++) {
        const struct jsep_codec *const c = &list[i].c;
        w->codecs[w->m.codec_count++] = (struct sdp_codec){
            .pt = c->pt,
            .channels = c->channels,
            .fb = c->fb,
            .clock = c->clock,
            .name = bytes_str(codec_name((enum codec)c->codec)),
            .fmtp = list[i].fmtp,
        };
        if (c->rtx_pt != 0) {
            snprintf(w->apt[i], sizeof(w->apt[i]), "apt=%u", c->pt);
            w->codecs[w->m.codec_count++] = (struct sdp_codec){
                .pt = c->rtx_pt,
                .channels = 1,
                .clock = c->clock,
                .name = bytes_str("rtx"),
                .fmtp = bytes_str(w->apt[i]),
            };
        }
    }
}

void jsep_add_ext_(struct jsep_writer *w, const struct sdp_extmap *e)
{
    if (w->m.extmap_count < ARRAY_LEN(w->extmaps)) {
        w->extmaps[w->m.extmap_count++] = *e;
    }
}

void jsep_add_rid_(struct jsep_writer *w, struct bytes id, bool simulcast, bool send)
{
    if (w->m.rid_count < ARRAY_LEN(w->rids)) {
        w->rids[w->m.rid_count++] =
            (struct sdp_rid){.id = id, .send = send, .simulcast = simulcast};
    }
}

void jsep_add_sent_rids_(struct jsep_writer *w, const struct jsep_sender *s)
{
    for (size_t i = 0; i < s->rid_count; i++) {
        jsep_add_rid_(w, bytes_str(s->rids[i]), true, true);
    }
}

void jsep_add_sender_(struct jsep_writer *w, const struct jsep_sender *s, bool with_rtx)
{
    w->msid = (struct sdp_msid){bytes_str(s->stream_id), bytes_str(s->track_id)};
    w->m.msid_count = 1;
    if (s->ssrc == 0 || s->no_ssrc_lines) {
        return;
    }
    snprintf(w->msid_text, sizeof(w->msid_text), "%s %s", s->stream_id, s->track_id);
    struct sdp_ssrc const line = {.cname = bytes_str(s->cname), .msid = bytes_str(w->msid_text)};
    w->ssrcs[0] = line;
    w->ssrcs[0].ssrc = s->ssrc;
    w->m.ssrc_count = 1;
    if (with_rtx && s->rtx_ssrc != 0) {
        w->ssrcs[1] = line;
        w->ssrcs[1].ssrc = s->rtx_ssrc;
        w->m.ssrc_count = 2;
        w->group = (struct sdp_ssrc_group){s->ssrc, s->rtx_ssrc};
        w->m.group_count = 1;
    }
}

void jsep_end_section_(struct jsep_writer *w)
{
    const struct jsep *const j = w->j;
    if (!w->candidates_written && !sdp_media_rejected(&w->m)) {
        for (size_t i = 0; i < j->candidate_count; i++) {
            w->candidates[i] = bytes_str(j->candidates[i]);
        }
        w->m.candidates = w->candidates;
        w->m.candidate_count = j->candidate_count;
        w->m.end_of_candidates = j->candidates_complete;
        w->candidates_written = true;
    }
    sdp_write_media(w->out, &w->m);
}

bool jsep_codecs_first_(struct jsep_codec_view *list, size_t n, enum codec codec)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        if (list[i].c.codec == codec) {
            struct jsep_codec_view const v = list[i];
            memmove(&list[to + 1], &list[to], (i - to) * sizeof(v));
            list[to++] = v;
        }
    }
    return to > 0;
}

void jsep_fmtp_append_(char *buf, size_t cap, const char *param)
{
    size_t const n = strlen(buf);
    size_t const sep = n > 0 ? 1 : 0;
    if (n + sep + strlen(param) < cap) {
        snprintf(buf + n, cap - n, "%s%s", sep > 0 ? ";" : "", param);
    }
}

void jsep_fmtp_without_(char *buf, size_t cap, struct bytes fmtp, const char *const *names,
                        size_t name_count)
{
    buf[0] = '\0';
    while (fmtp.n > 0) {
        struct bytes const param = sdp_token(&fmtp, ';');
        bool drop = param.n == 0 || param.n >= JSEP_MAX_FMTP;
        for (size_t i = 0; i < name_count && !drop; i++) {
            struct bytes ignored;
            drop = sdp_fmtp_param(param, names[i], &ignored);
        }
        if (!drop) {
            char text[JSEP_MAX_FMTP];
            memcpy(text, param.p, param.n);
            text[param.n] = '\0';
            const char *trimmed = text;
            while (*trimmed == ' ') {
                trimmed++;
            }
            jsep_fmtp_append_(buf, cap, trimmed);
        }
    }
}
