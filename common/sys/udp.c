// SPDX-License-Identifier: Apache-2.0
#include "common/sys/udp.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"

// linux/udp.h; older C libraries do not have it.
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

// Kernel limits of one GSO message: UDP_MAX_SEGMENTS (net/ipv4/udp.c), and 65535 bytes of IP packet
// before segmentation, less the largest headers.
#define GSO_SEGMENTS_MAX 64
#define GSO_BYTES_MAX 65000

// Control messages: out, one in(6)_pktinfo and one segment size; in, one in(6)_pktinfo and one
// timespec.
#define CONTROL_CAP                                                                                \
    (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(8))

union control {
    struct cmsghdr align;
    char p[CONTROL_CAP];
};

union sock_name {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct udp_scratch_ {
    struct mmsghdr msgs[UDP_SEND_BATCH];
    struct iovec iov[UDP_SEND_BATCH];
    union sock_name names[UDP_SEND_BATCH];
    union control control[UDP_SEND_BATCH];
};

// ---- conversion -----------------------------------------------------------------------------

uint32_t addr_to_sockaddr(const struct addr *a, struct sockaddr *ret, size_t cap)
{
    if (a->family == ADDR_V4 && cap >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in *const s = (struct sockaddr_in *)(void *)ret;
        *s = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&s->sin_addr, a->ip, 4);
        return sizeof(*s);
    }
    if (a->family == ADDR_V6 && cap >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 *const s = (struct sockaddr_in6 *)(void *)ret;
        *s = (struct sockaddr_in6){
            .sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};
        memcpy(&s->sin6_addr, a->ip, 16);
        return sizeof(*s);
    }
    return 0;
}

int addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret)
{
    struct addr a = {0};
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *const s = (const struct sockaddr_in *)(const void *)sa;
        a.family = ADDR_V4;
        a.port = ntohs(s->sin_port);
        memcpy(a.ip, &s->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *const s = (const struct sockaddr_in6 *)(const void *)sa;
        a.port = ntohs(s->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&s->sin6_addr)) {
            a.family = ADDR_V4;
            memcpy(a.ip, (const uint8_t *)&s->sin6_addr + 12, 4);
        } else {
            a.family = ADDR_V6;
            memcpy(a.ip, &s->sin6_addr, 16);
            a.scope = IN6_IS_ADDR_LINKLOCAL(&s->sin6_addr) ? s->sin6_scope_id : 0;
        }
    } else {
        return -EAFNOSUPPORT;
    }
    *ret = a;
    return 0;
}

// ---- opening --------------------------------------------------------------------------------

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

// Tries the privileged call first: it may pass net.core.rmem_max, which is small on most systems.
static void set_buffer(int fd, int force_name, int name, uint32_t bytes)
{
    if (bytes > 0 &&
        set_int(fd, SOL_SOCKET, force_name, (int)MIN(bytes, (uint32_t)INT32_MAX)) != 0) {
        (void)set_int(fd, SOL_SOCKET, name, (int)MIN(bytes, (uint32_t)INT32_MAX));
    }
}

