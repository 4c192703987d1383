/* SPDX-License-Identifier: MIT
 *
 * The filter of system calls, as it is in the program that users run: without the calls that a
 * sanitizer needs. Each case is a process of its own, since nobody can leave the filter. */
#define _GNU_SOURCE 1
#undef MINNOW_SANDBOX_WIDE
#define MINNOW_SANDBOX_WIDE 0
#include "unit.h"

#include "../program/minnow_seccomp.c" /* NOLINT(bugprone-suspicious-include): as it is */

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "forbid.h"

enum { SURVIVED = 42, NO_FILTER = 43, TEXT_MAX = 1024 };

/* A child process, what it says on stderr, and how it ends. */
struct trial {
    unsigned needs;
    void (*before)(void); /* NULL: nothing */
    void (*during)(const void *arg);
    const void *arg;
    int status;
    char text[TEXT_MAX];
};

/* _exit() of a sanitizer makes calls that are not in the list. */
static void leave(int status)
{
    syscall(SYS_exit_group, status);
}

static void child(const struct trial *t, int err)
{
    dup2(err, STDERR_FILENO);
    if (t->before != NULL)
        t->before();
    prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L);
    if (minnow_seccomp_enter(t->needs) != 0)
        leave(NO_FILTER);
    t->during(t->arg);
    leave(SURVIVED);
}

static void try_it(struct trial *t)
{
    int ends[2];
    size_t len = 0;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(t, ends[1]);
    close(ends[1]);
    while ((n = read(ends[0], t->text + len, sizeof t->text - 1 - len)) > 0)
        len += (size_t)n;
    t->text[len] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &t->status, 0), pid);
    assert_int_not_equal(WIFEXITED(t->status) ? WEXITSTATUS(t->status) : 0, NO_FILTER);
}

/* A call as the filter sees it. */
struct shot {
    long number;
    long arguments[6];
};

static void shoot(const void *arg)
{
    const struct shot *s = arg;

    syscall(s->number, s->arguments[0], s->arguments[1], s->arguments[2], s->arguments[3],
            s->arguments[4], s->arguments[5]);
}

static void expect_refused(struct trial *t, const char *what)
{
    char line[256];

    try_it(t);
    snprintf(line, sizeof line,
             "minnow: system call %s is not allowed here; --no-sandbox would allow it\n", what);
    assert_string_equal(t->text, line);
    assert_true(WIFSIGNALED(t->status));
    assert_int_equal(WTERMSIG(t->status), SIGSYS);
}

static void expect_survival(struct trial *t, const char *what)
{
    try_it(t);
    if (t->text[0] != '\0' || !WIFEXITED(t->status) || WEXITSTATUS(t->status) != SURVIVED)
        fail_msg("%s: status 0x%x, \"%s\"", what, (unsigned)t->status, t->text);
}

static const struct {
    struct shot shot;
    const char *name;
} refused[] = {
    {{SYS_openat, {AT_FDCWD, (long)"/etc/passwd", O_RDONLY}}, "openat"},
    {{SYS_socket, {AF_INET, SOCK_STREAM}}, "socket"},
    {{SYS_connect, {-1}}, "connect"},
    {{SYS_bind, {-1}}, "bind"},
    {{SYS_listen, {-1}}, "listen"},
    {{SYS_execve, {(long)"/bin/true"}}, "execve"},
    {{SYS_execveat, {-1}}, "execveat"},
    {{SYS_clone, {SIGCHLD}}, "clone"},
    {{SYS_ptrace, {0}}, "ptrace"},
    {{SYS_kill, {0, 0}}, "kill"},
    {{SYS_setuid, {0}}, "setuid"},
    {{SYS_seccomp, {0}}, "seccomp"},
    {{SYS_recvmsg, {-1}}, "recvmsg"},
    {{SYS_newfstatat, {-1}}, "newfstatat"},
    {{SYS_unlinkat, {-1}}, "unlinkat"},
    {{SYS_flock, {-1}}, "flock"},
    {{SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1}},
     "mmap) with these arguments"},
    {{SYS_mprotect, {0, 0, PROT_EXEC}}, "mprotect) with these arguments"},
    {{SYS_ioctl, {0, TIOCSTI}}, "ioctl) with these arguments"},
    {{SYS_fcntl, {0, F_SETFL}}, "fcntl) with these arguments"},
    {{SYS_prctl, {PR_SET_DUMPABLE}}, "prctl) with these arguments"},
    {{SYS_setsockopt, {0, SOL_SOCKET, TCP_NOTSENT_LOWAT}}, "setsockopt) with these arguments"},
    {{SYS_setsockopt, {0, IPPROTO_TCP, TCP_CORK}}, "setsockopt) with these arguments"},
    {{SYS_accept4, {-1}}, "accept4) with these arguments"},
    {{SYS_sendto, {-1, 0, 0, MSG_FASTOPEN}}, "sendto) with these arguments"},
    {{SYS_sendmsg, {-1, 0, MSG_FASTOPEN}}, "sendmsg) with these arguments"},
    {{SYS_writev, {STDOUT_FILENO}}, "writev) with these arguments"},
    {{SYS_rt_sigaction, {SIGSYS}}, "rt_sigaction) with these arguments"},
    {{SYS_tgkill, {1, 1, 0}}, "tgkill) with these arguments"},
    {{SYS_tkill, {1, 0}}, "tkill) with these arguments"},
};

