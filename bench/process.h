/* SPDX-License-Identifier: MIT
 *
 * What another process has used: processor time in nanoseconds, memory, context switches. */
#ifndef PROCESS_H
#define PROCESS_H

#include <stdint.h>
#include <sys/types.h>

struct process_memory {
    long rss_kb;       /* pages of it that are in memory, shared libraries included */
    long anonymous_kb; /* of them, those without a file: heap and stack */
};

/* Processor time of all threads of `pid`, user and system, living and ended. The kernel keeps this
 * clock in nanoseconds, where /proc/PID/stat counts ticks of 10 ms. Exits when there is no such
 * process. */
uint64_t process_cpu_ns(pid_t pid);

/* From /proc/PID/smaps_rollup. Exits when it cannot be read. */
struct process_memory process_memory(pid_t pid);

/* How often the main thread has slept (voluntary context switches), from /proc/PID/status. */
long process_switches(pid_t pid);

#endif