static int set_options(struct udp_socket *s, const struct udp_conf *conf)
{
    int r = 0;
    if (conf->bind.family == ADDR_V6) {
        r = set_int(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        if (r == 0) {
            r = set_int(s->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        }
        (void)set_int(s->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
    } else {
        // Media packets are small enough for every path, and a path MTU that somebody forged would
        // make the kernel refuse them: no path MTU discovery.
        r = set_int(s->fd, IPPROTO_IP, IP_PKTINFO, 1);
        (void)set_int(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    }
    if (r == 0 && conf->reuse_port) {
        r = set_int(s->fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (r == 0) {
        // Nice to have: without it arrival is the time of reading.
        (void)set_int(s->fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
        set_buffer(s->fd, SO_RCVBUFFORCE, SO_RCVBUF, conf->recv_buffer);
        set_buffer(s->fd, SO_SNDBUFFORCE, SO_SNDBUF, conf->send_buffer);
        // Kernels before 4.18 do not know it.
        s->gso = set_int(s->fd, IPPROTO_UDP, UDP_SEGMENT, 0) == 0;
    }
    return r;
}

static int bind_to(struct udp_socket *s, const struct addr *a)
{
    union sock_name name = {0};
    socklen_t len = addr_to_sockaddr(a, &name.sa, sizeof(name));
    if (bind(s->fd, &name.sa, len) != 0) {
        return -errno;
    }
    len = sizeof(name);
    if (getsockname(s->fd, &name.sa, &len) != 0) {
        return -errno;
    }
    return addr_from_sockaddr(&name.sa, &s->local);
}

int udp_open(struct udp_socket *s, const struct udp_conf *conf)
{
    *s = (struct udp_socket){.fd = -1};
    if (conf->bind.family != ADDR_V4 && conf->bind.family != ADDR_V6) {
        return -EAFNOSUPPORT;
    }
    s->wildcard = addr_is_unspecified(&conf->bind);
    s->scratch_ = NEW(struct udp_scratch_);
    if (s->scratch_ == NULL) {
        return -ENOMEM;
    }
    int const family = conf->bind.family == ADDR_V4 ? AF_INET : AF_INET6;
    s->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r = s->fd < 0 ? -errno : set_options(s, conf);
    if (r == 0) {
        r = bind_to(s, &conf->bind);
    }
    if (r != 0) {
        udp_close(s);
    }
    return r;
}

void udp_close(struct udp_socket *s)
{
    // A zeroed struct has no scratch: its fd 0 is not ours.
    if (s->scratch_ != NULL && s->fd >= 0) {
        (void)close(s->fd);
    }
    mem_free(s->scratch_);
    s->scratch_ = NULL;
    s->fd = -1;
}

uint32_t udp_recv_buffer_size(const struct udp_socket *s)
{
    int v = 0;
    socklen_t len = sizeof(v);
    (void)getsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &v, &len);
    return (uint32_t)MAX(v, 0);
}

// ---- receiving ------------------------------------------------------------------------------

static void read_control(struct msghdr *h, mono_t now, int64_t wall_minus_mono_us,
                         struct udp_in *in)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec ts;
            memcpy(&ts, CMSG_DATA(c), sizeof(ts));
            int64_t const wall_us = (int64_t)ts.tv_sec * US_PER_S + (int64_t)ts.tv_nsec / 1000;
            mono_t const at = {wall_us - wall_minus_mono_us};
            // A wall clock that was just set must not put packets into the future or far into the
            // past.
            bool const sane = !mono_before(now, at) && mono_diff_us(now, at) < US_PER_S;
            in->arrival = sane ? at : now;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            memcpy(in->dst.ip, &info.ipi_addr, 4);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            memcpy(in->dst.ip, &info.ipi6_addr, 16);
            in->dst.scope =
                IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? (uint32_t)info.ipi6_ifindex : 0;
        }
    }
}

int udp_recv_batch(struct udp_socket *s, mono_t now, struct udp_in *in, size_t n, size_t *ret_n)
{
    struct udp_scratch_ *const x = s->scratch_;
    size_t const want = MIN(n, (size_t)UDP_RECV_BATCH);
    for (size_t i = 0; i < want; i++) {
        x->iov[i] = (struct iovec){in[i].data, in[i].cap};
        x->msgs[i].msg_len = 0;
        x->msgs[i].msg_hdr = (struct msghdr){.msg_name = &x->names[i],
                                             .msg_namelen = sizeof(x->names[i]),
                                             .msg_iov = &x->iov[i],
                                             .msg_iovlen = 1,
                                             .msg_control = &x->control[i],
                                             .msg_controllen = sizeof(x->control[i])};
    }
    int const got = recvmmsg(s->fd, x->msgs, (unsigned)want, MSG_DONTWAIT, NULL);
    if (got < 0) {
        return -errno;
    }
    struct clock_sample const c = clock_read();
    int64_t const wall_minus_mono_us = c.wall.us - c.mono.us;
    mono_t const latest = mono_max(now, c.mono);
    for (size_t i = 0; i < (size_t)got; i++) {
        struct msghdr *const h = &x->msgs[i].msg_hdr;
        in[i].arrival = latest;
        in[i].dst = s->local;
        in[i].len = x->msgs[i].msg_len;
        if (addr_from_sockaddr(&x->names[i].sa, &in[i].src) != 0) {
            in[i].len = 0;
        }
        if ((h->msg_flags & MSG_TRUNC) != 0) {
            in[i].len = 0;
            s->counters.recv_truncated++;
        }
        read_control(h, latest, wall_minus_mono_us, &in[i]);
    }
    s->counters.recv_packets += (uint64_t)got;
    *ret_n = (size_t)got;
    return 0;
}

// ---- sending --------------------------------------------------------------------------------

// How many datagrams from out[0] on may leave as one GSO message: same way, same length, the last
// may be shorter.
static size_t run_length(const struct udp_socket *s, const struct udp_out *out, size_t n)
{
    if (!s->gso || out[0].len == 0) {
        return 1;
    }
    size_t const max = MIN(n, MIN((size_t)GSO_SEGMENTS_MAX, GSO_BYTES_MAX / out[0].len));
    size_t i = 1;
    while (i < max && out[i].len <= out[0].len && out[i].len > 0 &&
           addr_eq(&out[i].dst, &out[0].dst) && addr_eq(&out[i].src, &out[0].src)) {
        i++;
        if (out[i - 1].len < out[0].len) {
            break;
        }
    }
    return i;
}

// Appends a control message of `len` bytes; the space was reckoned into CONTROL_CAP.
static void add_control(struct msghdr *h, union control *c, int level, int type, const void *data,
                        size_t len)
{
    struct cmsghdr *const at = (struct cmsghdr *)(void *)(c->p + h->msg_controllen);
    at->cmsg_level = level;
    at->cmsg_type = type;
    at->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(at), data, len);
    h->msg_control = c;
    h->msg_controllen += CMSG_SPACE(len);
}

static void add_source(struct msghdr *h, union control *c, const struct addr *src)
{
    if (src->family == ADDR_V4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, src->ip, 4);
        add_control(h, c, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    } else {
        struct in6_pktinfo info = {.ipi6_ifindex = src->scope};
        memcpy(&info.ipi6_addr, src->ip, 16);
        add_control(h, c, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
}

// Fills message m with out[0..run), whose iovecs start at iov.
static void fill_message(struct udp_socket *s, size_t m, struct iovec *iov,
                         const struct udp_out *out, size_t run)
{
    struct udp_scratch_ *const x = s->scratch_;
    for (size_t i = 0; i < run; i++) {
        // sendmmsg does not write through it.
        iov[i] = (struct iovec){(void *)(uintptr_t)out[i].data, out[i].len};
    }
    struct msghdr *const h = &x->msgs[m].msg_hdr;
    x->msgs[m].msg_len = 0;
    *h = (struct msghdr){.msg_name = &x->names[m], .msg_iov = iov, .msg_iovlen = run};
    h->msg_namelen = addr_to_sockaddr(&out[0].dst, &x->names[m].sa, sizeof(x->names[m]));
    if (s->wildcard && out[0].src.family == out[0].dst.family) {
        add_source(h, &x->control[m], &out[0].src);
    }
    if (run > 1) {
        uint16_t const segment = (uint16_t)out[0].len;
        add_control(h, &x->control[m], IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
    }
}

// Gathers up to n datagrams into messages. Returns the number of messages.
static size_t gather(struct udp_socket *s, const struct udp_out *out, size_t n, bool gso)
{
    size_t messages = 0;
    size_t at = 0;
    while (at < n) {
        size_t const run = gso ? run_length(s, out + at, n - at) : 1;
        fill_message(s, messages, &s->scratch_->iov[at], out + at, run);
        messages++;
        at += run;
    }
    return messages;
}

// What an error of the first message means.
enum verdict {
    BLOCKED, // try again when the socket is writable
    NO_GSO,  // the path cannot do it: singly then
    REFUSED, // this one is lost
};

static enum verdict judge(int error, size_t segments)
{
    switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
        return BLOCKED;
    case EIO:    // no checksum offload on the device (udp(7))
    case EINVAL: // segment longer than the path MTU
    case EMSGSIZE:
    case EOPNOTSUPP:
        return segments > 1 ? NO_GSO : REFUSED;
    default:
        return REFUSED;
    }
}

// Sends messages [0, count); *ret_packets counts datagrams dealt with. 0, -EAGAIN, or -EIO: the
// datagrams from *ret_packets on need another try, singly for as many as *ret_single.
static int send_messages(struct udp_socket *s, size_t count, size_t *ret_packets,
                         size_t *ret_single)
{
    struct mmsghdr *const msgs = s->scratch_->msgs;
    size_t done = 0;
    while (done < count) {
        int const sent = sendmmsg(s->fd, msgs + done, (unsigned)(count - done), MSG_DONTWAIT);
        s->counters.send_calls++;
        if (sent > 0) {
            for (size_t i = done; i < done + (size_t)sent; i++) {
                size_t const segments = msgs[i].msg_hdr.msg_iovlen;
                *ret_packets += segments;
                s->counters.send_packets += segments;
                s->counters.send_gso += segments > 1 ? segments : 0;
            }
            done += (size_t)sent;
            continue;
        }
        int const error = errno;
        if (sent < 0 && error == EINTR) {
            continue;
        }
        size_t const segments = msgs[done].msg_hdr.msg_iovlen;
        switch (judge(error, segments)) {
        case BLOCKED:
            s->counters.send_blocked++;
            return -EAGAIN;
        case NO_GSO:
            // EIO comes from the device and will stay; the others are about this path only.
            s->gso = s->gso && error != EIO;
            *ret_single = segments;
            return -EIO;
        case REFUSED:
            s->counters.send_dropped += segments;
            *ret_packets += segments;
            done++;
            break;
        }
    }
    return 0;
}

int udp_send(struct udp_socket *s, const struct udp_out *out, size_t n, size_t *ret_done)
{
    size_t at = 0;
    size_t single = 0; // so many from `at` on go without GSO
    int r = 0;
    while (at < n && r == 0) {
        size_t const limit = single > 0 ? single : n - at;
        size_t const piece = MIN(limit, (size_t)UDP_SEND_BATCH);
        size_t const messages = gather(s, out + at, piece, single == 0);
        size_t packets = 0;
        size_t retry = 0;
        r = send_messages(s, messages, &packets, &retry);
        at += packets;
        single -= MIN(single, packets);
        if (r == -EIO) {
            single = retry;
            r = 0;
        }
    }
    *ret_done = at;
    return r;
}
