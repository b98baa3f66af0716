// SPDX-License-Identifier: Apache-2.0
// The a= lines: one function each, a table at the end.
#include "sfu/wire/sdp_parser.h"

static struct sdp_transport *transport_of(struct sdp_parser *p)
{
    return p->m != NULL ? &p->m->transport : &p->s->session.transport;
}

// The codec named by a leading payload type; *value moves behind it. NULL: not listed in the m=
// line, or no section.
static struct sdp_codec *codec_of(struct sdp_parser *p, struct bytes *value)
{
    uint64_t pt;
    struct bytes const text = sdp_token(value, ' ');
    if (p->m == NULL || !sdp_parse_uint(text, 127, &pt) || p->codec_of_pt[pt] < 0) {
        return NULL;
    }
    *value = sdp_trim(*value);
    return &p->m->codecs[p->codec_of_pt[pt]];
}

static void on_rtpmap(struct sdp_parser *p, struct bytes value)
{
    struct sdp_codec *const c = codec_of(p, &value);
    if (c == NULL) {
        return;
    }
    struct bytes rest;
    struct bytes const name = sdp_split(value, '/', &rest);
    struct bytes const clock_text = sdp_split(rest, '/', &rest);
    uint64_t clock;
    uint64_t channels = 1;
    if (name.n == 0 || !sdp_printable(name) || !sdp_parse_uint(clock_text, UINT32_MAX, &clock) ||
        (rest.n > 0 && !sdp_parse_uint(rest, UINT8_MAX, &channels))) {
        p->err = -EBADMSG;
        return;
    }
    c->name = name;
    c->clock = (uint32_t)clock;
    c->channels = (uint8_t)channels;
}

static void on_fmtp(struct sdp_parser *p, struct bytes value)
{
    struct sdp_codec *const c = codec_of(p, &value);
    if (c == NULL || c->fmtp.n > 0) {
        return;
    }
    if (!sdp_printable(value)) {
        p->err = -EBADMSG;
        return;
    }
    c->fmtp = value;
}

static uint8_t feedback_flag(struct bytes value)
{
    struct bytes rest = value;
    struct bytes const type = sdp_token(&rest, ' ');
    struct bytes const param = sdp_token(&rest, ' ');
    if (bytes_eq_str(type, "nack")) {
        if (param.n == 0) {
            return SDP_FB_NACK;
        }
        return bytes_eq_str(param, "pli") ? SDP_FB_PLI : 0;
    }
    if (bytes_eq_str(type, "ccm")) {
        return bytes_eq_str(param, "fir") ? SDP_FB_FIR : 0;
    }
    if (bytes_eq_str(type, "transport-cc")) {
        return SDP_FB_TRANSPORT_CC;
    }
    if (bytes_eq_str(type, "goog-remb")) {
        return SDP_FB_REMB;
    }
    return bytes_eq_str(type, "rrtr") ? SDP_FB_RRTR : 0;
}

static void on_rtcp_fb(struct sdp_parser *p, struct bytes value)
{
    if (p->m == NULL) {
        return;
    }
    if (value.n > 1 && value.p[0] == '*') {
        sdp_token(&value, ' ');
        uint8_t const flag = feedback_flag(value);
        for (size_t i = 0; i < p->m->codec_count; i++) {
            p->m->codecs[i].fb |= flag;
        }
        return;
    }
    struct sdp_codec *const c = codec_of(p, &value);
    if (c != NULL) {
        c->fb |= feedback_flag(value);
    }
}

static bool direction_of(struct bytes text, enum sdp_direction *ret)
{
    static const char *const names[] = {"inactive", "sendonly", "recvonly", "sendrecv"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_eq_str(text, names[i])) {
            *ret = (enum sdp_direction)i;
            return true;
        }
    }
    return false;
}

static void on_extmap(struct sdp_parser *p, struct bytes value)
{
    if (p->m == NULL) {
        return;
    }
    struct bytes direction;
    struct bytes const id_text = sdp_split(sdp_token(&value, ' '), '/', &direction);
    struct sdp_extmap e = {.direction = SDP_SENDRECV, .uri = sdp_token(&value, ' ')};
    uint64_t id;
    if (!sdp_parse_uint(id_text, 4351, &id) || id == 0 || e.uri.n == 0) {
        p->err = -EBADMSG;
        return;
    }
    e.id = (uint16_t)id;
    e.has_direction = direction.n > 0 && direction_of(direction, &e.direction);
    if (p->m->extmap_count == SDP_MAX_EXTMAPS) {
        p->err = -E2BIG;
        return;
    }
    *p->extmap++ = e;
    p->m->extmap_count++;
}

