// SPDX-License-Identifier: Apache-2.0
// Two passes over the text: the first counts lines by type, so that one allocation holds every
// table; the second fills the tables.
#include "common/base/mem.h"
#include "sfu/wire/sdp_parser.h"

struct counts {
    size_t media;
    size_t codecs;
    size_t extmaps;
    size_t ssrcs;
    size_t groups;
    size_t rids;
    size_t msids;
    size_t candidates;
};

// The next line without its end; false at the end of the text. -EBADMSG and -E2BIG go to *err.
static bool next_line(struct bytes *text, struct bytes *ret, int *err)
{
    while (text->n > 0) {
        struct bytes line = sdp_split(*text, '\n', text);
        if (line.n > 0 && line.p[line.n - 1] == '\r') {
            line.n--;
        }
        if (line.n == 0) {
            continue;
        }
        if (line.n > SDP_MAX_LINE) {
            *err = -E2BIG;
            return false;
        }
        if (line.n < 2 || line.p[1] != '=') {
            *err = -EBADMSG;
            return false;
        }
        for (size_t i = 0; i < line.n; i++) {
            if (line.p[i] < 0x20 && line.p[i] != '\t') {
                *err = -EBADMSG;
                return false;
            }
        }
        *ret = line;
        return true;
    }
    return false;
}

// ---- first pass -----------------------------------------------------------------------------

static size_t count_tokens(struct bytes b)
{
    size_t n = 0;
    while (sdp_token(&b, ' ').n > 0) {
        n++;
    }
    return n;
}

static int count(struct bytes text, struct counts *c)
{
    struct bytes line;
    int err = 0;
    while (next_line(&text, &line, &err)) {
        if (line.p[0] == 'm') {
            c->media++;
            c->codecs += MIN(count_tokens(line), (size_t)SDP_MAX_CODECS);
        } else if (sdp_has_prefix(line, "a=extmap:")) {
            c->extmaps++;
        } else if (sdp_has_prefix(line, "a=ssrc:")) {
            c->ssrcs++;
        } else if (sdp_has_prefix(line, "a=ssrc-group:")) {
            c->groups++;
        } else if (sdp_has_prefix(line, "a=rid:")) {
            c->rids++;
        } else if (sdp_has_prefix(line, "a=msid:")) {
            c->msids++;
        } else if (sdp_has_prefix(line, "a=candidate:")) {
            c->candidates++;
        }
        if (c->media > SDP_MAX_SECTIONS) {
            return -E2BIG;
        }
    }
    return err;
}

// ---- sections -------------------------------------------------------------------------------

// Moves the rid (id, direction) to position `to` if it stands at or behind it.
static bool pull_rid(struct sdp_media *m, struct bytes id, bool send, size_t to)
{
    for (size_t i = to; i < m->rid_count; i++) {
        if (m->rids[i].send == send && bytes_eq(m->rids[i].id, id)) {
            struct sdp_rid r = m->rids[i];
            r.simulcast = true;
            memmove(&m->rids[to + 1], &m->rids[to], (i - to) * sizeof(r));
            m->rids[to] = r;
            return true;
        }
    }
    return false;
}

// RFC 8853 section 5.1: "send 1,~4;2;~3 recv c". Of alternatives the first that has an a=rid line
// counts; ~ (paused) is ignored, as livekit does. The old draft wrote "rid=" in front of the list.
static void order_rids(struct sdp_media *m, struct bytes value)
{
    size_t to = 0;
    for (;;) {
        struct bytes const direction = sdp_token(&value, ' ');
        struct bytes list = sdp_token(&value, ' ');
        if (list.n == 0) {
            return;
        }
        bool const send = sdp_name_eq(direction, "send");
        if (sdp_has_prefix(list, "rid=")) {
            list.p += 4;
            list.n -= 4;
        }
        while (list.n > 0) {
            struct bytes stream = sdp_split(list, ';', &list);
            while (stream.n > 0) {
                struct bytes id = sdp_split(stream, ',', &stream);
                if (id.n > 0 && id.p[0] == '~') {
                    id.p++;
                    id.n--;
                }
                if (pull_rid(m, id, send, to)) {
                    to++;
                    break;
                }
            }
        }
    }
}

