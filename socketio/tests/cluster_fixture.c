/* SPDX-License-Identifier: MIT
 *
 * Two servers in a cluster; see cluster_fixture.h. */
#include "cluster_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../msgpack.h"

int pair_setup(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    void *x = NULL;

    if (p == NULL || sio_setup(&x) != 0) {
        free(p);
        return -1;
    }
    p->x = x;
    *state = p;
    return 0;
}

static void leave(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        sio_cluster_free(p->cluster[i]);
        bus_free(p->bus[i]);
    }
    bus_free(p->third);
}

int pair_teardown(void **state)
{
    struct pair *p = *state;
    struct sio_fixture *x = p->x;
    struct fixture *f = x->f;
    void *e = x->e;
    int64_t deadline = raw_now_ms() + PATIENCE_MS;
    int result;

    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&f->clients[i]);
    if (f->running) {
        while (!x->keeps && stats(f).buffered != x->memory && raw_now_ms() < deadline)
            sleep_ms(5);
        if (!x->keeps)
            assert_int_equal(stats(f).buffered, x->memory);
        stop_now(f);
    }
    if (p->started)
        leave(p);
    sio_free_servers(x);
    sio_server_free(p->io[1]);
    result = engine_teardown(&e);
    free(x);
    free(p);
    return result;
}

/* --- what is published ------------------------------------------------------------------------ */

/* Copy a JSON text with the values of "uid" and "requestId" as asterisks. */
static void hide_ids(char *text, char id[64])
{
    static const char *const before[] = {"\"requestId\":\"", "\"uid\":\"", "[\""};

    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        size_t len = strlen(before[i]);
        char *at = i < 2                                ? strstr(text, before[i])
                   : strncmp(text, before[i], len) == 0 ? text
                                                        : NULL;
        char *end = at == NULL ? NULL : strchr(at + len, '"');

        if (end == NULL)
            continue;
        if (i == 0)
            snprintf(id, 64, "%.*s", (int)(end - at - (ptrdiff_t)len), at + len);
        at[len] = '*';
        memmove(at + len + 1, end, strlen(end) + 1);
    }
}

/* The own id of a server is hidden in the channel, too: 6 or 16 characters between the last two
 * '#', as no room in the tests has. */
static void hide_channel(char *channel)
{
    char *end = strrchr(channel, '#');
    char *start;

    if (end == NULL || end[1] != '\0')
        return;
    *end = '\0';
    start = strrchr(channel, '#');
    *end = '#';
    if (start != NULL && (end - start == 7 || end - start == 17))
        strcpy(start + 1, "*#");
}

static void overhear(void *arg, struct ws_str channel, struct ws_str data)
{
    struct pair *p = arg;
    struct json_writer w = {0};
    struct ws_str attachments[16];
    size_t count = 16;
    char text[4096];
    char name[256];
    size_t at;

    if (data.len != 0 && data.data[0] == '{')
        json_write_text(&w, data.data, data.len);
    else if (msgpack_to_json(&w, data, attachments, &count) != 0)
        json_write_text(&w, "?", 1);
    snprintf(text, sizeof text, "%.*s", (int)w.len, w.data);
    snprintf(name, sizeof name, "%.*s", (int)channel.len, channel.data);
    json_writer_release(&w);
    hide_channel(name);
    lock(p->x->f);
    hide_ids(text, p->id);
    at = strlen(p->seen);
    snprintf(p->seen + at, sizeof p->seen - at, "%s %s\n", name, text);
    unlock(p->x->f);
}

/* --- starting --------------------------------------------------------------------------------- */

static void overhear_all(struct pair *p, bool sharded)
{
    static const char *const shards[] = {"socket.io#/#", "socket.io#/#r#", "socket.io#/#me#"};

    p->third = loop_bus_new(&p->net, p->x->f->server);
    assert_non_null(p->third);
    if (!sharded)
        assert_non_null(bus_subscribe(p->third, BUS_PATTERN, ws_str("*"), overhear, p));
    for (size_t i = p->counted ? 0 : 1; sharded && i < 3; i++)
        assert_non_null(bus_subscribe(p->third, BUS_SHARD, ws_str(shards[i]), overhear, p));
}

void pair_create(struct pair *p, struct sio_cluster_options options, struct sio_handlers handlers)
{
    struct sio_fixture *x = p->x;
    const struct sio_options second = {.path = "/second/", .user = x};

    sio_create(x, p->first, handlers);
    if (handlers.on_connect == NULL)
        handlers.on_connect = sio_count_connect;
    if (handlers.on_event == NULL)
        handlers.on_event = sio_obey;
    p->io[0] = x->io;
    p->io[1] = sio_server_new(x->f->server, &second);
    assert_non_null(p->io[1]);
    assert_non_null(sio_namespace_new(p->io[1], "/", &handlers));
    p->started = true;
    for (int i = 0; i < 2; i++) {
        p->bus[i] = loop_bus_new(&p->net, x->f->server);
        p->cluster[i] = sio_cluster_new(p->io[i], p->bus[i], &options);
        assert_non_null(p->cluster[i]);
    }
    overhear_all(p, options.sharded);
    for (int i = 0; i < 4; i++) /* subscriptions take turns */
        ws_server_step(x->f->server, 2);
    x->memory = ws_server_stats(x->f->server).buffered;
}

