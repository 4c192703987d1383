/* SPDX-License-Identifier: MIT
 *
 * The system calls of a running server as a seccomp filter; see minnow_seccomp.h.
 *
 * The list is short because the server opens nothing once it listens: no file, no socket but those
 * that accept4 returns and those to a Redis, no process, no executable memory. docs/security.md
 * says why each call is in it. seccomp(2) */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "minnow_seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "minnow_kernel.h"
#include "minnow_sandbox.h"

#if defined(__x86_64__) && !defined(__ILP32__)
#define MACHINE KERNEL_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define MACHINE KERNEL_AARCH64
#else
#define MACHINE 0 /* not known */
#endif

#if MACHINE == 0

/* Others have other calls: on 32-bit machines there is no mmap or no newfstatat. */
int minnow_seccomp_enter(unsigned needs)
{
    (void)needs;
    return ENOSYS;
}

int minnow_seccomp_enter_parent(bool has_redis)
{
    (void)has_redis;
    return ENOSYS;
}

#else

/* --- the list --------------------------------------------------------------------------------- */

/* On the low 32 bits of an argument. Those that are checked here are an int, or bits of which the
 * kernel knows none above. */
enum test {
    ANY,     /* no check */
    IS,      /* equal to the value */
    WITHOUT, /* has none of these bits */
    OWN      /* the process: its pid, or the tid of its only thread, which is the same number */
};

struct check {
    enum test test;
    uint8_t argument; /* from 0 */
    uint32_t value;
};

enum { CHECKS = 2 };

/* What a call is for; those that are not for all are allowed where it is wanted alone. */
enum purpose {
    FOR_ALL = 0,
    FOR_FILE = MINNOW_SECCOMP_FILE,
    FOR_REDIS = MINNOW_SECCOMP_REDIS,
    FOR_WORKER = MINNOW_SECCOMP_WORKER
};

struct call {
    int number;
    const char *name;
    struct check checks[CHECKS]; /* all of them; the next row may allow the same call otherwise */
    int error;                   /* not 0: the call fails with this, and nothing ends */
    unsigned purpose;            /* enum purpose */
};

#define CALL(name) SYS_##name, #name

enum { REDIS_SOCKET = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC };

