// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/signal_codec.h"

#include "common/base/base64.h"
#include "common/lk/livekit.h"
#include "common/svc/gzip.h"
#include "common/svc/jsonx.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/signal/user_agent.h"

// ---- v1 -------------------------------------------------------------------------------------

static int unwrap(const Livekit__WrappedJoinRequest *w, struct dynbuf *inflated, struct bytes *ret,
                  struct auth_refusal *refusal)
{
    struct bytes const raw = lk_bytes(&w->join_request);
    if (w->compression == LIVEKIT__WRAPPED_JOIN_REQUEST__COMPRESSION__NONE) {
        if (raw.n > JOIN_REQUEST_MAX) {
            return auth_refuse(refusal, 400, "join request too large");
        }
        *ret = raw;
        return 0;
    }
    if (w->compression != LIVEKIT__WRAPPED_JOIN_REQUEST__COMPRESSION__GZIP) {
        // Anything else leaves the request empty, as in the original.
        *ret = (struct bytes){NULL, 0};
        return 0;
    }
    int const rc = gzip_inflate(raw, inflated);
    if (rc == -E2BIG) {
        return auth_refuse(refusal, 400, "join request too large");
    }
    if (rc == -EBADMSG) {
        return auth_refuse(refusal, 400, "cannot read decompressed join request");
    }
    *ret = dynbuf_view(inflated);
    return rc;
}

static int decode_wrapped(struct bytes text, struct dynbuf *bin, struct dynbuf *inflated,
                          struct pbuf **ret, struct auth_refusal *refusal)
{
    if (base64_decode(BASE64_URL, text, bin) < 0) {
        return auth_refuse(refusal, 400, "cannot base64 decode wrapped join request");
    }
    CLEANUP(pbuf_free) struct pbuf *wrapped = NULL;
    int rc = pbuf_unpack(&livekit__wrapped_join_request__descriptor, dynbuf_view(bin),
                         PBUF_CAP_DEFAULT, &wrapped);
    if (rc == -ENOMEM) {
        return rc;
    }
    if (rc < 0) {
        return auth_refuse(refusal, 400, "cannot unmarshal wrapped join request");
    }
    struct bytes inner;
    rc = unwrap(wrapped->msg, inflated, &inner, refusal);
    if (rc < 0) {
        return rc;
    }
    rc = pbuf_unpack(&livekit__join_request__descriptor, inner, PBUF_CAP_DEFAULT, ret);
    return rc == 0 || rc == -ENOMEM ? rc
                                    : auth_refuse(refusal, 400, "cannot unmarshal join request");
}

int signal_codec_v1(const char *join_request, struct pbuf **ret, struct auth_refusal *refusal)
{
    struct dynbuf bin;
    struct dynbuf inflated;
    dynbuf_init(&bin, 2 * JOIN_REQUEST_MAX);
    dynbuf_init(&inflated, JOIN_REQUEST_MAX);
    int const rc = decode_wrapped(bytes_str(join_request), &bin, &inflated, ret, refusal);
    dynbuf_done(&bin);
    dynbuf_done(&inflated);
    return rc;
}

// ---- v0 -------------------------------------------------------------------------------------

static bool is_true(const char *v)
{
    return v != NULL && (strcmp(v, "1") == 0 || strcmp(v, "true") == 0);
}

static int32_t number(const char *v)
{
    int32_t n = 0;
    for (; v != NULL && *v >= '0' && *v <= '9' && n < 100000000; v++) {
        n = n * 10 + (*v - '0');
    }
    return n;
}

static Livekit__ClientInfo__SDK parse_sdk(const char *v)
{
    static const struct {
        const char *name;
        Livekit__ClientInfo__SDK sdk;
    } sdks[] = {
        {"js", LIVEKIT__CLIENT_INFO__SDK__JS},
        {"ios", LIVEKIT__CLIENT_INFO__SDK__SWIFT},
        {"swift", LIVEKIT__CLIENT_INFO__SDK__SWIFT},
        {"android", LIVEKIT__CLIENT_INFO__SDK__ANDROID},
        {"flutter", LIVEKIT__CLIENT_INFO__SDK__FLUTTER},
        {"go", LIVEKIT__CLIENT_INFO__SDK__GO},
        {"unity", LIVEKIT__CLIENT_INFO__SDK__UNITY},
        {"reactnative", LIVEKIT__CLIENT_INFO__SDK__REACT_NATIVE},
        {"rust", LIVEKIT__CLIENT_INFO__SDK__RUST},
        {"python", LIVEKIT__CLIENT_INFO__SDK__PYTHON},
        {"cpp", LIVEKIT__CLIENT_INFO__SDK__CPP},
        {"unityweb", LIVEKIT__CLIENT_INFO__SDK__UNITY_WEB},
        {"node", LIVEKIT__CLIENT_INFO__SDK__NODE},
        {"esp32", LIVEKIT__CLIENT_INFO__SDK__ESP32},
    };
    for (size_t i = 0; v != NULL && i < ARRAY_LEN(sdks); i++) {
        if (strcmp(v, sdks[i].name) == 0) {
            return sdks[i].sdk;
        }
    }
    return LIVEKIT__CLIENT_INFO__SDK__UNKNOWN;
}