static void name_static_payload_types(struct sdp_media *m)
{
    // RFC 3551 section 6, as far as browsers list them.
    static const struct {
        uint8_t pt;
        const char *name;
    } known[] = {{0, "PCMU"}, {8, "PCMA"}, {9, "G722"}, {13, "CN"}};
    for (size_t i = 0; i < m->codec_count; i++) {
        struct sdp_codec *const c = &m->codecs[i];
        for (size_t k = 0; c->name.n == 0 && k < ARRAY_LEN(known); k++) {
            if (known[k].pt == c->pt) {
                c->name = bytes_str(known[k].name);
                c->clock = 8000;
            }
        }
    }
}

static void finish_section(struct sdp_parser *p)
{
    if (p->m == NULL) {
        return;
    }
    order_rids(p->m, p->simulcast);
    name_static_payload_types(p->m);
}

static enum sdp_kind kind_of(const struct sdp_media *m)
{
    struct bytes proto = m->proto;
    bool rtp = false;
    bool dtls = false;
    bool sctp = false;
    while (proto.n > 0) {
        struct bytes const part = sdp_token(&proto, '/');
        rtp |= bytes_eq_str(part, "SAVPF") || bytes_eq_str(part, "SAVP");
        dtls |= bytes_eq_str(part, "DTLS");
        sctp |= bytes_eq_str(part, "SCTP");
    }
    if (rtp && bytes_eq_str(m->kind_text, "audio")) {
        return SDP_KIND_AUDIO;
    }
    if (rtp && bytes_eq_str(m->kind_text, "video")) {
        return SDP_KIND_VIDEO;
    }
    if (dtls && sctp && bytes_eq_str(m->kind_text, "application") &&
        bytes_eq_str(m->fmts, "webrtc-datachannel")) {
        return SDP_KIND_DATA;
    }
    return SDP_KIND_OTHER;
}

static int add_payload_types(struct sdp_parser *p)
{
    struct bytes fmts = p->m->fmts;
    for (;;) {
        struct bytes const t = sdp_token(&fmts, ' ');
        if (t.n == 0) {
            return 0;
        }
        uint64_t pt;
        if (!sdp_parse_uint(t, 127, &pt)) {
            return -EBADMSG;
        }
        if (p->codec_of_pt[pt] >= 0) {
            continue;
        }
        p->codec_of_pt[pt] = (int16_t)p->m->codec_count;
        *p->codec++ = (struct sdp_codec){.pt = (uint8_t)pt, .channels = 1};
        p->m->codec_count++;
    }
}

static int on_media(struct sdp_parser *p, struct bytes value)
{
    finish_section(p);
    if (!sdp_printable(value)) {
        return -EBADMSG;
    }
    struct sdp_media *const m = p->m == NULL ? p->s->media : p->m + 1;
    p->s->media_count++;
    p->m = m;
    p->simulcast = (struct bytes){NULL, 0};
    for (size_t i = 0; i < ARRAY_LEN(p->codec_of_pt); i++) {
        p->codec_of_pt[i] = -1;
    }
    *m = (struct sdp_media){
        .direction = p->session_direction,
        .max_message_size = 65536,
        .codecs = p->codec,
        .extmaps = p->extmap,
        .ssrcs = p->ssrc,
        .groups = p->group,
        .rids = p->rid,
        .msids = p->msid,
        .candidates = p->candidate,
    };
    m->kind_text = sdp_token(&value, ' ');
    struct bytes count_text;
    struct bytes const port_text = sdp_split(sdp_token(&value, ' '), '/', &count_text);
    m->proto = sdp_token(&value, ' ');
    m->fmts = sdp_trim(value);
    uint64_t port;
    if (m->fmts.n == 0 || !sdp_parse_uint(port_text, UINT16_MAX, &port)) {
        return -EBADMSG;
    }
    m->port = (uint16_t)port;
    m->kind = kind_of(m);
    return m->kind == SDP_KIND_AUDIO || m->kind == SDP_KIND_VIDEO ? add_payload_types(p) : 0;
}

static void on_origin(struct sdp_parser *p, struct bytes value)
{
    sdp_token(&value, ' ');
    uint64_t v;
    if (sdp_parse_uint(sdp_token(&value, ' '), UINT64_MAX, &v)) {
        p->s->session.id = v;
    }
    if (sdp_parse_uint(sdp_token(&value, ' '), UINT64_MAX, &v)) {
        p->s->session.version = v;
    }
}

