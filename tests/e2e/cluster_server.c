/* SPDX-License-Identifier: MIT
 *
 * A server of a cluster for tests with Node's: cluster_server NAME REDIS_URL MODE WORKERS, where
 * MODE is "classic", "private", "sharded", or "msgpack" for clients with that parser. With more
 * than one worker they are processes that share the port, as those of the program. It does what its
 * clients ask for by events, as cluster_node.js does, which has the same:
 *
 *   ["join", room]  ["leave", room]
 *   ["do", what, rooms, except, ...arguments]     what is one of those in `actions`
 *
 * Each is acknowledged when it is done; "do" with [error, [what came...]]. */
#define _GNU_SOURCE 1
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../cluster/bus_hub.h"
#include "../../cluster/bus_local.h"
#include "../../cluster/bus_redis.h"
#include "../../socketio/sio_cluster.h"

enum { NAMES_MAX = 16, NAME_SIZE = 128, TIMEOUT_MS = 4000, SHORT_MS = 1000 };

/* The rooms of a target, from JSON. */
struct names {
    char text[NAMES_MAX][NAME_SIZE];
    const char *list[NAMES_MAX + 1];
};

static const char *const *read_names(struct names *names, struct ws_str array)
{
    struct ws_str list = json_inside(array);
    struct ws_str value;
    size_t count = 0;

    while (count < NAMES_MAX && json_next(&list, &value)) {
        json_string(value, names->text[count], NAME_SIZE);
        names->list[count] = names->text[count];
        count++;
    }
    names->list[count] = NULL;
    return count == 0 ? NULL : names->list;
}

/* --- what is waited for ----------------------------------------------------------------------- */

/* The answers to one "do". */
struct waiting {
    struct sio_ack ack;
    struct json_writer list;
};

static struct waiting *waiting_new(const struct sio_event *e)
{
    struct waiting *w = calloc(1, sizeof *w);

    if (w == NULL)
        abort();
    w->ack = *e->ack;
    return w;
}

/* [error, [...]] */
static void finish(struct waiting *w, int error)
{
    struct json_writer all = {0};

    json_write_integer(&all, error);
    json_begin_array(&all);
    json_write_raw(&all, json_written(&w->list));
    json_end_array(&all);
    sio_answer(&w->ack, sio_args_written(&all));
    json_writer_release(&all);
    json_writer_release(&w->list);
    free(w);
}

/* The first argument; of a binary one its bytes as an array. */
static void add_argument(struct json_writer *w, const struct sio_args *args)
{
    struct ws_str value = sio_arg(args, 0);
    struct ws_str bytes = sio_binary(args, value);

    if (value.data == NULL) {
        json_write_null(w);
    } else if (bytes.data == NULL) {
        json_write_raw(w, value);
    } else {
        json_begin_array(w);
        for (size_t i = 0; i < bytes.len; i++)
            json_write_integer(w, (unsigned char)bytes.data[i]);
        json_end_array(w);
    }
}

static void replied(void *arg, const struct sio_reply *reply)
{
    struct waiting *w = arg;

    if (reply->socket != NULL || reply->is_remote)
        add_argument(&w->list, &reply->args);
    else
        finish(w, reply->error);
}

static void fetched(void *arg, const struct sio_remote *s, int error)
{
    struct waiting *w = arg;

    if (s == NULL) {
        finish(w, error);
        return;
    }
    json_begin_object(&w->list);
    json_write_name(&w->list, "id");
    json_write_string(&w->list, s->id, strlen(s->id));
    json_write_name(&w->list, "rooms");
    json_begin_array(&w->list);
    json_write_raw(&w->list, s->rooms);
    json_end_array(&w->list);
    json_write_name(&w->list, "data");
    json_write_raw(&w->list, s->data);
    json_write_name(&w->list, "handshake");
    json_write_raw(&w->list, s->handshake);
    json_end_object(&w->list);
}

static void room_told(void *arg, struct ws_str room, int error)
{
    struct waiting *w = arg;

    if (room.data == NULL)
        finish(w, error);
    else
        json_write_string(&w->list, room.data, room.len);
}

/* --- actions ---------------------------------------------------------------------------------- */

struct action {
    struct sio_socket *socket;
    const struct sio_event *event;
    struct sio_target target;
    struct sio_args args; /* behind `except` */
    char room[NAME_SIZE]; /* the first of them, if it is a string */
};

static void do_emit(struct action *a)
{
    sio_publish(&a->target, "event", a->args);
}

static void do_broadcast(struct action *a)
{
    a->target.sender = a->socket;
    sio_publish(&a->target, "event", a->args);
}

static void do_volatile(struct action *a)
{
    a->target.is_volatile = true;
    sio_publish(&a->target, "event", a->args);
}

