#include "cli/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/plan.h"
#include "connector/ingress_check.h"

#define SETTLE_NSEC     (100 * NSEC_PER_MSEC)
#define ARENA_BYTES_MAX (64 * 1024 * 1024)
#define LOGGED_MAX      20 /* mistakes: ingress validate has them all */

/* ---- watching ---- */

/* A directory is watched and not the file: editors, configuration management and Kubernetes put
 * another file in its place. */
static int watch_directory_of(int fd, const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return ERR_NOMEM;
    char *slash = strrchr(copy, '/');
    const char *directory = slash == NULL ? "." : slash == copy ? "/" : copy;
    if (slash != NULL && slash != copy)
        *slash = 0;
    int r = inotify_add_watch(fd, directory, IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR) < 0
                ? err_from_errno(errno)
                : 0;
    free(copy);
    return r;
}

void reload_watch(struct cli *c)
{
    c->watched = -1;
    if (c->file_path == NULL || !plans_have_file_rules(c))
        return;
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    int r = fd >= 0 ? watch_directory_of(fd, c->file_path) : err_from_errno(errno);
    /* Behind a link the file itself may change as well. */
    char *real = r == 0 ? realpath(c->file_path, NULL) : NULL;
    if (real != NULL)
        r = watch_directory_of(fd, real);
    free(real);
    if (r == 0) {
        c->watched = fd;
        return;
    }
    log_warn("the configuration file cannot be watched: SIGHUP has it read again",
             LSTR("file", c->file_path), LERR(r));
    if (fd >= 0)
        (void)close(fd);
}

/* ---- reading again ---- */

static void log_finding(const struct cli *c, const struct ingress_finding *f)
{
    struct fault fault = { .line = f->line, .column = f->column };
    char line[FAULT_LINE_BYTES];
    (void)snprintf(fault.where, sizeof fault.where, "%s", c->file_path);
    (void)snprintf(fault.text, sizeof fault.text, "%s", f->text);
    log_error("the configuration file is refused: the rules from before go on",
              LSTR("why", fault_line(&fault, line)), LSTR("hint", f->hint != NULL ? f->hint : ""));
}

/* Everything that is wrong with it, one line each. */
static void log_refusal(struct cli *c, const struct ingress_report *report)
{
    char line[FAULT_LINE_BYTES];
    size_t logged = 0;
    for (size_t i = 0; report != NULL && i < report->count && logged < LOGGED_MAX; i++)
        if (!report->list[i].is_warning) {
            log_finding(c, &report->list[i]);
            logged++;
        }
    if (logged == 0)
        log_error("the configuration file is refused: the rules from before go on",
                  LSTR("why", fault_line(&c->fault, line)));
}

/* The tunnels that there were then are still those of the file: their list is not read again. */
static int find_tunnels(struct cli *c)
{
    size_t count = 0;
    for (const struct yaml_node *e = plans_list(c) != NULL ? plans_list(c)->first : NULL; e != NULL;
         e = e->next)
        count++;
    for (size_t i = 0; i < c->plan_count; i++)
        if (c->plans[i].key != NULL && plans_entry(c, c->plans[i].key) == NULL)
            return fault_set(&c->fault, ERR_NOTFOUND,
                             "%s: the tunnel %s is not in the list any more, but runs: start the "
                             "program anew",
                             c->file_path, c->plans[i].key);
        else if (c->plans[i].has_rules && !cli_has_file_rules(c) &&
                 yaml_get(plans_entry(c, c->plans[i].key), "ingress") == NULL)
            return fault_set(&c->fault, ERR_NOTFOUND, "%s: the tunnel %s has no ingress any more",
                             c->file_path, c->plans[i].key);
    if (count > c->plan_count)
        log_info("tunnels that are new in the configuration file run with the next start",
                 LSTR("file", c->file_path));
    return 0;
}

/* The rules of the file as it is now, for each plan. Complains in the log. */
static int read_rules(struct cli *c, struct ingress **ret, struct warp_routing *ret_warp)
{
    const struct ingress_report *report = NULL;
    const char *flag;
    int r = cli_reread_config(c);
    if (r == 0)
        r = find_tunnels(c);
    if (r == 0 && !plans_have_file_rules(c))
        r = fault_set(&c->fault, ERR_NOTFOUND, "%s has no ingress rules any more", c->file_path);
    if (r == 0 || c->is_file_broken)
        report = cli_check_rules(c);
    if (r == 0 && report != NULL && report->mistakes > 0)
        r = ERR_PARSE;
    if (r == 0)
        r = cli_warp_routing(c, ret_warp, &flag);
    if (r == 0)
        r = plans_rules(c, c->plans, c->plan_count, ret);
    if (r < 0)
        log_refusal(c, report);
    return r;
}

/* Of the command line as it was at the start, with an arena of its own. NULL when memory is short.
 */
