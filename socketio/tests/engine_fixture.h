/* SPDX-License-Identifier: MIT
 *
 * An Engine.IO server at /engine.io/ on the server of tests/server_fixture.h, and clients that
 * speak to it in raw requests and frames. What its callbacks see is counted into the same `struct
 * seen`. */
#ifndef ENGINE_FIXTURE_H
#define ENGINE_FIXTURE_H

#include "../../tests/server_fixture.h"
#include "../engineio.h"

#define RS "\x1e" /* between the packets of a payload */

#define UNKNOWN_SID "{\"code\":1,\"message\":\"Session ID unknown\"}"
#define BAD_REQUEST "{\"code\":3,\"message\":\"Bad request\"}"

/* A test that starts no server leaves the fixture empty. */
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)

struct engine {
    struct fixture *f;
    struct eio_server *server;
    struct eio_session *session; /* for the loop's thread: the one that opened last */
};

int engine_setup(void **state);
int engine_teardown(void **state);

/* Make it, for a test that serves it in its own thread. Callbacks that are not given count; without
 * on_message every message comes back. */
void engine_create(struct engine *e, struct eio_options options, struct eio_handlers handlers,
                   struct ws_options ws);
/* Make it and start it. */
void engine_start(struct engine *e, struct eio_options options, struct eio_handlers handlers,
                  struct ws_options ws);
void engine_handle(struct engine *e, struct eio_handlers handlers); /* with no options */
void engine_echo(struct engine *e, struct eio_options options);     /* with nothing special */
/* An echo with no options, and a client that has opened a session in it. */
struct raw_client *start_polling(struct engine *e, char sid[EIO_ID_SIZE]);
struct raw_client *start_websocket(struct engine *e);

struct engine *engine_of(const struct eio_session *s);
void engine_count_open(struct eio_session *s, const struct eio_handshake *h);

/* Wait for `n` ended sessions; the last one's reason is `reason`. */
void expect_reason(struct engine *e, int n, enum eio_reason reason);
/* Nothing is left: no session, no connection, no byte of max_memory. */
void expect_nothing_left(struct engine *e);
/* Run fn(e, arg) on the loop, and wait for its end. */
void on_engine(struct engine *e, void (*fn)(struct engine *e, void *arg), void *arg);

/* For on_engine(), to the session that opened last: the text `arg`, its result in seen.result[0];
 * and the messages "one", 01 02 and "". */
void engine_send_text(struct engine *e, void *arg);
void engine_send_three(struct engine *e, void *arg);
/* An on_message that only counts. */
void engine_count_message(struct eio_session *s, enum ws_opcode opcode, const void *data,
                          size_t len);

/* --- requests --------------------------------------------------------------------------------- */

/* Send a request for /engine.io/?<query>, with more header lines ("A: b\r\n") or "". */
void ask(struct raw_client *c, const char *method, const char *query, const char *more,
         const void *body, size_t len);
/* The same, to session `sid` on polling. */
void ask_session(struct raw_client *c, const char *method, const char *sid, const char *more,
                 const void *body, size_t len);
void get(struct raw_client *c, const char *sid);
void post(struct raw_client *c, const char *sid, const char *payload);
void expect(struct raw_client *c, int status, const char *body);
/* The answer, and the end of the connection. */
void expect_last(struct raw_client *c, int status, const char *body);
/* A GET that is answered with `payload`. */
void expect_poll(struct raw_client *c, const char *sid, const char *payload);
/* A POST that is taken. */
void expect_post(struct raw_client *c, const char *sid, const char *payload);
/* A GET that finds no such session. */
void expect_gone(struct raw_client *c, const char *sid);
/* Wait until a GET of the session that opened last is held; or send it, too. */
void wait_for_get(struct engine *e);
void get_held(struct engine *e, struct raw_client *c, const char *sid);

/* A new session on polling, of a new client or of one that is connected. */
struct raw_client *open_polling(struct engine *e, char sid[EIO_ID_SIZE]);
void open_polling_on(struct raw_client *c, char sid[EIO_ID_SIZE]);
/* A new session on a WebSocket, with more parameters ("&b64=1") or "". */
struct raw_client *open_websocket(struct engine *e, const char *more);
/* A WebSocket that asks for session `sid`; it has not spoken yet. */
struct raw_client *open_probe(struct engine *e, const char *sid);
/* The same, and its probe has been answered. */
struct raw_client *answered_probe(struct engine *e, const char *sid);
/* Both handshakes of an upgrade, to the end. */
struct raw_client *upgrade(struct engine *e, const char *sid);

#endif
