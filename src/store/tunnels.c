#include <stdlib.h>

#include "base/err.h"
#include "crypto/seal.h"
#include "store/store_int.h"

#define COLUMNS "id, name, secret, created, deleted, quick, remote"

static int take_row(struct store *s, sqlite3_stmt *st, struct tunnel *ret)
{
    struct tunnel t = { 0 };
    store_column_uuid(st, 0, &t.id);
    store_column_text(st, 1, t.name, sizeof t.name);
    struct slice sealed = slice_of(sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2));
    t.created_us = sqlite3_column_int64(st, 3);
    t.deleted_us = sqlite3_column_int64(st, 4);
    t.is_quick = sqlite3_column_int(st, 5) != 0;
    t.is_remote = sqlite3_column_int(st, 6) != 0;
    if (sealed.n < SEAL_OVERHEAD || sealed.n - SEAL_OVERHEAD > sizeof t.secret ||
        seal_open(s->seal_key, slice_of(t.id.bytes, sizeof t.id.bytes), sealed, t.secret) < 0)
        return ERR_DENIED; /* sealed with another key */
    t.secret_bytes = sealed.n - SEAL_OVERHEAD;
    *ret = t;
    return 0;
}

int store_tunnel_add(struct store *s, const struct tunnel *t)
{
    uint8_t sealed[TUNNEL_SECRET_BYTES_MAX + SEAL_OVERHEAD];
    sqlite3_stmt *st = store_statement(
        s,
        "INSERT INTO tunnels (id, name, secret, created, quick, remote) VALUES (?, ?, ?, ?, ?, ?)");
    int r = seal(s->seal_key, slice_of(t->id.bytes, sizeof t->id.bytes),
                 slice_of(t->secret, t->secret_bytes), sealed);
    if (st == NULL || r < 0)
        return ERR_IO;
    store_bind_uuid(st, 1, &t->id);
    store_bind_text(st, 2, slice_str(t->name));
    (void)sqlite3_bind_blob(st, 3, sealed, (int)(t->secret_bytes + SEAL_OVERHEAD),
                            SQLITE_TRANSIENT);
    (void)sqlite3_bind_int64(st, 4, t->created_us);
    (void)sqlite3_bind_int(st, 5, t->is_quick);
    (void)sqlite3_bind_int(st, 6, t->is_remote);
    return store_run(s, st);
}

static int get_one(struct store *s, sqlite3_stmt *st, struct tunnel *ret)
{
    int r = store_step(s, st);
    if (r <= 0)
        return r < 0 ? r : ERR_NOTFOUND;
    r = take_row(s, st, ret);
    (void)sqlite3_reset(st);
    return r;
}

int store_tunnel_get(struct store *s, const struct uuid *id, struct tunnel *ret)
{
    sqlite3_stmt *st = store_statement(s, "SELECT " COLUMNS " FROM tunnels WHERE id = ?");
    store_bind_uuid(st, 1, id);
    return get_one(s, st, ret);
}

int store_tunnel_by_name(struct store *s, struct slice name, struct tunnel *ret)
{
    sqlite3_stmt *st =
        store_statement(s, "SELECT " COLUMNS " FROM tunnels WHERE name = ? AND deleted IS NULL");
    store_bind_text(st, 1, name);
    return get_one(s, st, ret);
}

int store_tunnel_edit(struct store *s, const struct tunnel *t)
{
    uint8_t sealed[TUNNEL_SECRET_BYTES_MAX + SEAL_OVERHEAD];
    sqlite3_stmt *st = store_statement(
        s, "UPDATE tunnels SET name = ?, secret = ? WHERE id = ? AND deleted IS NULL");
    int r = seal(s->seal_key, slice_of(t->id.bytes, sizeof t->id.bytes),
                 slice_of(t->secret, t->secret_bytes), sealed);
    if (st == NULL || r < 0)
        return ERR_IO;
    store_bind_text(st, 1, slice_str(t->name));
    (void)sqlite3_bind_blob(st, 2, sealed, (int)(t->secret_bytes + SEAL_OVERHEAD),
                            SQLITE_TRANSIENT);
    store_bind_uuid(st, 3, &t->id);
    return store_run(s, st);
}

int store_tunnel_delete(struct store *s, const struct uuid *id, int64_t now_us)
{
    sqlite3_stmt *routes = store_statement(s, "DELETE FROM routes WHERE tunnel = ?");
    sqlite3_stmt *tunnel =
        store_statement(s, "UPDATE tunnels SET deleted = ? WHERE id = ? AND deleted IS NULL");
    if (routes == NULL || tunnel == NULL || store_exec(s, "BEGIN IMMEDIATE") < 0)
        return ERR_IO;
    store_bind_uuid(routes, 1, id);
    (void)sqlite3_bind_int64(tunnel, 1, now_us);
    store_bind_uuid(tunnel, 2, id);
    int r = store_run(s, routes);
    if (r == 0)
        r = store_run(s, tunnel);
    return store_end(s, r);
}

