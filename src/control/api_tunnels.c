/* /accounts/A/cfd_tunnel (docs/protocol.md §15). */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "control/api_int.h"
#include "crypto/random.h"

#define SECRET_BYTES_MIN 32
#define PER_PAGE_MAX     1000
#define NAME_TAKEN                                                                                 \
    "You already have a tunnel with this name. Delete the existing tunnel, or choose a different " \
    "name for your new tunnel"

/* ---- objects ---- */

static const char *status_of(const struct api *api, const struct tunnel *t)
{
    size_t count = live_count(api->live, &t->id);
    if (count > 0)
        return count >= 4 ? "healthy" : "degraded";
    return live_was_active(api->live, &t->id) ? "down" : "inactive";
}

static json_t *label_json(const struct live_conn *conn)
{
    return conn->label[0] != 0 ? json_string(conn->label) : json_null();
}

static json_t *conn_json(struct call *c, const struct live_conn *conn)
{
    char id[UUID_TEXT_BYTES], client[UUID_TEXT_BYTES];
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:s,s:s}", "id", uuid_text(&conn->connection, id),
                  "uuid", id, "client_id", uuid_text(&conn->connector, client), "client_version",
                  conn->version, "colo_name", c->api->location, "is_pending_reconnect",
                  conn->is_draining, "origin_ip", conn->origin_ip, "transport", conn->transport);
    (void)json_object_set_new(o, "opened_at", json_time(c, conn->opened_us));
    /* Of our own, as the transport is. */
    uint64_t rtt_us = link_gauge_rtt(conn->gauge) / NSEC_PER_USEC;
    (void)json_object_set_new(o, "rtt_ms",
                              rtt_us > 0 ? json_real((double)rtt_us / 1000) : json_null());
    (void)json_object_set_new(o, "label", label_json(conn));
    return o;
}

json_t *connections_json(struct call *c, const struct uuid *tunnel, const struct uuid *connector)
{
    json_t *list = json_array();
    for (const struct live_conn *conn = live_first(c->api->live, tunnel); conn != NULL;
         conn = live_next(c->api->live, conn))
        if (connector == NULL || uuid_eq(&conn->connector, connector))
            (void)json_array_append_new(list, conn_json(c, conn));
    return list;
}

static json_t *tunnel_json(struct call *c, const struct tunnel *t)
{
    char id[UUID_TEXT_BYTES];
    const struct live_conn *first = live_first(c->api->live, &t->id);
    int64_t away = live_away_since(c->api->live, &t->id);
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:{},s:b,s:s,s:s}", "id", uuid_text(&t->id, id),
                          "account_tag", c->api->account, "name", t->name, "tun_type", "cfd_tunnel",
                          "metadata", "remote_config", t->is_remote, "status", status_of(c->api, t),
                          "config_src", t->is_remote ? "cloudflare" : "local");
    if (t->deleted_us != 0) { /* as the reference shows what is gone */
        (void)json_object_del(o, "config_src");
        (void)json_object_set_new(o, "remote_config", json_false());
    }
    (void)json_object_set_new(o, "created_at", json_time(c, t->created_us));
    (void)json_object_set_new(o, "deleted_at", json_time(c, t->deleted_us));
    (void)json_object_set_new(o, "conns_active_at",
                              json_time(c, first != NULL ? first->opened_us : 0));
    (void)json_object_set_new(o, "conns_inactive_at",
                              json_time(c, first != NULL ? 0
                                           : away != 0   ? away
                                                         : t->created_us));
    (void)json_object_set_new(o, "connections", connections_json(c, &t->id, NULL));
    return o;
}

char *token_of(struct call *c, const struct tunnel *t)
{
    struct credential cred = {
        .account = slice_str(c->api->account),
        .tunnel = t->id,
        .secret = slice_of(t->secret, t->secret_bytes),
        .edge_count = c->api->edge_count,
        .has_pin = true,
    };
    memcpy(cred.edges, c->api->edges, sizeof cred.edges);
    memcpy(cred.pin, c->api->pin, sizeof cred.pin);
    return tunnel_token_write(&cred, c->q->arena);
}

