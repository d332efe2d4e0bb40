/* Root becomes somebody else: whom --user names; else the owner of the data directory, when that is
 * not root; else `adit`, when there is such a user; else it stays root, without its capabilities.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/slice.h"
#include "confine/confine_int.h"

#define DEFAULT_USER "adit"
#define DIR_FILES_MAX                                                                              \
    4096 /* far more than a data directory has: a wrong directory is not walked                    \
          */

struct identity {
    uid_t uid;
    gid_t gid;
    char name[CONFINE_USER_BYTES];
};

/* ---- capabilities ---- */

int confine_capabilities(uint64_t keep)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    for (unsigned i = 0; i < 2; i++) {
        data[i].permitted &= (uint32_t)(keep >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

void confine_bounding_set(void)
{
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* only who may set capabilities may do this */
}

/* ---- who ---- */

static int no_user(const char *kind, const char *name, struct fault *fault)
{
    return fault_set(fault, ERR_NOTFOUND, "--user: there is no %s %s", kind, name);
}

/* NAME or NAME:GROUP. */
static int find_named(const char *text, struct identity *ret, struct fault *fault)
{
    struct slice name = slice_str(text), group;
    size_t colon = slice_find(name, ':');
    group = slice_sub(name, colon + 1, SIZE_MAX);
    if (colon == 0 || colon >= sizeof ret->name)
        return no_user("user", text, fault);
    memcpy(ret->name, text, colon);
    ret->name[colon] = 0;
    const struct passwd *p = getpwnam(ret->name);
    if (p == NULL)
        return no_user("user", ret->name, fault);
    ret->uid = p->pw_uid;
    ret->gid = p->pw_gid;
    if (colon == name.n)
        return 0;
    const struct group *g = getgrnam((const char *)group.p);
    if (g == NULL)
        return no_user("group", (const char *)group.p, fault);
    ret->gid = g->gr_gid;
    return 0;
}

/* Whether there is somebody to become though nobody was named. */
static bool find_default(const char *own_dir, struct identity *ret)
{
    struct stat st;
    const struct passwd *p = NULL;
    if (own_dir != NULL && stat(own_dir, &st) == 0 && st.st_uid != 0)
        p = getpwuid(st.st_uid);
    if (p == NULL)
        p = getpwnam(DEFAULT_USER);
    if (p == NULL || p->pw_uid == 0)
        return false;
    ret->uid = p->pw_uid;
    ret->gid = p->pw_gid;
    (void)snprintf(ret->name, sizeof ret->name, "%s", p->pw_name);
    return true;
}

/* ---- the data directory ---- */

/* A file that root made becomes the new user's. Neither links nor what has a second name elsewhere:
 * whoever may write in the directory must not be given other files by it. */
static int give_file(int dir, const char *name, const struct identity *to)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!(S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode)) || st.st_nlink != 1 || st.st_uid != 0)
        return 0;
    return fchownat(dir, name, to->uid, to->gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int give_dir(const char *path, const struct identity *to)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        r = -errno;
        if (fd >= 0)
            (void)close(fd);
        return r;
    }
    unsigned count = 0;
    for (const struct dirent *e; r == 0 && (e = readdir(dir)) != NULL;)
        r = ++count > DIR_FILES_MAX ? -EFBIG : give_file(fd, e->d_name, to);
    if (r == 0 && fstat(fd, &st) == 0 && st.st_uid == 0 && fchown(fd, to->uid, to->gid) < 0)
        r = -errno;
    (void)closedir(dir);
    return r;
}

/* Whether the new user gets there at all: the directories above are not ours to change. */
static bool is_reachable(const char *path, const struct identity *by)
{
    bool is = false;
    if (setegid(by->gid) == 0) {
        if (seteuid(by->uid) == 0) {
            is = faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0;
            (void)!seteuid(0);
        }
        (void)!setegid(0);
    }
    return is;
}

static int take_dir(const struct confine *c, const struct identity *to, struct fault *fault)
{
    if (c->own_dir == NULL)
        return 0;
    int r = give_dir(c->own_dir, to);
    if (r < 0)
        return fault_set(fault, ERR_DENIED, "%s cannot be given to the user %s: %s", c->own_dir,
                         to->name, strerror(-r));
    if (is_reachable(c->own_dir, to))
        return 0;
    return fault_set(fault, ERR_DENIED,
                     "the user %s cannot write in %s; choose another directory with --data-dir, or "
                     "another user with --user",
                     to->name, c->own_dir);
}

/* ---- the change ---- */

static bool is_for_good(const struct identity *to)
{
    uid_t real, effective, saved;
    if (getresuid(&real, &effective, &saved) < 0 || real != to->uid || effective != to->uid ||
        saved != to->uid || getegid() != to->gid || getgid() != to->gid)
        return false;
    return to->uid == 0 || (setuid(0) < 0 && seteuid(0) < 0 && setresuid(0, 0, 0) < 0);
}

static int become(const struct identity *to, bool keep_low_ports, struct fault *fault)
{
    if (keep_low_ports)
        (void)prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0); /* confine_capabilities leaves only that one */
    bool is_set = initgroups(to->name, to->gid) == 0 && setresgid(to->gid, to->gid, to->gid) == 0 &&
                  setresuid(to->uid, to->uid, to->uid) == 0;
    int error = errno;
    (void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    if (!is_set)
        return fault_set(fault, err_from_errno(error), "the user %s cannot be had: %s", to->name,
                         strerror(error));
    /* With the capabilities kept so far, root could be had again. */
    if (confine_capabilities(keep_low_ports ? UINT64_C(1) << CAP_NET_BIND_SERVICE : 0) < 0 ||
        !is_for_good(to))
        return fault_set(fault, ERR_DENIED, "root was not given up for the user %s", to->name);
    return 0;
}

int confine_user(struct confine *c, bool keep_low_ports, struct fault *fault)
{
    struct identity to = { 0 };
    bool is_named = c->user != NULL && c->user[0] != 0;
    int r = is_named ? find_named(c->user, &to, fault) : 0;
    if (r < 0)
        return r;
    if (geteuid() != 0) {
        if (is_named && to.uid != geteuid())
            return fault_set(fault, ERR_DENIED, "--user %s: only root may become another user",
                             c->user);
        return 0;
    }
    if (!is_named && !find_default(c->own_dir, &to)) {
        (void)snprintf(c->why_root, sizeof c->why_root,
                       "no user was named with --user, and there is none that is called adit");
        return 0;
    }
    if (to.uid != 0)
        r = take_dir(c, &to, fault);
    /* Whom nobody named is no reason not to serve. Before the change, nothing is lost. */
    if (r < 0 && !is_named) {
        (void)snprintf(c->why_root, sizeof c->why_root, "%s", fault != NULL ? fault->text : "");
        return 0;
    }
    if (r == 0)
        r = become(&to, keep_low_ports, fault);
    if (r == 0)
        (void)snprintf(c->as, sizeof c->as, "%s", to.name);
    return r;
}
