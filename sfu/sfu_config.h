// SPDX-License-Identifier: Apache-2.0
#pragma once
// Settings of foci-sfu. Names follow livekit-server where it has the same setting (flags --bind
// --port --keys --key-file
// --node-ip --udp-port --dev --region, variables LIVEKIT_KEYS NODE_IP UDP_PORT).
//
// Start-up, main thread.

#include "common/app/key_source.h"
#include "common/base/cidr.h"
#include "common/base/rate.h"
#include "common/svc/conf.h"
#include "common/sys/log.h"
#include "sfu/base/sfu_limits.h"

enum sfu_item {
    SFU_PORT,
    SFU_BIND,
    SFU_KEYS,
    SFU_KEY_FILE,
    SFU_UDP_PORT,
    SFU_RTC_BIND,
    SFU_NODE_IP,
    SFU_IPV6,
    SFU_LOOPBACK,
    SFU_WORKERS,
    SFU_DTLS_THREADS,
    SFU_UDP_BUFFER,
    SFU_AUTO_CREATE,
    SFU_EMPTY_TIMEOUT,
    SFU_DEPARTURE_TIMEOUT,
    SFU_MAX_PARTICIPANTS,
    SFU_REMOTE_UNMUTE,
    SFU_FULL_ROOM_IN_EVENTS,
    SFU_REGION,
    SFU_TRUSTED_PROXIES,
    SFU_LIMIT_CONNECTS,
    SFU_WEBHOOK_URLS,
    SFU_WEBHOOK_API_KEY,
    SFU_WEBHOOK_INCLUDE,
    SFU_WEBHOOK_EXCLUDE,
    SFU_AUTH_SERVICE,
    SFU_LOG_LEVEL,
    SFU_LOG_FORMAT,
    SFU_DEV,
    SFU_ITEM_COUNT,
};

#define SFU_LISTEN_MAX 8
#define SFU_NODE_IPS_MAX 8
#define SFU_WEBHOOKS_MAX 8
#define SFU_EVENTS_MAX 7 // as many as there are

struct sfu_events {
    const char *names[SFU_EVENTS_MAX];
    size_t count;
};

// Where events go. Only those in `include`; without any all but those in `exclude`.
struct sfu_webhook {
    char *url; // without the filter that may stand behind it
    struct sfu_events include, exclude;
};

struct sfu_config {
    struct conf *conf;
    struct api_keys *keys;
    struct key_source key_source; // where they are from; empty: generated
    struct key_finding key_findings[KEY_FINDINGS_MAX];
    size_t key_finding_count;
    struct addr listen[SFU_LISTEN_MAX];
    size_t listen_count;
    struct addr rtc_binds[2];
    size_t rtc_bind_count;
    struct addr node_ips[SFU_NODE_IPS_MAX];
    size_t node_ip_count;
    uint32_t workers;
    uint32_t dtls_threads;
    uint16_t udp_port; // of worker 0; 0: any
    // That of the authorization service is the last one.
    struct sfu_webhook webhooks[SFU_WEBHOOKS_MAX + 1];
    size_t webhook_count;
    bool auth_hook;             // the last one is that of auth_service
    struct cidr_set proxies;    // trusted ones
    struct rate_limit connects; // of one client address
    bool dev;
    bool dev_keys; // generated or built in, to be shown
    struct log_settings log;
};

// Reads flags, environment and file. 0: *ret is set (check conf_action); -EINVAL: err is the line
// for the operator.
int sfu_config_load(int argc, const char *const *argv, const char *const *envp,
                    struct sfu_config **ret, char err[static CONF_ERROR_MAX]) NODISCARD;
void sfu_config_free(struct sfu_config *c);

const struct conf_spec *sfu_config_spec(void);
