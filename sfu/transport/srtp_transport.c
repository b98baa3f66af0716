// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/srtp_transport.h"

#include <pthread.h>
#include <srtp2/srtp.h>

#include "common/base/mem.h"
#include "common/base/seq.h"
#include "sfu/transport/crypto_glue.h"
#include "sfu/transport/srtcp_session.h"
#include "sfu/transport/srtp_session.h"

// A sender that starts an SSRC again at a lower sequence number is behind the replay window for
// ever. After this many packets in order that were all refused as old or seen, and this long
// without a good one, its stream starts anew. The time keeps a forger, who cannot stop the good
// packets, from causing it.
#define RESTART_FAILURES 50
#define RESTART_SILENCE_MS 1000

struct ssrc_entry {
    bool bound;
    bool released;     // and silent since
    uint8_t failures;  // consecutive, in order
    uint16_t fail_seq; // of the last one
    mono_t last_good;
};

struct srtp_transport {
    struct srtp_egress *egress;
    struct srtcp_session *rtcp;
    enum srtp_ingress backend;
    struct srtp_session *session; // the two back ends; one is made with the first RTP packet
    srtp_t libsrtp;
    struct srtp_master remote;
    // Made then or with the first bound one. Keys apart from the rest: one search, few cache lines.
    uint32_t *ssrcs;
    struct ssrc_entry *entries;
    uint32_t ssrc_count, ssrc_cap, bound_count;
    uint64_t counters[SRTP_DROP_COUNT];
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static srtp_err_status_t library_status;

static void library_init(void)
{
    library_status = srtp_init();
}

int srtp_transport_new(const struct srtp_keys *keys, enum srtp_ingress backend,
                       struct srtp_transport **ret)
{
    struct srtp_transport *const t = NEW(struct srtp_transport);
    if (t == NULL) {
        return -ENOMEM;
    }
    t->remote = keys->remote;
    t->backend = backend;
    int e = srtp_egress_new(&keys->local, &t->egress);
    if (e == 0) {
        e = srtcp_session_new(keys, &t->rtcp);
    }
    if (e < 0) {
        srtp_transport_free(t);
        return e;
    }
    *ret = t;
    return 0;
}

void srtp_transport_free(struct srtp_transport *t)
{
    if (t == NULL) {
        return;
    }
    srtp_egress_free(t->egress);
    srtcp_session_free(t->rtcp);
    srtp_session_free(t->session);
    if (t->libsrtp != NULL) {
        (void)srtp_dealloc(t->libsrtp);
    }
    mem_free(t->ssrcs);
    mem_free(t->entries);
    crypto_wipe(&t->remote, sizeof(t->remote));
    mem_free(t);
}

static int make_libsrtp(struct srtp_transport *t)
{
    uint8_t key[SRTP_KEYS_KEY_LEN + SRTP_KEYS_SALT_LEN];
    srtp_policy_t policy = {0};
    (void)pthread_once(&library_once, library_init);
    if (library_status != srtp_err_status_ok) {
        return -EIO;
    }
    memcpy(key, t->remote.key, SRTP_KEYS_KEY_LEN);
    memcpy(key + SRTP_KEYS_KEY_LEN, t->remote.salt, SRTP_KEYS_SALT_LEN);
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtp);
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtcp);
    policy.ssrc.type = ssrc_any_inbound;
    policy.key = key;
    policy.window_size = SRTP_TRANSPORT_WINDOW;
    srtp_err_status_t const status = srtp_create(&t->libsrtp, &policy);
    crypto_wipe(key, sizeof(key));
    if (status != srtp_err_status_ok) {
        t->libsrtp = NULL;
        return -ENOMEM;
    }
    return 0;
}

// Places for `count` SSRCs. -ENOMEM: as before.
static int reserve(struct srtp_transport *t, uint32_t count)
{
    if (count <= t->ssrc_cap) {
        return 0;
    }
    if (t->session != NULL && srtp_session_reserve(t->session, count + 1) < 0) {
        return -ENOMEM;
    }
    uint32_t *const ssrcs = mem_regrow(t->ssrcs, count, sizeof(*ssrcs));
    if (ssrcs == NULL) {
        return -ENOMEM;
    }
    t->ssrcs = ssrcs;
    struct ssrc_entry *const entries = mem_regrow(t->entries, count, sizeof(*entries));
    if (entries == NULL) {
        return -ENOMEM;
    }
    t->entries = entries;
    t->ssrc_cap = count;
    return 0;
}

static int make_ssrcs(struct srtp_transport *t)
{
    return reserve(t, SRTP_TRANSPORT_SSRCS_MIN);
}