/* The most frequent ones first: the filter is searched from its beginning. */
static const struct call calls[] = {
#ifdef SYS_epoll_wait
    {CALL(epoll_wait), {{0}}, 0, FOR_ALL},
#endif
    {CALL(epoll_pwait), {{0}}, 0, FOR_ALL},
    {CALL(recvfrom), {{0}}, 0, FOR_ALL},
    /* MSG_FASTOPEN would connect. */
    {CALL(sendto), {{WITHOUT, 3, ~(uint32_t)(MSG_NOSIGNAL | MSG_DONTWAIT)}}, 0, FOR_ALL},
    {CALL(readv), {{0}}, 0, FOR_ALL},
    {CALL(sendmsg), {{WITHOUT, 2, ~(uint32_t)(MSG_NOSIGNAL | MSG_DONTWAIT)}}, 0, FOR_ALL},
    {CALL(epoll_ctl), {{0}}, 0, FOR_ALL},
    {CALL(accept4), {{IS, 3, SOCK_NONBLOCK | SOCK_CLOEXEC}}, 0, FOR_ALL},
    {CALL(close), {{0}}, 0, FOR_ALL},
    {CALL(shutdown), {{0}}, 0, FOR_ALL},
    {CALL(read), {{0}}, 0, FOR_ALL},
    {CALL(write), {{0}}, 0, FOR_ALL},
    {CALL(ioctl), {{IS, 1, TIOCOUTQ}}, 0, FOR_ALL},
    {CALL(setsockopt), {{IS, 1, IPPROTO_TCP}, {IS, 2, TCP_NOTSENT_LOWAT}}, 0, FOR_ALL},
    {CALL(getpeername), {{0}}, 0, FOR_ALL},
    {CALL(getrandom), {{0}}, 0, FOR_ALL},
    {CALL(fcntl), {{IS, 1, F_DUPFD_CLOEXEC}}, 0, FOR_ALL},
    {CALL(fcntl), {{IS, 1, F_SETFD}}, 0, FOR_ALL}, /* musl does it after F_DUPFD_CLOEXEC */
#ifdef SYS_poll
    {CALL(poll), {{0}}, 0, FOR_ALL},
#else
    {CALL(ppoll), {{0}}, 0, FOR_ALL},
#endif
    {CALL(clock_gettime), {{0}}, 0, FOR_ALL},
#ifdef SYS_time
    {CALL(time), {{0}}, 0, FOR_ALL},
#endif
    {CALL(brk), {{0}}, 0, FOR_ALL},
    {CALL(mmap), {{WITHOUT, 2, PROT_EXEC}}, 0, FOR_ALL},
    {CALL(munmap), {{0}}, 0, FOR_ALL},
    {CALL(mremap), {{0}}, 0, FOR_ALL},
    {CALL(mprotect), {{WITHOUT, 2, PROT_EXEC}}, 0, FOR_ALL},
    {CALL(madvise), {{IS, 2, MADV_DONTNEED}}, 0, FOR_ALL},
    {CALL(madvise), {{IS, 2, MADV_FREE}}, 0, FOR_ALL},
    {CALL(madvise), {{0}}, EINVAL, FOR_ALL},
    {CALL(prctl), {{IS, 0, KERNEL_SET_VMA}}, EINVAL, FOR_ALL},
    {CALL(newfstatat), {{0}}, 0, FOR_FILE},
    {CALL(flock), {{0}}, 0, FOR_FILE},
    {CALL(unlinkat), {{IS, 2, 0}}, 0, FOR_FILE},
    {CALL(recvmsg), {{0}}, 0, FOR_WORKER}, /* descriptors of clients, too */
    {CALL(fcntl), {{IS, 1, F_GETFL}}, 0, FOR_WORKER},
    {CALL(fcntl), {{IS, 1, F_SETFL}}, 0, FOR_WORKER},
    {CALL(getsockname), {{0}}, 0, FOR_WORKER},
    {CALL(socket), {{IS, 0, AF_INET}, {IS, 1, REDIS_SOCKET}}, 0, FOR_REDIS},
    {CALL(socket), {{IS, 0, AF_INET6}, {IS, 1, REDIS_SOCKET}}, 0, FOR_REDIS},
    {CALL(socket), {{IS, 0, AF_UNIX}, {IS, 1, REDIS_SOCKET}}, 0, FOR_REDIS},
    {CALL(connect), {{0}}, 0, FOR_REDIS},
    {CALL(setsockopt), {{IS, 1, IPPROTO_TCP}, {IS, 2, TCP_NODELAY}}, 0, FOR_REDIS},
    {CALL(writev), {{IS, 0, STDERR_FILENO}}, 0, FOR_ALL},
    {CALL(rt_sigprocmask), {{0}}, 0, FOR_ALL},
    {CALL(rt_sigaction), {{IS, 0, SIGABRT}}, 0, FOR_ALL},
    {CALL(getpid), {{0}}, 0, FOR_ALL},
    {CALL(gettid), {{0}}, 0, FOR_ALL},
    {CALL(tgkill), {{OWN, 0, 0}}, 0, FOR_ALL},
    {CALL(tkill), {{OWN, 0, 0}}, 0, FOR_ALL},
    {CALL(exit_group), {{0}}, 0, FOR_ALL},
};

/* What LeakSanitizer and gcov do at the end of the process, and a report anywhere. */
static const struct call wide_calls[] = {
#ifdef SYS_open
    {CALL(open), {{0}}, 0, FOR_ALL},
    {CALL(getdents), {{0}}, 0, FOR_ALL},
    {CALL(pipe), {{0}}, 0, FOR_ALL},
    {CALL(stat), {{0}}, 0, FOR_ALL},
    {CALL(readlink), {{0}}, 0, FOR_ALL},
#endif
    {CALL(openat), {{0}}, 0, FOR_ALL},
    {CALL(readlinkat), {{0}}, 0, FOR_ALL},
    {CALL(newfstatat), {{0}}, 0, FOR_ALL},
    {CALL(fstat), {{0}}, 0, FOR_ALL},
    {CALL(lseek), {{0}}, 0, FOR_ALL},
    {CALL(getdents64), {{0}}, 0, FOR_ALL},
    {CALL(clone), {{0}}, 0, FOR_ALL},
    {CALL(ptrace), {{0}}, 0, FOR_ALL},
    {CALL(prctl), {{0}}, 0, FOR_ALL},
    {CALL(wait4), {{0}}, 0, FOR_ALL},
    {CALL(sigaltstack), {{0}}, 0, FOR_ALL},
    {CALL(rt_sigaction), {{0}}, 0, FOR_ALL},
    {CALL(rt_sigreturn), {{0}}, 0, FOR_ALL},
    {CALL(sched_yield), {{0}}, 0, FOR_ALL},
    {CALL(sched_getaffinity), {{0}}, 0, FOR_ALL},
    {CALL(futex), {{0}}, 0, FOR_ALL},
    {CALL(getppid), {{0}}, 0, FOR_ALL},
    {CALL(getrusage), {{0}}, 0, FOR_ALL},
    {CALL(uname), {{0}}, 0, FOR_ALL},
    {CALL(exit), {{0}}, 0, FOR_ALL},
    {CALL(tgkill), {{0}}, 0, FOR_ALL},
    {CALL(ioctl), {{0}}, 0, FOR_ALL},
    {CALL(madvise), {{0}}, 0, FOR_ALL},
    {CALL(fcntl), {{0}}, 0, FOR_ALL},
};

