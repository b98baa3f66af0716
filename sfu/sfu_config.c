// SPDX-License-Identifier: Apache-2.0
#include "sfu/sfu_config.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "common/sys/thread.h"
#include "sfu/sfu_webhooks.h"

static const char *const log_formats[] = {"auto", "json", "text", NULL};

static const struct conf_item items[SFU_ITEM_COUNT] = {
    [SFU_PORT] = {.name = "port",
                  .type = CONF_INT,
                  .env = {"FOCI_SFU_PORT"},
                  .flag = {"port"},
                  .def = "7880",
                  .max = 65535,
                  .arg = "PORT",
                  .help =
                      "TCP port of signalling (WebSocket) and the server API; 0 takes a free one."},
    [SFU_BIND] = {.name = "bind_addresses",
                  .type = CONF_LIST,
                  .env = {"FOCI_SFU_BIND"},
                  .flag = {"bind"},
                  .arg = "IPS",
                  .help = "Addresses that signalling listens on; all without it."},
    [SFU_KEYS] = {.name = "keys",
                  .type = CONF_SECRET,
                  .flags = CONF_FROM_FILE,
                  .env = {"LIVEKIT_KEYS"},
                  .flag = {"keys"},
                  .conflicts = "key_file",
                  .arg = "KEY: SECRET",
                  .help =
                      "API keys, one \"key: secret\" a line; the first signs, all are accepted."},
    [SFU_KEY_FILE] = {.name = "key_file",
                      .flags = CONF_CREDENTIAL_PATH,
                      .env = {"LIVEKIT_KEY_FILE"},
                      .flag = {"key-file"},
                      .arg = "PATH",
                      .help = "File with such lines, read again when it changes."},
    [SFU_UDP_PORT] =
        {.name = "rtc.udp_port",
         .type = CONF_INT,
         .env = {"UDP_PORT"},
         .flag = {"udp-port"},
         .def = "7882",
         .max = 65535,
         .arg = "PORT",
         .help = "UDP port of the first media worker; worker n uses PORT+n. 0 takes free ones."},
    [SFU_RTC_BIND] =
        {.name = "rtc.bind",
         .type = CONF_LIST,
         .env = {"FOCI_RTC_BIND"},
         .flag = {"rtc-bind"},
         .arg = "IPS",
         .help = "One IPv4 and one IPv6 address that media sockets bind to; all without it."},
    [SFU_NODE_IP] = {.name = "rtc.node_ip",
                     .type = CONF_LIST,
                     .env = {"NODE_IP"},
                     .flag = {"node-ip"},
                     .arg = "IPS",
                     .help = "Addresses told to clients (behind NAT: the public one); those of the "
                             "interfaces without it."},
    [SFU_IPV6] = {.name = "rtc.ipv6",
                  .type = CONF_BOOL,
                  .env = {"FOCI_RTC_IPV6"},
                  .flag = {"ipv6"},
                  .def = "true",
                  .help = "Offer IPv6 candidates."},
    [SFU_LOOPBACK] = {.name = "rtc.loopback",
                      .type = CONF_BOOL,
                      .env = {"FOCI_RTC_LOOPBACK"},
                      .flag = {"loopback"},
                      .def = "false",
                      .help = "Offer loopback candidates too (clients on this machine)."},
    [SFU_WORKERS] = {.name = "workers",
                     .type = CONF_INT,
                     .env = {"FOCI_SFU_WORKERS"},
                     .flag = {"workers"},
                     .def = "0",
                     .max = WORKERS_MAX,
                     .arg = "N",
                     .help = "Media threads; 0 makes one for each CPU."},
    [SFU_DTLS_THREADS] = {.name = "dtls_threads",
                          .type = CONF_INT,
                          .env = {"FOCI_SFU_DTLS_THREADS"},
                          .flag = {"dtls-threads"},
                          .def = "1",
                          .min = 1,
                          .max = 4,
                          .arg = "N",
                          .help = "Threads for handshakes of joining clients."},
    [SFU_UDP_BUFFER] =
        {.name = "rtc.udp_buffer",
         .type = CONF_INT,
         .env = {"FOCI_RTC_UDP_BUFFER"},
         .flag = {"udp-buffer"},
         // media-plane 1.9: 16 MiB wanted, below 5 MiB bursts of a large room are lost.
         .def = "16777216",
         .min = 65536,
         .max = 268435456,
         .arg = "BYTES",
         .help = "Socket buffer asked for in each direction."},
    [SFU_AUTO_CREATE] =
        {.name = "room.auto_create",
         .type = CONF_BOOL,
         .env = {"FOCI_ROOM_AUTO_CREATE"},
         .flag = {"auto-create"},
         .def = "true",
         .help = "Joining makes a room that does not exist; false: only CreateRoom does."},
    [SFU_EMPTY_TIMEOUT] = {.name = "room.empty_timeout",
                           .type = CONF_DURATION,
                           .env = {"FOCI_ROOM_EMPTY_TIMEOUT"},
                           .flag = {"empty-timeout"},
                           .def = "300s",
                           .min = 1000,
                           .max = 604800000,
                           .arg = "TIME",
                           .help = "How long a room waits for its first participant."},
    [SFU_DEPARTURE_TIMEOUT] = {.name = "room.departure_timeout",
                               .type = CONF_DURATION,
                               .env = {"FOCI_ROOM_DEPARTURE_TIMEOUT"},
                               .flag = {"departure-timeout"},
                               .def = "20s",
                               .min = 1000,
                               .max = 604800000,
                               .arg = "TIME",
                               .help = "How long a room stays after its last participant left."},
    [SFU_MAX_PARTICIPANTS] = {.name = "room.max_participants",
                              .type = CONF_INT,
                              .env = {"FOCI_ROOM_MAX_PARTICIPANTS"},
                              .flag = {"max-participants"},
                              .def = "0",
                              .max = 1000000,
                              .arg = "N",
                              .help = "Most participants of a room; 0 for no limit."},
    [SFU_REMOTE_UNMUTE] = {.name = "room.enable_remote_unmute",
                           .type = CONF_BOOL,
                           .env = {"FOCI_ROOM_ENABLE_REMOTE_UNMUTE"},
                           .flag = {"enable-remote-unmute"},
                           .def = "false",
                           .help = "The server API may unmute tracks, not only mute them."},
    [SFU_FULL_ROOM_IN_EVENTS] =
        {.name = "room.enable_full_room_in_webhooks",
         .type = CONF_BOOL,
         .env = {"FOCI_ROOM_ENABLE_FULL_ROOM_IN_WEBHOOKS"},
         .flag = {"enable-full-room-in-webhooks"},
         .def = "false",
         .help = "Events of tracks carry the whole room, not only its name and sid."},
    [SFU_REGION] = {.name = "region",
                    .env = {"LIVEKIT_REGION"},
                    .flag = {"region"},
                    .arg = "NAME",
                    .help = "Region told to clients."},
    [SFU_TRUSTED_PROXIES] =
        {.name = "trusted_proxies",
         .type = CONF_LIST,
         .env = {"FOCI_SFU_TRUSTED_PROXIES"},
         .flag = {"trusted-proxies"},
         .def = "private_ranges",
         .arg = "CIDRS",
         .help = "Reverse proxies whose X-Forwarded-For, Forwarded or X-Real-IP tells the client's "
                 "address for limit.connects: ranges, or the words loopback, private_ranges."},
    [SFU_LIMIT_CONNECTS] = {.name = "limit.connects",
                            .env = {"FOCI_SFU_LIMIT_CONNECTS"},
                            .flag = {"limit-connects"},
                            .def = CONNECT_LIMIT_DEFAULT,
                            .arg = "RATE/BURST",
                            .help = "Signalling connections a second of one client address, and "
                                    "how many at once; 0 for no limit. This machine has none."},
    [SFU_WEBHOOK_URLS] = {.name = "webhook.urls",
                          .type = CONF_LIST,
                          .env = {"FOCI_WEBHOOK_URLS"},
                          .flag = {"webhook-urls"},
                          .arg = "URLS",
                          .help = "Where signed events of rooms are posted to (LiveKit's "
                                  "webhooks); #include=EVENT+EVENT or #exclude=EVENT+EVENT behind "
                                  "one chooses what that one is told."},
    [SFU_WEBHOOK_API_KEY] = {.name = "webhook.api_key",
                             .env = {"FOCI_WEBHOOK_API_KEY"},
                             .flag = {"webhook-api-key"},
                             .arg = "KEY",
                             .help = "Name of the key that signs events; the one that signs "
                                     "everything else without it."},
    [SFU_WEBHOOK_INCLUDE] = {.name = "webhook.include_events",
                             .type = CONF_LIST,
                             .env = {"FOCI_WEBHOOK_INCLUDE_EVENTS"},
                             .flag = {"webhook-include-events"},
                             .arg = "EVENTS",
                             .help =
                                 "Events that webhook.urls are told that choose nothing themselves "
                                 "(participant_joined, ...); all without it."},
    [SFU_WEBHOOK_EXCLUDE] = {.name = "webhook.exclude_events",
                             .type = CONF_LIST,
                             .env = {"FOCI_WEBHOOK_EXCLUDE_EVENTS"},
                             .flag = {"webhook-exclude-events"},
                             .arg = "EVENTS",
                             .help = "Events that they are not told; of no effect beside "
                                     "webhook.include_events."},
    [SFU_AUTH_SERVICE] = {.name = "auth_service",
                          .env = {"FOCI_AUTH_SERVICE"},
                          .flag = {"auth-service"},
                          .arg = "URL",
                          .help =
                              "Where this server reaches foci-jwt (http://127.0.0.1:8080), which "
                              "is told who joined and left; no further setting is needed."},
    [SFU_LOG_LEVEL] = {.name = "logging.level",
                       .env = {"FOCI_LOG_LEVEL"},
                       .flag = {"log-level"},
                       .def = "info",
                       .arg = "LEVEL",
                       .help = "debug, info, warn or error."},
    [SFU_LOG_FORMAT] = {.name = "logging.format",
                        .env = {"FOCI_LOG_FORMAT"},
                        .flag = {"log-format"},
                        .def = "auto",
                        .choices = log_formats,
                        .arg = "FORMAT",
                        .help = "json, text, or auto: text on a terminal."},
    [SFU_DEV] =
        {.name = "development",
         .type = CONF_BOOL,
         .env = {"FOCI_DEV"},
         .flag = {"dev"},
         .def = "false",
         .help = "Development: a generated key, signalling on loopback only, loopback candidates."},
};

