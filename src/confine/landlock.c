/* Files, ports and signals that the program may still reach, by Landlock. The kernel may know more
 * or less of it than the headers here were made for, so the interface is written out: rights that
 * the running kernel does not know are left out. A rule is for a file or directory as it is now: a
 * file that is replaced later is seen only where its directory is allowed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine/confine_int.h"

#define FS_TRUNCATE    (UINT64_C(1) << 14) /* since 3 */
#define FS_IOCTL_DEV   (UINT64_C(1) << 15) /* since 5 */
#define NET_BIND_TCP   (UINT64_C(1) << 0)  /* since 4 */
#define NET_CONNECT    (UINT64_C(1) << 1)
#define SCOPE_ABSTRACT (UINT64_C(1) << 0) /* since 6 */
#define SCOPE_SIGNAL   (UINT64_C(1) << 1)
#define RULE_NET_PORT  2

#define READ ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR))
#define WRITE                                                                                      \
    (READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |                          \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | FS_TRUNCATE)
#define OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

struct port_attr {
    uint64_t access, port;
};

/* What names are resolved with, certificates are checked with, and libraries are loaded from. */
static const char *const SYSTEM[] = {
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/passwd",
    "/etc/group",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/gnutls",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/usr",
    "/lib",
    "/lib64",
    "/dev/urandom",
    "/dev/random",
    "/sys/devices/system/cpu",
    "/proc/self",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/net",
    "/proc/sys/fs/file-nr",
};

static uint64_t known_files(int abi)
{
    uint64_t all = (UINT64_C(1) << 13) - 1;
    if (abi >= 2)
        all |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        all |= FS_TRUNCATE;
    return abi >= 5 ? all | FS_IOCTL_DEV : all;
}

/* What is not there needs no rule. */
static int allow(int ruleset, const char *path, uint64_t access)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC), r = 0;
    if (fd < 0)
        return errno == ENOENT || errno == EACCES || errno == ENOTDIR ? 0 : -errno;
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        access &= OF_FILES;
    struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = fd };
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        r = -errno;
    (void)close(fd);
    return r;
}

static int allow_files(int ruleset, const struct confine *c, uint64_t known)
{
    int r = 0;
    for (size_t i = 0; i < sizeof SYSTEM / sizeof SYSTEM[0] && r == 0; i++)
        r = allow(ruleset, SYSTEM[i], READ & known);
    /* A resolv.conf that is replaced is a new file, which only a rule for /etc covers. Who is not
     * root is kept from its secrets by their modes. */
    if (r == 0 && c->may_dial && geteuid() != 0)
        r = allow(ruleset, "/etc", READ & known);
    if (r == 0)
        r = allow(ruleset, "/dev/null", (READ | LANDLOCK_ACCESS_FS_WRITE_FILE) & known);
    for (size_t i = 0; i < c->read_count && r == 0; i++)
        r = allow(ruleset, c->read[i], READ & known);
    for (size_t i = 0; i < c->write_count && r == 0; i++)
        r = allow(ruleset, c->write[i], WRITE & known);
    if (r == 0 && c->own_dir != NULL)
        r = allow(ruleset, c->own_dir, WRITE & known);
#ifdef CONFINE_WRITABLE
    /* Where the counts of a coverage build go when the program ends. */
    if (r == 0)
        r = allow(ruleset, CONFINE_WRITABLE, known);
#endif
#if CONFINE_SANITIZED
    if (r == 0) /* their reports name lines of the program */
        r = allow(ruleset, "/proc/self/exe", READ & known);
#endif
    return r;
}

/* Port 0 stands for any that the kernel picks; others of the program may then bind that one too,
 * whose number is not known here. */
static bool knows_ports(const struct confine *c)
{
    for (size_t i = 0; i < c->port_count; i++)
        if (c->ports[i] == 0)
            return c->may_dial; /* one thread binds */
    return true;
}

static int allow_ports(int ruleset, const struct confine *c)
{
    for (size_t i = 0; i < c->port_count; i++) {
        struct port_attr rule = { .access = NET_BIND_TCP, .port = c->ports[i] };
        if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) < 0)
            return -errno;
    }
    return 0;
}

int confine_landlock(const struct confine *c, int *ret_abi)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0)
        return -errno;
    struct ruleset_attr attr = { .fs = known_files((int)abi) };
    if (abi >= 4 && knows_ports(c))
        attr.net |= NET_BIND_TCP;
    if (abi >= 4 && !c->may_dial)
        attr.net |= NET_CONNECT;
    /* Origins may have abstract sockets. */
    if (abi >= 6)
        attr.scoped = SCOPE_SIGNAL | (c->may_dial ? 0 : SCOPE_ABSTRACT);
    size_t size = abi >= 6 ? sizeof attr : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0)
        return -errno;
    int r = allow_files(ruleset, c, attr.fs);
    if (r == 0 && (attr.net & NET_BIND_TCP) != 0)
        r = allow_ports(ruleset, c);
    if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        r = -errno;
    (void)close(ruleset);
    if (r == 0)
        *ret_abi = (int)abi;
    return r;
}
