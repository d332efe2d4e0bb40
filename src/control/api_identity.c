/* Who is asking, and what there is: tokens/verify, accounts, zones (docs/protocol.md
 * §15). */
#include "base/clock.h"
#include "control/api_int.h"

static json_t *account_json(struct call *c)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:{s:b}}", "id", c->api->account, "name", "Adit", "type",
                          "standard", "settings", "enforce_twofactor", 0);
    (void)json_object_set_new(o, "created_on", json_time(c, c->api->created_us));
    return o;
}

static json_t *zone_json(struct call *c, size_t index)
{
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:b,s:s,s:i,s:[],s:n,s:n,s:n,s:{s:s,s:s},s:{},s:{},s:[]}", "id",
                  c->api->zones[index], "name", c->api->domains[index], "status", "active",
                  "paused", 0, "type", "full", "development_mode", 0, "name_servers",
                  "original_name_servers", "original_registrar", "original_dnshost", "account",
                  "id", c->api->account, "name", "Adit", "meta", "owner", "permissions");
    (void)json_object_set_new(o, "created_on", json_time(c, c->api->created_us));
    (void)json_object_set_new(o, "modified_on", json_time(c, c->api->created_us));
    (void)json_object_set_new(o, "activated_on", json_time(c, c->api->created_us));
    return o;
}

static bool is_within(const struct page *p, uint64_t index)
{
    return index >= (p->page - 1) * p->per_page && index < p->page * p->per_page;
}

static void list_accounts(struct call *c)
{
    struct page p;
    if (!take_page(c, 20, 1000, &p))
        return;
    struct slice name = query_of(c, "name");
    bool matches = name.n == 0 || slice_eq_nocase(name, SLICE("Adit"));
    json_t *result = json_array();
    p.total = matches ? 1 : 0;
    if (matches && is_within(&p, 0))
        (void)json_array_append_new(result, account_json(c));
    answer_list(c, result, &p);
}

static void list_zones(struct call *c)
{
    struct page p;
    if (!take_page(c, 20, 1000, &p))
        return;
    struct slice name = query_of(c, "name");
    json_t *result = json_array();
    for (size_t i = 0; i < c->api->domain_count; i++) {
        if (name.n > 0 && !slice_eq_nocase(name, slice_str(c->api->domains[i])))
            continue;
        if (is_within(&p, p.total++))
            (void)json_array_append_new(result, zone_json(c, i));
    }
    answer_list(c, result, &p);
}

static void one_account(struct call *c)
{
    answer(c, account_json(c)); /* there is one, and the path was found to name it */
}

static void user(struct call *c)
{
    answer(c, json_pack("{s:s,s:s}", "id", c->api->account, "email", "admin@localhost"));
}

static void one_zone(struct call *c)
{
    for (size_t i = 0; i < c->api->domain_count; i++)
        if (slice_eq(c->parts[1], slice_str(c->api->zones[i]))) {
            answer(c, zone_json(c, i));
            return;
        }
    answer_no_route(c);
}

/* tokens/verify: the token was found good before we came here. */
static void verify(struct call *c)
{
    answer_said(c, json_pack("{s:s,s:s}", "id", c->api->account, "status", "active"),
                json_pack("[{s:i,s:s,s:n}]", "code", 10000, "message",
                          "This API Token is valid and active", "type"));
}

/* /user/tokens/verify, and the same below an account. */
static bool is_verify(const struct call *c, size_t at)
{
    return c->part_count == at + 2 && slice_eq(c->parts[at], SLICE("tokens")) &&
           slice_eq(c->parts[at + 1], SLICE("verify"));
}

void identity(struct call *c)
{
    struct slice first = c->parts[0];
    bool is_account = slice_eq(first, SLICE("accounts")), is_zone = slice_eq(first, SLICE("zones")),
         is_user = slice_eq(first, SLICE("user"));
    void (*act)(struct call * c) = NULL;
    if (is_verify(c, is_account ? 2 : 1) && !is_zone)
        act = verify;
    else if (is_account && c->part_count <= 2)
        act = c->part_count == 1 ? list_accounts : one_account;
    else if (is_zone && c->part_count <= 2)
        act = c->part_count == 1 ? list_zones : one_zone;
    else if (is_user && c->part_count == 1)
        act = user;
    if (act == NULL)
        answer_no_route(c);
    else if (slice_eq(c->q->method, SLICE("GET")) || slice_eq(c->q->method, SLICE("HEAD")))
        act(c);
    else
        answer_no_method(c);
}
