// SPDX-License-Identifier: Apache-2.0
#include "common/svc/redis.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#include "common/base/dynbuf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/svc/stream_conn.h"
#include "common/sys/random.h"

// AUTH, SELECT, PING.
#define ARGS_MAX 8

enum state {
    STATE_DOWN, // waits for the next attempt
    STATE_CONNECTING,
    STATE_GREETING,
    STATE_UP,
};

// A command whose answer is awaited.
struct sent {
    struct sent *prev;
    struct sent *next;
    struct redis_ask ask; // args are gone
    const char *greeting; // of our own: the command's name
};

struct redis {
    struct redis_conf conf;
    struct redis_url url;
    struct stream_tls *tls;
    struct stream_conn *conn;
    redisReader *reader;
    struct sent *queue; // in the order of sending, which is that of the answers
    enum state state;
    struct loop_timer *retry;
    struct loop_timer *patience; // of the first in the queue
    int64_t pause_ms;
    mono_t up_at;               // in STATE_UP: since when
    struct redis_answer answer; // the one being read
    struct dynbuf text;
    unsigned greetings; // answers of our own that are missing
};

static void connect_now(struct redis *r);

// ---- answers as hiredis sees them -----------------------------------------------------------

// Items go straight to the one who asked; nothing of an array is kept. What is returned only has to
// be something: there are no reply objects.
static void *on_string(const redisReadTask *task, char *str, size_t len)
{
    struct redis *const r = task->privdata;
    if (task->parent != NULL) {
        struct sent *const s = r->queue;
        if (s != NULL && s->ask.on_item != NULL) {
            s->ask.on_item(s->ask.user, (size_t)task->idx, bytes_of(str, len));
        }
        return r;
    }
    r->answer.type = task->type == REDIS_REPLY_ERROR ? REDIS_ANSWER_ERROR : REDIS_ANSWER_TEXT;
    dynbuf_reset(&r->text);
    dynbuf_add(&r->text, bytes_of(str, len));
    return dynbuf_ok(&r->text) ? r : NULL;
}

static void *on_array(const redisReadTask *task, int elements)
{
    struct redis *const r = task->privdata;
    // No command of ours is answered with arrays in arrays.
    if (task->parent != NULL || elements < 0 || elements > REDIS_ITEMS_MAX) {
        return NULL;
    }
    r->answer.type = REDIS_ANSWER_ARRAY;
    r->answer.number = elements;
    return r;
}

static void *on_other(struct redis *r, const redisReadTask *task, enum redis_answer_type type,
                      int64_t number)
{
    if (task->parent != NULL) {
        struct sent *const s = r->queue;
        if (s != NULL && s->ask.on_item != NULL) {
            s->ask.on_item(s->ask.user, (size_t)task->idx, bytes_of(NULL, 0));
        }
        return r;
    }
    r->answer.type = type;
    r->answer.number = number;
    return r;
}

static void *on_integer(const redisReadTask *task, long long value)
{
    return on_other(task->privdata, task, REDIS_ANSWER_INT, value);
}

static void *on_nil(const redisReadTask *task)
{
    return on_other(task->privdata, task, REDIS_ANSWER_NIL, 0);
}

static void on_free(void *object)
{
    (void)object;
}

static redisReplyObjectFunctions functions = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
    .freeObject = on_free,
};

// ---- connection -----------------------------------------------------------------------------

static void end_sent(struct sent *s, const struct redis_answer *a)
{
    if (s->ask.on_answer != NULL) {
        s->ask.on_answer(s->ask.user, a);
    }
    mem_free(s);
}

// Ends the connection, tells everybody, and tries again after a pause.
static void drop(struct redis *r, const char *why)
{
    char line[STREAM_CONN_ERROR_MAX + REDIS_URL_SHOWN_MAX];
    char shown[REDIS_URL_SHOWN_MAX];
    (void)snprintf(line, sizeof(line), "%s: %s", redis_url_show(&r->url, shown), why);
    // Only what held for a while is worth a quick attempt: with a server whose answers break the
    // connection each time, pauses grow although it greets well.
    if (r->state == STATE_UP &&
        mono_diff_ms(loop_now(r->conf.loop), r->up_at) >= REDIS_RETRY_MAX_MS) {
        r->pause_ms = REDIS_RETRY_MIN_MS;
    }
    r->state = STATE_DOWN;
    stream_conn_free(r->conn);
    r->conn = NULL;
    loop_timer_stop(r->patience);
    int64_t const jitter = (int64_t)(rand_u32() % 401) - 200; // +-20 % in thousandths
    loop_timer_set_ms(r->retry, r->pause_ms + r->pause_ms * jitter / 1000);
    r->pause_ms = MIN(r->pause_ms * 2, REDIS_RETRY_MAX_MS);
    struct sent *lost = r->queue;
    r->queue = NULL;
    struct redis_answer const a = {.type = REDIS_ANSWER_LOST, .text = bytes_str(line)};
    while (lost != NULL) {
        struct sent *const s = lost;
        DL_DELETE(lost, s);
        end_sent(s, &a);
    }
    r->conf.on_state(r->conf.user, false, line);
}