bool take_tunnel(struct call *c, bool deleted_too, struct tunnel *ret)
{
    int r = store_tunnel_get(c->api->store, &c->tunnel, ret);
    if (r == 0 && (deleted_too || ret->deleted_us == 0)) {
        (void)uuid_text(&ret->id, c->id);
        return true;
    }
    if (r == 0 || r == ERR_NOTFOUND)
        answer_error(c, 404, 1003, "Tunnel not found");
    else
        answer_error(c, 500, 1000, "The database could not be read");
    return false;
}

/* ---- the collection ---- */

static const char *check_name(struct slice name)
{
    struct uuid id;
    if (name.n == 0)
        return "A tunnel needs a name";
    if (name.n > TUNNEL_NAME_BYTES_MAX || !slice_is_utf8(name))
        return "The tunnel's name is too long, or not UTF-8";
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < 0x20 || name.p[i] == 0x7f)
            return "The tunnel's name has a control character";
    return uuid_parse(name, &id) == 0 ? "The tunnel's name must not be a UUID" : NULL;
}

/* Standard base64 of 32 bytes or more; random without one. */
static const char *take_secret(struct slice text, struct tunnel *t)
{
    uint8_t bytes[BASE64_BYTES(TUNNEL_SECRET_BYTES_MAX)];
    size_t n;
    if (text.p == NULL) {
        t->secret_bytes = SECRET_BYTES_MIN;
        random_bytes(t->secret, t->secret_bytes);
        return NULL;
    }
    if (text.n >= sizeof bytes)
        return "tunnel_secret must be at most 256 bytes long";
    if (base64_decode(text, BASE64_STD, true, false, bytes, &n) < 0)
        return "tunnel_secret must be standard base64";
    if (n < SECRET_BYTES_MIN || n > sizeof t->secret)
        return "tunnel_secret must be at least 32 bytes long";
    memcpy(t->secret, bytes, n);
    t->secret_bytes = n;
    return NULL;
}

static void answer_created(struct call *c, const struct tunnel *t)
{
    char secret[BASE64_BYTES(TUNNEL_SECRET_BYTES_MAX)];
    json_t *o = tunnel_json(c, t);
    (void)base64_encode(slice_of(t->secret, t->secret_bytes), BASE64_STD, true, secret);
    (void)json_object_set_new(o, "token", json_string(token_of(c, t)));
    (void)json_object_set_new(o, "credentials_file",
                              json_pack("{s:s,s:s,s:s,s:s}", "AccountTag", c->api->account,
                                        "TunnelID", c->id, "TunnelName", t->name, "TunnelSecret",
                                        secret));
    explicit_bzero(secret, sizeof secret);
    answer(c, o);
}

static void create(struct call *c)
{
    struct tunnel t = { .created_us = c->q->now_us };
    json_t *body = take_body(c);
    if (body == NULL)
        return;
    struct slice name = json_member_slice(body, "name"),
                 source = json_member_slice(body, "config_src");
    const char *wrong = check_name(name);
    if (wrong == NULL)
        wrong = take_secret(json_member_slice(body, "tunnel_secret"), &t);
    if (wrong == NULL && source.p != NULL && !slice_eq(source, SLICE("local")) &&
        !slice_eq(source, SLICE("cloudflare")))
        wrong = "config_src must be local or cloudflare";
    if (wrong == NULL) {
        memcpy(t.name, name.p, name.n);
        t.is_remote = slice_eq(source, SLICE("cloudflare"));
    }
    json_decref(body);
    if (wrong != NULL) {
        answer_error(c, 400, 1002, wrong);
        return;
    }
    random_uuid(&t.id);
    (void)uuid_text(&t.id, c->id);
    int r = store_tunnel_add(c->api->store, &t);
    if (r == ERR_EXISTS) {
        answer_error(c, 409, 1013, NAME_TAKEN);
    } else if (r < 0) {
        answer_error(c, 500, 1000, "The database could not be written");
    } else {
        audit(c, "tunnel.create", c->id);
        answer_created(c, &t);
    }
    explicit_bzero(t.secret, sizeof t.secret);
}

static bool bad_query(struct call *c, const char *message)
{
    answer_error(c, 400, 1004, message);
    return false;
}