static const char *const env_prefixes[] = {"FOCI_", "LIVEKIT_", NULL};
// Of foci-jwt, which often shares its environment with this service.
static const char *const env_foreign[] = {"FOCI_JWT_*",
                                          "LIVEKIT_URL",
                                          "LIVEKIT_KEY",
                                          "LIVEKIT_SECRET",
                                          "LIVEKIT_KEY_FROM_FILE",
                                          "LIVEKIT_SECRET_FROM_FILE",
                                          "LIVEKIT_JWT_*",
                                          "LIVEKIT_AS_*",
                                          "LIVEKIT_HS_*",
                                          "LIVEKIT_REDIS_*",
                                          "LIVEKIT_LOG_*",
                                          "LIVEKIT_INTERNAL_URL",
                                          "LIVEKIT_FULL_ACCESS_HOMESERVERS",
                                          "LIVEKIT_ALLOWED_HOMESERVERS",
                                          "LIVEKIT_BLOCKED_HOMESERVERS",
                                          "LIVEKIT_OPENID_URL_OVERRIDES",
                                          "LIVEKIT_CS_API_URL_OVERRIDES",
                                          "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS",
                                          "LIVEKIT_MEMBERSHIP_CHECK_INTERVAL_SECONDS",
                                          "LIVEKIT_CAN_UPDATE_OWN_METADATA",
                                          "LIVEKIT_CA_FILE",
                                          "LIVEKIT_INSECURE_SKIP_VERIFY_TLS",
                                          "LIVEKIT_IGNORE_UNKNOWN_FIELDS",
                                          NULL};

