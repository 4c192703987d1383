/* SPDX-License-Identifier: MIT
 *
 * A program under test as a process; see process.h. */
#include "process.h"

#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raw_client.h"

enum { POLL_MS = 10, EXEC_FAILED = 127 };

static void dump(const char *name, struct process_stream *s)
{
    for (size_t i = 0; i < s->len; i++) {
        if (s->text[i] == '\0') /* where process_line() has cut */
            s->text[i] = '\n';
    }
    print_error("  %s so far: %s\n", name, s->len > 0 ? s->text : "nothing");
}

static _Noreturn void process_fail(struct process *p, const char *what)
{
    print_error("ERROR: %s\n", what);
    dump("stdout", &p->out);
    dump("stderr", &p->err);
    fail();
    abort(); /* fail() jumps out of the test */
}

void process_init(struct process *p)
{
    *p = (struct process){.in = -1, .out = {.fd = -1}, .err = {.fd = -1}};
}

/* --- start ------------------------------------------------------------------------------------ */

static void path_beside_test(char path[PROCESS_PATH_MAX], const char *name)
{
    ssize_t len = readlink("/proc/self/exe", path, PROCESS_PATH_MAX - 1);
    char *slash;

    assert_true(len > 0);
    path[len] = '\0';
    slash = strrchr(path, '/');
    assert_non_null(slash);
    assert_true((size_t)(slash + 1 - path) + strlen(name) < PROCESS_PATH_MAX);
    strcpy(slash + 1, name);
}

/* The program to start: what the environment names in its place, else what lies beside the test. */
static void program_path(char path[PROCESS_PATH_MAX], const char *name)
{
    const char *other = strcmp(name, "minnow") == 0 ? getenv("MINNOW") : NULL;

    if (other == NULL) {
        path_beside_test(path, name);
        return;
    }
    assert_true(strlen(other) < PROCESS_PATH_MAX);
    strcpy(path, other);
}

/* Only calls that are safe between fork and exec. */
static _Noreturn void child(const struct process *p, const char *path, const char *const *argv,
                            int in, int out, int err)
{
    struct rlimit files = {.rlim_cur = p->files_soft, .rlim_max = p->files_hard};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL); /* ignored where `make test` runs in the background of a shell */
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    if (p->in_child != NULL)
        p->in_child();
    if (p->files_soft == 0 || setrlimit(RLIMIT_NOFILE, &files) == 0)
        execv(path, (char *const *)(uintptr_t)argv);
    _exit(EXEC_FAILED);
}

static void pipe_or_fail(int ends[2])
{
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
}

static void use_file(int *end, const char *path)
{
    if (path == NULL)
        return;
    close(*end);
    *end = open(path, O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC);
    assert_true(*end >= 0);
}

void process_start(struct process *p, const char *name, const char *const *argv)
{
    char path[PROCESS_PATH_MAX];
    int in[2];
    int out[2];
    int err[2];

    program_path(path, name);
    pipe_or_fail(in);
    pipe_or_fail(out);
    pipe_or_fail(err);
    use_file(&out[1], p->stdout_path);
    use_file(&err[1], p->stderr_path);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0)
        child(p, path, argv, in[0], out[1], err[1]);
    close(in[0]);
    close(out[1]);
    close(err[1]);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);
    p->in = in[1];
    p->out.fd = out[0];
    p->err.fd = err[0];
}

/* --- reading ---------------------------------------------------------------------------------- */

static void close_stream(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void stream_read(struct process_stream *s)
{
    char piece[4096];
    ssize_t n = s->fd < 0 ? -1 : read(s->fd, piece, sizeof piece);

    if (n == 0)
        close_stream(&s->fd);
    if (n <= 0)
        return;
    s->text = realloc(s->text, s->len + (size_t)n + 1);
    assert_non_null(s->text);
    memcpy(s->text + s->len, piece, (size_t)n);
    s->len += (size_t)n;
    s->text[s->len] = '\0';
}

/* Take what has come on both pipes, so that neither fills up. */
static void pump(struct process *p)
{
    struct pollfd fds[2] = {{.fd = p->out.fd, .events = POLLIN},
                            {.fd = p->err.fd, .events = POLLIN}};

    poll(fds, 2, POLL_MS);
    stream_read(&p->out);
    stream_read(&p->err);
}

const char *process_line(struct process *p, struct process_stream *s)
{
    int64_t deadline = raw_now_ms() + PROCESS_DEADLINE_MS;
    char *line;
    char *end;

    while (s->text == NULL || (end = strchr(s->text + s->at, '\n')) == NULL) {
        if (s->fd < 0)
            process_fail(p, "the stream ended before the line expected");
        if (raw_now_ms() > deadline)
            process_fail(p, "the line expected did not come");
        pump(p);
    }
    *end = '\0';
    line = s->text + s->at;
    s->at = (size_t)(end - s->text) + 1;
    return line;
}

void process_expect_line(struct process *p, struct process_stream *s, const char *line)
{
    assert_string_equal(process_line(p, s), line);
}

/* --- the rest of a life ----------------------------------------------------------------------- */

void process_write(struct process *p, const char *text)
{
    assert_int_equal(write(p->in, text, strlen(text)), strlen(text));
}

void process_close_input(struct process *p)
{
    close_stream(&p->in);
}

void process_signal(const struct process *p, int number)
{
    assert_true(p->pid > 0);
    assert_int_equal(kill(p->pid, number), 0);
}

bool process_is_running(struct process *p)
{
    siginfo_t info = {0};

    /* WNOWAIT: the status stays for process_wait() */
    return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

int process_wait(struct process *p)
{
    int64_t deadline = raw_now_ms() + PROCESS_DEADLINE_MS;
    int status;

    while (process_is_running(p) || p->out.fd >= 0 || p->err.fd >= 0) {
        if (raw_now_ms() > deadline)
            process_fail(p, "the program did not end");
        pump(p);
    }
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void process_release(struct process *p)
{
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    close_stream(&p->in);
    close_stream(&p->out.fd);
    close_stream(&p->err.fd);
    free(p->out.text);
    free(p->err.text);
    process_init(p);
}

/* --- ports ------------------------------------------------------------------------------------ */

static int loopback_socket(uint16_t port, struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return fd;
}

uint16_t process_reserve_port(int *holder)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int on = 1;

    *holder = loopback_socket(0, &address);
    setsockopt(*holder, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(*holder, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(*holder, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

static bool is_listening(uint16_t port)
{
    struct sockaddr_in address;
    int fd = loopback_socket(port, &address);
    bool connected = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;

    close(fd);
    return connected;
}

void process_wait_for_port(struct process *p, uint16_t port)
{
    int64_t deadline = raw_now_ms() + PROCESS_DEADLINE_MS;

    while (!is_listening(port)) {
        if (!process_is_running(p) || raw_now_ms() > deadline)
            process_fail(p, "the program does not listen");
        pump(p);
    }
}
