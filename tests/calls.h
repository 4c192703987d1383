/* SPDX-License-Identifier: MIT
 *
 * Every call of the C library by which the product reaches the system, and every allocation: one of
 * them fails, or does half of its work, on demand; and the test sets the clock. In a program that
 * links tests/calls, the linker wraps what CALLS in tests/tests.mk names. tests/imports.sh shows
 * that the list is complete.
 *
 * For the campaign of faults and the fuzzers of whole connections, which have server and peers in
 * one thread. Tests of one fault each have tests/faults.h and tests/oom.h. */
#ifndef TESTS_CALLS_H
#define TESTS_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum call {
    CALL_MEMORY, /* malloc, calloc, realloc, mmap, mremap: all that allocates */
    CALL_ACCEPT4,
    CALL_BIND,
    CALL_CLOSE,
    CALL_CONNECT,
    CALL_EPOLL_CREATE1,
    CALL_EPOLL_CTL,
    CALL_EPOLL_WAIT,
    CALL_EVENTFD,
    CALL_EVENTFD_WRITE,
    CALL_FCHMOD,
    CALL_FCHMODAT,
    CALL_FCNTL,
    CALL_FLOCK,
    CALL_FSTATAT,
    CALL_GETADDRINFO,
    CALL_GETPEERNAME,
    CALL_GETRANDOM,
    CALL_GETRLIMIT,
    CALL_GETSOCKNAME,
    CALL_IOCTL,
    CALL_LISTEN,
    CALL_MADVISE,
    CALL_MUNMAP,
    CALL_OPEN,
    CALL_POLL,
    CALL_PTHREAD_CREATE,
    CALL_READ,
    CALL_READV,
    CALL_RECV,
    CALL_RECVMSG,
    CALL_SEND,
    CALL_SENDMSG,
    CALL_SETSOCKOPT,
    CALL_SHUTDOWN,
    CALL_SOCKET,
    CALL_SOCKETPAIR,
    CALL_TIMERFD_CREATE,
    CALL_TIMERFD_SETTIME,
    CALL_UNLINKAT,
    CALL_COUNT
};

enum { CALL_ERRORS_MAX = 10, CALL_SHORT = -1 /* instead of an errno: half of the work is done */ };

const char *call_name(enum call call);
/* What it may fail with: errno values and CALL_SHORT, up to a 0; at least one. */
const int *call_errors(enum call call);
size_t call_error_count(enum call call);

/* As at the start: nothing fails, nothing was counted. */
void calls_reset(void);

/* Nothing fails any more. */
void calls_work(void);

/* Calls count, and fail, only in between: what the peers do is not of interest. */
void calls_watch(bool on);

/* The one behind the next `n` fails with `error`. For all kinds together there is one such plan. */
void calls_fail(enum call call, unsigned long n, int error);
unsigned long calls_made(enum call call);
long calls_blocks(void); /* allocated and not freed, in the whole program */
bool calls_failed(void); /* has the plan been carried out? */

/* CLOCK_MONOTONIC stands still at this moment, but for `step_us` at each reading. 0: it is the
 * system's. */
void calls_clock(uint64_t us, unsigned step_us);
uint64_t calls_clock_us(void);

/* From now on getrandom() gives the same bytes for the same seed. 0: those of the system. */
void calls_random(uint64_t seed);

#endif
