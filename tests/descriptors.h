/* SPDX-License-Identifier: MIT
 *
 * The descriptors that this process has open, and a few more, always the same number. */
#ifndef TESTS_DESCRIPTORS_H
#define TESTS_DESCRIPTORS_H

#include <dirent.h>
#include <stddef.h>
#include <stdlib.h>

static inline int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    if (dir == NULL)
        abort();
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

#endif
