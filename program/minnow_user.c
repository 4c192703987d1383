/* SPDX-License-Identifier: MIT
 *
 * --user; see minnow_user.h. */
#define _GNU_SOURCE 1 /* setresuid, O_PATH; where this file is compiled alone */
#include "minnow_user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "minnow_options.h"

enum { NAME_SIZE = 256 };

/* --- names ------------------------------------------------------------------------------------ */

/* False if it is no number of a user or group: 4294967295 means "leave it" in system calls. */
static bool parse_id(const char *text, uint32_t *id)
{
    unsigned long long n;
    char *end;

    if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
        return false;
    errno = 0;
    n = strtoull(text, &end, 10);
    *id = (uint32_t)n;
    return errno == 0 && n < UINT32_MAX;
}

/* Why there is no entry. The C library sets errno where it could not look, and also, to one of
 * these, where there is none: getpwnam(3). */
static const char *no_entry(const char *none)
{
    switch (errno) {
    case 0:
    case ENOENT:
    case ESRCH:
    case EBADF:
    case EPERM:
        return none;
    default:
        return strerror(errno);
    }
}

static const char *find_user(struct minnow_user *user, const char *name, bool needs_group)
{
    const struct passwd *entry;
    uint32_t id;

    if (parse_id(name, &id)) {
        user->uid = id;
        errno = 0;
        entry = needs_group ? getpwuid(id) : NULL;
        if (needs_group && entry == NULL)
            return no_entry("no such user; a number without a name needs :GROUP, too");
    } else {
        errno = 0;
        entry = getpwnam(name);
        if (entry == NULL)
            return no_entry("no such user");
        user->uid = entry->pw_uid;
    }
    if (entry != NULL)
        user->gid = entry->pw_gid;
    return NULL;
}

static const char *find_group(struct minnow_user *user, const char *name)
{
    const struct group *entry;
    uint32_t id;

    if (parse_id(name, &id)) {
        user->gid = id;
        return NULL;
    }
    errno = 0;
    entry = getgrnam(name);
    if (entry == NULL)
        return no_entry("no such group");
    user->gid = entry->gr_gid;
    return NULL;
}

const char *minnow_user_find(struct minnow_user *user, const char *text)
{
    const char *colon = strchr(text, ':');
    size_t len = colon == NULL ? strlen(text) : (size_t)(colon - text);
    char name[NAME_SIZE];
    const char *fault;

    if (len == 0 || len >= sizeof name)
        return "no such user";
    memcpy(name, text, len);
    name[len] = '\0';
    fault = find_user(user, name, colon == NULL);
    if (fault == NULL && colon != NULL)
        fault = find_group(user, colon + 1);
    if (fault == NULL && user->uid == 0)
        fault = "is root; name a user that has not its rights";
    return fault;
}

/* --- files ------------------------------------------------------------------------------------ */

/* By a descriptor, so that what is checked is what changes its owner: in the directory of another
 * user the name may lead elsewhere by now. */
static bool own(const struct minnow_user *user, const char *path)
{
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    bool done;
    int error;

    if (fd < 0)
        return false;
    errno = ENOTSOCK;
    done = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_uid == geteuid() &&
           fchownat(fd, "", user->uid, user->gid, AT_EMPTY_PATH) == 0;
    error = errno;
    close(fd);
    errno = error;
    return done;
}

const char *minnow_user_own(const struct minnow_user *user, const char *const *addresses)
{
    for (size_t i = 0; addresses[i] != NULL; i++) {
        if (minnow_is_unix(addresses[i]) && !own(user, addresses[i] + strlen("unix:")))
            return addresses[i];
    }
    return NULL;
}

/* --- the process ------------------------------------------------------------------------------ */

/* A process that keeps CAP_SETUID, from its parent for instance, could. */
static bool can_come_back(const struct minnow_user *user)
{
    uid_t uids[3];
    gid_t gids[3];

    if (getresuid(&uids[0], &uids[1], &uids[2]) != 0 ||
        getresgid(&gids[0], &gids[1], &gids[2]) != 0)
        return true; /* uncovered: `make campaign` lets them fail */
    for (size_t i = 0; i < 3; i++) {
        if (uids[i] != user->uid || gids[i] != user->gid)
            return true; /* uncovered: setresuid() has just set them all */
    }
    return setuid(0) == 0 || seteuid(0) == 0;
}

/* The user comes last: who is not root any more may not change groups. */
const char *minnow_user_become(const struct minnow_user *user)
{
    if (setgroups(0, NULL) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
        setresuid(user->uid, user->uid, user->uid) != 0)
        return strerror(errno);
    return can_come_back(user) ? "it could become root again" : NULL;
}
