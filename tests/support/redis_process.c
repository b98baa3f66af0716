// SPDX-License-Identifier: Apache-2.0
#include "tests/support/redis_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/sys/clock.h"

#define START_MS 20000 // a busy machine
#define ATTEMPTS 5     // another process may take the port in between
#define ARGS_MAX 40

static unsigned free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int const fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool const ok = bind(fd, (struct sockaddr *)&at, n) == 0 &&
                    getsockname(fd, (struct sockaddr *)&at, &n) == 0;
    (void)close(fd);
    return ok ? ntohs(at.sin_port) : 0;
}

// Runs a program whose output nobody wants; its exit status, -1 when it did not come to that.
static pid_t spawn(const char *const *argv)
{
    (void)fflush(NULL);
    pid_t const pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        int const null = open("/dev/null", O_RDWR | O_CLOEXEC);
        (void)dup2(null, 0);
        (void)dup2(null, 1);
        (void)dup2(null, 2);
        union {
            const char *const *in;
            char *const *out;
        } const u = {argv}; // execvp does not write them
        (void)execvp(argv[0], u.out);
        _exit(127);
    }
    return pid;
}

static int run(const char *const *argv)
{
    int status = 0;
    pid_t const pid = spawn(argv);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        return -ECHILD;
    }
    return WEXITSTATUS(status) == 0 ? 0 : WEXITSTATUS(status) == 127 ? -ENOENT : -EIO;
}

static void in_dir(const struct redis_process *p, const char *name, char *ret, size_t cap)
{
    (void)snprintf(ret, cap, "%s/%s", p->dir, name);
}

static int make_certificates(const struct redis_process *p)
{
    char ca_key[96];
    char ca[96];
    char key[96];
    char csr[96];
    char crt[96];
    char ext[96];
    in_dir(p, "ca.key", ca_key, sizeof(ca_key));
    in_dir(p, "ca.crt", ca, sizeof(ca));
    in_dir(p, "redis.key", key, sizeof(key));
    in_dir(p, "redis.csr", csr, sizeof(csr));
    in_dir(p, "redis.crt", crt, sizeof(crt));
    in_dir(p, "ext", ext, sizeof(ext));
    FILE *const f = fopen(ext, "w");
    if (f == NULL || fputs("subjectAltName=DNS:localhost,IP:127.0.0.1\n", f) < 0 ||
        fclose(f) != 0) {
        return -EIO;
    }
    const char *const authority[] = {
        "openssl", "req",     "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes",  "-keyout", ca_key,  "-out",    ca,   "-subj",    "/CN=test authority",
        "-days",   "2",       NULL};
    const char *const request[] = {
        "openssl",   "req",     "-newkey", "ec",   "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes",    "-keyout", key,       "-out", csr,        "-subj",
        "/CN=redis", NULL};
    const char *const sign[] = {
        "openssl",         "x509", "-req", "-in",   csr, "-CA",      ca,  "-CAkey", ca_key,
        "-CAcreateserial", "-out", crt,    "-days", "2", "-extfile", ext, NULL};
    int r = run(authority);
    r = r == 0 ? run(request) : r;
    return r == 0 ? run(sign) : r;
}

static bool answers(const struct redis_process *p)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    (void)snprintf(to.sun_path, sizeof(to.sun_path), "%s", p->socket);
    int const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool const ok = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
    (void)close(fd);
    return ok;
}

static int launch(struct redis_process *p)
{
    char port[16];
    char tls_port[16];
    char files[3][96];
    const char *argv[ARGS_MAX] = {
        "redis-server", "--port", port,           "--bind", "127.0.0.1",    "--dir",  p->dir,
        "--save",       "",       "--appendonly", "no",     "--unixsocket", p->socket};
    size_t n = 13;
    (void)snprintf(port, sizeof(port), "%u", p->port);
    (void)snprintf(tls_port, sizeof(tls_port), "%u", p->tls_port);
    if (p->password[0] != '\0') {
        argv[n++] = "--requirepass";
        argv[n++] = p->password;
    }
    if (p->tls_port != 0) {
        in_dir(p, "ca.crt", files[0], sizeof(files[0]));
        in_dir(p, "redis.crt", files[1], sizeof(files[1]));
        in_dir(p, "redis.key", files[2], sizeof(files[2]));
        const char *const more[] = {"--tls-port",         tls_port, "--tls-ca-cert-file", files[0],
                                    "--tls-cert-file",    files[1], "--tls-key-file",     files[2],
                                    "--tls-auth-clients", "no"};
        memcpy(&argv[n], more, sizeof(more));
    }
    (void)unlink(p->socket);
    p->pid = spawn(argv);
    mono_t const end = mono_add_ms(clock_mono(), START_MS);
    while (p->pid > 0 && !answers(p)) {
        int status = 0;
        if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
            p->pid = 0;
            return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : -EADDRINUSE;
        }
        if (mono_reached(end, clock_mono())) {
            redis_process_kill(p);
            return -ETIMEDOUT;
        }
        (void)usleep(5000);
    }
    return p->pid > 0 ? 0 : -ECHILD;
}

