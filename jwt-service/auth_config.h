// SPDX-License-Identifier: Apache-2.0
#pragma once
// The settings of foci-jwt: names and meaning of authorization-service section 2, and ours beside
// them. Start-up only; read-only afterwards.

#include "common/app/key_source.h"
#include "common/base/arena.h"
#include "common/lk/keys.h"
#include "common/svc/conf.h"
#include "common/sys/log.h"
#include "jwt-service/access_policy.h"
#include "jwt-service/appservice/as_config.h"
#include "jwt-service/ingress_limits.h"
#include "jwt-service/openid/address_policy.h"
#include "jwt-service/openid/openid_verifier.h"

enum auth_item {
    AUTH_LIVEKIT_URL,
    AUTH_INTERNAL_URL,
    AUTH_KEY,
    AUTH_KEY_FROM_FILE,
    AUTH_SECRET,
    AUTH_SECRET_FROM_FILE,
    AUTH_KEY_FILE,
    AUTH_FULL_ACCESS,
    AUTH_BIND,
    AUTH_PORT,
    AUTH_OPENID_OVERRIDES,
    AUTH_CS_API_OVERRIDES,
    AUTH_CA_FILE,
    AUTH_SSL_CERT_FILE,
    AUTH_SSL_CERT_DIR,
    AUTH_INSECURE,
    AUTH_IGNORE_UNKNOWN,
    AUTH_SANITY_INTERVAL,
    AUTH_REDIS_URL,
    AUTH_LOG_LEVEL,
    AUTH_LOG_FORMAT,
    AUTH_CAN_UPDATE_METADATA,
    AUTH_RESTRICTED_PUBLISH,
    AUTH_TOKEN_LIFETIME,
    AUTH_POLICY_FILE,
    AUTH_ALLOWED_SERVERS,
    AUTH_BLOCKED_SERVERS,
    AUTH_DELEGATION,
    AUTH_STATE_DIR,
    AUTH_INSTANCE,
    AUTH_REDIS_PASSWORD,
    AUTH_TRUSTED_PROXIES,
    AUTH_PATH_PREFIXES,
    AUTH_LIMIT_ADDRESS,
    AUTH_LIMIT_SERVER,
    AUTH_LIMIT_USER,
    AUTH_LIMIT_CONNECTIONS,
    AUTH_ALLOW_ADDRESSES,
    AUTH_DENY_ADDRESSES,
    AUTH_ALLOW_PORTS,
    AUTH_USE_PROXY,
    AUTH_METRICS_BIND,
    AUTH_AS_TOKEN,
    AUTH_HS_TOKEN,
    AUTH_AS_REGISTRATION,
    AUTH_HS_NAME,
    AUTH_MEMBERSHIP_INTERVAL,
    AUTH_LOG_IDS,
    AUTH_DEV,
    AUTH_HEALTHCHECK,
    AUTH_ITEM_COUNT,
};

#define AUTH_OVERRIDES_MAX 256
#define AUTH_INSECURE_PHRASE "YES_I_KNOW_WHAT_I_AM_DOING" // authorization-service 2.1

enum auth_command {
    AUTH_COMMAND_SERVE,
    AUTH_COMMAND_HEALTHCHECK,
    AUTH_COMMAND_POLICY_TEST, // conf_positional 2 and 3: user, room
};

struct server_overrides {
    const struct openid_override *list;
    size_t count;
};

struct auth_config {
    enum auth_command command;
    struct conf *conf;
    struct api_keys *keys;
    struct key_source key_source; // where they are from, to be read again
    struct key_finding key_findings[KEY_FINDINGS_MAX];
    size_t key_finding_count;
    const char *livekit_url; // for clients, exactly as configured
    const char *api_url;     // for our own calls
    struct addr bind[CONF_BIND_MAX];
    size_t bind_count;
    size_t bind_item; // which setting gave it
    struct server_overrides openid_overrides;
    struct server_overrides cs_api_overrides;
    const char *state_dir;
    struct cidr_set trusted_proxies;
    struct address_policy addresses; // that homeservers may be on which nobody named
    struct ingress_limits_conf limits;
    struct access_defaults access;
    const char *const *full_access; // the list, without the meaning of "*"
    size_t full_access_count;
    struct as_config *as; // application-service mode; NULL: off
    struct arena arena;   // memory of the overrides
    bool everybody;       // "*": every server has full access
    bool insecure;
    bool ignore_unknown;
    bool dev;
    bool keys_generated;
    struct log_settings log;
    bool log_level_unknown;
};

// The table, for --help and tests.
const struct conf_spec *auth_config_spec(void);

// Reads flags, environment and file and checks what the table cannot. -EINVAL: err holds one line
// for the operator. With --help and --version only (*ret)->conf is filled.
int auth_config_load(int argc, const char *const *argv, const char *const *envp,
                     struct auth_config **ret, char err[static CONF_ERROR_MAX]) NODISCARD;
void auth_config_free(struct auth_config *c); // accepts NULL
DEFINE_CLEANUP(struct auth_config *, auth_config_free)

// Parts of auth_config_load and auth_config_free (auth_config_edges.c).
int auth_config_load_edges(struct auth_config *c, char err[static CONF_ERROR_MAX]) NODISCARD;
void auth_config_free_edges(struct auth_config *c);

// True if users of this server may create rooms (authorization-service 6.1).
bool auth_config_full_access(const struct auth_config *c, const char *server_name);

// True if the operator named this server, so that it may be on a private address.
bool auth_config_names_server(const struct auth_config *c, const char *server_name);

// Where the journal of delegated leaves is to be, NULL: nowhere (development without the setting).
const char *auth_config_state_dir(const struct auth_config *c);

// Loopback and the trusted proxies, which stand for many.
bool auth_config_exempt_address(const struct auth_config *c, const struct addr *a);

// Writes what the operator should know at start to the log.
void auth_config_log(const struct auth_config *c);

// What --check-config prints: each setting with its origin, what is in force where that follows from
// several settings or from none, and a line "warning: ..." for what auth_config_log would write (but
// for what as_config_log does). No secrets.
void auth_config_explain(const struct auth_config *c, wall_t now, struct dynbuf *out);
