// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/client_codecs.h"

#include "common/lk/livekit.h"
#include "sfu/room/proto_map.h"
#include "sfu/wire/codec.h"

static bool is(const char *text, const char *name)
{
    return strcasecmp(lk_str(text), name) == 0;
}

// The number at *p, at most 999 (no browser is that old); *p is moved behind it.
static uint32_t number(const char **p)
{
    uint32_t n = 0;
    for (; **p >= '0' && **p <= '9'; ++*p) {
        n = MIN(n * 10 + (uint32_t)(**p - '0'), 999u);
    }
    return n;
}

// "18.3.1" as 18003; 0 if there is none.
static uint32_t version_of(const char *text)
{
    const char *p = lk_str(text);
    uint32_t const major = number(&p);
    p += *p == '.';
    return major * 1000 + number(&p);
}

struct client_codecs client_codecs_of(const Livekit__ClientInfo *info)
{
    struct client_codecs c = {0};
    bool const firefox = is(info->browser, "firefox") || is(info->browser, "firefox mobile");
    bool const ios = is(info->os, "ios");
    bool const safari = is(info->browser, "safari") || ios;
    bool const android = is(info->os, "android");
    uint32_t const version = version_of(ios ? info->os_version : info->browser_version);
    bool const xiaomi = android && strcasestr(lk_str(info->device_model), "2201117ti") != NULL;
    if (safari) {
        c.disabled |= 1u << CODEC_AV1;
    }
    if (safari && version > 18003) {
        c.not_published |= 1u << CODEC_VP9;
    }
    if (firefox && version != 0 && version < 157000) {
        c.disabled |= 1u << CODEC_AV1;
    }
    if ((firefox && (android || is(info->os, "linux"))) || xiaomi) {
        c.not_published |= 1u << CODEC_H264;
    }
    return c;
}

uint32_t client_codecs_publish(const struct client_codecs *c, uint32_t enabled)
{
    return enabled & ~(c->disabled | c->not_published);
}

int client_codecs_to_proto(const struct client_codecs *c, struct arena *a,
                           Livekit__ClientConfiguration **ret)
{
    *ret = NULL;
    if (c->disabled == 0 && c->not_published == 0) {
        return 0;
    }
    Livekit__ClientConfiguration *const conf = arena_alloc(a, sizeof(*conf));
    Livekit__DisabledCodecs *const d = arena_alloc(a, sizeof(*d));
    if (conf == NULL || d == NULL) {
        return -ENOMEM;
    }
    livekit__client_configuration__init(conf);
    livekit__disabled_codecs__init(d);
    d->codecs = proto_map_codecs(c->disabled, a, &d->n_codecs);
    d->publish = proto_map_codecs(c->not_published, a, &d->n_publish);
    conf->disabled_codecs = d;
    *ret = conf;
    return d->codecs != NULL && d->publish != NULL ? 0 : -ENOMEM;
}
