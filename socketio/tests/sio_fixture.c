/* SPDX-License-Identifier: MIT
 *
 * The Socket.IO server that tests run against; see sio_fixture.h. */
#include "sio_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- callbacks -------------------------------------------------------------------------------- */

struct sio_fixture *fixture_of(const struct sio_socket *s)
{
    return sio_user(sio_namespace_server(sio_socket_namespace(s)));
}

void sio_count_connect(struct sio_socket *s, struct ws_str auth)
{
    struct sio_fixture *x = fixture_of(s);

    (void)auth;
    x->socket = s;
    count(x->f, &x->f->seen.opened);
}

void sio_count_disconnect(struct sio_socket *s, const char *reason)
{
    struct sio_fixture *x = fixture_of(s);

    lock(x->f);
    x->f->seen.closed++;
    snprintf(x->f->seen.reason, sizeof x->f->seen.reason, "%s", reason);
    if (x->socket == s)
        x->socket = NULL;
    unlock(x->f);
}

/* Argument number `index` as text. */
static const char *text_arg(const struct sio_event *e, size_t index, char out[64])
{
    if (json_string(sio_arg(&e->args, index), out, 64) < 0)
        out[0] = '\0';
    return out;
}

/* The arguments behind the first `skip`. */
static struct sio_args args_from(const struct sio_event *e, size_t skip)
{
    struct sio_args args = e->args;
    struct ws_str value;

    while (skip-- != 0)
        json_next(&args.list, &value);
    return args;
}

/* ["room", "a"...]: where events go. */
static void obey_rooms(struct sio_socket *s, const struct sio_event *e)
{
    char a[64];
    char b[64];
    const struct sio_target to_a = {.nsp = sio_socket_namespace(s),
                                    .to = SIO_ROOMS(text_arg(e, 0, a))};
    const struct sio_target to_both = {.nsp = to_a.nsp, .to = SIO_ROOMS(a, text_arg(e, 1, b))};
    const struct sio_target without = {.nsp = to_a.nsp, .except = SIO_ROOMS(a)};
    const struct sio_target others = {.nsp = to_a.nsp, .to = SIO_ROOMS(a), .sender = s};

    if (sio_event_is(e, "join"))
        sio_join(s, a);
    else if (sio_event_is(e, "leave"))
        sio_leave(s, a);
    else if (sio_event_is(e, "to"))
        sio_publish(&to_a, "to", args_from(e, 1));
    else if (sio_event_is(e, "to both"))
        sio_publish(&to_both, "to both", args_from(e, 2));
    else if (sio_event_is(e, "except"))
        sio_publish(&without, "except", args_from(e, 1));
    else if (sio_event_is(e, "others in"))
        sio_publish(&others, "others in", args_from(e, 1));
}

static void obey_disconnect(struct sio_socket *s, const struct sio_event *e)
{
    struct sio_fixture *x = fixture_of(s);

    if (sio_event_is(e, "kick"))
        sio_disconnect(s, false);
    else if (sio_event_is(e, "close"))
        sio_disconnect(s, true);
    else if (sio_event_is(e, "kick all"))
        sio_disconnect_all(&(struct sio_target){.nsp = sio_socket_namespace(s)}, false);
    else if (sio_event_is(e, "shut down"))
        sio_server_close(x->io);
}

void sio_obey(struct sio_socket *s, const struct sio_event *e)
{
    struct sio_fixture *x = fixture_of(s);

    count(x->f, &x->f->seen.messages);
    if (sio_event_is(e, "echo"))
        sio_emit(s, NULL, e->all);
    else if (sio_event_is(e, "all"))
        sio_emit_all(sio_socket_namespace(s), "all", e->args);
    else if (sio_event_is(e, "broadcast"))
        sio_broadcast(s, "broadcast", e->args);
    else if (sio_event_is(e, "later"))
        x->ack = *e->ack;
    obey_rooms(s, e);
    obey_disconnect(s, e);
    if (!sio_event_is(e, "later"))
        sio_answer(e->ack, e->args);
}

/* --- the server ------------------------------------------------------------------------------- */

int sio_setup(void **state)
{
    struct sio_fixture *x = calloc(1, sizeof *x);
    void *e = NULL;

    if (x == NULL || engine_setup(&e) != 0) {
        free(x);
        return -1;
    }
    x->e = e;
    x->f = x->e->f;
    *state = x;
    return 0;
}

static void clients_leave_nothing(struct sio_fixture *x)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    if (x->keeps)
        return;
    while (stats(x->f).buffered != x->memory && raw_now_ms() < deadline)
        sleep_ms(5);
    assert_int_equal(stats(x->f).buffered, x->memory);
}

void sio_free_servers(struct sio_fixture *x)
{
    ws_server_free(x->f->server);
    x->f->server = NULL;
    sio_server_free(x->io);
    x->io = NULL;
}

int sio_teardown(void **state)
{
    struct sio_fixture *x = *state;
    void *e = x->e;
    int result;

    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&x->f->clients[i]);
    if (x->f->running) {
        clients_leave_nothing(x);
        stop_now(x->f);
    }
    sio_free_servers(x);
    result = engine_teardown(&e);
    free(x);
    return result;
}

