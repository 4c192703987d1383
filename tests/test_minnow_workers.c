/* SPDX-License-Identifier: MIT
 *
 * The program with --workers, as its users meet it: workers that crash, restarts under load, stops,
 * and Socket.IO whose requests land on any of them. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "process.h"
#include "raw_client.h"

#define COUNT(a)  (sizeof(a) / sizeof(a)[0])
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

enum { ARGS_MAX = 20, CLIENTS = 32, PIDS_MAX = 32, PATIENCE_MS = 20000 };

struct fixture {
    struct process process;
    uint16_t port;
    struct raw_client clients[CLIENTS];
    char directory[64];             /* "": none */
    char path[96];                  /* in it: of a socket, or of a program */
    char program[PROCESS_PATH_MAX]; /* what is copied there; "": nothing */
    bool was_named;                 /* by MINNOW in the environment */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    process_init(&f->process);
    for (size_t i = 0; i < CLIENTS; i++)
        raw_init(&f->clients[i]);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&f->clients[i]);
    process_release(&f->process);
    if (f->program[0] != '\0' && f->was_named)
        setenv("MINNOW", f->program, 1);
    else if (f->program[0] != '\0')
        unsetenv("MINNOW");
    if (f->directory[0] != '\0') {
        unlink(f->path);
        rmdir(f->directory);
    }
    free(f);
    return 0;
}

static void make_directory(struct fixture *f, const char *name)
{
    strcpy(f->directory, "/tmp/minnow-workers-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/%s", f->directory, name);
}

static void start(struct fixture *f, const char *const *args)
{
    const char *argv[ARGS_MAX + 2] = {"minnow"};

    for (size_t i = 0; args[i] != NULL; i++) {
        assert_true(i < ARGS_MAX);
        argv[i + 1] = args[i];
    }
    process_start(&f->process, "minnow", argv);
}

/* Start it and wait until all workers serve: then it prints the address. */
static void serve(struct fixture *f, const char *const *args)
{
    const char *colon;

    start(f, args);
    colon = strstr(process_line(&f->process, &f->process.out), "127.0.0.1:");
    assert_non_null(colon);
    f->port = (uint16_t)atoi(colon + strlen("127.0.0.1:"));
}

static struct raw_client *unconnected(struct fixture *f)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        if (f->clients[i].fd < 0)
            return &f->clients[i];
    }
    fail_msg("more than %d clients", CLIENTS);
    return NULL;
}

static struct raw_client *connected(struct fixture *f)
{
    struct raw_client *c = unconnected(f);

    raw_connect(c, f->port);
    return c;
}

static struct raw_client *upgraded(struct fixture *f, const char *path)
{
    struct raw_client *c = connected(f);

    raw_upgrade(c, path);
    return c;
}

static void close_all(struct fixture *f)
{
    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&f->clients[i]);
}

/* --- processes -------------------------------------------------------------------------------- */

/* The parent of a process; 0: there is no such process, or it has ended and waits for its
 * parent. */
static pid_t parent_of(pid_t pid)
{
    char path[64], text[512];
    char state = 0;
    int parent = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (file == NULL)
        return 0;
    if (fgets(text, sizeof text, file) != NULL)
        sscanf(strrchr(text, ')'), ") %c %d", &state, &parent);
    fclose(file);
    return state == 'Z' || state == 'X' ? 0 : parent;
}

/* The living ones. */
static size_t children_of(pid_t parent, pid_t pids[PIDS_MAX])
{
    DIR *directory = opendir("/proc");
    const struct dirent *entry;
    size_t count = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        pid_t pid = (pid_t)atoi(entry->d_name);

        if (pid > 0 && count < PIDS_MAX && parent_of(pid) == parent)
            pids[count++] = pid;
    }
    closedir(directory);
    return count;
}

static size_t workers_of(const struct fixture *f, pid_t pids[PIDS_MAX])
{
    return children_of(f->process.pid, pids);
}

/* The children of a process, living or not; in the order in which they were started, and faster
 * than children_of(). Needs CONFIG_PROC_CHILDREN. */
static size_t list_children(pid_t parent, pid_t pids[PIDS_MAX])
{
    char path[64], text[512] = "";
    size_t count = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    file = fopen(path, "r");
    assert_non_null(file);
    if (fgets(text, sizeof text, file) != NULL) {
        for (char *at = text, *end; count < PIDS_MAX; at = end) {
            pids[count] = (pid_t)strtol(at, &end, 10);
            if (end == at)
                break;
            count++;
        }
    }
    fclose(file);
    return count;
}

static void wait_for_workers(struct fixture *f, size_t wanted)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;
    pid_t pids[PIDS_MAX];
    size_t count;

    while ((count = workers_of(f, pids)) != wanted && raw_now_ms() < deadline)
        poll(NULL, 0, 5);
    assert_int_equal(count, wanted);
}

static void wait_until_gone(pid_t pid)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    while (parent_of(pid) != 0 && raw_now_ms() < deadline)
        poll(NULL, 0, 5);
    assert_int_equal(parent_of(pid), 0);
}

