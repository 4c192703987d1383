/* SPDX-License-Identifier: MIT
 *
 * What the sandbox needs of the kernel's interface: linux/filter.h, linux/seccomp.h, linux/audit.h,
 * linux/prctl.h and linux/landlock.h. These headers come with glibc but not with musl, and those of
 * an older system lack what a newer kernel can do. The values never change: programs that are
 * compiled already rely on them. */
#ifndef MINNOW_KERNEL_H
#define MINNOW_KERNEL_H

#include <stdint.h>
#include <sys/syscall.h>

/* --- BPF, a filter's instructions ------------------------------------------------------------- */

struct kernel_instruction {
    uint16_t code;
    uint8_t if_true; /* how many instructions to leave out */
    uint8_t if_false;
    uint32_t value;
};

struct kernel_program {
    unsigned short len;
    struct kernel_instruction *code;
};

enum {
    KERNEL_LOAD = 0x20,     /* BPF_LD | BPF_W | BPF_ABS */
    KERNEL_IF_EQUAL = 0x15, /* BPF_JMP | BPF_JEQ | BPF_K */
    KERNEL_IF_BITS = 0x45,  /* BPF_JMP | BPF_JSET | BPF_K: any of them is set */
    KERNEL_RETURN = 0x06    /* BPF_RET | BPF_K */
};

/* --- seccomp ---------------------------------------------------------------------------------- */

/* What a filter sees: struct seccomp_data. */
struct kernel_call {
    int32_t number;
    uint32_t machine;
    uint64_t instruction_pointer;
    uint64_t arguments[6];
};

#define KERNEL_X86_64  UINT32_C(0xc000003e) /* AUDIT_ARCH_X86_64 */
#define KERNEL_AARCH64 UINT32_C(0xc00000b7) /* AUDIT_ARCH_AARCH64 */

#define KERNEL_ALLOW UINT32_C(0x7fff0000) /* SECCOMP_RET_ALLOW */
#define KERNEL_FAIL  UINT32_C(0x00050000) /* SECCOMP_RET_ERRNO, less the errno */
#define KERNEL_TRAP  UINT32_C(0x00030000) /* SECCOMP_RET_TRAP */

enum {
    KERNEL_SET_FILTER = 1, /* SECCOMP_SET_MODE_FILTER */
    KERNEL_SPEC_ALLOW = 4, /* SECCOMP_FILTER_FLAG_SPEC_ALLOW */
    KERNEL_BY_FILTER = 1   /* SYS_SECCOMP: the si_code of a SIGSYS that a filter has caused */
};

/* --- prctl ------------------------------------------------------------------------------------ */

enum { KERNEL_NO_NEW_PRIVS = 38, KERNEL_SET_VMA = 0x53564d41 };

/* The number of close_range(2), the same on all machines. */
enum { KERNEL_CLOSE_RANGE = 436 };

/* --- Landlock --------------------------------------------------------------------------------- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

/* struct landlock_ruleset_attr; an older kernel takes the beginning of it. */
struct kernel_ruleset {
    uint64_t files;   /* rights that are taken away, except where a rule gives them */
    uint64_t network; /* since 4 */
    uint64_t scoped;  /* since 6 */
};

/* struct landlock_path_beneath_attr, which is packed */
struct kernel_beneath {
    uint64_t rights;
    int32_t directory;
} __attribute__((packed));

/* struct landlock_net_port_attr */
struct kernel_port {
    uint64_t rights;
    uint64_t port;
};

enum {
    KERNEL_RULESET_VERSION = 1,     /* LANDLOCK_CREATE_RULESET_VERSION */
    KERNEL_PATH_BENEATH = 1,        /* LANDLOCK_RULE_PATH_BENEATH */
    KERNEL_EXECUTE = 1 << 0,        /* LANDLOCK_ACCESS_FS_EXECUTE */
    KERNEL_WRITE_FILE = 1 << 1,     /* LANDLOCK_ACCESS_FS_WRITE_FILE */
    KERNEL_PORT = 2,                /* LANDLOCK_RULE_NET_PORT */
    KERNEL_CONNECT = 1 << 1,        /* LANDLOCK_ACCESS_NET_CONNECT_TCP */
    KERNEL_READ_FILE = 1 << 2,      /* LANDLOCK_ACCESS_FS_READ_FILE */
    KERNEL_READ_DIRECTORY = 1 << 3, /* LANDLOCK_ACCESS_FS_READ_DIR */
    KERNEL_REMOVE_FILE = 1 << 5,    /* LANDLOCK_ACCESS_FS_REMOVE_FILE */
    KERNEL_MAKE_FILE = 1 << 8,      /* LANDLOCK_ACCESS_FS_MAKE_REG */
    KERNEL_IOCTL_DEVICE = 1 << 15   /* LANDLOCK_ACCESS_FS_IOCTL_DEV */
};

#endif
