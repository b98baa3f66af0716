// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/subscription_codec.h"

#include "sfu/room/backup_codec.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/room.h"
#include "sfu/room/subscription.h"
#include "sfu/transport/jsep.h"

const struct jsep_codec *subscription_match_codec(const struct subscription *s,
                                                  const struct jsep_transceiver *section,
                                                  struct track_media **ret_media)
{
    for (size_t i = 0; i < ARRAY_LEN(s->track->media); i++) {
        size_t const index = s->track->regressed ? ARRAY_LEN(s->track->media) - 1 - i : i;
        struct track_media *const m = &s->track->media[index];
        bool const comes = m->receiver != NULL && m->section != NULL;
        const struct jsep_codec *const source =
            comes ? jsep_codec_find(m->section, (uint8_t)m->codec) : NULL;
        const struct jsep_codec *const c =
            source != NULL ? jsep_codec_match(section, source) : NULL;
        if (c != NULL) {
            *ret_media = m;
            return c;
        }
    }
    return NULL;
}

struct track_media *subscription_promised(const struct subscription *s,
                                          const struct jsep_transceiver *section)
{
    for (size_t i = 0; i < ARRAY_LEN(s->track->media); i++) {
        struct track_media *const m = &s->track->media[i];
        if (backup_codec_is_promised(m) && jsep_codec_find(section, (uint8_t)m->codec) != NULL) {
            return m;
        }
    }
    return NULL;
}

// -ENOMEM: nothing has changed.
static int change_media(struct subscription *s, struct track_media *to, const struct jsep_codec *c)
{
    struct room_env *const env = s->subscriber->room->env;
    struct track_media *const from = s->media;
    if (track_media_reserve_output(to) < 0) {
        env->no_memory++;
        return -ENOMEM;
    }
    track_media_remove_output(from, s);
    track_media_add_output(to, s);
    down_track_set_codec(s->down_track, env->now, to->codec, c->pt, c->rtx_pt);
    subscription_apply_settings(s);
    return 0;
}

void subscription_choose_codec(struct subscription *s)
{
    struct participant *const p = s->subscriber;
    struct track_media *media = NULL;
    if (s->state == SUBSCRIPTION_ASSIGNED && s->section->sender_live) {
        // What cannot be had now is tried again with the next description.
        (void)!subscription_start(s);
    }
    if (s->state != SUBSCRIPTION_LIVE) {
        return;
    }
    const struct jsep_codec *const c = subscription_match_codec(s, s->section, &media);
    if (c != NULL && media == s->media) {
        return;
    }
    if (c != NULL && backup_codec_may_change(p) && change_media(s, media, c) == 0) {
        return;
    }
    // Anew, under another SSRC. Without memory too: the codec that it had may be about to end, which
    // nobody may then receive any more.
    subscription_detach(s);
    negotiation_request(p);
}
