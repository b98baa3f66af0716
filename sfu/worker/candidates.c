// SPDX-License-Identifier: Apache-2.0
#include "sfu/worker/candidates.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/sys/ifaddr.h"
#include "sfu/wire/candidate.h"

// Interfaces of one host that are looked at; containers and bridges can be many.
#define IFADDRS_MAX 128

// Whether a media socket hears what is sent to a.
static bool bound(const struct candidates_conf *conf, const struct addr *a)
{
    for (size_t i = 0; i < conf->bind_count; i++) {
        const struct addr *const b = &conf->binds[i];
        if (b->family == a->family &&
            (addr_is_unspecified(b) || memcmp(b->ip, a->ip, sizeof(b->ip)) == 0)) {
            return true;
        }
    }
    return false;
}

static bool usable(const struct candidates_conf *conf, const struct ifaddr_entry *e)
{
    return bound(conf, &e->addr) && !addr_is_link_local(&e->addr) && !addr_is_multicast(&e->addr) &&
           !addr_is_unspecified(&e->addr);
}

static void add(struct candidates *c, const struct addr *a, uint16_t port)
{
    if (c->count < CANDIDATES_MAX) {
        c->addrs[c->count] = *a;
        c->addrs[c->count].port = port;
        c->addrs[c->count].tcp = 0;
        c->count++;
    }
}

static int from_interfaces(const struct candidates_conf *conf, struct candidates *c)
{
    struct ifaddr_entry list[IFADDRS_MAX];
    size_t n = 0;
    int const rc = ifaddr_list(list, IFADDRS_MAX, &n);
    if (rc < 0 && rc != -ENOBUFS) {
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        if (!list[i].loopback && usable(conf, &list[i])) {
            add(c, &list[i].addr, conf->port);
        }
    }
    bool const nothing = c->count == 0;
    for (size_t i = 0; i < n; i++) {
        if (list[i].loopback && (nothing || conf->loopback) && usable(conf, &list[i])) {
            add(c, &list[i].addr, conf->port);
        }
    }
    return 0;
}

// Ordered by priority, highest first; each with its own foundation, since each is a base of its own
// (RFC 8445 5.1.1.3).
static int write_lines(struct candidates *c)
{
    uint8_t index[2] = {0, 0};
    uint32_t priority[CANDIDATES_MAX];
    for (size_t i = 0; i < c->count; i++) {
        uint16_t const pref =
            candidate_local_pref(&c->addrs[i], index[c->addrs[i].family == ADDR_V6]++);
        priority[i] = candidate_priority(CANDIDATE_HOST, false, pref);
        for (size_t k = i; k > 0 && priority[k] > priority[k - 1]; k--) {
            uint32_t const p = priority[k];
            struct addr const a = c->addrs[k];
            priority[k] = priority[k - 1];
            c->addrs[k] = c->addrs[k - 1];
            priority[k - 1] = p;
            c->addrs[k - 1] = a;
        }
    }
    bool seen[2] = {false, false};
    for (size_t i = 0; i < c->count; i++) {
        struct candidate cand = {
            .component = 1, .priority = priority[i], .addr = c->addrs[i], .type = CANDIDATE_HOST};
        (void)snprintf(cand.foundation, sizeof(cand.foundation), "%zu", i + 1);
        char text[CANDIDATE_TEXT_CAP];
        struct wr w = wr_init(text, sizeof(text));
        candidate_write(&w, &cand);
        c->lines[i] = wr_ok(&w) ? mem_strndup(text, wr_len(&w)) : NULL;
        if (c->lines[i] == NULL) {
            return -ENOMEM;
        }
        bool *const family_seen = &seen[c->addrs[i].family == ADDR_V6];
        if (!*family_seen) {
            *family_seen = true;
            c->one[c->one_count++] = c->lines[i];
        }
    }
    return 0;
}

int candidates_make(const struct candidates_conf *conf, struct candidates *ret)
{
    struct candidates c = {0};
    int rc = 0;
    if (conf->node_ip_count > 0) {
        for (size_t i = 0; i < conf->node_ip_count; i++) {
            add(&c, &conf->node_ips[i], conf->port);
        }
    } else {
        rc = from_interfaces(conf, &c);
    }
    if (rc == 0) {
        rc = c.count > 0 ? write_lines(&c) : -EADDRNOTAVAIL;
    }
    if (rc < 0) {
        candidates_done(&c);
        return rc;
    }
    *ret = c;
    return 0;
}

void candidates_done(struct candidates *c)
{
    for (size_t i = 0; i < c->count; i++) {
        mem_free(c->lines[i]);
    }
    *c = (struct candidates){0};
}