static const struct conf_spec spec = {
    .program = "foci-sfu",
    .version = "0.1.0",
    .summary = "Selective forwarding unit that speaks LiveKit's client protocol.",
    .items = items,
    .count = SFU_ITEM_COUNT,
    .config_env = "FOCI_SFU_CONFIG",
    .env_prefixes = env_prefixes,
    .env_foreign = env_foreign,
};

const struct conf_spec *sfu_config_spec(void)
{
    return &spec;
}

void sfu_config_free(struct sfu_config *c)
{
    if (c != NULL) {
        conf_free(c->conf);
        api_keys_free(c->keys);
        cidr_set_done(&c->proxies);
        sfu_webhooks_done(c);
        mem_free(c);
    }
}

// ---- keys -----------------------------------------------------------------------------------

// For this run. The name is livekit-server's in development.
static int generate_key(struct sfu_config *c)
{
    char name[KEY_NAME_SIZE];
    char secret[KEY_SECRET_SIZE];
    c->keys = api_keys_new();
    if (c->keys == NULL) {
        return -ENOMEM;
    }
    key_source_generate(name, secret);
    int const rc = api_keys_add(c->keys, bytes_str("devkey"), bytes_str(secret));
    explicit_bzero(secret, sizeof(secret));
    c->dev_keys = rc == 0;
    return rc;
}

