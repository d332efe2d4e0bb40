/* Hostnames, configurations, settings, tokens, audit: the small tables. */
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "store/store_int.h"

/* ---- hostnames ---- */

static int route_tunnel(struct store *s, const char *hostname, struct uuid *ret)
{
    sqlite3_stmt *st = store_statement(s, "SELECT tunnel FROM routes WHERE hostname = ?");
    store_bind_text(st, 1, slice_str(hostname));
    int r = store_step(s, st);
    if (r == 1) {
        store_column_uuid(st, 0, ret);
        (void)sqlite3_reset(st);
        return 0;
    }
    return r < 0 ? r : ERR_NOTFOUND;
}

/* All but the balance, which is given and belongs to the statement. */
static const char *route_column(sqlite3_stmt *st, struct dns_route *ret)
{
    *ret = (struct dns_route){ .created_us = sqlite3_column_int64(st, 2) };
    store_column_text(st, 0, ret->hostname, sizeof ret->hostname);
    store_column_uuid(st, 1, &ret->tunnel);
    return (const char *)sqlite3_column_text(st, 3);
}

int store_route_put(struct store *s, const struct dns_route *route, bool overwrite,
                    enum route_change *ret)
{
    struct uuid before;
    int r = route_tunnel(s, route->hostname, &before);
    if (r < 0 && r != ERR_NOTFOUND)
        return r;
    if (r == 0 && uuid_eq(&before, &route->tunnel)) {
        *ret = ROUTE_UNCHANGED;
        return 0;
    }
    if (r == 0 && !overwrite)
        return ERR_EXISTS;
    enum route_change change = r == 0 ? ROUTE_UPDATED : ROUTE_NEW;
    sqlite3_stmt *st =
        store_statement(s, "INSERT INTO routes (hostname, tunnel, created) VALUES (?, ?, ?)"
                           " ON CONFLICT (hostname) DO UPDATE SET tunnel = excluded.tunnel");
    store_bind_text(st, 1, slice_str(route->hostname));
    store_bind_uuid(st, 2, &route->tunnel);
    if (st != NULL)
        (void)sqlite3_bind_int64(st, 3, route->created_us);
    r = store_run(s, st);
    if (r == 0)
        *ret = change;
    return r;
}

int store_route_get(struct store *s, const char *hostname, struct dns_route *ret,
                    char **ret_balance)
{
    sqlite3_stmt *st = store_statement(
        s, "SELECT hostname, tunnel, created, balance FROM routes WHERE hostname = ?");
    store_bind_text(st, 1, slice_str(hostname));
    int r = store_step(s, st);
    if (r <= 0)
        return r < 0 ? r : ERR_NOTFOUND;
    const char *balance = route_column(st, ret);
    char *copy = balance != NULL ? slice_dup(slice_str(balance)) : NULL;
    r = balance != NULL && copy == NULL ? ERR_NOMEM : 0;
    (void)sqlite3_reset(st);
    ret->balance = NULL;
    *ret_balance = copy;
    return r;
}

int store_route_balance(struct store *s, const char *hostname, const char *json)
{
    sqlite3_stmt *st = store_statement(s, "UPDATE routes SET balance = ? WHERE hostname = ?");
    if (st != NULL && json != NULL)
        store_bind_text(st, 1, slice_str(json)); /* else it is NULL by itself */
    store_bind_text(st, 2, slice_str(hostname));
    int r = store_run(s, st);
    return r < 0 ? r : sqlite3_changes(s->db) > 0 ? 0 : ERR_NOTFOUND;
}

int store_route_delete(struct store *s, const char *hostname)
{
    sqlite3_stmt *st = store_statement(s, "DELETE FROM routes WHERE hostname = ?");
    store_bind_text(st, 1, slice_str(hostname));
    int r = store_run(s, st);
    return r < 0 ? r : sqlite3_changes(s->db) > 0 ? 0 : ERR_NOTFOUND;
}

int store_route_each(struct store *s, int (*each)(void *ctx, const struct dns_route *r), void *ctx)
{
    sqlite3_stmt *st = store_statement(
        s, "SELECT hostname, tunnel, created, balance FROM routes ORDER BY hostname");
    int r;
    while ((r = store_step(s, st)) == 1) {
        struct dns_route route;
        route.balance = route_column(st, &route);
        int e = each(ctx, &route);
        if (e != 0) {
            (void)sqlite3_reset(st);
            return e;
        }
    }
    return r;
}

size_t store_route_count(struct store *s, const struct uuid *tunnel)
{
    sqlite3_stmt *st = store_statement(s, "SELECT count(*) FROM routes WHERE tunnel = ?");
    store_bind_uuid(st, 1, tunnel);
    size_t n = store_step(s, st) == 1 ? (size_t)sqlite3_column_int64(st, 0) : 0;
    if (st != NULL)
        (void)sqlite3_reset(st);
    return n;
}

/* ---- configurations ---- */

int store_config_get(struct store *s, const struct uuid *tunnel, struct store_config *ret)
{
    sqlite3_stmt *st =
        store_statement(s, "SELECT version, created, json FROM configurations WHERE tunnel = ?"
                           " ORDER BY version DESC LIMIT 1");
    store_bind_uuid(st, 1, tunnel);
    int r = store_step(s, st);
    if (r <= 0)
        return r < 0 ? r : ERR_NOTFOUND;
    struct store_config found = { .version = sqlite3_column_int(st, 0),
                                  .created_us = sqlite3_column_int64(st, 1) };
    const unsigned char *text = sqlite3_column_text(st, 2);
    found.json =
        text != NULL ? slice_dup(slice_of(text, (size_t)sqlite3_column_bytes(st, 2))) : NULL;
    (void)sqlite3_reset(st);
    if (found.json == NULL)
        return ERR_NOMEM;
    *ret = found;
    return 0;
}