static struct cli *cli_again(const struct cli *c)
{
    struct cli *again = calloc(1, sizeof *again);
    if (again == NULL)
        return NULL;
    arena_init_secret(&again->arena, ARENA_BYTES_MAX);
    again->o = c->o;
    again->table = c->table;
    again->file_path = c->file_path;
    again->plans = c->plans; /* which are only read */
    again->plan_count = c->plan_count;
    again->watched = -1;
    return again;
}

static void keep_text(struct reload *r, struct slice text)
{
    free(r->text);
    r->text = slice_dup(text);
    r->text_bytes = text.n;
}

/* A file that was touched, or written as it was, is no news; SIGHUP is, for the files that it names
 * may be others. */
static bool is_news(const struct reload *r, struct slice text, bool is_asked)
{
    return is_asked || r->text == NULL || !slice_eq(text, slice_of(r->text, r->text_bytes));
}

static void configure(struct reload *r, struct cli *c, struct connector *connector,
                      struct ingress *ingress, const struct warp_routing *warp, const char *why)
{
    if (connector_is_managed(connector)) {
        log_info("the configuration file is not read again: the edge manages this tunnel",
                 LSTR("reason", why), LSTR("tunnel", connector_tunnel(connector)));
        return;
    }
    int e =
        connector_configure(connector, ingress, warp, cli_local_configuration(c, ingress, warp));
    if (e == 0)
        log_info("the configuration file was read again", LSTR("file", r->cli->file_path),
                 LSTR("reason", why), LU64("rules", ingress_count(ingress)),
                 LSTR("tunnel", connector_tunnel(connector)));
    else
        log_error("out of memory: the rules from before go on",
                  LSTR("tunnel", connector_tunnel(connector)));
}

/* Rules from the text that `c` read, in the place of those in force: all of them are good, or none
 * is taken. */
static void load(struct reload *r, struct cli *c, const char *why)
{
    const struct connectors *all = r->connectors;
    struct ingress *rules[CONNECTORS_MAX] = { NULL };
    struct warp_routing warp;
    if (read_rules(c, rules, &warp) < 0) {
        for (size_t i = 0; i < all->count; i++)
            connector_count_refused(all->list[i]);
        return;
    }
    for (size_t i = 0; i < all->count; i++)
        configure(r, c, all->list[i], rules[i], &warp, why);
    for (size_t i = 0; i < all->count; i++)
        ingress_unref(rules[i]);
}

static bool are_managed(const struct connectors *all)
{
    for (size_t i = 0; i < all->count; i++)
        if (!connector_is_managed(all->list[i]))
            return false;
    return true;
}

static void look(struct reload *r, const char *why, bool is_asked)
{
    struct cli *c = cli_again(r->cli);
    struct slice text = { 0 };
    if (c == NULL) {
        log_error("out of memory: the configuration file is not read again");
        return;
    }
    /* One that cannot be read is told by whoever reads it for its rules. */
    if (cli_read_file(c, c->file_path, false, &text) < 0 || is_news(r, text, is_asked)) {
        keep_text(r, text);
        if (are_managed(r->connectors))
            log_info("the configuration file is not read again: the edge manages this tunnel",
                     LSTR("reason", why));
        else
            load(r, c, why);
    }
    arena_done(&c->arena);
    free(c);
}

void reload_now(struct reload *r, const char *why)
{
    deadline_clear(&r->settle);
    if (plans_have_file_rules(r->cli))
        look(r, why, true);
    else
        log_info("there is nothing to read again: the rules are not those of a file",
                 LSTR("reason", why));
}

/* What happened does not matter: any of it may have changed the file. */
static void run(struct task *t)
{
    struct reload *r = container_of(t, struct reload, task);
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool is_told = false;
    while (read(watch_fd(r->watch), events, sizeof events) > 0)
        is_told = true;
    watch_wait(r->watch, WATCH_READ);
    if (is_told && !deadline_is_set(&r->settle))
        deadline_set(&r->settle, &r->task, loop_now(r->loop) + SETTLE_NSEC);
    if (deadline_take(&r->settle))
        look(r, "it changed", false);
}

void reload_open(struct reload *r, struct loop *loop, struct cli *c,
                 const struct connectors *connectors)
{
    *r = (struct reload){ .loop = loop, .cli = c, .connectors = connectors };
    task_init(&r->task, loop, run);
    keep_text(r, c->file_text);
    int fd = c->watched;
    c->watched = -1;
    if (fd < 0)
        return;
    if (watch_open(loop, fd, &r->task, &r->watch) < 0) {
        log_warn("the configuration file cannot be watched: SIGHUP has it read again");
        (void)close(fd);
        return;
    }
    watch_wait(r->watch, WATCH_READ);
    deadline_set(&r->settle, &r->task, loop_now(loop)); /* it may have changed meanwhile */
}

void reload_close(struct reload *r)
{
    if (r->loop == NULL)
        return;
    deadline_clear(&r->settle);
    watch_close(r->watch);
    task_done(&r->task);
    free(r->text);
    r->loop = NULL;
}