void pair_start(struct pair *p, struct sio_cluster_options options, struct sio_handlers handlers)
{
    pair_create(p, options, handlers);
    run(p->x->f);
}

struct raw_client *pair_client(struct pair *p, int server, char id[EIO_ID_SIZE])
{
    struct raw_client *c;
    struct raw_frame frame;

    if (server == 0)
        return sio_client(p->x, id);
    c = client(p->x->f, "second");
    raw_upgrade(c, "/second/?EIO=4&transport=websocket&name=a%20b");
    raw_read_frame(c, &frame);
    sio_enter(c, "/", "{\"token\":7}", id);
    return c;
}

struct sio_namespace *pair_main(struct pair *p, int server)
{
    return sio_namespace_find(p->io[server], "/");
}

/* --- acting ----------------------------------------------------------------------------------- */

struct pair_call {
    struct pair *p;
    void (*fn)(struct pair *p);
    const char *channel;
    const char *message;
};

static void run_pair_call(struct fixture *f, void *arg)
{
    struct pair_call *call = arg;

    (void)f;
    call->fn(call->p);
}

void on_pair(struct pair *p, void (*fn)(struct pair *p))
{
    struct pair_call call = {.p = p, .fn = fn};

    on_loop(p->x->f, run_pair_call, &call);
}

static void do_nothing(struct pair *p)
{
    (void)p;
}

void settle_bus(struct pair *p)
{
    for (int i = 0; i < 4; i++) {
        sleep_ms(1);
        on_pair(p, do_nothing);
    }
}

static void publish(struct fixture *f, void *arg)
{
    struct pair_call *call = arg;
    struct pair *p = call->p;
    size_t len = strlen(call->message);
    bool text = call->message[0] == '{';
    char *bytes = malloc(len + 1);
    unsigned byte;

    (void)f;
    if (text)
        memcpy(bytes, call->message, len);
    for (size_t i = 0; !text && i < len / 2; i++) {
        sscanf(call->message + 2 * i, "%2x", &byte);
        bytes[i] = (char)byte;
    }
    bus_publish(p->third,
                bus_find(p->third, BUS_PATTERN, ws_str("*"), overhear, p) != NULL ? BUS_CHANNEL
                                                                                  : BUS_SHARD,
                ws_str(call->channel), (struct ws_str){bytes, text ? len : len / 2});
    free(bytes);
}

void third_publishes(struct pair *p, const char *channel, const char *message)
{
    struct pair_call call = {.p = p, .channel = channel, .message = message};

    on_loop(p->x->f, publish, &call);
    settle_bus(p);
    lock(p->x->f);
    p->seen[0] = '\0';
    unlock(p->x->f);
}

static void hear_nothing(void *arg, struct ws_str channel, struct ws_str data)
{
    (void)arg;
    (void)channel;
    (void)data;
}

static void count_in(struct pair *p)
{
    size_t before = ws_server_stats(p->x->f->server).buffered;

    bus_subscribe(p->third, BUS_CHANNEL, ws_str("socket.io-request#/#"), hear_nothing, p);
    p->x->memory += ws_server_stats(p->x->f->server).buffered - before;
}

void third_counts(struct pair *p)
{
    on_pair(p, count_in);
    settle_bus(p);
}

static bool take(struct pair *p, char *from, const char *text)
{
    bool found;

    lock(p->x->f);
    found = strstr(from, text) != NULL;
    if (found)
        from[0] = '\0';
    unlock(p->x->f);
    return found;
}

static void expect_text(struct pair *p, char *from, const char *text)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    while (!take(p, from, text)) {
        if (raw_now_ms() > deadline)
            fail_msg("not '%s' but '%s'", text, from);
        sleep_ms(2);
    }
}

void expect_told(struct pair *p, const char *text)
{
    expect_text(p, p->told, text);
}

void expect_seen(struct pair *p, const char *text)
{
    expect_text(p, p->seen, text);
}

void expect_nothing_seen(struct pair *p)
{
    settle_bus(p);
    lock(p->x->f);
    assert_string_equal(p->seen, "");
    unlock(p->x->f);
}

void tell(struct pair *p, const char *format, ...)
{
    size_t at;
    va_list args;

    lock(p->x->f);
    at = strlen(p->told);
    va_start(args, format);
    vsnprintf(p->told + at, sizeof p->told - at, format, args);
    va_end(args);
    unlock(p->x->f);
}