static size_t descriptors_of(pid_t pid)
{
    char path[64];
    DIR *directory;
    size_t count = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    directory = opendir(path);
    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* The workers, and how many descriptors each had then. */
struct census {
    pid_t pids[PIDS_MAX];
    size_t descriptors[PIDS_MAX];
    size_t count;
};

static void count_workers(struct fixture *f, struct census *c)
{
    c->count = workers_of(f, c->pids);
    for (size_t i = 0; i < c->count; i++)
        c->descriptors[i] = descriptors_of(c->pids[i]);
}

/* Have clients come since, to each of the workers? */
static bool all_have_clients(const struct census *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (descriptors_of(c->pids[i]) <= c->descriptors[i])
            return false;
    return true;
}

/* Let clients enter until each worker has some: a worker that is busy is left out of the turns.
 * Returns how many have entered. */
static int enter_all_workers(struct fixture *f, void (*enter)(struct fixture *f))
{
    struct census census;
    int count = 0;

    count_workers(f, &census);
    while (count < CLIENTS - 2 && (count < 6 || !all_have_clients(&census))) {
        enter(f);
        count++;
    }
    assert_true(all_have_clients(&census));
    return count;
}

static void expect_on_stderr(struct fixture *f, const char *wanted)
{
    const char *line = process_line(&f->process, &f->process.err);

    if (strstr(line, wanted) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", wanted, line);
}

static bool says_more_within(struct fixture *f, int timeout_ms)
{
    struct pollfd ready = {.fd = f->process.err.fd, .events = POLLIN};

    return f->process.err.at != f->process.err.len || poll(&ready, 1, timeout_ms) > 0;
}

static void expect_clean_end(struct fixture *f)
{
    close_all(f);
    process_signal(&f->process, SIGTERM);
    assert_int_equal(process_wait(&f->process), 0);
    assert_int_equal(f->process.err.at, f->process.err.len);
}

/* It ends with this status and one line on stderr. */
static void expect_failure(struct fixture *f, int status, const char *wanted)
{
    expect_on_stderr(f, wanted);
    assert_int_equal(process_wait(&f->process), status);
    if (f->process.err.at != f->process.err.len)
        fail_msg("more on stderr: %s", f->process.err.text + f->process.err.at);
    assert_int_equal(f->process.out.len, 0);
}

/* --- the command line ------------------------------------------------------------------------- */

static void wrong_options_are_said_in_one_line(void **state)
{
    static const struct {
        const char *args[6];
        const char *wanted;
    } cases[] = {
        {{"--workers", "0"}, "--workers '0': not a number from 1 to 256, or auto"},
        {{"--workers", "257"}, "--workers '257': not a number from 1 to 256, or auto"},
        {{"--workers", "two"}, "--workers 'two': not a number from 1 to 256, or auto"},
        {{"--workers", "2x"}, "--workers '2x': not a number from 1 to 256, or auto"},
        {{"--workers", ""}, "--workers '': not a number from 1 to 256, or auto"},
        {{"--drain-timeout", "0"}, "--drain-timeout '0': not a time of 0.001 to 86400 seconds"},
        {{"--max-clients", "3", "--workers", "4"}, "--max-clients '3': fewer than --workers"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture *f = *state;

        start(f, cases[i].args);
        expect_failure(f, 2, cases[i].wanted);
        process_release(&f->process);
    }
}

static void start_that_fails_is_said_in_one_line(void **state)
{
    struct fixture *f = *state;
    char port[8];
    int holder;
    uint16_t number = process_reserve_port(&holder);

    assert_int_equal(listen(holder, 1), 0);
    snprintf(port, sizeof port, "%u", number);
    start(f, ARGS("--workers", "2", "-p", port));
    expect_failure(f, 1, "cannot listen on 127.0.0.1 port");
    process_release(&f->process);
    close(holder);
    start(f, ARGS("--workers", "3", "-p", "0", "--max-memory", "2"));
    expect_failure(f, 1, "cannot start");
}

static void redis_that_nobody_answers_at_is_said_once(void **state)
{
    struct fixture *f = *state;
    char url[64], line[128];
    int holder;

    snprintf(url, sizeof url, "redis://127.0.0.1:%u", process_reserve_port(&holder));
    snprintf(line, sizeof line, "minnow: --redis %s: Connection refused", strrchr(url, '/') + 1);
    start(f, ARGS("--workers", "3", "-p", "0", "--redis", url));
    expect_failure(f, 1, line);
    close(holder);
}

static void variable_that_is_from_no_parent_is_said(void **state)
{
    static const char *const values[] = {"",
                                         "x",
                                         "1",
                                         "1 0 0 2",
                                         "2 0 0 2 1 3 4",
                                         "1 0 2 2 1 3 4",
                                         "1 0 0 2 2 3 4",
                                         "1 0 0 2 1 99 98",
                                         "1 0 0 2 1 3 4x",
                                         "1 -1 0 2 1 3 4"};

    for (size_t i = 0; i < COUNT(values); i++) {
        struct fixture *f = *state;

        setenv("MINNOW_WORKER", values[i], 1);
        start(f, ARGS("-p", "0"));
        unsetenv("MINNOW_WORKER");
        expect_failure(f, 1, "MINNOW_WORKER in the environment is not from a parent");
        process_release(&f->process);
    }
}

static void start_prints_what_all_workers_offer_together(void **state)
{
    struct fixture *f = *state;
    const char *line;

    serve(f, ARGS("echo", "--workers", "3", "-p", "0", "--max-clients", "10"));
    process_expect_line(&f->process, &f->process.out,
                        "minnow: up to 10 clients, served by 3 workers");
    line = process_line(&f->process, &f->process.out);
    assert_memory_equal(line, "minnow: sandbox: ", 17);
    assert_non_null(strstr(line, "; their parent: "));
    wait_for_workers(f, 3);
    expect_clean_end(f);
    assert_int_equal(f->process.out.at, f->process.out.len);
}

static void lines_of_a_worker_say_which_it_is(void **state)
{
    struct fixture *f = *state;
    int seen = 0;

    serve(f, ARGS("echo", "--workers", "2", "-v", "-p", "0"));
    for (int i = 0; i < 8; i++)
        raw_expect_echo(upgraded(f, "/"), "hello");
    for (int i = 0; i < 8; i++) {
        const char *line = process_line(&f->process, &f->process.err);

        assert_memory_equal(line, "minnow[", 7);
        assert_memory_equal(line + 8, "]: #", 4);
        seen |= 1 << (line[7] - '0');
    }
    assert_true(seen != 0 && seen <= 3);
    close_all(f);
    process_signal(&f->process, SIGTERM);
    assert_int_equal(process_wait(&f->process), 0);
}

static void one_worker_is_the_process_itself(void **state)
{
    struct fixture *f = *state;

    serve(f, ARGS("echo", "--workers", "1", "-p", "0"));
    wait_for_workers(f, 0);
    raw_expect_echo(upgraded(f, "/"), "hello");
    expect_clean_end(f);
}

static void quiet_workers_print_the_address_alone(void **state)
{
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX];

    serve(f, ARGS("echo", "--workers", "2", "-q", "-p", "0"));
    assert_int_equal(workers_of(f, pids), 2);
    kill(pids[0], SIGKILL);
    wait_until_gone(pids[0]);
    wait_for_workers(f, 2);
    expect_clean_end(f);
    assert_int_equal(f->process.out.at, f->process.out.len);
    assert_int_equal(f->process.err.len, 0);
}

static void name_of(pid_t pid, char name[32])
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(name, 32, file));
    fclose(file);
}