static void on_retry(void *user)
{
    connect_now(user);
}

static void on_impatient(void *user)
{
    drop(user, "no answer in time");
}

static void arm_patience(struct redis *r)
{
    if (r->queue == NULL) {
        loop_timer_stop(r->patience);
        return;
    }
    int64_t const ms = r->queue->ask.timeout_ms;
    loop_timer_set_ms(r->patience, ms > 0 ? ms : r->url.read_timeout_ms);
}

// Gives the first command its answer. false: the connection was given up.
static bool answered(struct redis *r)
{
    struct sent *const s = r->queue;
    if (s == NULL) {
        drop(r, "the server speaks without being asked");
        return false;
    }
    DL_DELETE(r->queue, s);
    struct redis_answer a = r->answer;
    a.text = a.type == REDIS_ANSWER_TEXT || a.type == REDIS_ANSWER_ERROR ? dynbuf_view(&r->text)
                                                                         : bytes_of(NULL, 0);
    if (s->greeting == NULL) {
        end_sent(s, &a);
        return r->conn != NULL;
    }
    char why[256];
    (void)snprintf(why, sizeof(why), "%s: %.*s", s->greeting, (int)MIN(a.text.n, 200),
                   a.text.n > 0 ? (const char *)a.text.p : "");
    mem_free(s);
    if (a.type == REDIS_ANSWER_ERROR) {
        drop(r, why);
        return false;
    }
    if (--r->greetings == 0) {
        r->state = STATE_UP;
        r->up_at = loop_now(r->conf.loop);
        r->conf.on_state(r->conf.user, true, "");
    }
    return r->conn != NULL;
}

static void on_data(void *user, struct bytes data)
{
    struct redis *const r = user;
    if (redisReaderFeed(r->reader, (const char *)data.p, data.n) != REDIS_OK) {
        drop(r, "out of memory");
        return;
    }
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
            drop(r, "the server does not speak the Redis protocol");
            return;
        }
        if (reply == NULL) {
            break;
        }
        if (!answered(r)) {
            return;
        }
    }
    if (r->reader->len - r->reader->pos > REDIS_ITEM_MAX + 64) {
        drop(r, "an answer of the server is too large");
        return;
    }
    arm_patience(r);
}

// ---- sending --------------------------------------------------------------------------------

static int send_now(struct redis *r, const struct redis_ask *ask, const char *greeting)
{
    const char *argv[ARGS_MAX];
    size_t lens[ARGS_MAX];
    size_t total = 0;
    if (ask->count == 0 || ask->count > ARGS_MAX) {
        return -E2BIG;
    }
    for (size_t i = 0; i < ask->count; i++) {
        argv[i] = ask->args[i].n > 0 ? (const char *)ask->args[i].p : "";
        lens[i] = ask->args[i].n;
        total += lens[i];
    }
    if (total > REDIS_ITEM_MAX) {
        return -E2BIG;
    }
    struct sent *const s = NEW(struct sent);
    char *text = NULL;
    if (s == NULL) {
        return -ENOMEM;
    }
    int const n = redisFormatCommandArgv(&text, (int)ask->count, argv, lens);
    if (n < 0) {
        mem_free(s);
        return -ENOMEM;
    }
    int const e = stream_conn_write(r->conn, bytes_of(text, (size_t)n));
    explicit_bzero(text, (size_t)n);
    redisFreeCommand(text);
    // Half a command on the wire would make nonsense of all that follows; but then the connection is
    // closing (-EPIPE), or nothing of it was taken.
    if (e != 0) {
        mem_free(s);
        return e == -EPIPE ? -ENOTCONN : e;
    }
    s->ask = *ask;
    s->ask.args = NULL;
    s->greeting = greeting;
    bool const first = r->queue == NULL;
    DL_APPEND(r->queue, s);
    if (first) {
        arm_patience(r);
    }
    return 0;
}

