// SPDX-License-Identifier: Apache-2.0
#include "sfu/worker/dtls_pool.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/sys/thread.h"

// More threads than this gain nothing: joins come in bursts and the media threads want the cores.
#define THREADS_MAX 4

struct entry {
    struct entry *next;
    struct room_dtls_job *job;
    struct mailbox *reply_to;
};

struct dtls_pool {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct entry *head, *tail;
    unsigned count;
    bool stopping;
    unsigned thread_count;
    struct thread threads[THREADS_MAX];
};

static void drop_job(struct room_dtls_job *job)
{
    dtls_work_free(job->work);
    mem_free(job);
}

static struct entry *take(struct dtls_pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->head == NULL && !p->stopping) {
        pthread_cond_wait(&p->more, &p->lock);
    }
    struct entry *const e = p->stopping ? NULL : p->head;
    if (e != NULL) {
        p->head = e->next;
        p->tail = p->head == NULL ? NULL : p->tail;
        p->count--;
    }
    pthread_mutex_unlock(&p->lock);
    return e;
}

static void run(void *arg)
{
    struct dtls_pool *const p = arg;
    thread_stand_back(); // handshakes must not delay the packets of those who are in
    for (struct entry *e = NULL; (e = take(p)) != NULL;) {
        dtls_work_run(e->job->work);
        if (mailbox_post(e->reply_to, e->job) < 0) {
            drop_job(e->job);
        }
        mem_free(e);
    }
}

int dtls_pool_new(unsigned threads, struct dtls_pool **ret)
{
    struct dtls_pool *const p = NEW(struct dtls_pool);
    if (p == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    for (unsigned i = 0; i < MAX(1u, MIN(threads, THREADS_MAX)); i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "dtls-%u", i);
        int const rc = thread_start(&p->threads[i], name, -1, run, p);
        if (rc < 0) {
            dtls_pool_free(p);
            return rc;
        }
        p->thread_count++;
    }
    *ret = p;
    return 0;
}

void dtls_pool_free(struct dtls_pool *p)
{
    if (p == NULL) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++) {
        thread_join(&p->threads[i]);
    }
    while (p->head != NULL) {
        struct entry *const e = p->head;
        p->head = e->next;
        drop_job(e->job);
        mem_free(e);
    }
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

int dtls_pool_submit(struct dtls_pool *p, struct room_dtls_job *job, struct mailbox *reply_to)
{
    struct entry *const e = NEW(struct entry);
    if (e == NULL) {
        return -ENOMEM;
    }
    *e = (struct entry){.job = job, .reply_to = reply_to};
    job->next = NULL;
    pthread_mutex_lock(&p->lock);
    bool const full = p->count >= DTLS_POOL_QUEUE_MAX || p->stopping;
    if (!full) {
        if (p->tail != NULL) {
            p->tail->next = e;
        } else {
            p->head = e;
        }
        p->tail = e;
        p->count++;
        pthread_cond_signal(&p->more);
    }
    pthread_mutex_unlock(&p->lock);
    if (full) {
        mem_free(e);
        return -ENOBUFS;
    }
    return 0;
}