int store_config_version(struct store *s, const struct uuid *tunnel, int *ret)
{
    sqlite3_stmt *st =
        store_statement(s, "SELECT coalesce(max(version), 0) FROM configurations WHERE tunnel = ?");
    store_bind_uuid(st, 1, tunnel);
    int r = store_step(s, st);
    if (r <= 0)
        return r < 0 ? r : ERR_IO;
    *ret = sqlite3_column_int(st, 0);
    (void)sqlite3_reset(st);
    return 0;
}

/* Inside a transaction. */
static int add_version(struct store *s, const struct uuid *tunnel, int version, const char *json,
                       int64_t now_us)
{
    sqlite3_stmt *add = store_statement(
        s, "INSERT INTO configurations (tunnel, version, json, created) VALUES (?, ?, ?, ?)");
    sqlite3_stmt *prune =
        store_statement(s, "DELETE FROM configurations WHERE tunnel = ? AND version <= ?");
    sqlite3_stmt *mark = store_statement(s, "UPDATE tunnels SET remote = 1 WHERE id = ?");
    if (add == NULL || prune == NULL || mark == NULL)
        return ERR_IO;
    store_bind_uuid(add, 1, tunnel);
    (void)sqlite3_bind_int(add, 2, version);
    store_bind_text(add, 3, slice_str(json));
    (void)sqlite3_bind_int64(add, 4, now_us);
    store_bind_uuid(prune, 1, tunnel);
    (void)sqlite3_bind_int(prune, 2, version - REMOTE_CONFIG_VERSIONS_MAX);
    store_bind_uuid(mark, 1, tunnel);
    int r = store_run(s, add);
    if (r == 0)
        r = store_run(s, prune);
    return r < 0 ? r : store_run(s, mark);
}

int store_config_put(struct store *s, const struct uuid *tunnel, const char *json, int64_t now_us,
                     int *ret_version)
{
    int version = 0;
    if (store_exec(s, "BEGIN IMMEDIATE") < 0)
        return ERR_IO;
    int r = store_config_version(s, tunnel, &version);
    if (r == 0 && version == INT32_MAX) /* it goes out as 32 bits */
        r = ERR_IO;
    if (r == 0)
        r = add_version(s, tunnel, version + 1, json, now_us);
    r = store_end(s, r);
    if (r == 0)
        *ret_version = version + 1;
    return r;
}

/* ---- settings, tokens, audit ---- */

int store_get(struct store *s, const char *key, char *ret, size_t size)
{
    sqlite3_stmt *st = store_statement(s, "SELECT value FROM settings WHERE key = ?");
    store_bind_text(st, 1, slice_str(key));
    int r = store_step(s, st);
    if (r <= 0)
        return r < 0 ? r : ERR_NOTFOUND;
    store_column_text(st, 0, ret, size);
    (void)sqlite3_reset(st);
    return 0;
}

int store_set(struct store *s, const char *key, const char *value)
{
    sqlite3_stmt *st =
        store_statement(s, "INSERT INTO settings (key, value) VALUES (?, ?)"
                           " ON CONFLICT (key) DO UPDATE SET value = excluded.value");
    store_bind_text(st, 1, slice_str(key));
    store_bind_text(st, 2, slice_str(value));
    return store_run(s, st);
}

int store_token_put(struct store *s, const uint8_t hash[static 32], const char *name)
{
    sqlite3_stmt *others = store_statement(s, "DELETE FROM tokens WHERE name = ? AND hash <> ?");
    sqlite3_stmt *st =
        store_statement(s, "INSERT OR REPLACE INTO tokens (hash, name) VALUES (?, ?)");
    if (st == NULL || others == NULL || store_exec(s, "BEGIN IMMEDIATE") < 0)
        return ERR_IO;
    store_bind_text(others, 1, slice_str(name));
    (void)sqlite3_bind_blob(others, 2, hash, 32, SQLITE_TRANSIENT);
    (void)sqlite3_bind_blob(st, 1, hash, 32, SQLITE_TRANSIENT);
    store_bind_text(st, 2, slice_str(name));
    int r = store_run(s, others);
    return store_end(s, r < 0 ? r : store_run(s, st));
}

bool store_token_is_known(struct store *s, const uint8_t hash[static 32])
{
    sqlite3_stmt *st = store_statement(s, "SELECT 1 FROM tokens WHERE hash = ?");
    if (st != NULL)
        (void)sqlite3_bind_blob(st, 1, hash, 32, SQLITE_TRANSIENT);
    bool is_known = store_step(s, st) == 1;
    if (st != NULL)
        (void)sqlite3_reset(st);
    return is_known;
}

int store_audit(struct store *s, int64_t now_us, const char *actor, const char *action,
                const char *object)
{
    sqlite3_stmt *st =
        store_statement(s, "INSERT INTO audit (at, actor, action, object) VALUES (?, ?, ?, ?)");
    if (st != NULL)
        (void)sqlite3_bind_int64(st, 1, now_us);
    store_bind_text(st, 2, slice_str(actor));
    store_bind_text(st, 3, slice_str(action));
    store_bind_text(st, 4, slice_str(object));
    sqlite3_stmt *old = store_statement(s, "DELETE FROM audit WHERE id <= ?");
    if (st == NULL || old == NULL || store_exec(s, "BEGIN IMMEDIATE") < 0)
        return ERR_IO;
    int r = store_run(s, st);
    (void)sqlite3_bind_int64(old, 1, sqlite3_last_insert_rowid(s->db) - AUDIT_ROWS_MAX);
    return store_end(s, r < 0 ? r : store_run(s, old));
}