/* As ps and top show it. */
static void workers_have_the_name_of_the_program(void **state)
{
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX];
    char name[32];

    serve(f, ARGS("echo", "--workers", "2", "-q", "-p", "0"));
    assert_int_equal(workers_of(f, pids), 2);
    for (int i = 0; i < 2; i++) {
        name_of(pids[i], name);
        assert_string_equal(name, "minnow\n");
    }
    expect_clean_end(f);
}

/* What a parent leaves to a worker, in this process. */
static int left[3];

static void keep_what_is_left(void)
{
    for (size_t i = 0; i < COUNT(left); i++)
        fcntl(left[i], F_SETFD, 0);
}

/* Start a worker whose parent is this process: left[2] is its end of the bus. */
static void start_worker(struct fixture *f, const char *const *args)
{
    char value[64];

    f->port = process_reserve_port(&left[0]);
    assert_int_equal(listen(left[0], 8), 0);
    fcntl(left[0], F_SETFL, O_NONBLOCK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, &left[1]),
                     0);
    snprintf(value, sizeof value, "1 0 0 2 1 %d %d", left[1], left[0]);
    f->process.in_child = keep_what_is_left;
    setenv("MINNOW_WORKER", value, 1);
    start(f, args);
    unsetenv("MINNOW_WORKER");
}

static void welcome_worker(void)
{
    /* the length of the content, BUS_FRAME_WELCOME, without a descriptor, its number */
    static const uint8_t frame[] = {4, 0, 0, 0, 1, 0, 0, 0, 0, 0};

    assert_int_equal(send(left[2], frame, sizeof frame, 0), sizeof frame);
}

/* It ends when its parent has gone. It holds that end, too, so it has to be told by SIGKILL. */
static void end_worker(struct fixture *f)
{
    for (size_t i = 0; i < COUNT(left); i++)
        close(left[i]);
    process_signal(&f->process, SIGKILL);
    assert_int_equal(process_wait(&f->process), -SIGKILL);
    assert_int_equal(f->process.err.len, 0);
}

/* A directory of users may not be reachable in the sandbox of the parent, or be away when a worker
 * is replaced. */
static void worker_does_not_look_up_the_user_again(void **state)
{
    struct fixture *f = *state;

    start_worker(f, ARGS("echo", "--workers", "2", "--user", "no-such-user"));
    welcome_worker();
    raw_expect_echo(upgraded(f, "/"), "hello");
    end_worker(f);
}

/* Before that it does not know whose sessions there are. */
static void worker_serves_nobody_before_its_parent_has_said_who_is_there(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;

    start_worker(f, ARGS("echo"));
    raw_send_upgrade(connected(f), "/", "");
    assert_false(raw_readable_within(&f->clients[0], 300));
    welcome_worker();
    raw_expect_upgraded(&f->clients[0], &r);
    end_worker(f);
}

/* As another worker does that has gone wrong: its own connections never block. */
static void hand_over_blocking(int fd)
{
    /* the length of the content, BUS_FRAME_HAND_OVER, with a descriptor, from worker 1 */
    uint8_t frame[] = {4, 0, 0, 0, 8, 1, 1, 0, 0, 0};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    struct iovec iov = {frame, sizeof frame};
    struct msghdr message = {.msg_iov = &iov, .msg_control = &control};

    message.msg_iovlen = 1;
    message.msg_controllen = sizeof control.space;
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    assert_int_equal(sendmsg(left[2], &message, 0), sizeof frame);
    close(fd);
}

