// SPDX-License-Identifier: Apache-2.0
#include "tests/support/sfu_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/sys/clock.h"

#define START_MS 20000 // sanitizers on a busy machine
#define STOP_MS 10000
#define POLL_MS 10
#define LOG_KEEP 65536
#define ARGS_MAX 24

// The end of what the child wrote; one child at a time writes much.
static char text[LOG_KEEP];
static size_t text_len;

static void run_child(const char *program, const char *const *args, int log)
{
    const char *argv[ARGS_MAX] = {
        program, "--dev",        "--port", "0",      "--udp-port",
        "0",     "--log-format", "json",   "--keys", SFU_PROCESS_KEY ": " SFU_PROCESS_SECRET};
    size_t n = 10;
    for (size_t i = 0; args != NULL && args[i] != NULL && n + 1 < ARGS_MAX; i++) {
        argv[n++] = args[i];
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(log, STDERR_FILENO);
    (void)dup2(log, STDOUT_FILENO);
    union {
        const char **in;
        char *const *out;
    } const u = {argv}; // execv does not write them
    (void)execv(program, u.out);
    (void)fprintf(stderr, "cannot run %s: %s\n", program, strerror(errno));
    _exit(127);
}

// Takes what there is. False at the end of the pipe.
static bool read_log(const struct sfu_process *p, int wait_ms)
{
    struct pollfd f = {.fd = p->log, .events = POLLIN};
    if (poll(&f, 1, wait_ms) <= 0) {
        return true;
    }
    if (text_len > LOG_KEEP / 2) {
        memmove(text, text + LOG_KEEP / 4, text_len - LOG_KEEP / 4);
        text_len -= LOG_KEEP / 4;
    }
    ssize_t const got = read(p->log, text + text_len, LOG_KEEP - 1 - text_len);
    if (got <= 0) {
        return false;
    }
    text_len += (size_t)got;
    text[text_len] = '\0';
    return true;
}

static bool find_port(struct sfu_process *p)
{
    static const char mark[] = "\"what\":\"signalling\",\"address\":\"127.0.0.1:";
    const char *const ready = strstr(text, "\"service.ready\"");
    const char *const at = strstr(text, mark);
    if (ready == NULL || at == NULL) {
        return false;
    }
    const char *const port = at + sizeof(mark) - 1;
    (void)snprintf(p->url, sizeof(p->url), "ws://127.0.0.1:%.*s", (int)strcspn(port, "\""), port);
    return true;
}

int sfu_process_start(struct sfu_process *p, const char *program, const char *const *args)
{
    int fds[2];
    *p = (struct sfu_process){.log = -1};
    text_len = 0;
    text[0] = '\0';
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    (void)fflush(NULL);
    p->pid = fork();
    if (p->pid == 0) {
        run_child(program, args, fds[1]);
    }
    (void)close(fds[1]);
    p->log = fds[0];
    if (p->pid < 0) {
        return -errno;
    }
    mono_t const end = mono_add_ms(clock_mono(), START_MS);
    while (!find_port(p)) {
        bool const open = read_log(p, POLL_MS);
        if (!open || mono_reached(end, clock_mono())) {
            sfu_process_stop(p);
            return open ? -ETIMEDOUT : -ECHILD;
        }
    }
    return 0;
}

void sfu_process_stop(struct sfu_process *p)
{
    if (p->pid <= 0) {
        return;
    }
    (void)kill(p->pid, SIGTERM);
    mono_t const end = mono_add_ms(clock_mono(), STOP_MS);
    bool killed = false;
    while (waitpid(p->pid, &p->exit_status, WNOHANG) == 0) {
        (void)read_log(p, POLL_MS);
        if (!killed && mono_reached(end, clock_mono())) {
            killed = true;
            (void)kill(p->pid, SIGKILL);
        }
    }
    while (read_log(p, 0) && poll(&(struct pollfd){.fd = p->log, .events = POLLIN}, 1, 0) > 0) {
    }
    if (!WIFEXITED(p->exit_status) || WEXITSTATUS(p->exit_status) != 0) {
        (void)fprintf(stderr, "foci-sfu ended with status %#x; it wrote:\n%s\n",
                      (unsigned)p->exit_status, text);
    }
    (void)close(p->log);
    p->log = -1;
    p->pid = 0;
}

const char *sfu_process_beside(const char *argv0, char *buf, size_t cap)
{
    const char *const slash = strrchr(argv0, '/');
    (void)snprintf(buf, cap, "%.*s/../../foci-sfu", slash != NULL ? (int)(slash - argv0) : 1,
                   slash != NULL ? argv0 : ".");
    return buf;
}
