// SPDX-License-Identifier: Apache-2.0
// Writing descriptions. Order of lines as browsers and pion write them; no client depends on it.
#include <inttypes.h>

#include "sfu/wire/sdp.h"

static void line(struct dynbuf *out, const char *head, struct bytes value)
{
    dynbuf_add_str(out, head);
    dynbuf_add(out, value);
    dynbuf_add_str(out, "\r\n");
}

static void write_transport(struct dynbuf *out, const struct sdp_transport *t)
{
    static const char *const setups[] = {"", "actpass", "active", "passive", "holdconn"};
    if (t->ice_ufrag.n > 0) {
        line(out, "a=ice-ufrag:", t->ice_ufrag);
    }
    if (t->ice_pwd.n > 0) {
        line(out, "a=ice-pwd:", t->ice_pwd);
    }
    if (t->fingerprint.n > 0) {
        line(out, "a=fingerprint:", t->fingerprint);
    }
    if (t->setup != SDP_SETUP_NONE) {
        line(out, "a=setup:", bytes_str(setups[t->setup]));
    }
}

void sdp_write_session(struct dynbuf *out, const struct sdp_session *s)
{
    dynbuf_addf(out, "v=0\r\no=- %" PRIu64 " %" PRIu64 " IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", s->id,
                s->version);
    dynbuf_add_str(out, "a=msid-semantic:WMS *\r\n");
    write_transport(out, &s->transport);
    if (s->ice_lite) {
        dynbuf_add_str(out, "a=ice-lite\r\n");
    }
    if (s->extmap_allow_mixed) {
        dynbuf_add_str(out, "a=extmap-allow-mixed\r\n");
    }
    if (s->has_bundle) {
        line(out, "a=group:BUNDLE ", s->bundle);
    }
}

static void write_codec(struct dynbuf *out, const struct sdp_codec *c)
{
    static const struct {
        uint8_t flag;
        const char *text;
    } feedback[] = {
        {SDP_FB_REMB, "goog-remb"}, {SDP_FB_TRANSPORT_CC, "transport-cc"},
        {SDP_FB_FIR, "ccm fir"},    {SDP_FB_NACK, "nack"},
        {SDP_FB_PLI, "nack pli"},   {SDP_FB_RRTR, "rrtr"},
    };
    if (c->name.n > 0) {
        dynbuf_addf(out, "a=rtpmap:%u ", c->pt);
        dynbuf_add(out, c->name);
        dynbuf_addf(out, c->channels > 1 ? "/%" PRIu32 "/%u\r\n" : "/%" PRIu32 "\r\n", c->clock,
                    c->channels);
    }
    if (c->fmtp.n > 0) {
        dynbuf_addf(out, "a=fmtp:%u ", c->pt);
        line(out, "", c->fmtp);
    }
    for (size_t i = 0; i < ARRAY_LEN(feedback); i++) {
        if ((c->fb & feedback[i].flag) != 0) {
            dynbuf_addf(out, "a=rtcp-fb:%u %s\r\n", c->pt, feedback[i].text);
        }
    }
}

static const char *const directions[] = {"inactive", "sendonly", "recvonly", "sendrecv"};

static void write_extmaps(struct dynbuf *out, const struct sdp_media *m)
{
    for (size_t i = 0; i < m->extmap_count; i++) {
        const struct sdp_extmap *const e = &m->extmaps[i];
        dynbuf_addf(out, "a=extmap:%u", e->id);
        if (e->has_direction) {
            dynbuf_addf(out, "/%s", directions[e->direction]);
        }
        line(out, " ", e->uri);
    }
}

static void write_ssrcs(struct dynbuf *out, const struct sdp_media *m)
{
    for (size_t i = 0; i < m->group_count; i++) {
        dynbuf_addf(out, "a=ssrc-group:FID %" PRIu32 " %" PRIu32 "\r\n", m->groups[i].primary,
                    m->groups[i].rtx);
    }
    for (size_t i = 0; i < m->ssrc_count; i++) {
        const struct sdp_ssrc *const s = &m->ssrcs[i];
        dynbuf_addf(out, "a=ssrc:%" PRIu32, s->ssrc);
        line(out, " cname:", s->cname);
        if (s->msid.n > 0) {
            dynbuf_addf(out, "a=ssrc:%" PRIu32, s->ssrc);
            line(out, " msid:", s->msid);
        }
    }
    for (size_t i = 0; i < m->msid_count; i++) {
        dynbuf_add_str(out, "a=msid:");
        dynbuf_add(out, m->msids[i].stream);
        line(out, m->msids[i].track.n > 0 ? " " : "", m->msids[i].track);
    }
}

