/* SPDX-License-Identifier: MIT
 *
 * Listening sockets without a server. Names have the addresses that a test gives them, of 127/8,
 * since a container may lack IPv6. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../listen.h"
#include "faults.h"
#include "raw_client.h"

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static int teardown(void **state)
{
    (void)state;
    faults_none();
    return 0;
}

/* --- TCP -------------------------------------------------------------------------------------- */

static struct listen_set expect_open(const char *const *addresses, uint16_t port)
{
    struct listen_set set = {0};
    char why[256] = "";

    if (listen_tcp(&set, addresses, port, false, why, sizeof why) != 0)
        fail_msg("%s", why);
    return set;
}

static void expect_error(const char *const *addresses, uint16_t port, int error, const char *named)
{
    struct listen_set set = {0};
    char why[256] = "";

    errno = 0;
    assert_int_equal(listen_tcp(&set, addresses, port, false, why, sizeof why), -1);
    assert_int_equal(errno, error);
    assert_int_equal(set.count, 0);
    if (strstr(why, named) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", named, why);
}

/* Does somebody listen there? */
static bool is_listening(const char *host, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected;

    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, host, &a.sin_addr), 1);
    connected = connect(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return connected;
}

static void every_address_of_a_name_is_listened_on_at_one_port(void **state)
{
    struct listen_set set;
    uint16_t port;
    (void)state;

    faults_addresses(LIST("127.0.0.1", "127.0.0.2", "127.0.0.3"));
    set = expect_open(LIST("name"), 0);
    assert_int_equal(set.count, 3);
    port = listen_port(set.fds[0]);
    assert_int_not_equal(port, 0);
    assert_true(is_listening("127.0.0.1", port));
    assert_true(is_listening("127.0.0.2", port));
    assert_true(is_listening("127.0.0.3", port));
    listen_close(&set);
    assert_int_equal(set.count, 0);
    assert_false(is_listening("127.0.0.1", port));

    set = expect_open(LIST("name"), port);
    assert_int_equal(set.count, 3);
    assert_true(is_listening("127.0.0.3", port));
    listen_close(&set);
}

/* /etc/hosts may name it on several lines, and the command line name it again. */
static void address_that_comes_twice_is_opened_once(void **state)
{
    struct listen_set set;
    (void)state;

    faults_addresses(LIST("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.1"));
    set = expect_open(LIST("name", "unix:/passed/over", "other"), 0);
    assert_int_equal(set.count, 2);
    listen_close(&set);
    faults_none();
    set = expect_open(LIST("127.0.0.1", "127.0.0.2", "127.0.0.1"), 0);
    assert_int_equal(set.count, 2);
    listen_close(&set);
}

/* Of the addresses of "name" this one is listened at, and no other. */
static void expect_name_is(const char *address)
{
    struct listen_set set = expect_open(LIST("name"), 0);

    assert_int_equal(set.count, 1);
    assert_true(is_listening(address, listen_port(set.fds[0])));
    listen_close(&set);
}

static void address_that_the_system_lacks_is_left_out_if_the_name_has_another(void **state)
{
    static const char *const both[] = {"::1", "127.0.0.1", NULL};
    (void)state;

    faults_addresses(both);
    faults_socket_error(0, EAFNOSUPPORT);
    expect_name_is("127.0.0.1");

    faults_addresses(LIST("127.0.0.2", "127.0.0.1"));
    faults_bind_error(0, EADDRNOTAVAIL);
    expect_name_is("127.0.0.1");

    faults_bind_error(1, EADDRNOTAVAIL); /* the last one */
    expect_name_is("127.0.0.2");

    faults_addresses(LIST("192.0.2.1", "203.0.113.1")); /* RFC 5737 §3: nobody should have them */
    expect_error(LIST("name"), 0, EADDRNOTAVAIL, "name (203.0.113.1) port 0");
    faults_none();
    expect_error(LIST("192.0.2.1"), 80, EADDRNOTAVAIL, "192.0.2.1 port 80");
    expect_error(LIST("127.0.0.1", "192.0.2.1"), 0, EADDRNOTAVAIL, "192.0.2.1 port ");
}