static struct sdp_ssrc *ssrc_of(struct sdp_parser *p, uint32_t ssrc)
{
    for (size_t i = 0; i < p->m->ssrc_count; i++) {
        if (p->m->ssrcs[i].ssrc == ssrc) {
            return &p->m->ssrcs[i];
        }
    }
    if (p->m->ssrc_count == SDP_MAX_SSRCS) {
        p->err = -E2BIG;
        return NULL;
    }
    *p->ssrc = (struct sdp_ssrc){.ssrc = ssrc};
    p->m->ssrc_count++;
    return p->ssrc++;
}

static void on_ssrc(struct sdp_parser *p, struct bytes value)
{
    uint64_t ssrc;
    if (p->m == NULL || !sdp_parse_uint(sdp_token(&value, ' '), UINT32_MAX, &ssrc)) {
        return;
    }
    struct sdp_ssrc *const s = ssrc_of(p, (uint32_t)ssrc);
    if (s == NULL) {
        return;
    }
    struct bytes text;
    struct bytes const attribute = sdp_split(sdp_trim(value), ':', &text);
    if (bytes_eq_str(attribute, "cname")) {
        s->cname = text;
    } else if (bytes_eq_str(attribute, "msid")) {
        s->msid = text;
    }
}

static void on_ssrc_group(struct sdp_parser *p, struct bytes value)
{
    if (p->m == NULL || !bytes_eq_str(sdp_token(&value, ' '), "FID")) {
        return;
    }
    uint64_t primary;
    uint64_t rtx;
    if (!sdp_parse_uint(sdp_token(&value, ' '), UINT32_MAX, &primary) ||
        !sdp_parse_uint(sdp_token(&value, ' '), UINT32_MAX, &rtx)) {
        return;
    }
    if (p->m->group_count == SDP_MAX_SSRC_GROUPS) {
        p->err = -E2BIG;
        return;
    }
    *p->group++ = (struct sdp_ssrc_group){(uint32_t)primary, (uint32_t)rtx};
    p->m->group_count++;
}

static void on_rid(struct sdp_parser *p, struct bytes value)
{
    if (p->m == NULL) {
        return;
    }
    struct bytes const id = sdp_token(&value, ' ');
    struct bytes const direction = sdp_token(&value, ' ');
    bool const send = bytes_eq_str(direction, "send");
    if (id.n == 0 || !sdp_printable(id) || (!send && !bytes_eq_str(direction, "recv"))) {
        p->err = -EBADMSG;
        return;
    }
    if (p->m->rid_count == SDP_MAX_RIDS || id.n > SDP_MAX_TOKEN) {
        p->err = -E2BIG;
        return;
    }
    *p->rid++ = (struct sdp_rid){.id = id, .send = send};
    p->m->rid_count++;
}

static void on_msid(struct sdp_parser *p, struct bytes value)
{
    if (p->m == NULL) {
        return;
    }
    if (p->m->msid_count == SDP_MAX_MSIDS) {
        p->err = -E2BIG;
        return;
    }
    struct bytes const stream = sdp_token(&value, ' ');
    *p->msid++ = (struct sdp_msid){.stream = stream, .track = sdp_token(&value, ' ')};
    p->m->msid_count++;
}

static void on_mid(struct sdp_parser *p, struct bytes value)
{
    value = sdp_trim(value);
    if (p->m == NULL) {
        return;
    }
    if (value.n == 0 || !sdp_printable(value) || memchr(value.p, ' ', value.n) != NULL) {
        p->err = -EBADMSG;
        return;
    }
    if (value.n > SDP_MAX_TOKEN) {
        p->err = -E2BIG;
        return;
    }
    p->m->mid = value;
}

static void on_group(struct sdp_parser *p, struct bytes value)
{
    if (!p->s->session.has_bundle && bytes_eq_str(sdp_token(&value, ' '), "BUNDLE")) {
        p->s->session.has_bundle = true;
        p->s->session.bundle = sdp_trim(value);
    }
}

static void on_setup(struct sdp_parser *p, struct bytes value)
{
    static const char *const names[] = {"", "actpass", "active", "passive", "holdconn"};
    for (unsigned i = 1; i < ARRAY_LEN(names); i++) {
        if (bytes_eq_str(sdp_trim(value), names[i])) {
            transport_of(p)->setup = (enum sdp_setup)i;
        }
    }
}

