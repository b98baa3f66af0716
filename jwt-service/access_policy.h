// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who may do what: an ordered list of rules on server, user and room (authorization-service 6.1,
// 9.32; operators P16). Pure but for reading the file; one thread.
//
//     denied_servers = [ "spam.example", "*.spam.example" ];
//     rules = (
//       { name = "guests"; user = "@guest-*:example.org"; create = false;
//         sources = [ "microphone" ]; },
//       { name = "class"; server = "school.example"; room = [ "!algebra*", "!history*" ];
//         max_participants = 30; token_lifetime = "10m"; }
//     );
//
// The first rule that matches decides. A rule matches when server, user and room all do; each is a
// pattern or a list of them of which one must match, and matches anything when it is not given. `*`
// stands for any text, `?` for one character, all else for itself, cases apart. `sources` limits
// what somebody who may publish can publish. What the matching rule does not say, and everything
// without one, is as if there were no policy: servers of the full-access list may create rooms and
// delegate leaves, everybody may join, publish and subscribe. deploy/policy.example.conf shows all
// of it.

#include "common/base/dynbuf.h"
#include "common/svc/conf.h"

#define ACCESS_POLICY_RULES_MAX 1000
#define ACCESS_POLICY_PATTERNS_MAX 10000
#define ACCESS_POLICY_PATTERN_MAX 1024 // as long as the longest id (REQUEST_ROOM_MAX)
#define ACCESS_POLICY_NAME_MAX 63      // of a rule
#define ACCESS_POLICY_PARTICIPANTS_MAX 100000
#define ACCESS_POLICY_LIFETIME_MIN_S 10    // joining takes seconds, also on a bad network
#define ACCESS_POLICY_LIFETIME_MAX_S 86400 // a token cannot be called back

// Bits of access_decision.sources: 1 << livekit.TrackSource.
#define ACCESS_SOURCE_CAMERA (1u << 1)
#define ACCESS_SOURCE_MICROPHONE (1u << 2)
#define ACCESS_SOURCE_SCREEN_SHARE (1u << 3)
#define ACCESS_SOURCE_SCREEN_SHARE_AUDIO (1u << 4)

struct access_policy;

// What holds where no rule says otherwise; settings of the service. Borrowed.
struct access_defaults {
    // Users of restricted servers may publish: true is the baseline of 6.1, false what upstream's
    // newer service does (11.2).
    bool restricted_can_publish;
    uint32_t max_participants;          // 0: no limit
    int64_t token_lifetime_s;           // 0: TOKEN_JOIN_LIFETIME_S
    const char *const *allowed_servers; // patterns; not empty: no token for any other server
    size_t allowed_server_count;
    const char *const *blocked_servers; // patterns; no token for these, whatever else is said
    size_t blocked_server_count;
};

struct access_question {
    const char *server_name; // homeserver that vouches for the user
    const char *user_id;
    const char *room_id; // Matrix room id
    bool full_access;    // the server is on the full-access list
};

struct access_decision {
    bool allowed; // false: no token; everything below is false or 0
    bool create;
    bool publish;
    bool subscribe;
    bool delegate;
    uint32_t sources;          // what may be published; 0: everything (publish says whether at all)
    uint32_t max_participants; // of a room created by this request; 0: no limit
    int64_t token_lifetime_s;
    char rule[ACCESS_POLICY_NAME_MAX + 1]; // who decided: see below; "" for the defaults
    unsigned line;                         // of the rule in its file; 0: not from a file
};

// A decision's rule is the name of one, or one of these.
#define ACCESS_RULE_BLOCKED_SETTING "blocked_homeservers" // access_defaults.blocked_servers
#define ACCESS_RULE_ALLOWED_SETTING "allowed_homeservers" // access_defaults.allowed_servers
#define ACCESS_RULE_DENIED "denied_servers"               // of the file
#define ACCESS_RULE_ALLOWED "allowed_servers"

// Reads a file; to be freed with access_policy_free. -EINVAL, -E2BIG or the errno of reading: err
// is one line for the operator, "path:line: what is wrong; the way out". -ENOMEM.
int access_policy_load(const char *path, struct access_policy **ret,
                       char err[static CONF_ERROR_MAX]) NODISCARD;
// The same from text; path only names it in messages.
int access_policy_parse(const char *path, const char *text, struct access_policy **ret,
                        char err[static CONF_ERROR_MAX]) NODISCARD;
void access_policy_free(struct access_policy *p); // accepts NULL
DEFINE_CLEANUP(struct access_policy *, access_policy_free)

// Reads the file again and replaces *p; on failure the old one stays in force and err says why.
// Decisions made before stay valid (they hold no pointers).
int access_policy_reload(const char *path, struct access_policy **p,
                         char err[static CONF_ERROR_MAX]) NODISCARD;

size_t access_policy_rules(const struct access_policy *p); // p may be NULL: 0

// Decides. p may be NULL: no rules, only defaults.
void access_policy_decide(const struct access_policy *p, const struct access_defaults *d,
                          const struct access_question *q, struct access_decision *ret);

// True if no user of this server gets a token for any room, so that asking the homeserver who
// somebody is can be saved. False does not mean that somebody does. ret_rule (may be NULL): as in
// the decision.
bool access_policy_denies_server(const struct access_policy *p, const struct access_defaults *d,
                                 const char *server_name,
                                 char ret_rule[ACCESS_POLICY_NAME_MAX + 1]);

// What `foci-jwt policy test USER ROOM` prints: the rules that do not match and why, the one that
// does, and the decision with the place each part of it is from. Lines end in \n.
void access_policy_explain(const struct access_policy *p, const struct access_defaults *d,
                           const struct access_question *q, struct dynbuf *out);

// The server in a user id ("@alice:example.org:8448" gives "example.org:8448"), NULL if it is none.
const char *access_policy_server_of(const char *user_id);

// True if text matches the pattern. `?` takes one UTF-8 sequence; text that is no UTF-8 is taken by
// bytes. Linear but for several `*`.
bool access_policy_glob(const char *pattern, const char *text);