static void address_in_use_is_an_error_that_leaves_nothing_open(void **state)
{
    struct listen_set taken;
    char named[64];
    uint16_t port;
    (void)state;

    taken = expect_open(LIST("127.0.0.2"), 0);
    port = listen_port(taken.fds[0]);
    snprintf(named, sizeof named, "name (127.0.0.2) port %u", port);
    faults_addresses(LIST("127.0.0.1", "127.0.0.2", "127.0.0.3"));
    expect_error(LIST("name"), port, EADDRINUSE, named);
    assert_false(is_listening("127.0.0.1", port));
    listen_close(&taken);
}

static void free_port_that_another_address_lacks_is_given_up_for_another(void **state)
{
    struct listen_set set;
    (void)state;

    faults_addresses(LIST("127.0.0.1", "127.0.0.2"));
    faults_bind_error(1, EADDRINUSE); /* of the second address */
    set = expect_open(LIST("name"), 0);
    assert_int_equal(set.count, 2);
    assert_int_equal(listen_port(set.fds[0]), listen_port(set.fds[1]));
    listen_close(&set);

    faults_none();
    faults_bind_error(1, EADDRINUSE);
    set = expect_open(LIST("127.0.0.1", "127.0.0.2"), 0); /* not only of one name */
    assert_int_equal(set.count, 2);
    assert_int_equal(listen_port(set.fds[0]), listen_port(set.fds[1]));
    listen_close(&set);
}

static void name_that_nobody_knows_is_named(void **state)
{
    (void)state;
    expect_error(LIST("no such host!"), 0, EADDRNOTAVAIL, "no such host!");
}

/* --- Unix sockets ----------------------------------------------------------------------------- */

enum { PATH_SIZE = 64 };

/* A directory of its own for a test: a socket in it, and the address of that. */
struct place {
    char directory[PATH_SIZE / 2];
    char path[PATH_SIZE];
    char address[PATH_SIZE + 8];
};

static struct place make_place(void)
{
    struct place p = {.directory = "/tmp/minnow-test-XXXXXX"};

    assert_non_null(mkdtemp(p.directory));
    snprintf(p.path, sizeof p.path, "%s/socket", p.directory);
    snprintf(p.address, sizeof p.address, "unix:%s", p.path);
    return p;
}

/* It is empty: nobody has left anything there. */
static void remove_place(const struct place *p)
{
    if (rmdir(p->directory) != 0)
        fail_msg("%s: %s", p->directory, strerror(errno));
}

static int expect_unix(const struct place *p, struct listen_file *file)
{
    char why[256] = "";
    int fd = listen_unix(p->address, 0, file, why, sizeof why);

    if (fd < 0)
        fail_msg("%s", why);
    return fd;
}

/* Does somebody listen at that path? */
static bool is_alive(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool connected;

    assert_true(fd >= 0);
    strcpy(un.sun_path, path);
    connected = connect(fd, (const struct sockaddr *)&un, sizeof un) == 0;
    close(fd);
    return connected;
}

static void end(int fd, const struct listen_file *file)
{
    listen_unlink(file);
    close(fd);
}

static void unix_socket_leaves_no_file_behind(void **state)
{
    struct place p = make_place();
    struct listen_file file;
    int fd = expect_unix(&p, &file);
    (void)state;

    assert_true(is_alive(p.path));
    end(fd, &file);
    remove_place(&p);
}

/* The number that the next descriptor gets. */
static int next_descriptor(void)
{
    int fd = dup(STDERR_FILENO);

    assert_true(fd >= 0);
    close(fd);
    return fd;
}

/* A socket that was inherited: its file is removed at the end, but no other one. */
static void file_of_a_socket_that_listens_already_is_found_while_it_exists(void **state)
{
    struct place p = make_place();
    struct listen_file file;
    struct listen_file found;
    int fd = expect_unix(&p, &file);
    int next;
    (void)state;

    assert_false(listen_unix_file(fd, "127.0.0.1", &found));
    assert_false(listen_unix_file(fd, "unix:/tmp/another", &found));
    assert_true(listen_unix_file(fd, p.address, &found));
    assert_int_equal(found.inode, file.inode);
    close(found.directory);
    end(fd, &file);
    fd = expect_unix(&p, &file);
    next = next_descriptor();
    assert_int_equal(unlink(p.path), 0);
    assert_false(listen_unix_file(fd, p.address, &found));
    assert_int_equal(rmdir(p.directory), 0);
    assert_false(listen_unix_file(fd, p.address, &found));
    assert_int_equal(next_descriptor(), next);
    end(fd, &file);
}