// ---- entry ----------------------------------------------------------------------------------

// Takes room for n objects of `size` bytes; every object here has pointer alignment. Returns its
// offset.
static size_t take(size_t *end, size_t n, size_t size)
{
    size_t const at = *end;
    *end += (n * size + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
    return at;
}

// The block: struct sdp, tables, copy of the text. *text moves to the copy.
static int allocate(struct bytes *text, const struct counts *c, struct sdp_parser *p)
{
    size_t end = 0;
    take(&end, 1, sizeof(struct sdp));
    size_t const media = take(&end, c->media, sizeof(struct sdp_media));
    size_t const codecs = take(&end, c->codecs, sizeof(struct sdp_codec));
    size_t const extmaps = take(&end, c->extmaps, sizeof(struct sdp_extmap));
    size_t const ssrcs = take(&end, c->ssrcs, sizeof(struct sdp_ssrc));
    size_t const groups = take(&end, c->groups, sizeof(struct sdp_ssrc_group));
    size_t const rids = take(&end, c->rids, sizeof(struct sdp_rid));
    size_t const msids = take(&end, c->msids, sizeof(struct sdp_msid));
    size_t const candidates = take(&end, c->candidates, sizeof(struct bytes));
    size_t const copy = take(&end, text->n, 1);
    // Sums cannot overflow: each count is below SDP_MAX_TEXT.
    uint8_t *const block = mem_alloc(end);
    if (block == NULL) {
        return -ENOMEM;
    }
    void *const b = block;
    *p = (struct sdp_parser){
        .s = b,
        .codec = (void *)(block + codecs),
        .extmap = (void *)(block + extmaps),
        .ssrc = (void *)(block + ssrcs),
        .group = (void *)(block + groups),
        .rid = (void *)(block + rids),
        .msid = (void *)(block + msids),
        .candidate = (void *)(block + candidates),
        .session_direction = SDP_SENDRECV,
    };
    p->s->media = (void *)(block + media);
    memcpy(block + copy, text->p, text->n);
    *text = (struct bytes){block + copy, text->n};
    return 0;
}

int sdp_parse(struct bytes text, struct sdp **ret)
{
    if (text.n > SDP_MAX_TEXT) {
        return -E2BIG;
    }
    if (!sdp_has_prefix(text, "v=0")) {
        return -EBADMSG;
    }
    struct counts c = {0};
    int err = count(text, &c);
    if (err != 0) {
        return err;
    }
    struct sdp_parser p;
    err = allocate(&text, &c, &p);
    if (err != 0) {
        return err;
    }
    struct bytes line;
    while (p.err == 0 && next_line(&text, &line, &err)) {
        struct bytes const value = {line.p + 2, line.n - 2};
        switch (line.p[0]) {
        case 'm':
            p.err = on_media(&p, value);
            break;
        case 'a':
            sdp_parser_attribute(&p, value);
            break;
        case 'o':
            on_origin(&p, value);
            break;
        default:
            break;
        }
    }
    finish_section(&p);
    if (p.err != 0) {
        sdp_free(p.s);
        return p.err;
    }
    *ret = p.s;
    return 0;
}

void sdp_free(struct sdp *s)
{
    mem_free(s); // everything is in one block
}

struct sdp_transport sdp_media_transport(const struct sdp *s, const struct sdp_media *m)
{
    struct sdp_transport t = m->transport;
    const struct sdp_transport *const session = &s->session.transport;
    if (t.ice_ufrag.n == 0 && t.ice_pwd.n == 0) {
        t.ice_ufrag = session->ice_ufrag;
        t.ice_pwd = session->ice_pwd;
    }
    if (t.fingerprint.n == 0) {
        t.fingerprint = session->fingerprint;
    }
    if (t.setup == SDP_SETUP_NONE) {
        t.setup = session->setup;
    }
    return t;
}

bool sdp_in_bundle(const struct sdp_session *s, struct bytes mid)
{
    struct bytes list = s->bundle;
    for (;;) {
        struct bytes const t = sdp_token(&list, ' ');
        if (t.n == 0) {
            return false;
        }
        if (bytes_eq(t, mid)) {
            return true;
        }
    }
}

bool sdp_media_rejected(const struct sdp_media *m)
{
    return m->port == 0 && !m->bundle_only;
}
