// SPDX-License-Identifier: Apache-2.0
#include "tests/support/room_script.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/svc/pbjson.h"

struct section {
    char mid[16], kind[16], direction[16], codec[32], rids[32], track[64], cid[64];
};

// One of the list; what follows is returned, NULL at the end.
static const char *next_section(const char *text, struct section *ret)
{
    char word[128];
    *ret = (struct section){.mid = ""};
    char *const fields[] = {ret->mid, ret->kind, ret->direction, ret->codec};
    static const size_t sizes[] = {sizeof(ret->mid), sizeof(ret->kind), sizeof(ret->direction),
                                   sizeof(ret->codec)};
    size_t n = 0;
    int used = 0;
    while (*text != 0 && *text != ';' && sscanf(text, " %127[^ ;]%n", word, &used) == 1) {
        if (strncmp(word, "rid=", 4) == 0) {
            (void)snprintf(ret->rids, sizeof(ret->rids), "%.31s", word + 4);
        } else if (strncmp(word, "track=", 6) == 0) {
            (void)snprintf(ret->track, sizeof(ret->track), "%.63s", word + 6);
        } else if (strncmp(word, "cid=", 4) == 0) {
            (void)snprintf(ret->cid, sizeof(ret->cid), "%.63s", word + 4);
        } else if (n < ARRAY_LEN(fields)) {
            (void)snprintf(fields[n], sizes[n], "%.*s", (int)sizes[n] - 1, word);
            n++;
        }
        text += used;
        text += strspn(text, " ");
    }
    return *text == ';' ? text + 1 : NULL;
}

static struct room_sender *sender_on(const struct room_client *c, const struct jsep_transceiver *t)
{
    for (size_t i = 0; i < c->sender_count; i++) {
        if (c->senders[i]->section == t) {
            return c->senders[i];
        }
    }
    return NULL;
}

static void set_sender(struct room_client *c, struct jsep_transceiver *t, const struct section *s)
{
    struct room_sender *const old = sender_on(c, t);
    if (old != NULL && strcmp(old->sdp_cid, s->track) == 0) {
        return;
    }
    if (old != NULL) {
        old->section = NULL;
    }
    bool const audio = t->kind == JSEP_AUDIO;
    char codec[32];
    (void)snprintf(codec, sizeof(codec), "%s", s->codec);
    codec[strcspn(codec, "/")] = 0;
    struct room_sender *const x = room_sender_new(c, audio             ? ROOM_AUDIO
                                                     : s->rids[0] != 0 ? ROOM_VIDEO_SIMULCAST
                                                                       : ROOM_VIDEO);
    (void)snprintf(x->cid, sizeof(x->cid), "%s", s->cid[0] != 0 ? s->cid : s->track);
    (void)snprintf(x->sdp_cid, sizeof(x->sdp_cid), "%s", s->track);
    x->level = 127; // room_replay says when it speaks
    x->section = t;
    if (!audio) {
        x->codec = (uint8_t)codec_by_name(bytes_str(codec));
    }
    struct jsep_sender js = {.stream_id = "stream", .track_id = x->sdp_cid, .cname = "cname"};
    char rids[sizeof(s->rids)];
    (void)snprintf(rids, sizeof(rids), "%s", s->rids);
    if (audio) {
        js.ssrc = x->audio_ssrc;
    } else if (rids[0] == 0) {
        js.ssrc = x->model.layers[0].ssrc;
        js.rtx_ssrc = x->model.layers[0].rtx_ssrc;
        js.preferred = x->codec;
    } else {
        js.preferred = x->codec;
        char *rest = rids;
        for (char *rid = NULL; (rid = strsep(&rest, "/")) != NULL && js.rid_count < 3;) {
            js.rids[js.rid_count++] = rid;
        }
        for (int layer = js.rid_count; layer < MODEL_LAYERS; layer++) {
            model_publisher_set_active(&x->model, layer, false);
        }
    }
    room_must(jsep_transceiver_set_sender(t, &js) == 0, "sender");
}

static struct jsep_transceiver *need_section(struct room_client *c, const struct section *s)
{
    struct jsep *const j = c->publisher->jsep;
    struct jsep_transceiver *t = jsep_by_mid(j, bytes_str(s->mid));
    if (t != NULL) {
        return t;
    }
    if (strcmp(s->kind, "application") == 0) {
        room_must(jsep_add_data_section(j) == 0, "data section");
        return NULL;
    }
    enum jsep_kind const kind = strcmp(s->kind, "audio") == 0 ? JSEP_AUDIO : JSEP_VIDEO;
    bool const sends = strncmp(s->direction, "send", 4) == 0;
    room_must((sends ? jsep_add_sender_section(j, kind, &t)
                     : jsep_add_receiver_section(j, kind, &t)) == 0,
              "section");
    return t;
}

