/* SPDX-License-Identifier: MIT
 *
 * No file system and no network, by Landlock; see minnow_landlock.h. landlock(7) */
#define _GNU_SOURCE 1 /* O_PATH, and what -std=c11 hides; where this file is compiled alone */
#include "minnow_landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "cluster/redis_lookup.h"
#include "cluster/redis_url.h"
#include "minnow_kernel.h"
#include "minnow_options.h"
#include "minnow_sandbox.h"

/* Version 7 is the newest that is known here. It only added how refusals are logged. */
enum { KNOWN = 7, DNS = 53 };

/* All rights of a version. The kernel refuses bits that it does not know. */
static struct kernel_ruleset all_rights(int version)
{
    struct kernel_ruleset all = {.files = 0x1fff}; /* execute, read, write, make and remove */

    if (version >= 2)
        all.files |= 1 << 13; /* move or link to another directory */
    if (version >= 3)
        all.files |= 1 << 14; /* truncate */
    if (version >= 4)
        all.network = 0x3; /* bind and connect, TCP */
    if (version >= 5)
        all.files |= 1 << 15; /* ioctl on a device */
    if (version >= 6)
        all.scoped = 0x3; /* abstract Unix sockets and signals, of others */
    if (MINNOW_SANDBOX_WIDE)
        all.files &= ~(uint64_t)(KERNEL_READ_FILE | KERNEL_READ_DIRECTORY | KERNEL_WRITE_FILE |
                                 KERNEL_MAKE_FILE);
    return all;
}

/* A kernel before version 4 takes a shorter struct, or a longer one whose rest is zero. */
static int make_ruleset(int version, bool is_parent)
{
    struct kernel_ruleset all = all_rights(version);

    if (is_parent) /* and all that it starts */
        all.files &= ~(uint64_t)(KERNEL_EXECUTE | KERNEL_READ_FILE | KERNEL_READ_DIRECTORY |
                                 KERNEL_IOCTL_DEVICE);
    return (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
}

/* Without this rule the file stays when the server stops, and the next start replaces it. */
static void allow_removal(int ruleset, const char *path)
{
    char directory[sizeof((struct sockaddr_un *)0)->sun_path] = ".";
    const char *slash = strrchr(path, '/');
    struct kernel_beneath rule = {.rights = KERNEL_REMOVE_FILE};
    size_t len = slash == path ? 1 : slash == NULL ? 0 : (size_t)(slash - path);

    if (len >= sizeof directory)
        return; /* the server does not listen there */
    if (slash != NULL) {
        memcpy(directory, path, len);
        directory[len] = '\0';
    }
    rule.directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (rule.directory < 0)
        return;
    syscall(SYS_landlock_add_rule, ruleset, KERNEL_PATH_BENEATH, &rule, 0);
    close(rule.directory);
}

/* A kernel that knows no such rule does not forbid connections either. */
static void allow_port(int ruleset, unsigned port)
{
    const struct kernel_port rule = {.rights = KERNEL_CONNECT, .port = port};

    syscall(SYS_landlock_add_rule, ruleset, KERNEL_PORT, &rule, 0);
}

/* What looks up the name for a worker has the sandbox of the parent. A long answer comes by TCP. */
static void allow_connecting(int ruleset, const char *redis, bool is_parent)
{
    struct redis_addresses numeric;
    struct redis_url url;

    if (redis_url_parse(&url, redis) != NULL || url.port == 0)
        return;
    allow_port(ruleset, url.port);
    if (is_parent && !redis_lookup_numeric(url.host, &numeric))
        allow_port(ruleset, DNS);
}

void minnow_landlock_init(struct minnow_landlock *l, const char *const *addresses,
                          const char *const *redis, bool is_parent)
{
    *l = (struct minnow_landlock){.ruleset = -1};
    l->version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, KERNEL_RULESET_VERSION);
    if (l->version > KNOWN)
        l->version = KNOWN; /* uncovered: needs a kernel that is newer */
    if (l->version > 0)
        l->ruleset = make_ruleset(l->version, is_parent);
    if (l->ruleset < 0) {
        l->error = errno;
        return;
    }
    for (size_t i = 0; addresses[i] != NULL; i++) {
        if (minnow_is_unix(addresses[i]))
            allow_removal(l->ruleset, addresses[i] + strlen("unix:"));
    }
    for (size_t i = 0; redis[i] != NULL; i++)
        allow_connecting(l->ruleset, redis[i], is_parent);
}

void minnow_landlock_enter(struct minnow_landlock *l)
{
    if (l->error == 0 && syscall(SYS_landlock_restrict_self, l->ruleset, 0) != 0)
        l->error = errno;
    minnow_landlock_release(l);
}

void minnow_landlock_release(struct minnow_landlock *l)
{
    if (l->ruleset >= 0)
        close(l->ruleset);
    l->ruleset = -1;
}
