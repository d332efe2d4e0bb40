#include "control/api.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "codec/uri.h"
#include "control/api_int.h"
#include "crypto/hash.h"
#include "crypto/random.h"

#define ANSWER_BYTES_MAX (16 * 1024 * 1024)
#define SWEEP_MAX        256 /* quick tunnels that end in one sweep */

/* ---- answers ---- */

static json_t *envelope(bool success)
{
    return json_pack("{s:b,s:[],s:[]}", "success", success, "errors", "messages");
}

static void finish(struct call *c, unsigned status, json_t *body)
{
    c->r->status = status;
    c->r->content_type = "application/json"; /* exactly: the reference compares it */
    if (body != NULL)
        json_write(&c->r->body, body);
    json_decref(body);
    if (c->r->body.err == ERR_LIMIT && status == 200) {
        strb_done(&c->r->body);
        strb_init(&c->r->body, ANSWER_BYTES_MAX);
        answer_error(c, 500, 1000, "The answer is too large; ask for less with per_page");
    }
}

void answer(struct call *c, json_t *result)
{
    answer_said(c, result, NULL);
}

void answer_said(struct call *c, json_t *result, json_t *messages)
{
    json_t *body = envelope(true);
    if (messages != NULL)
        (void)json_object_set_new(body, "messages", messages);
    (void)json_object_set_new(body, "result", result != NULL ? result : json_null());
    finish(c, 200, body);
}

void answer_list(struct call *c, json_t *result, const struct page *p)
{
    json_t *body = envelope(true);
    size_t count = json_array_size(result);
    uint64_t pages = p->per_page > 0 ? (p->total + p->per_page - 1) / p->per_page : 1;
    (void)json_object_set_new(body, "result", result);
    (void)json_object_set_new(body, "result_info",
                              json_pack("{s:I,s:I,s:I,s:I,s:I}", "page", (json_int_t)p->page,
                                        "per_page", (json_int_t)p->per_page, "count",
                                        (json_int_t)count, "total_count", (json_int_t)p->total,
                                        "total_pages", (json_int_t)pages));
    finish(c, 200, body);
}

static void answer_errors(struct call *c, unsigned status, json_t *errors)
{
    json_t *body = envelope(false);
    (void)json_object_set_new(body, "errors", errors);
    (void)json_object_set_new(body, "result", json_null());
    if (status == 409)
        c->r->no_retry = true;
    finish(c, status, body);
}

void answer_error(struct call *c, unsigned status, int code, const char *message)
{
    answer_errors(c, status, json_pack("[{s:i,s:s}]", "code", code, "message", message));
}

/* An error with the one below it. */
static void answer_chain(struct call *c, unsigned status, int code, const char *message,
                         int inner_code, const char *inner)
{
    answer_errors(c, status,
                  json_pack("[{s:i,s:s,s:[{s:i,s:s}]}]", "code", code, "message", message,
                            "error_chain", "code", inner_code, "message", inner));
}

/* ---- requests ---- */

static bool find_query(struct call *c, const char *name, struct slice *ret)
{
    struct slice rest = c->q->query, pair;
    if (rest.n == 0)
        return false;
    while (slice_split(&rest, '&', &pair)) {
        size_t at = slice_find(pair, '=');
        if (!slice_eq(slice_sub(pair, 0, at), slice_str(name)))
            continue;
        *ret = slice_sub(pair, at + 1, SIZE_MAX);
        return true;
    }
    return false;
}

bool has_query(struct call *c, const char *name)
{
    struct slice raw;
    return find_query(c, name, &raw);
}

struct slice query_of(struct call *c, const char *name)
{
    struct slice raw;
    size_t n;
    if (!find_query(c, name, &raw))
        return (struct slice){ 0 };
    struct slice copy = arena_copy(c->q->arena, raw);
    uint8_t *p = (uint8_t *)(uintptr_t)copy.p;
    for (size_t i = 0; i < copy.n; i++)
        if (p[i] == '+')
            p[i] = ' ';
    if (p == NULL || uri_unescape(copy, p, &n) < 0)
        return (struct slice){ 0 };
    p[n] = 0;
    return slice_of(p, n);
}

