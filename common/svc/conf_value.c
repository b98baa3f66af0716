// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/conf_internal.h"
#include "common/sys/clock.h"
#include "common/sys/udp.h"

void conf_slot_done(struct conf_slot *s)
{
    if (s->text != NULL) {
        // It may be a secret.
        explicit_bzero(s->text, strlen(s->text));
    }
    mem_free(s->text);
    mem_free(s->path);
    for (size_t i = 0; i < s->list_len; i++) {
        mem_free(s->list[i]);
    }
    mem_free(s->list);
    *s = (struct conf_slot){0};
}

// ---- numbers --------------------------------------------------------------------------------

// A decimal number with an optional sign; *end is what follows. False without digits or on
// overflow.
static bool parse_int(const char *text, int64_t *ret, const char **end)
{
    bool const negative = *text == '-';
    const char *p = text + (*text == '-' || *text == '+');
    int64_t v = 0;
    if (*p < '0' || *p > '9') {
        return false;
    }
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
            __builtin_add_overflow(v, (int64_t)(*p - '0'), &v)) {
            return false;
        }
    }
    *ret = negative ? -v : v;
    *end = p;
    return true;
}

int conf_parse_duration_ms(const char *text, int64_t *ret)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    int64_t v = 0;
    const char *end = text;
    if (!parse_int(text, &v, &end) || v < 0) {
        return -EINVAL;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(end, units[i].unit) == 0) {
            return __builtin_mul_overflow(v, units[i].ms, ret) ? -EINVAL : 0;
        }
    }
    return -EINVAL;
}

static int parse_bool(const char *text, int64_t *ret)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0) {
            *ret = 1;
            return 0;
        }
        if (strcasecmp(text, no[i]) == 0) {
            *ret = 0;
            return 0;
        }
    }
    return -EINVAL;
}

// ---- addresses ------------------------------------------------------------------------------

static int parse_port(const char *text, uint16_t *ret)
{
    int64_t v = 0;
    const char *end = text;
    if (parse_int(text, &v, &end) && *end == '\0') {
        if (v < 0 || v > 65535) {
            return -EINVAL;
        }
        *ret = (uint16_t)v;
        return 0;
    }
    if (strcmp(text, "http") == 0 || strcmp(text, "https") == 0) {
        *ret = text[4] == 's' ? 443 : 80;
        return 0;
    }
    return -EINVAL;
}

static int resolve(const char *host, uint16_t port, struct addr ret[static CONF_BIND_MAX],
                   size_t *ret_n)
{
    struct addrinfo const hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, NULL, &hints, &list) != 0) {
        return -EINVAL;
    }
    size_t n = 0;
    for (const struct addrinfo *i = list; i != NULL && n < CONF_BIND_MAX; i = i->ai_next) {
        if (addr_from_sockaddr(i->ai_addr, &ret[n]) == 0) {
            ret[n++].port = port;
        }
    }
    freeaddrinfo(list);
    *ret_n = n;
    return n > 0 ? 0 : -EINVAL;
}

// Splits at the port: "[::1]:8080", "127.0.0.1:8080", ":8080", "8080". host gets "" for none.
static int split_bind(const char *text, char *host, size_t cap, const char **ret_port)
{
    const char *const close = text[0] == '[' ? strchr(text, ']') : NULL;
    const char *const colon = close != NULL ? close + 1 : strrchr(text, ':');
    if (text[0] == '[' && (close == NULL || *colon != ':')) {
        return -EINVAL;
    }
    if (colon == NULL) {
        host[0] = '\0';
        *ret_port = text;
        return 0;
    }
    const char *const from = close != NULL ? text + 1 : text;
    size_t const n = (size_t)((close != NULL ? close : colon) - from);
    if (n >= cap) {
        return -EINVAL;
    }
    memcpy(host, from, n);
    host[n] = '\0';
    *ret_port = colon + 1;
    // An IPv6 literal needs its brackets: "::1:8080" could be either.
    return close == NULL && strchr(host, ':') != NULL ? -EINVAL : 0;
}

