// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: job_store job_table job_journal_file
// The job store without a server: memory, and the journal on a real disk.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "jwt-service/leave/job_journal.h"
#include "jwt-service/leave/job_journal_file.h"
#include "jwt-service/leave/job_store.h"

static struct loop *loop;
static char dir[64];
static char file[128];
static unsigned damage_lines;
static unsigned error_lines;

struct told {
    unsigned calls;
    int error;
};

struct loaded {
    unsigned calls;
    struct job_load load;
    char text[JOB_STORE_ERROR_MAX];
    char names[64][32]; // identities in the order of coming
    struct job_record last;
    char last_sid[64];
    char last_delay_id[64];
};

static void on_log(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    damage_lines += memmem(line.p, line.n, "jobs.journal.damaged", 20) != NULL;
    error_lines += level == LOG_LEVEL_ERROR;
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/test_job_journal.XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    (void)snprintf(file, sizeof(file), "%s/jobs.journal", dir);
    log_set_sink(on_log, NULL);
    damage_lines = 0;
    error_lines = 0;
    loop = loop_new();
    return loop != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"jobs.journal", "jobs.journal.new", "jobs.lock"};
    loop_free(loop);
    log_set_sink(NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

// ---- helpers --------------------------------------------------------------------------------

static void on_told(void *user, int error)
{
    struct told *const t = user;
    t->calls++;
    t->error = error;
}

static void on_each(void *user, const struct job_record *r)
{
    struct loaded *const l = user;
    if (l->load.records < 64) {
        (void)snprintf(l->names[l->load.records], 32, "%s", r->identity);
    }
    l->load.records++;
    l->last = *r;
    (void)snprintf(l->last_sid, sizeof(l->last_sid), "%s", r->sid);
    (void)snprintf(l->last_delay_id, sizeof(l->last_delay_id), "%s", r->delay_id);
}

static void on_loaded(void *user, const struct job_load *load)
{
    struct loaded *const l = user;
    assert_int_equal(l->load.records, load->records);
    l->load = *load;
    (void)snprintf(l->text, sizeof(l->text), "%s", load->text);
    l->calls++;
}

static void turn_until(const unsigned *calls, unsigned n)
{
    for (int i = 0; i < 3000 && *calls < n; i++) {
        loop_run_once(loop, 10);
    }
    assert_int_equal(*calls, n);
}

static struct job_store *open_store(const char *at, struct loaded *ret)
{
    struct job_store *s = NULL;
    char err[JOB_STORE_ERROR_MAX] = "";
    int const r = job_store_new(&(struct job_store_conf){.loop = loop, .state_dir = at}, &s, err);
    if (r != 0) {
        print_error("%s\n", err);
    }
    assert_int_equal(r, 0);
    *ret = (struct loaded){0};
    job_store_load(s, on_each, on_loaded, ret);
    assert_int_equal(ret->calls, 0);
    turn_until(&ret->calls, 1);
    return s;
}

static struct job_record job(const char *identity)
{
    return (struct job_record){
        .room = "room",
        .identity = identity,
        .delay_id = "syd_1",
        .server_name = "example.org",
        .user_id = "@u:example.org",
        .delay_timeout_ns = INT64_C(8000000000),
        .restarted_at = {INT64_C(1784801472123456)},
    };
}

static int put(struct job_store *s, const char *identity, const char *delay_id)
{
    struct told t = {0};
    struct job_record r = job(identity);
    r.delay_id = delay_id;
    assert_int_equal(job_store_put(s, &r, on_told, &t, NULL), 0);
    assert_int_equal(t.calls, 0);
    turn_until(&t.calls, 1);
    return t.error;
}

static int flush(struct job_store *s, int64_t ms)
{
    struct told t = {0};
    job_store_flush(s, ms, on_told, &t);
    assert_int_equal(t.calls, 0);
    turn_until(&t.calls, 1);
    return t.error;
}

static size_t file_size(void)
{
    struct stat st;
    return stat(file, &st) == 0 ? (size_t)st.st_size : 0;
}

// ---- memory ---------------------------------------------------------------------------------

static void without_a_place_jobs_are_accepted_and_forgotten(void **state)
{
    (void)state;
    struct loaded l;
    struct job_store *s = open_store("", &l);
    assert_int_equal(job_store_kind(s), JOB_STORE_MEMORY);
    assert_int_equal(put(s, "a", "1"), 0);
    job_store_remove(s, "room", "a");
    assert_int_equal(flush(s, 1000), 0);
    job_store_free(s);
    s = open_store(NULL, &l);
    assert_int_equal(l.load.records, 0);
    job_store_free(s);
}

// ---- journal --------------------------------------------------------------------------------

static void jobs_survive_a_restart(void **state)
{
    (void)state;
    struct loaded l;
    struct job_store *s = open_store(dir, &l);
    assert_int_equal(job_store_kind(s), JOB_STORE_JOURNAL);
    assert_int_equal(l.load.result, JOB_LOAD_OK);
    assert_int_equal(l.load.records, 0);
    assert_int_equal(put(s, "a", "1"), 0);
    assert_int_equal(put(s, "b", "1"), 0);
    assert_int_equal(put(s, "a", "2"), 0);
    job_store_remove(s, "room", "b");
    job_store_remove(s, "room", "nobody");
    struct job_record r = job("a");
    r.delay_id = "3";
    r.sid = "PA_x";
    r.state = JOB_CONNECTED;
    assert_int_equal(job_store_put(s, &r, NULL, NULL, NULL), 0);
    assert_int_equal(flush(s, 5000), 0);
    job_store_free(s);
    s = open_store(dir, &l);
    assert_int_equal(l.load.records, 1);
    assert_int_equal(l.load.broken, 0);
    assert_string_equal(l.names[0], "a");
    assert_string_equal(l.last_delay_id, "3");
    assert_string_equal(l.last_sid, "PA_x");
    assert_int_equal(l.last.state, JOB_CONNECTED);
    assert_int_equal(l.last.delay_timeout_ns, INT64_C(8000000000));
    assert_int_equal(l.last.restarted_at.us, INT64_C(1784801472123456));
    job_store_free(s);
}

// The child is killed right after the word that a job is safe.
static void what_was_called_safe_survives_a_kill(void **state)
{
    (void)state;
    pid_t const child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct loaded l;
        loop = loop_new();
        struct job_store *const s = open_store(dir, &l);
        if (put(s, "a", "1") == 0 && put(s, "b", "1") == 0) {
            (void)raise(SIGKILL);
        }
        _exit(1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    struct loaded l;
    struct job_store *const s = open_store(dir, &l);
    assert_int_equal(l.load.records, 2);
    job_store_free(s);
}

static void two_processes_cannot_share_it(void **state)
{
    (void)state;
    struct loaded l;
    char err[JOB_STORE_ERROR_MAX];
    char pid[16];
    struct job_store *other = NULL;
    struct job_store *const s = open_store(dir, &l);
    assert_int_equal(
        job_store_new(&(struct job_store_conf){.loop = loop, .state_dir = dir}, &other, err),
        -EBUSY);
    (void)snprintf(pid, sizeof(pid), "(%d)", (int)getpid());
    assert_non_null(strstr(err, dir));
    assert_non_null(strstr(err, pid));
    job_store_free(s);
    job_store_free(open_store(dir, &l));
}

static void a_place_that_cannot_be_used_is_an_error_at_once(void **state)
{
    (void)state;
    char err[JOB_STORE_ERROR_MAX] = "";
    char path[128];
    struct job_store *s = NULL;
    struct job_store_conf conf = {.loop = loop, .state_dir = "/nonexistent/x"};
    assert_int_equal(job_store_new(&conf, &s, err), -ENOENT);
    assert_non_null(strstr(err, "/nonexistent/x"));
    conf.state_dir = "/dev/null";
    assert_int_equal(job_store_new(&conf, &s, err), -ENOTDIR);
    // Somebody's link is not followed.
    (void)snprintf(path, sizeof(path), "%s/jobs.journal", dir);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    conf.state_dir = dir;
    assert_int_equal(job_store_new(&conf, &s, err), -ELOOP);
}

static void the_directory_is_made_and_files_are_private(void **state)
{
    (void)state;
    char sub[128];
    char path[160];
    struct loaded l;
    struct stat st;
    (void)snprintf(sub, sizeof(sub), "%s/sub", dir);
    job_store_free(open_store(sub, &l));
    assert_int_equal(stat(sub, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    (void)snprintf(path, sizeof(path), "%s/jobs.journal", sub);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/jobs.lock", sub);
    (void)unlink(path);
    assert_int_equal(rmdir(sub), 0);
}

// A burst is one or a few writes, not one for each job.
static void a_burst_is_committed_together(void **state)
{
    (void)state;
    enum { N = 500 };
    struct loaded l;
    struct told t = {0};
    struct job_store_stats stats;
    struct job_store *const s = open_store(dir, &l);
    for (unsigned i = 0; i < N; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "i%u", i);
        struct job_record const r = job(name);
        assert_int_equal(job_store_put(s, &r, on_told, &t, NULL), 0);
    }
    turn_until(&t.calls, N);
    job_store_stats(s, &stats);
    assert_int_equal(stats.writes, N);
    assert_int_equal(stats.pending, 0);
    assert_true(stats.syncs <= 4);
    job_store_free(s);
}

static void only_the_newest_of_a_key_is_written(void **state)
{
    (void)state;
    enum { N = 300 };
    struct loaded l;
    struct told t = {0};
    struct job_store_stats stats;
    struct job_store *s = open_store(dir, &l);
    for (unsigned i = 0; i < N; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "syd_%u", i);
        struct job_record r = job("same");
        r.delay_id = id;
        assert_int_equal(job_store_put(s, &r, on_told, &t, NULL), 0);
    }
    turn_until(&t.calls, N);
    assert_int_equal(t.error, 0);
    job_store_stats(s, &stats);
    assert_true(stats.writes <= 3);
    assert_true(stats.coalesced >= N - 3);
    // One that never got to the disk leaves no trace there.
    size_t const size = file_size();
    struct job_record const r = job("brief");
    struct told brief = {0};
    // Keeps the thread busy meanwhile.
    struct job_record const first = job("first");
    assert_int_equal(job_store_put(s, &first, NULL, NULL, NULL), 0);
    assert_int_equal(job_store_put(s, &r, on_told, &brief, NULL), 0);
    job_store_remove(s, "room", "brief");
    turn_until(&brief.calls, 1);
    assert_int_equal(brief.error, -ECANCELED);
    assert_int_equal(flush(s, 5000), 0);
    job_store_free(s);
    assert_true(file_size() < size + 250);
    s = open_store(dir, &l);
    assert_int_equal(l.load.records, 2);
    job_store_free(s);
}

static void a_cancelled_wait_is_not_told(void **state)
{
    (void)state;
    struct loaded l;
    struct told t = {0};
    struct job_wait *w[2];
    struct job_store *s = open_store(dir, &l);
    struct job_record const r = job("a");
    assert_int_equal(job_store_put(s, &r, on_told, &t, &w[0]), 0);
    assert_int_equal(job_store_put(s, &r, on_told, &t, &w[1]), 0);
    job_store_cancel(w[0]);
    job_store_cancel(w[1]);
    assert_int_equal(flush(s, 5000), 0);
    assert_int_equal(t.calls, 0);
    // Ended, but not told yet.
    assert_int_equal(job_store_put(s, &r, on_told, &t, &w[0]), 0);
    job_store_remove(s, "room", "a");
    job_store_cancel(w[0]);
    assert_int_equal(flush(s, 5000), 0);
    assert_int_equal(t.calls, 0);
    // Waits that are left at the end are dropped.
    assert_int_equal(job_store_put(s, &r, on_told, &t, NULL), 0);
    job_store_free(s);
    s = open_store(dir, &l);
    assert_int_equal(t.calls, 0);
    assert_int_equal(l.load.records, 1); // what was on its way is finished
    job_store_free(s);
}

struct chain {
    struct job_store *s;
    unsigned left;
    unsigned calls;
};

static void on_chain(void *user, int error)
{
    struct chain *const c = user;
    char name[32];
    assert_int_equal(error, 0);
    c->calls++;
    if (c->left-- > 0) {
        (void)snprintf(name, sizeof(name), "chain%u", c->left);
        struct job_record const r = job(name);
        assert_int_equal(job_store_put(c->s, &r, on_chain, c, NULL), 0);
        job_store_remove(c->s, "room", name);
        assert_int_equal(job_store_put(c->s, &r, on_chain, c, NULL), 0);
        c->left = 0;
    }
}

static void on_canceled_or_safe(void *user, int error)
{
    struct chain *const c = user;
    assert_true(error == 0 || error == -ECANCELED);
    c->calls++;
}

static void callbacks_may_change_the_store(void **state)
{
    (void)state;
    struct loaded l;
    struct job_store *const s = open_store(dir, &l);
    struct chain c = {.s = s, .left = 0};
    struct job_record const r = job("start");
    assert_int_equal(job_store_put(s, &r, on_chain, &c, NULL), 0);
    turn_until(&c.calls, 1);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(job_store_put(s, &r, on_canceled_or_safe, &c, NULL), 0);
        job_store_remove(s, "room", "start");
    }
    turn_until(&c.calls, 51);
    assert_int_equal(flush(s, 5000), 0);
    job_store_free(s);
}

static void bad_records_are_refused(void **state)
{
    (void)state;
    struct loaded l;
    struct told t = {0};
    struct job_store *const s = open_store(dir, &l);
    struct job_record r = job("");
    assert_int_equal(job_store_put(s, &r, on_told, &t, NULL), -EINVAL);
    char *const large = mem_alloc(JOB_RECORD_MAX + 1);
    memset(large, 'x', JOB_RECORD_MAX);
    r = job(large);
    assert_int_equal(job_store_put(s, &r, on_told, &t, NULL), -E2BIG);
    mem_free(large);
    assert_int_equal(flush(s, 100), 0);
    assert_int_equal(t.calls, 0);
    job_store_free(s);
}

// ---- damage ---------------------------------------------------------------------------------

static void write_file(const uint8_t *p, size_t n)
{
    FILE *const f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static uint8_t *read_file(size_t *ret_n)
{
    *ret_n = file_size();
    uint8_t *const p = malloc(*ret_n);
    FILE *const f = fopen(file, "r");
    assert_non_null(f);
    assert_int_equal(fread(p, 1, *ret_n, f), *ret_n);
    assert_int_equal(fclose(f), 0);
    return p;
}

// Three jobs of equal length.
static uint8_t *make_three(size_t *ret_n)
{
    struct loaded l;
    struct job_store *const s = open_store(dir, &l);
    assert_int_equal(put(s, "a", "1"), 0);
    assert_int_equal(put(s, "b", "1"), 0);
    assert_int_equal(put(s, "c", "1"), 0);
    job_store_free(s);
    return read_file(ret_n);
}

static void cut_anywhere_it_gives_whole_records_and_goes_on(void **state)
{
    (void)state;
    size_t n = 0;
    uint8_t *const all = make_three(&n);
    assert_int_equal(n % 3, 0);
    for (size_t cut = 0; cut <= n; cut++) {
        struct loaded l;
        size_t const whole = cut / (n / 3);
        write_file(all, cut);
        damage_lines = 0;
        struct job_store *s = open_store(dir, &l);
        bool const tail = cut % (n / 3) != 0;
        assert_int_equal(l.load.result, JOB_LOAD_OK);
        assert_int_equal(l.load.records, whole);
        assert_int_equal(l.load.broken, tail);
        assert_true(damage_lines <= tail); // the log holds back what comes too often
        assert_int_equal(put(s, "new", "1"), 0);
        job_store_free(s);
        // Reported once: the next start sees nothing of it.
        damage_lines = 0;
        s = open_store(dir, &l);
        assert_int_equal(l.load.records, whole + 1);
        assert_int_equal(l.load.broken, 0);
        assert_int_equal(damage_lines, 0);
        job_store_free(s);
    }
    free(all);
}

static void damage_in_the_middle_costs_one_record(void **state)
{
    (void)state;
    size_t n = 0;
    uint8_t *const all = make_three(&n);
    for (size_t at = n / 3; at < 2 * n / 3; at += 3) {
        struct loaded l;
        all[at] ^= 0x55;
        write_file(all, n);
        all[at] ^= 0x55;
        damage_lines = 0;
        struct job_store *s = open_store(dir, &l);
        assert_int_equal(l.load.records, 2);
        assert_int_equal(l.load.broken, 1);
        assert_string_equal(l.names[0], "a");
        assert_string_equal(l.names[1], "c");
        assert_int_equal(damage_lines, at == n / 3 ? 1 : damage_lines);
        assert_int_equal(put(s, "d", "1"), 0);
        job_store_free(s);
        damage_lines = 0;
        s = open_store(dir, &l);
        assert_int_equal(l.load.records, 3);
        assert_int_equal(damage_lines, 0);
        job_store_free(s);
    }
    free(all);
}

static void garbage_is_no_reason_not_to_start(void **state)
{
    (void)state;
    struct loaded l;
    uint8_t junk[3000];
    for (size_t i = 0; i < sizeof(junk); i++) {
        junk[i] = (uint8_t)(i * i >> 3);
    }
    write_file(junk, sizeof(junk));
    struct job_store *s = open_store(dir, &l);
    assert_int_equal(l.load.records, 0);
    assert_int_equal(l.load.broken, 1);
    assert_int_equal(put(s, "a", "1"), 0);
    job_store_free(s);
    s = open_store(dir, &l);
    assert_int_equal(l.load.records, 1);
    assert_int_equal(l.load.broken, 0);
    job_store_free(s);
}

// ---- full disk ------------------------------------------------------------------------------

static void limit_files(size_t n)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = n > 0 ? n : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

// The limit stands for a full disk: writes come back short and then with an error.
static void a_full_disk_delays_but_loses_nothing(void **state)
{
    (void)state;
    struct loaded l;
    struct job_store_stats stats;
    (void)signal(SIGXFSZ, SIG_IGN);
    struct job_store *s = open_store(dir, &l);
    assert_int_equal(put(s, "a", "1"), 0);
    size_t const size = file_size();
    limit_files(size + 20); // a piece of a frame gets out
    assert_int_equal(put(s, "b", "1"), -EFBIG);
    assert_int_equal(error_lines, 1);
    assert_int_equal(file_size(), size); // and is taken back
    assert_int_equal(put(s, "c", "1"), -EFBIG);
    job_store_remove(s, "room", "a");
    job_store_stats(s, &stats);
    assert_false(stats.up);
    assert_int_equal(stats.pending, 3);
    assert_int_equal(flush(s, 50), -ETIMEDOUT);
    assert_int_equal(error_lines, 1); // told once
    limit_files(0);
    assert_int_equal(flush(s, 5000), 0);
    job_store_stats(s, &stats);
    assert_true(stats.up);
    assert_int_equal(stats.pending, 0);
    job_store_free(s);
    s = open_store(dir, &l);
    assert_int_equal(l.load.records, 2);
    assert_int_equal(l.load.broken, 0);
    assert_string_equal(l.names[0], "b");
    job_store_free(s);
}

static void it_tries_again_by_itself(void **state)
{
    (void)state;
    struct loaded l;
    struct job_store_stats stats;
    (void)signal(SIGXFSZ, SIG_IGN);
    struct job_store *const s = open_store(dir, &l);
    limit_files(10);
    assert_int_equal(put(s, "a", "1"), -EFBIG);
    limit_files(0);
    for (int i = 0; i < 500; i++) {
        loop_run_once(loop, 10);
        job_store_stats(s, &stats);
        if (stats.pending == 0) {
            break;
        }
    }
    assert_int_equal(stats.pending, 0);
    assert_true(file_size() > 0);
    job_store_free(s);
}

// ---- rewriting ------------------------------------------------------------------------------

static void what_is_out_of_date_is_dropped(void **state)
{
    (void)state;
    enum { KEYS = 200, ROUNDS = 60 };
    struct loaded l;
    struct job_store_stats stats;
    struct job_store *s = open_store(dir, &l);
    char pad[400];
    memset(pad, 'p', sizeof(pad) - 1);
    pad[sizeof(pad) - 1] = '\0';
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct told t = {0};
        for (unsigned i = 0; i < KEYS; i++) {
            char name[32];
            char id[32];
            (void)snprintf(name, sizeof(name), "k%u", i);
            (void)snprintf(id, sizeof(id), "r%u", round);
            struct job_record r = job(name);
            r.delay_id = id;
            r.other_identity = pad;
            assert_int_equal(job_store_put(s, &r, on_told, &t, NULL), 0);
        }
        turn_until(&t.calls, KEYS);
    }
    for (unsigned i = 100; i < KEYS; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "k%u", i);
        job_store_remove(s, "room", name);
    }
    assert_int_equal(flush(s, 5000), 0);
    job_store_stats(s, &stats);
    // 12,000 records of about 550 bytes were written.
    assert_true(stats.file_bytes < 2 * JOB_JOURNAL_COMPACT_MIN);
    assert_int_equal(file_size(), stats.file_bytes);
    job_store_free(s);
    s = open_store(dir, &l);
    assert_int_equal(l.load.records, 100);
    assert_string_equal(l.last_delay_id, "r59");
    job_store_free(s);
}

