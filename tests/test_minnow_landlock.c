/* SPDX-License-Identifier: MIT
 *
 * What Landlock takes away and what it leaves, as in the program that users run. No filter of
 * system calls is active here: Landlock has to refuse by itself. */
#define _GNU_SOURCE 1
#undef MINNOW_SANDBOX_WIDE
#define MINNOW_SANDBOX_WIDE 0
#include "unit.h"

#include "../program/minnow_landlock.c" /* NOLINT(bugprone-suspicious-include): not wide */

#include <arpa/inet.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { NETWORK = 4 /* version */ };

struct fixture {
    char directory[32]; /* has "socket", and "below" with another file */
    char below[64];
    char socket[64];
    char deep[80];
    char address[80];
    char redis[64]; /* URL; "": none */
};

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    close(fd);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/minnow-test-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->socket, sizeof f->socket, "%s/socket", f->directory);
    snprintf(f->below, sizeof f->below, "%s/below", f->directory);
    snprintf(f->deep, sizeof f->deep, "%s/file", f->below);
    snprintf(f->address, sizeof f->address, "unix:%s", f->socket);
    assert_int_equal(mkdir(f->below, 0700), 0);
    make_file(f->socket);
    make_file(f->deep);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    unlink(f->socket);
    unlink(f->deep);
    rmdir(f->below);
    rmdir(f->directory);
    free(f);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Run `fn` in a process that is confined to `address`; "": to none. It returns 0, or a number for
 * the check that failed. */
static void confined_as(const struct fixture *f, const char *address, bool is_parent,
                        int (*fn)(const struct fixture *f))
{
    const char *const redis[] = {f->redis[0] != '\0' ? f->redis : NULL, NULL};
    const char *const addresses[] = {"127.0.0.1", address[0] != '\0' ? address : NULL, NULL};
    struct minnow_landlock l;
    int status;
    pid_t pid;

    if (syscall(SYS_landlock_create_ruleset, NULL, 0, KERNEL_RULESET_VERSION) < NETWORK)
        skip(); /* a kernel without it */
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        minnow_landlock_init(&l, addresses, redis, is_parent);
        prctl(KERNEL_NO_NEW_PRIVS, 1L, 0L, 0L, 0L);
        minnow_landlock_enter(&l);
        if (l.error != 0 || l.ruleset != -1)
            _exit(255);
        _exit(fn(f));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != 0)
        fail_msg("failed in the child: number %d", WEXITSTATUS(status));
}

static void confined(const struct fixture *f, const char *address,
                     int (*fn)(const struct fixture *f))
{
    confined_as(f, address, false, fn);
}

static bool is_refused(long result)
{
    return result == -1 && (errno == EACCES || errno == EXDEV);
}

static int use_files(const struct fixture *f)
{
    if (!is_refused(open("/etc/passwd", O_RDONLY)))
        return 1;
    if (!is_refused(open(f->deep, O_WRONLY)))
        return 2;
    if (!is_refused(open(f->below, O_RDONLY | O_DIRECTORY)))
        return 3;
    if (!is_refused(mkdir("/tmp/minnow-test-new", 0700)))
        return 4;
    if (!is_refused(rename(f->socket, f->deep)))
        return 5;
    if (!is_refused(rmdir(f->below)))
        return 6;
    if (!is_refused(truncate(f->deep, 0)))
        return 7;
    return is_refused(execl("/bin/true", "true", (char *)NULL)) ? 0 : 8;
}

static int use_files_of_parent(const struct fixture *f)
{
    if (open("/etc/passwd", O_RDONLY) < 0 || open(f->below, O_RDONLY | O_DIRECTORY) < 0)
        return 1;
    if (!is_refused(open(f->deep, O_WRONLY)))
        return 2;
    if (!is_refused(mkdir("/tmp/minnow-test-new", 0700)))
        return 3;
    if (!is_refused(rename(f->socket, f->deep)))
        return 4;
    if (!is_refused(truncate(f->deep, 0)))
        return 5;
    execl("/bin/true", "true", (char *)NULL);
    return 6;
}

/* It starts workers, which read the libraries that they need. */
static void parent_of_workers_can_read_and_execute_but_not_write(void **state)
{
    confined_as(*state, "", true, use_files_of_parent);
}

static void no_file_can_be_used(void **state)
{
    struct fixture *f = *state;

    confined(f, "", use_files);
    confined(f, f->address, use_files);
}

static int remove_files(const struct fixture *f)
{
    return unlink(f->socket) == 0 ? 0 : 1;
}

static int remove_nothing(const struct fixture *f)
{
    return is_refused(unlink(f->socket)) ? 0 : 1;
}