int conf_parse_bind(const char *text, struct addr ret[static CONF_BIND_MAX], size_t *ret_n)
{
    char host[256];
    const char *port_text = NULL;
    uint16_t port = 0;
    if (split_bind(text, host, sizeof(host), &port_text) < 0 || parse_port(port_text, &port) < 0) {
        return -EINVAL;
    }
    // "[::]" means both families as well: programs in Go, which settings are carried over from, take
    // it so, and IPv6 sockets of ours are for IPv6 alone.
    if (host[0] == '\0' || strcmp(host, "*") == 0 || strcmp(host, "::") == 0) {
        ret[0] = (struct addr){.family = ADDR_V4, .port = port};
        ret[1] = (struct addr){.family = ADDR_V6, .port = port};
        *ret_n = 2;
        return 0;
    }
    struct addr literal;
    if (addr_parse_ip(bytes_str(host), &literal) == 0) {
        literal.port = port;
        ret[0] = literal;
        *ret_n = 1;
        return 0;
    }
    return resolve(host, port, ret, ret_n);
}

// ---- by type --------------------------------------------------------------------------------

static bool is_separator(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int parse_list(struct conf_slot *s, const char *text)
{
    size_t count = 0;
    for (const char *p = text; *p != '\0'; p++) {
        count += !is_separator(*p) && (p == text || is_separator(p[-1]));
    }
    s->list = mem_array(count, sizeof(*s->list));
    if (s->list == NULL) {
        return -ENOMEM;
    }
    for (const char *p = text; *p != '\0';) {
        size_t n = 0;
        while (p[n] != '\0' && !is_separator(p[n])) {
            n++;
        }
        if (n > 0) {
            s->list[s->list_len] = mem_strndup(p, n);
            if (s->list[s->list_len++] == NULL) {
                return -ENOMEM;
            }
        }
        p += n + (p[n] != '\0');
    }
    return 0;
}

static bool has_limits(const struct conf_item *item)
{
    return item->min != 0 || item->max != 0;
}

static int check_limits(const struct conf_slot *s, const struct conf_item *item, const char *unit,
                        char *why)
{
    if (has_limits(item) && (s->num < item->min || s->num > item->max)) {
        (void)snprintf(why, CONF_ERROR_MAX, "\"%s\" is out of range; give %lld to %lld%s", s->text,
                       (long long)item->min, (long long)item->max, unit);
        return -EINVAL;
    }
    return 0;
}

static int check_choice(const struct conf_slot *s, const struct conf_item *item, char *why)
{
    size_t n = 0;
    if (item->choices == NULL) {
        return 0;
    }
    n += (size_t)snprintf(why, CONF_ERROR_MAX, "\"%.100s\" is not possible; give one of", s->text);
    for (size_t i = 0; item->choices[i] != NULL; i++) {
        if (strcmp(s->text, item->choices[i]) == 0) {
            return 0;
        }
        n += (size_t)snprintf(why + n, CONF_ERROR_MAX - n, " %s", item->choices[i]);
        n = MIN(n, (size_t)CONF_ERROR_MAX - 1);
    }
    return -EINVAL;
}

static int bad(const struct conf_slot *s, char *why, const char *wanted)
{
    (void)snprintf(why, CONF_ERROR_MAX, "\"%.200s\" is %s", s->text, wanted);
    return -EINVAL;
}

static int not_a_number(const struct conf_slot *s, const struct conf_item *item, char *why)
{
    char wanted[96] = "no whole number";
    if (has_limits(item)) {
        (void)snprintf(wanted, sizeof(wanted), "no whole number; give %lld to %lld",
                       (long long)item->min, (long long)item->max);
    }
    return bad(s, why, wanted);
}

static int parse_typed(struct conf_slot *s, const struct conf_item *item, char *why)
{
    const char *end = NULL;
    switch (item->type) {
    case CONF_STRING:
        return check_choice(s, item, why);
    case CONF_SECRET:
        return 0;
    case CONF_INT:
        if (!parse_int(s->text, &s->num, &end) || *end != '\0') {
            return not_a_number(s, item, why);
        }
        return check_limits(s, item, "", why);
    case CONF_BOOL:
        return parse_bool(s->text, &s->num) == 0
                   ? 0
                   : bad(s, why, "no answer to yes or no; give true or false");
    case CONF_DURATION:
        if (conf_parse_duration_ms(s->text, &s->num) < 0) {
            return bad(s, why, "no time; write for example 250ms, 10s, 5m or 1h");
        }
        return check_limits(s, item, " milliseconds", why);
    case CONF_LIST:
        return parse_list(s, s->text);
    case CONF_BIND:
        return conf_parse_bind(s->text, s->binds, &s->bind_len) == 0
                   ? 0
                   : bad(s, why, "no address to listen on; write PORT, HOST:PORT or [IPV6]:PORT");
    }
    return -EINVAL;
}

// Cuts space, CR and LF off both ends.
static char *dup_trimmed(const char *text)
{
    static const char space[] = " \t\r\n";
    text += strspn(text, space);
    size_t n = strlen(text);
    while (n > 0 && strchr(space, text[n - 1]) != NULL) {
        n--;
    }
    return mem_strndup(text, n);
}

int conf_slot_set(struct conf_slot *s, const struct conf_item *item, const char *text,
                  char why[static CONF_ERROR_MAX])
{
    s->text = dup_trimmed(text);
    return s->text != NULL ? parse_typed(s, item, why) : -ENOMEM;
}

// Reading what is no file waits this long. Set once, before there are threads that read.
static int64_t patience_ms = 10000;

void conf_set_patience(int64_t ms)
{
    patience_ms = ms;
}

// 0: there is something to read, or the end of it.
static int wait_readable(int fd, mono_t until)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int const n = poll(&p, 1, (int)MAX(mono_diff_ms(until, clock_mono()), 0));
    return n > 0 || (n < 0 && errno == EINTR) ? 0 : n < 0 ? -errno : -ETIMEDOUT;
}