static int make_session(struct srtp_transport *t)
{
    struct srtp_session *session = NULL;
    int e = srtp_session_new(&t->remote, &session);
    if (e == 0) {
        e = srtp_session_reserve(session, t->ssrc_cap + 1);
    }
    if (e < 0) {
        srtp_session_free(session);
        return e;
    }
    t->session = session;
    return 0;
}

// All that incoming RTP needs, so that a packet that was found good cannot fail any more.
static int make_ingress(struct srtp_transport *t)
{
    if (LIKELY(t->session != NULL || t->libsrtp != NULL)) {
        return 0;
    }
    int e = make_ssrcs(t);
    if (e == 0) {
        e = t->backend == SRTP_INGRESS_LIBSRTP2 ? make_libsrtp(t) : make_session(t);
    }
    if (e == 0) {
        crypto_wipe(&t->remote, sizeof(t->remote));
    }
    return e;
}

// ---- SSRCs ----------------------------------------------------------------------------------

static void forget_stream(struct srtp_transport *t, uint32_t ssrc)
{
    if (t->session != NULL) {
        srtp_session_forget(t->session, ssrc);
    }
    if (t->libsrtp != NULL) {
        uint8_t be[4]; // version 2 wants it in network order
        uint32_t network = 0;
        struct wr w = wr_init(be, sizeof(be));
        wr_be32(&w, ssrc);
        memcpy(&network, be, sizeof(network));
        (void)srtp_remove_stream(t->libsrtp, network); // it may have none yet
    }
}

static struct ssrc_entry *find_entry(struct srtp_transport *t, uint32_t ssrc)
{
    for (uint32_t i = 0; i < t->ssrc_count; i++) {
        if (t->ssrcs[i] == ssrc) {
            return &t->entries[i];
        }
    }
    return NULL;
}

static void remove_entry(struct srtp_transport *t, struct ssrc_entry *e)
{
    ptrdiff_t const at = e - t->entries;
    forget_stream(t, t->ssrcs[at]);
    t->ssrc_count--;
    t->ssrcs[at] = t->ssrcs[t->ssrc_count];
    *e = t->entries[t->ssrc_count];
}

// The unbound SSRC that is silent for longest, if that is long enough; one that was released is.
static struct ssrc_entry *find_idle(struct srtp_transport *t, mono_t now, int64_t idle_ms)
{
    struct ssrc_entry *oldest = NULL;
    for (uint32_t i = 0; i < t->ssrc_count; i++) {
        struct ssrc_entry *const e = &t->entries[i];
        bool const idle = e->released || mono_diff_ms(now, e->last_good) >= idle_ms;
        if (!e->bound && idle && (oldest == NULL || mono_before(e->last_good, oldest->last_good))) {
            oldest = e;
        }
    }
    return oldest;
}

// There must be room.
static struct ssrc_entry *add_entry(struct srtp_transport *t, uint32_t ssrc, mono_t now)
{
    struct ssrc_entry *const e = &t->entries[t->ssrc_count];
    t->ssrcs[t->ssrc_count++] = ssrc;
    *e = (struct ssrc_entry){.last_good = now};
    return e;
}

// Half of the places at least are for what is not bound yet, up to the limit.
static int reserve_for_bound(struct srtp_transport *t)
{
    uint32_t const cap = MIN(2 * t->ssrc_cap, (uint32_t)SRTP_TRANSPORT_SSRCS_MAX);
    return 2 * t->bound_count > t->ssrc_cap ? reserve(t, cap) : 0;
}

int srtp_transport_bind_ssrc(struct srtp_transport *t, uint32_t ssrc)
{
    if (make_ssrcs(t) < 0 || reserve_for_bound(t) < 0) {
        return -ENOMEM;
    }
    struct ssrc_entry *e = find_entry(t, ssrc);
    if (e == NULL && t->ssrc_count == t->ssrc_cap) {
        struct ssrc_entry *const victim = find_idle(t, MONO_NEVER, 0);
        if (victim == NULL) {
            return -ENOBUFS;
        }
        remove_entry(t, victim);
    }
    if (e == NULL) {
        e = add_entry(t, ssrc, (mono_t){0});
    }
    t->bound_count += e->bound ? 0 : 1;
    e->bound = true;
    e->released = false;
    return 0;
}

void srtp_transport_release_ssrc(struct srtp_transport *t, uint32_t ssrc)
{
    struct ssrc_entry *const e = find_entry(t, ssrc);
    if (e != NULL) {
        t->bound_count -= e->bound ? 1 : 0;
        e->bound = false;
        e->released = true;
    }
}

// ---- RTP in ---------------------------------------------------------------------------------