// Where the keys are from. False: nothing says so.
static bool find_source(struct sfu_config *c, size_t *ret_item)
{
    const char *const lines_file = conf_path(c->conf, SFU_KEYS);
    struct key_source s = {.strict = !c->dev};
    *ret_item = SFU_KEYS;
    if (lines_file != NULL) {
        s.file = lines_file; // read again from there when it changes
    } else if (conf_has(c->conf, SFU_KEYS)) {
        s.text = conf_str(c->conf, SFU_KEYS);
    } else if (conf_has(c->conf, SFU_KEY_FILE)) {
        s.file = conf_str(c->conf, SFU_KEY_FILE);
        *ret_item = SFU_KEY_FILE;
    } else {
        return false;
    }
    c->key_source = s;
    return true;
}

static int load_keys(struct sfu_config *c, char *err)
{
    size_t item = SFU_KEYS;
    if (!find_source(c, &item)) {
        return c->dev
                   ? generate_key(c)
                   : conf_fail(c->conf, SFU_KEYS, err,
                               "no API key is set; give --keys \"name: secret\", LIVEKIT_KEYS or "
                               "--key-file, or --dev for a try-out with a generated one");
    }
    struct key_source_result r;
    struct key_source_error e = {0};
    int const rc = key_source_read(&c->key_source, clock_wall(), &r, &e);
    if (rc == -ENOMEM) {
        return rc;
    }
    if (rc < 0) {
        return e.line > 0 ? conf_fail(c->conf, item, err, "line %u: %s", e.line, e.text)
                          : conf_fail(c->conf, item, err, "%s", e.text);
    }
    c->keys = r.keys;
    c->key_finding_count = r.finding_count;
    memcpy(c->key_findings, r.findings, sizeof(r.findings));
    return 0;
}

// ---- addresses ------------------------------------------------------------------------------

