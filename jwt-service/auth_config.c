// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/auth_config.h"

#include <stdio.h>
#include <unistd.h>

#include "common/base/base64.h"
#include "common/base/mem.h"
#include "common/sys/random.h"

#define KEY_FILE_MAX (64u << 10)
#define DEV_URL "ws://127.0.0.1:7880" // livekit-server's port
#define DEV_PORT 8080

static const char *const log_formats[] = {"auto", "json", "text", NULL};

static const struct conf_item items[AUTH_ITEM_COUNT] = {
    [AUTH_LIVEKIT_URL] = {.name = "livekit_url",
                          .env = {"LIVEKIT_URL"},
                          .flag = {"livekit-url"},
                          .arg = "URL",
                          .help = "WebSocket URL of the SFU, handed to clients as it is "
                                  "(wss://example.org/livekit/sfu)."},
    [AUTH_INTERNAL_URL] = {.name = "internal_url",
                           .env = {"LIVEKIT_INTERNAL_URL"},
                           .flag = {"internal-url"},
                           .arg = "URL",
                           .help = "Where this service itself reaches the SFU; livekit_url without "
                                   "it."},
    [AUTH_KEY] = {.name = "key",
                  .env = {"LIVEKIT_KEY"},
                  .flag = {"key"},
                  .arg = "KEY",
                  .help = "API key of the SFU."},
    // Settings of their own, not CONF_FROM_FILE: the original takes the file when both are there.
    [AUTH_KEY_FROM_FILE] = {.name = "key_from_file",
                            .env = {"LIVEKIT_KEY_FROM_FILE"},
                            .flag = {"key-from-file"},
                            .arg = "PATH",
                            .help = "File that holds the key; it outranks key."},
    [AUTH_SECRET] = {.name = "secret",
                     .type = CONF_SECRET,
                     .env = {"LIVEKIT_SECRET"},
                     .flag = {"secret"},
                     .arg = "SECRET",
                     .help = "Secret of that key."},
    [AUTH_SECRET_FROM_FILE] = {.name = "secret_from_file",
                               .env = {"LIVEKIT_SECRET_FROM_FILE"},
                               .flag = {"secret-from-file"},
                               .arg = "PATH",
                               .help = "File that holds the secret; it outranks secret."},
    [AUTH_KEY_FILE] = {.name = "key_file",
                       .env = {"LIVEKIT_KEY_FILE"},
                       .flag = {"key-file"},
                       .arg = "PATH",
                       .help = "File with lines \"key: secret\" instead of the two; the first line "
                               "signs."},
    [AUTH_FULL_ACCESS] = {.name = "full_access_homeservers",
                          .type = CONF_LIST,
                          .env = {"LIVEKIT_FULL_ACCESS_HOMESERVERS"},
                          .flag = {"full-access-homeservers"},
                          .arg = "NAMES",
                          .help = "Server names whose users may create rooms; a single * means "
                                  "all."},
    [AUTH_BIND] = {.name = "bind",
                   .type = CONF_BIND,
                   .env = {"LIVEKIT_JWT_BIND"},
                   .flag = {"bind"},
                   .def = ":8080",
                   .conflicts = "port",
                   .arg = "[HOST]:PORT",
                   .help = "Address to listen on."},
    [AUTH_PORT] = {.name = "port",
                   .type = CONF_INT,
                   .flags = CONF_DEPRECATED,
                   .env = {"LIVEKIT_JWT_PORT"},
                   .flag = {"port"},
                   .min = 1,
                   .max = 65535,
                   .instead = "LIVEKIT_JWT_BIND",
                   .arg = "PORT",
                   .help = "Port to listen on."},
    [AUTH_OPENID_OVERRIDES] = {.name = "openid_url_overrides",
                               .env = {"LIVEKIT_OPENID_URL_OVERRIDES"},
                               .flag = {"openid-url-overrides"},
                               .arg = "NAME=URL,...",
                               .help = "Homeservers that are asked at this URL (http too) instead "
                                       "of being looked up."},
    [AUTH_CS_API_OVERRIDES] = {.name = "cs_api_url_overrides",
                               .env = {"LIVEKIT_CS_API_URL_OVERRIDES"},
                               .flag = {"cs-api-url-overrides"},
                               .arg = "NAME=URL,...",
                               .help = "Client-server API of homeservers, for delegated leaves."},
    [AUTH_CA_FILE] = {.name = "ca_file",
                      .env = {"LIVEKIT_CA_FILE"},
                      .flag = {"ca-file"},
                      .arg = "PATH",
                      .help = "Certificates to trust in addition to the system's."},
    [AUTH_SSL_CERT_FILE] = {.name = "ssl_cert_file",
                            .env = {"SSL_CERT_FILE"},
                            .arg = "PATH",
                            .help = "Certificates to trust instead of the system's."},
    [AUTH_SSL_CERT_DIR] = {.name = "ssl_cert_dir",
                           .env = {"SSL_CERT_DIR"},
                           .arg = "PATH",
                           .help = "The same as a directory."},
    [AUTH_INSECURE] = {.name = "insecure_skip_verify_tls",
                       .env = {"LIVEKIT_INSECURE_SKIP_VERIFY_TLS"},
                       .flag = {"insecure-skip-verify-tls"},
                       .arg = "PHRASE",
                       .help = "Exactly " AUTH_INSECURE_PHRASE " switches certificate checks off."},
    [AUTH_IGNORE_UNKNOWN] = {.name = "ignore_unknown_fields",
                             .type = CONF_BOOL,
                             .env = {"LIVEKIT_IGNORE_UNKNOWN_FIELDS"},
                             .flag = {"ignore-unknown-fields"},
                             .def = "false",
                             .help = "Accept requests with fields that are not in the schema."},
    [AUTH_SANITY_INTERVAL] = {.name = "sanity_check_interval_seconds",
                              .type = CONF_INT,
                              .env = {"LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS"},
                              .flag = {"sanity-check-interval-seconds"},
                              .def = "0",
                              .min = 0,
                              .max = INT32_MAX,
                              .arg = "SECONDS",
                              .help = "How often participants of delegated leaves are looked up."},
    [AUTH_REDIS_URL] = {.name = "redis_url",
                        .flags = CONF_HIDDEN, // may hold a password
                        .env = {"LIVEKIT_REDIS_URL"},
                        .flag = {"redis-url"},
                        .arg = "URL",
                        .help = "Store of delegated leaves."},
    [AUTH_LOG_LEVEL] = {.name = "log_level",
                        .env = {"LIVEKIT_LOG_LEVEL"},
                        .flag = {"log-level"},
                        .def = "info",
                        .arg = "LEVEL",
                        .help = "debug, info, warn or error."},
    [AUTH_LOG_FORMAT] = {.name = "log_format",
                         .env = {"LIVEKIT_LOG_FORMAT"},
                         .flag = {"log-format"},
                         .def = "auto",
                         .choices = log_formats,
                         .arg = "FORMAT",
                         .help = "auto (text on a terminal, else JSON), json or text."},
    [AUTH_DEV] = {.name = "dev",
                  .type = CONF_BOOL,
                  .flag = {"dev"},
                  .def = "false",
                  .help = "Development: keys are made up if none are given, everybody has full "
                          "access, loopback only."},
    [AUTH_HEALTHCHECK] = {.name = "healthcheck",
                          .type = CONF_BOOL,
                          .flag = {"healthcheck"},
                          .def = "false",
                          .help = "Ask the service that runs with these settings whether it is "
                                  "well; exit status 0 if it is."},
};

