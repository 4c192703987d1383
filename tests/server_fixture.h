/* SPDX-License-Identifier: MIT
 *
 * A real server on a free port, in a thread of its own, for the tests that meet it with
 * raw_client.h. Callbacks never assert, they count into the fixture; the test's thread waits for
 * the counts and asserts. Whatever else a test does to the server goes through ws_post(), as in any
 * program with threads. The names are short, since the tests consist of little else.
 *
 * Nothing here waits for a fixed time, and no test may fail because the machine is slow: what must
 * happen is waited for, PATIENCE_MS long. */
#ifndef TESTS_SERVER_FIXTURE_H
#define TESTS_SERVER_FIXTURE_H

#include "unit.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/types.h>

#include "../ws.h"
#include "descriptors.h"
#include "raw_client.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEST(name)   cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Parts of an opening handshake in order. */
#define GET     "GET /echo HTTP/1.1\r\n"
#define HOST    "Host: localhost\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"

/* The bytes of a string literal; the 4 zeros of MASK are a masking key that changes nothing. */
#define BYTES(literal) literal, sizeof(literal) - 1
#define MASK           "\0\0\0\0"

enum { KIB = 1024, MIB = 1024 * 1024, CLIENTS = 16, PATIENCE_MS = 20000 * SLOWER };

/* What the callbacks saw. Guarded by fixture.lock. */
struct seen {
    int opened, closed, messages, requests, aborted, drained, ran;
    unsigned close_code; /* of the last on_close */
    char reason[128];
    int result[8];   /* what calls inside callbacks returned */
    char text[1024]; /* whatever a test wants to remember */
    char log[512];   /* the last line */
    int errors;      /* lines of WS_LOG_ERROR */
};

struct fixture {
    struct ws_server *server;
    pthread_t thread;
    bool running;
    int run_result;
    uint16_t port;
    struct raw_client clients[CLIENTS];
    struct raw_bytes out; /* scratch, released by teardown */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct seen seen;
    struct ws_conn *conn;       /* for the loop thread only: the connection that opened last */
    struct ws_account *account; /* of what use_up_memory() has taken */
    void *taken[1024];
    size_t taken_count;
};

struct fixture *of(const struct ws_conn *c);
void lock(struct fixture *f);
void unlock(struct fixture *f);
void count(struct fixture *f, int *counter);
void note_result(struct fixture *f, size_t at, int result);
/* Append to seen.text. */
void note_text(struct fixture *f, const char *text, size_t len);
/* Wait until `*counter`, one of f->seen, is at least `least`. */
void wait_until(struct fixture *f, const int *counter, int least, const char *what);
int read_counter(struct fixture *f, const int *counter);
/* Wait for `n` closed connections and check the last one's code. */
void expect_on_close(struct fixture *f, int n, unsigned code);

/* --- callbacks -------------------------------------------------------------------------------- */

void count_open(struct ws_conn *c, const struct ws_request *req);
void count_close(struct ws_conn *c, unsigned code, const char *reason, size_t reason_len);
void count_message(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len);
void echo(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len);
void count_drain(struct ws_conn *c);
void join_room(struct ws_conn *c, const struct ws_request *req);
void mirror(struct ws_conn *c, const struct ws_request *req); /* answers "GET /path?query [body]" */
void keep_log(void *arg, enum ws_log_level level, const char *line); /* in seen.log */
/* on_request and on_abort of a request that is answered after "?<milliseconds>". */
void take_late(struct ws_conn *c, const struct ws_request *req);
void abort_late(struct ws_conn *c);

/* --- the server under test -------------------------------------------------------------------- */

extern const char *const chat_versions[]; /* the subprotocols of /chat */

/* An endpoint whose callbacks are counted; the test adds what it is about. */
void serve(struct fixture *f, const char *prefix, struct ws_handlers h);
/* A server with /echo, /small (messages up to 1000 bytes), /chat (subprotocols) and /http (a
 * mirror). */
void create(struct fixture *f, struct ws_options options);
void run(struct fixture *f);
void start(struct fixture *f, struct ws_options options); /* both */
/* All of it, and one endpoint more. */
void start_serving(struct fixture *f, struct ws_options options, const char *prefix,
                   struct ws_handlers h);
/* With no options, and a client: a WebSocket at /echo, or one that has sent nothing. */
struct raw_client *start_echo(struct fixture *f);
struct raw_client *start_with_client(struct fixture *f, const char *label);
/* Wait for ws_server_run() to return. */
void join(struct fixture *f);
int setup(void **state);
int teardown(void **state);

/* --- from the test's thread to the loop ------------------------------------------------------- */

/* Keep the loop busy, so that what happens meanwhile is all in its next batch. */
struct hold {
    sem_t held, go;
};

/* Run fn(f, arg) on the loop and wait until it has returned. */
void on_loop(struct fixture *f, void (*fn)(struct fixture *f, void *arg), void *arg);
struct ws_stats stats(struct fixture *f);
/* On the loop's thread: take all memory of a server with `max_memory` but for `left` bytes or a few
 * more, also what is kept for small things. It is given back by give_back_memory() or teardown. */
void use_up_memory(struct fixture *f, size_t max_memory, size_t left);
void give_back_memory(struct fixture *f);
void sleep_ms(int ms);
/* Wait until the server holds exactly `n` connections. */
void wait_connections(struct fixture *f, size_t n);
void hold_loop(struct fixture *f, struct hold *h);
int64_t loop_cpu_ms(struct fixture *f);
void stop_and_join(struct fixture *f);
void stop_now(struct fixture *f); /* and wait for no connection */
/* One turn after another as a foreign poll loop does it, until `c` has something to read. */
void poll_until_readable(struct fixture *f, struct raw_client *c);

/* --- server and clients in one thread --------------------------------------------------------- */

/* Turn after turn until nothing is ready, or a stop has ended. */
void let_serve(struct fixture *f);
/* Everything that has come for `fd`, thrown away. */
void discard(int fd);
/* A connection to 127.0.0.1 that blocks nobody. */
int dial(uint16_t port);

/* --- clients ---------------------------------------------------------------------------------- */

/* A place for one more client, closed by teardown. */
struct raw_client *unconnected(struct fixture *f);
struct raw_client *client(struct fixture *f, const char *label);
struct raw_client *slow_client(struct fixture *f, const char *label); /* small receive buffer */
struct raw_client *upgraded(struct fixture *f, const char *path);
struct raw_client *slow_upgraded(struct fixture *f, const char *path);
/* The server is well: a new client gets its echo. */
void expect_well(struct fixture *f);
/* Text that is not the same anywhere: position shows. The caller frees it. */
uint8_t *make_payload(size_t len, bool text);
void expect_body(struct raw_client *c, const char *body);
/* A response with this status, and the end of the connection. */
void expect_last_response(struct raw_client *c, int status);
/* The connection ends in any way, whatever comes before. */
void expect_end(struct raw_client *c);
/* One of a thousand: nothing sent, half a head, a handshake, a handshake and half a message. */
int open_one(uint16_t port, const struct raw_bytes *wire, size_t head, size_t i);

#endif
