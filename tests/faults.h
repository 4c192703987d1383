/* SPDX-License-Identifier: MIT
 *
 * System calls that fail on demand, and names that mean what a test wants. In a test that links
 * tests/faults, the linker wraps what FAULTS_WRAP in the Makefile names. They concern the whole
 * process: a client of such a test uses write(), and connects before. */
#ifndef TESTS_FAULTS_H
#define TESTS_FAULTS_H

#include <stddef.h>
#include <stdint.h>

/* As at the start: everything works. */
void faults_none(void);

/* send and sendmsg take at most `bytes`; with 0 they say EAGAIN. */
void faults_send_max(size_t bytes);

/* Of the calls from now on, the one behind the next `n` fails with `error`. */
void faults_send_error(long n, int error);
void faults_epoll_ctl_error(long n, int error);
void faults_socket_error(long n, int error);
void faults_bind_error(long n, int error);
void faults_listen_error(long n, int error);
void faults_chmod_error(long n, int error); /* fchmod and fchmodat */
void faults_fstatat_error(long n, int error);

void faults_accept_error(long n, int error);
void faults_recv_error(long n, int error); /* readv, too */
void faults_epoll_wait_error(long n, int error);
void faults_eventfd_write_error(long n, int error);

/* From now on all fail with `error`; 0: they work again. */
void faults_accept_errors(int error);
void faults_epoll_ctl_errors(int error);
void faults_getrandom_errors(int error);

/* Calls of accept4 since faults_none(), whether they failed or not. */
long faults_accept_calls(void);

/* The rights of the last file of a Unix socket, as bind() has made it. */
unsigned faults_bound_mode(void);

/* Wait before each listen and unlink, so that what another process does comes in between. */
void faults_delay_ms(int ms);

/* From now on every name has these numeric addresses, up to FAULTS_ADDRESSES_MAX; ends with NULL;
 * borrowed. NULL: the ones it has. */
enum { FAULTS_ADDRESSES_MAX = 8 };
void faults_addresses(const char *const *addresses);

/* CLOCK_MONOTONIC jumps: forward, as it looks to a process that was stopped, or back. */
void faults_clock_jump(int64_t seconds);

/* The same during the next epoll_wait. */
void faults_clock_jump_in_wait(int64_t seconds);

/* From now on the clock stands still but for jumps, until faults_none(). */
void faults_clock_stop(void);

/* It says `seconds` and stands still. */
void faults_clock_set(int64_t seconds);

#endif