static void apply_sections(struct room_client *c, const char *sections)
{
    struct section s;
    while (sections != NULL && *sections != 0) {
        sections = next_section(sections, &s);
        struct jsep_transceiver *const t = need_section(c, &s);
        if (t == NULL || t->kind == JSEP_DATA) {
            continue;
        }
        if (strncmp(s.direction, "send", 4) == 0 && s.track[0] != 0) {
            set_sender(c, t, &s);
        } else if (sender_on(c, t) != NULL) {
            sender_on(c, t)->section = NULL;
            jsep_transceiver_clear_sender(t);
        }
    }
}

static void write_offer(struct room_client *c, const char *sections, uint32_t id, bool restart,
                        struct dynbuf *out)
{
    if (c->publisher == NULL) {
        c->publisher = room_pc_new(c, false);
    }
    apply_sections(c, sections);
    room_pc_write_offer(c->publisher, restart, out);
    c->publisher->offer_id = id;
}

void room_script_offer(struct room_client *c, const char *sections, uint32_t id, bool restart)
{
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    write_offer(c, sections, id, restart, &b);
    Livekit__SessionDescription d = LIVEKIT__SESSION_DESCRIPTION__INIT;
    LK_SET_STR(&d, type, "offer");
    LK_SET_STR(&d, sdp, dynbuf_cstr(&b));
    LK_SET(&d, id, id);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_OFFER;
    r.offer = &d;
    room_client_request(c, &r);
    dynbuf_done(&b);
}

bool room_script_request(struct room_client *c, const char *json)
{
    struct pbuf *p = NULL;
    struct pbjson_limits const limits = {.max_bytes = 4u << 20, .max_memory = 16u << 20};
    if (pbjson_read(&livekit__signal_request__descriptor, bytes_str(json), &limits, &p) < 0) {
        return false;
    }
    const Livekit__SignalRequest *const r = p->msg;
    if (r->message_case == LIVEKIT__SIGNAL_REQUEST__MESSAGE_MUTE) {
        for (size_t i = 0; i < c->sender_count; i++) {
            if (strcmp(c->senders[i]->sid, lk_str(r->mute->sid)) == 0) {
                c->senders[i]->muted = r->mute->muted;
            }
        }
    }
    room_client_request(c, r);
    pbuf_free(p);
    return true;
}

// ---- connecting -----------------------------------------------------------------------------

static bool token_is_good(struct room_harness *h, const char *jwt)
{
    struct access_token *token = NULL;
    struct access_token_refusal why;
    if (access_token_verify(h->keys, h->env.wall, bytes_str(jwt), &token, &why) < 0) {
        return false;
    }
    access_token_free(token);
    return true;
}

static struct pbuf *read_join(const char *request)
{
    struct pbuf *p = NULL;
    struct pbjson_limits const limits = PBJSON_LIMITS_DEFAULT;
    room_must(pbjson_read(&livekit__join_request__descriptor, bytes_str(request), &limits, &p) == 0,
              "join request");
    return p;
}

struct room_client *room_script_join(struct room_harness *h, const char *identity, bool v1,
                                     const char *jwt, const char *request, const char *sections,
                                     uint32_t offer_id)
{
    if (!token_is_good(h, jwt)) {
        return NULL;
    }
    struct pbuf *const p = read_join(request);
    Livekit__JoinRequest *const j = p->msg;
    // Pion knows no RED (recording 08-lk-cli), browsers do.
    bool const go = j->client_info != NULL && j->client_info->sdk == LIVEKIT__CLIENT_INFO__SDK__GO;
    struct room_client *const c =
        room_client_new(h, &(struct room_client_conf){.identity = identity,
                                                      .v0 = !v1,
                                                      .scripted = true,
                                                      .jwt = jwt,
                                                      .codecs = go ? ~(1u << CODEC_RED) : 0});
    Livekit__SessionDescription d = LIVEKIT__SESSION_DESCRIPTION__INIT;
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    if (sections != NULL) {
        write_offer(c, sections, offer_id, false, &b);
        LK_SET_STR(&d, type, "offer");
        LK_SET_STR(&d, sdp, dynbuf_cstr(&b));
        LK_SET(&d, id, offer_id);
        j->publisher_offer = &d;
    }
    room_client_connect(c, j);
    j->publisher_offer = NULL;
    dynbuf_done(&b);
    pbuf_free(p);
    c->conf.jwt = NULL;
    return c;
}

bool room_script_resume(struct room_client *c, const char *jwt, const char *request)
{
    if (!token_is_good(c->h, jwt)) {
        return false;
    }
    struct pbuf *const p = read_join(request);
    c->conf.jwt = jwt;
    c->reconnected = c->left = false;
    room_client_connect(c, p->msg);
    c->conf.jwt = NULL;
    pbuf_free(p);
    return true;
}