/* "2" and "2.0" are both numbers to clients. */
static bool take_number(struct call *c, const char *name, uint64_t max, uint64_t *ret)
{
    struct slice text = query_of(c, name);
    if (!has_query(c, name))
        return true;
    if (slice_ends(text, SLICE(".0")))
        text.n -= 2;
    return slice_u64(text, max, ret) == 0 && *ret >= 1;
}

bool take_page(struct call *c, uint64_t per_page_default, uint64_t per_page_max, struct page *ret)
{
    *ret = (struct page){ .page = 1, .per_page = per_page_default };
    if (take_number(c, "page", UINT32_MAX, &ret->page) &&
        take_number(c, "per_page", per_page_max, &ret->per_page))
        return true;
    answer_error(c, 400, 1004, "page and per_page must be numbers in range");
    return false;
}

json_t *take_body(struct call *c)
{
    json_t *body;
    if (json_parse(c->q->body, &body, NULL) < 0) {
        answer_error(c, 400, 6007, "Malformed JSON in request body");
        return NULL;
    }
    if (json_is_object(body))
        return body;
    json_decref(body);
    answer_error(c, 400, 6007, "The request body must be a JSON object");
    return NULL;
}

json_t *json_time(struct call *c, int64_t us)
{
    char text[CLOCK_TEXT_BYTES];
    (void)c;
    return us != 0 ? json_string(clock_rfc3339(us, text)) : json_null();
}

void audit(struct call *c, const char *action, const char *object)
{
    (void)!store_audit(c->api->store, c->q->now_us, "admin", action, object);
    log_info("changed", LSTR("action", action), LSTR("object", object));
}

/* ---- routing ---- */

void answer_no_route(struct call *c)
{
    char text[256];
    struct slice path = slice_sub(c->q->path, 0, 180);
    if (!slice_is_utf8(path)) /* JSON could not hold it */
        path = SLICE("this path");
    (void)snprintf(text, sizeof text,
                   "Could not route to %.*s, perhaps your object identifier is invalid?",
                   SLICE_FMT(path));
    answer_errors(c, 404,
                  json_pack("[{s:i,s:s},{s:i,s:s}]", "code", 7003, "message", text, "code", 7000,
                            "message", "No route for that URI"));
}

void answer_no_method(struct call *c)
{
    answer_error(c, 405, 10405, "Method not allowed for this authentication scheme");
}

static bool is_hex32(struct slice s)
{
    uint8_t bytes[16];
    return s.n == 32 && hex_decode(s, bytes) == 0;
}

static bool is_token(struct call *c, struct slice text)
{
    uint8_t hash[SHA256_BYTES];
    sha256(text, hash); /* what is looked up tells nothing about what is stored */
    return store_token_is_known(c->api->store, hash);
}

/* X-Auth-Email and X-Auth-Key, as older tools send them: the key is an API token. */
static bool authorise_by_key(struct call *c)
{
    struct slice key = c->q->auth_key;
    bool is_formed = c->q->auth_email.n > 0 && key.n >= 37 && key.n <= 80;
    for (size_t i = 0; i < key.n; i++)
        is_formed &= key.p[i] > ' ' && key.p[i] < 0x7f;
    if (!is_formed)
        answer_chain(c, 400, 6003, "Invalid request headers", 6103,
                     "Invalid format for X-Auth-Key header");
    else if (!is_token(c, key))
        answer_error(c, 403, 9103, "Unknown X-Auth-Key or X-Auth-Email");
    else
        return true;
    return false;
}

static bool is_verify(const struct call *c)
{
    size_t n = c->part_count;
    return n >= 3 && slice_eq(c->parts[n - 2], SLICE("tokens")) &&
           slice_eq(c->parts[n - 1], SLICE("verify"));
}