void sio_create(struct sio_fixture *x, struct sio_options options, struct sio_handlers handlers)
{
    if (handlers.on_connect == NULL)
        handlers.on_connect = sio_count_connect;
    if (handlers.on_event == NULL)
        handlers.on_event = sio_obey;
    if (handlers.on_disconnect == NULL)
        handlers.on_disconnect = sio_count_disconnect;
    x->keeps = options.recovery_ms > PATIENCE_MS;
    options.path = "/engine.io/";
    options.user = x;
    create(x->f, (struct ws_options){.max_memory = x->max_memory, .trust_proxy = x->trust_proxy});
    x->io = sio_server_new(x->f->server, &options);
    assert_non_null(x->io);
    x->main = sio_namespace_new(x->io, "/", &handlers);
    assert_non_null(x->main);
    assert_non_null(sio_namespace_new(x->io, "/custom", &handlers));
    x->memory = ws_server_stats(x->f->server).buffered;
}

void sio_start(struct sio_fixture *x, struct sio_options options, struct sio_handlers handlers)
{
    sio_create(x, options, handlers);
    run(x->f);
}

void start_plain(struct sio_fixture *x)
{
    sio_start(x, (struct sio_options){0}, (struct sio_handlers){0});
}

struct raw_client *start_client(struct sio_fixture *x)
{
    start_plain(x);
    return sio_client(x, NULL);
}

struct raw_client *start_in_both(struct sio_fixture *x)
{
    struct raw_client *c = start_client(x);

    sio_enter(c, "/custom", "", NULL);
    return c;
}

struct sio_call {
    struct sio_fixture *x;
    void (*fn)(struct sio_fixture *x, void *arg);
    void *arg;
};

static void run_sio_call(struct fixture *f, void *arg)
{
    struct sio_call *call = arg;

    (void)f;
    call->fn(call->x, call->arg);
}

void on_sio(struct sio_fixture *x, void (*fn)(struct sio_fixture *x, void *arg), void *arg)
{
    struct sio_call call = {x, fn, arg};

    on_loop(x->f, run_sio_call, &call);
}

void expect_disconnect(struct sio_fixture *x, int n, const char *reason)
{
    char seen[sizeof x->f->seen.reason];

    wait_until(x->f, &x->f->seen.closed, n, "disconnected sockets");
    lock(x->f);
    memcpy(seen, x->f->seen.reason, sizeof seen);
    unlock(x->f);
    assert_string_equal(seen, reason);
    assert_int_equal(read_counter(x->f, &x->f->seen.closed), n);
}

/* --- clients ---------------------------------------------------------------------------------- */

struct raw_client *sio_open(struct sio_fixture *x)
{
    return open_websocket(x->e, "");
}

/* "" for "/", "/name," for others. */
static const char *prefix_of(const char *nsp, char out[64])
{
    snprintf(out, 64, "%s", strcmp(nsp, "/") == 0 ? "" : nsp);
    if (out[0] != '\0')
        strcat(out, ",");
    return out;
}

void sio_enter(struct raw_client *c, const char *nsp, const char *auth, char *id)
{
    char text[256];
    char prefix[64];
    struct raw_frame frame;
    size_t at;

    snprintf(text, sizeof text, "40%s%s", prefix_of(nsp, prefix), auth);
    raw_send_message(c, text);
    raw_read_frame(c, &frame);
    at = (size_t)snprintf(text, sizeof text, "40%s{\"sid\":\"", prefix);
    if (frame.head != RAW_TEXT || frame.len < at + EIO_ID_LEN + 2 ||
        memcmp(frame.payload, text, at) != 0)
        raw_fail(c, "not let in: '%.*s'", (int)frame.len, (const char *)frame.payload);
    if (id != NULL) {
        memcpy(id, frame.payload + at, EIO_ID_LEN);
        id[EIO_ID_LEN] = '\0';
    }
}

struct raw_client *sio_client(struct sio_fixture *x, char *id)
{
    struct raw_client *c = sio_open(x);

    sio_enter(c, "/", "", id);
    return c;
}

struct raw_client *sio_polling_client(struct sio_fixture *x, char sid[EIO_ID_SIZE])
{
    struct raw_client *c = client(x->f, "polling");

    sio_enter_polling(c, sid);
    return c;
}

void sio_enter_polling(struct raw_client *c, char sid[EIO_ID_SIZE])
{
    open_polling_on(c, sid);
    expect_post(c, sid, "40");
    get(c, sid);
    raw_expect_status(c, &(struct raw_response){0}, 200);
}

void expect_silence(struct raw_client *c)
{
    raw_send_message(c, "42[\"echo\",\"silence\"]");
    raw_expect_message(c, "42[\"echo\",\"silence\"]");
}

void expect_closed(struct raw_client *c)
{
    raw_expect_close(c, 0);
    raw_send_close(c, 0);
    raw_expect_eof(c);
}

void expect_binary(struct raw_client *c, const void *data, size_t len)
{
    raw_expect_frame(c, RAW_BINARY, data, len);
}

void order(struct raw_client *c, const char *event)
{
    char text[256];

    snprintf(text, sizeof text, "421%s", event);
    raw_send_message(c, text);
    /* Its acknowledgement shows the same arguments. */
    snprintf(text, sizeof text, "431[%s", strchr(event, ',') + 1);
    raw_expect_message(c, text);
}
