/* System calls, by three filters one upon the other, of which the strictest answer counts.
 *
 * The first has what the programs and their libraries use; whatever else there is does not exist
 * (ENOSYS: a C library that tries something newer falls back), and what only an intruder wants ends
 * the process. The second looks at arguments. The third comes when all sockets are bound. They hold
 * for every thread. */
#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "confine/confine_int.h"

#define FAMILY_MAX 64 /* above every address family that there is */
#define TYPE_MASK  0xf
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* clang-format off */
static const int USED[] = {
    /* bytes */
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64),
    SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(dup), SCMP_SYS(fcntl), SCMP_SYS(pipe2),
    /* sockets */
    SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept),
    SCMP_SYS(accept4), SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt), SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(sendmmsg),
    SCMP_SYS(recvmmsg),
    /* waiting */
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(eventfd2), SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime), SCMP_SYS(signalfd4), SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(restart_syscall),
    /* files */
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(fstat), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(getdents), SCMP_SYS(getdents64), SCMP_SYS(getcwd), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fsync),
    SCMP_SYS(fdatasync), SCMP_SYS(flock), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
    SCMP_SYS(renameat2), SCMP_SYS(link), SCMP_SYS(linkat), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(fchmod),
    SCMP_SYS(fchown), SCMP_SYS(utimensat), SCMP_SYS(umask),
    /* memory */
    SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(msync),
    SCMP_SYS(mincore),
    /* threads */
    SCMP_SYS(futex), SCMP_SYS(clone), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(membarrier), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler), SCMP_SYS(set_tid_address), SCMP_SYS(gettid), SCMP_SYS(getcpu),
    /* signals */
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(tgkill),
    /* the process and the time */
    SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
    SCMP_SYS(getrandom), SCMP_SYS(getrlimit), SCMP_SYS(getrusage), SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(capget),
    SCMP_SYS(capset), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(seccomp),
};

/* Nothing falls back from these; whoever calls them is not us. */
static const int DEADLY[] = {
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd), SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(keyctl), SCMP_SYS(unshare), SCMP_SYS(setns),
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount), SCMP_SYS(fspick), SCMP_SYS(mount_setattr), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(swapon),
    SCMP_SYS(swapoff), SCMP_SYS(reboot), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(init_module),
    SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(open_by_handle_at),
    SCMP_SYS(name_to_handle_at), SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(modify_ldt), SCMP_SYS(personality),
    SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(adjtimex), SCMP_SYS(sethostname), SCMP_SYS(setdomainname),
    SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(syslog), SCMP_SYS(vhangup), SCMP_SYS(lookup_dcookie),
};
/* clang-format on */

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++)
        r = seccomp_rule_add(filter, action, calls[i], 0);
    return r;
}

/* Loads the filter for every thread, and frees it. */
static int load(scmp_filter_ctx filter, int r)
{
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0) /* confine_start has set it; the first filter would not let it be set again */
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    if (r == 0) /* a binary search instead of a list */
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r;
}

/* ---- the first: which calls there are ---- */

static int allow_prctl(scmp_filter_ctx filter)
{
    static const int OPTIONS[] = { PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_VMA,
                                   PR_CAP_AMBIENT };
    int r = 0;
    for (size_t i = 0; i < sizeof OPTIONS / sizeof OPTIONS[0] && r == 0; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)(unsigned)OPTIONS[i]));
    return r;
}

static int allow_ioctl(scmp_filter_ctx filter)
{
    static const unsigned long REQUESTS[] = { FIONBIO, FIONREAD, FIOCLEX, TIOCOUTQ, TCGETS };
    int r = 0;
    for (size_t i = 0; i < sizeof REQUESTS / sizeof REQUESTS[0] && r == 0; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_EQ, REQUESTS[i]));
    return r;
}