static void only_in_the_directory_of_a_unix_socket_files_can_be_removed(void **state)
{
    struct fixture *f = *state;
    char elsewhere[96];

    confined(f, "", remove_nothing);
    snprintf(elsewhere, sizeof elsewhere, "unix:%s/socket", f->below);
    confined(f, elsewhere, remove_nothing);
    confined(f, "unix:/nonexistent/socket", remove_nothing);
    confined(f, f->address, remove_files);
}

static void the_directory_is_found_however_the_path_is_written(void **state)
{
    struct fixture *f = *state;
    char here[4096];

    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(f->directory), 0);
    confined(f, "unix:socket", remove_files);
    make_file(f->socket);
    assert_int_equal(chdir(f->below), 0);
    confined(f, "unix:../socket", remove_files);
    make_file(f->socket);
    confined(f, "unix:/socket", remove_files); /* the root is above all */
    assert_int_equal(chdir(here), 0);
}

/* The server does not get there: it could not listen. */
static void addresses_without_a_directory_have_no_rule(void **state)
{
    char too_long[256] = "unix:";
    const char *const addresses[] = {too_long, "unix:/nonexistent/socket", NULL};
    struct minnow_landlock l;

    (void)state;
    memset(too_long + strlen(too_long), 'x', 200);
    strcpy(too_long + 200, "/socket");
    minnow_landlock_init(&l, addresses, &addresses[2], false);
    if (l.error == ENOSYS || l.error == EOPNOTSUPP)
        skip(); /* a kernel without it */
    assert_int_equal(l.error, 0);
    assert_true(l.ruleset >= 0);
    minnow_landlock_release(&l);
    assert_int_equal(l.ruleset, -1);
}

static void ruleset_that_the_kernel_refuses_is_an_error(void **state)
{
    struct minnow_landlock l = {.ruleset = open("/dev/null", O_RDONLY | O_CLOEXEC)};

    (void)state;
    assert_true(l.ruleset >= 0);
    minnow_landlock_enter(&l);
    assert_int_not_equal(l.error, 0);
    assert_int_equal(l.ruleset, -1);
}

static int use_network(const struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)f;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!is_refused(connect(fd, (const struct sockaddr *)&a, sizeof a)))
        return 1;
    return is_refused(bind(fd, (const struct sockaddr *)&a, sizeof a)) ? 0 : 2;
}

static bool can_connect(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_allowed;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_allowed = !is_refused(connect(fd, (const struct sockaddr *)&a, sizeof a));
    close(fd);
    return is_allowed; /* somebody may listen there, or not */
}

static int use_redis(const struct fixture *f)
{
    if (!can_connect(10))
        return 3;
    return can_connect(53) ? 4 : use_network(f);
}

static int use_redis_and_names(const struct fixture *f)
{
    return can_connect(10) && can_connect(53) ? use_network(f) : 5;
}

static void connections_can_be_made_to_the_port_of_a_redis_alone(void **state)
{
    struct fixture *f = *state;

    strcpy(f->redis, "redis://redis.example:10");
    confined(f, "", use_redis);
    confined_as(f, "", true, use_redis_and_names);
    strcpy(f->redis, "redis://127.0.0.1:10");
    confined_as(f, "", true, use_redis);
    strcpy(f->redis, "redis+unix:///tmp/redis");
    confined(f, "", use_network);
}

static void no_connection_can_be_made_and_no_port_bound(void **state)
{
    struct fixture *f = *state;

    f->redis[0] = '\0';
    confined(f, "", use_network);
}

static void values_are_those_of_the_kernel(void **state)
{
    (void)state;
    assert_int_equal(KERNEL_RULESET_VERSION, LANDLOCK_CREATE_RULESET_VERSION);
    assert_int_equal(KERNEL_PATH_BENEATH, LANDLOCK_RULE_PATH_BENEATH);
    assert_int_equal(KERNEL_REMOVE_FILE, LANDLOCK_ACCESS_FS_REMOVE_FILE);
    assert_int_equal(KERNEL_READ_FILE, LANDLOCK_ACCESS_FS_READ_FILE);
    assert_int_equal(KERNEL_READ_DIRECTORY, LANDLOCK_ACCESS_FS_READ_DIR);
    assert_int_equal(KERNEL_WRITE_FILE, LANDLOCK_ACCESS_FS_WRITE_FILE);
    assert_int_equal(KERNEL_MAKE_FILE, LANDLOCK_ACCESS_FS_MAKE_REG);
    assert_int_equal(sizeof(struct kernel_beneath), sizeof(struct landlock_path_beneath_attr));
    assert_int_equal(all_rights(1).files, 2 * LANDLOCK_ACCESS_FS_MAKE_SYM - 1);
    assert_int_equal(all_rights(3).network, 0);
}

#include "tests/test_minnow_landlock.list"

int main(void)
{
    return cmocka_run_group_tests_name("minnow_landlock", tests, NULL, NULL);
}