static void connection_that_blocks_ends_no_worker(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    uint16_t port;
    int holder;

    start_worker(f, ARGS("echo"));
    welcome_worker();
    raw_expect_echo(upgraded(f, "/"), "hello");
    port = process_reserve_port(&holder);
    assert_int_equal(listen(holder, 1), 0);
    c = unconnected(f);
    raw_connect(c, port);
    hand_over_blocking(accept4(holder, NULL, NULL, SOCK_CLOEXEC));
    raw_upgrade(c, "/");
    raw_expect_echo(c, "hello");
    close(holder);
    end_worker(f);
}

/* --- clients ---------------------------------------------------------------------------------- */

static void limits_are_for_all_workers_together(void **state)
{
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX];
    struct raw_response r;

    serve(f, ARGS("echo", "--workers", "2", "-q", "-p", "0", "--max-clients", "4"));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++) {
            if (f->clients[i].fd < 0)
                upgraded(f, "/");
            raw_expect_echo(&f->clients[i], "hello");
        }
        for (int i = 0; i < 2; i++) {
            raw_expect_status(connected(f), &r, 503);
            raw_close(&f->clients[4]);
        }
        if (round == 0) { /* whose replacement has as many places */
            assert_int_equal(workers_of(f, pids), 2);
            kill(pids[0], SIGKILL);
            wait_until_gone(pids[0]);
            wait_for_workers(f, 2);
            poll(NULL, 0, 300 * SLOWER); /* until it serves */
            for (int i = 0; i < 4; i++) {
                if (raw_gone_within(&f->clients[i], 50))
                    raw_close(&f->clients[i]);
            }
        }
    }
    expect_clean_end(f);
}

static void unix_socket_is_shared_and_removed_at_the_end(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct fixture *f = *state;
    char argument[128];
    struct stat st;

    make_directory(f, "socket");
    snprintf(argument, sizeof argument, "unix:%s", f->path);
    strcpy(address.sun_path, f->path);
    serve(f, ARGS("echo", "--workers", "2", "-p", "0", "--bind", "127.0.0.1", "--bind", argument));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++) {
            struct raw_client *c = unconnected(f);

            raw_connect_to(c, (struct sockaddr *)&address, sizeof address, 0);
            raw_upgrade(c, "/");
            raw_expect_echo(c, "hello");
        }
        close_all(f);
        process_signal(&f->process, SIGHUP);
        expect_on_stderr(f, "2 new workers serve");
    }
    assert_int_equal(stat(f->path, &st), 0);
    wait_for_workers(f, 2);
    expect_clean_end(f);
    assert_int_equal(stat(f->path, &st), -1);
}

/* Read up to the message `end`; all before it are `text`. */
static void expect_end(struct raw_client *c, const char *text, const char *end)
{
    struct raw_frame frame;

    do
        raw_read_frame(c, &frame);
    while (frame.len == strlen(text) && memcmp(frame.payload, text, frame.len) == 0);
    assert_int_equal(frame.len, strlen(end));
    assert_memory_equal(frame.payload, end, frame.len);
}

/* What the first `count` clients say all of them get, and nobody twice. */
static void expect_each_once(struct fixture *f, int count, const char *text)
{
    for (int from = 0; from < count; from++)
        raw_send_message(&f->clients[from], text);
    for (int to = 0; to < count; to++) {
        for (int from = 0; from < count; from++)
            raw_expect_message(&f->clients[to], text);
    }
    poll(NULL, 0, 50);
    for (int to = 0; to < count; to++)
        assert_false(raw_readable_within(&f->clients[to], 0));
}

/* What each of the first `count` clients says all of them get, once they know of each other. */
static void expect_all_reached(struct fixture *f, int count, const char *text, const char *end)
{
    for (int from = 0; from < count; from++) {
        for (int to = 0; to < count; to++) {
            raw_send_message(&f->clients[from], text);
            for (int i = 0; i < 200 && !raw_readable_within(&f->clients[to], 50); i++)
                raw_send_message(&f->clients[from], text);
        }
        raw_send_message(&f->clients[from], end);
        for (int to = 0; to < count; to++)
            expect_end(&f->clients[to], text, end);
    }
    expect_each_once(f, count, text);
}

static void enter_room(struct fixture *f)
{
    upgraded(f, "/room");
}

/* A room of a new worker is known to the others after a moment. */
static void chat_reaches_members_on_all_workers(void **state)
{
    struct fixture *f = *state;
    int count;

    serve(f, ARGS("--workers", "3", "-p", "0"));
    count = enter_all_workers(f, enter_room);
    upgraded(f, "/other");
    for (int round = 0; round < 2; round++) {
        expect_all_reached(f, count, "x", "end");
        process_signal(&f->process, SIGHUP); /* and of an old and a new one */
        expect_on_stderr(f, "3 new workers serve");
        raw_close(&f->clients[0]);
        raw_connect(&f->clients[0], f->port);
        raw_upgrade(&f->clients[0], "/room");
    }
    assert_false(raw_readable_within(&f->clients[count], 0));
    expect_clean_end(f);
}

/* --- crashes ---------------------------------------------------------------------------------- */