static int parse_ips(const struct sfu_config *c, size_t item, struct addr *ret, size_t cap,
                     size_t *ret_n, char *err)
{
    size_t const n = conf_list_len(c->conf, item);
    if (n > cap) {
        return conf_fail(c->conf, item, err, "names %zu addresses, at most %zu are possible", n,
                         cap);
    }
    for (size_t i = 0; i < n; i++) {
        const char *const text = conf_list_at(c->conf, item, i);
        if (addr_parse_ip(bytes_str(text), &ret[i]) < 0) {
            return conf_fail(c->conf, item, err,
                             "\"%s\" is no IP address; names are not looked up here", text);
        }
    }
    *ret_n = n;
    return 0;
}

static int load_listen(struct sfu_config *c, char *err)
{
    int const rc = parse_ips(c, SFU_BIND, c->listen, SFU_LISTEN_MAX, &c->listen_count, err);
    if (rc < 0) {
        return rc;
    }
    if (c->listen_count == 0) {
        c->listen[0] = c->dev ? addr_v4(127, 0, 0, 1, 0) : addr_v4(0, 0, 0, 0, 0);
        c->listen[1] = (struct addr){.family = ADDR_V6};
        c->listen[1].ip[15] = c->dev ? 1 : 0;
        c->listen_count = 2;
    }
    for (size_t i = 0; i < c->listen_count; i++) {
        c->listen[i].port = (uint16_t)conf_int(c->conf, SFU_PORT);
    }
    return 0;
}

// Clients would be told an address that no media socket can answer at.
static int unreachable(const struct sfu_config *c, size_t item, const char *text, char *err)
{
    bool const off = !conf_bool(c->conf, SFU_IPV6);
    size_t const other = off ? SFU_IPV6 : SFU_RTC_BIND;
    return conf_fail(c->conf, item, err, "\"%s\" contradicts %s (%s), %s; change one of them", text,
                     off ? "rtc.ipv6" : "rtc.bind", conf_origin(c->conf, other),
                     off ? "which is false" : "which has no address of that family");
}

static bool bound(const struct sfu_config *c, uint8_t family)
{
    for (size_t i = 0; i < c->rtc_bind_count; i++) {
        if (c->rtc_binds[i].family == family) {
            return true;
        }
    }
    return false;
}

static int check_families(const struct sfu_config *c, char *err)
{
    bool const ipv6 = conf_bool(c->conf, SFU_IPV6);
    for (size_t i = 0; !ipv6 && i < conf_list_len(c->conf, SFU_RTC_BIND); i++) {
        if (c->rtc_binds[i].family == ADDR_V6) {
            return unreachable(c, SFU_RTC_BIND, conf_list_at(c->conf, SFU_RTC_BIND, i), err);
        }
    }
    for (size_t i = 0; i < c->node_ip_count; i++) {
        if (!bound(c, c->node_ips[i].family)) {
            return unreachable(c, SFU_NODE_IP, conf_list_at(c->conf, SFU_NODE_IP, i), err);
        }
    }
    return 0;
}

static int load_media(struct sfu_config *c, char *err)
{
    int rc = parse_ips(c, SFU_NODE_IP, c->node_ips, SFU_NODE_IPS_MAX, &c->node_ip_count, err);
    if (rc < 0) {
        return rc;
    }
    rc = parse_ips(c, SFU_RTC_BIND, c->rtc_binds, 2, &c->rtc_bind_count, err);
    if (rc < 0) {
        return rc;
    }
    if (c->rtc_bind_count == 2 && c->rtc_binds[0].family == c->rtc_binds[1].family) {
        return conf_fail(c->conf, SFU_RTC_BIND, err,
                         "takes one address of each family; leave one out");
    }
    if (c->rtc_bind_count == 0) {
        c->rtc_binds[0] = addr_v4(0, 0, 0, 0, 0);
        c->rtc_binds[1] = (struct addr){.family = ADDR_V6};
        c->rtc_bind_count = conf_bool(c->conf, SFU_IPV6) ? 2 : 1;
    }
    for (size_t i = 0; i < c->node_ip_count; i++) {
        if (addr_is_unspecified(&c->node_ips[i]) || addr_is_multicast(&c->node_ips[i])) {
            return conf_fail(c->conf, SFU_NODE_IP, err,
                             "\"%s\" is no address that a client could send to",
                             conf_list_at(c->conf, SFU_NODE_IP, i));
        }
    }
    rc = check_families(c, err);
    if (rc < 0) {
        return rc;
    }
    c->udp_port = (uint16_t)conf_int(c->conf, SFU_UDP_PORT);
    c->workers = (uint32_t)conf_int(c->conf, SFU_WORKERS);
    if (c->workers == 0) {
        c->workers = MIN(thread_cpus(), WORKERS_MAX);
    }
    c->dtls_threads = (uint32_t)conf_int(c->conf, SFU_DTLS_THREADS);
    if (c->udp_port != 0 && (uint32_t)c->udp_port + c->workers - 1 > 65535) {
        return conf_fail(c->conf, SFU_UDP_PORT, err,
                         "%u workers need the ports %u to %u, which ends above 65535; give a lower "
                         "port or fewer workers",
                         c->workers, c->udp_port, c->udp_port + c->workers - 1);
    }
    return 0;
}