// Settings of foci-sfu that may stand in a shared environment file.
static const char *const foreign[] = {"LIVEKIT_KEYS",        "LIVEKIT_CONFIG",
                                      "LIVEKIT_CONFIG_FILE", "LIVEKIT_API_KEY",
                                      "LIVEKIT_API_SECRET",  NULL};
static const char *const prefixes[] = {"LIVEKIT_", NULL};

static const struct conf_spec spec = {
    .program = "foci-jwt",
    .version = "0.1.0",
    .summary = "MatrixRTC authorization service: checks Matrix OpenID tokens, hands out tokens for "
               "the SFU.",
    .items = items,
    .count = AUTH_ITEM_COUNT,
    .config_env = "FOCI_JWT_CONFIG",
    .env_prefixes = prefixes,
    .env_foreign = foreign,
};

const struct conf_spec *auth_config_spec(void)
{
    return &spec;
}

void auth_config_free(struct auth_config *c)
{
    if (c) {
        conf_free(c->conf);
        api_keys_free(c->keys);
        mem_free(c->overrides);
        mem_free(c->override_text);
        mem_free(c);
    }
}

// ---- keys -----------------------------------------------------------------------------------

static int load_key_file(struct auth_config *c, char *err)
{
    const char *const path = conf_str(c->conf, AUTH_KEY_FILE);
    char *text = NULL;
    size_t n = 0;
    int r = conf_read_file(path, KEY_FILE_MAX, &text, &n);
    if (r < 0) {
        return conf_fail(c->conf, AUTH_KEY_FILE, err, "cannot read %s: %s", path, strerror(-r));
    }
    unsigned line = 0;
    r = api_keys_parse(c->keys, bytes_of(text, n), &line);
    explicit_bzero(text, n);
    mem_free(text);
    if (r == 0) {
        return 0;
    }
    if (line == 0) {
        return conf_fail(c->conf, AUTH_KEY_FILE, err,
                         "%s holds no key; write a line of the form \"key: secret\"", path);
    }
    return conf_fail(c->conf, AUTH_KEY_FILE, err,
                     "%s, line %u: write \"key: secret\", each key once, at most %d of them", path,
                     line, API_KEYS_MAX);
}

