/* SPDX-License-Identifier: MIT
 *
 * A program under test as a process of its own: started with pipes at its three streams, read with
 * a deadline, ended for certain. Whatever does not come in time fails the cmocka test that runs,
 * with what the program printed. */
#ifndef TESTS_PROCESS_H
#define TESTS_PROCESS_H

#include "unit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Generous: it only bounds how long a broken program keeps a test waiting. */
enum { PROCESS_DEADLINE_MS = 20000 * SLOWER, PROCESS_PATH_MAX = 4096 };

/* What one stream has said so far: text[0..len), and a NUL. */
struct process_stream {
    int fd; /* -1: the program has closed it */
    char *text;
    size_t len;
    size_t at; /* where the next line begins */
};

struct process {
    pid_t pid; /* 0: not running */
    int in;    /* its standard input; -1: closed */
    struct process_stream out;
    struct process_stream err;

    /* May be set before the start. */
    const char *stdout_path; /* a file in place of the pipe, appended to */
    const char *stderr_path;
    unsigned files_soft; /* RLIMIT_NOFILE; 0: as it is */
    unsigned files_hard;
    void (*in_child)(void); /* called before exec; only what is safe there, see signal-safety(7) */
};

void process_init(struct process *p);

/* Start `name`, which lies in the directory of the running test; in place of "minnow" the program
 * that the variable MINNOW of the environment names, as in `make test-static`. argv[0] is what it
 * is called by; `argv` ends with NULL. The program dies with the test. */
void process_start(struct process *p, const char *name, const char *const *argv);

/* Wait for the next line of a stream; without its newline, valid until the next call. */
const char *process_line(struct process *p, struct process_stream *s);
void process_expect_line(struct process *p, struct process_stream *s, const char *line);

void process_write(struct process *p, const char *text);
void process_close_input(struct process *p);
void process_signal(const struct process *p, int number);

/* Wait for the end, and for all that it printed. Returns its exit status, or -N for signal N. */
int process_wait(struct process *p);
bool process_is_running(struct process *p);

/* End it if it still runs, and release all. */
void process_release(struct process *p);

/* A port of 127.0.0.1 that nobody has. The socket returned in `*holder` is bound and does not
 * listen: it keeps the port from others, but not from a server that sets SO_REUSEADDR. */
uint16_t process_reserve_port(int *holder);

/* Wait until the program listens on that port. */
void process_wait_for_port(struct process *p, uint16_t port);

#endif