static void crashed_worker_is_replaced_and_the_other_notices_nothing(void **state)
{
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX];
    size_t gone = 0, victims;

    serve(f, ARGS("echo", "--workers", "2", "-p", "0"));
    assert_int_equal(workers_of(f, pids), 2);
    victims = descriptors_of(pids[0]);
    for (int i = 0; i < 8; i++)
        raw_expect_echo(upgraded(f, "/"), "hello");
    victims = descriptors_of(pids[0]) - victims;
    kill(pids[0], SIGKILL);
    expect_on_stderr(f, "ended by signal 9 (Killed); another one starts in 0.1 s");
    for (int i = 0; i < 8; i++) {
        struct raw_client *c = &f->clients[i];

        if (raw_gone_within(c, 100)) {
            raw_close(c);
            gone++;
        } else {
            raw_expect_echo(c, "still there");
        }
    }
    assert_int_equal(gone, victims);
    for (int i = 0; i < 4; i++)
        raw_expect_echo(upgraded(f, "/"), "meanwhile");
    wait_for_workers(f, 2);
    for (int i = 0; i < 4; i++)
        raw_expect_echo(upgraded(f, "/"), "and after");
    expect_clean_end(f);
}

static void clients_that_wait_to_be_accepted_are_not_lost_with_a_worker(void **state)
{
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX];

    serve(f, ARGS("echo", "--workers", "2", "-q", "-p", "0"));
    assert_int_equal(workers_of(f, pids), 2);
    kill(pids[0], SIGSTOP);
    kill(pids[1], SIGSTOP);
    for (int i = 0; i < 8; i++) { /* in the backlog */
        raw_send_upgrade(connected(f), "/", "");
    }
    kill(pids[0], SIGKILL);
    kill(pids[1], SIGKILL);
    for (int i = 0; i < 8; i++) {
        struct raw_response r;

        raw_expect_upgraded(&f->clients[i], &r);
        raw_expect_echo(&f->clients[i], "at last");
    }
    expect_clean_end(f);
}

static void worker_that_crashes_again_and_again_waits_longer_each_time(void **state)
{
    static const char *const delays[] = {"in 0.1 s", "in 0.2 s", "in 0.4 s", "in 0.8 s"};
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX], first;

    serve(f, ARGS("echo", "--workers", "2", "-p", "0"));
    assert_int_equal(workers_of(f, pids), 2);
    first = pids[0];
    for (size_t i = 0; i < COUNT(delays); i++) {
        pid_t victim = i == 0 ? pids[1] : pids[0] == first ? pids[1] : pids[0];

        kill(victim, SIGKILL);
        expect_on_stderr(f, delays[i]);
        wait_until_gone(victim);
        wait_for_workers(f, 2);
        workers_of(f, pids);
    }
    raw_expect_echo(upgraded(f, "/"), "hello");
    close_all(f);
    process_signal(&f->process, SIGTERM);
    assert_int_equal(process_wait(&f->process), 0);
}

static void crashes_and_restarts_leak_no_descriptor(void **state)
{
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX];
    size_t before;

    serve(f, ARGS("echo", "--workers", "2", "-q", "-p", "0"));
    before = descriptors_of(f->process.pid);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(workers_of(f, pids), 2);
        kill(pids[0], SIGKILL);
        wait_until_gone(pids[0]);
        wait_for_workers(f, 2);
        workers_of(f, pids);
        process_signal(&f->process, SIGHUP);
        wait_until_gone(pids[0]);
        wait_until_gone(pids[1]);
        wait_for_workers(f, 2);
    }
    assert_int_equal(descriptors_of(f->process.pid), before);
    expect_clean_end(f);
}

static void workers_end_when_their_parent_is_killed(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    pid_t pids[PIDS_MAX];

    serve(f, ARGS("echo", "--workers", "2", "-q", "-p", "0"));
    c = upgraded(f, "/");
    assert_int_equal(workers_of(f, pids), 2);
    process_signal(&f->process, SIGKILL);
    raw_expect_close(c, 1001);
    raw_close(c);
    wait_until_gone(pids[0]);
    wait_until_gone(pids[1]);
}

/* The descriptors of a process, or 0 while one of the standard ones is not /dev/null. */
static size_t descriptors_without_streams(pid_t pid)
{
    size_t held = 0;

    for (int fd = 0; fd < 1000; fd++) {
        char path[64], target[64];
        ssize_t len;

        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
        len = readlink(path, target, sizeof target - 1);
        target[len < 0 ? 0 : len] = '\0';
        if (len >= 0 && fd <= STDERR_FILENO && strcmp(target, "/dev/null") != 0)
            return 0;
        held += len >= 0;
    }
    return held;
}

/* A process that looks up names has its end of a pair, and nothing of the worker's: no listening
 * socket, no socket of the bus, no log. It needs a moment to close them. */
static void process_that_looks_up_names_holds_nothing(void **state)
{
    struct fixture *f = *state;
    int64_t deadline = raw_now_ms() + PATIENCE_MS;
    pid_t pids[PIDS_MAX], lookup[PIDS_MAX];
    char url[64];
    int holder;

    snprintf(url, sizeof url, "redis://localhost:%u", process_reserve_port(&holder));
    serve(f, ARGS("--workers", "2", "-q", "-p", "0", "--redis", url, "--redis-optional"));
    assert_int_equal(workers_of(f, pids), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(children_of(pids[i], lookup), 1);
        while (descriptors_without_streams(lookup[0]) != 4 && raw_now_ms() < deadline)
            poll(NULL, 0, 5);
        assert_int_equal(descriptors_without_streams(lookup[0]), 4);
    }
    close(holder);
    expect_clean_end(f);
}