/* Answers and gives false unless a known token came. */
static bool authorise(struct call *c)
{
    static const struct slice BEARER = { (const uint8_t *)"Bearer ", 7 };
    struct slice header = c->q->authorization;
    struct slice token = slice_trim(slice_sub(header, BEARER.n, SIZE_MAX));
    if (header.n == 0 && c->q->auth_key.n + c->q->auth_email.n > 0)
        return authorise_by_key(c);
    if (header.n == 0)
        answer_error(c, 400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers");
    else if (!slice_eq_nocase(slice_sub(header, 0, BEARER.n), BEARER) || token.n == 0)
        answer_chain(c, 400, 6003, "Invalid request headers", 6111,
                     "Invalid format for Authorization header");
    else if (is_token(c, token))
        return true;
    else if (is_verify(c))
        answer_error(c, 401, 1000, "Invalid API Token");
    else
        answer_error(c, 403, 10000, "Authentication error");
    return false;
}

static bool part_is(const struct call *c, size_t index, const char *text)
{
    return index < c->part_count && slice_eq(c->parts[index], slice_str(text));
}

static bool is_our_zone(const struct call *c, struct slice id)
{
    for (size_t i = 0; i < c->api->domain_count; i++)
        if (slice_eq(id, slice_str(c->api->zones[i])))
            return true;
    return false;
}

static void route_account(struct call *c)
{
    if (c->part_count < 2) {
        identity(c);
        return;
    }
    if (!is_hex32(c->parts[1])) {
        answer_no_route(c);
        return;
    }
    if (!slice_eq(c->parts[1], slice_str(c->api->account))) {
        answer_error(c, 403, 9109, "Unauthorized to access requested resource");
        return;
    }
    if (c->part_count == 2 || part_is(c, 2, "tokens"))
        identity(c);
    else if (part_is(c, 2, "cfd_tunnel") && c->part_count == 3)
        tunnels_collection(c);
    else if (part_is(c, 2, "cfd_tunnel") && uuid_parse(c->parts[3], &c->tunnel) == 0 &&
             c->parts[3].n == 36)
        tunnels_item(c);
    else
        answer_no_route(c);
}

static void route_zone(struct call *c)
{
    if (c->part_count < 2) {
        identity(c);
        return;
    }
    if (!is_hex32(c->parts[1])) {
        answer_no_route(c);
        return;
    }
    if (!is_our_zone(c, c->parts[1])) {
        answer_error(c, 403, 9109, "Unauthorized to access requested resource");
        return;
    }
    if (c->part_count == 2)
        identity(c);
    else if (part_is(c, 2, "tunnels") && part_is(c, 4, "routes") && c->part_count == 5 &&
             uuid_parse(c->parts[3], &c->tunnel) == 0)
        routes_put(c);
    else if (part_is(c, 2, "adit") && part_is(c, 3, "routes") && part_is(c, 5, "balance") &&
             c->part_count == 6)
        routes_balance(c);
    else if (part_is(c, 2, "dns_records"))
        dns_records(c);
    else
        answer_no_route(c);
}

static void route(struct call *c)
{
    if (slice_eq(c->q->method, SLICE("OPTIONS"))) {
        answer(c, NULL);
        return;
    }
    if (!authorise(c))
        return;
    if (part_is(c, 0, "accounts"))
        route_account(c);
    else if (part_is(c, 0, "zones"))
        route_zone(c);
    else if (part_is(c, 0, "user") || part_is(c, 0, "memberships"))
        identity(c);
    else
        answer_no_route(c);
}

static bool split_path(struct call *c, struct slice path)
{
    struct slice part;
    while (slice_split(&path, '/', &part)) {
        if (part.n == 0)
            continue; /* doubled and final slashes do not matter */
        if (c->part_count == sizeof c->parts / sizeof c->parts[0])
            return false;
        c->parts[c->part_count++] = part;
    }
    return true;
}

void api_handle(struct api *api, const struct api_request *q, struct api_response *ret)
{
    static const struct slice BASE = { (const uint8_t *)"/client/v4", 10 };
    struct call c = { .api = api, .q = q, .r = ret };
    *ret = (struct api_response){ .status = 500, .content_type = "application/json" };
    strb_init(&ret->body, ANSWER_BYTES_MAX);
    if (q->body.n > API_BODY_BYTES_MAX)
        answer_error(&c, 413, 1, "The request body is too large");
    else if (slice_eq(q->path, SLICE("/tunnel")))
        quick_create(&c);
    else if (!slice_starts(q->path, BASE) || (q->path.n > BASE.n && q->path.p[BASE.n] != '/') ||
             !split_path(&c, slice_sub(q->path, BASE.n, SIZE_MAX)))
        answer_no_route(&c);
    else
        route(&c);
}

/* ---- what surrounds it ---- */

/* An id that is made once and kept. */
static int keep_id(struct api *api, const char *key, char ret[static 33], struct fault *fault)
{
    uint8_t bytes[16];
    int r = store_get(api->store, key, ret, 33);
    if (r == ERR_NOTFOUND) {
        random_bytes(bytes, sizeof bytes);
        (void)hex_encode(slice_of(bytes, sizeof bytes), ret);
        r = store_set(api->store, key, ret);
    }
    return r < 0 ? fault_set(fault, r, "the database could not be written") : 0;
}

static int keep_created(struct api *api, struct fault *fault)
{
    char text[24];
    uint64_t us = 0;
    int r = store_get(api->store, "created", text, sizeof text);
    if (r == ERR_NOTFOUND) {
        (void)snprintf(text, sizeof text, "%lld", (long long)api->started_us);
        r = store_set(api->store, "created", text);
    }
    if (r == 0)
        r = slice_u64(slice_str(text), INT64_MAX, &us);
    api->created_us = (int64_t)us;
    return r < 0 ? fault_set(fault, r, "the database could not be written") : 0;
}

int api_init(struct api *api, struct slice admin_token, struct fault *fault)
{
    uint8_t hash[SHA256_BYTES];
    int r = store_check_key(api->store, fault);
    if (r == 0)
        r = keep_id(api, "account", api->account, fault);
    if (r == 0)
        r = keep_created(api, fault);
    for (size_t i = 0; i < api->domain_count && r == 0; i++) {
        char key[300];
        (void)snprintf(key, sizeof key, "zone:%s", api->domains[i]);
        r = keep_id(api, key, api->zones[i], fault);
    }
    /* For `adit-edge cert`, which runs beside the edge. */
    if (r == 0 && store_set(api->store, "domain", api->domains[0]) < 0)
        r = fault_set(fault, ERR_IO, "the database could not be written");
    sha256(admin_token, hash);
    if (r == 0 && store_token_put(api->store, hash, "admin") < 0)
        r = fault_set(fault, ERR_IO, "the database could not be written");
    return r;
}

static int add_route(void *ctx, const struct dns_route *route)
{
    int r = snapshot_add(ctx, slice_str(route->hostname), &route->tunnel);
    if (r == 0 && route->balance != NULL)
        r = balance_publish(ctx, route);
    return r == ERR_EXISTS ? 0 : r;
}

struct snapshot *api_snapshot(struct api *api)
{
    struct snapshot *s = snapshot_new();
    if (s == NULL)
        return NULL;
    if (store_route_each(api->store, add_route, s) < 0) {
        snapshot_unref(s);
        return NULL;
    }
    return s;
}

struct sweep {
    const struct api *api;
    int64_t now_us;
    struct uuid over[SWEEP_MAX];
    size_t count;
};

/* Collects what has been without a connector for too long. */
static int sweep_one(void *ctx, const struct uuid *id, int64_t created_us)
{
    struct sweep *s = ctx;
    const struct live *live = s->api->live;
    if (live_count(live, id) > 0)
        return 0;
    /* One that has not been seen by this process: since it was made, or since the start, for its
     * connector may still be on its way back to us. */
    int64_t since = live_away_since(live, id);
    if (since == 0)
        since = created_us > s->api->started_us ? created_us : s->api->started_us;
    if (since < s->api->alone_us)
        since = s->api->alone_us;
    if (s->now_us - since < s->api->quick_away_us)
        return 0;
    s->over[s->count++] = *id;
    return s->count < SWEEP_MAX ? 0 : ERR_LIMIT; /* the others are found next time */
}

void api_sweep(struct api *api, int64_t now_us)
{
    char id[UUID_TEXT_BYTES];
    struct sweep s = { .api = api, .now_us = now_us };
    (void)!store_quick_each(api->store, sweep_one, &s);
    for (size_t i = 0; i < s.count; i++) {
        if (store_tunnel_purge(api->store, &s.over[i]) < 0)
            continue;
        log_info("quick tunnel ended: it had no connector",
                 LSTR("tunnel", uuid_text(&s.over[i], id)));
        live_forget(api->live, &s.over[i]);
        api->routes_changed = true;
    }
}