// A pair for this run. The key tells where it is from, so that a stray token explains itself.
static int generate_keys(struct auth_config *c)
{
    uint8_t raw[32]; // 256 bits, what HS256 wants (RFC 7518 section 3.2)
    struct dynbuf secret;
    char key[24];
    dynbuf_init(&secret, 64);
    rand_bytes(raw, sizeof(raw));
    base64_encode(BASE64_URL_NOPAD, bytes_of(raw, sizeof(raw)), &secret);
    (void)snprintf(key, sizeof(key), "dev%08x", (unsigned)rand_u32());
    int const r =
        dynbuf_ok(&secret) ? api_keys_add(c->keys, bytes_str(key), dynbuf_view(&secret)) : -ENOMEM;
    explicit_bzero(raw, sizeof(raw));
    dynbuf_done(&secret);
    c->keys_generated = r == 0;
    return r;
}

static bool is_flag(const struct conf *k, size_t item)
{
    return strncmp(conf_origin(k, item), "flag", 4) == 0;
}

// The value of a setting that may stand in a file of its own. *ret is to be freed; "" if there is
// none. *ret_item: where it came from.
static int read_value(const struct conf *k, size_t plain, size_t from_file, char **ret,
                      size_t *ret_item, char *err)
{
    bool const use_file = conf_has(k, from_file) && (!is_flag(k, plain) || is_flag(k, from_file));
    *ret_item = use_file ? from_file : plain;
    if (!use_file) {
        *ret = mem_strdup(conf_str(k, plain));
        return *ret ? 0 : -ENOMEM;
    }
    size_t n = 0;
    const char *const path = conf_str(k, from_file);
    int const r = conf_read_file(path, KEY_FILE_MAX, ret, &n);
    return r == 0 ? 0 : conf_fail(k, from_file, err, "cannot read %s: %s", path, strerror(-r));
}

static int add_pair(struct auth_config *c, struct bytes key, size_t key_item, struct bytes secret,
                    size_t secret_item, char *err)
{
    if (key.n == 0) {
        return conf_fail(c->conf, key_item, err,
                         "the API key is missing; set LIVEKIT_KEY and LIVEKIT_SECRET (or their "
                         "..._FROM_FILE forms, or LIVEKIT_KEY_FILE) to a pair that the SFU knows");
    }
    if (secret.n == 0) {
        return conf_fail(c->conf, secret_item, err,
                         "the secret is missing; set LIVEKIT_SECRET (or LIVEKIT_SECRET_FROM_FILE) "
                         "to the secret of LIVEKIT_KEY");
    }
    if (api_keys_add(c->keys, key, secret) < 0) {
        return conf_fail(c->conf, key_item, err,
                         "key or secret is blank or holds control characters; give LIVEKIT_KEY and "
                         "LIVEKIT_SECRET as one line of text each");
    }
    return 0;
}

static int load_keys(struct auth_config *c, char *err)
{
    const struct conf *const k = c->conf;
    c->keys = api_keys_new();
    if (!c->keys) {
        return -ENOMEM;
    }
    if (conf_has(k, AUTH_KEY_FILE)) {
        return load_key_file(c, err);
    }
    char *key = NULL;
    char *secret = NULL;
    size_t key_item = 0;
    size_t secret_item = 0;
    int r = read_value(k, AUTH_KEY, AUTH_KEY_FROM_FILE, &key, &key_item, err);
    r = r < 0 ? r : read_value(k, AUTH_SECRET, AUTH_SECRET_FROM_FILE, &secret, &secret_item, err);
    if (r == 0 && !*key && !*secret && c->dev) {
        r = generate_keys(c);
    } else if (r == 0) {
        r = add_pair(c, bytes_str(key), key_item, bytes_str(secret), secret_item, err);
    }
    if (secret) {
        explicit_bzero(secret, strlen(secret));
    }
    mem_free(secret);
    mem_free(key);
    return r;
}

// ---- the rest -------------------------------------------------------------------------------

