// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/appservice/as_config.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/mem.h"
#include "common/svc/yamlx.h"
#include "common/sys/log.h"
#include "jwt-service/openid/server_name.h"

#define FILE_MAX (256u << 10) // a registration has a page of text
#define TOKEN_MAX 1024        // they travel in a header
// Below it a token can be found by trying. The specification's examples have 64 digits.
#define TOKEN_WEAK_BELOW 16

static PRINTF_LIKE(2, 3) int refuse(char *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err, CONF_ERROR_MAX, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static void wipe(char *s)
{
    if (s) {
        explicit_bzero(s, strlen(s));
        mem_free(s);
    }
}

// ---- the registration file ------------------------------------------------------------------

void as_registration_done(struct as_registration *r)
{
    wipe(r->as_token);
    wipe(r->hs_token);
    mem_free(r->id);
    mem_free(r->proxy_prefix);
    *r = (struct as_registration){0};
}

// What a token is made of: it stands in a header behind "Bearer ".
static bool token_ok(const char *s)
{
    for (const char *p = s; *p; p++) {
        if (*p <= ' ' || *p > '~') {
            return false;
        }
    }
    return *s && strlen(s) <= TOKEN_MAX;
}

// "@AS_TOKEN@", "<as_token>", "CHANGE_ME": an example that was not filled in.
static bool token_is_placeholder(const char *s)
{
    size_t const n = strlen(s);
    return (s[0] == '@' && s[n - 1] == '@') || (s[0] == '<' && s[n - 1] == '>') ||
           strncasecmp(s, "change", 6) == 0;
}

static const char *token_fault(const char *s)
{
    return !token_ok(s)              ? "is empty, too long or holds a character that no token has"
           : token_is_placeholder(s) ? "is still the placeholder of an example"
                                     : NULL;
}

// A text member under one of its names (the first that is there); NULL if none is.
static const struct yamlx_node *member(const struct yamlx_node *root, const char *const *names)
{
    const struct yamlx_node *n = NULL;
    for (; *names && !n; names++) {
        n = yamlx_get(root, *names);
    }
    return n;
}

static int read_text(const struct yamlx_node *n, char **ret, unsigned *ret_line)
{
    const char *const s = yamlx_str(n);
    *ret = mem_strdup(s ? s : "");
    if (ret_line) {
        *ret_line = yamlx_line(n);
    }
    return *ret ? 0 : -ENOMEM;
}

static int read_token(const struct yamlx_node *root, const char *key, const char *name, char **ret,
                      unsigned *ret_line, char *err)
{
    const struct yamlx_node *const n = yamlx_get(root, key);
    const char *const s = yamlx_str(n);
    if (!s) {
        return refuse(err, "%s:%u: %s is missing; it is no registration of an application service",
                      name, yamlx_line(n ? n : root), key);
    }
    const char *const fault = token_fault(s);
    if (fault) {
        return refuse(err, "%s:%u: %s %s; \"openssl rand -hex 32\" makes a good one", name,
                      yamlx_line(n), key, fault);
    }
    return read_text(n, ret, ret_line);
}

// What we ask of the homeserver beyond tokens: unstable names first, as Synapse 1.163 has them.
static const char *const scopes_names[] = {"io.element.msc4502.scopes", "scopes",
                                           "org.matrix.msc4502.scopes", NULL};
static const char *const scope_values[] = {"urn:matrix:client:io.element.msc4502:rooms:is_joined",
                                           "urn:matrix:client:rooms:is_joined"};
static const char *const prefix_names[] = {"io.element.msc4512.proxy_prefix", "proxy_prefix", NULL};

static void read_permissions(const struct yamlx_node *root, struct as_registration *r)
{
    const struct yamlx_node *const scopes = member(root, scopes_names);
    r->has_scopes = scopes != NULL;
    for (size_t i = 0; i < yamlx_len(scopes); i++) {
        const char *const s = yamlx_str(yamlx_at(scopes, i));
        for (size_t k = 0; s && k < ARRAY_LEN(scope_values); k++) {
            r->may_query_joined = r->may_query_joined || strcmp(s, scope_values[k]) == 0;
        }
    }
    r->has_users = yamlx_len(yamlx_get(yamlx_get(root, "namespaces"), "users")) > 0;
}

int as_registration_parse(struct bytes text, const char *name, struct as_registration *ret,
                          char err[static CONF_ERROR_MAX])
{
    struct yamlx_limits const limits = YAMLX_LIMITS_DEFAULT;
    char why[YAMLX_ERROR_MAX];
    CLEANUP(yamlx_free) struct yamlx *y = NULL;
    int r = yamlx_parse(text, &limits, &y, why);
    if (r == -ENOMEM) {
        return r;
    }
    if (r < 0) {
        return refuse(err, "%s: %s", name, why);
    }
    const struct yamlx_node *const root = yamlx_root(y);
    if (!yamlx_is(root, YAMLX_MAPPING)) {
        return refuse(err,
                      "%s: no \"key: value\" pairs; it is no registration of an application "
                      "service",
                      name);
    }
    struct as_registration out = {0};
    r = read_token(root, "as_token", name, &out.as_token, &out.as_token_line, err);
    r = r < 0 ? r : read_token(root, "hs_token", name, &out.hs_token, &out.hs_token_line, err);
    r = r < 0 ? r : read_text(yamlx_get(root, "id"), &out.id, NULL);
    r = r < 0 ? r
              : read_text(member(root, prefix_names), &out.proxy_prefix, &out.proxy_prefix_line);
    if (r < 0) {
        as_registration_done(&out);
        return r;
    }
    read_permissions(root, &out);
    *ret = out;
    return 0;
}

// ---- putting it together --------------------------------------------------------------------

void as_config_free(struct as_config *c)
{
    if (c) {
        wipe(c->as_token);
        wipe(c->hs_token);
        mem_free(c->server_name);
        mem_free(c->file_path);
        as_registration_done(&c->registration);
        mem_free(c);
    }
}

static bool is_set(const struct as_setting *s)
{
    return s->value && *s->value;
}

static int load_file(const struct as_setting *file, struct as_config *c, char *err)
{
    char *text = NULL;
    size_t n = 0;
    int r = conf_read_file(file->value, FILE_MAX, &text, &n);
    if (r == -ENOMEM) {
        return r;
    }
    if (r < 0) {
        return refuse(err, "cannot read the registration file %s (%s): %s", file->value,
                      file->origin, strerror(-r));
    }
    r = as_registration_parse(bytes_of(text, n), file->value, &c->registration, err);
    explicit_bzero(text, n);
    mem_free(text);
    if (r < 0) {
        return r;
    }
    struct stat st;
    c->file_readable_by_others = stat(file->value, &st) == 0 && (st.st_mode & S_IROTH) != 0;
    c->from_file = true;
    c->file_path = mem_strdup(file->value);
    return c->file_path ? 0 : -ENOMEM;
}

// A token from its setting, from the file, or from both if they agree.
static int choose(const struct as_setting *setting, const char *key, const char *variable,
                  const struct as_config *c, const char *in_file, unsigned line, char **ret,
                  char *err)
{
    if (!is_set(setting) && !c->from_file) {
        return refuse(err,
                      "application-service mode needs both tokens, and %s is missing; set %s or "
                      "LIVEKIT_AS_REGISTRATION_FILE",
                      key, variable);
    }
    if (is_set(setting)) {
        const char *const fault = token_fault(setting->value);
        if (fault) {
            return refuse(err, "%s (%s) %s", variable, setting->origin, fault);
        }
        if (c->from_file && strcmp(setting->value, in_file) != 0) {
            return refuse(err,
                          "%s (%s) and %s in %s:%u are not the same; the homeserver knows one of "
                          "them: remove the other",
                          variable, setting->origin, key, c->file_path, line);
        }
    }
    *ret = mem_strdup(is_set(setting) ? setting->value : in_file);
    return *ret ? 0 : -ENOMEM;
}

static int load_server_name(const struct as_settings *s, struct as_config *c, char *err)
{
    struct server_name parsed;
    if (!is_set(&s->server_name)) {
        return refuse(err,
                      "application-service mode needs the name of its homeserver; set "
                      "LIVEKIT_HS_SERVER_NAME to what stands behind the colon of its user ids");
    }
    if (server_name_parse(bytes_str(s->server_name.value), &parsed) < 0) {
        return refuse(err,
                      "LIVEKIT_HS_SERVER_NAME (%s): \"%s\" is no server name; it is what stands "
                      "behind the colon of user ids, without https://",
                      s->server_name.origin, s->server_name.value);
    }
    c->server_name = mem_strdup(s->server_name.value);
    return c->server_name ? 0 : -ENOMEM;
}

int as_config_load(const struct as_settings *s, struct as_config **ret,
                   char err[static CONF_ERROR_MAX])
{
    *ret = NULL;
    if (!is_set(&s->as_token) && !is_set(&s->hs_token) && !is_set(&s->registration_file)) {
        return 0;
    }
    (void)snprintf(err, CONF_ERROR_MAX, "out of memory");
    CLEANUP(as_config_free) struct as_config *c = NEW(struct as_config);
    if (!c) {
        return -ENOMEM;
    }
    const struct as_registration *const f = &c->registration;
    int r = is_set(&s->registration_file) ? load_file(&s->registration_file, c, err) : 0;
    r = r < 0 ? r
              : choose(&s->as_token, "as_token", "LIVEKIT_AS_TOKEN", c, f->as_token,
                       f->as_token_line, &c->as_token, err);
    r = r < 0 ? r
              : choose(&s->hs_token, "hs_token", "LIVEKIT_HS_TOKEN", c, f->hs_token,
                       f->hs_token_line, &c->hs_token, err);
    r = r < 0 ? r : load_server_name(s, c, err);
    if (r == 0 && strcmp(c->as_token, c->hs_token) == 0) {
        // Whoever may call us could then also call the homeserver as any of its users.
        r = refuse(err,
                   "as_token and hs_token of the application service are the same; give each a "
                   "value of its own in the registration");
    }
    if (r == 0) {
        *ret = STEAL(c);
    }
    return r;
}

void as_config_log(const struct as_config *c)
{
    const struct as_registration *const f = &c->registration;
    log_info(NULL, "appservice.on", KV_STR("server", c->server_name),
             KV_STR("registration", c->from_file ? c->file_path : "settings"));
    if (strlen(c->as_token) < TOKEN_WEAK_BELOW || strlen(c->hs_token) < TOKEN_WEAK_BELOW) {
        log_warn(
            NULL, "appservice.token_short",
            KV_STR("text", "a token can be guessed; \"openssl rand -hex 32\" makes a good one"));
    }
    if (!c->from_file) {
        return;
    }
    if (c->file_readable_by_others) {
        log_warn(NULL, "appservice.file_readable", KV_STR("file", c->file_path),
                 KV_STR("text", "everybody on this machine can read its tokens; chmod o-r"));
    }
    if (!f->may_query_joined) {
        log_warn(NULL, "appservice.no_scope", KV_STR("file", c->file_path),
                 KV_STR("text",
                        "the scope is_joined (MSC4502) is missing: every request for a token "
                        "will be answered 502"));
    }
    if (strcmp(f->proxy_prefix, AS_PROXY_PREFIX) != 0) {
        log_warn(NULL, "appservice.no_proxy", KV_STR("file", c->file_path),
                 KV_U64("line", f->proxy_prefix_line),
                 KV_STR("text", "proxy_prefix (MSC4512) is not " AS_PROXY_PREFIX
                                ": the homeserver will not hand any call over"));
    }
    if (!f->has_users) {
        log_warn(NULL, "appservice.no_users", KV_STR("file", c->file_path),
                 KV_STR("text", "namespaces.users is empty: leaves cannot be delegated, since that "
                                "is done as the user"));
    }
}
