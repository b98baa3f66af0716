// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/base/token_issuer.h"

#include <stdio.h>

int token_subject_make(const struct token_request *t, const char *user_id,
                       struct token_subject *ret)
{
    struct token_subject s = {0};
    const char *const room[] = {t->room, t->slot};
    int r = room_alias_hash(room, ARRAY_LEN(room), s.room);
    if (r < 0) {
        return r;
    }
    if (t->endpoint == TOKEN_SFU_GET) {
        int const n = snprintf(s.identity, sizeof(s.identity), "%s:%s", user_id, t->device_id);
        if (n < 0 || (size_t)n >= sizeof(s.identity)) {
            return -E2BIG;
        }
    } else {
        const char *const member[] = {user_id, t->device_id, t->member_id};
        char hash[ROOM_ALIAS_SIZE];
        r = room_alias_hash(member, ARRAY_LEN(member), hash);
        if (r < 0) {
            return r;
        }
        memcpy(s.identity, hash, sizeof(hash));
    }
    *ret = s;
    return 0;
}

int token_issue_join(const struct api_key *key, wall_t now, const struct token_subject *subject,
                     const struct token_rights *rights, char **ret)
{
    int64_t const now_s = now.us / US_PER_S;
    struct access_claims const c = {
        .identity = subject->identity,
        .with_identity = true,
        .exp = now_s + rights->lifetime_s,
        .nbf = now_s - TOKEN_BACKDATE_S,
        .iat = now_s,
        .has_video = true,
        .video =
            {
                .room_join = true,
                .room = subject->room,
                // Written out also where they are false: absence means the default.
                .can_publish = tristate_of(rights->publish),
                .can_subscribe = tristate_of(rights->subscribe),
                .can_update_own_metadata = tristate_of(rights->update_metadata),
                .can_publish_sources = rights->sources,
            },
    };
    return access_token_mint(&c, key, ret);
}

// A token of ours for one call of the server API.
static int issue_api(const struct api_key *key, wall_t now, const struct video_grant *grant,
                     char **ret)
{
    int64_t const now_s = now.us / US_PER_S;
    struct access_claims const c = {
        .exp = now_s + TOKEN_API_LIFETIME_S,
        .nbf = now_s - TOKEN_BACKDATE_S,
        .iat = now_s,
        .has_video = true,
        .video = *grant,
    };
    return access_token_mint(&c, key, ret);
}

int token_issue_room_create(const struct api_key *key, wall_t now, char **ret)
{
    return issue_api(key, now, &(struct video_grant){.room_create = true}, ret);
}

int token_issue_room_admin(const struct api_key *key, wall_t now, const char *room, char **ret)
{
    return issue_api(key, now, &(struct video_grant){.room_admin = true, .room = room}, ret);
}

int token_issue_room_list(const struct api_key *key, wall_t now, char **ret)
{
    return issue_api(key, now, &(struct video_grant){.room_list = true}, ret);
}