static bool take_filter(struct call *c, struct tunnel_filter *f, struct uuid *id)
{
    static const char *const STATES[] = { "inactive", "degraded", "healthy", "down" };
    struct slice deleted = query_of(c, "is_deleted"), status = query_of(c, "status");
    bool is_state = !has_query(c, "status");
    for (size_t i = 0; i < sizeof STATES / sizeof STATES[0]; i++)
        is_state |= slice_eq(status, slice_str(STATES[i]));
    f->deleted = !has_query(c, "is_deleted")         ? -1
                 : slice_eq(deleted, SLICE("true"))  ? 1
                 : slice_eq(deleted, SLICE("false")) ? 0
                                                     : -2;
    f->name = query_of(c, "name");
    f->name_prefix =
        has_query(c, "name_prefix") ? query_of(c, "name_prefix") : query_of(c, "include_prefix");
    f->exclude_prefix = query_of(c, "exclude_prefix");
    if (f->deleted == -2)
        return bad_query(c, "is_deleted must be true or false");
    if (!is_state)
        return bad_query(c, "status must be inactive, degraded, healthy or down");
    if (has_query(c, "existed_at") &&
        clock_parse_rfc3339(query_of(c, "existed_at"), &f->existed_at_us) < 0)
        return bad_query(c, "existed_at must be a time as in 2026-01-02T03:04:05Z");
    if (has_query(c, "was_active_at") || has_query(c, "was_inactive_at"))
        return bad_query(c, "This edge does not keep when tunnels were active; use status");
    if (!has_query(c, "uuid"))
        return true;
    f->id = id;
    return uuid_parse(query_of(c, "uuid"), id) == 0 || bad_query(c, "uuid is not a UUID");
}

/* One read of the database: what matches of `rows` goes to the result when it is on the page. */
static void add_rows(struct call *c, const struct tunnel *rows, size_t count, struct slice status,
                     struct page *p, json_t *result)
{
    uint64_t first = (p->page - 1) * p->per_page;
    for (size_t i = 0; i < count; i++) {
        if (!slice_eq(status, slice_str(status_of(c->api, &rows[i]))))
            continue;
        if (p->total >= first && p->total < first + p->per_page)
            (void)json_array_append_new(result, tunnel_json(c, &rows[i]));
        p->total++;
    }
}

/* The database does not know who is connected: with `status` all that matches else is looked at. */
static int list_by_status(struct call *c, struct tunnel_filter *f, struct tunnel *rows, size_t max,
                          struct page *p, json_t *result)
{
    struct slice status = query_of(c, "status");
    size_t count;
    uint64_t total;
    f->offset = 0;
    f->limit = max;
    do {
        int r = store_tunnel_list(c->api->store, f, rows, max, &count, &total);
        if (r < 0)
            return r;
        add_rows(c, rows, count, status, p, result);
        f->offset += max;
    } while (f->offset < total);
    return 0;
}

static void list(struct call *c)
{
    struct tunnel_filter f = { 0 };
    struct uuid id;
    struct page p;
    size_t count = 0;
    if (!take_page(c, PER_PAGE_MAX, PER_PAGE_MAX, &p) || !take_filter(c, &f, &id))
        return;
    f.offset = (p.page - 1) * p.per_page;
    f.limit = p.per_page;
    struct tunnel *rows = calloc(p.per_page, sizeof *rows);
    json_t *result = json_array();
    int r = rows == NULL ? ERR_NOMEM : 0;
    if (r == 0 && has_query(c, "status"))
        r = list_by_status(c, &f, rows, p.per_page, &p, result);
    else if (r == 0)
        r = store_tunnel_list(c->api->store, &f, rows, p.per_page, &count, &p.total);
    for (size_t i = 0; i < count && r == 0; i++)
        (void)json_array_append_new(result, tunnel_json(c, &rows[i]));
    if (rows != NULL)
        explicit_bzero(rows, p.per_page * sizeof *rows);
    free(rows);
    if (r == 0) {
        answer_list(c, result, &p);
        return;
    }
    json_decref(result);
    answer_error(c, 500, 1000, "The database could not be read");
}

void tunnels_collection(struct call *c)
{
    if (slice_eq(c->q->method, SLICE("POST")))
        create(c);
    else if (slice_eq(c->q->method, SLICE("GET")) || slice_eq(c->q->method, SLICE("HEAD")))
        list(c);
    else
        answer_no_method(c);
}

