/* adit tunnel ingress: whether rules are good, and which of them answers what. */
#include "base/err.h"
#include "cli/cli.h"
#include "codec/uri.h"
#include "connector/ingress_check.h"
#include "connector/remote_config.h"
#include "connector/rule_extras.h"

static int need_file(struct cli *c)
{
    if (c->file_path == NULL)
        return fault_set(&c->fault, ERR_NOTFOUND,
                         "there is no configuration file; name it with --config");
    /* In the reference's words: scripts and people look for them. */
    if (yaml_get(c->file, "ingress") != NULL && opt_source_of(&c->table, "url") >= OPT_FROM_ENV &&
        c->o.url[0] != 0)
        return fault_set(&c->fault, ERR_INVALID,
                         "You can't set the --url flag (or $TUNNEL_URL) when using "
                         "multiple-origin ingress rules");
    return 0;
}

/* ---- validate ---- */

static int validate_json(struct cli *c)
{
    struct ingress *i = NULL;
    struct warp_routing warp;
    (void)printf("Validating rules from cmdline flag --json\n");
    (void)fflush(stdout);
    if (remote_config_parse(slice_str(c->o.json), &i, &warp, &c->fault) < 0) {
        (void)snprintf(c->fault.where, sizeof c->fault.where, "--json");
        return cli_complain(c);
    }
    (void)printf("OK\n");
    ingress_unref(i);
    return 0;
}

int cmd_ingress_validate(struct cli *c, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    if (c->o.json[0] != 0)
        return validate_json(c);
    if (c->file_path != NULL)
        (void)printf("Validating rules from %s\n", c->file_path);
    (void)fflush(stdout);
    struct ingress_report *r = need_file(c) == 0 ? cli_check_rules(c) : NULL;
    if (r == NULL)
        return cli_complain(c);
    cli_explain(c, r);
    if (r->mistakes > 0)
        return 1;
    /* The reference says this instead of OK, and what it does not know then. */
    if (r->has_unknown_keys)
        (void)printf("Warning: unused keys detected in your config file. Here is a list of unused "
                     "keys:\n");
    for (size_t i = 0; i < r->count && r->has_unknown_keys; i++)
        if (r->list[i].is_unknown_key)
            (void)printf("  line %u: %s\n", r->list[i].line, r->list[i].text);
    if (!r->has_unknown_keys)
        (void)printf("OK\n");
    return 0;
}

/* ---- rule ---- */

static void explain_host(const struct rule *r, struct slice host)
{
    if (r->hostname.n == 0 || slice_eq(r->hostname, SLICE("*")))
        (void)printf("any hostname");
    else
        (void)printf("hostname %.*s %s %.*s", SLICE_FMT(r->hostname),
                     rule_takes_host(r, host) ? "takes" : "does not take", SLICE_FMT(host));
}

static void explain_path(const struct rule *r, struct slice path)
{
    if (r->regex != NULL)
        (void)printf("path %.*s %s %.*s", SLICE_FMT(r->path),
                     regex_matches(r->regex, path) ? "is found in" : "is not found in",
                     SLICE_FMT(path));
    else
        (void)printf("any path");
}

/* Why the rules before it do not answer, and why it does. */
static void explain(const struct ingress *i, size_t index, struct slice host, struct slice path)
{
    (void)printf("Because\n");
    for (size_t k = 0; k <= index; k++) {
        const struct rule *r = ingress_rule(i, k);
        bool takes_host = rule_takes_host(r, host);
        (void)printf("\trule #%zu: ", k);
        if (takes_host || k == index)
            explain_path(r, path);
        if (takes_host && k == index)
            (void)printf(", ");
        if (!takes_host || k == index)
            explain_host(r, host);
        if (rule_extras_have_conditions(r->extras))
            (void)printf(" (its method and headers are not looked at)");
        (void)printf("\n");
    }
}

int cmd_ingress_rule(struct cli *c, int argc, char **argv)
{
    struct ingress *i = NULL;
    struct uri u;
    size_t n;
    if (argc != 1 || uri_parse(slice_str(argv[0]), &u) < 0 || !u.has_authority) {
        (void)fault_set(
            &c->fault, ERR_INVALID,
            "ingress rule needs one URL: adit tunnel ingress rule https://HOSTNAME/PATH");
        (void)cli_complain(c);
        return EXIT_USAGE;
    }
    if (c->file_path != NULL)
        (void)printf("Using rules from %s\n", c->file_path);
    (void)fflush(stdout);
    int r = need_file(c);
    if (r == 0) {
        r = ingress_from_yaml(c->file, c->file_path, &i, &c->fault);
        c->is_file_broken = r < 0;
    }
    if (r < 0)
        return cli_complain(c);
    struct slice path = arena_copy(&c->arena, u.path);
    if (path.p == NULL || uri_unescape(path, (uint8_t *)(uintptr_t)path.p, &n) < 0)
        n = path.n;
    path = slice_of(path.p, n);
    size_t index = ingress_match(i, u.at.host, path);
    const struct rule *rule = ingress_rule(i, index);
    (void)printf("Matched rule #%zu\n", index);
    if (rule->hostname.n > 0)
        (void)printf("\thostname: %.*s\n", SLICE_FMT(rule->hostname));
    if (rule->path.n > 0)
        (void)printf("\tpath: %.*s\n", SLICE_FMT(rule->path));
    (void)printf("\tservice: %.*s\n", SLICE_FMT(rule->service.text));
    explain(i, index, u.at.host, path);
    ingress_unref(i);
    return 0;
}