static void a_rewrite_that_was_interrupted_is_forgotten(void **state)
{
    (void)state;
    struct loaded l;
    char path[128];
    size_t n = 0;
    free(make_three(&n));
    (void)snprintf(path, sizeof(path), "%s/jobs.journal.new", dir);
    FILE *const f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs("half", f) >= 0);
    assert_int_equal(fclose(f), 0);
    job_store_free(open_store(dir, &l));
    assert_int_equal(l.load.records, 3);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_rewrite_without_room_changes_nothing(void **state)
{
    (void)state;
    struct job_file *f = NULL;
    char err[JOB_FILE_ERROR_MAX];
    uint64_t at = 0;
    uint8_t data[1000];
    uint8_t *content = NULL;
    size_t n = 0;
    (void)signal(SIGXFSZ, SIG_IGN);
    memset(data, 'd', sizeof(data));
    assert_int_equal(job_file_open(dir, &f, err), 0);
    assert_int_equal(job_file_append(f, bytes_of(data, sizeof(data)), &at), 0);
    assert_int_equal(at, 0);
    struct job_piece pieces[] = {{.offset = 100, .len = 300}, {.offset = 500, .len = 300}};
    limit_files(100);
    assert_int_equal(job_file_rewrite(f, pieces, 2), -EFBIG);
    limit_files(0);
    assert_int_equal(pieces[1].offset, 500);
    assert_int_equal(job_file_size(f), 1000);
    assert_int_equal(job_file_rewrite(f, pieces, 2), 0);
    assert_int_equal(pieces[0].offset, 0);
    assert_int_equal(pieces[1].offset, 300);
    assert_int_equal(job_file_read(f, &content, &n), 0);
    assert_int_equal(n, 600);
    mem_free(content);
    job_file_close(f);
}