enum {
    CALLS = sizeof calls / sizeof calls[0],
    WIDE_CALLS = sizeof wide_calls / sizeof wide_calls[0],
    CALL_CODE = 2 + 2 * CHECKS + 1, /* instructions of a row, at most */
    CODE_MAX = 8 + CALL_CODE * (CALLS + WIDE_CALLS)
};

/* --- the filter ------------------------------------------------------------------------------- */

struct program {
    struct kernel_instruction code[CODE_MAX];
    unsigned short len;
};

#define ARGUMENT(n) ((uint32_t)(offsetof(struct kernel_call, arguments) + 8 * (size_t)(n)))

static void emit(struct program *p, unsigned code, uint32_t value, size_t if_true, size_t if_false)
{
    p->code[p->len++] =
        (struct kernel_instruction){(uint16_t)code, (uint8_t)if_true, (uint8_t)if_false, value};
}

static void load(struct program *p, uint32_t at)
{
    emit(p, KERNEL_LOAD, at, 0, 0);
}

/* Go on where the check holds, else leave out the next `skip` instructions. */
static void emit_check(struct program *p, const struct check *check, size_t skip)
{
    load(p, ARGUMENT(check->argument)); /* its low half: both machines are little-endian */
    if (check->test == WITHOUT)
        emit(p, KERNEL_IF_BITS, check->value, skip, 0);
    else
        emit(p, KERNEL_IF_EQUAL, check->test == OWN ? (uint32_t)getpid() : check->value, 0, skip);
}

/* The number of the call is loaded before and after. */
static void emit_call(struct program *p, const struct call *call)
{
    size_t checks = 0;

    while (checks < CHECKS && call->checks[checks].test != ANY)
        checks++;
    emit(p, KERNEL_IF_EQUAL, (uint32_t)call->number, 0, checks == 0 ? 1 : 2 * checks + 2);
    for (size_t i = 0; i < checks; i++)
        emit_check(p, &call->checks[i], 2 * (checks - i - 1) + 1);
    emit(p, KERNEL_RETURN, call->error == 0 ? KERNEL_ALLOW : KERNEL_FAIL | (uint32_t)call->error, 0,
         0);
    if (checks != 0)
        load(p, offsetof(struct kernel_call, number));
}

/* A call of another machine (int 0x80 on x86-64) has numbers of its own. Those of x32 have a bit
 * that no number in the list has. */
static void make_program(struct program *p, unsigned needs, bool is_wide)
{
    p->len = 0;
    load(p, offsetof(struct kernel_call, machine));
    emit(p, KERNEL_IF_EQUAL, MACHINE, 1, 0);
    emit(p, KERNEL_RETURN, KERNEL_TRAP, 0, 0);
    load(p, offsetof(struct kernel_call, number));
    for (size_t i = 0; is_wide && i < WIDE_CALLS; i++)
        emit_call(p, &wide_calls[i]);
    for (size_t i = 0; i < CALLS; i++) {
        if ((calls[i].purpose & ~needs) == 0)
            emit_call(p, &calls[i]);
    }
    emit(p, KERNEL_RETURN, KERNEL_TRAP, 0, 0);
}

/* --- the parent of workers -------------------------------------------------------------------- */

/* What neither the parent needs nor a program that it starts: a new program may come with a new
 * libc, so its start cannot be listed call by call. These fail with EPERM. The first ones do not
 * where there is a Redis: its workers connect to it, and the processes that look up its name for
 * them bind the sockets for that. */