int conf_read_whole(const char *path, size_t max, char **ret, size_t *ret_n, unsigned *ret_mode)
{
    int const fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return -errno;
    }
    struct stat st;
    char *const buf = mem_alloc(max + 1);
    size_t n = 0;
    int rc = buf == NULL ? -ENOMEM : fstat(fd, &st) < 0 ? -errno : 0;
    bool const is_file = rc == 0 && S_ISREG(st.st_mode);
    mono_t const until = mono_add_ms(clock_mono(), patience_ms);
    while (rc == 0 && (is_file || (rc = wait_readable(fd, until)) == 0)) {
        ssize_t const got = read(fd, buf + n, max + 1 - n);
        if (got < 0) {
            rc = errno == EINTR || errno == EAGAIN ? 0 : -errno;
        } else if (got == 0) {
            break;
        } else if ((n += (size_t)got) > max) {
            rc = -EFBIG;
        }
    }
    (void)close(fd);
    if (rc < 0) {
        if (buf != NULL) {
            explicit_bzero(buf, max + 1);
        }
        mem_free(buf);
        return rc;
    }
    buf[n] = '\0';
    *ret = buf;
    *ret_n = n;
    // Permissions of what is no file (a pipe, a terminal) protect nothing.
    *ret_mode = S_ISREG(st.st_mode) ? st.st_mode & 0777u : 0;
    return 0;
}

int conf_read_file(const char *path, size_t max, char **ret, size_t *ret_n)
{
    char *whole = NULL;
    size_t n = 0;
    unsigned mode = 0;
    int const rc = conf_read_whole(path, max, &whole, &n, &mode);
    if (rc < 0) {
        return rc;
    }
    *ret = dup_trimmed(whole);
    if (*ret != NULL && ret_n != NULL) {
        *ret_n = strlen(*ret);
    }
    explicit_bzero(whole, n);
    mem_free(whole);
    return *ret != NULL ? 0 : -ENOMEM;
}