static void do_local(struct action *a)
{
    a->target.is_local = true;
    sio_publish(&a->target, "event", a->args);
}

static void do_join_all(struct action *a)
{
    sio_join_all(&a->target, a->room);
}

static void do_leave_all(struct action *a)
{
    sio_leave_all(&a->target, a->room);
}

static void do_disconnect_all(struct action *a)
{
    bool close = false;

    json_bool(sio_arg(&a->args, 0), &close);
    sio_disconnect_all(&a->target, close);
}

static void do_server_emit(struct action *a)
{
    sio_server_emit(a->target.nsp, "note", a->args);
}

static void do_ask(struct action *a)
{
    sio_request_all(&a->target, "question", a->args, TIMEOUT_MS, replied, waiting_new(a->event));
}

static void do_ask_briefly(struct action *a)
{
    sio_request_all(&a->target, "question", a->args, SHORT_MS, replied, waiting_new(a->event));
}

static void do_fetch(struct action *a)
{
    sio_fetch(&a->target, TIMEOUT_MS, fetched, waiting_new(a->event));
}

static void do_rooms(struct action *a)
{
    sio_rooms(&a->target, TIMEOUT_MS, room_told, waiting_new(a->event));
}

static void do_server_ask(struct action *a)
{
    sio_server_request(a->target.nsp, "ask", a->args, TIMEOUT_MS, replied, waiting_new(a->event));
}

/* Which process is it? */
static void do_tell_pid(struct action *a)
{
    struct waiting *w = waiting_new(a->event);

    json_write_integer(&w->list, getpid());
    finish(w, 0);
}

static const struct {
    const char *name;
    void (*run)(struct action *a);
    bool waits; /* it is acknowledged later */
} actions[] = {
    {"emit", do_emit, false},
    {"broadcast", do_broadcast, false},
    {"volatile", do_volatile, false},
    {"local", do_local, false},
    {"join all", do_join_all, false},
    {"leave all", do_leave_all, false},
    {"disconnect all", do_disconnect_all, false},
    {"server emit", do_server_emit, false},
    {"ask", do_ask, true},
    {"ask briefly", do_ask_briefly, true},
    {"fetch", do_fetch, true},
    {"rooms", do_rooms, true},
    {"server ask", do_server_ask, true},
    {"pid", do_tell_pid, true},
};

static void act(struct sio_socket *s, const struct sio_event *e)
{
    struct action a = {.socket = s, .event = e, .args = e->args};
    struct names to;
    struct names except;
    struct ws_str value;
    struct ws_str what = sio_arg(&e->args, 0);

    a.target.nsp = sio_socket_namespace(s);
    a.target.to = read_names(&to, sio_arg(&e->args, 1));
    a.target.except = read_names(&except, sio_arg(&e->args, 2));
    for (int i = 0; i < 3; i++)
        json_next(&a.args.list, &value);
    json_string(sio_arg(&a.args, 0), a.room, sizeof a.room);
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (!json_string_is(what, actions[i].name))
            continue;
        actions[i].run(&a);
        if (!actions[i].waits)
            sio_answer(e->ack, sio_args("0,[]"));
    }
}

static void on_event(struct sio_socket *s, const struct sio_event *e)
{
    char room[NAME_SIZE] = "";

    json_string(sio_arg(&e->args, 0), room, sizeof room);
    if (sio_event_is(e, "join"))
        sio_join(s, room);
    else if (sio_event_is(e, "leave"))
        sio_leave(s, room);
    else if (sio_event_is(e, "do")) {
        act(s, e);
        return;
    }
    sio_answer(e->ack, sio_args("0,[]"));
}

/* --- the server ------------------------------------------------------------------------------- */

/* A note goes to this server's clients; a question is answered with the number of the process. */
static void on_server_event(struct sio_namespace *n, const struct sio_server_event *e)
{
    struct json_writer w = {0};

    if (json_string_is(e->name, "note"))
        sio_publish(&(struct sio_target){.nsp = n, .is_local = true}, "noted", e->args);
    if (!json_string_is(e->name, "ask"))
        return;
    json_begin_object(&w);
    json_write_name(&w, "pid");
    json_write_integer(&w, getpid());
    json_write_name(&w, "got");
    add_argument(&w, &e->args);
    json_end_object(&w);
    sio_server_answer(e->ack, sio_args_written(&w));
    json_writer_release(&w);
}

static void write_data(struct sio_socket *s, struct json_writer *w)
{
    const char *name = sio_user(sio_namespace_server(sio_socket_namespace(s)));

    json_begin_object(w);
    json_write_name(w, "server");
    json_write_string(w, name, strlen(name));
    json_end_object(w);
}

static bool is_dynamic(void *user, struct ws_str name, struct ws_str auth)
{
    (void)user;
    (void)auth;
    return name.len > 4 && memcmp(name.data, "/dyn", 4) == 0;
}

