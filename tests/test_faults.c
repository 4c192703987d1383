/* SPDX-License-Identifier: MIT
 *
 * A server to which things happen that no client can bring about: an allocation fails, a system
 * call fails or does half its work. One script of everything that a server does is played over and
 * over, each time with another call failing. Whatever fails, at most the connection that it failed
 * for may suffer.
 *
 * Server and clients share one thread, so that the same call fails in the same place. */
#include "server_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../server.h"
#include "faults.h"
#include "oom.h"

enum { PEERS = 8, RUNS_MAX = 2000, BIG = 200 * KIB, NOTE_SIZE = 128 };

struct script {
    struct fixture *f;
    struct raw_client bystander; /* open all the time, and idle meanwhile */
    int fds[PEERS];
    int ends[2]; /* of a pipe that the server watches */
    long n;      /* the call that fails */
};

static void disarm(void)
{
    oom_after(-1);
    faults_none();
}

/* Write what the socket takes; a connection that has been ended may refuse. */
static void say(struct script *p, size_t peer)
{
    struct raw_bytes *out = &p->f->out;
    size_t done = 0;

    for (int i = 0; i < 100 && done < out->len; i++) {
        ssize_t n = write(p->fds[peer], out->data + done, out->len - done);

        if (n < 0 && errno != EAGAIN)
            break;
        done += n > 0 ? (size_t)n : 0;
        let_serve(p->f);
        discard(p->fds[peer]);
    }
    out->len = 0;
}

/* --- the script ------------------------------------------------------------------------------- */

/* "j" joins, "l" leaves, "s" sends to the room, "f" prepares and sends, "c" closes. */
static void take_order(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    struct fixture *f = of(c);
    char order = len > 0 ? *(const char *)data : 'j';
    struct ws_prepared *m;

    switch (order) {
    case 'j':
        ws_join(c, ws_str("room"));
        ws_join(c, ws_str("another room"));
        break;
    case 'l':
        ws_leave(c, ws_str("another room"));
        break;
    case 's':
        ws_publish(f->server, ws_str("room"), NULL, op, data, len);
        break;
    case 'f':
        m = ws_prepare(f->server, op, data, len);
        if (m != NULL)
            ws_send_prepared(c, m);
        ws_release_prepared(m);
        break;
    default:
        ws_close(c, 4000, "as told");
        break;
    }
}

/* What is kept from a head until its request ends, in whatever way: the sanitizer tells when it is
 * lost, or freed twice. */
static void keep_head(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    ws_set_data(c, malloc(1));
}

static void drop_head(struct ws_conn *c)
{
    free(ws_data(c));
    ws_set_data(c, NULL);
}

static void take_body(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str body = ws_request_body(req);

    drop_head(c);
    ws_respond(c, 200, NULL, 0, body.data, body.len);
}

