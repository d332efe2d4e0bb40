/* Hostnames: the CLI's route dns, DNS records that are CNAMEs to a tunnel, quick tunnels
 * (docs/protocol.md §14, §15). */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "codec/http1_names.h"
#include "control/api_int.h"
#include "crypto/hash.h"
#include "crypto/random.h"

#define TARGET_SUFFIX ".cfargotunnel.com"
#define QUICK_TRIES   16

static bool is_within(struct slice hostname, struct slice domain)
{
    return slice_eq(hostname, domain) ||
           (hostname.n > domain.n + 1 && slice_ends(hostname, domain) &&
            hostname.p[hostname.n - domain.n - 1] == '.');
}

/* The longest one: a domain may be part of another. */
const char *domain_of(const struct api *api, struct slice hostname)
{
    const char *found = NULL;
    for (size_t i = 0; i < api->domain_count; i++)
        if (is_within(hostname, slice_str(api->domains[i])) &&
            (found == NULL || strlen(api->domains[i]) > strlen(found)))
            found = api->domains[i];
    return found;
}

/* The zone of the path. */
static size_t zone_of(const struct call *c)
{
    size_t i = 0;
    while (i + 1 < c->api->domain_count && !slice_eq(c->parts[1], slice_str(c->api->zones[i])))
        i++;
    return i;
}

const char *take_hostname(struct call *c, struct slice text, char ret[static 256])
{
    struct slice rest = text;
    const char *domain = c->api->domains[zone_of(c)];
    if (slice_starts(rest, SLICE("*.")))
        rest = slice_sub(rest, 2, SIZE_MAX);
    if (rest.n > 0 && rest.p[rest.n - 1] == '.') /* said to be absolute */
        rest.n--, text.n--;
    if (rest.n == 0 || rest.n > HOSTNAME_BYTES_MAX || !http1_is_host(rest) ||
        slice_find(rest, ':') < rest.n || rest.p[0] == '[' || rest.p[0] == '.' ||
        rest.p[rest.n - 1] == '.')
        return NULL;
    int n = snprintf(ret, 256, "%.*s", SLICE_FMT(text));
    for (int i = 0; i < n && i < 255; i++)
        if (ret[i] >= 'A' && ret[i] <= 'Z')
            ret[i] |= 0x20;
    if (!is_within(slice_str(ret), slice_str(domain)))
        n += snprintf(ret + n, 256 - (size_t)n, ".%s", domain);
    return n <= HOSTNAME_BYTES_MAX ? ret : NULL;
}

/* Answers and gives false when the tunnel is not there. */
static bool tunnel_is_live(struct call *c, const struct uuid *id)
{
    struct tunnel t;
    int r = store_tunnel_get(c->api->store, id, &t);
    bool is_live = r == 0 && t.deleted_us == 0;
    explicit_bzero(&t, sizeof t);
    if (is_live)
        return true;
    if (r == 0 || r == ERR_NOTFOUND)
        answer_error(c, 404, 1003, "Tunnel not found");
    else
        answer_error(c, 500, 1000, "The database could not be read");
    return false;
}

/* A record's id is derived from its name: there is one record for a name. */
static void record_id(const char *hostname, char ret[static 33])
{
    uint8_t hash[SHA256_BYTES];
    sha256(slice_str(hostname), hash);
    (void)hex_encode(slice_of(hash, 16), ret);
}

void routes_put(struct call *c)
{
    static const char *const CHANGES[] = { "new", "updated", "unchanged" };
    struct dns_route route = { .tunnel = c->tunnel, .created_us = c->q->now_us };
    enum route_change change;
    char id[33];
    if (!slice_eq(c->q->method, SLICE("PUT"))) {
        answer_no_method(c);
        return;
    }
    json_t *body = take_body(c);
    if (body == NULL)
        return;
    bool is_dns = slice_eq(json_member_slice(body, "type"), SLICE("dns"));
    bool overwrites = json_is_true(json_object_get(body, "overwrite_existing"));
    const char *name = take_hostname(c, json_member_slice(body, "user_hostname"), route.hostname);
    json_decref(body);
    if (!is_dns) {
        answer_error(c, 501, 1001,
                     "Load balancers are not offered by this edge; use route dns: replicas of one "
                     "tunnel share its "
                     "requests");
        return;
    }
    if (name == NULL) {
        answer_error(c, 400, 1002, "user_hostname is not a hostname");
        return;
    }
    if (!tunnel_is_live(c, &c->tunnel))
        return;
    int r = store_route_put(c->api->store, &route, overwrites, &change);
    if (r == ERR_EXISTS) {
        answer_error(c, 400, 1003,
                     "An A, AAAA, or CNAME record with that host already exists. Replace it with "
                     "--overwrite-dns");
        return;
    }
    if (r < 0) {
        answer_error(c, 500, 1000, "The database could not be written");
        return;
    }
    if (change != ROUTE_UNCHANGED)
        audit(c, "route.dns", name);
    c->api->routes_changed |= change != ROUTE_UNCHANGED;
    record_id(name, id);
    answer(c, json_pack("{s:s,s:s,s:s}", "cname", CHANGES[change], "name", name, "dns_tag", id));
}