static const int denied[] = {
    SYS_connect,
    SYS_bind,
    SYS_listen,
#if !MINNOW_SANDBOX_WIDE
    SYS_ptrace,
#endif
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    SYS_swapon,
    SYS_swapoff,
    SYS_reboot,
    SYS_kexec_load,
    SYS_init_module,
    SYS_delete_module,
    SYS_acct,
    SYS_quotactl,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_syslog,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_perf_event_open,
    SYS_personality,
    SYS_mknodat,
#ifdef SYS_mknod
    SYS_mknod,
#endif
#ifdef SYS_iopl
    SYS_iopl,
    SYS_ioperm,
#endif
#ifdef SYS_finit_module
    SYS_finit_module,
#endif
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef SYS_open_by_handle_at
    SYS_open_by_handle_at,
#endif
#ifdef SYS_bpf
    SYS_bpf,
#endif
#ifdef SYS_userfaultfd
    SYS_userfaultfd,
#endif
#ifdef SYS_io_uring_setup
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
#endif
#ifdef SYS_move_mount
    SYS_move_mount,
    SYS_fsopen,
    SYS_open_tree,
#endif
};

enum { DENIED = sizeof denied / sizeof denied[0], FOR_A_REDIS = 2, X32 = 0x40000000 };

_Static_assert(2 * DENIED + 12 <= CODE_MAX, "there is room for the filter of the parent");

static void emit_result(struct program *p, int number, uint32_t result)
{
    emit(p, KERNEL_IF_EQUAL, (uint32_t)number, 0, 1);
    emit(p, KERNEL_RETURN, result, 0, 0);
}

/* Workers have this filter below their own, so what they call for each message comes first. */
static void make_parent_program(struct program *p, bool has_redis)
{
    p->len = 0;
    load(p, offsetof(struct kernel_call, machine));
    emit(p, KERNEL_IF_EQUAL, MACHINE, 1, 0);
    emit(p, KERNEL_RETURN, KERNEL_FAIL | EPERM, 0, 0);
    load(p, offsetof(struct kernel_call, number));
    emit_result(p, SYS_sendto, KERNEL_ALLOW);
    emit_result(p, SYS_sendmsg, KERNEL_ALLOW);
    emit(p, KERNEL_IF_BITS, X32, 0, 1);
    emit(p, KERNEL_RETURN, KERNEL_FAIL | EPERM, 0, 0);
    for (size_t i = has_redis ? FOR_A_REDIS : 0; i < DENIED; i++)
        emit_result(p, denied[i], KERNEL_FAIL | EPERM);
    emit(p, KERNEL_RETURN, KERNEL_ALLOW, 0, 0);
}

/* --- calls that are not in the list ----------------------------------------------------------- */

/* For the message: what an attacker, a library or a new libc is likely to try. */
static const struct {
    int number;
    const char *name;
} others[] = {
#ifdef SYS_open
    {CALL(open)},
    {CALL(stat)},
    {CALL(lstat)},
    {CALL(access)},
    {CALL(unlink)},
    {CALL(rename)},
    {CALL(mkdir)},
    {CALL(chmod)},
    {CALL(pipe)},
    {CALL(dup2)},
    {CALL(fork)},
    {CALL(vfork)},
    {CALL(readlink)},
#endif
    {CALL(openat)},
    {CALL(statx)},
    {CALL(fstat)},
    {CALL(newfstatat)},
    {CALL(faccessat)},
    {CALL(readlinkat)},
    {CALL(getdents64)},
    {CALL(lseek)},
    {CALL(pread64)},
    {CALL(unlinkat)},
    {CALL(socket)},
    {CALL(connect)},
    {CALL(bind)},
    {CALL(listen)},
    {CALL(socketpair)},
    {CALL(getsockname)},
    {CALL(getsockopt)},
    {CALL(recvmsg)},
    {CALL(pipe2)},
    {CALL(dup)},
    {CALL(dup3)},
    {CALL(flock)},
    {CALL(clone)},
    {CALL(execve)},
    {CALL(execveat)},
    {CALL(ptrace)},
    {CALL(kill)},
    {CALL(wait4)},
    {CALL(futex)},
    {CALL(getuid)},
    {CALL(setuid)},
    {CALL(rt_sigreturn)},
    {CALL(sigaltstack)},
    {CALL(sched_yield)},
    {CALL(prlimit64)},
    {CALL(restart_syscall)},
    {CALL(clock_nanosleep)},
    {CALL(nanosleep)},
    {CALL(timerfd_settime)},
    {CALL(eventfd2)},
    {CALL(getppid)},
    {CALL(exit)},
    {CALL(uname)},
    {CALL(gettimeofday)},
    {CALL(sysinfo)},
    {CALL(sched_getaffinity)},
    {CALL(seccomp)},
    {CALL(bpf)},
    {CALL(io_setup)},
#ifdef SYS_clone3
    {CALL(clone3)},
#endif
#ifdef SYS_openat2
    {CALL(openat2)},
#endif
#ifdef SYS_io_uring_setup
    {CALL(io_uring_setup)},
#endif
#ifdef SYS_rseq
    {CALL(rseq)},
#endif
#ifdef SYS_membarrier
    {CALL(membarrier)},
#endif
};