/* ---- one tunnel ---- */

static void close_links(struct call *c, const struct uuid *connector)
{
    for (const struct live_conn *conn = live_first(c->api->live, &c->tunnel); conn != NULL;
         conn = live_next(c->api->live, conn))
        if ((connector == NULL || uuid_eq(&conn->connector, connector)) &&
            c->api->close_count < API_CLOSES_MAX)
            c->api->closes[c->api->close_count++] = conn->link;
}

static void delete_tunnel(struct call *c)
{
    struct tunnel t;
    bool cascades = slice_eq(query_of(c, "cascade"), SLICE("true"));
    if (!take_tunnel(c, false, &t))
        return;
    if (!cascades && live_count(c->api->live, &t.id) > 0) {
        answer_error(c, 400, 1022,
                     "This tunnel has active connections. Stop its connectors first, or delete it "
                     "with cascade "
                     "(tunnel delete -f)");
        return;
    }
    close_links(c, NULL);
    if (store_tunnel_delete(c->api->store, &t.id, c->q->now_us) < 0) {
        answer_error(c, 500, 1000, "The database could not be written");
        return;
    }
    t.deleted_us = c->q->now_us;
    live_forget(c->api->live, &t.id);
    c->api->routes_changed = true;
    audit(c, "tunnel.delete", c->id);
    answer(c, tunnel_json(c, &t));
}

/* Puts name and secret of a body into *t. NULL, or what is wrong. */
static const char *take_changes(const json_t *body, struct tunnel *t)
{
    struct slice name = json_member_slice(body, "name"),
                 secret = json_member_slice(body, "tunnel_secret");
    const char *wrong = NULL;
    if (name.p == NULL && secret.p == NULL)
        return "name or tunnel_secret is wanted";
    if (name.p != NULL)
        wrong = check_name(name);
    if (wrong == NULL && name.p != NULL) {
        memset(t->name, 0, sizeof t->name);
        memcpy(t->name, name.p, name.n);
    }
    return wrong == NULL && secret.p != NULL ? take_secret(secret, t) : wrong;
}

static void edit_tunnel(struct call *c)
{
    struct tunnel t;
    json_t *body;
    if (!take_tunnel(c, false, &t) || (body = take_body(c)) == NULL)
        return;
    const char *wrong = take_changes(body, &t);
    json_decref(body);
    int r = wrong == NULL ? store_tunnel_edit(c->api->store, &t) : 0;
    explicit_bzero(t.secret, sizeof t.secret);
    if (wrong != NULL) {
        answer_error(c, 400, 1002, wrong);
    } else if (r == ERR_EXISTS) {
        answer_error(c, 409, 1013, NAME_TAKEN);
    } else if (r < 0) {
        answer_error(c, 500, 1000, "The database could not be written");
    } else {
        audit(c, "tunnel.edit", c->id);
        answer(c, tunnel_json(c, &t));
    }
}

/* What it says of the tunnel's remote configuration: the reference has the version alone. */
static void add_configuration(struct call *c, json_t *o, const struct uuid *connector)
{
    const struct rollout_state *s = rollout_state(c->api->rollout, &c->tunnel, connector);
    json_t *refusal = s != NULL && s->refused > 0
                          ? json_pack("{s:i,s:s}", "version", s->refused, "reason", s->reason)
                          : json_null();
    (void)json_object_set_new(o, "config_version", json_integer(s != NULL ? s->applied : 0));
    (void)json_object_set_new(o, "config_version_wanted", json_integer(s != NULL ? s->wanted : 0));
    (void)json_object_set_new(o, "config_refused", refusal);
}

static json_t *connector_json(struct call *c, const struct live_conn *first)
{
    char id[UUID_TEXT_BYTES];
    json_t *features = json_array();
    for (size_t i = 0; i < first->feature_count; i++)
        (void)json_array_append_new(features, json_string(first->features[i]));
    json_t *o = json_pack("{s:s,s:s,s:s,s:o}", "id", uuid_text(&first->connector, id), "version",
                          first->version, "arch", first->arch, "features", features);
    add_configuration(c, o, &first->connector);
    (void)json_object_set_new(o, "label", label_json(first));
    (void)json_object_set_new(o, "run_at", json_time(c, first->opened_us));
    (void)json_object_set_new(o, "conns", connections_json(c, &c->tunnel, &first->connector));
    return o;
}