/* ---- DNS records ---- */

struct record_list {
    struct call *c;
    json_t *result;
    struct slice name;
    const char *zone, *domain;
    struct slice id;
};

static int add_record(void *ctx, const struct dns_route *r)
{
    struct record_list *l = ctx;
    char id[33], tunnel[UUID_TEXT_BYTES], target[64];
    record_id(r->hostname, id);
    const char *domain = domain_of(l->c->api, slice_str(r->hostname));
    if (domain != l->domain ||
        (l->name.n > 0 && !slice_eq_nocase(l->name, slice_str(r->hostname))) ||
        (l->id.n > 0 && !slice_eq(l->id, slice_str(id))))
        return 0;
    (void)snprintf(target, sizeof target, "%s" TARGET_SUFFIX, uuid_text(&r->tunnel, tunnel));
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:i,s:{},s:[]}", "id", id, "zone_id", l->zone,
                  "zone_name", domain != NULL ? domain : "", "name", r->hostname, "type", "CNAME",
                  "content", target, "proxied", 1, "proxiable", 1, "ttl", 1, "settings", "tags");
    (void)json_object_set_new(o, "created_on", json_time(l->c, r->created_us));
    (void)json_object_set_new(o, "modified_on", json_time(l->c, r->created_us));
    (void)json_array_append_new(l->result, o);
    return 0;
}

static bool list_records(struct call *c, struct slice name, struct slice id, json_t **ret)
{
    struct record_list l = {
        .c = c,
        .result = json_array(),
        .name = name,
        .id = id,
        .zone = c->api->zones[zone_of(c)],
        .domain = c->api->domains[zone_of(c)],
    };
    if (store_route_each(c->api->store, add_record, &l) < 0) {
        json_decref(l.result);
        answer_error(c, 500, 1000, "The database could not be read");
        return false;
    }
    *ret = l.result;
    return true;
}

static void create_record(struct call *c)
{
    struct dns_route route = { .created_us = c->q->now_us };
    enum route_change change;
    json_t *body = take_body(c), *result;
    if (body == NULL)
        return;
    struct slice target = json_member_slice(body, "content");
    bool is_tunnel =
        slice_eq(json_member_slice(body, "type"), SLICE("CNAME")) &&
        slice_ends(target, SLICE(TARGET_SUFFIX)) &&
        uuid_parse(slice_sub(target, 0, target.n - strlen(TARGET_SUFFIX)), &route.tunnel) == 0;
    const char *name = take_hostname(c, json_member_slice(body, "name"), route.hostname);
    json_decref(body);
    if (!is_tunnel || name == NULL) {
        answer_error(c, 400, 9005,
                     "This edge keeps CNAME records to <tunnel id>.cfargotunnel.com alone");
        return;
    }
    if (!tunnel_is_live(c, &route.tunnel))
        return;
    int r = store_route_put(c->api->store, &route, false, &change);
    if (r == ERR_EXISTS || (r == 0 && change == ROUTE_UNCHANGED)) {
        answer_error(c, 400, 81053, "An A, AAAA, or CNAME record with that host already exists.");
        return;
    }
    if (r < 0) {
        answer_error(c, 500, 1000, "The database could not be written");
        return;
    }
    c->api->routes_changed = true;
    audit(c, "dns.create", name);
    if (!list_records(c, slice_str(name), (struct slice){ 0 }, &result))
        return;
    answer(c, json_incref(json_array_get(result, 0)));
    json_decref(result);
}