// ---- size -----------------------------------------------------------------------------------

static size_t resident_kb(void)
{
    char line[256];
    size_t kb = 0;
    FILE *const f = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "VmRSS: %zu", &kb) == 1) {
            break;
        }
    }
    (void)fclose(f);
    return kb;
}

static void a_hundred_thousand_jobs_are_back(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct loaded l;
    struct job_store_stats stats;
    struct job_store *s = open_store(dir, &l);
    struct told t = {0};
    mono_t const start = clock_mono();
    size_t const before = resident_kb();
    for (unsigned i = 0; i < N; i++) {
        char room[64];
        char identity[64];
        (void)snprintf(room, sizeof(room), "krj2/MtQx0V+abcdefghijklmnopqrstuvwxyz%09u", i / 5);
        (void)snprintf(identity, sizeof(identity), "vYVtMtQx0V+abcdefghijklmnopqrstuvwxyz%09u", i);
        struct job_record r = job(identity);
        r.room = room;
        r.other_identity = "@somebody:example.org:ABCDEFGHIJ";
        assert_int_equal(job_store_put(s, &r, on_told, &t, NULL), 0);
    }
    assert_int_equal(flush(s, 60000), 0);
    turn_until(&t.calls, N);
    int64_t const written_ms = mono_diff_ms(clock_mono(), start);
    job_store_stats(s, &stats);
    job_store_free(s);
    s = open_store(dir, &l);
    size_t const kb = resident_kb() - MIN(before, resident_kb());
    assert_int_equal(l.load.records, N);
    print_message(
        "%d jobs: written in %lld ms with %llu syncs, %llu KB; read in %lld ms, +%zu KB\n", N,
        (long long)written_ms, (unsigned long long)stats.syncs,
        (unsigned long long)(stats.file_bytes / 1024), (long long)l.load.elapsed_ms, kb);
    job_store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(without_a_place_jobs_are_accepted_and_forgotten),
        T(jobs_survive_a_restart),
        T(what_was_called_safe_survives_a_kill),
        T(two_processes_cannot_share_it),
        T(a_place_that_cannot_be_used_is_an_error_at_once),
        T(the_directory_is_made_and_files_are_private),
        T(a_burst_is_committed_together),
        T(only_the_newest_of_a_key_is_written),
        T(a_cancelled_wait_is_not_told),
        T(callbacks_may_change_the_store),
        T(bad_records_are_refused),
        T(damage_in_the_middle_costs_one_record),
        T(cut_anywhere_it_gives_whole_records_and_goes_on),
        T(garbage_is_no_reason_not_to_start),
        T(a_full_disk_delays_but_loses_nothing),
        T(it_tries_again_by_itself),
        T(what_is_out_of_date_is_dropped),
        T(a_rewrite_that_was_interrupted_is_forgotten),
        T(a_rewrite_without_room_changes_nothing),
        T(a_hundred_thousand_jobs_are_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