static enum srtp_drop drop_of(srtp_err_status_t s)
{
    switch (s) {
    case srtp_err_status_ok:
        return SRTP_OK;
    case srtp_err_status_auth_fail:
        return SRTP_DROP_AUTH;
    case srtp_err_status_replay_fail:
        return SRTP_DROP_REPLAY;
    case srtp_err_status_replay_old:
    case srtp_err_status_pkt_idx_old:
        return SRTP_DROP_OLD;
    case srtp_err_status_bad_param:
    case srtp_err_status_parse_err:
    case srtp_err_status_bad_mki:
        return SRTP_DROP_MALFORMED;
    default:
        return SRTP_DROP_LIBRARY;
    }
}

// Counts packets in order that were refused as old or seen; starts the stream anew when it has
// evidently restarted.
static void note_replay(struct srtp_transport *t, struct ssrc_entry *e, uint32_t ssrc, uint16_t seq,
                        mono_t now)
{
    bool const in_order = e->failures > 0 && seq16_newer(seq, e->fail_seq);
    e->failures = in_order && e->failures < UINT8_MAX ? (uint8_t)(e->failures + 1) : 1;
    e->fail_seq = seq;
    if (e->failures > RESTART_FAILURES && mono_diff_ms(now, e->last_good) >= RESTART_SILENCE_MS) {
        forget_stream(t, ssrc);
        e->failures = 0;
    }
}

static enum srtp_drop unprotect_stream(struct srtp_transport *t,
                                       const struct srtp_session_header *h,
                                       struct bytes_mut *packet)
{
    if (t->session != NULL) {
        return srtp_session_unprotect(t->session, h, packet);
    }
    int len = (int)packet->n;
    enum srtp_drop const drop = drop_of(srtp_unprotect(t->libsrtp, packet->p, &len));
    if (drop == SRTP_OK) {
        packet->n = (size_t)len;
    }
    return drop;
}

static enum srtp_drop unprotect_rtp(struct srtp_transport *t, mono_t now, struct bytes_mut *packet)
{
    struct srtp_session_header h;
    if (!srtp_session_parse(bytes_of(packet->p, packet->n), &h)) {
        return SRTP_DROP_MALFORMED;
    }
    if (make_ingress(t) < 0) {
        return SRTP_DROP_LIBRARY;
    }
    struct ssrc_entry *e = find_entry(t, h.ssrc);
    // The back end makes a stream of every new SSRC whose tag is right, so the limit must be
    // checked before.
    if (e == NULL && t->ssrc_count == t->ssrc_cap &&
        find_idle(t, now, SRTP_TRANSPORT_IDLE_MS) == NULL) {
        return SRTP_DROP_SSRC_LIMIT;
    }
    enum srtp_drop const drop = unprotect_stream(t, &h, packet);
    if (drop != SRTP_OK) {
        if (e != NULL && (drop == SRTP_DROP_REPLAY || drop == SRTP_DROP_OLD)) {
            note_replay(t, e, h.ssrc, h.seq, now);
        }
        return drop;
    }
    if (e == NULL) {
        if (t->ssrc_count == t->ssrc_cap) {
            remove_entry(t, find_idle(t, now, SRTP_TRANSPORT_IDLE_MS));
        }
        e = add_entry(t, h.ssrc, now);
    }
    e->failures = 0;
    e->released = false;
    e->last_good = now;
    return SRTP_OK;
}

enum srtp_drop srtp_transport_unprotect_rtp(struct srtp_transport *t, mono_t now,
                                            struct bytes_mut *packet)
{
    enum srtp_drop const drop = unprotect_rtp(t, now, packet);
    t->counters[drop]++;
    return drop;
}

// ---- RTCP and the rest ----------------------------------------------------------------------

enum srtp_drop srtp_transport_unprotect_rtcp(struct srtp_transport *t, struct bytes_mut *packet)
{
    enum srtp_drop const drop = srtcp_session_unprotect(t->rtcp, packet);
    t->counters[drop]++;
    return drop;
}

int srtp_transport_protect_rtcp(struct srtp_transport *t, uint8_t *buf, size_t cap, size_t *len)
{
    return srtcp_session_protect(t->rtcp, buf, cap, len);
}

struct srtp_egress *srtp_transport_egress(struct srtp_transport *t)
{
    return t->egress;
}

const uint64_t *srtp_transport_counters(const struct srtp_transport *t)
{
    return t->counters;
}

const char *srtp_drop_name(enum srtp_drop d)
{
    static const char *const names[SRTP_DROP_COUNT] = {
        [SRTP_OK] = "ok",
        [SRTP_DROP_MALFORMED] = "malformed",
        [SRTP_DROP_AUTH] = "auth",
        [SRTP_DROP_REPLAY] = "replay",
        [SRTP_DROP_OLD] = "old",
        [SRTP_DROP_SSRC_LIMIT] = "ssrc_limit",
        [SRTP_DROP_LIBRARY] = "library",
    };
    return d < SRTP_DROP_COUNT ? names[d] : "unknown";
}