/* --- restarts --------------------------------------------------------------------------------- */

static void restart_under_load_refuses_nobody_and_loses_nothing(void **state)
{
    struct fixture *f = *state;
    pid_t before[PIDS_MAX], pids[PIDS_MAX];
    struct raw_client *old[4];

    serve(f, ARGS("echo", "--workers", "2", "-p", "0"));
    assert_int_equal(workers_of(f, before), 2);
    for (size_t i = 0; i < COUNT(old); i++)
        old[i] = upgraded(f, "/");
    process_signal(&f->process, SIGHUP);
    for (int round = 0; round < 60; round++) { /* before, while and after the new ones start */
        struct raw_client *c = upgraded(f, "/");

        raw_expect_echo(c, "new");
        raw_close(c);
        for (size_t i = 0; i < COUNT(old); i++)
            raw_expect_echo(old[i], "old");
    }
    expect_on_stderr(f, "2 new workers serve; the old ones serve their clients for at most 30 s");
    wait_for_workers(f, 4); /* the old ones have clients */
    for (size_t i = 0; i < COUNT(old); i++) {
        raw_expect_echo(old[i], "still");
        raw_send_close(old[i], 1000);
        raw_expect_closed(old[i], 1000);
        raw_close(old[i]);
    }
    wait_for_workers(f, 2);
    workers_of(f, pids);
    for (size_t i = 0; i < 2; i++)
        assert_true(pids[i] != before[0] && pids[i] != before[1]);
    expect_clean_end(f);
}

static void clients_of_old_workers_are_told_to_go_at_the_drain_timeout(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    serve(f, ARGS("echo", "--workers", "2", "-p", "0", "--drain-timeout", "0.3"));
    c = upgraded(f, "/");
    process_signal(&f->process, SIGHUP);
    expect_on_stderr(f, "for at most 0.3 s");
    raw_expect_echo(c, "for a moment");
    raw_expect_close(c, 1001);
    raw_close(c);
    wait_for_workers(f, 2);
    expect_clean_end(f);
}

/* A place that waits for its next worker is filled by the restart. */
static void restart_leaves_no_worker_too_many(void **state)
{
    static const char *const delays[] = {"in 0.1 s", "in 0.2 s", "in 0.4 s", "in 0.8 s"};
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX], first;

    serve(f, ARGS("echo", "--workers", "2", "-p", "0"));
    assert_int_equal(workers_of(f, pids), 2);
    first = pids[0];
    for (size_t i = 0; i < COUNT(delays); i++) {
        wait_for_workers(f, 2);
        workers_of(f, pids);
        kill(pids[0] == first ? pids[1] : pids[0], SIGKILL);
        expect_on_stderr(f, delays[i]);
    }
    process_signal(&f->process, SIGHUP);
    expect_on_stderr(f, "2 new workers serve");
    wait_until_gone(first);
    poll(NULL, 0, 1200); /* more than the last delay */
    assert_int_equal(workers_of(f, pids), 2);
    expect_clean_end(f);
}

/* Begin a restart, and stop number `n` of the new workers, from 0, before it serves. Returns it, or
 * 0 where it was too fast; then the restart is over. */
static pid_t stop_new_worker(struct fixture *f, size_t workers, size_t n)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;
    pid_t before[PIDS_MAX] = {0}, pids[PIDS_MAX] = {0};

    workers_of(f, before);
    process_signal(&f->process, SIGHUP);
    while (list_children(f->process.pid, pids) <= workers + n && !says_more_within(f, 0))
        assert_true(raw_now_ms() < deadline);
    if (!says_more_within(f, 0)) {
        kill(pids[workers + n], SIGSTOP);
        if (!says_more_within(f, 200))
            return pids[workers + n];
        kill(pids[workers + n], SIGCONT);
    }
    expect_on_stderr(f, "new workers serve");
    for (size_t i = 0; i < workers; i++)
        wait_until_gone(before[i]);
    return 0;
}

/* The program may have been replaced once more since the first SIGHUP. */
static void second_restart_follows_one_that_is_under_way(void **state)
{
    struct fixture *f = *state;
    pid_t stopped = 0;

    serve(f, ARGS("echo", "--workers", "2", "-p", "0"));
    for (int i = 0; i < 20 && stopped == 0; i++)
        stopped = stop_new_worker(f, 2, 0);
    assert_int_not_equal(stopped, 0);
    process_signal(&f->process, SIGHUP);
    process_signal(&f->process, SIGHUP);
    poll(NULL, 0, 50);
    kill(stopped, SIGCONT);
    expect_on_stderr(f, "SIGHUP: a restart is under way; another one follows");
    for (int i = 0; i < 2; i++)
        expect_on_stderr(f, "2 new workers serve");
    wait_for_workers(f, 2);
    raw_expect_echo(upgraded(f, "/"), "hello");
    expect_clean_end(f);
}

/* Those that serve already have clients by then. */
static void clients_of_new_workers_that_are_given_up_are_served_on(void **state)
{
    struct fixture *f = *state;
    pid_t victim = 0;

    serve(f, ARGS("echo", "--workers", "3", "-p", "0"));
    for (int i = 0; i < 20 && victim == 0; i++)
        victim = stop_new_worker(f, 3, 2);
    assert_int_not_equal(victim, 0);
    for (int i = 0; i < 10; i++)
        raw_expect_echo(upgraded(f, "/"), "hello");
    kill(victim, SIGKILL);
    expect_on_stderr(f, "ended by signal 9 (Killed) before it served");
    expect_on_stderr(f, "the new workers do not start; the old ones serve on");
    for (int i = 0; i < 10; i++)
        raw_expect_echo(&f->clients[i], "still there");
    close_all(f);
    wait_for_workers(f, 3);
    expect_clean_end(f);
}