static void refuse_body(struct ws_conn *c, const struct ws_request *req, int status)
{
    if (ws_request_query(req).len != 0)
        return; /* on_abort follows */
    drop_head(c);
    ws_respond(c, status, NULL, 0, "no", 2);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void drain_pipe(void *arg, uint32_t ready)
{
    char byte;

    if ((ready & EPOLLIN) != 0 && read(((struct script *)arg)->ends[0], &byte, 1) < 0)
        abort();
}

static void script_echo(struct script *p, const uint8_t *payload)
{
    struct raw_bytes *out = &p->f->out;

    raw_bytes_upgrade(out, "/echo", "");
    raw_bytes_frame(out, RAW_TEXT, "hello", 5);
    raw_bytes_frame(out, RAW_PING, "ping", 4);
    raw_bytes_frame(out, RAW_TEXT_PART, "fra", 3);
    raw_bytes_add(out, "\x80", 1); /* the beginning of a header waits */
    say(p, 0);
    raw_bytes_add(out, "\x84" MASK "gmen", 9);
    say(p, 0);
    raw_bytes_header(out, RAW_BINARY, BIG);
    raw_bytes_payload(out, payload, BIG, 0);
    say(p, 0);
    raw_bytes_header(out, RAW_BINARY, 10 * MIB); /* and something that never ends */
    raw_bytes_payload(out, payload, 5 * KIB, 0);
    say(p, 0);
}

static void script_http(struct script *p)
{
    struct raw_bytes *out = &p->f->out;

    raw_bytes_text(out, "GET /la");
    say(p, 1);
    raw_bytes_text(out, "te?0 HTTP/1.1\r\n" HOST "\r\n"
                        "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n4\r\nWi");
    say(p, 1);
    raw_bytes_text(out, "ki\r\n0\r\n\r\nHEAD /http HTTP/1.1\r\n" HOST "\r\n"
                        "POST /http HTTP/1.1\r\n" HOST
                        "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    say(p, 1);
    raw_bytes_text(out, "bodGET /late?100000 HTTP/1.1\r\n" HOST "\r\nGET /http HTTP/1.1\r\n");
    say(p, 1);
    raw_bytes_text(out, GET HOST "\r\n");
    say(p, 2);
}

static void script_bodies(struct script *p, const uint8_t *payload)
{
    struct raw_bytes *out = &p->f->out;

    raw_bytes_text(out, "POST /door HTTP/1.1\r\n" HOST "Content-Length: 40000\r\n\r\n");
    say(p, 6);
    raw_bytes_add(out, payload, 40000);
    raw_bytes_text(out, "POST /door HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nbody");
    say(p, 6); /* and leaves it there */
    raw_bytes_text(out, "POST /door?x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    say(p, 7);
    raw_bytes_text(out, "4\r\nbodyx");
    say(p, 7);
}

static void script_rooms(struct script *p, const uint8_t *payload)
{
    static const char orders[] = "jsflsc";
    struct raw_bytes *out = &p->f->out;

    for (size_t peer = 3; peer < 5; peer++) {
        raw_bytes_upgrade(out, "/orders", "");
        raw_bytes_frame(out, RAW_TEXT, "j", 1);
        say(p, peer);
    }
    for (size_t i = 0; i < sizeof orders - 1; i++) {
        raw_bytes_frame(out, RAW_TEXT, orders + i, 1);
        say(p, 3);
    }
    raw_bytes_header(out, RAW_BINARY, 20 * KIB);
    raw_bytes_payload(out, "s", 1, 0);
    raw_bytes_payload(out, payload + 1, 20 * KIB - 1, 1);
    say(p, 4);
    raw_bytes_upgrade(out, "/echo", "");
    raw_bytes_frame(out, RAW_CLOSE, "\x03\xe8", 2);
    say(p, 5);
}

static void script_loop(struct script *p)
{
    ws_watch(p->f->server, p->ends[0], EPOLLIN, drain_pipe, p);
    assert_int_equal(write(p->ends[1], "x", 1), 1);
    ws_post(p->f->server, nothing, NULL);
    ws_timer_start(p->f->server, 0, nothing, NULL);
    let_serve(p->f);
    ws_watch(p->f->server, p->ends[0], 0, NULL, NULL);
    let_serve(p->f);
}

/* --- before and after ------------------------------------------------------------------------- */

static void script_begin(struct script *p, const uint8_t *payload)
{
    struct fixture *f = p->f;
    struct raw_response r;

    memset(&f->seen, 0, sizeof f->seen);
    create(f, (struct ws_options){.handshake_timeout_ms = 10 * PATIENCE_MS});
    serve(f, "/late", (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    serve(f, "/orders", (struct ws_handlers){.on_message = take_order});
    serve(f, "/door",
          (struct ws_handlers){.on_head = keep_head,
                               .on_request = take_body,
                               .on_refuse = refuse_body,
                               .on_abort = drop_head});
    assert_int_equal(pipe2(p->ends, O_CLOEXEC | O_NONBLOCK), 0);
    raw_connect(&p->bystander, f->port);
    p->bystander.label = "the bystander";
    f->out.len = 0;
    for (int i = 0; i < 2; i++) /* so that it grows no more when memory is out */
        raw_bytes_add(&f->out, payload, BIG);
    f->out.len = 0;
    raw_bytes_upgrade(&f->out, "/echo", "");
    assert_int_equal(write(p->bystander.fd, f->out.data, f->out.len), f->out.len);
    f->out.len = 0;
    poll_until_readable(f, &p->bystander);
    raw_expect_upgraded(&p->bystander, &r);
    for (size_t i = 0; i < PEERS; i++)
        p->fds[i] = dial(f->port);
}

static void expect_bystander_served(struct script *p)
{
    raw_bytes_frame(&p->f->out, RAW_TEXT, "and me?", 7);
    assert_int_equal(write(p->bystander.fd, p->f->out.data, p->f->out.len), p->f->out.len);
    p->f->out.len = 0;
    poll_until_readable(p->f, &p->bystander);
    raw_expect_message(&p->bystander, "and me?");
}

static void script_end(struct script *p)
{
    struct fixture *f = p->f;
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    for (size_t i = 0; i < PEERS; i++)
        close(p->fds[i]);
    while (ws_server_stats(f->server).connections > 1 && raw_now_ms() < deadline)
        ws_server_step(f->server, 10);
    if (ws_server_stats(f->server).connections != 1)
        fail_msg("fault %ld: %zu connections are left", p->n,
                 ws_server_stats(f->server).connections);
    assert_int_equal(f->seen.opened, f->seen.closed + 1);
    assert_in_range(ws_server_stats(f->server).buffered, 0, 4 * KIB); /* buckets of the rooms */
    raw_close(&p->bystander);
    close(p->ends[0]);
    close(p->ends[1]);
    ws_server_free(f->server);
    f->server = NULL;
}

/* Play the script with call number `n` failing as arm(n) has it. Returns whether an allocation
 * did. */
static bool run_script(struct fixture *f, void (*arm)(long n), long n)
{
    struct script p = {.f = f, .n = n};
    uint8_t *payload = make_payload(BIG, false);
    bool came;

    script_begin(&p, payload);
    arm(n);
    script_loop(&p);
    script_http(&p);
    script_bodies(&p, payload);
    script_rooms(&p, payload);
    script_echo(&p, payload);
    came = oom_came();
    disarm();
    expect_bystander_served(&p);
    script_end(&p);
    free(payload);
    return came;
}

/* --- memory ----------------------------------------------------------------------------------- */

static void any_single_allocation_may_fail(void **state)
{
    long n = 0;

    while (run_script(*state, oom_once, n) && n < RUNS_MAX)
        n++;
    assert_in_range(n, 20, RUNS_MAX - 1);
}

static void memory_may_run_out_at_any_time(void **state)
{
    long n = 0;

    while (run_script(*state, oom_after, n) && n < RUNS_MAX)
        n++;
    assert_in_range(n, 20, RUNS_MAX - 1);
}

static void server_that_cannot_be_made_leaves_nothing(void **state)
{
    struct ws_server *s = NULL;
    int descriptors = count_descriptors();

    (void)state;
    for (long n = 0; s == NULL && n < 100; n++) {
        oom_once(n);
        errno = 0;
        s = ws_server_new(&(struct ws_options){0});
        if (s == NULL)
            assert_int_equal(errno, ENOMEM);
        oom_after(-1);
        if (s == NULL)
            assert_int_equal(count_descriptors(), descriptors);
    }
    assert_non_null(s);
    ws_server_free(s);
    assert_int_equal(count_descriptors(), descriptors);
}

/* --- system calls ----------------------------------------------------------------------------- */

static void send_fails(long n)
{
    faults_send_error(n, ENOBUFS);
}

static void send_is_interrupted(long n)
{
    faults_send_error(n, EINTR);
}

static void epoll_ctl_fails(long n)
{
    faults_epoll_ctl_error(n, ENOMEM);
}

static void recv_fails(long n)
{
    faults_recv_error(n, ETIMEDOUT);
}

static void accept_fails(long n)
{
    faults_accept_error(n, EPROTO);
}

static void any_system_call_may_fail(void **state)
{
    for (long n = 0; n < 60; n++) {
        run_script(*state, send_fails, n);
        run_script(*state, send_is_interrupted, n);
        run_script(*state, epoll_ctl_fails, n);
        run_script(*state, recv_fails, n);
        run_script(*state, accept_fails, n);
    }
}

/* A server on a Unix socket, where what was written is there to be read at once; with TCP it may
 * take the kernel a moment. */
static void create_unix(struct fixture *f, struct ws_options options)
{
    static char path[64];
    static const char *const addresses[] = {path, NULL};

    snprintf(path, sizeof path, "unix:/tmp/minnow-test-%d.sock", (int)getpid());
    options.bind = addresses;
    create(f, options);
}

/* From now on any call that opens or removes a file ends the process, but for removing a file of a
 * directory that is open: that is how a server that stops removes its Unix socket. */
static void forbid_files(long n)
{
    static const unsigned calls[] = {
#ifdef SYS_open
        SYS_open,   SYS_creat,  SYS_unlink, SYS_stat, SYS_lstat,
#endif
        SYS_openat, SYS_openat2};
    struct sock_filter code[2 * COUNT(calls) + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    struct sock_fprog filter = {.len = COUNT(code), .filter = code};

    (void)n;
    for (size_t i = 0; i < COUNT(calls); i++) {
        code[1 + 2 * i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
        code[2 + 2 * i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    code[COUNT(code) - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

/* So it can be confined once it has started. */
static void running_server_opens_no_file_and_stops_without(void **state)
{
    struct fixture *f = *state;
    struct ws_server *s;
    char path[64];
    int status;
    pid_t pid;

    create_unix(f, (struct ws_options){0});
    s = f->server;
    f->server = NULL;
    snprintf(path, sizeof path, "/tmp/minnow-test-%d.sock", (int)getpid());
    assert_int_equal(access(path, F_OK), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        run_script(f, forbid_files, 0);
        ws_server_free(s);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(access(path, F_OK), -1);
    ws_server_free(s);
}

/* A server with one upgraded client in p->bystander. */
static void open_limited(struct script *p, struct ws_options options, const char *path,
                         struct ws_handlers h)
{
    struct raw_response r;

    create(p->f, options);
    serve(p->f, path, h);
    raw_connect(&p->bystander, p->f->port);
    raw_bytes_upgrade(&p->f->out, path, "");
    assert_int_equal(write(p->bystander.fd, p->f->out.data, p->f->out.len), p->f->out.len);
    p->f->out.len = 0;
    poll_until_readable(p->f, &p->bystander);
    raw_expect_upgraded(&p->bystander, &r);
}

static void open_alone(struct script *p, const char *path, struct ws_handlers h)
{
    open_limited(p, (struct ws_options){0}, path, h);
}

static void write_out(struct script *p)
{
    assert_int_equal(write(p->bystander.fd, p->f->out.data, p->f->out.len), p->f->out.len);
    p->f->out.len = 0;
    let_serve(p->f);
}

static void send_until_told(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    static const char block[16 * KIB]; /* large enough to be sent at once */
    int result;
    int sent = 0;

    (void)data;
    (void)len;
    do
        result = ws_send(c, op, block, sizeof block);
    while (result == WS_SENT && ++sent < 100000);
    note_result(of(c), 0, result);
    note_result(of(c), 1, ws_close(c, 1000, ""));
}

/* Who sends for as long as it goes well must be told that it does not. */
static void sender_is_told_that_the_connection_is_broken(void **state)
{
    struct fixture *f = *state;
    struct script p = {.f = f};

    open_alone(&p, "/until", (struct ws_handlers){.on_message = send_until_told});
    faults_send_error(0, EPIPE);
    raw_bytes_frame(&f->out, RAW_BINARY, "go", 2);
    write_out(&p);
    faults_none();
    let_serve(f);
    assert_int_equal(f->seen.result[0], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[1], WS_ERR_CLOSED);
    raw_expect_eof(&p.bystander);
    raw_close(&p.bystander);
    let_serve(f);
    assert_int_equal(f->seen.closed, 1);
    assert_int_equal(f->seen.close_code, WS_CLOSE_ABNORMAL);
}

/* As many bytes as fill it, or more where it is full. */
static size_t up_to_the_end(const struct buf *b)
{
    return b->cap > b->len ? b->cap - b->len : KIB;
}

/* It has come in part, and its buffer is full each time more comes. */
static void message_that_finds_no_memory_for_the_rest_is_closed_with_1013(void **state)
{
    static uint8_t message[1000 * KIB];
    struct fixture *f = *state;
    struct script p = {.f = f};
    struct raw_bytes b = {0};
    size_t sent = 0;
    size_t n = KIB;

    open_limited(&p, (struct ws_options){.max_memory = 64 * KIB}, "/echo",
                 (struct ws_handlers){.on_message = echo});
    raw_bytes_frame(&b, RAW_BINARY, message, sizeof message);
    while (f->seen.closed == 0 && sent + n < b.len) {
        assert_int_equal(write(p.bystander.fd, b.data + sent, n), n);
        sent += n;
        let_serve(f);
        n = f->seen.closed == 0 ? up_to_the_end(&f->conn->input->payload) : 0;
    }
    assert_in_range(sent, 16 * KIB, 64 * KIB);
    raw_expect_close(&p.bystander, WS_CLOSE_TRY_LATER);
    raw_bytes_release(&b);
    raw_close(&p.bystander);
    let_serve(f);
}

static void send_a_lot(struct fixture *f)
{
    static const char block[200 * KIB];

    assert_int_equal(ws_send(f->conn, WS_OP_BINARY, block, sizeof block), WS_QUEUED);
}

/* Nothing would wake it when its socket has room, or is to be read again. */
static void connection_that_epoll_does_not_watch_is_lost_and_logged(void **state)
{
    struct fixture *f = *state;
    struct script p = {.f = f};

    open_alone(&p, "/echo", (struct ws_handlers){.on_message = echo});
    faults_send_max(0);
    faults_epoll_ctl_error(0, ENOSPC);
    send_a_lot(f);
    let_serve(f);
    faults_none();
    assert_int_equal(f->seen.closed, 1);
    assert_non_null(strstr(f->seen.log, strerror(ENOSPC)));
    raw_expect_eof(&p.bystander);
    raw_close(&p.bystander);
}

/* Of a message that could not be sent nothing may follow: the peer would not know that one is
 * missing. */
static void connection_ends_where_its_output_is_lost(void **state)
{
    static const size_t sizes[] = {5, 20 * KIB};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct script p = {.f = f};
        uint8_t *payload = make_payload(sizes[i], false);

        open_alone(&p, "/echo", (struct ws_handlers){.on_message = echo});
        raw_bytes_frame(&f->out, RAW_BINARY, payload, sizes[i]);
        faults_send_error(0, ENOBUFS);
        write_out(&p);
        faults_none();
        raw_bytes_frame(&f->out, RAW_TEXT, "next", 4);
        if (write(p.bystander.fd, f->out.data, f->out.len) < 0)
            assert_int_equal(errno, EPIPE);
        f->out.len = 0;
        let_serve(f);
        raw_expect_eof(&p.bystander);
        raw_close(&p.bystander);
        let_serve(f);
        assert_int_equal(f->seen.closed, (int)i + 1);
        ws_server_free(f->server);
        f->server = NULL;
        free(payload);
    }
}

/* As there are many ways to be refused, each says which it was. */
static void client_that_cannot_be_served_is_logged(void **state)
{
    struct fixture *f = *state;
    int fd;

    create(f, (struct ws_options){0});
    faults_epoll_ctl_error(0, ENOSPC);
    fd = dial(f->port);
    let_serve(f);
    assert_non_null(strstr(f->seen.log, strerror(ENOSPC)));
    close(fd);
    faults_none();
    oom_once(2); /* the host goes uncounted without memory, the connection cannot */
    fd = dial(f->port);
    let_serve(f);
    oom_after(-1);
    assert_non_null(strstr(f->seen.log, "out of memory"));
    close(fd);
    assert_int_equal(ws_server_stats(f->server).connections, 0);
}

static void respond_big(struct ws_conn *c, const struct ws_request *req)
{
    static const char body[20 * KIB];

    (void)req;
    ws_respond(c, 200, NULL, 0, body, sizeof body);
}

/* The status of a handshake behind a response that the socket does not take, while allocation
 * number `n` fails. 0: there is none. */
static int status_without_memory(struct fixture *f, long n)
{
    struct raw_client c;
    struct raw_response r = {0};

    raw_init(&c);
    raw_connect(&c, f->port);
    let_serve(f);
    raw_bytes_text(&f->out, "GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw_bytes_upgrade(&f->out, "/echo", "");
    assert_int_equal(write(c.fd, f->out.data, f->out.len), f->out.len);
    f->out.len = 0;
    faults_send_max(0);
    oom_once(n);
    let_serve(f);
    disarm();
    let_serve(f);
    if (recv(c.fd, &(char){0}, 1, MSG_PEEK) == 1) {
        raw_expect_status(&c, &r, 200);
        raw_read_response(&c, &r, false);
    }
    raw_close(&c);
    let_serve(f);
    return r.status;
}

static void handshake_that_finds_no_memory_gets_503(void **state)
{
    struct fixture *f = *state;
    int refused = 0;

    create(f, (struct ws_options){0});
    serve(f, "/big", (struct ws_handlers){.on_request = respond_big});
    for (long n = 0; n < 20; n++) {
        int status = status_without_memory(f, n);

        assert_true(status == 0 || status == 101 || status == 503);
        refused += status == 503;
    }
    assert_in_range(refused, 1, 19);
    assert_int_equal(ws_server_stats(f->server).connections, 0);
}

static void leave_unanswered(struct ws_conn *c, const struct ws_request *req)
{
    (void)c;
    (void)req;
}

static void note_address(struct ws_conn *c)
{
    char address[WS_ADDRESS_SIZE];

    ws_conn_address(c, address);
    note_text(of(c), address, strlen(address));
}

static void own_address(int fd, char out[WS_ADDRESS_SIZE])
{
    struct sockaddr_in a = {0};
    socklen_t len = sizeof a;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    snprintf(out, WS_ADDRESS_SIZE, "127.0.0.1:%u", (unsigned)ntohs(a.sin_port));
}

/* The first answer can neither be sent nor kept, and the connection ends under the second request,
 * while the next client comes. */
static void aborted_request_has_nobody_elses_address(void **state)
{
    static const char requests[] = "GET /http HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                   "GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct fixture *f = *state;
    char address[WS_ADDRESS_SIZE];
    int first, second;

    create(f, (struct ws_options){0});
    serve(f, "/late",
          (struct ws_handlers){.on_request = leave_unanswered, .on_abort = note_address});
    first = dial(f->port);
    let_serve(f);
    assert_int_equal(write(first, requests, sizeof requests - 1), sizeof requests - 1);
    second = dial(f->port);
    faults_send_max(1);
    oom_once(0);
    let_serve(f);
    assert_true(oom_came());
    disarm();
    let_serve(f);
    own_address(first, address);
    assert_string_equal(f->seen.text, address);
    assert_int_equal(ws_server_stats(f->server).connections, 1);
    close(first);
    close(second);
}

static void keep_waiting(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    of(c)->conn = c;
}

static void answer_the_other(struct ws_conn *c, const struct ws_request *req)
{
    struct fixture *f = of(c);

    (void)req;
    note_result(f, 0, ws_respond(f->conn, 200, NULL, 0, "late", 4));
    ws_respond(c, 200, NULL, 0, "done", 4);
}

static void count_abort(struct ws_conn *c)
{
    count(of(c), &of(c)->seen.aborted);
}

/* As before, but the application answers in between: it has been told by then, and has forgotten
 * the request. */
static void answered_request_is_not_aborted(void **state)
{
    static const char requests[] = "GET /http HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                   "GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const char answer[] = "GET /answer HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct fixture *f = *state;
    int first, second;

    create(f, (struct ws_options){0});
    serve(f, "/late", (struct ws_handlers){.on_request = keep_waiting, .on_abort = count_abort});
    serve(f, "/answer", (struct ws_handlers){.on_request = answer_the_other});
    first = dial(f->port);
    second = dial(f->port);
    let_serve(f);
    assert_int_equal(write(first, requests, sizeof requests - 1), sizeof requests - 1);
    assert_int_equal(write(second, answer, sizeof answer - 1), sizeof answer - 1);
    faults_send_max(1);
    oom_once(0);
    let_serve(f);
    assert_true(oom_came());
    disarm();
    assert_int_equal(f->seen.result[0], WS_ERR_CLOSED);
    assert_int_equal(f->seen.aborted, 0);
    close(first);
    close(second);
}

static void publish_without_memory(struct ws_conn *c, enum ws_opcode op, const void *data,
                                   size_t len)
{
    struct fixture *f = of(c);
    struct ws_prepared *m = ws_prepare(f->server, op, "begins a chunk for more", 23);

    ws_send(c, op, "staged", 6);
    faults_send_max(1);
    oom_after(0);
    note_result(f, 0, (int)ws_publish(f->server, ws_str("room"), NULL, op, data, len));
    disarm();
    ws_release_prepared(m);
}

/* The same in a room: who can neither get the message nor keep what was staged for it ends,
 * once. */
static void recipient_that_dies_of_a_message_stays_dead(void **state)
{
    struct fixture *f = *state;
    struct script p = {.f = f};

    open_alone(&p, "/room",
               (struct ws_handlers){.on_open = join_room, .on_message = publish_without_memory});
    raw_bytes_frame(&f->out, RAW_TEXT, "all", 3);
    write_out(&p);
    assert_int_equal(f->seen.result[0], 0);
    assert_int_equal(f->seen.closed, 1);
    assert_int_equal(ws_server_stats(f->server).connections, 0);
    raw_close(&p.bystander);
}

/* The peer waits for the answer to its next ping then. */
static void ping_that_finds_no_memory_costs_its_pong_alone(void **state)
{
    struct fixture *f = *state;

    for (long n = 0; n < 4; n++) {
        struct script p = {.f = f};
        struct raw_frame frame;

        open_alone(&p, "/echo", (struct ws_handlers){.on_message = echo});
        faults_send_max(0);
        raw_bytes_frame(&f->out, RAW_TEXT, "in front of it", 14);
        write_out(&p);
        raw_bytes_frame(&f->out, RAW_PING, "one", 3);
        oom_once(n);
        write_out(&p);
        disarm();
        raw_bytes_frame(&f->out, RAW_PING, "two", 3);
        write_out(&p);
        poll_until_readable(f, &p.bystander);
        raw_expect_message(&p.bystander, "in front of it");
        do
            raw_read_frame(&p.bystander, &frame);
        while (frame.len == 3 && memcmp(frame.payload, "one", 3) == 0);
        assert_int_equal(frame.head, RAW_PONG);
        assert_memory_equal(frame.payload, "two", 3);
        assert_int_equal(f->seen.closed, 0);
        raw_close(&p.bystander);
        let_serve(f);
        ws_server_free(f->server);
        f->server = NULL;
        memset(&f->seen, 0, sizeof f->seen);
    }
}

enum { LINE = 1000 };

/* Send numbered lines until one is refused, with 40 KiB of memory and a socket that takes 90
 * KiB. */
static void send_lines(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    struct fixture *f = of(c);
    char line[LINE];
    int sent = 0;

    (void)data;
    (void)len;
    use_up_memory(f, 1 * MIB, 40 * KIB);
    faults_send_max(90 * KIB);
    do
        memset(line, 'a' + sent % 26, sizeof line);
    while (ws_send(c, op, line, sizeof line) >= 0 && ++sent < 1000);
    faults_none();
    give_back_memory(f);
    note_result(f, 0, sent);
}

/* What is staged can neither be moved to a queue nor leave whole: what is left of it is kept. */
static void full_stage_loses_nothing_where_memory_is_short(void **state)
{
    struct fixture *f = *state;
    struct raw_client c;
    struct raw_response r;
    char line[LINE];

    create(f, (struct ws_options){.max_memory = 1 * MIB});
    serve(f, "/lines", (struct ws_handlers){.on_message = send_lines});
    raw_init(&c);
    raw_connect(&c, f->port);
    raw_bytes_upgrade(&f->out, "/lines", "");
    assert_int_equal(write(c.fd, f->out.data, f->out.len), f->out.len);
    f->out.len = 0;
    poll_until_readable(f, &c);
    raw_expect_upgraded(&c, &r);
    raw_bytes_frame(&f->out, RAW_TEXT, "go", 2);
    assert_int_equal(write(c.fd, f->out.data, f->out.len), f->out.len);
    let_serve(f);
    assert_in_range(f->seen.result[0], 90, 999);
    for (int i = 0; i < f->seen.result[0]; i++) {
        memset(line, 'a' + i % 26, sizeof line);
        raw_expect_frame(&c, RAW_TEXT, line, sizeof line);
        let_serve(f);
    }
    assert_int_equal(ws_server_stats(f->server).buffered, 0);
    raw_close(&c);
}

static void know_of(struct ws_conn *c, const struct ws_request *req)
{
    (void)c;
    (void)req;
}

static void speak_without_memory(struct ws_conn *c)
{
    struct fixture *f = of(c);

    faults_send_max(1);
    oom_after(0);
    note_result(f, 0, ws_send(ws_conn_find(f->server, 2), WS_OP_TEXT, "gone", 4));
    disarm();
    count(f, &f->seen.aborted);
}

static void speak_in_on_head(struct ws_conn *c, const struct ws_request *req)
{
    keep_head(c, req);
    faults_send_max(1);
    oom_after(0);
    note_result(of(c), 0, ws_send(of(c)->conn, WS_OP_TEXT, "now", 3));
    disarm();
}

static void drop_head_and_count(struct ws_conn *c)
{
    drop_head(c);
    count(of(c), &of(c)->seen.aborted);
}

/* Sending in on_head may end the very connection: what is staged for it must leave to make room,
 * and cannot. */
static void connection_that_dies_in_on_head_is_aborted(void **state)
{
    static const char requests[] =
        "GET /http HTTP/1.1\r\nHost: localhost\r\n\r\n"
        "POST /door HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n";
    struct fixture *f = *state;
    struct script p = {.f = f};
    int fd;

    open_alone(&p, "/door",
               (struct ws_handlers){.on_message = echo,
                                    .on_head = speak_in_on_head,
                                    .on_request = take_body,
                                    .on_abort = drop_head_and_count});
    fd = dial(f->port);
    assert_int_equal(write(fd, requests, sizeof requests - 1), sizeof requests - 1);
    let_serve(f);
    assert_int_equal(f->seen.result[0], WS_SENT);
    assert_int_equal(f->seen.aborted, 1);
    assert_int_equal(ws_server_stats(f->server).connections, 1);
    close(fd);
    raw_close(&p.bystander);
}

/* Sending in on_abort may break the very connection: what is staged for it must leave to make room,
 * cannot, and cannot be kept. Then it ends, and on_abort is not called again. */
static void connection_that_breaks_in_on_abort_ends(void **state)
{
    static const char requests[] =
        "GET /http HTTP/1.1\r\nHost: localhost\r\n\r\n"
        "POST /late HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno chunk";
    struct fixture *f = *state;
    struct raw_client others[2];
    struct raw_response r;
    int fd;

    create(f, (struct ws_options){0});
    serve(f, "/late",
          (struct ws_handlers){
              .on_head = know_of, .on_request = mirror, .on_abort = speak_without_memory});
    fd = dial(f->port);
    let_serve(f);
    for (size_t i = 0; i < 2; i++) {
        raw_init(&others[i]);
        raw_connect(&others[i], f->port);
        raw_bytes_upgrade(&f->out, "/echo", "");
        assert_int_equal(write(others[i].fd, f->out.data, f->out.len), f->out.len);
        f->out.len = 0;
        poll_until_readable(f, &others[i]);
        raw_expect_upgraded(&others[i], &r);
    }
    assert_int_equal(write(fd, requests, sizeof requests - 1), sizeof requests - 1);
    let_serve(f);
    assert_int_equal(f->seen.aborted, 1);
    assert_int_equal(f->seen.result[0], WS_SENT);
    assert_int_equal(ws_server_stats(f->server).connections, 2);
    close(fd);
    raw_close(&others[0]);
    raw_close(&others[1]);
}

/* The socket takes little at a time: everything comes, in order. */
static void short_writes_lose_nothing(void **state)
{
    static const size_t sizes[] = {5, 300, 20 * KIB, 70 * KIB};
    struct fixture *f = *state;

    for (size_t max = 1; max < 100000; max = max * 7 + 3) {
        struct script p = {.f = f};

        open_alone(&p, "/echo", (struct ws_handlers){.on_message = echo});
        faults_send_max(max);
        for (size_t i = max < 10 ? 1 : COUNT(sizes); i-- > 0;) {
            uint8_t *payload = make_payload(sizes[i], false);

            raw_bytes_frame(&f->out, RAW_BINARY, payload, sizes[i]);
            raw_bytes_frame(&f->out, RAW_PING, "ping", 4);
            write_out(&p);
            for (int k = 0; k < 20; k++)
                let_serve(f);
            poll_until_readable(f, &p.bystander);
            raw_expect_frame(&p.bystander, RAW_BINARY, payload, sizes[i]);
            poll_until_readable(f, &p.bystander);
            raw_expect_frame(&p.bystander, RAW_PONG, "ping", 4);
            free(payload);
        }
        faults_none();
        raw_close(&p.bystander);
        let_serve(f);
        ws_server_free(f->server);
        f->server = NULL;
    }
}

/* --- a process that was stopped, and a clock that goes back ----------------------------------- */

#define UPGRADE_WS "GET /ws HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n"

enum {
    BATCH = 256, /* events that a turn takes: EVENT_BATCH of ws.c */
    CROWD = 300, /* more than that */
    PAUSE = 60   /* seconds; longer than all deadlines but close_timeout_ms, see pausable() */
};

/* One whose deadlines have all passed after a pause. */
static void pausable(struct fixture *f, struct ws_handlers h)
{
    create_unix(f, (struct ws_options){.ping_interval_ms = 2 * PAUSE * 1000,
                                       .ping_timeout_ms = 10000,
                                       .handshake_timeout_ms = 10000,
                                       .message_timeout_ms = 10000});
    serve(f, "/ws", h);
}

static int dial_unix(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "/tmp/minnow-test-%d.sock", (int)getpid());
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static int dial_upgraded(struct fixture *f)
{
    int fd = dial_unix();

    assert_int_equal(write(fd, BYTES(UPGRADE_WS)), sizeof UPGRADE_WS - 1);
    let_serve(f);
    discard(fd);
    return fd;
}

/* Connect a crowd, and have it send `text`. */
static void connect_crowd(struct fixture *f, int *fds, const char *text)
{
    for (size_t i = 0; i < CROWD; i++) {
        fds[i] = dial_unix();
        assert_int_equal(write(fds[i], text, strlen(text)), strlen(text));
        let_serve(f);
    }
}

static void close_all(struct fixture *f, const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    let_serve(f);
}

/* Everybody sends `len` bytes while the process is stopped. */
static void send_during_pause(struct fixture *f, const int *fds, const void *data, size_t len)
{
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(write(fds[i], data, len), len);
    faults_clock_jump(PAUSE);
    for (int i = 0; i < 10; i++) /* also when nothing looks ready */
        assert_in_range(ws_server_step(f->server, 0), 0, 1);
    let_serve(f);
}

static void discard_all(const int *fds)
{
    for (size_t i = 0; i < CROWD; i++)
        discard(fds[i]);
}

/* --- output that breaks, or is replaced ------------------------------------------------------- */

static void publish_all(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    ws_publish(of(c)->server, ws_str("room"), c, op, data, len);
}

static int dial_room(struct fixture *f)
{
    int fd = dial(f->port);

    f->out.len = 0;
    raw_bytes_upgrade(&f->out, "/room", "");
    assert_int_equal(write(fd, f->out.data, f->out.len), f->out.len);
    f->out.len = 0;
    let_serve(f);
    discard(fd);
    return fd;
}

/* The queue of a recipient is over its limit, so it is flushed, and then the socket is found
 * broken: that is no slow reader. */
static void recipient_that_has_reset_is_not_closed_as_a_slow_reader(void **state)
{
    static const struct linger reset = {.l_onoff = 1};
    struct fixture *f = *state;
    int sender, recipient;

    create(f, (struct ws_options){.max_queue = 1024});
    serve(f, "/room", (struct ws_handlers){.on_open = join_room, .on_message = publish_all});
    recipient = dial_room(f);
    sender = dial_room(f);
    for (int i = 0; i < 3; i++)
        raw_bytes_frame(&f->out, RAW_TEXT, (uint8_t[2000]){'x'}, 2000);
    assert_int_equal(write(sender, f->out.data, f->out.len), f->out.len);
    f->out.len = 0;
    assert_int_equal(setsockopt(recipient, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    close(recipient);
    let_serve(f);
    assert_int_equal(f->seen.closed, 1);
    assert_int_equal(f->seen.close_code, 1006);
    assert_int_equal(f->seen.errors, 0);
    close(sender);
    let_serve(f);
}

static void count_pongs(void *arg, const struct ws_trace *frame)
{
    *(int *)arg += !frame->received && frame->opcode == WS_OP_PONG;
}

/* Write the same Ping over and over; the client reads no Pong. */
static void flood_with_pings(struct fixture *f, int fd, int count)
{
    f->out.len = 0;
    raw_bytes_frame(&f->out, RAW_PING, (uint8_t[125]){'?'}, 125);
    for (int i = 0; i < count; i++) {
        while (write(fd, f->out.data, f->out.len) < 0) {
            assert_int_equal(errno, EAGAIN);
            let_serve(f);
        }
    }
    let_serve(f);
    f->out.len = 0;
}

static size_t read_all_of(struct fixture *f, int fd)
{
    static uint8_t sink[64 * KIB];
    size_t len = 0;
    ssize_t n;

    while ((n = recv(fd, sink, sizeof sink, MSG_DONTWAIT)) > 0) {
        len += (size_t)n;
        let_serve(f);
    }
    return len;
}

/* A Pong that waits is replaced by a newer one: it never leaves, and so is not traced. The
 * high-water mark is far away: on a busy machine, where the share of a turn ends between two Pings,
 * 33 KB of Pongs in the queue would stop the reading, and this client writes until all is read. */
static void trace_has_the_pongs_that_leave_and_no_others(void **state)
{
    enum { PINGS = 20000, PONG_SIZE = 2 + 125 };
    struct fixture *f = *state;
    int traced = 0;
    size_t len;
    int fd;

    create_unix(f,
                (struct ws_options){.high_water = MIB, .trace = count_pongs, .trace_arg = &traced});
    serve(f, "/ws", (struct ws_handlers){0});
    fd = dial_upgraded(f);
    faults_clock_stop(); /* a slow machine takes longer than a peer may take to read */
    flood_with_pings(f, fd, PINGS);
    len = read_all_of(f, fd);
    assert_int_equal(len % PONG_SIZE, 0);
    assert_in_range(len / PONG_SIZE, 2, PINGS - 1);
    assert_int_equal(traced, len / PONG_SIZE);
    close(fd);
    let_serve(f);
}

/* --- pauses ----------------------------------------------------------------------------------- */

static void requests_that_came_in_time_are_answered_after_a_pause(void **state)
{
    static const char half[] = GET HOST UPGRADE;
    static const char rest[] = KEY VERSION "\r\n";
    static const char answer[] = "HTTP/1.1 101";
    struct fixture *f = *state;
    int fds[CROWD];

    pausable(f, (struct ws_handlers){0});
    connect_crowd(f, fds, half);
    send_during_pause(f, fds, rest, sizeof rest - 1);
    for (size_t i = 0; i < CROWD; i++) {
        char came[sizeof answer] = "";

        assert_int_equal(recv(fds[i], came, sizeof answer - 1, MSG_DONTWAIT), sizeof answer - 1);
        assert_string_equal(came, answer);
    }
    close_all(f, fds, CROWD);
}

static void late_requests_are_refused_after_a_pause(void **state)
{
    static const char answer[] = "HTTP/1.1 408";
    struct fixture *f = *state;
    int fds[CROWD];

    pausable(f, (struct ws_handlers){0});
    connect_crowd(f, fds, "GET / HT");
    send_during_pause(f, fds, "TP", 2);
    for (size_t i = 0; i < CROWD; i++) {
        char came[sizeof answer] = "";

        assert_int_equal(recv(fds[i], came, sizeof answer - 1, MSG_DONTWAIT), sizeof answer - 1);
        assert_string_equal(came, answer);
    }
    close_all(f, fds, CROWD);
}

static void messages_that_were_finished_in_time_are_taken_after_a_pause(void **state)
{
    struct fixture *f = *state;
    int fds[CROWD];

    pausable(f, (struct ws_handlers){.on_message = count_message});
    connect_crowd(f, fds, UPGRADE_WS);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(write(fds[i], "\x01\x83" MASK "sto", 9), 9);
    let_serve(f);
    discard_all(fds);
    send_during_pause(f, fds, "\x80\x83" MASK "ppe", 9);
    assert_int_equal(f->seen.messages, CROWD);
    assert_int_equal(f->seen.closed, 0);
    close_all(f, fds, CROWD);
}

static void count_going_away(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    (void)reason;
    (void)len;
    count(of(c), code == WS_CLOSE_GOING_AWAY ? &of(c)->seen.closed : &of(c)->seen.aborted);
}

static void closes_that_were_answered_in_time_are_clean_after_a_pause(void **state)
{
    struct fixture *f = *state;
    int fds[CROWD];

    pausable(f, (struct ws_handlers){.on_close = count_going_away});
    connect_crowd(f, fds, UPGRADE_WS);
    discard_all(fds);
    ws_server_stop(f->server);
    let_serve(f);
    send_during_pause(f, fds, "\x88\x82" MASK "\x03\xe9", 8);
    assert_int_equal(f->seen.closed, CROWD);
    assert_int_equal(f->seen.aborted, 0);
    close_all(f, fds, CROWD);
}

/* The timeouts of pings have passed, though their answers are there. */
static void peers_that_answered_their_pings_stay_after_a_pause(void **state)
{
    struct fixture *f = *state;
    int fds[CROWD];
    char came[4];

    pausable(f, (struct ws_handlers){0});
    connect_crowd(f, fds, UPGRADE_WS);
    discard_all(fds);
    for (int i = 0; i < 3; i++) { /* over the interval, but no further */
        faults_clock_jump(PAUSE - 10);
        ws_server_step(f->server, 0);
        ws_server_step(f->server, 0);
    }
    let_serve(f);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(recv(fds[i], came, sizeof came, MSG_DONTWAIT), 2); /* the ping */
    send_during_pause(f, fds, "\x8a\x80" MASK, 6);
    assert_int_equal(f->seen.closed, 0);
    close_all(f, fds, CROWD);
}

/* One read does not take what a socket holds. */
static void answer_behind_much_else_was_in_time(void **state)
{
    enum { BLOCK = 60 * KIB, BLOCKS = 5 }; /* more than a read takes, less than a socket holds */
    struct fixture *f = *state;
    uint8_t *payload = make_payload(BLOCK, false);
    int size = 1 * MIB;
    int fd;

    pausable(f, (struct ws_handlers){0});
    fd = dial_unix();
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    assert_int_equal(write(fd, UPGRADE_WS, sizeof UPGRADE_WS - 1), sizeof UPGRADE_WS - 1);
    let_serve(f);
    ws_server_stop(f->server);
    let_serve(f);
    for (int i = 0; i < BLOCKS; i++)
        raw_bytes_frame(&f->out, RAW_BINARY, payload, BLOCK);
    raw_bytes_frame(&f->out, RAW_CLOSE, "\x03\xe9", 2);
    assert_int_equal(write(fd, f->out.data, f->out.len), f->out.len);
    faults_clock_jump(PAUSE);
    ws_server_step(f->server, 0);
    ws_server_step(f->server, 0);
    assert_int_equal(f->seen.closed, 1);
    assert_int_equal(f->seen.close_code, WS_CLOSE_GOING_AWAY);
    close(fd);
    let_serve(f);
    free(payload);
}

static void note_fired(void *arg)
{
    ((struct fixture *)arg)->seen.ran++;
}

/* Time stands still until the clock has something new to say, and the loop sleeps. */
static void clock_that_goes_back_neither_spins_nor_stops_timers(void **state)
{
    struct fixture *f = *state;
    struct pollfd p = {.events = POLLIN};

    faults_clock_jump(7200); /* the machine may have been started a minute ago */
    create(f, (struct ws_options){0});
    p.fd = ws_server_fd(f->server);
    assert_non_null(ws_timer_start(f->server, 10000, note_fired, f));
    let_serve(f);
    faults_clock_jump(-3600);
    for (int i = 0; i < 10; i++)
        assert_int_equal(ws_server_step(f->server, 0), 1);
    /* The timer comes down a level. */
    for (int i = 0; i < TIMER_LEVELS && poll(&p, 1, 100) != 0; i++)
        assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(poll(&p, 1, 100), 0);
    assert_int_equal(f->seen.ran, 0);
    faults_clock_jump(11); /* from there */
    for (int i = 0; i < 2; i++)
        assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(f->seen.ran, 1);
}

/* --- time ------------------------------------------------------------------------------------- */

enum { HOURS = 5 * 3600, PINGING = 2 * PAUSE /* seconds, see pausable() */ };

static void pass(struct fixture *f, int64_t seconds)
{
    faults_clock_jump(seconds);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ws_server_step(f->server, 0), 1);
    let_serve(f);
}

static void expect_bytes(int fd, const void *bytes, size_t len)
{
    char came[64];

    assert_in_range(len, 1, sizeof came);
    assert_int_equal(recv(fd, came, sizeof came, MSG_DONTWAIT), len);
    assert_memory_equal(came, bytes, len);
}

static void expect_beginning(int fd, const char *text)
{
    char came[64] = "";

    assert_in_range(strlen(text), 1, sizeof came - 1);
    assert_int_equal(recv(fd, came, strlen(text), MSG_DONTWAIT), strlen(text));
    assert_string_equal(came, text);
}

static void expect_nothing(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

/* While the server waits, the machine is suspended for hours. */
static void suspend(struct fixture *f)
{
    faults_clock_jump_in_wait(HOURS);
    pass(f, 0);
}

/* What a peer sent in time may arrive after the server wakes up. */
static void hours_of_suspension_are_nobodys_delay(void **state)
{
    static const char half[] = GET HOST UPGRADE, rest[] = KEY VERSION "\r\n";
    struct fixture *f = *state;
    int pinged, handshaking;

    pausable(f, (struct ws_handlers){0});
    pinged = dial_upgraded(f);
    pass(f, PINGING);
    expect_bytes(pinged, BYTES("\x89\0"));
    handshaking = dial_unix();
    assert_int_equal(write(handshaking, BYTES(half)), sizeof half - 1);
    let_serve(f);
    suspend(f);
    pass(f, 8);
    assert_int_equal(f->seen.closed, 0);
    assert_int_equal(write(pinged, BYTES("\x8a\x80" MASK)), 6);
    assert_int_equal(write(handshaking, BYTES(rest)), sizeof rest - 1);
    pass(f, PINGING - 1);
    assert_int_equal(f->seen.opened, 2);
    assert_int_equal(f->seen.closed, 0);
    close(pinged);
    close(handshaking);
    let_serve(f);
}

/* The time before the suspension counts. */
static void suspension_does_not_prolong_a_deadline(void **state)
{
    struct fixture *f = *state;
    int fd;

    pausable(f, (struct ws_handlers){0});
    fd = dial_upgraded(f);
    pass(f, PINGING);
    pass(f, 6);
    suspend(f);
    assert_int_equal(f->seen.closed, 0);
    pass(f, 5);
    assert_int_equal(f->seen.closed, 1);
    close(fd);
    let_serve(f);
}

/* A wait that lasts no longer than it was told to is none of a suspended machine. */
static void long_wait_for_a_deadline_counts(void **state)
{
    struct fixture *f = *state;
    int fd;

    faults_clock_set(1000);
    pausable(f, (struct ws_handlers){0});
    assert_non_null(ws_timer_start(f->server, 4000, note_fired, f));
    fd = dial_unix(); /* so that the wait ends at once, and the clock alone says how long it was */
    faults_clock_jump_in_wait(4);
    assert_int_equal(ws_server_step(f->server, -1), 1);
    let_serve(f);
    assert_int_equal(f->seen.ran, 1);
    close(fd);
    let_serve(f);
}

static void deadlines_wait_while_the_clock_stands_still(void **state)
{
    struct fixture *f = *state;
    struct pollfd p = {.events = POLLIN};
    int fd;

    faults_clock_set(1000);
    pausable(f, (struct ws_handlers){.on_message = echo});
    p.fd = ws_server_fd(f->server);
    fd = dial_upgraded(f);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(write(fd, BYTES("\x81\x81" MASK "!")), 7);
        let_serve(f);
        expect_bytes(fd, BYTES("\x81\x01!"));
    }
    assert_int_equal(poll(&p, 1, 100), 0); /* and the loop sleeps */
    pass(f, PINGING - 1);
    expect_nothing(fd);
    pass(f, 1);
    expect_bytes(fd, BYTES("\x89\0"));
    close(fd);
    let_serve(f);
}

/* All deadlines of a server whose uptime passes `border_s` in five seconds. */
static void check_deadlines_at(struct fixture *f, int64_t border_s)
{
    int fd, late;

    faults_clock_set(border_s - 5);
    pausable(f, (struct ws_handlers){0});
    fd = dial_upgraded(f);
    late = dial_unix();
    assert_int_equal(write(late, BYTES("GET / HT")), 8);
    let_serve(f);
    assert_non_null(ws_timer_start(f->server, 10000, note_fired, f));
    pass(f, 9);
    expect_nothing(late);
    assert_int_equal(f->seen.ran, 0);
    pass(f, 1);
    expect_beginning(late, "HTTP/1.1 408");
    assert_int_equal(f->seen.ran, 1);
    pass(f, PINGING - 11);
    expect_nothing(fd);
    pass(f, 1);
    expect_bytes(fd, BYTES("\x89\0"));
    pass(f, 9);
    assert_int_equal(f->seen.closed, 0);
    pass(f, 1);
    assert_int_equal(f->seen.closed, 1);
    close(fd);
    close(late);
    let_serve(f);
}

/* 2^31 and 2^32 ms, 2^31 and 2^32 s, and 584,000 years in us. */
static void deadlines_are_kept_after_any_uptime(void **state)
{
    static const int64_t borders[] = {INT64_C(2147484), INT64_C(4294968), INT64_C(2147483648),
                                      INT64_C(4294967296), INT64_C(9223372036854)};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(borders); i++) {
        if ((time_t)(borders[i] + 60) != borders[i] + 60)
            break; /* a clock of 32 bits */
        check_deadlines_at(f, borders[i]);
        ws_server_free(f->server);
        f->server = NULL;
        f->seen = (struct seen){0};
    }
}

/* The timer of a connection fires for an unfinished message, before the span of its message_rate is
 * over. If nothing set it again, the span would not end: a meter knows the time modulo 64 units, so
 * 20 s later the same span would seem to have just begun. */
static void span_of_messages_ends_though_another_deadline_comes_first(void **state)
{
    enum { ALLOTMENT = 5, SPAN = 5 /* seconds, of 16 units */, MESSAGE_TIMEOUT = 1 };
    struct fixture *f = *state;
    int fd;

    faults_clock_set(1000);
    create_unix(f, (struct ws_options){.message_rate = ALLOTMENT / SPAN,
                                       .message_timeout_ms = MESSAGE_TIMEOUT * 1000,
                                       .ping_interval_ms = UINT_MAX});
    serve(f, "/ws", (struct ws_handlers){.on_message = count_message});
    fd = dial_upgraded(f);
    for (int i = 0; i < ALLOTMENT; i++)
        assert_int_equal(write(fd, BYTES("\x81\x81" MASK "!")), 7);
    assert_int_equal(write(fd, BYTES("\x01\x81" MASK "a")), 7);
    let_serve(f);
    assert_int_equal(write(fd, BYTES("\x80\x81" MASK "b")), 7);
    let_serve(f);
    assert_int_equal(f->seen.messages, ALLOTMENT + 1);
    pass(f, MESSAGE_TIMEOUT);
    pass(f, SPAN);
    pass(f, 3 * SPAN - MESSAGE_TIMEOUT);
    for (int i = 0; i < ALLOTMENT; i++)
        assert_int_equal(write(fd, BYTES("\x81\x81" MASK "!")), 7);
    let_serve(f);
    assert_int_equal(f->seen.messages, 2 * ALLOTMENT + 1);
    assert_int_equal(f->seen.errors, 0);
    close(fd);
    let_serve(f);
}

static void take_a_minute(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    count_message(c, op, data, len);
    faults_clock_jump(PAUSE);
}

/* The callback of one takes a minute. What all others send meanwhile was in time. */
static void long_callback_of_one_is_not_the_delay_of_others(void **state)
{
    static const char half[] = GET HOST UPGRADE, rest[] = KEY VERSION "\r\n";
    struct fixture *f = *state;
    int fds[CROWD], one, unfinished;

    pausable(f, (struct ws_handlers){.on_message = take_a_minute});
    one = dial_upgraded(f);
    unfinished = dial_upgraded(f);
    assert_int_equal(write(unfinished, BYTES("\x01\x83" MASK "sto")), 9);
    connect_crowd(f, fds, half);
    assert_int_equal(write(one, BYTES("\x81\x81" MASK "!")), 7);
    assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(f->seen.messages, 1);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(write(fds[i], BYTES(rest)), sizeof rest - 1);
    assert_int_equal(write(unfinished, BYTES("\x80\x83" MASK "ppe")), 9);
    pass(f, 0);
    assert_int_equal(f->seen.opened, CROWD + 2);
    assert_int_equal(f->seen.messages, 2);
    assert_int_equal(f->seen.closed, 0);
    close_all(f, fds, CROWD);
    close(one);
    close(unfinished);
    let_serve(f);
}

/* A batch that is full may not be all: what is ready is heard first, and then the stop. Its wake is
 * used up by then, so the descriptor must be ready for the next turn all the same. */
static void stop_in_a_full_batch_is_heeded_in_the_next_turn_of_a_foreign_loop(void **state)
{
    struct fixture *f = *state;
    struct pollfd p = {.events = POLLIN};
    int fds[BATCH - 1]; /* and the wake */
    uint8_t head[2] = {0};

    pausable(f, (struct ws_handlers){.on_message = count_message});
    p.fd = ws_server_fd(f->server);
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = dial_upgraded(f);
    for (size_t i = 0; i < COUNT(fds); i++)
        assert_int_equal(write(fds[i], BYTES("\x81\x81" MASK "a")), 7);
    ws_server_stop(f->server);
    assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(f->seen.messages, COUNT(fds));
    assert_int_equal(f->server->sweep_batches, 1); /* it was full, or this would test nothing */
    assert_int_equal(poll(&p, 1, 1000), 1);
    assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(read(fds[0], head, sizeof head), sizeof head);
    assert_int_equal(head[0], RAW_CLOSE);
    close_all(f, fds, COUNT(fds));
}

/* --- memory that peers cause ------------------------------------------------------------------ */

enum {
    HOLDERS = 40,   /* of each kind */
    PER_CONN = 512, /* bytes of a connection and what else there is for each, in no account */
    FOR_ALL = 2048  /* and of lists that double */
};

/* "j" joins rooms of its own, else an answer is queued. */
static void hold_much(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    static const char answer[100 * KIB];
    char name[64];

    (void)op;
    if (len == 0 || *(const char *)data != 'j') {
        ws_send(c, WS_OP_BINARY, answer, sizeof answer);
        return;
    }
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "room %d of %llu", i, (unsigned long long)ws_conn_id(c));
        ws_join(c, ws_str(name));
    }
}

/* What has been taken since a beginning is in the accounts, but for so much a connection. */
static void expect_counted(struct fixture *f, long live, size_t buffered, size_t conns)
{
    size_t spare = f->server->budget.spare_bytes; /* of blocks that are kept for the next */
    long counted = (long)(ws_server_stats(f->server).buffered + spare - buffered);
    long held = oom_live() - live;

    if (held > counted + FOR_ALL + (long)(conns * PER_CONN))
        fail_msg("%ld bytes are held and %ld are counted, with %zu connections", held, counted,
                 conns);
}

static void what_peers_make_the_server_hold_is_counted(void **state)
{
    static char filler[64 * KIB];
    static const struct {
        const char *begin;
        size_t more; /* bytes of filler behind it */
    } kinds[] = {
        {GET HOST "X: ", 8 * KIB},
        {"POST /late?9999999 HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n", 64 * KIB},
        {"GET /late?9999999 HTTP/1.1\r\n" HOST "\r\nGET /http HTTP/1.1\r\n" HOST "X: ", 8 * KIB},
        {UPGRADE_WS "\x82\xff\0\0\0\0\0\2\0\0" MASK, 64 * KIB},
        {UPGRADE_WS "\x02\xfe\x10\0" MASK, 0x1000},
        {UPGRADE_WS "\x81\x81" MASK "j", 0},
        {UPGRADE_WS "\x81\x81" MASK "a"
                    "\x81\x81" MASK "a",
         0},
    };
    static const size_t lengths[] = {0,
                                     0,
                                     0,
                                     sizeof UPGRADE_WS + 13,
                                     sizeof UPGRADE_WS + 7,
                                     sizeof UPGRADE_WS + 6,
                                     sizeof UPGRADE_WS + 13};
    struct fixture *f = *state;
    int fds[COUNT(kinds) * HOLDERS];
    size_t count = 0;
    size_t buffered;
    long live;

    memset(filler, 'x', sizeof filler);
    create_unix(f, (struct ws_options){.handshake_timeout_ms = 3600 * 1000,
                                       .message_timeout_ms = UINT_MAX,
                                       .ping_interval_ms = UINT_MAX});
    serve(f, "/ws", (struct ws_handlers){.on_message = hold_much});
    serve(f, "/late",
          (struct ws_handlers){
              .on_request = take_late, .on_abort = abort_late, .max_message = 1 * MIB});
    live = oom_live();
    buffered = ws_server_stats(f->server).buffered;
    faults_send_max(0);
    for (size_t kind = 0; kind < COUNT(kinds); kind++) {
        size_t len = lengths[kind] != 0 ? lengths[kind] : strlen(kinds[kind].begin);

        for (int i = 0; i < HOLDERS; i++) {
            fds[count] = dial_unix();
            assert_int_equal(write(fds[count], kinds[kind].begin, len), len);
            let_serve(f);
            assert_int_equal(write(fds[count], filler, kinds[kind].more), kinds[kind].more);
            let_serve(f);
            expect_counted(f, live, buffered, ++count);
        }
    }
    assert_true(ws_server_stats(f->server).buffered - buffered > 4 * MIB);
    assert_int_equal(ws_server_stats(f->server).connections, count);
    disarm();
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    let_serve(f);
}

/* --- errors that nobody lists ----------------------------------------------------------------- */

static bool wants_a_turn(const struct fixture *f)
{
    struct pollfd p = {.fd = ws_server_fd(f->server), .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

static void seconds_later(struct fixture *f)
{
    faults_clock_jump(2);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ws_server_step(f->server, 0), 1);
    let_serve(f);
}

/* The only client is served when it is tried again. */
static void expect_accepted(struct fixture *f, int fd)
{
    seconds_later(f);
    assert_int_equal(ws_server_stats(f->server).connections, 1);
    close(fd);
    let_serve(f);
}

/* Said once, and no turn of the loop is spent on it; then it works again. */
static void clients_wait_where_accept_fails(void **state)
{
    static const int errors[] = {EPERM,        ENOSYS,  EPROTO, ENETDOWN, EINVAL, ENOMEM,
                                 ECONNABORTED, ENOBUFS, EMFILE, ENFILE,   ENFILE};
    struct fixture *f = *state;

    create(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(errors); i++) {
        int fd = dial(f->port);

        faults_accept_errors(errors[i]);
        for (int wait = 0; wait < 10; wait++) {
            seconds_later(f);
            assert_false(wants_a_turn(f));
        }
        assert_int_equal(f->seen.errors, i + 1);
        assert_non_null(strstr(f->seen.log, strerror(errors[i])));
        assert_int_equal(ws_server_stats(f->server).connections, 0);
        faults_accept_errors(0);
        expect_accepted(f, fd);
    }
}

/* Another thread may take the spare descriptor in the moment in which it is given up; here none is
 * left at all. */
/* Not under valgrind, which keeps descriptors that are left for itself. */
static void server_that_lost_its_spare_descriptor_gets_another(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, none;
    int fds[2];

    if (SLOWER > 1)
        skip();
    create(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = dial(f->port);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 0; i < 3; i++) {
        faults_clock_jump(2);
        for (int step = 0; step < 3; step++)
            ws_server_step(f->server, 0);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(f->seen.errors, 1);
    assert_non_null(strstr(f->seen.log, strerror(EMFILE)));
    assert_int_equal(ws_server_stats(f->server).connections, 0);
    seconds_later(f);
    assert_int_equal(ws_server_stats(f->server).connections, COUNT(fds));
    faults_accept_error(0, EMFILE); /* it has one to give up again */
    for (size_t i = 0; i < COUNT(fds); i++)
        close(fds[i]);
    fds[0] = dial(f->port);
    let_serve(f);
    assert_int_equal(recv(fds[0], &(char){0}, 1, MSG_DONTWAIT), 0);
    close(fds[0]);
}

/* Those over max_clients of whom too many are waited for already get what can be sent at once. */
static void client_that_cannot_even_be_refused_is_dropped(void **state)
{
    enum { OVER = 20 };
    struct fixture *f = *state;
    int fds[1 + OVER + 2];

    create(f, (struct ws_options){.max_clients = 1, .log_level = WS_LOG_INFO});
    for (size_t i = 0; i < COUNT(fds); i++) {
        if (i == 1)
            oom_once(0);
        if (i == 1 + OVER)
            faults_send_error(0, ECONNRESET);
        fds[i] = dial(f->port);
        let_serve(f);
        if (i == 1)
            assert_non_null(strstr(f->seen.log, "refused a client: out of memory"));
        if (i == 1 + OVER)
            assert_non_null(strstr(f->seen.log, strerror(ECONNRESET)));
        disarm();
        assert_in_range(ws_server_stats(f->server).connections, 1, 1);
    }
    close_all(f, fds, COUNT(fds));
    assert_int_equal(ws_server_stats(f->server).connections, 0);
    assert_int_equal(ws_server_stats(f->server).buffered, 0);
}

static void client_that_has_gone_delays_nobody(void **state)
{
    struct fixture *f = *state;
    int fds[2];

    create(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = dial(f->port);
    faults_accept_error(0, ECONNABORTED);
    ws_server_step(f->server, 0);
    assert_int_equal(ws_server_stats(f->server).connections, 2);
    assert_int_equal(f->seen.errors, 0);
    close_all(f, fds, COUNT(fds));
}

static void clients_wait_no_longer_where_epoll_refuses_at_first(void **state)
{
    struct fixture *f = *state;
    int fd;

    create(f, (struct ws_options){0});
    fd = dial(f->port);
    faults_accept_errors(EPERM);
    let_serve(f);
    faults_accept_errors(0);
    faults_epoll_ctl_error(0, EPERM);
    seconds_later(f);
    expect_accepted(f, fd);
}

/* epoll goes on to report the client then, in each turn. How many pauses fit into the time that the
 * turns take depends on the machine; none is shorter than the first. */
static void accepting_pauses_though_epoll_refuses_to_look_away(void **state)
{
    enum { TURNS = 1000, PAUSE_MS = 50 }; /* PAUSE_MS of accept.c */
    struct fixture *f = *state;
    int64_t begun, pauses;
    long first, calls;
    int fd;

    faults_none(); /* begins the count */
    begun = raw_now_ms();
    create(f, (struct ws_options){0});
    fd = dial(f->port);
    faults_accept_errors(EPERM);
    faults_epoll_ctl_errors(ENOMEM);
    assert_int_equal(ws_server_step(f->server, 0), 1);
    first = faults_accept_calls();
    assert_true(first > 0);
    for (int i = 0; i < TURNS; i++) {
        assert_true(wants_a_turn(f));
        assert_int_equal(ws_server_step(f->server, 0), 1);
    }
    calls = faults_accept_calls();
    pauses = (raw_now_ms() - begun) / PAUSE_MS;
    faults_accept_errors(0);
    faults_epoll_ctl_errors(0);
    assert_in_range(calls, first, first * (1 + pauses));
    assert_int_equal(f->seen.errors, 1);
    expect_accepted(f, fd);
}

static void loop_that_cannot_wait_says_why(void **state)
{
    struct fixture *f = *state;

    create(f, (struct ws_options){0});
    faults_epoll_wait_error(0, EPERM);
    assert_int_equal(ws_server_step(f->server, 0), WS_ERR_SYSTEM);
    assert_int_equal(errno, EPERM);
    faults_epoll_wait_error(0, EINTR);
    assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(ws_server_step(f->server, 0), 1);
}

static void note_line(void *arg, enum ws_log_level level, const char *line)
{
    (void)level;
    snprintf(arg, NOTE_SIZE, "%s", line);
}

/* A post that wakes nobody would run when something else happens, hours later. */
static void post_wakes_the_loop_though_a_signal_comes(void **state)
{
    struct fixture *f = *state;
    struct pollfd p;

    create(f, (struct ws_options){0});
    let_serve(f);
    p = (struct pollfd){.fd = ws_server_fd(f->server), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    faults_eventfd_write_error(0, EINTR);
    assert_int_equal(ws_post(f->server, nothing, NULL), 0);
    faults_none();
    assert_int_equal(poll(&p, 1, 0), 1);
}

/* What was never opened is not closed: number 0 is somebody's. */
static void server_without_random_bytes_says_so_and_closes_nothing_else(void **state)
{
    static const int errors[] = {ENOSYS, EPERM};
    uint8_t bytes[16];

    (void)state;
    assert_true(fcntl(0, F_GETFD) >= 0 || dup2(1, 0) == 0);
    for (size_t i = 0; i < COUNT(errors); i++) {
        char log[NOTE_SIZE] = "";

        faults_getrandom_errors(errors[i]);
        assert_int_equal(ws_random(bytes, sizeof bytes), WS_ERR_SYSTEM);
        errno = 0;
        assert_null(ws_server_new(&(struct ws_options){.log = note_line, .log_arg = log}));
        assert_int_equal(errno, errors[i]);
        faults_none();
        assert_memory_equal(log, "no random bytes: ", 17);
        assert_true(fcntl(0, F_GETFD) >= 0);
    }
}

/* --- a log that any peer can write ------------------------------------------------------------ */

static void send_no_request(struct fixture *f, int times)
{
    for (int i = 0; i < times; i++) {
        int fd = dial(f->port);

        assert_int_equal(write(fd, "\1", 1), 1);
        let_serve(f);
        close(fd);
        let_serve(f);
    }
}

static void peers_get_few_lines_of_the_log_and_a_sum(void **state)
{
    struct fixture *f = *state;

    create(f, (struct ws_options){.log_level = WS_LOG_ERROR});
    send_no_request(f, 20);
    assert_int_equal(f->seen.errors, 5);
    assert_non_null(strstr(f->seen.log, "refused with 400"));
    seconds_later(f);
    assert_int_equal(f->seen.errors, 6);
    assert_non_null(strstr(f->seen.log, "15 more like this were left out: #20 "));
    assert_false(wants_a_turn(f));
    send_no_request(f, 7);
    assert_int_equal(f->seen.errors, 11);
    ws_server_free(f->server);
    f->server = NULL;
    assert_int_equal(f->seen.errors, 12);
    assert_non_null(strstr(f->seen.log, "2 more like this were left out: #27 "));
}

/* Nobody has to come for the sum to be told: the loop learns when it is due. */
static void lines_from_outside_of_the_loop_have_their_sum_too(void **state)
{
    static const char *const origins[] = {"no origin", NULL};
    const struct ws_handlers handlers = {.origins = origins};
    struct fixture *f = *state;

    create(f, (struct ws_options){.log_level = WS_LOG_ERROR});
    let_serve(f);
    assert_false(wants_a_turn(f));
    for (int i = 0; i < 8; i++)
        assert_int_equal(ws_server_handle(f->server, "/x", &handlers), WS_ERR_INVALID);
    assert_int_equal(f->seen.errors, 5);
    assert_true(wants_a_turn(f));
    seconds_later(f);
    assert_int_equal(f->seen.errors, 6);
    assert_non_null(strstr(f->seen.log, "3 more like this were left out: origin 'no origin'"));
}

static void write_no_request(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(write(fds[i], "\1", 1), 1);
}

/* The first line of the second turn has the sum of the first told, and begins a second anew. When
 * the timer fires at the end of that turn, there is nothing to tell yet. */
static void what_is_left_out_after_a_sum_has_a_sum_of_its_own(void **state)
{
    enum { LINES = 20 };
    struct fixture *f = *state;
    int fds[2 * LINES];

    create_unix(f, (struct ws_options){.log_level = WS_LOG_ERROR, .handshake_timeout_ms = 60000});
    for (size_t i = 0; i < COUNT(fds); i++) {
        fds[i] = dial_unix();
        let_serve(f);
    }
    write_no_request(fds, LINES);
    assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(f->seen.errors, 5);
    faults_clock_jump(2);
    write_no_request(fds + LINES, LINES);
    assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(f->seen.errors, 5 + 1 + 5);
    seconds_later(f);
    assert_int_equal(f->seen.errors, 5 + 1 + 5 + 1);
    assert_non_null(strstr(f->seen.log, "15 more like this were left out: #40 "));
    assert_false(wants_a_turn(f));
    close_all(f, fds, COUNT(fds));
}

/* The log may end up on a terminal: whatever a peer has sent, it gets no control characters, no
 * escape sequences and no half characters there. */
static void bytes_of_peers_are_question_marks_in_the_log(void **state)
{
    static const char *const places[] = {
        "GET /echo HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY VERSION "Origin: http://a?b\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a?b\r\n" UPGRADE KEY VERSION "Origin: http://b\r\n\r\n",
        "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n", "G?T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA?b: c\r\n\r\n"};
    struct fixture *f = *state;
    static const char *const hosts[] = {"a", NULL};
    int shown = 0;

    create(f, (struct ws_options){.hosts = hosts});
    for (size_t i = 0; i < COUNT(places); i++) {
        for (int byte = 1; byte < 256; byte++) {
            char request[512];
            int fd = dial(f->port);

            snprintf(request, sizeof request, "%s", places[i]);
            *strchr(request, '?') = (char)byte;
            assert_int_equal(write(fd, request, strlen(places[i])), strlen(places[i]));
            let_serve(f);
            close(fd);
            seconds_later(f); /* a few lines of a kind are let through in each */
            for (const char *c = f->seen.log; *c != '\0'; c++)
                assert_in_range(*c, ' ', '~');
            shown += byte > '~' && strstr(f->seen.log, "(origin http://a?b)") != NULL;
        }
    }
    assert_int_equal(shown, 128);
}

/* --- a share of a turn ------------------------------------------------------------------------ */

enum { MANY = 500 /* messages that take a second each: too much for one turn */ };

static void take_a_second(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    note_text(of(c), data, len);
    count_message(c, op, data, len);
    faults_clock_jump(1);
}

static void put_many(struct fixture *f)
{
    for (int i = 0; i < MANY; i++) {
        char letter = (char)('a' + i % 26);

        raw_bytes_frame(&f->out, RAW_TEXT, &letter, 1);
    }
}

static void write_many(struct fixture *f, int fd)
{
    assert_int_equal(write(fd, f->out.data, f->out.len), f->out.len);
    f->out.len = 0;
}

/* What put_many() wrote has come in its order; other characters between are skipped. */
static void expect_many(const struct fixture *f)
{
    int came = 0;

    for (const char *p = f->seen.text; *p != '\0'; p++) {
        if (*p == '!')
            continue;
        assert_int_equal(*p, 'a' + came % 26);
        came++;
    }
    assert_int_equal(came, MANY);
}

static void many_messages_of_one_keep_nobody_waiting(void **state)
{
    struct fixture *f = *state;
    const char *other;
    int fds[2];

    pausable(f, (struct ws_handlers){.on_message = take_a_second});
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = dial_upgraded(f);
    put_many(f);
    write_many(f, fds[0]);
    assert_int_equal(write(fds[1], "\x81\x81" MASK "!", 7), 7);
    let_serve(f);
    expect_many(f);
    other = strchr(f->seen.text, '!');
    assert_non_null(other);
    assert_in_range(other - f->seen.text, 0, MANY / 2);
    close_all(f, fds, COUNT(fds));
}

/* Each answer takes a second, too. */
static void respond_late(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    count(of(c), &of(c)->seen.requests);
    faults_clock_jump(1);
    ws_respond(c, 204, NULL, 0, NULL, 0);
}

/* Nor are those late that have been waiting for their turn. */
static void many_requests_of_one_keep_nobody_waiting(void **state)
{
    static const char one[] = "GET /ws HTTP/1.1\r\n" HOST "\r\n";
    struct fixture *f = *state;
    int fds[2];

    pausable(f, (struct ws_handlers){.on_request = respond_late, .on_message = take_a_minute});
    fds[0] = dial_unix();
    fds[1] = dial_upgraded(f);
    for (int i = 0; i < MANY; i++)
        raw_bytes_add(&f->out, BYTES(one));
    write_many(f, fds[0]);
    assert_int_equal(write(fds[1], "\x81\x81" MASK "!", 7), 7);
    for (int i = 0; i < 3; i++) {
        ws_server_step(f->server, 0);
        discard(fds[0]);
    }
    assert_int_equal(f->seen.messages, 1);
    assert_in_range(f->seen.requests, 1, MANY - 1);
    while (f->seen.requests < MANY) {
        discard(fds[0]);
        assert_int_equal(ws_server_step(f->server, 1), 1);
    }
    close_all(f, fds, COUNT(fds));
}

/* The peer said all and left, while most of that was waiting for its turn. */
static void what_waits_for_its_turn_comes_before_the_end(void **state)
{
    struct fixture *f = *state;

    for (int half = 0; half < 2; half++) {
        int fd;

        pausable(f, (struct ws_handlers){.on_message = take_a_second});
        fd = dial_upgraded(f);
        put_many(f);
        write_many(f, fd);
        ws_server_step(f->server, 0);
        assert_in_range(f->seen.messages, 1, MANY - 1);
        if (half == 0)
            shutdown(fd, SHUT_WR);
        else
            close(fd);
        let_serve(f);
        expect_many(f);
        assert_int_equal(f->seen.closed, 1);
        if (half == 0)
            close(fd);
        ws_server_free(f->server);
        f->server = NULL;
        memset(&f->seen, 0, sizeof f->seen);
    }
}

/* Nothing that can be kept waiting without memory: what came is worked on at once. */
static void without_memory_nothing_waits_for_its_turn(void **state)
{
    struct fixture *f = *state;
    int fd;

    pausable(f, (struct ws_handlers){.on_message = take_a_second});
    fd = dial_upgraded(f);
    put_many(f);
    write_many(f, fd);
    oom_after(0);
    ws_server_step(f->server, 0);
    oom_after(-1);
    expect_many(f);
    close(fd);
    let_serve(f);
}

/* --- a connection that the application pauses ------------------------------------------------- */

/* '|' pauses. */
static void pause_on_bar(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    note_text(of(c), data, len);
    count_message(c, op, data, len);
    of(c)->conn = c;
    if (len == 1 && *(const char *)data == '|')
        ws_pause(c);
}

/* A connection whose letters are heard until it is paused. */
static int start_pausing(struct fixture *f)
{
    pausable(f, (struct ws_handlers){.on_message = pause_on_bar});
    return dial_upgraded(f);
}

static void send_letters(int fd, const char *letters)
{
    char frame[] = "\x81\x81" MASK "?";

    for (; *letters != '\0'; letters++) {
        frame[6] = *letters;
        assert_int_equal(write(fd, frame, 7), 7);
    }
}

static void let_pass(struct fixture *f, int seconds)
{
    faults_clock_jump(seconds);
    for (int i = 0; i < 5; i++) /* also when nothing looks ready */
        assert_int_equal(ws_server_step(f->server, 0), 1);
    let_serve(f);
}

static void paused_connection_hands_over_nothing_until_it_is_resumed(void **state)
{
    struct fixture *f = *state;
    int fd;

    fd = start_pausing(f);
    send_letters(fd, "a|b|");
    let_serve(f);
    send_letters(fd, "c");
    let_serve(f);
    assert_string_equal(f->seen.text, "a|");
    ws_resume(f->conn);
    let_serve(f);
    assert_string_equal(f->seen.text, "a|b|");
    ws_resume(f->conn);
    ws_resume(f->conn);
    let_serve(f);
    assert_string_equal(f->seen.text, "a|b|c");
    close(fd);
    let_serve(f);
}

/* Pings included: their answers are not read. */
static void paused_connection_has_no_deadline(void **state)
{
    struct fixture *f = *state;
    int fd;

    fd = start_pausing(f);
    send_letters(fd, "|");
    assert_int_equal(write(fd, "\x01\x82" MASK "x", 7), 7); /* and never the rest */
    let_serve(f);
    for (int i = 0; i < 10; i++) {
        let_pass(f, PAUSE);
    }
    assert_int_equal(f->seen.closed, 0);
    ws_resume(f->conn);
    let_serve(f);
    for (int i = 0; i < 3; i++) {
        let_pass(f, PAUSE);
    }
    assert_int_equal(f->seen.closed, 1);
    close(fd);
    let_serve(f);
}

static void paused_connection_ends_with_its_peer(void **state)
{
    struct fixture *f = *state;
    int fd;

    fd = start_pausing(f);
    send_letters(fd, "a|bc");
    let_serve(f);
    close(fd);
    let_serve(f);
    assert_string_equal(f->seen.text, "a|bc");
    assert_int_equal(f->seen.closed, 1);
}

/* Its own output goes on: a close that the application begins is a close. */
static void paused_connection_can_be_closed(void **state)
{
    struct fixture *f = *state;
    char came[4];
    int fd;

    fd = start_pausing(f);
    send_letters(fd, "|");
    let_serve(f);
    ws_close(f->conn, 1000, NULL);
    let_serve(f);
    assert_int_equal(recv(fd, came, sizeof came, MSG_DONTWAIT), 4);
    assert_int_equal(write(fd, "\x88\x82" MASK "\x03\xe8", 8), 8);
    let_serve(f);
    assert_int_equal(f->seen.closed, 1);
    assert_int_equal(f->seen.close_code, 1000);
    close(fd);
}

static void pause_at_head(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    of(c)->conn = c;
    ws_pause(c);
}

static void body_of_a_paused_request_waits(void **state)
{
    static const char post[] =
        "POST /ws HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET /ws HTTP/1.1\r\n" HOST "\r\n";
    struct fixture *f = *state;
    int fd;

    pausable(f, (struct ws_handlers){.on_head = pause_at_head, .on_request = mirror});
    for (size_t part = 0; part < 2; part++) { /* the body with its head, or behind it */
        size_t split = sizeof post - 1 - part * 40;

        fd = dial_unix();
        assert_int_equal(write(fd, post, split), split);
        let_serve(f);
        assert_int_equal(write(fd, post + split, sizeof post - 1 - split), sizeof post - 1 - split);
        let_serve(f);
        let_pass(f, PAUSE);
        assert_int_equal(f->seen.requests, 2 * part);
        ws_resume(f->conn);
        let_serve(f);
        assert_int_equal(f->seen.requests, 2 * part + 1); /* the next head has paused it again */
        ws_resume(f->conn);
        let_serve(f);
        assert_int_equal(f->seen.requests, 2 * part + 2);
        close(fd);
        let_serve(f);
    }
}

/* What is held back of a request that is answered is its body, whatever it looks like. RFC 9112
 * §9.3, §11.2 */
static void body_of_a_paused_request_that_was_answered_is_no_request(void **state)
{
    static const char post[] = "POST /ws HTTP/1.1\r\n" HOST "Content-Length: 31\r\n\r\n"
                               "GET /ws?x HTTP/1.1\r\nHost: h\r\n\r\n";
    struct fixture *f = *state;
    char came[1024];
    ssize_t n;
    int fd;

    pausable(f, (struct ws_handlers){.on_head = pause_at_head, .on_request = mirror});
    fd = dial_unix();
    assert_int_equal(write(fd, post, sizeof post - 1), sizeof post - 1);
    let_serve(f);
    assert_int_equal(ws_respond(f->conn, 403, NULL, 0, NULL, 0), 0);
    ws_resume(f->conn);
    let_serve(f);
    n = recv(fd, came, sizeof came - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    came[n] = '\0';
    assert_memory_equal(came, "HTTP/1.1 403", 12);
    assert_non_null(strstr(came, "\r\nConnection: close\r\n"));
    assert_int_equal(strlen(came), strstr(came, "\r\n\r\n") + 4 - came); /* one response */
    assert_int_equal(recv(fd, came, sizeof came, MSG_DONTWAIT), 0);
    assert_int_equal(f->seen.requests, 0);
    close(fd);
}

static void refuse_in_words(struct ws_conn *c, const struct ws_request *req, int status)
{
    struct ws_str length = ws_request_header(req, "Content-Length");

    ws_respond(c, status, NULL, 0, length.data, length.len);
}

/* The head that was kept for a body is not that of the next request. */
static void request_behind_one_that_was_answered_in_a_pause_is_itself(void **state)
{
    static const char get[] = "GET /ws HTTP/1.1\r\n" HOST "\r\n";
    static const char post[] = "POST /ws HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n";
    struct fixture *f = *state;
    char came[1024];
    ssize_t n;
    int fd;

    pausable(f, (struct ws_handlers){
                    .on_head = pause_at_head, .on_request = mirror, .on_refuse = refuse_in_words});
    fd = dial_unix();
    assert_int_equal(write(fd, get, sizeof get - 1), sizeof get - 1);
    let_serve(f);
    assert_int_equal(ws_respond(f->conn, 200, NULL, 0, NULL, 0), 0);
    ws_resume(f->conn);
    let_serve(f);
    discard(fd);
    assert_int_equal(write(fd, post, sizeof post - 1), sizeof post - 1);
    let_serve(f);
    n = recv(fd, came, sizeof came, MSG_DONTWAIT);
    assert_true(n > 12);
    assert_memory_equal(came, "HTTP/1.1 413", 12);
    assert_memory_equal(came + n - 12, "\r\n\r\n99999999", 12);
    close(fd);
}

static void pause_and_respond(struct ws_conn *c, const struct ws_request *req)
{
    pause_at_head(c, req);
    mirror(c, req);
}

static void request_behind_a_pause_is_not_late(void **state)
{
    struct fixture *f = *state;
    int fd;

    pausable(f, (struct ws_handlers){.on_request = pause_and_respond});
    fd = dial_unix();
    assert_int_equal(write(fd, BYTES("GET /ws HTTP/1.1\r\n" HOST "\r\nGET /ws HT")), 47);
    let_serve(f);
    let_pass(f, PAUSE);
    ws_resume(f->conn);
    let_serve(f);
    assert_int_equal(write(fd, BYTES("TP/1.1\r\n" HOST "\r\n")), 27);
    let_serve(f);
    assert_int_equal(f->seen.requests, 2);
    close(fd);
    let_serve(f);
}

static void request_behind_a_pause_is_answered_though_the_client_has_shut_down(void **state)
{
    static const char requests[] =
        "GET /ws HTTP/1.1\r\n" HOST "\r\nGET /ws HTTP/1.1\r\n" HOST "\r\n";
    struct fixture *f = *state;
    int fd;

    pausable(f, (struct ws_handlers){.on_request = pause_and_respond});
    fd = dial_unix();
    assert_int_equal(write(fd, BYTES(requests)), sizeof requests - 1);
    shutdown(fd, SHUT_WR);
    let_serve(f);
    assert_int_equal(f->seen.requests, 1);
    ws_resume(f->conn);
    let_serve(f);
    assert_int_equal(f->seen.requests, 2);
    close(fd);
    let_serve(f);
}

/* --- a connection that is not read, since its peer does not read ------------------------------ */

/* Ask for echoes and read none, until the server does not read either. Returns how many messages
 * were sent. */
static int write_until_paused(struct fixture *f, int fd)
{
    char text[1000];
    int sent = 0;

    memset(text, 'x', sizeof text);
    raw_bytes_frame(&f->out, RAW_TEXT, text, sizeof text);
    for (bool again = false; sent < 10000; again = !again) {
        while (write(fd, f->out.data, f->out.len) == (ssize_t)f->out.len) {
            sent++;
            again = false;
        }
        if (again)
            break; /* the server has had its turns, and there still is no room */
        let_serve(f);
    }
    f->out.len = 0;
    assert_in_range(f->seen.messages, 1, sent - 1);
    assert_in_range(ws_server_stats(f->server).buffered, 64 * KIB, 1 * MIB);
    return sent;
}

static void send_burst(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    static const char block[64 * KIB];

    (void)data;
    count_message(c, op, data, len);
    for (int i = 0; i < 15; i++)
        ws_send(c, WS_OP_BINARY, block, sizeof block);
}

/* Time passes for a peer with more than max_queue to read, which reads `bytes` in that time. */
static void read_slowly(struct fixture *f, int fd, size_t bytes, int seconds)
{
    static uint8_t sink[100 * KIB];
    size_t done = 0;

    while (done < bytes) {
        ssize_t n = recv(fd, sink, bytes - done, MSG_DONTWAIT);

        assert_true(n > 0);
        done += (size_t)n;
        let_serve(f);
    }
    let_pass(f, seconds);
}

/* Pings or not, which wait behind all that. */
static void peer_over_max_queue_is_kept_as_long_as_it_reads_on(void **state)
{
    static const unsigned intervals_ms[] = {UINT_MAX, 15000};
    static char path[64];
    static const char *const addresses[] = {path, NULL};
    struct fixture *f = *state;

    snprintf(path, sizeof path, "unix:/tmp/minnow-test-%d.sock", (int)getpid());
    for (size_t i = 0; i < COUNT(intervals_ms); i++) {
        int fd;

        memset(&f->seen, 0, sizeof f->seen);
        create(f, (struct ws_options){.bind = addresses,
                                      .max_queue = 128 * KIB,
                                      .ping_interval_ms = intervals_ms[i],
                                      .ping_timeout_ms = 15000,
                                      .close_timeout_ms = 10000});
        serve(f, "/ws", (struct ws_handlers){.on_message = send_burst});
        fd = dial_upgraded(f);
        send_letters(fd, "x");
        let_serve(f);
        for (int round = 0; round < 5; round++) {
            read_slowly(f, fd, 90 * KIB, 11);
            assert_int_equal(f->seen.closed, 0);
            assert_true(ws_server_stats(f->server).buffered > 128 * KIB);
        }
        for (int round = 0; round < 3; round++) /* a ping counts anew, once */
            read_slowly(f, fd, round < 2 ? 10 * KIB : 0, 11);
        assert_int_equal(f->seen.closed, 1);
        assert_int_equal(f->seen.close_code, WS_CLOSE_TRY_LATER);
        close(fd);
        let_serve(f);
        ws_server_free(f->server);
        f->server = NULL;
        faults_none();
    }
}

static void peer_that_reads_nothing_and_leaves_is_heard_to_the_end(void **state)
{
    struct fixture *f = *state;
    int sent, fd;

    pausable(f, (struct ws_handlers){.on_message = echo});
    fd = dial_upgraded(f);
    sent = write_until_paused(f, fd);
    close(fd);
    let_serve(f);
    assert_int_equal(f->seen.messages, sent);
    assert_int_equal(f->seen.closed, 1);
    assert_int_equal(f->seen.close_code, WS_CLOSE_ABNORMAL);
    assert_int_equal(ws_server_stats(f->server).connections, 0);
    assert_int_equal(ws_server_stats(f->server).buffered, 0);
}

/* What is still in the socket then is lost by TCP, and the connection ends all the same. */
static void reset_ends_a_connection_that_is_not_read(void **state)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    struct fixture *f = *state;
    int fd;

    create(f, (struct ws_options){0});
    fd = dial(f->port);
    raw_bytes_upgrade(&f->out, "/echo", "");
    assert_int_equal(write(fd, f->out.data, f->out.len), f->out.len);
    f->out.len = 0;
    let_serve(f);
    write_until_paused(f, fd);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
    let_serve(f);
    assert_int_equal(f->seen.closed, 1);
    assert_int_equal(f->seen.close_code, WS_CLOSE_ABNORMAL);
    assert_int_equal(ws_server_stats(f->server).connections, 0);
    assert_int_equal(ws_server_stats(f->server).buffered, 0);
}

/* The requests behind one that is answered later fill what is kept of them: more is not read. */
static void client_that_leaves_before_its_answer_is_heard_of_though_it_is_not_read(void **state)
{
    static const char next[] = "GET /http HTTP/1.1\r\n" HOST "\r\n";
    struct fixture *f = *state;
    int fd;

    pausable(f, (struct ws_handlers){.on_request = keep_waiting, .on_abort = count_abort});
    fd = dial_unix();
    assert_true(write(fd, BYTES("GET /ws HTTP/1.1\r\n" HOST "\r\n")) > 0);
    for (int i = 0; i < 10000 && write(fd, next, sizeof next - 1) > 0; i++)
        continue;
    let_serve(f);
    assert_false(wants_a_turn(f));
    close(fd);
    let_serve(f);
    assert_int_equal(f->seen.aborted, 1);
    assert_int_equal(f->seen.requests, 0);
    assert_int_equal(ws_server_stats(f->server).connections, 0);
    assert_int_equal(ws_server_stats(f->server).buffered, 0);
}

/* Without on_abort a request is answered though its client says no more; it is over when the client
 * does not listen either. */
static void client_that_has_said_all_and_leaves_is_gone_without_on_abort(void **state)
{
    struct fixture *f = *state;
    int fd;

    pausable(f, (struct ws_handlers){.on_request = keep_waiting});
    fd = dial_unix();
    assert_true(write(fd, BYTES("GET /ws HTTP/1.1\r\n" HOST "\r\n")) > 0);
    shutdown(fd, SHUT_WR);
    let_serve(f);
    assert_int_equal(ws_server_stats(f->server).connections, 1);
    close(fd);
    let_serve(f);
    assert_int_equal(ws_server_stats(f->server).connections, 0);
}

/* --- timers of the application ---------------------------------------------------------------- */

static void timer_is_set_again_and_again_without_memory(void **state)
{
    struct fixture *f = *state;
    struct ws_account *a;
    struct ws_timer *t;

    create(f, (struct ws_options){0});
    a = ws_account_new(f->server, NULL);
    oom_after(0);
    assert_null(ws_timer_new(f->server, a, note_fired, f));
    oom_after(-1);
    t = ws_timer_new(f->server, a, note_fired, f);
    assert_non_null(t);
    oom_after(0);
    for (int i = 0; i < 3; i++) {
        ws_timer_set(t, 1000);
        ws_timer_set(t, 5000); /* moves it */
        let_pass(f, 2);
        assert_int_equal(f->seen.ran, i);
        let_pass(f, 4);
        assert_int_equal(f->seen.ran, i + 1);
    }
    ws_timer_set(t, 1000);
    ws_timer_stop(t);
    ws_timer_stop(t);
    let_pass(f, 2);
    assert_int_equal(f->seen.ran, 3);
    oom_after(-1);
    ws_timer_cancel(t);
    ws_account_release(a);
}

#include "tests/test_faults.list"

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* write() to what the server has ended */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
