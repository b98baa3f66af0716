// SPDX-License-Identifier: Apache-2.0
// What the other side says it sends in a section.
#include "common/base/mem.h"
#include "sfu/transport/jsep_internal.h"

struct text_writer {
    char *at;
    size_t n; // measured when at is NULL
};

static const char *put(struct text_writer *w, struct bytes text)
{
    w->n += text.n + 1;
    if (w->at == NULL) {
        return NULL;
    }
    char *const p = w->at;
    if (text.n > 0) {
        memcpy(p, text.p, text.n);
    }
    p[text.n] = '\0';
    w->at += text.n + 1;
    return p;
}

static bool is_rtx(const struct sdp_media *m, uint32_t ssrc)
{
    for (size_t i = 0; i < m->group_count; i++) {
        if (m->groups[i].rtx == ssrc) {
            return true;
        }
    }
    return false;
}

static uint32_t rtx_of(const struct sdp_media *m, uint32_t ssrc)
{
    for (size_t i = 0; i < m->group_count; i++) {
        if (m->groups[i].primary == ssrc) {
            return m->groups[i].rtx;
        }
    }
    return 0;
}

static void collect(const struct sdp_media *m, struct jsep_remote_media *r, struct text_writer *w)
{
    *r = (struct jsep_remote_media){0};
    struct bytes stream = {NULL, 0};
    struct bytes track = {NULL, 0};
    if (m->msid_count > 0) {
        stream = m->msids[0].stream;
        track = m->msids[0].track;
    }
    for (size_t i = 0; i < m->ssrc_count; i++) {
        if (track.n == 0 && m->ssrcs[i].msid.n > 0) {
            struct bytes msid = m->ssrcs[i].msid;
            stream = sdp_token(&msid, ' ');
            track = sdp_token(&msid, ' ');
        }
        if (r->ssrc_count < JSEP_MAX_SSRCS && m->ssrcs[i].ssrc != 0 &&
            !is_rtx(m, m->ssrcs[i].ssrc)) {
            r->ssrcs[r->ssrc_count++] =
                (struct jsep_ssrc){m->ssrcs[i].ssrc, rtx_of(m, m->ssrcs[i].ssrc)};
        }
    }
    if (bytes_eq_str(stream, "-")) {
        stream.n = 0; // RFC 8830 section 2: no stream
    }
    stream.n = MIN(stream.n, (size_t)JSEP_MAX_ID);
    track.n = MIN(track.n, (size_t)JSEP_MAX_ID);
    r->stream_id = put(w, stream);
    r->track_id = put(w, track);
    for (size_t i = 0; i < m->rid_count && r->rid_count < JSEP_MAX_RIDS; i++) {
        if (m->rids[i].send) {
            r->rids[r->rid_count++] = put(w, m->rids[i].id);
        }
    }
}

int jsep_remote_media_(const struct sdp_media *m, bool answer, struct jsep_remote_media **ret)
{
    if ((m->direction & SDP_SENDONLY) == 0) {
        return 0;
    }
    struct jsep_remote_media r;
    struct text_writer w = {0};
    collect(m, &r, &w);
    if ((answer || m->direction == SDP_SENDRECV) && m->msid_count == 0 && r.ssrc_count == 0 &&
        r.rid_count == 0) {
        return 0;
    }
    struct jsep_remote_media *const copy = mem_alloc(sizeof(*copy) + w.n);
    if (copy == NULL) {
        return -ENOMEM;
    }
    w = (struct text_writer){.at = (char *)(copy + 1)};
    collect(m, copy, &w);
    *ret = copy;
    return 0;
}
