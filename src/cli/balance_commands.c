/* adit tunnel route balance: how the requests of a hostname are shared among the replicas of its
 * tunnel. The reference has no such command. */
#include "base/err.h"
#include "cli/account.h"
#include "cli/table.h"

static bool is_given(const struct cli *c, const char *flag)
{
    return opt_source_of(&c->table, flag) == OPT_FROM_FLAG;
}

static bool says_something(const struct cli *c)
{
    return is_given(c, "policy") || is_given(c, "weight") || is_given(c, "affinity") ||
           is_given(c, "affinity-ttl");
}

/* ---- from flags ---- */

/* "canary=5"; a label may hold "=" too: the last one counts. */
static int add_weight(struct cli *c, json_t *weights, const char *text)
{
    struct slice all = slice_str(text);
    size_t at = slice_find_last(all, '=');
    uint64_t weight = 0;
    if (at == 0 || at >= all.n || slice_u64(slice_sub(all, at + 1, SIZE_MAX), 1000000, &weight) < 0)
        return fault_set(&c->fault, ERR_INVALID,
                         "--weight %s: REPLICA=N is wanted, such as canary=5", text);
    const char *name = arena_str(&c->arena, slice_sub(all, 0, at));
    if (name == NULL || json_object_get(weights, name) != NULL)
        return fault_set(&c->fault, ERR_INVALID, "--weight %s: this replica has a weight already",
                         text);
    if (json_object_set_new(weights, name, json_integer((json_int_t)weight)) < 0)
        return fault_set(&c->fault, ERR_INVALID, "--weight: the name of a replica is not UTF-8");
    return 0;
}

static int fill_body(struct cli *c, json_t *body)
{
    json_t *weights = json_object();
    int r = 0;
    for (size_t i = 0; i < c->o.weight.count && is_given(c, "weight") && r == 0; i++)
        r = add_weight(c, weights, c->o.weight.items[i]);
    int e = json_object_set_new(body, "weights", weights);
    if (is_given(c, "policy"))
        e |= json_object_set_new(body, "policy", json_string(c->o.policy));
    if (is_given(c, "affinity"))
        e |= json_object_set_new(body, "affinity", json_string(c->o.affinity));
    if (is_given(c, "affinity-ttl"))
        e |= json_object_set_new(body, "affinity_ttl",
                                 json_integer((json_int_t)(c->o.affinity_ttl / NSEC_PER_SEC)));
    if (r == 0 && e < 0)
        r = fault_set(&c->fault, ERR_INVALID, "--policy and --affinity must be UTF-8");
    return r;
}

/* ---- what it is ---- */

static void print_weights(const json_t *weights)
{
    const char *name;
    json_t *weight;
    (void)printf("WEIGHTS:   ");
    if (json_object_size(weights) == 0)
        (void)printf(" none");
    json_object_foreach((json_t *)(uintptr_t)weights, name, weight)
    {
        (void)printf(" %s=%lld", name, (long long)json_integer_value(weight));
    }
    (void)printf("\n");
}

static int print_balance(struct cli *c, json_t *result, bool as_json)
{
    if (as_json)
        return print_json(json_incref(result));
    const json_t *ttl = json_object_get(result, "affinity_ttl");
    (void)printf("HOSTNAME:   %s\nTUNNEL:     %s\nPOLICY:     %s\n",
                 member_text(result, "hostname"), member_text(result, "tunnel_id"),
                 member_text(result, "policy"));
    print_weights(json_object_get(result, "weights"));
    (void)printf("AFFINITY:   %s", member_text(result, "affinity"));
    if (json_is_integer(ttl))
        (void)printf(", for %lld s", (long long)json_integer_value(ttl));
    (void)printf("\n");
    (void)c;
    return fflush(stdout) == 0 ? 0 : 1;
}

int cmd_route_balance(struct cli *c, int argc, char **argv)
{
    struct account a;
    json_t *body = NULL, *result = NULL;
    if (argc != 1)
        return cli_usage(c, "tunnel route balance", "exactly 1 argument, the hostname");
    if (c->o.reset && says_something(c))
        return cli_usage(c, "tunnel route balance", "either --reset or what it is to be");
    int as_json = wants_json(c);
    if (as_json < 0)
        return 1;
    int r = account_open(c, &a);
    if (r == 0 && says_something(c)) {
        body = json_object();
        r = fill_body(c, body);
    }
    if (r == 0) {
        const char *path = arena_fmt(&c->arena, "/zones/%s/adit/routes/%s/balance",
                                     account_zone(c, &a, argv[0]), account_escape(c, argv[0]));
        const char *method = body != NULL ? "PUT" : c->o.reset ? "DELETE" : "GET";
        r = path != NULL ? account_call(c, &a, "balance the route", method, path, body, &result)
                         : fault_set(&c->fault, ERR_NOMEM, "out of memory");
    }
    json_decref(body);
    if (r < 0)
        return cli_complain(c);
    int status = print_balance(c, result, as_json == 1);
    json_decref(result);
    return status;
}
