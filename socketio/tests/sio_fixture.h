/* SPDX-License-Identifier: MIT
 *
 * A Socket.IO server on the server of tests/server_fixture.h, at the path of engine_fixture.h, so
 * that its clients serve here too. Clients tell the server what to do by events, see
 * sio_fixture.c. */
#ifndef SIO_FIXTURE_H
#define SIO_FIXTURE_H

#include "../sio.h"
#include "engine_fixture.h"

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, sio_setup, sio_teardown)

struct sio_fixture {
    struct fixture *f;
    struct engine *e; /* for its clients */
    struct sio_server *io;
    struct sio_namespace *main; /* "/" */
    struct sio_socket *socket;  /* for the loop's thread: the one that connected last, or NULL */
    struct sio_ack ack;         /* of the last "later" */
    size_t max_memory;          /* of the server, if set before it starts */
    const char *const *trust_proxy; /* the same */
    size_t memory;                  /* in use of max_memory before the first client */
    bool keeps;                     /* clients leave something: what they may come back for */
};

int sio_setup(void **state);
int sio_teardown(void **state); /* checks too that nothing is left of the clients */

/* Start it with namespace "/" and "/custom", whose handlers are the fixture's where `handlers` has
 * none. */
void sio_start(struct sio_fixture *x, struct sio_options options, struct sio_handlers handlers);

void start_plain(struct sio_fixture *x); /* with no options */
/* With no options, and a client that is in "/", or in "/" and "/custom". */
struct raw_client *start_client(struct sio_fixture *x);
struct raw_client *start_in_both(struct sio_fixture *x);

/* The same as sio_start(), but nobody runs its loop. */
void sio_create(struct sio_fixture *x, struct sio_options options, struct sio_handlers handlers);

/* When its loop has ended: free both servers, that of Socket.IO last. */
void sio_free_servers(struct sio_fixture *x);

struct sio_fixture *fixture_of(const struct sio_socket *s);

/* What the fixture's handlers do; for those that do more. */
void sio_count_connect(struct sio_socket *s, struct ws_str auth);
void sio_obey(struct sio_socket *s, const struct sio_event *e);
void sio_count_disconnect(struct sio_socket *s, const char *reason);

/* Run fn(x, arg) on the loop, and wait for its end. */
void on_sio(struct sio_fixture *x, void (*fn)(struct sio_fixture *x, void *arg), void *arg);

/* Wait until `n` sockets have been disconnected; the last one's reason is `reason`. */
void expect_disconnect(struct sio_fixture *x, int n, const char *reason);

/* A WebSocket that is in no namespace yet. */
struct raw_client *sio_open(struct sio_fixture *x);
/* Connect to a namespace ("/" or "/name") with more behind the comma, and expect to be let in. The
 * id goes to `id` unless that is NULL. */
void sio_enter(struct raw_client *c, const char *nsp, const char *auth, char *id);
/* Both, for "/". */
struct raw_client *sio_client(struct sio_fixture *x, char *id);

/* The same on polling, of a new client or of one that is connected. */
struct raw_client *sio_polling_client(struct sio_fixture *x, char sid[EIO_ID_SIZE]);
void sio_enter_polling(struct raw_client *c, char sid[EIO_ID_SIZE]);

/* Nothing has come that was not taken: the next thing is the echo of an event in "/". */
void expect_silence(struct raw_client *c);
/* The server closes without a status, and is gone when it has been answered. */
void expect_closed(struct raw_client *c);
void expect_binary(struct raw_client *c, const void *data, size_t len);
/* An event that makes the server do something, and the answer that says it is done. */
void order(struct raw_client *c, const char *event);

#endif