static bool is_sfu_url(const char *url)
{
    static const char *const schemes[] = {"ws://", "wss://", "http://", "https://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t const n = strlen(schemes[i]);
        if (strncmp(url, schemes[i], n) == 0 && url[n] != '\0' && url[n] != '/' &&
            !strpbrk(url, " \t\r\n?#")) {
            return true;
        }
    }
    return false;
}

static int load_urls(struct auth_config *c, char *err)
{
    const struct conf *const k = c->conf;
    c->livekit_url = conf_str(k, AUTH_LIVEKIT_URL);
    if (!*c->livekit_url && c->dev) {
        c->livekit_url = DEV_URL;
    }
    if (!*c->livekit_url) {
        return conf_fail(k, AUTH_LIVEKIT_URL, err,
                         "the URL of the SFU is missing; set LIVEKIT_URL to what clients shall "
                         "connect to, such as wss://example.org/livekit/sfu");
    }
    if (!is_sfu_url(c->livekit_url)) {
        return conf_fail(k, AUTH_LIVEKIT_URL, err,
                         "\"%s\" is no URL of the form wss://host[:port][/path]", c->livekit_url);
    }
    c->api_url = conf_has(k, AUTH_INTERNAL_URL) ? conf_str(k, AUTH_INTERNAL_URL) : c->livekit_url;
    if (!is_sfu_url(c->api_url)) {
        return conf_fail(k, AUTH_INTERNAL_URL, err,
                         "\"%s\" is no URL of the form http://host[:port][/path]", c->api_url);
    }
    return 0;
}

static int load_access(struct auth_config *c, char *err)
{
    const struct conf *const k = c->conf;
    // An empty list is one as well: nobody has full access.
    if (!conf_has(k, AUTH_FULL_ACCESS) && !c->dev) {
        return conf_fail(k, AUTH_FULL_ACCESS, err,
                         "the homeserver(s) you serve are missing; set "
                         "LIVEKIT_FULL_ACCESS_HOMESERVERS to their server names (* for all)");
    }
    size_t const n = conf_list_len(k, AUTH_FULL_ACCESS);
    c->everybody = (n == 1 && strcmp(conf_list_at(k, AUTH_FULL_ACCESS, 0), "*") == 0) ||
                   (c->dev && !conf_has(k, AUTH_FULL_ACCESS));
    return 0;
}

static void load_bind(struct auth_config *c)
{
    const struct conf *const k = c->conf;
    c->bind_item = AUTH_BIND;
    if (conf_has(k, AUTH_PORT)) {
        uint16_t const port = (uint16_t)conf_int(k, AUTH_PORT);
        c->bind_item = AUTH_PORT;
        c->bind[0] = addr_v4(0, 0, 0, 0, port);
        c->bind[1] = (struct addr){.family = ADDR_V6, .port = port};
        c->bind_count = 2;
    } else if (c->dev && !conf_is_set(k, AUTH_BIND)) {
        c->bind[0] = addr_v4(127, 0, 0, 1, DEV_PORT);
        c->bind_count = 1;
    } else {
        c->bind_count = conf_bind(k, AUTH_BIND, c->bind);
    }
}

static char *trim(char *s)
{
    static const char blanks[] = " \t\r\n";
    s += strspn(s, blanks);
    size_t n = strlen(s);
    while (n > 0 && strchr(blanks, s[n - 1])) {
        s[--n] = '\0';
    }
    return s;
}

// One "server=url" in place.
static int parse_override(char *entry, struct openid_override *ret)
{
    char *const eq = strchr(entry, '=');
    if (!eq) {
        return -EINVAL;
    }
    *eq = '\0';
    char *const name = trim(entry);
    char *const url = trim(eq + 1);
    if (!*name || !*url) {
        return -EINVAL;
    }
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/') {
        url[--n] = '\0';
    }
    *ret = (struct openid_override){.server_name = name, .base_url = url};
    return 0;
}

// Splits at commas; text is changed. *ret_bad: the entry that is wrong.
static int parse_overrides(char *text, struct openid_override *list, size_t *ret_n,
                           const char **ret_bad)
{
    size_t n = 0;
    for (char *p = text; p;) {
        char *const comma = strchr(p, ',');
        if (comma) {
            *comma = '\0';
        }
        *ret_bad = p;
        if (n == AUTH_OVERRIDES_MAX || parse_override(p, &list[n]) < 0) {
            return -EINVAL;
        }
        n++;
        p = comma ? comma + 1 : NULL;
    }
    *ret_n = n;
    return 0;
}