enum { OTHERS = sizeof others / sizeof others[0] };

/* One line; only what is allowed in a signal handler, so no snprintf(). */
struct line {
    char text[160];
    size_t len;
};

static void say(struct line *line, const char *text)
{
    while (*text != '\0' && line->len < sizeof line->text)
        line->text[line->len++] = *text++;
}

static void say_number(struct line *line, unsigned n)
{
    char digits[12];
    size_t at = sizeof digits;

    digits[--at] = '\0';
    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    say(line, digits + at);
}

/* " (socket)"; for a call in the list it was the arguments. */
static void say_name(struct line *line, int number)
{
    for (size_t i = 0; i < CALLS; i++) {
        if (calls[i].number == number && calls[i].purpose == FOR_ALL) {
            say(line, " (");
            say(line, calls[i].name);
            say(line, ") with these arguments");
            return;
        }
    }
    for (size_t i = 0; i < OTHERS; i++) {
        if (others[i].number == number) {
            say(line, " (");
            say(line, others[i].name);
            say(line, ")");
            return;
        }
    }
}

static void say_refused(const siginfo_t *info)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    struct line line = {.len = 0};
    ssize_t written;

    say(&line, "minnow: system call ");
    say_number(&line, (unsigned)info->si_syscall);
    if (info->si_arch == MACHINE)
        say_name(&line, info->si_syscall);
    else
        say(&line, " of another machine");
    say(&line, " is not allowed here; --no-sandbox would allow it\n");
    if (poll(&ready, 1, 0) <= 0) /* a full pipe would keep the process alive */
        return;                  /* uncovered: the signal ends the test of it */
    written = write(STDERR_FILENO, line.text, line.len);
    (void)written; /* the process ends all the same */
}

/* Then the process ends by the signal, as it would without a handler: SA_RESETHAND has removed it.
 * A core file shows the call. */
static void call_refused(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code == KERNEL_BY_FILTER)
        say_refused(info);
    raise(signal_number);
    _exit(128 + signal_number); /* uncovered: the signal has ended the process */
}

/* Whatever the parent process has left: ignored, or blocked. */
static int handle_refusals(void)
{
    struct sigaction action = {.sa_sigaction = call_refused};
    sigset_t set;

    action.sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER);
    sigemptyset(&action.sa_mask);
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    if (sigaction(SIGSYS, &action, NULL) != 0 || sigprocmask(SIG_UNBLOCK, &set, NULL) != 0)
        return errno; /* uncovered: `make campaign` lets them fail */
    return 0;
}

/* --- the start -------------------------------------------------------------------------------- */

/* Without SPEC_ALLOW an older kernel slows down the whole process, to protect it from code in it
 * that is not trusted; there is none. Linux before 4.17 does not know the flag. */
static int install(struct program *p)
{
    struct kernel_program filter = {.len = p->len, .code = p->code};

    if (syscall(SYS_seccomp, KERNEL_SET_FILTER, KERNEL_SPEC_ALLOW, &filter) == 0)
        return 0;
    if (errno == EINVAL && syscall(SYS_seccomp, KERNEL_SET_FILTER, 0, &filter) == 0)
        return 0; /* uncovered: its test ends in the filter, and can write no counters */
    return errno;
}

int minnow_seccomp_enter(unsigned needs)
{
    struct program program;
    int error = handle_refusals();

    if (error != 0)
        return error; /* uncovered: the same */
    make_program(&program, needs, MINNOW_SANDBOX_WIDE);
    return install(&program);
}

int minnow_seccomp_enter_parent(bool has_redis)
{
    struct program program;

    make_parent_program(&program, has_redis);
    return install(&program);
}

#endif