int redis_process_start(struct redis_process *p, bool tls, const char *password)
{
    *p = (struct redis_process){0};
    (void)snprintf(p->password, sizeof(p->password), "%s", password != NULL ? password : "");
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/redis_process.XXXXXX");
    if (mkdtemp(p->dir) == NULL) {
        p->dir[0] = '\0';
        return -errno;
    }
    in_dir(p, "redis.sock", p->socket, sizeof(p->socket));
    int r = tls ? make_certificates(p) : 0;
    for (int i = 0; r == 0 && i < ATTEMPTS; i++) {
        p->port = free_port();
        p->tls_port = tls ? free_port() : 0;
        r = launch(p);
        if (r != -EADDRINUSE) {
            break;
        }
        r = i + 1 < ATTEMPTS ? 0 : r;
    }
    if (r != 0) {
        redis_process_stop(p);
    }
    return r;
}

void redis_process_kill(struct redis_process *p)
{
    if (p->pid > 0) {
        (void)kill(p->pid, SIGKILL);
        (void)waitpid(p->pid, NULL, 0);
        p->pid = 0;
    }
}

int redis_process_again(struct redis_process *p)
{
    return launch(p);
}

void redis_process_stop(struct redis_process *p)
{
    static const char *const names[] = {"ca.key",    "ca.crt",    "ca.srl",     "redis.key",
                                        "redis.csr", "redis.crt", "redis.sock", "ext"};
    redis_process_kill(p);
    if (p->dir[0] != '\0') {
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            char path[128];
            in_dir(p, names[i], path, sizeof(path));
            (void)unlink(path);
        }
        (void)rmdir(p->dir);
    }
    *p = (struct redis_process){0};
}

// ---- asking ---------------------------------------------------------------------------------

static void die(const char *what)
{
    (void)fprintf(stderr, "redis_process_ask: %s: %s\n", what, strerror(errno));
    abort();
}

// Bytes of the complete answer at the start of text, 0 while there is more to come.
static size_t answer_len(const char *text, size_t n)
{
    const char *const end = memmem(text, n, "\r\n", 2);
    if (end == NULL) {
        return 0;
    }
    size_t at = (size_t)(end - text) + 2;
    long count = strtol(text + 1, NULL, 10);
    if (text[0] == '$') {
        at += count >= 0 ? (size_t)count + 2 : 0;
        return at <= n ? at : 0;
    }
    for (; text[0] == '*' && count > 0; count--) {
        size_t const one = at < n ? answer_len(text + at, n - at) : 0;
        if (one == 0) {
            return 0;
        }
        at += one;
    }
    return at;
}

static void write_command(int fd, const char *const *words)
{
    char head[64];
    size_t n = 0;
    while (words[n] != NULL) {
        n++;
    }
    (void)snprintf(head, sizeof(head), "*%zu\r\n", n);
    if (send(fd, head, strlen(head), MSG_NOSIGNAL) < 0) {
        die("send");
    }
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(head, sizeof(head), "$%zu\r\n", strlen(words[i]));
        if (send(fd, head, strlen(head), MSG_NOSIGNAL) < 0 ||
            send(fd, words[i], strlen(words[i]), MSG_NOSIGNAL) < 0 ||
            send(fd, "\r\n", 2, MSG_NOSIGNAL) < 0) {
            die("send");
        }
    }
}

static void read_answer(int fd, char *buf, size_t cap)
{
    size_t n = 0;
    size_t len = 0;
    while (len == 0) {
        ssize_t const got = n + 1 < cap ? recv(fd, buf + n, cap - 1 - n, 0) : -1;
        if (got <= 0) {
            die("recv");
        }
        n += (size_t)got;
        len = answer_len(buf, n);
    }
    buf[n] = '\0';
}

const char *redis_process_ask(const struct redis_process *p, char *buf, size_t cap,
                              const char *const *words)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    (void)snprintf(to.sun_path, sizeof(to.sun_path), "%s", p->socket);
    int const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        die("connect");
    }
    if (p->password[0] != '\0') {
        const char *const auth[] = {"AUTH", p->password, NULL};
        write_command(fd, auth);
        read_answer(fd, buf, cap);
    }
    write_command(fd, words);
    read_answer(fd, buf, cap);
    (void)close(fd);
    return buf;
}