static void one_record(struct call *c)
{
    json_t *result;
    if (!list_records(c, (struct slice){ 0 }, c->parts[3], &result))
        return;
    json_t *record = json_incref(json_array_get(result, 0));
    json_decref(result);
    if (record == NULL) {
        answer_error(c, 404, 81044, "Record does not exist.");
    } else if (slice_eq(c->q->method, SLICE("GET"))) {
        answer(c, json_incref(record));
    } else if (slice_eq(c->q->method, SLICE("DELETE"))) {
        const char *name = json_string_value(json_object_get(record, "name"));
        if (store_route_delete(c->api->store, name) < 0) {
            answer_error(c, 500, 1000, "The database could not be written");
        } else {
            c->api->routes_changed = true;
            audit(c, "dns.delete", name);
            answer(c, json_pack("{s:O}", "id", json_object_get(record, "id")));
        }
    } else {
        answer_no_method(c);
    }
    json_decref(record);
}

void dns_records(struct call *c)
{
    struct page p;
    json_t *result;
    if (c->part_count == 4) {
        one_record(c);
    } else if (c->part_count == 3 && slice_eq(c->q->method, SLICE("POST"))) {
        create_record(c);
    } else if (c->part_count == 3 && slice_eq(c->q->method, SLICE("GET"))) {
        if (!take_page(c, 100, 5000000, &p) ||
            !list_records(c, query_of(c, "name"), (struct slice){ 0 }, &result))
            return;
        p.total = json_array_size(result);
        json_t *slice = json_array();
        for (uint64_t i = (p.page - 1) * p.per_page; i < p.page * p.per_page && i < p.total; i++)
            (void)json_array_append(slice, json_array_get(result, i));
        json_decref(result);
        answer_list(c, slice, &p);
    } else {
        answer_no_route(c);
    }
}

/* ---- quick tunnels ---- */

/* A hostname that nobody has. */
static int quick_hostname(struct call *c, struct dns_route *route, struct tunnel *t)
{
    char words[128];
    enum route_change change;
    for (unsigned i = 0; i < QUICK_TRIES; i++) {
        quick_words(c, words, sizeof words);
        (void)snprintf(t->name, sizeof t->name, "qt-%s", words);
        (void)snprintf(route->hostname, sizeof route->hostname, "%s.%s", words, c->api->domains[0]);
        int r = store_tunnel_add(c->api->store, t);
        if (r == ERR_EXISTS)
            continue;
        if (r == 0)
            r = store_route_put(c->api->store, route, false, &change);
        if (r == 0)
            return 0;
        (void)!store_tunnel_purge(c->api->store, &t->id);
        if (r != ERR_EXISTS)
            return r;
    }
    return ERR_EXISTS;
}

static void add_url(json_t *urls, const char *scheme, const char *hostname, uint16_t port,
                    uint16_t standard)
{
    char text[300];
    if (port == standard)
        (void)snprintf(text, sizeof text, "%s://%s", scheme, hostname);
    else
        (void)snprintf(text, sizeof text, "%s://%s:%u", scheme, hostname, port);
    if (port != 0)
        (void)json_array_append_new(urls, json_string(text));
}

/* Where visitors find it: the hostname alone does not say the port. */
static json_t *urls_of(struct call *c, const char *hostname)
{
    json_t *urls = json_array();
    add_url(urls, "http", hostname, c->api->http_port, 80);
    add_url(urls, "https", hostname, c->api->https_port, 443);
    return urls;
}

void quick_create(struct call *c)
{
    struct tunnel t = { .created_us = c->q->now_us, .is_quick = true, .secret_bytes = 32 };
    struct dns_route route = { .created_us = c->q->now_us };
    char secret[BASE64_BYTES(32)];
    if (!slice_eq(c->q->method, SLICE("POST"))) {
        answer_error(c, 405, 10405, "A quick tunnel is made by POST");
        return;
    }
    if (store_quick_count(c->api->store) >= c->api->quick_max) {
        answer_error(c, 429, 1015,
                     "This edge has as many quick tunnels as it allows; use a named tunnel, or try "
                     "again later");
        return;
    }
    random_uuid(&t.id);
    random_bytes(t.secret, t.secret_bytes);
    route.tunnel = t.id;
    if (quick_hostname(c, &route, &t) < 0) {
        answer_error(c, 500, 1000, "The database could not be written");
        return;
    }
    c->api->routes_changed = true;
    audit(c, "tunnel.quick", route.hostname);
    (void)base64_encode(slice_of(t.secret, t.secret_bytes), BASE64_STD, true, secret);
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "id", uuid_text(&t.id, c->id), "name",
                          t.name, "hostname", route.hostname, "account_tag", c->api->account,
                          "secret", secret, "token", token_of(c, &t));
    (void)json_object_set_new(o, "urls", urls_of(c, route.hostname));
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(t.secret, sizeof t.secret);
    answer(c, o);
}
