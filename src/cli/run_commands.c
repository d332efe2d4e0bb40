/* adit tunnel (quick), adit tunnel run. */
#include "base/err.h"
#include "base/log.h"
#include "cli/account.h"
#include "cli/edges.h"
#include "cli/http_call.h"
#include "cli/plan.h"

#define QUICK_TIMEOUT (15 * NSEC_PER_SEC)

/* ---- quick tunnels ---- */

static int take_quick(struct cli *c, const json_t *result, struct credential *cred,
                      const char **ret_hostname, const char **ret_url)
{
    struct slice token = json_member_slice(result, "token"), id = json_member_slice(result, "id");
    const char *url = json_string_value(json_array_get(json_object_get(result, "urls"), 0));
    *ret_hostname = arena_str(&c->arena, json_member_slice(result, "hostname"));
    if (*ret_hostname == NULL)
        return fault_set(&c->fault, ERR_NOMEM, "out of memory");
    *ret_url = arena_fmt(&c->arena, "%s%s", url != NULL ? "" : "https://",
                         url != NULL ? url : *ret_hostname);
    if (token.n > 0) /* of our edge: it says where to connect to */
        return tunnel_token_read(token, &c->arena, cred, &c->fault);
    size_t n;
    struct slice secret = json_member_slice(result, "secret");
    uint8_t *bytes = arena_alloc(&c->arena, secret.n + 4);
    if (uuid_parse(id, &cred->tunnel) < 0 || bytes == NULL ||
        base64_decode(secret, BASE64_STD, true, false, bytes, &n) < 0)
        return fault_set(&c->fault, ERR_PROTO,
                         "the quick-tunnel service's answer cannot be understood");
    cred->account = arena_copy(&c->arena, json_member_slice(result, "account_tag"));
    cred->secret = slice_of(bytes, n);
    return 0;
}

static int no_edge(struct cli *c)
{
    if (c->o.data_dir[0] != 0)
        return fault_set(&c->fault, ERR_NOTFOUND,
                         "no edge runs with the data directory %s; start one with adit-edge serve "
                         "--data-dir %s",
                         c->o.data_dir, c->o.data_dir);
    return fault_set(&c->fault, ERR_NOTFOUND,
                     "no edge runs on this machine (looked in ./var and /var/lib/adit, and "
                     "at " ACCOUNT_DEFAULT_LOCAL "): start one with adit-edge serve, or name one "
                     "with --quick-service http://HOST:7845");
}

/* --quick-service; the edge of this machine; that of the saved login; whatever has the default
 * address, for who may not read an edge's data directory. */
static int quick_service(struct cli *c, const char **ret, bool *ret_guessed)
{
    struct local_edge local;
    struct account a;
    struct fault before = c->fault;
    *ret_guessed = false;
    if (c->o.quick_service[0] != 0) {
        *ret = c->o.quick_service;
    } else if (cli_local_edge(c, &local) == 0) {
        *ret = arena_fmt(&c->arena, "http://%.*s", SLICE_FMT(local.local));
    } else if (c->o.data_dir[0] != 0) {
        return no_edge(c);
    } else if (account_open(c, &a) == 0 && a.cert.api.n > 0) {
        if (slice_ends(a.api, SLICE("/client/v4")))
            a.api.n -= strlen("/client/v4");
        *ret = arena_str(&c->arena, a.api);
    } else {
        c->fault = before;
        *ret_guessed = true;
        *ret = "http://" ACCOUNT_DEFAULT_LOCAL;
    }
    return *ret != NULL ? 0 : fault_set(&c->fault, ERR_NOMEM, "out of memory");
}

static int ask_quick(struct cli *c, const char *service, bool is_guessed, struct credential *cred,
                     const char **ret_hostname, const char **ret_url)
{
    struct http_answer answer;
    json_t *json = NULL;
    struct slice base = slice_str(service);
    while (base.n > 0 && base.p[base.n - 1] == '/')
        base.n--;
    struct slice url = slice_str(arena_fmt(&c->arena, "%.*s/tunnel", SLICE_FMT(base)));
    int r = http_call("POST", url, (struct slice){ 0 }, SLICE(""), c->ca_pem, QUICK_TIMEOUT,
                      &c->arena, &answer, &c->fault);
    if (r == ERR_REFUSED && is_guessed)
        return no_edge(c);
    if (r < 0)
        return r;
    if (json_parse(answer.body, &json, NULL) < 0)
        return fault_set(&c->fault, ERR_PROTO,
                         "the quick-tunnel service answered with status %u and no JSON",
                         answer.status);
    const json_t *error = json_array_get(json_object_get(json, "errors"), 0);
    if (error != NULL)
        r = fault_set(&c->fault, ERR_DENIED, "no quick tunnel: %s",
                      json_string_value(json_object_get(error, "message")) != NULL
                          ? json_string_value(json_object_get(error, "message"))
                          : "the service refuses");
    else
        r = take_quick(c, json_object_get(json, "result"), cred, ret_hostname, ret_url);
    json_decref(json);
    return r;
}

/* Runs the plans until the program is told to stop, and lets go of them. */
static int connect_plans(struct cli *c, int result, const char *hostname)
{
    int status = result < 0 ? cli_complain(c) : cli_connect(c, hostname);
    plans_done(c);
    return status;
}

int cmd_tunnel(struct cli *c, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const char *hostname = NULL, *url = NULL, *service = NULL;
    bool is_guessed = false;
    if (c->o.url[0] == 0 && !c->o.hello_world && !c->o.bastion && c->o.unix_socket[0] == 0) {
        (void)fault_set(&c->fault, ERR_INVALID,
                        "say what to expose, as in adit tunnel --url http://localhost:8000, or run "
                        "a named tunnel "
                        "with adit tunnel run NAME");
        (void)cli_complain(c);
        return EXIT_USAGE;
    }
    int r = plan_single(c, NULL);
    if (r == 0)
        r = cli_ingress(c, &c->plans[0].ingress);
    if (r == 0)
        r = quick_service(c, &service, &is_guessed);
    if (r == 0)
        r = cli_confine(c);
    if (r == 0)
        r = ask_quick(c, service, is_guessed, &c->plans[0].cred, &hostname, &url);
    if (r == 0)
        log_info("Your quick tunnel has been created", LSTR("hostname", hostname),
                 LSTR("url", url));
    return connect_plans(c, r, hostname);
}

/* ---- named tunnels ---- */

int cmd_run(struct cli *c, int argc, char **argv)
{
    struct ingress *rules[CONNECTORS_MAX] = { NULL };
    bool is_usage = false;
    int r = plans_take(c, argc, argv, &is_usage);
    if (is_usage) {
        (void)cli_complain(c);
        return EXIT_USAGE;
    }
    if (r == 0)
        r = plans_rules(c, c->plans, c->plan_count, rules);
    for (size_t i = 0; r == 0 && i < c->plan_count; i++)
        c->plans[i].ingress = rules[i];
    if (r == 0) {
        edges_keep(c);
        r = cli_confine(c);
    }
    return connect_plans(c, r, NULL);
}