/* Whether an earlier connection is of the same connector. */
static bool is_listed(struct call *c, const struct live_conn *conn)
{
    for (const struct live_conn *e = live_first(c->api->live, &c->tunnel); e != conn;
         e = live_next(c->api->live, e))
        if (uuid_eq(&e->connector, &conn->connector))
            return true;
    return false;
}

static void list_connectors(struct call *c)
{
    struct tunnel t;
    if (!take_tunnel(c, false, &t))
        return;
    json_t *result = json_array();
    for (const struct live_conn *conn = live_first(c->api->live, &c->tunnel); conn != NULL;
         conn = live_next(c->api->live, conn))
        if (!is_listed(c, conn))
            (void)json_array_append_new(result, connector_json(c, conn));
    answer(c, result);
}

static void cleanup(struct call *c)
{
    struct tunnel t;
    struct uuid connector;
    struct slice id = query_of(c, "client_id");
    if (!take_tunnel(c, false, &t))
        return;
    if (id.n > 0 && uuid_parse(id, &connector) < 0) {
        answer_error(c, 400, 1004, "client_id is not a UUID");
        return;
    }
    close_links(c, id.n > 0 ? &connector : NULL);
    audit(c, "tunnel.cleanup", c->id);
    answer(c, json_object());
}

static void get_connector(struct call *c)
{
    struct tunnel t;
    struct uuid connector;
    if (!take_tunnel(c, false, &t))
        return;
    if (uuid_parse(c->parts[5], &connector) == 0)
        for (const struct live_conn *conn = live_first(c->api->live, &c->tunnel); conn != NULL;
             conn = live_next(c->api->live, conn))
            if (uuid_eq(&conn->connector, &connector)) {
                answer(c, connector_json(c, conn));
                return;
            }
    answer_error(c, 404, 1003, "Connector not found");
}

static void answer_token(struct call *c)
{
    struct tunnel t;
    if (!take_tunnel(c, false, &t))
        return;
    answer(c, json_string(token_of(c, &t)));
    explicit_bzero(t.secret, sizeof t.secret);
}

static void show_tunnel(struct call *c)
{
    struct tunnel t;
    if (take_tunnel(c, true, &t))
        answer(c, tunnel_json(c, &t));
    explicit_bzero(t.secret, sizeof t.secret);
}

static void no_management(struct call *c)
{
    answer_error(c, 501, 1001, "Log streaming is not offered by this edge yet");
}

/* What there is below a tunnel. */
static const struct item {
    const char *name, *method;
    size_t parts;
    void (*act)(struct call *c);
} ITEMS[] = {
    { "", "GET", 4, show_tunnel },
    { "", "DELETE", 4, delete_tunnel },
    { "", "PATCH", 4, edit_tunnel },
    { "token", "GET", 5, answer_token },
    { "connections", "GET", 5, list_connectors },
    { "connections", "DELETE", 5, cleanup },
    { "connectors", "GET", 6, get_connector },
    { "configurations", "GET", 5, tunnels_configurations },
    { "configurations", "PUT", 5, tunnels_configurations },
    { "management", "POST", 5, no_management },
    { "management", "POST", 6, no_management },
};

void tunnels_item(struct call *c)
{
    struct slice method = c->q->method,
                 what = c->part_count > 4 ? c->parts[4] : (struct slice){ 0 };
    bool is_known = false;
    if (slice_eq(method, SLICE("HEAD")))
        method = SLICE("GET");
    for (size_t i = 0; i < sizeof ITEMS / sizeof ITEMS[0]; i++) {
        const struct item *it = &ITEMS[i];
        if (it->parts != c->part_count || !slice_eq(what, slice_str(it->name)))
            continue;
        is_known = true;
        if (slice_eq(method, slice_str(it->method))) {
            it->act(c);
            return;
        }
    }
    if (is_known)
        answer_no_method(c);
    else
        answer_no_route(c);
}