int redis_send(struct redis *r, const struct redis_ask *ask)
{
    return r->state == STATE_UP ? send_now(r, ask, NULL) : -ENOTCONN;
}

static int greet(struct redis *r, const char *a, const char *b, const char *c)
{
    struct bytes args[3];
    size_t n = 0;
    const char *const texts[] = {a, b, c};
    for (size_t i = 0; i < 3; i++) {
        if (texts[i] != NULL) {
            args[n++] = bytes_str(texts[i]);
        }
    }
    struct redis_ask const ask = {.args = args, .count = n};
    int const e = send_now(r, &ask, a);
    r->greetings += e == 0;
    return e;
}

static void on_open(void *user)
{
    struct redis *const r = user;
    char db[16];
    int e = 0;
    r->state = STATE_GREETING;
    r->greetings = 0;
    if (r->url.password[0] != '\0') {
        e = greet(r, "AUTH", r->url.user[0] != '\0' ? r->url.user : NULL, r->url.password);
    }
    if (e == 0 && r->url.db != 0) {
        (void)snprintf(db, sizeof(db), "%u", r->url.db);
        e = greet(r, "SELECT", db, NULL);
    }
    if (e == 0) {
        e = greet(r, "PING", NULL, NULL);
    }
    if (e != 0 && e != -ENOTCONN) { // else on_close comes
        drop(r, "out of memory");
    }
}

static void on_close(void *user, const char *why)
{
    drop(user, why);
}

static void connect_now(struct redis *r)
{
    if (r->reader != NULL) {
        redisReaderFree(r->reader);
    }
    r->reader = redisReaderCreateWithFunctions(&functions);
    if (r->reader != NULL) {
        r->reader->privdata = r;
    }
    r->state = STATE_CONNECTING;
    r->conn = r->reader == NULL ? NULL
                                : stream_conn_new(&(struct stream_conn_conf){
                                      .loop = r->conf.loop,
                                      .dns = r->conf.dns,
                                      .host = r->url.host,
                                      .port = r->url.port,
                                      .local = r->url.local,
                                      .tls = r->tls,
                                      .timeout_ms = r->url.dial_timeout_ms,
                                      .on_open = on_open,
                                      .on_data = on_data,
                                      .on_close = on_close,
                                      .user = r,
                                  });
    if (r->conn == NULL) {
        // Nobody is told: this may be inside redis_new, and the next attempt follows.
        r->state = STATE_DOWN;
        loop_timer_set_ms(r->retry, REDIS_RETRY_MAX_MS);
    }
}

struct redis *redis_new(const struct redis_conf *conf)
{
    char err[STREAM_CONN_ERROR_MAX];
    struct redis *const r = NEW(struct redis);
    if (r == NULL) {
        return NULL;
    }
    r->conf = *conf;
    r->url = *conf->url;
    r->conf.url = NULL;
    r->pause_ms = REDIS_RETRY_MIN_MS;
    dynbuf_init(&r->text, REDIS_ITEM_MAX + 64);
    r->retry = loop_timer_new(conf->loop, on_retry, r);
    r->patience = loop_timer_new(conf->loop, on_impatient, r);
    if (r->url.tls) {
        r->tls = stream_tls_new(conf->ca_file, r->url.skip_verify, err);
    }
    if (r->retry == NULL || r->patience == NULL || (r->url.tls && r->tls == NULL)) {
        redis_free(r);
        return NULL;
    }
    r->conf.ca_file = NULL;
    connect_now(r);
    return r;
}

void redis_free(struct redis *r)
{
    if (r == NULL) {
        return;
    }
    stream_conn_free(r->conn);
    if (r->reader != NULL) {
        redisReaderFree(r->reader);
    }
    while (r->queue != NULL) {
        struct sent *const s = r->queue;
        DL_DELETE(r->queue, s);
        mem_free(s);
    }
    loop_timer_free(r->retry);
    loop_timer_free(r->patience);
    stream_tls_free(r->tls);
    dynbuf_done(&r->text);
    redis_url_wipe(&r->url);
    mem_free(r);
}

bool redis_is_up(const struct redis *r)
{
    return r->state == STATE_UP;
}