static void calls_outside_the_list_end_the_process_and_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct trial t = {.during = shoot, .arg = &refused[i].shot};
        char what[64];

        snprintf(what, sizeof what, "%ld (%s%s", refused[i].shot.number, refused[i].name,
                 strchr(refused[i].name, ')') == NULL ? ")" : "");
        expect_refused(&t, what);
    }
}

static void calls_without_a_name_are_refused_by_number(void **state)
{
    struct shot unknown = {.number = 999};
    struct trial t = {.during = shoot, .arg = &unknown};

    (void)state;
    expect_refused(&t, "999");
}

#ifdef __x86_64__
static void use_int_0x80(const void *arg)
{
    long result = 0; /* restart_syscall there, read here, which is in the list */

    (void)arg;
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
}

static void calls_of_another_machine_are_refused(void **state)
{
    struct shot x32 = {.number = 0x40000000 | SYS_getpid};
    struct trial t = {.during = shoot, .arg = &x32};
    char number[32];

    (void)state;
    snprintf(number, sizeof number, "%ld", x32.number);
    expect_refused(&t, number);
    t = (struct trial){.during = use_int_0x80};
    expect_refused(&t, "0 of another machine");
}
#endif

/* The call of a row, with arguments that it allows and that do nothing. */
static struct shot allowed_by(const struct call *call)
{
    struct shot s = {.number = call->number, .arguments = {-1, 1 << 30}};

    for (size_t i = 0; i < CHECKS; i++) {
        const struct check *check = &call->checks[i];

        if (check->test == IS)
            s.arguments[check->argument] = (long)check->value;
    }
    return s;
}

static void repeat_own(const void *arg)
{
    struct shot s = *(const struct shot *)arg;

    s.arguments[0] = getpid();
    s.arguments[1] = s.number == SYS_tgkill ? getpid() : 0;
    shoot(&s);
}

static void calls_in_the_list_are_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < CALLS; i++) {
        struct shot s = allowed_by(&calls[i]);
        struct trial t = {.needs = calls[i].purpose, .during = shoot, .arg = &s};

        if (calls[i].checks[0].test == OWN)
            t.during = repeat_own;
        if (calls[i].number == SYS_exit_group)
            s.arguments[0] = SURVIVED;
        expect_survival(&t, calls[i].name);
    }
}

/* Returns the number of the call, counted from 1, that did not fail as it should. */
static int try_denied(bool has_redis)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L);
    if (minnow_seccomp_enter_parent(has_redis) != 0)
        return NO_FILTER;
    for (int i = 0; i < DENIED; i++) {
        bool is_allowed = has_redis && (denied[i] == SYS_connect || denied[i] == SYS_bind);

        errno = 0;
        if (syscall(denied[i], -1L, -1L, -1L, -1L, -1L, -1L) != -1 ||
            errno != (is_allowed ? EBADF : EPERM))
            return i + 1;
    }
#ifdef __x86_64__
    errno = 0;
    if (syscall(X32 | SYS_getpid) != -1 || errno != EPERM)
        return DENIED + 1;
#endif
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 && getpid() > 0 ? 0 : DENIED + 2;
}