static void write_simulcast(struct dynbuf *out, const struct sdp_media *m, bool send, bool *first)
{
    size_t n = 0;
    for (size_t i = 0; i < m->rid_count; i++) {
        if (m->rids[i].send == send && m->rids[i].simulcast) {
            if (n == 0) {
                dynbuf_add_str(out, *first ? "a=simulcast:" : " ");
                dynbuf_add_str(out, send ? "send " : "recv ");
                *first = false;
            } else {
                dynbuf_add_str(out, ";");
            }
            dynbuf_add(out, m->rids[i].id);
            n++;
        }
    }
}

static void write_rids(struct dynbuf *out, const struct sdp_media *m)
{
    for (size_t i = 0; i < m->rid_count; i++) {
        dynbuf_add_str(out, "a=rid:");
        dynbuf_add(out, m->rids[i].id);
        dynbuf_add_str(out, m->rids[i].send ? " send\r\n" : " recv\r\n");
    }
    bool first = true;
    write_simulcast(out, m, true, &first);
    write_simulcast(out, m, false, &first);
    if (!first) {
        dynbuf_add_str(out, "\r\n");
    }
}

static void write_rtp(struct dynbuf *out, const struct sdp_media *m)
{
    if (m->rtcp_mux) {
        dynbuf_add_str(out, "a=rtcp-mux\r\n");
    }
    if (m->rtcp_rsize) {
        dynbuf_add_str(out, "a=rtcp-rsize\r\n");
    }
    if (m->xr_rcvr_rtt) {
        dynbuf_add_str(out, "a=rtcp-xr:rcvr-rtt=all\r\n");
    }
    for (size_t i = 0; i < m->codec_count; i++) {
        write_codec(out, &m->codecs[i]);
    }
    write_extmaps(out, m);
    write_rids(out, m);
    write_ssrcs(out, m);
}

void sdp_write_media(struct dynbuf *out, const struct sdp_media *m)
{
    dynbuf_add_str(out, "m=");
    dynbuf_add(out, m->kind_text);
    dynbuf_addf(out, " %u ", m->port);
    dynbuf_add(out, m->proto);
    if (m->codec_count == 0) {
        dynbuf_add_str(out, " ");
        dynbuf_add(out, m->fmts);
    }
    for (size_t i = 0; i < m->codec_count; i++) {
        dynbuf_addf(out, " %u", m->codecs[i].pt);
    }
    dynbuf_add_str(out, "\r\nc=IN IP4 0.0.0.0\r\n");
    if (m->mid.n > 0) {
        line(out, "a=mid:", m->mid);
    }
    dynbuf_addf(out, "a=%s\r\n", directions[m->direction]);
    if (sdp_media_rejected(m)) {
        return;
    }
    if (m->bundle_only) {
        dynbuf_add_str(out, "a=bundle-only\r\n");
    }
    write_transport(out, &m->transport);
    if (m->extmap_allow_mixed) {
        dynbuf_add_str(out, "a=extmap-allow-mixed\r\n");
    }
    if (m->kind == SDP_KIND_DATA) {
        dynbuf_addf(out, "a=sctp-port:%u\r\na=max-message-size:%" PRIu32 "\r\n", m->sctp_port,
                    m->max_message_size);
    } else {
        write_rtp(out, m);
    }
    for (size_t i = 0; i < m->candidate_count; i++) {
        line(out, "a=", m->candidates[i]);
    }
    if (m->end_of_candidates) {
        dynbuf_add_str(out, "a=end-of-candidates\r\n");
    }
}

void sdp_write(struct dynbuf *out, const struct sdp *s)
{
    sdp_write_session(out, &s->session);
    for (size_t i = 0; i < s->media_count; i++) {
        sdp_write_media(out, &s->media[i]);
    }
}
