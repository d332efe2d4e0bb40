#include "confine/confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "confine/confine_int.h"

#define LOW_PORT_MAX 1023
#define MASK(cap)    (UINT64_C(1) << (cap))

int confine_mode_of(const char *sandbox, bool is_off, enum confine_mode *ret, struct fault *fault)
{
    static const char *const NAMES[] = { "auto", "required", "off" };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        if (slice_eq(slice_str(sandbox), slice_str(NAMES[i]))) {
            *ret = is_off ? CONFINE_OFF : (enum confine_mode)i;
            return 0;
        }
    return fault_set(fault, ERR_INVALID, "--sandbox %s: auto, required or off is wanted", sandbox);
}

static bool wants_low_ports(const struct confine *c)
{
    for (size_t i = 0; i < c->port_count; i++)
        if (c->ports[i] > 0 && c->ports[i] <= LOW_PORT_MAX)
            return true;
    return false;
}

/* Root that stays root still opens the origins' sockets, whoever owns them; Landlock has the files.
 */
static uint64_t kept(const struct confine *c)
{
    uint64_t mask = wants_low_ports(c) ? MASK(CAP_NET_BIND_SERVICE) : 0;
    if (c->may_dial && geteuid() == 0)
        mask |= MASK(CAP_DAC_OVERRIDE);
    return mask;
}

static void no_cores(void)
{
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* Notes what is missing. Only who requires it fails. */
static int missing(struct confine *c, const char *what, int error, struct fault *fault)
{
    size_t n = strlen(c->without);
    (void)snprintf(c->without + n, sizeof c->without - n, "%s%s: %s", n > 0 ? "; " : "", what,
                   strerror(-error));
    if (c->mode != CONFINE_REQUIRED)
        return 0;
    return fault_set(fault, ERR_DENIED,
                     "confinement is required (--sandbox required), but this system refuses %s: %s",
                     what, strerror(-error));
}

/* Valgrind runs within the process and makes system calls of its own. */
static bool is_under_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "/vgpreload_") != NULL;
}

static int call_filter(struct confine *c, int (*filter)(const struct confine *),
                       struct fault *fault)
{
    int r = filter(c);
    c->has_seccomp = r == 0;
    return r < 0 ? missing(c, "seccomp", r, fault) : 0;
}

int confine_start(struct confine *c, struct fault *fault)
{
    int r, e;
    if (c->mode == CONFINE_OFF)
        return c->user != NULL && c->user[0] != 0 ? confine_user(c, wants_low_ports(c), fault) : 0;
    confine_bounding_set();
    r = confine_user(c, wants_low_ports(c), fault);
    if (r < 0)
        return r;
    no_cores(); /* behind the change of user, which has a say in it */
    e = confine_capabilities(kept(c));
    if (e < 0)
        r = missing(c, "dropping capabilities", e, fault);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = missing(c, "no-new-privs", -errno, fault);
    if (r == 0 && (e = confine_landlock(c, &c->landlock_abi)) < 0)
        r = missing(c, "landlock", e, fault);
    if (r == 0 && is_under_valgrind())
        return missing(c, "seccomp under valgrind", -ENOTSUP, fault);
    return r == 0 ? call_filter(c, confine_calls, fault) : r;
}

void confine_thread(void)
{
    (void)!confine_capabilities(geteuid() == 0 ? MASK(CAP_DAC_OVERRIDE) : 0);
}

static void tell(const struct confine *c)
{
    char by[96], landlock[32] = "";
    if (c->landlock_abi > 0)
        (void)snprintf(landlock, sizeof landlock, " landlock(abi %d)", c->landlock_abi);
    (void)snprintf(by, sizeof by, "no-new-privs%s%s", c->has_seccomp ? " seccomp" : "", landlock);
    if (c->without[0] != 0)
        log_info("confined", LSTR("by", by), LSTR("without", c->without),
                 LSTR("user", c->as[0] != 0 ? c->as : "unchanged"));
    else
        log_info("confined", LSTR("by", by), LSTR("user", c->as[0] != 0 ? c->as : "unchanged"));
}

int confine_bound(struct confine *c, struct fault *fault)
{
    int r = 0;
    if (c->mode == CONFINE_OFF) {
        log_warn("not confined: the sandbox is off");
        return 0;
    }
    int e = confine_capabilities(kept(c) & ~MASK(CAP_NET_BIND_SERVICE));
    if (e < 0)
        r = missing(c, "dropping capabilities", e, fault);
    if (r == 0 && c->has_seccomp)
        r = call_filter(c, confine_calls_bound, fault);
    if (r == 0)
        tell(c);
    if (r == 0 && c->why_root[0] != 0)
        log_warn("running as root", LSTR("why", c->why_root));
    return r;
}