static void copy_file(const char *from, const char *to)
{
    char command[9000];

    snprintf(command, sizeof command, "cp '%s' '%s.new' && mv '%s.new' '%s'", from, to, to, to);
    assert_int_equal(system(command), 0);
}

/* From now on start() starts a copy of the program. Its directory only its owner can enter. */
static void copy_program(struct fixture *f)
{
    const char *other = getenv("MINNOW");
    ssize_t len = readlink("/proc/self/exe", f->program, sizeof f->program - 16);

    assert_true(len > 0);
    f->program[len] = '\0';
    strcpy(strrchr(f->program, '/') + 1, "minnow");
    f->was_named = other != NULL;
    if (other != NULL)
        snprintf(f->program, sizeof f->program, "%s", other);
    make_directory(f, "minnow");
    copy_file(f->program, f->path);
    setenv("MINNOW", f->path, 1);
}

static void program_that_the_user_cannot_reach_is_said(void **state)
{
    struct fixture *f = *state;
    char line[160];

    if (geteuid() != 0)
        skip();
    copy_program(f);
    start(f, ARGS("echo", "--workers", "2", "-p", "0", "--user", "65534:65534"));
    snprintf(line, sizeof line, "minnow: cannot open %s as --user 65534:65534: Permission denied",
             f->path);
    expect_failure(f, 1, line);
}

static void program_that_does_not_start_replaces_nobody(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    pid_t before[PIDS_MAX];

    copy_program(f);
    serve(f, ARGS("echo", "--workers", "2", "-p", "0"));
    c = upgraded(f, "/");
    assert_int_equal(workers_of(f, before), 2);
    copy_file("/bin/false", f->path);
    process_signal(&f->process, SIGHUP);
    expect_on_stderr(f, "ended with status 1 before it served");
    expect_on_stderr(f, "the new workers do not start; the old ones serve on");
    raw_expect_echo(c, "still there");
    /* a worker that crashes is replaced by what runs, not by what lies there now */
    kill(before[0], SIGKILL);
    expect_on_stderr(f, "another one starts");
    wait_until_gone(before[0]);
    wait_for_workers(f, 2);
    raw_expect_echo(upgraded(f, "/"), "hello");
    copy_file(f->program, f->path);
    process_signal(&f->process, SIGHUP);
    expect_on_stderr(f, "2 new workers serve");
    unlink(f->path);
    process_signal(&f->process, SIGHUP);
    expect_on_stderr(f, "cannot open");
    raw_expect_echo(upgraded(f, "/"), "hello");
    expect_clean_end(f);
}

/* --- stops ------------------------------------------------------------------------------------ */

static void stop_closes_clients_of_all_workers_with_1001(void **state)
{
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX];

    serve(f, ARGS("echo", "--workers", "2", "-p", "0"));
    for (int i = 0; i < 6; i++)
        upgraded(f, "/");
    assert_int_equal(workers_of(f, pids), 2);
    /* Ctrl-C reaches the workers, too */
    kill(pids[0], SIGINT);
    kill(pids[1], SIGTERM);
    process_signal(&f->process, SIGINT);
    for (int i = 0; i < 6; i++) {
        raw_expect_close(&f->clients[i], 1001);
        raw_close(&f->clients[i]);
    }
    assert_int_equal(process_wait(&f->process), 0);
    assert_int_equal(f->process.err.len, 0);
}

static void second_signal_does_not_wait(void **state)
{
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX];

    serve(f, ARGS("echo", "--workers", "2", "-q", "-p", "0", "--close-timeout", "3600"));
    upgraded(f, "/");
    upgraded(f, "/"); /* they do not answer */
    assert_int_equal(workers_of(f, pids), 2);
    kill(pids[0], SIGSTOP); /* and this one cannot even hear it */
    process_signal(&f->process, SIGTERM);
    poll(NULL, 0, 50);
    assert_true(process_is_running(&f->process));
    process_signal(&f->process, SIGTERM);
    assert_int_equal(process_wait(&f->process), 0);
}

static void stop_while_a_restart_is_under_way_ends_all(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 4; i++) {
        serve(f, ARGS("echo", "--workers", "2", "-q", "-p", "0"));
        upgraded(f, "/");
        process_signal(&f->process, SIGHUP);
        poll(NULL, 0, 3 * i);
        process_signal(&f->process, SIGTERM);
        close_all(f);
        assert_int_equal(process_wait(&f->process), 0);
        process_release(&f->process);
    }
}

/* Nothing went wrong then. */
static void stop_while_the_first_worker_waits_for_redis_is_no_error(void **state)
{
    struct fixture *f = *state;
    char url[64];
    int holder;

    snprintf(url, sizeof url, "redis://127.0.0.1:%u", process_reserve_port(&holder));
    assert_int_equal(listen(holder, 1), 0);
    start(f, ARGS("--workers", "2", "-p", "0", "--redis", url));
    wait_for_workers(f, 1);
    poll(NULL, 0, 200);
    process_signal(&f->process, SIGTERM);
    assert_int_equal(process_wait(&f->process), 0);
    assert_int_equal(f->process.err.len, 0);
    close(holder);
}