static char *copy_query(const struct httpd_req *r, const char *name, struct arena *a)
{
    const char *const v = httpd_query(r, name);
    return v != NULL && v[0] != 0 ? arena_strdup(a, bytes_str(v)) : NULL;
}

static int fill_capabilities(const struct httpd_req *r, Livekit__ClientInfo *c, struct arena *a)
{
    const char *const list = httpd_query(r, "capabilities");
    if (list == NULL) {
        return 0;
    }
    c->capabilities = arena_array(a, 8, sizeof(*c->capabilities));
    if (c->capabilities == NULL) {
        return -ENOMEM;
    }
    if (strstr(list, "CAP_PACKET_TRAILER") != NULL) {
        c->capabilities[c->n_capabilities++] = LIVEKIT__CLIENT_INFO__CAPABILITY__CAP_PACKET_TRAILER;
    }
    if (strstr(list, "CAP_COMPRESSION_DEFLATE_RAW") != NULL) {
        c->capabilities[c->n_capabilities++] =
            LIVEKIT__CLIENT_INFO__CAPABILITY__CAP_COMPRESSION_DEFLATE_RAW;
    }
    return 0;
}

static Livekit__ClientInfo *v0_client_info(const struct httpd_req *r, struct arena *a)
{
    Livekit__ClientInfo *const c = arena_alloc(a, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    livekit__client_info__init(c);
    LK_SET(c, sdk, parse_sdk(httpd_query(r, "sdk")));
    LK_SET(c, protocol, number(httpd_query(r, "protocol")));
    LK_SET(c, client_protocol, number(httpd_query(r, "client_protocol")));
    c->version = copy_query(r, "version", a);
    c->os = copy_query(r, "os", a);
    c->os_version = copy_query(r, "os_version", a);
    c->browser = copy_query(r, "browser", a);
    c->browser_version = copy_query(r, "browser_version", a);
    c->device_model = copy_query(r, "device_model", a);
    c->network = copy_query(r, "network", a);
    return fill_capabilities(r, c, a) == 0 ? c : NULL;
}

static Livekit__ConnectionSettings *v0_settings(const struct httpd_req *r, struct arena *a)
{
    Livekit__ConnectionSettings *const s = arena_alloc(a, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    livekit__connection_settings__init(s);
    const char *const auto_subscribe = httpd_query(r, "auto_subscribe");
    LK_SET(s, auto_subscribe,
           auto_subscribe == NULL || auto_subscribe[0] == 0 || is_true(auto_subscribe));
    LK_SET(s, adaptive_stream, is_true(httpd_query(r, "adaptive_stream")));
    LK_SET(s, disable_ice_lite, is_true(httpd_query(r, "disable_ice_lite")));
    if (httpd_query(r, "subscriber_allow_pause") != NULL) {
        LK_SET_PRESENT(s, subscriber_allow_pause,
                       is_true(httpd_query(r, "subscriber_allow_pause")));
    }
    if (httpd_query(r, "auto_subscribe_data_track") != NULL) {
        LK_SET_PRESENT(s, auto_subscribe_data_track,
                       is_true(httpd_query(r, "auto_subscribe_data_track")));
    }
    return s;
}

static int add_attributes(const struct jsonx *obj, Livekit__JoinRequest *j, struct arena *a)
{
    typedef Livekit__JoinRequest__ParticipantAttributesEntry entry;
    j->participant_attributes =
        arena_array(a, PARTICIPANT_ATTRIBUTES_MAX, sizeof(*j->participant_attributes));
    if (j->participant_attributes == NULL) {
        return -ENOMEM;
    }
    const void *pos = NULL;
    const char *key = NULL;
    const struct jsonx *value = NULL;
    while (j->n_participant_attributes < PARTICIPANT_ATTRIBUTES_MAX &&
           jsonx_next(obj, &pos, &key, &value)) {
        struct bytes text;
        entry *const e = arena_alloc(a, sizeof(*e));
        if (e == NULL) {
            return -ENOMEM;
        }
        if (jsonx_str(value, &text) < 0) {
            return -EINVAL;
        }
        livekit__join_request__participant_attributes_entry__init(e);
        e->key = arena_strdup(a, bytes_str(key));
        e->value = arena_strdup(a, text);
        if (e->key == NULL || e->value == NULL) {
            return -ENOMEM;
        }
        j->participant_attributes[j->n_participant_attributes++] = e;
    }
    return 0;
}

static int v0_attributes(const char *text, Livekit__JoinRequest *j, struct arena *a)
{
    struct dynbuf bin;
    dynbuf_init(&bin, JOIN_REQUEST_MAX);
    CLEANUP(jsonx_free) struct jsonx *obj = NULL;
    int rc = base64_decode(BASE64_URL, bytes_str(text), &bin);
    if (rc == 0) {
        rc = jsonx_parse(dynbuf_view(&bin), &JSONX_LIMITS_DEFAULT, &obj);
    }
    if (rc == 0) {
        rc = jsonx_type(obj) == JSONX_OBJECT ? add_attributes(obj, j, a) : -EINVAL;
    }
    dynbuf_done(&bin);
    return rc;
}

int signal_codec_v0(const struct httpd_req *r, bool validate, struct pbuf **ret,
                    struct auth_refusal *refusal)
{
    CLEANUP(pbuf_free) struct pbuf *p = pbuf_new(PBUF_CAP_DEFAULT);
    if (p == NULL) {
        return -ENOMEM;
    }
    Livekit__JoinRequest *const j = arena_alloc(&p->arena, sizeof(*j));
    if (j == NULL) {
        return -ENOMEM;
    }
    livekit__join_request__init(j);
    p->msg = j;
    j->client_info = v0_client_info(r, &p->arena);
    j->connection_settings = v0_settings(r, &p->arena);
    if (j->client_info == NULL || j->connection_settings == NULL) {
        return -ENOMEM;
    }
    LK_SET(j, reconnect, is_true(httpd_query(r, "reconnect")));
    if (j->reconnect) {
        j->participant_sid = copy_query(r, "sid", &p->arena);
        LK_SET(j, reconnect_reason,
               (Livekit__ReconnectReason)number(httpd_query(r, "reconnect_reason")));
    }
    const char *const attributes = httpd_query(r, "attributes");
    if (attributes != NULL && attributes[0] != 0) {
        int const rc = v0_attributes(attributes, j, &p->arena);
        if (rc == -ENOMEM) {
            return rc;
        }
        if (rc < 0) {
            j->n_participant_attributes = 0;
        }
        if (rc < 0 && validate) {
            return auth_refuse(refusal, 400, "cannot decode attributes");
        }
    }
    *ret = STEAL(p);
    return 0;
}

// A field that the client left empty. False without memory.
static bool fill_empty(char **field, const char *text, struct arena *a)
{
    if (*lk_str(*field) == 0 && *text != 0) {
        *field = arena_strdup(a, bytes_str(text));
        return *field != NULL;
    }
    return true;
}

// SDKs that run in browsers may leave to the server what the User-Agent says.
static int fill_from_user_agent(const struct httpd_req *r, Livekit__ClientInfo *c, struct arena *a)
{
    struct user_agent ua;
    switch (c->sdk) {
    case LIVEKIT__CLIENT_INFO__SDK__UNKNOWN:
    case LIVEKIT__CLIENT_INFO__SDK__JS:
    case LIVEKIT__CLIENT_INFO__SDK__REACT_NATIVE:
    case LIVEKIT__CLIENT_INFO__SDK__FLUTTER:
    case LIVEKIT__CLIENT_INFO__SDK__UNITY:
        break;
    default:
        return 0;
    }
    user_agent_parse(httpd_header(r, "User-Agent"), &ua);
    // Versions go with the names, not with another one that the client gave.
    bool const browser = *lk_str(c->browser) == 0;
    bool const os = *lk_str(c->os) == 0;
    bool ok = !browser || (fill_empty(&c->browser, ua.browser, a) &&
                           fill_empty(&c->browser_version, ua.browser_version, a));
    ok = ok &&
         (!os || (fill_empty(&c->os, ua.os, a) && fill_empty(&c->os_version, ua.os_version, a)));
    ok = ok && fill_empty(&c->device_model, ua.device, a);
    return ok ? 0 : -ENOMEM;
}

int signal_codec_complete(const struct httpd_req *r, struct pbuf *join_request)
{
    static const char *const headers[] = {"CF-Connecting-IP", "X-Forwarded-For", "X-Real-IP"};
    Livekit__JoinRequest *const j = join_request->msg;
    if (j->client_info == NULL) {
        j->client_info = arena_alloc(&join_request->arena, sizeof(*j->client_info));
        if (j->client_info == NULL) {
            return -ENOMEM;
        }
        livekit__client_info__init(j->client_info);
    }
    char text[ADDR_STRLEN];
    struct addr const peer = httpd_peer(r);
    const char *from = addr_format_ip(&peer, text);
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        const char *const v = httpd_header(r, headers[i]);
        if (v != NULL && v[0] != 0) {
            from = v;
            break;
        }
    }
    j->client_info->address = arena_strdup(&join_request->arena, bytes_str(from));
    return j->client_info->address != NULL
               ? fill_from_user_agent(r, j->client_info, &join_request->arena)
               : -ENOMEM;
}
