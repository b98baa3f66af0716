// SPDX-License-Identifier: Apache-2.0
#pragma once
// LiveKit access tokens: JWT, HS256 only (libjwt). livekit-protocol section 2,
// authorization-service section 4. Pure: `now` is a parameter, keys come as a set.
//
// Upstream: livekit/protocol auth/{accesstoken,verifier,grants}.go. Deviations: the refused token
// is not repeated in the error text; no `identity` claim is read; payloads are pure ASCII without
// the characters that would put '-' or '_' into the payload segment, because Element Call decodes
// that with atob().

#include "common/base/mono.h"
#include "common/lk/keys.h"

// A boolean that may be absent; absence means the default of the grant.
enum tristate {
    TRISTATE_UNSET = 0,
    TRISTATE_FALSE,
    TRISTATE_TRUE,
};

static inline enum tristate tristate_of(bool b)
{
    return b ? TRISTATE_TRUE : TRISTATE_FALSE;
}

static inline bool tristate_or(enum tristate t, bool if_unset)
{
    return t == TRISTATE_UNSET ? if_unset : t == TRISTATE_TRUE;
}

// The `video` claim (livekit-protocol 2.3). Strings may be NULL.
struct video_grant {
    const char *room;
    const char *destination_room;
    bool room_join;
    bool room_create;
    bool room_list;
    bool room_admin;
    bool room_record;
    bool ingress_admin;
    bool hidden;
    bool recorder;
    bool agent;
    enum tristate can_publish;
    enum tristate can_subscribe;
    enum tristate can_publish_data;
    enum tristate can_update_own_metadata;
    enum tristate can_subscribe_metrics;
    enum tristate can_manage_agent_session;
    uint32_t can_publish_sources; // bit n = Livekit__TrackSource n (names we do not know: bit 0); 0
                                  // = all
};

// What the grant means, defaults applied.
static inline bool video_grant_may_publish(const struct video_grant *g)
{
    return tristate_or(g->can_publish, true);
}
static inline bool video_grant_may_subscribe(const struct video_grant *g)
{
    return tristate_or(g->can_subscribe, true);
}
static inline bool video_grant_may_publish_data(const struct video_grant *g)
{
    return tristate_or(g->can_publish_data, video_grant_may_publish(g));
}
static inline bool video_grant_may_update_own_metadata(const struct video_grant *g)
{
    return tristate_or(g->can_update_own_metadata, false);
}
static inline bool video_grant_may_subscribe_metrics(const struct video_grant *g)
{
    return tristate_or(g->can_subscribe_metrics, false);
}
// `source`: a Livekit__TrackSource.
static inline bool video_grant_may_publish_source(const struct video_grant *g, int source)
{
    return video_grant_may_publish(g) &&
           (g->can_publish_sources == 0 ||
            (source >= 0 && source < 32 && ((g->can_publish_sources >> source) & 1u)));
}

struct access_attribute {
    const char *key;
    const char *value;
};

// The claims of a token, for minting (all strings borrowed) and as result of a verification
// (strings belong to the access_token). NULL or 0 = absent.
struct access_claims {
    const char
        *identity; // `sub`, or `jti` without it; when minting: `sub` and, with_identity, `identity`
    const char *name;
    const char *kind; // standard, ingress, egress, sip, agent, connector, bridge
    const char *metadata;
    const struct access_attribute *attributes;
    size_t attribute_count;
    const char *const *kind_details;
    size_t kind_detail_count;
    bool has_video;
    struct video_grant video;
    bool sip_admin;
    bool sip_call;
    const char *room_config; // JSON text of an object
    const char *room_preset;
    const char *sha256;
    int64_t exp; // unix seconds
    int64_t nbf;
    int64_t iat;
    bool with_identity; // minting: repeat `sub` as `identity`, as authorization services do
};

#define ACCESS_TOKEN_LEEWAY_S 60 // livekit/protocol auth/verifier.go: exp, nbf and iat
#define ACCESS_TOKEN_MAX                                                                           \
    (64u << 10) // a token travels in a request line; roomConfig and metadata make 8 KiB a real size
#define ACCESS_TOKEN_CLAIMS_MAX (256u << 10) // memory of the decoded claims

// Memory of a copied token: metadata (512 KiB) and attributes (64 KiB) of a participant may have
// grown to their limits since it came.
#define ACCESS_TOKEN_COPY_MAX ((size_t)1 << 20)

enum access_token_why {
    ACCESS_TOKEN_OK = 0,
    ACCESS_TOKEN_TOO_LONG,
    ACCESS_TOKEN_MALFORMED,   // no JWT, or no claims that we can read
    ACCESS_TOKEN_UNKNOWN_KEY, // `iss`
    ACCESS_TOKEN_RETIRED_KEY, // was ours until a while ago
    ACCESS_TOKEN_BAD_ALG,     // anything but HS256
    ACCESS_TOKEN_BAD_SIGNATURE,
    ACCESS_TOKEN_NO_EXP,
    ACCESS_TOKEN_EXPIRED,
    ACCESS_TOKEN_NOT_YET_VALID, // nbf or iat lies ahead
    ACCESS_TOKEN_WHY_COUNT,
};

// Why a token was refused; `text` is the body of the 401 answer (livekit-protocol 1.3), without the
// token.
struct access_token_refusal {
    enum access_token_why why;
    char text[160];
};

// A verified token. Immutable; may be passed to another thread.
struct access_token {
    struct access_claims claims;
    const char *api_key; // `iss`
};

// Verifies signature and times against `keys` and decodes the claims. The result is the caller's
// (access_token_free). -EACCES: refused, *refusal says why (it is written on this failure only).
// -ENOMEM.
int access_token_verify(const struct api_keys *keys, wall_t now, struct bytes token,
                        struct access_token **ret, struct access_token_refusal *refusal) NODISCARD;
// A token that nobody presented: claims as they are now, of a participant whose token came with
// other ones. Everything is copied; times are not checked. api_key: `iss` of the token it replaces.
// -ENOMEM, also when the text is more than ACCESS_TOKEN_COPY_MAX.
int access_token_new(const struct access_claims *claims, const char *api_key,
                     struct access_token **ret) NODISCARD;
// Gives one reference up; accepts NULL.
void access_token_free(struct access_token *t);
// Another owner, on any thread: claims are immutable. Returns t.
struct access_token *access_token_ref(struct access_token *t);
DEFINE_CLEANUP(struct access_token *, access_token_free)

// Signs the claims with `key`; `iss` is key->key. exp is mandatory. -EINVAL without it or with text
// that is not UTF-8, -E2BIG over half of ACCESS_TOKEN_MAX. The text is
// the caller's (mem_free).
int access_token_mint(const struct access_claims *claims, const struct api_key *key,
                      char **ret) NODISCARD;

// Stable names for logs and counters, such as "expired".
const char *access_token_why_name(enum access_token_why why);