static void bus_changed(void *arg, bool up)
{
    (void)arg;
    printf("bus %s\n", up ? "up" : "down");
    fflush(stdout);
}

static void on_signal(int number)
{
    (void)number;
    _Exit(0);
}

/* One process that serves: alone, or a worker, to which `sockets` and `fd` belong. */
struct process {
    char *name;
    const char *urls[2];
    const char *mode;
    const int *sockets; /* NULL: it opens one of its own */
    int fd;             /* to the parent */
    uint16_t number;
};

static int hand_over(void *arg, struct ws_conn *c, unsigned node)
{
    return bus_local_hand_over(arg, node, c);
}

static void parent_over(void *arg)
{
    (void)arg;
    _Exit(0);
}

/* What workers have with each other besides Redis: requests that are handed over. */
static bool join_workers(const struct process *p, struct ws_server *ws, struct eio_options *engine)
{
    const struct bus_local_events events = {.over = parent_over};

    if (p->sockets == NULL)
        return true;
    engine->hand_over_arg = bus_local_new(ws, p->fd, NULL, &events);
    engine->hand_over = hand_over;
    engine->node = p->number;
    return engine->hand_over_arg != NULL;
}

static struct sio_server *start(const struct process *p, struct ws_server *ws)
{
    static const char *const any[] = {"*", NULL};
    struct sio_options options = {.engine = {.origins = any}, .user = p->name};
    const struct sio_handlers handlers = {
        .on_event = on_event, .on_server_event = on_server_event, .write_data = write_data};
    struct sio_server *io = NULL;

    if (strcmp(p->mode, "msgpack") == 0)
        options.parser = SIO_PARSER_MSGPACK;
    if (join_workers(p, ws, &options.engine))
        io = sio_server_new(ws, &options);
    if (io == NULL || sio_namespace_new(io, "/", &handlers) == NULL ||
        sio_namespace_new(io, "/chat", &handlers) == NULL ||
        sio_namespace_rule(io, is_dynamic, &handlers) != 0)
        return NULL;
    return io;
}

static int serve(const struct process *p)
{
    const struct sio_cluster_options cluster = {.sharded = strcmp(p->mode, "sharded") == 0,
                                                .private_answers = strcmp(p->mode, "private") == 0};
    struct ws_server *ws = ws_server_new(&(struct ws_options){.sockets = p->sockets});
    struct sio_server *io = ws == NULL ? NULL : start(p, ws);
    struct bus *bus =
        io == NULL ? NULL : bus_redis_new(ws, &(struct bus_redis_options){.urls = p->urls});

    if (bus == NULL || sio_cluster_new(io, bus, &cluster) == NULL ||
        bus_listen(bus, bus_changed, NULL) == NULL)
        return 1;
    if (p->sockets == NULL)
        printf("listening on http://127.0.0.1:%u\n", ws_server_port(ws));
    fflush(stdout);
    return ws_server_run(ws) != 0;
}

static void worker_over(void *arg, uint32_t worker)
{
    (void)arg;
    (void)worker;
}

/* Fork a worker; `ends` are those of the parent, with that of this worker at the end. */
static void fork_worker(struct process p, int ends[], int listener)
{
    const int sockets[] = {listener, -1};
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        abort();
    if (fork() == 0) {
        for (int i = 0; i < p.number; i++)
            close(ends[i]);
        close(pair[0]);
        p.sockets = sockets;
        p.fd = pair[1];
        exit(serve(&p));
    }
    close(pair[1]);
    ends[p.number] = pair[0];
}

enum { WORKERS_MAX = 8 };

static int run_parent(struct process p, int workers)
{
    const struct bus_hub_events events = {.over = worker_over};
    struct ws_server *ws = ws_server_new(&(struct ws_options){.no_accept = true});
    struct bus_hub *hub = NULL;
    int ends[WORKERS_MAX];

    if (ws == NULL || workers > WORKERS_MAX)
        return 1;
    for (p.number = 0; p.number < workers; p.number++)
        fork_worker(p, ends, ws_server_socket(ws, 0));
    hub = bus_hub_new(ws, NULL, &events);
    for (uint32_t i = 0; hub != NULL && i < (uint32_t)workers; i++)
        bus_hub_add(hub, i, ends[i]);
    printf("listening on http://127.0.0.1:%u\n", ws_server_port(ws));
    fflush(stdout);
    return ws_server_run(ws) != 0;
}

int main(int argc, char **argv)
{
    struct process p = {.fd = -1};
    int workers;

    if (argc != 5)
        return 2;
    p.name = argv[1];
    p.urls[0] = argv[2];
    p.mode = argv[3];
    workers = atoi(argv[4]);
    signal(SIGTERM, on_signal);
    return workers > 1 ? run_parent(p, workers) : serve(&p);
}