/* Sanitizers stop their own threads with a tracer when they look for leaks. */
static int allow_sanitizers(scmp_filter_ctx filter)
{
    static const int CALLS[] = { SCMP_SYS(ptrace), SCMP_SYS(wait4), SCMP_SYS(prctl),
                                 SCMP_SYS(kill),   SCMP_SYS(clone), SCMP_SYS(arch_prctl),
                                 SCMP_SYS(ioctl),  SCMP_SYS(dup2),  SCMP_SYS(prlimit64) };
    return add_all(filter, SCMP_ACT_ALLOW, CALLS, sizeof CALLS / sizeof CALLS[0]);
}

static int filter_calls(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (filter == NULL)
        return -ENOMEM;
    int r = add_all(filter, SCMP_ACT_ALLOW, USED, sizeof USED / sizeof USED[0]);
    if (r == 0)
        r = add_all(filter, SCMP_ACT_KILL_PROCESS, DEADLY, sizeof DEADLY / sizeof DEADLY[0]);
    if (CONFINE_SANITIZED)
        return load(filter, r == 0 ? allow_sanitizers(filter) : r);
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(ptrace), 0);
    if (r == 0)
        r = allow_prctl(filter);
    if (r == 0)
        r = allow_ioctl(filter);
    if (r == 0) /* limits are read, not set */
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
                             SCMP_A2(SCMP_CMP_EQ, 0));
    return load(filter, r);
}

/* ---- the second: with which arguments ---- */

static bool family_is_used(int family)
{
    return family == AF_INET || family == AF_INET6 || family == AF_UNIX;
}

/* Streams and datagrams of IP and of unix; the kernel's list of addresses, which name look-ups
 * read. */
static int limit_sockets(scmp_filter_ctx filter)
{
    static const int FAMILIES[] = { AF_INET, AF_INET6 };
    int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_GT, FAMILY_MAX));
    for (int family = 0; family <= FAMILY_MAX && r == 0; family++)
        if (!family_is_used(family) && family != AF_NETLINK)
            r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
                                 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)(unsigned)family));
    for (size_t i = 0; i < sizeof FAMILIES / sizeof FAMILIES[0] && r == 0; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 2,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)(unsigned)FAMILIES[i]),
                             SCMP_A1(SCMP_CMP_MASKED_EQ, TYPE_MASK, SOCK_RAW));
    return r == 0 ? seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 2,
                                     SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
                                     SCMP_A2(SCMP_CMP_NE, NETLINK_ROUTE))
                  : r;
}

/* No memory becomes code. Who resolves names loads libraries for it (nsswitch.conf), and so maps
 * files that may be executed but not written. */
static int limit_memory(scmp_filter_ctx filter, const struct confine *c)
{
    unsigned bits = c->may_dial ? PROT_EXEC | PROT_WRITE : PROT_EXEC;
    int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, bits, bits));
    return r == 0 ? seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mprotect), 1,
                                     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC))
                  : r;
}

static int filter_arguments(const struct confine *c)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (filter == NULL)
        return -ENOMEM;
    int r = limit_sockets(filter);
    if (!CONFINE_SANITIZED) {
        if (r == 0) /* threads, not processes */
            r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
        if (r == 0)
            r = limit_memory(filter, c);
    }
    return load(filter, r);
}

int confine_calls(const struct confine *c)
{
    int r = filter_calls();
    return r == 0 ? filter_arguments(c) : r;
}

/* ---- the third: sockets are bound ---- */

int confine_calls_bound(const struct confine *c)
{
    static const int OF_SERVERS[] = { SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind) };
    static const int OF_ALL[] = { SCMP_SYS(listen), SCMP_SYS(seccomp) };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (filter == NULL)
        return -ENOMEM;
    int r = add_all(filter, SCMP_ACT_ERRNO(EPERM), OF_ALL, sizeof OF_ALL / sizeof OF_ALL[0]);
    if (r == 0 && !c->may_dial)
        r = add_all(filter, SCMP_ACT_ERRNO(EPERM), OF_SERVERS,
                    sizeof OF_SERVERS / sizeof OF_SERVERS[0]);
    return load(filter, r);
}
