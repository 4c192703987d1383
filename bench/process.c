/* SPDX-License-Identifier: MIT
 *
 * Reads clocks and /proc; see process.h. */
#include "process.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t process_cpu_ns(pid_t pid)
{
    struct timespec ts;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) != 0)
        errx(EXIT_FAILURE, "process %d: no processor clock: has the server ended?", (int)pid);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The number behind `label` on a line of /proc/PID/`file`. */
static long proc_number(pid_t pid, const char *file, const char *label)
{
    char path[64];
    char line[256];
    long value = -1;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    if ((f = fopen(path, "r")) == NULL)
        err(EXIT_FAILURE, "%s", path);
    while (value < 0 && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, label, strlen(label)) == 0)
            value = strtol(line + strlen(label), NULL, 10);
    }
    fclose(f);
    if (value < 0)
        errx(EXIT_FAILURE, "%s: no %s", path, label);
    return value;
}

struct process_memory process_memory(pid_t pid)
{
    return (struct process_memory){
        .rss_kb = proc_number(pid, "smaps_rollup", "Rss:"),
        .anonymous_kb = proc_number(pid, "smaps_rollup", "Anonymous:"),
    };
}

long process_switches(pid_t pid)
{
    return proc_number(pid, "status", "voluntary_ctxt_switches:");
}