static int load_overrides(struct auth_config *c, size_t item, char *err)
{
    const char *const text = conf_str(c->conf, item);
    if (!*text) {
        return 0;
    }
    struct openid_override *const list = mem_array(AUTH_OVERRIDES_MAX, sizeof(*list));
    char *const copy = mem_strdup(text);
    const char *bad = "";
    size_t n = 0;
    int r = list && copy ? parse_overrides(copy, list, &n, &bad) : -ENOMEM;
    if (r == -EINVAL) {
        r = conf_fail(c->conf, item, err, "invalid entry \"%s\", expected server_name=url", bad);
    }
    for (size_t i = 0; r == 0 && item == AUTH_OPENID_OVERRIDES && i < n; i++) {
        if (strncmp(list[i].base_url, "http://", 7) != 0 &&
            strncmp(list[i].base_url, "https://", 8) != 0) {
            r = conf_fail(c->conf, item, err, "the URL of %s must begin with http:// or https://",
                          list[i].server_name);
        }
    }
    if (r < 0 || item != AUTH_OPENID_OVERRIDES) {
        mem_free(list);
        mem_free(copy);
        return r;
    }
    c->overrides = list;
    c->override_text = copy;
    c->override_count = n;
    return 0;
}

// A path that cannot be read would show much later, as certificates that nobody trusts.
static int check_trust(const struct auth_config *c, char *err)
{
    static const size_t paths[] = {AUTH_CA_FILE, AUTH_SSL_CERT_FILE};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const char *const path = conf_str(c->conf, paths[i]);
        if (*path && access(path, R_OK) != 0) {
            return conf_fail(c->conf, paths[i], err,
                             "cannot read %s: %s; correct the path or leave it out", path,
                             strerror(errno));
        }
    }
    return 0;
}

static void load_log(struct auth_config *c)
{
    const char *const format = conf_str(c->conf, AUTH_LOG_FORMAT);
    c->log = (struct log_settings){.level = LOG_LEVEL_INFO,
                                   .redact = c->dev ? LOG_REDACT_NONE : LOG_REDACT_HASH};
    c->log_level_unknown = !log_level_parse(conf_str(c->conf, AUTH_LOG_LEVEL), &c->log.level);
    c->log.format = strcmp(format, "json") == 0   ? LOG_FORMAT_JSON
                    : strcmp(format, "text") == 0 ? LOG_FORMAT_TEXT
                                                  : LOG_FORMAT_AUTO;
}

int auth_config_load(int argc, const char *const *argv, const char *const *envp,
                     struct auth_config **ret, char err[static CONF_ERROR_MAX])
{
    CLEANUP(auth_config_free) struct auth_config *c = NEW(struct auth_config);
    if (!c) {
        return -ENOMEM;
    }
    int r = conf_load(&spec, argc, argv, envp, &c->conf, err);
    if (r < 0) {
        return r;
    }
    enum conf_action const action = conf_action(c->conf);
    if (action == CONF_SHOW_HELP || action == CONF_SHOW_VERSION) {
        *ret = STEAL(c);
        return 0;
    }
    c->dev = conf_bool(c->conf, AUTH_DEV);
    c->insecure = strcmp(conf_str(c->conf, AUTH_INSECURE), AUTH_INSECURE_PHRASE) == 0;
    c->ignore_unknown = conf_bool(c->conf, AUTH_IGNORE_UNKNOWN);
    load_log(c);
    load_bind(c);
    if (!conf_bool(c->conf, AUTH_HEALTHCHECK)) { // which needs to know where, nothing else
        r = load_keys(c, err);
        r = r < 0 ? r : load_urls(c, err);
        r = r < 0 ? r : load_access(c, err);
        r = r < 0 ? r : load_overrides(c, AUTH_OPENID_OVERRIDES, err);
        r = r < 0 ? r : load_overrides(c, AUTH_CS_API_OVERRIDES, err);
        r = r < 0 ? r : check_trust(c, err);
    }
    if (r < 0) {
        return r;
    }
    *ret = STEAL(c);
    return 0;
}

static bool is_listed(const struct auth_config *c, const char *server_name)
{
    for (size_t i = 0; i < conf_list_len(c->conf, AUTH_FULL_ACCESS); i++) {
        if (strcmp(conf_list_at(c->conf, AUTH_FULL_ACCESS, i), server_name) == 0) {
            return true;
        }
    }
    return false;
}

bool auth_config_full_access(const struct auth_config *c, const char *server_name)
{
    return c->everybody || is_listed(c, server_name);
}

bool auth_config_names_server(const struct auth_config *c, const char *server_name)
{
    return is_listed(c, server_name);
}