/* One that may be searched and written, but not read. Root may read all, so it is somebody else for
 * a moment. */
static void socket_may_be_in_a_directory_that_may_not_be_read(void **state)
{
    enum { NOBODY = 65534 };
    bool is_root = geteuid() == 0;
    struct place p = make_place();
    struct listen_file file;
    int fd;
    (void)state;

    assert_int_equal(chmod(p.directory, 0300), 0);
    if (is_root) {
        assert_int_equal(chown(p.directory, NOBODY, (gid_t)-1), 0);
        assert_int_equal(seteuid(NOBODY), 0);
    }
    fd = expect_unix(&p, &file);
    assert_true(is_alive(p.path));
    end(fd, &file);
    if (is_root)
        assert_int_equal(seteuid(0), 0);
    remove_place(&p);
}

/* A deployment or a cleaner of /tmp removes the file, and the next server begins before the first
 * one has ended. */
static void socket_of_a_successor_is_not_unlinked(void **state)
{
    struct place p = make_place();
    struct listen_file old_file;
    struct listen_file file;
    int old_fd = expect_unix(&p, &old_file);
    int fd;
    (void)state;

    assert_int_equal(unlink(p.path), 0);
    fd = expect_unix(&p, &file);
    end(old_fd, &old_file);
    assert_true(is_alive(p.path));
    end(fd, &file);
    remove_place(&p);
}

/* What a server that was killed leaves. */
static void leave_stale_socket(const struct place *p)
{
    struct listen_file file;

    close(expect_unix(p, &file));
    close(file.directory);
}

enum { RACERS = 5, ROUNDS = 60 };

/* Servers of one path as processes, which begin and end when a pipe is closed. */
struct race {
    int begin[2];
    int said[2]; /* a byte of each: how its start went */
    int over[2];
};

static void wait_for_end_of(int fd)
{
    char byte;

    if (read(fd, &byte, 1) != 0)
        _exit(2);
}

static _Noreturn void run_racer(const struct race *r, const struct place *p)
{
    struct listen_file file;
    char why[256];
    char said;
    int fd;

    close(r->begin[1]);
    close(r->over[1]);
    wait_for_end_of(r->begin[0]);
    fd = listen_unix(p->address, 0, &file, why, sizeof why);
    said = fd >= 0 ? 'L' : 'E';
    if (fd < 0 && errno == EADDRINUSE)
        said = 'U';
    if (write(r->said[1], &said, 1) != 1)
        _exit(2);
    wait_for_end_of(r->over[0]);
    if (fd >= 0)
        end(fd, &file);
    _exit(0);
}

static void start_race(struct race *r, const struct place *p)
{
    assert_int_equal(pipe2(r->begin, O_CLOEXEC), 0);
    assert_int_equal(pipe2(r->said, O_CLOEXEC), 0);
    assert_int_equal(pipe2(r->over, O_CLOEXEC), 0);
    for (int i = 0; i < RACERS; i++) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
            run_racer(r, p);
    }
    close(r->begin[1]);
    close(r->said[1]);
}

/* How many listen; the others must have said that the address is in use. */
static int count_listening(const struct race *r)
{
    int listening = 0;
    char said;

    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(read(r->said[0], &said, 1), 1);
        assert_true(said == 'L' || said == 'U');
        listening += said == 'L';
    }
    return listening;
}

static void end_race(struct race *r)
{
    int status;

    close(r->over[1]);
    while (wait(&status) > 0)
        assert_int_equal(status, 0);
    close(r->begin[0]);
    close(r->said[0]);
    close(r->over[0]);
}

static void of_servers_that_start_at_once_on_a_stale_socket_one_listens(void **state)
{
    struct place p = make_place();
    (void)state;

    for (int round = 0; round < ROUNDS; round++) {
        struct race r;

        leave_stale_socket(&p);
        faults_delay_ms(round % 3); /* without one, too */
        start_race(&r, &p);
        faults_none();
        assert_int_equal(count_listening(&r), 1);
        assert_true(is_alive(p.path));
        end_race(&r);
        assert_int_equal(access(p.path, F_OK), -1);
    }
    remove_place(&p); /* and no file of a lock is left */
}

/* One has seen that the file is its own; before it unlinks it, somebody else does, and the next
 * server begins. */
