/* SPDX-License-Identifier: MIT
 *
 * Slow work on another thread, with the result posted back to the loop: each message is a number,
 * the answer is its smallest factor. While the worker thread computes, the server serves.
 *
 *     ./build/examples/threads 8080
 *     s = new WebSocket("ws://127.0.0.1:8080/"); s.onmessage = m => console.log(m.data)
 *     s.send("1000000016000000063")
 *
 * Other threads may call only ws_post() and ws_server_stop(). A job has the id of its connection,
 * not a pointer: the connection may have been freed when the result is ready, and its memory
 * reused. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ws.h"

enum { DIGITS_MAX = 19 }; /* 10^19 - 1 fits into 64 bits */

struct job {
    struct job *next;
    struct ws_server *server;
    uint64_t conn_id;
    unsigned long long number;
    unsigned long long factor; /* the worker's result */
};

/* First in, first out. */
struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct job *first;
    struct job **end; /* where the next one goes */
};

static void queue_put(struct queue *q, struct job *job)
{
    pthread_mutex_lock(&q->lock);
    *q->end = job;
    q->end = &job->next;
    pthread_cond_signal(&q->filled);
    pthread_mutex_unlock(&q->lock);
}

static struct job *queue_take(struct queue *q)
{
    struct job *job;

    pthread_mutex_lock(&q->lock);
    while (q->first == NULL)
        pthread_cond_wait(&q->filled, &q->lock);
    job = q->first;
    q->first = job->next;
    if (q->first == NULL)
        q->end = &q->first;
    pthread_mutex_unlock(&q->lock);
    return job;
}

/* Runs on the loop's thread, called because of the worker's ws_post(). */
static void deliver(void *arg)
{
    struct job *job = arg;
    struct ws_conn *c = ws_conn_find(job->server, job->conn_id);
    char text[64];
    int len = snprintf(text, sizeof text, "%llu = %llu * %llu", job->number, job->factor,
                       job->number / job->factor);

    if (c != NULL) /* NULL: it has closed meanwhile */
        ws_send(c, WS_OP_TEXT, text, (size_t)len);
    free(job);
}

static unsigned long long smallest_factor(unsigned long long n)
{
    for (unsigned long long i = 2; i <= n / i; i++) {
        if (n % i == 0)
            return i;
    }
    return n;
}

static void *work(void *arg)
{
    struct queue *q = arg;

    for (;;) {
        struct job *job = queue_take(q);

        job->factor = smallest_factor(job->number);
        if (ws_post(job->server, deliver, job) != 0)
            free(job); /* out of memory: this answer is lost */
    }
    return NULL;
}

static void on_message(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    struct job *job = calloc(1, sizeof *job);
    char digits[DIGITS_MAX + 1] = "";

    (void)opcode;
    memcpy(digits, data, len); /* at most .max_message bytes, see below */
    if (job != NULL && strspn(digits, "0123456789") == len)
        job->number = strtoull(digits, NULL, 10);
    if (job == NULL || job->number < 2) {
        free(job);
        ws_close(c, WS_CLOSE_POLICY, "not a number of 2 or more");
        return;
    }
    job->server = ws_conn_server(c);
    job->conn_id = ws_conn_id(c);
    queue_put(ws_user(c), job);
}

int main(int argc, char **argv)
{
    struct queue queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};
    struct ws_options options = {.port = argc > 1 ? (uint16_t)atoi(argv[1]) : 8080};
    struct ws_handlers handlers = {
        .on_message = on_message, .max_message = DIGITS_MAX, .user = &queue};
    struct ws_server *s = ws_server_new(&options);
    pthread_t worker;

    queue.end = &queue.first;
    if (s == NULL || ws_server_handle(s, "/", &handlers) != 0 ||
        pthread_create(&worker, NULL, work, &queue) != 0) {
        perror("threads");
        return 1;
    }
    return ws_server_run(s) != 0;
}