static void on_ufrag(struct sdp_parser *p, struct bytes value)
{
    transport_of(p)->ice_ufrag = sdp_trim(value);
}

static void on_pwd(struct sdp_parser *p, struct bytes value)
{
    transport_of(p)->ice_pwd = sdp_trim(value);
}

static void on_fingerprint(struct sdp_parser *p, struct bytes value)
{
    // A peer may list several hashes of its certificate; the first sha-256 is the one everybody
    // has.
    struct bytes *const f = &transport_of(p)->fingerprint;
    value = sdp_trim(value);
    struct bytes hash = value;
    if (f->n == 0 || sdp_name_eq(sdp_token(&hash, ' '), "sha-256")) {
        *f = value;
    }
}

static void on_simulcast(struct sdp_parser *p, struct bytes value)
{
    p->simulcast = sdp_trim(value);
}

static void on_rtcp_xr(struct sdp_parser *p, struct bytes value)
{
    if (p->m != NULL && sdp_has_prefix(sdp_trim(value), "rcvr-rtt")) {
        p->m->xr_rcvr_rtt = true;
    }
}

static void on_sctp_port(struct sdp_parser *p, struct bytes value)
{
    uint64_t port;
    if (p->m != NULL && sdp_parse_uint(sdp_trim(value), UINT16_MAX, &port)) {
        p->m->sctp_port = (uint16_t)port;
    }
}

static void on_max_message_size(struct sdp_parser *p, struct bytes value)
{
    uint64_t size;
    if (p->m != NULL && sdp_parse_uint(sdp_trim(value), UINT64_MAX, &size)) {
        p->m->max_message_size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    }
}

// `whole` starts behind "a=": the text that trickled candidates have.
static void on_candidate(struct sdp_parser *p, struct bytes whole)
{
    if (p->m == NULL) {
        return;
    }
    if (p->m->candidate_count == SDP_MAX_CANDIDATES) {
        p->err = -E2BIG;
        return;
    }
    *p->candidate++ = whole;
    p->m->candidate_count++;
}

// Attributes without value. True if it was one.
static bool on_flag(struct sdp_parser *p, struct bytes name)
{
    enum sdp_direction d;
    if (direction_of(name, &d)) {
        *(p->m != NULL ? &p->m->direction : &p->session_direction) = d;
        return true;
    }
    if (bytes_eq_str(name, "ice-lite")) {
        p->s->session.ice_lite = true;
        return true;
    }
    if (bytes_eq_str(name, "extmap-allow-mixed")) {
        *(p->m != NULL ? &p->m->extmap_allow_mixed : &p->s->session.extmap_allow_mixed) = true;
        return true;
    }
    if (p->m == NULL) {
        return false;
    }
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"rtcp-mux", &p->m->rtcp_mux},
        {"rtcp-rsize", &p->m->rtcp_rsize},
        {"bundle-only", &p->m->bundle_only},
        {"end-of-candidates", &p->m->end_of_candidates},
    };
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (bytes_eq_str(name, flags[i].name)) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

void sdp_parser_attribute(struct sdp_parser *p, struct bytes line)
{
    static const struct {
        const char *name;
        void (*handle)(struct sdp_parser *, struct bytes);
    } table[] = {
        // the most frequent ones first
        {"rtcp-fb", on_rtcp_fb},
        {"rtpmap", on_rtpmap},
        {"fmtp", on_fmtp},
        {"extmap", on_extmap},
        {"ssrc", on_ssrc},
        {"ssrc-group", on_ssrc_group},
        {"rid", on_rid},
        {"simulcast", on_simulcast},
        {"msid", on_msid},
        {"mid", on_mid},
        {"group", on_group},
        {"setup", on_setup},
        {"ice-ufrag", on_ufrag},
        {"ice-pwd", on_pwd},
        {"fingerprint", on_fingerprint},
        {"rtcp-xr", on_rtcp_xr},
        {"sctp-port", on_sctp_port},
        {"max-message-size", on_max_message_size},
    };
    struct bytes value;
    struct bytes const name = sdp_split(line, ':', &value);
    if (value.n == 0) {
        on_flag(p, name);
        return;
    }
    if (bytes_eq_str(name, "candidate")) {
        on_candidate(p, line);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (bytes_eq_str(name, table[i].name)) {
            table[i].handle(p, value);
            return;
        }
    }
}