int store_tunnel_purge(struct store *s, const struct uuid *id)
{
    sqlite3_stmt *st = store_statement(s, "DELETE FROM tunnels WHERE id = ?");
    store_bind_uuid(st, 1, id);
    return store_run(s, st);
}

int store_quick_each(struct store *s,
                     int (*each)(void *ctx, const struct uuid *id, int64_t created_us), void *ctx)
{
    sqlite3_stmt *st =
        store_statement(s, "SELECT id, created FROM tunnels WHERE quick = 1 AND deleted IS NULL");
    int r;
    while ((r = store_step(s, st)) == 1) {
        struct uuid id;
        store_column_uuid(st, 0, &id);
        int e = each(ctx, &id, sqlite3_column_int64(st, 1));
        if (e != 0) {
            (void)sqlite3_reset(st);
            return e;
        }
    }
    return r;
}

int store_check_key(struct store *s, struct fault *fault)
{
    struct tunnel t;
    sqlite3_stmt *st = store_statement(s, "SELECT " COLUMNS " FROM tunnels LIMIT 1");
    int r = get_one(s, st, &t);
    explicit_bzero(&t, sizeof t);
    if (r == ERR_DENIED)
        return fault_set(fault, r,
                         "the secrets in adit.db were sealed with another key than seal.key; put "
                         "that key back, or move adit.db away to start anew");
    return r == ERR_NOTFOUND ? 0 : r < 0 ? fault_set(fault, r, "adit.db cannot be read") : 0;
}

size_t store_quick_count(struct store *s)
{
    sqlite3_stmt *st =
        store_statement(s, "SELECT count(*) FROM tunnels WHERE quick = 1 AND deleted IS NULL");
    size_t n = store_step(s, st) == 1 ? (size_t)sqlite3_column_int64(st, 0) : 0;
    if (st != NULL)
        (void)sqlite3_reset(st);
    return n;
}

#define WHERE                                                                                      \
    " FROM tunnels WHERE (?1 = '' OR name = ?1) AND (?2 = '' OR substr(name, 1, length(?2)) = ?2)" \
    " AND (?3 = '' OR substr(name, 1, length(?3)) <> ?3) AND (?4 IS NULL OR id = ?4)"              \
    " AND (?5 < 0 OR (deleted IS NOT NULL) = ?5) AND (?6 = 0 OR (created <= ?6 AND (deleted IS "   \
    "NULL OR deleted > ?6)))"                                                                      \
    " AND (quick = 0 OR ?7)"

static void bind_filter(sqlite3_stmt *st, const struct tunnel_filter *f)
{
    if (st == NULL)
        return;
    store_bind_text(st, 1, f->name);
    store_bind_text(st, 2, f->name_prefix);
    store_bind_text(st, 3, f->exclude_prefix);
    if (f->id != NULL)
        store_bind_uuid(st, 4, f->id);
    (void)sqlite3_bind_int(st, 5, f->deleted);
    (void)sqlite3_bind_int64(st, 6, f->existed_at_us);
    (void)sqlite3_bind_int(st, 7, f->with_quick);
}

int store_tunnel_list(struct store *s, const struct tunnel_filter *f, struct tunnel *ret,
                      size_t max, size_t *ret_count, uint64_t *ret_total)
{
    sqlite3_stmt *count = store_statement(s, "SELECT count(*)" WHERE);
    sqlite3_stmt *rows =
        store_statement(s, "SELECT " COLUMNS WHERE " ORDER BY created DESC, id LIMIT ?8 OFFSET ?9");
    size_t n = 0;
    bind_filter(count, f);
    bind_filter(rows, f);
    if (store_step(s, count) != 1)
        return ERR_IO;
    uint64_t total = (uint64_t)sqlite3_column_int64(count, 0);
    (void)sqlite3_reset(count);
    if (rows == NULL)
        return ERR_IO;
    (void)sqlite3_bind_int64(rows, 8,
                             (sqlite3_int64)(f->limit > 0 && f->limit < max ? f->limit : max));
    (void)sqlite3_bind_int64(rows, 9, f->offset < INT64_MAX ? (sqlite3_int64)f->offset : INT64_MAX);
    int r;
    while ((r = store_step(s, rows)) == 1 && n < max)
        if (take_row(s, rows, &ret[n]) == 0)
            n++;
    (void)sqlite3_reset(rows);
    if (r < 0)
        return r;
    *ret_total = total;
    *ret_count = n;
    return 0;
}