static void server_that_starts_while_another_stops_keeps_its_socket(void **state)
{
    struct place p = make_place();
    struct listen_file file;
    int fd = expect_unix(&p, &file);
    pid_t pid = fork();
    (void)state;

    assert_true(pid >= 0);
    if (pid == 0) {
        faults_delay_ms(100);
        end(fd, &file);
        _exit(0);
    }
    poll(NULL, 0, 50);
    close(fd);
    unlink(p.path);
    fd = expect_unix(&p, &file);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(is_alive(p.path));
    end(fd, &file);
    remove_place(&p);
}

/* Whoever can read a directory can lock it for ever. */
static void lock_that_somebody_keeps_delays_a_start_for_a_moment_and_a_stop_not_at_all(void **state)
{
    struct place p = make_place();
    struct listen_file file;
    int lock = open(p.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int64_t begun;
    int fd;
    (void)state;

    assert_true(lock >= 0);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    begun = raw_now_ms();
    fd = expect_unix(&p, &file);
    assert_in_range(raw_now_ms() - begun, 900, RAW_DEADLINE_MS);
    begun = raw_now_ms();
    end(fd, &file);
    assert_in_range(raw_now_ms() - begun, 0, 500);
    close(lock);
    remove_place(&p);
}

static void expect_unix_error(const char *address, int error, const char *named)
{
    struct listen_file file;
    char why[256];

    errno = 0;
    assert_int_equal(listen_unix(address, 0666, &file, why, sizeof why), -1);
    assert_int_equal(errno, error);
    if (strstr(why, named) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", named, why);
}

static void failed_start_leaves_no_file_behind(void **state)
{
    struct place p = make_place();
    (void)state;

    faults_listen_error(0, ENOBUFS);
    expect_unix_error(p.address, ENOBUFS, ": listen: ");
    faults_chmod_error(0, EROFS);
    expect_unix_error(p.address, EROFS, ": fchmod: ");
    faults_chmod_error(1, EROFS);
    expect_unix_error(p.address, EROFS, ": chmod: ");
    faults_bind_error(0, EACCES);
    expect_unix_error(p.address, EACCES, ": bind: ");
    faults_socket_error(1, EMFILE); /* the first one asks whether a server is there */
    expect_unix_error(p.address, EMFILE, ": socket: ");
    remove_place(&p);
}

/* Where fstatat() fails, the server cannot remember which file is its own; it has just made it. */
static void file_that_cannot_be_identified_after_bind_does_not_stay(void **state)
{
    struct place p = make_place();
    (void)state;

    faults_fstatat_error(1, EACCES); /* the first one asks whether a dead server has left it */
    expect_unix_error(p.address, EACCES, ": fstatat: ");
    remove_place(&p);
}

static void path_that_cannot_be_is_named(void **state)
{
    char address[200] = "unix:/";
    (void)state;

    expect_unix_error("unix:", EINVAL, "unix:: no path: ");
    memset(address + 6, 'a', sizeof address - 7);
    expect_unix_error(address, ENAMETOOLONG, "aaa: path: ");
    expect_unix_error("unix:/nonexistent/socket", ENOENT, "unix:/nonexistent/socket: directory: ");
}

/* Whatever is there that is no socket stays. */
static void file_that_is_no_socket_is_left_alone(void **state)
{
    struct place p = make_place();
    int fd = open(p.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    (void)state;

    assert_true(fd >= 0);
    close(fd);
    expect_unix_error(p.address, EADDRINUSE, ": bind: ");
    assert_int_equal(access(p.path, F_OK), 0);
    unlink(p.path);
    remove_place(&p);
}

static void path_may_be_relative_though_the_process_goes_elsewhere(void **state)
{
    struct place p = make_place();
    struct listen_file file;
    char why[256];
    char before[4096];
    int fd;
    (void)state;

    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(p.directory), 0);
    close(listen_unix("unix:socket", 0, &file, why, sizeof why)); /* a dead server's */
    close(file.directory);
    fd = listen_unix("unix:socket", 0, &file, why, sizeof why);
    assert_true(fd >= 0);
    assert_true(is_alive(p.path));
    assert_int_equal(chdir(before), 0); /* as a daemon does it */
    end(fd, &file);
    remove_place(&p);
}

static void file_has_the_rights_asked_for_whatever_the_umask_and_never_wider_ones(void **state)
{
    static const unsigned umasks[] = {0, 022, 0117, 0777};
    static const unsigned modes[] = {0, 0600, 0660, 0666, 0620, 0777};
    struct place p = make_place();
    (void)state;

    for (size_t i = 0; i < sizeof umasks / sizeof umasks[0]; i++) {
        for (size_t k = 0; k < sizeof modes / sizeof modes[0]; k++) {
            unsigned wanted = modes[k] != 0 ? modes[k] : LISTEN_MODE_MAX & ~umasks[i];
            mode_t before = umask(umasks[i]);
            struct listen_file file;
            struct stat st;
            char why[256];
            int fd = listen_unix(p.address, modes[k], &file, why, sizeof why);

            umask(before);
            assert_true(fd >= 0);
            assert_int_equal(lstat(p.path, &st), 0);
            assert_int_equal(st.st_mode & 07777, wanted);
            assert_int_equal(faults_bound_mode() & ~wanted, 0);
            end(fd, &file);
        }
    }
    remove_place(&p);
}

/* --- addresses in words ----------------------------------------------------------------------- */

static void expect_peer(int fd, const char *beginning)
{
    char text[64];

    listen_peer(fd, text, sizeof text);
    if (strncmp(text, beginning, strlen(beginning)) != 0)
        fail_msg("expected \"%s\", came \"%s\"", beginning, text);
}

/* Who connects to the first socket of a set; `client` is the other side. */
static int connected_peer(const char *address, int *client)
{
    struct listen_set set = expect_open(LIST(address), 0);
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    int fd;

    assert_int_equal(getsockname(set.fds[0], (struct sockaddr *)&a, &len), 0);
    *client = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(*client, (const struct sockaddr *)&a, len), 0);
    fd = accept4(set.fds[0], NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    listen_close(&set);
    return fd;
}

static void peer_of_each_family_is_told_in_its_notation(void **state)
{
    int pair[2];
    int client;
    int fd = connected_peer("127.0.0.1", &client);
    (void)state;

    expect_peer(fd, "127.0.0.1:");
    close(client);
    close(fd);
    if (raw_has_ipv6()) {
        fd = connected_peer("::1", &client);
        expect_peer(fd, "[::1]:");
        close(client);
        close(fd);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    expect_peer(pair[0], "unix");
    close(pair[0]);
    close(pair[1]);
    expect_peer(-1, "gone");
}

static void unix_sockets_are_not_told_apart_by_their_addresses(void **state)
{
    const struct sockaddr_storage at = {.ss_family = AF_UNIX};
    int ends[2];
    (void)state;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(listen_fits(&at, ends[0]), 0);
    close(ends[0]);
    close(ends[1]);
}

/* ::1 has its own line of /etc/hosts in some systems, and may be named in several. */
static void ipv6_address_that_comes_twice_is_opened_once(void **state)
{
    struct listen_set set;
    (void)state;

    if (!raw_has_ipv6())
        skip();
    set = expect_open(LIST("::1", "127.0.0.1", "::1"), 0);
    assert_int_equal(set.count, 2);
    assert_int_equal(listen_port(set.fds[0]), listen_port(set.fds[1]));
    listen_close(&set);
}

static void address_that_cannot_be_listened_on_is_named(void **state)
{
    (void)state;

    faults_listen_error(0, EADDRNOTAVAIL);
    expect_error(LIST("127.0.0.1"), 0, EADDRNOTAVAIL, "127.0.0.1 port 0: listen: ");
}

static void more_addresses_than_there_is_room_for_are_refused(void **state)
{
    static char names[LISTEN_MAX + 1][16];
    const char *list[LISTEN_MAX + 2] = {NULL};
    struct listen_set set;
    (void)state;

    for (size_t i = 0; i <= LISTEN_MAX; i++) {
        snprintf(names[i], sizeof names[i], "127.0.%zu.%zu", 1 + i / 100, 1 + i % 100);
        list[i] = names[i];
    }
    expect_error(list, 0, E2BIG, "127.0.3.57: too many addresses: ");
    list[LISTEN_MAX] = NULL;
    set = expect_open(list, 0);
    assert_int_equal(set.count, LISTEN_MAX);
    listen_close(&set);
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

#include "tests/test_listen.list"

int main(void)
{
    return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