static void what_no_parent_of_workers_needs_fails_and_ends_nothing(void **state)
{
    (void)state;
    for (int has_redis = 0; has_redis < 2; has_redis++) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
            leave(try_denied(has_redis));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void ask_for_advice(const void *arg)
{
    (void)arg;
    if (madvise(NULL, 0, MADV_HUGEPAGE) != -1 || errno != EINVAL)
        leave(1);
    errno = 0;
    if (prctl(PR_SET_VMA, 0L, 0L, 0L, 0L) != -1 || errno != EINVAL)
        leave(2);
}

/* A libc that is tuned to do so tries these, and goes on without. */
static void calls_that_only_advise_fail_and_end_nothing(void **state)
{
    struct trial t = {.during = ask_for_advice};

    (void)state;
    expect_survival(&t, "advice");
}

/* What abort() does; that of a sanitizer does more. */
static void abort_at_once(const void *arg)
{
    static const char text[] = "it is over\n";
    struct iovec piece = {(void *)(uintptr_t)text, sizeof text - 1};

    (void)arg;
    if (writev(STDERR_FILENO, &piece, 1) < 0) /* as libc writes its message */
        return;
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
}

static void abort_ends_with_its_message_and_its_signal(void **state)
{
    struct trial t = {.during = abort_at_once};

    (void)state;
    try_it(&t);
    assert_string_equal(t.text, "it is over\n");
    assert_true(WIFSIGNALED(t.status));
    assert_int_equal(WTERMSIG(t.status), SIGABRT);
}

static void ignore_and_block(void)
{
    sigset_t set;

    signal(SIGSYS, SIG_IGN);
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void refused_calls_are_named_whatever_the_parent_has_ignored_and_blocked(void **state)
{
    struct trial t = {.before = ignore_and_block, .during = shoot, .arg = &refused[0].shot};
    char what[64];

    (void)state;
    snprintf(what, sizeof what, "%ld (openat)", (long)SYS_openat);
    expect_refused(&t, what);
}

static sigjmp_buf behind_the_end;

static void go_on(int signal_number)
{
    (void)signal_number;
    siglongjmp(behind_the_end, 1);
}

/* What this process says of a call before it ends, by a signal that does not end it. */
static const char *last_words(const int *ends, int number, unsigned machine)
{
    static char text[TEXT_MAX];
    siginfo_t info = {.si_code = KERNEL_BY_FILTER};
    int saved = dup(STDERR_FILENO);
    ssize_t n;

    info.si_syscall = number;
    info.si_arch = machine;
    signal(SIGUSR2, go_on);
    dup2(ends[1], STDERR_FILENO);
    if (sigsetjmp(behind_the_end, 1) == 0)
        call_refused(SIGUSR2, &info, NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    signal(SIGUSR2, SIG_DFL);
    n = read(ends[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void expect_named(const int *ends, int number, const char *name, const char *behind)
{
    char expected[TEXT_MAX];

    snprintf(expected, sizeof expected,
             "minnow: system call %d (%s)%s is not allowed here; --no-sandbox would allow it\n",
             number, name, behind);
    assert_string_equal(last_words(ends, number, MACHINE), expected);
}

static bool is_always_in_the_list(int number)
{
    for (size_t i = 0; i < CALLS; i++) {
        if (calls[i].number == number && calls[i].purpose == FOR_ALL)
            return true;
    }
    return false;
}

/* None is cut. */
static void every_name_fits_the_line(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    for (size_t i = 0; i < CALLS; i++) {
        if (calls[i].purpose == FOR_ALL)
            expect_named(ends, calls[i].number, calls[i].name, " with these arguments");
    }
    for (size_t i = 0; i < OTHERS; i++) {
        if (!is_always_in_the_list(others[i].number))
            expect_named(ends, others[i].number, others[i].name, "");
    }
    assert_string_equal(last_words(ends, 4294967, MACHINE ^ 1),
                        "minnow: system call 4294967 of another machine is not allowed here; "
                        "--no-sandbox would allow it\n");
    close(ends[0]);
    close(ends[1]);
}

/* Nobody reads the pipe, which this process holds open at both ends. */
static void fill_stderr(void)
{
    char page[4096] = {0};
    int ends[2];

    if (pipe2(ends, O_NONBLOCK) != 0)
        _exit(1);
    while (write(ends[1], page, sizeof page) > 0)
        continue;
    fcntl(ends[1], F_SETFL, 0);
    dup2(ends[1], STDERR_FILENO);
    alarm(10);
}

static void refused_call_ends_the_process_though_nobody_reads_stderr(void **state)
{
    struct trial t = {.before = fill_stderr, .during = shoot, .arg = &refused[0].shot};

    (void)state;
    try_it(&t);
    assert_true(WIFSIGNALED(t.status));
    assert_int_equal(WTERMSIG(t.status), SIGSYS);
}

static void signal_of_another_process_ends_it_without_a_line(void **state)
{
    struct shot kill_own = {.number = SYS_tgkill, .arguments = {0, 0, SIGSYS}};
    struct trial t = {.during = repeat_own, .arg = &kill_own};

    (void)state;
    try_it(&t);
    assert_string_equal(t.text, "");
    assert_true(WIFSIGNALED(t.status));
    assert_int_equal(WTERMSIG(t.status), SIGSYS);
}

/* As Linux before 4.17. */
static void forbid_flags_of_seccomp(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};

    prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

static void kernel_that_does_not_know_the_flag_gets_the_filter_without(void **state)
{
    struct trial t = {.before = forbid_flags_of_seccomp, .during = shoot, .arg = &refused[0].shot};
    char what[64];

    (void)state;
    snprintf(what, sizeof what, "%ld (openat)", (long)SYS_openat);
    expect_refused(&t, what);
}

static void kernel_that_refuses_the_filter_is_reported(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        forbid(SYS_seccomp);
        _exit(minnow_seccomp_enter(0));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EPERM);
}

#ifdef __x86_64__
/* The next row of the table, `| 7 | call | arguments | ...`; false behind the last one. */
static bool next_row(FILE *file, char call[32], char arguments[128])
{
    char line[1024];

    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "| %*u | %31s | %127[^|]", call, arguments) == 2)
            return true;
    }
    return false;
}

static void list_is_the_one_in_the_document(void **state)
{
    FILE *file = fopen("docs/security.md", "r");
    char line[1024];
    char call[32];
    char arguments[128];

    (void)state;
    if (file == NULL)
        skip(); /* not run from the top of the tree */
    while (fgets(line, sizeof line, file) != NULL && strcmp(line, "## The sandbox\n") != 0)
        continue;
    for (size_t i = 0; i < CALLS; i++) {
        bool is_free = calls[i].checks[0].test == ANY && calls[i].error == 0;

        assert_true(next_row(file, call, arguments));
        assert_string_equal(call, calls[i].name);
        assert_int_equal(strncmp(arguments, "any", 3) == 0, is_free);
        assert_int_equal(strstr(arguments, "EINVAL") != NULL, calls[i].error == EINVAL);
        assert_int_equal(strstr(arguments, "only with a Unix") != NULL,
                         calls[i].purpose == FOR_FILE);
        assert_int_equal(strstr(arguments, "only in a worker") != NULL,
                         calls[i].purpose == FOR_WORKER);
        assert_int_equal(strstr(arguments, "only with --redis") != NULL,
                         calls[i].purpose == FOR_REDIS);
    }
    assert_false(next_row(file, call, arguments));
    fclose(file);
}
#endif

/* program/minnow_kernel.h has them once more, for a libc without these headers. */
static void values_are_those_of_the_kernel(void **state)
{
    (void)state;
    assert_int_equal(KERNEL_LOAD, BPF_LD | BPF_W | BPF_ABS);
    assert_int_equal(KERNEL_IF_EQUAL, BPF_JMP | BPF_JEQ | BPF_K);
    assert_int_equal(KERNEL_IF_BITS, BPF_JMP | BPF_JSET | BPF_K);
    assert_int_equal(KERNEL_RETURN, BPF_RET | BPF_K);
    assert_int_equal(sizeof(struct kernel_instruction), sizeof(struct sock_filter));
    assert_int_equal(sizeof(struct kernel_program), sizeof(struct sock_fprog));
    assert_int_equal(sizeof(struct kernel_call), sizeof(struct seccomp_data));
    assert_int_equal(offsetof(struct kernel_call, machine), offsetof(struct seccomp_data, arch));
    assert_int_equal(offsetof(struct kernel_call, arguments), offsetof(struct seccomp_data, args));
    assert_int_equal(KERNEL_X86_64, AUDIT_ARCH_X86_64);
    assert_int_equal(KERNEL_AARCH64, AUDIT_ARCH_AARCH64);
    assert_int_equal(KERNEL_ALLOW, SECCOMP_RET_ALLOW);
    assert_int_equal(KERNEL_FAIL, SECCOMP_RET_ERRNO);
    assert_int_equal(KERNEL_TRAP, SECCOMP_RET_TRAP);
    assert_int_equal(KERNEL_SET_FILTER, SECCOMP_SET_MODE_FILTER);
    assert_int_equal(KERNEL_SPEC_ALLOW, SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    assert_int_equal(KERNEL_NO_NEW_PRIVS, PR_SET_NO_NEW_PRIVS);
    assert_int_equal(KERNEL_SET_VMA, PR_SET_VMA);
}

#include "tests/test_minnow_seccomp.list"

int main(void)
{
    return cmocka_run_group_tests_name("minnow_seccomp", tests, NULL, NULL);
}