/* --- Socket.IO -------------------------------------------------------------------------------- */

/* One request on a connection of its own. Returns the body, valid until the next one. */
static const char *ask(struct fixture *f, const char *method, const char *query, const char *body)
{
    static char answer[2048];
    struct raw_client *c = connected(f);
    struct raw_response r;
    char text[2048];

    snprintf(text, sizeof text,
             "%s /socket.io/?EIO=4&transport=polling%s HTTP/1.1\r\nHost: localhost\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             method, query, strlen(body), body);
    raw_send_text(c, text);
    raw_read_response(c, &r, false);
    snprintf(answer, sizeof answer, "%d %.*s", r.status, (int)r.body_len, (const char *)r.body);
    raw_close(c);
    return answer;
}

/* A session; `query` gets "&sid=...". */
static void open_session(struct fixture *f, char query[64])
{
    const char *answer = ask(f, "GET", "", "");
    const char *sid = strstr(answer, "\"sid\":\"");

    assert_non_null(sid);
    snprintf(query, 64, "&sid=%.20s", sid + 7);
    assert_string_equal(ask(f, "POST", query, "40"), "200 ok");
    assert_non_null(strstr(ask(f, "GET", query, ""), "200 40{"));
}

static void polling_works_whichever_worker_a_request_lands_on(void **state)
{
    struct fixture *f = *state;
    char queries[3][64];

    serve(f, ARGS("echo", "--workers", "3", "-p", "0"));
    for (size_t s = 0; s < COUNT(queries); s++)
        open_session(f, queries[s]);
    for (int i = 0; i < 20; i++) {
        for (size_t s = 0; s < COUNT(queries); s++) {
            assert_string_equal(ask(f, "POST", queries[s], "42[\"x\",1]"), "200 ok");
            assert_string_equal(ask(f, "GET", queries[s], ""), "200 42[\"x\",1]");
        }
        assert_string_equal(ask(f, "GET", "&sid=AAAAAAAAAAAAAAAAAAAA", ""),
                            "400 {\"code\":1,\"message\":\"Session ID unknown\"}");
    }
    expect_clean_end(f);
}

static void upgrade_works_whichever_worker_the_probe_lands_on(void **state)
{
    struct fixture *f = *state;

    serve(f, ARGS("echo", "--workers", "3", "-p", "0"));
    for (int i = 0; i < 6; i++) {
        struct raw_client *c;
        char query[64], path[128];

        open_session(f, query);
        snprintf(path, sizeof path, "/socket.io/?EIO=4&transport=websocket%s", query);
        c = upgraded(f, path);
        raw_send_message(c, "2probe");
        raw_expect_message(c, "3probe");
        raw_send_message(c, "5");
        raw_send_message(c, "42[\"x\",1]");
        raw_expect_message(c, "42[\"x\",1]");
    }
    expect_clean_end(f);
}

static void enter_namespace(struct fixture *f)
{
    struct raw_client *c = upgraded(f, "/socket.io/?EIO=4&transport=websocket");
    struct raw_frame frame;

    raw_read_frame(c, &frame);
    assert_memory_equal(frame.payload, "0{", 2);
    raw_send_message(c, "40");
    raw_read_frame(c, &frame);
    assert_memory_equal(frame.payload, "40{", 3);
}

static void events_reach_sockets_on_all_workers(void **state)
{
    struct fixture *f = *state;
    int count;

    serve(f, ARGS("--workers", "3", "-p", "0"));
    count = enter_all_workers(f, enter_namespace);
    expect_all_reached(f, count, "42[\"x\",1]", "42[\"end\"]");
    expect_clean_end(f);
}

static void sessions_of_old_workers_go_on_through_the_new_ones(void **state)
{
    struct fixture *f = *state;
    char query[64];

    serve(f, ARGS("echo", "--workers", "2", "-p", "0"));
    open_session(f, query);
    process_signal(&f->process, SIGHUP);
    expect_on_stderr(f, "2 new workers serve");
    for (int i = 0; i < 8; i++) {
        assert_string_equal(ask(f, "POST", query, "42[\"x\",1]"), "200 ok");
        assert_string_equal(ask(f, "GET", query, ""), "200 42[\"x\",1]");
    }
    wait_for_workers(f, 3); /* one has nobody */
    assert_string_equal(ask(f, "POST", query, "1"), "200 ok");
    wait_for_workers(f, 2);
    assert_string_equal(ask(f, "GET", query, ""),
                        "400 {\"code\":1,\"message\":\"Session ID unknown\"}");
    expect_clean_end(f);
}

static void session_of_a_crashed_worker_is_unknown(void **state)
{
    struct fixture *f = *state;
    pid_t pids[PIDS_MAX] = {0};
    char query[64];

    serve(f, ARGS("echo", "--workers", "2", "-q", "-p", "0"));
    open_session(f, query);
    assert_int_equal(workers_of(f, pids), 2);
    kill(pids[0], SIGKILL);
    kill(pids[1], SIGKILL);
    wait_until_gone(pids[0]);
    wait_until_gone(pids[1]);
    assert_string_equal(ask(f, "GET", query, ""),
                        "400 {\"code\":1,\"message\":\"Session ID unknown\"}");
    expect_clean_end(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#include "tests/test_minnow_workers.list"

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("minnow_workers", tests, NULL, NULL);
}
