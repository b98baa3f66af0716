// SPDX-License-Identifier: Apache-2.0
// What of the settings an operator is told at the start: what is weak, dangerous or without effect.
#include "jwt-service/auth_config.h"

static void log_dangers(const struct auth_config *c)
{
    key_source_log(c->key_findings, c->key_finding_count);
    if (c->insecure) {
        log_warn(NULL, "config.insecure",
                 KV_STR("setting", auth_config_spec()->items[AUTH_INSECURE].env[0]),
                 KV_STR("text", "certificates are not checked: anybody on the way can vouch for "
                                "any user"));
    }
    if (c->everybody && !c->dev) {
        log_warn(NULL, "config.everybody",
                 KV_STR("text", "users of every homeserver may create rooms on the SFU"));
    }
}

static void log_no_effect(size_t item, const char *text)
{
    log_warn(NULL, "config.no_effect", KV_STR("setting", auth_config_spec()->items[item].env[0]),
             KV_STR("text", text));
}

void auth_config_log(const struct auth_config *c)
{
    const struct conf *const k = c->conf;
    for (size_t i = 0; i < conf_warnings(k); i++) {
        log_warn(NULL, "config.warning", KV_STR("text", conf_warning(k, i)));
    }
    if (c->log_level_unknown) {
        log_warn(NULL, "config.warning", KV_STR("setting", "LIVEKIT_LOG_LEVEL"),
                 KV_STR("text", "unknown log level; info is used"));
    }
    log_dangers(c);
    if (c->as) {
        as_config_log(c->as);
    }
    if (!c->insecure && *conf_str(k, AUTH_INSECURE)) {
        log_no_effect(AUTH_INSECURE,
                      "certificates are checked: only " AUTH_INSECURE_PHRASE " switches that off");
    }
    static const size_t pair[] = {AUTH_KEY, AUTH_KEY_FROM_FILE, AUTH_SECRET, AUTH_SECRET_FROM_FILE};
    for (size_t i = 0; conf_has(k, AUTH_KEY_FILE) && i < ARRAY_LEN(pair); i++) {
        if (conf_is_set(k, pair[i])) {
            log_no_effect(pair[i], "LIVEKIT_KEY_FILE outranks it; keep one of the two");
        }
    }
}
