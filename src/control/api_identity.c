/* Who is asking, and what there is: tokens/verify, accounts, zones (docs/protocol.md
 * §15). */
#include "base/clock.h"
#include "control/api_int.h"

static json_t *account_json(struct call *c)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:{s:b}}", "id", c->api->account, "name", "Adit", "type",
                          "standard", "settings", "enforce_twofactor", 0);
    (void)json_object_set_new(o, "created_on", json_time(c, c->api->started_us));
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
    (void)json_object_set_new(o, "created_on", json_time(c, c->api->started_us));
    (void)json_object_set_new(o, "modified_on", json_time(c, c->api->started_us));
    (void)json_object_set_new(o, "activated_on", json_time(c, c->api->started_us));
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
    bool matches = name.n == 0 || slice_eq(name, SLICE("Adit"));
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
        if (name.n > 0 && !slice_eq(name, slice_str(c->api->domains[i])))
            continue;
        if (is_within(&p, p.total++))
            (void)json_array_append_new(result, zone_json(c, i));
    }
    answer_list(c, result, &p);
}

static void one_zone(struct call *c)
{
    for (size_t i = 0; i < c->api->domain_count; i++)
        if (slice_eq(c->parts[1], slice_str(c->api->zones[i]))) {
            answer(c, zone_json(c, i));
            return;
        }
    answer_error(c, 404, 7003,
                 "Could not route to this zone, perhaps your object identifier is invalid?");
}

void identity(struct call *c)
{
    struct slice first = c->parts[0], last = c->parts[c->part_count - 1];
    if (!slice_eq(c->q->method, SLICE("GET")) && !slice_eq(c->q->method, SLICE("HEAD"))) {
        answer_error(c, 405, 10405, "Method not allowed for this authentication scheme");
    } else if (slice_eq(last, SLICE("verify"))) {
        answer(c, json_pack("{s:s,s:s}", "id", c->api->account, "status", "active"));
    } else if (slice_eq(first, SLICE("accounts")) && c->part_count == 1) {
        list_accounts(c);
    } else if (slice_eq(first, SLICE("accounts")) && c->part_count == 2 &&
               slice_eq(last, slice_str(c->api->account))) {
        answer(c, account_json(c));
    } else if (slice_eq(first, SLICE("zones")) && c->part_count == 1) {
        list_zones(c);
    } else if (slice_eq(first, SLICE("zones")) && c->part_count == 2) {
        one_zone(c);
    } else if (slice_eq(first, SLICE("user")) && c->part_count == 1) {
        answer(c, json_pack("{s:s,s:s}", "id", c->api->account, "email", "admin@localhost"));
    } else {
        answer_error(c, 404, 7003,
                     "Could not route to this path, perhaps your object identifier is invalid?");
    }
}