// ---- limits and log --------------------------------------------------------------------------

static int load_limits(struct sfu_config *c, char *err)
{
    for (size_t i = 0; i < conf_list_len(c->conf, SFU_TRUSTED_PROXIES); i++) {
        const char *const text = conf_list_at(c->conf, SFU_TRUSTED_PROXIES, i);
        int const rc = cidr_set_add(&c->proxies, bytes_str(text));
        if (rc < 0) {
            return rc == -ENOMEM ? rc
                                 : conf_fail(c->conf, SFU_TRUSTED_PROXIES, err,
                                             "\"%s\" is none of: a range such as 10.0.0.0/8, an "
                                             "address, or the words loopback, private_ranges, all",
                                             text);
        }
    }
    const char *const text = conf_str(c->conf, SFU_LIMIT_CONNECTS);
    if (rate_limit_parse(bytes_str(text), &c->connects) < 0) {
        return conf_fail(
            c->conf, SFU_LIMIT_CONNECTS, err,
            "\"%s\" is no rate; write 100/1000 for 100 a second and 1000 at once, or 0 "
            "for no limit",
            text);
    }
    return 0;
}

static int load_log(struct sfu_config *c, char *err)
{
    const char *const format = conf_str(c->conf, SFU_LOG_FORMAT);
    if (!log_level_parse(conf_str(c->conf, SFU_LOG_LEVEL), &c->log.level)) {
        return conf_fail(c->conf, SFU_LOG_LEVEL, err, "\"%s\" is none of debug, info, warn, error",
                         conf_str(c->conf, SFU_LOG_LEVEL));
    }
    c->log.format = strcmp(format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_AUTO;
    c->log.format = strcmp(format, "text") == 0 ? LOG_FORMAT_TEXT : c->log.format;
    c->log.redact = c->dev ? LOG_REDACT_NONE : LOG_REDACT_HASH;
    return 0;
}

int sfu_config_load(int argc, const char *const *argv, const char *const *envp,
                    struct sfu_config **ret, char err[static CONF_ERROR_MAX])
{
    struct sfu_config *const c = NEW(struct sfu_config);
    if (c == NULL) {
        return -ENOMEM;
    }
    int rc = conf_load(&spec, argc, argv, envp, &c->conf, err);
    bool const run =
        rc == 0 && (conf_action(c->conf) == CONF_RUN || conf_action(c->conf) == CONF_CHECK);
    if (run) {
        c->dev = conf_bool(c->conf, SFU_DEV);
        rc = load_log(c, err);
        rc = rc == 0 ? load_keys(c, err) : rc;
        rc = rc == 0 ? load_listen(c, err) : rc;
        rc = rc == 0 ? load_media(c, err) : rc;
        rc = rc == 0 ? sfu_webhooks_load(c, err) : rc;
        rc = rc == 0 ? load_limits(c, err) : rc;
    }
    if (rc < 0) {
        sfu_config_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}
