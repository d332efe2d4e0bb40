/* The schema, as numbered steps that are never changed once released. PRAGMA user_version holds how
 * many were taken. */
#include "base/err.h"
#include "base/log.h"
#include "store/store_int.h"

static const char *const STEPS[] = {
    /* 1 */
    "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE tunnels (id BLOB PRIMARY KEY, name TEXT NOT NULL, secret BLOB NOT NULL, created "
    "INTEGER NOT NULL,"
    " deleted INTEGER, quick INTEGER NOT NULL DEFAULT 0, remote INTEGER NOT NULL DEFAULT 0) "
    "WITHOUT ROWID;"
    "CREATE UNIQUE INDEX tunnels_name ON tunnels (name) WHERE deleted IS NULL;"
    "CREATE INDEX tunnels_created ON tunnels (created);"
    "CREATE TABLE routes (hostname TEXT PRIMARY KEY, tunnel BLOB NOT NULL REFERENCES tunnels (id) "
    "ON DELETE CASCADE,"
    " created INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX routes_tunnel ON routes (tunnel);"
    "CREATE TABLE configurations (tunnel BLOB NOT NULL REFERENCES tunnels (id) ON DELETE CASCADE, "
    "version INTEGER NOT NULL,"
    " json TEXT NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (tunnel, version)) WITHOUT ROWID;"
    "CREATE TABLE tokens (hash BLOB PRIMARY KEY, name TEXT NOT NULL, scopes TEXT NOT NULL DEFAULT "
    "'*', expires INTEGER)"
    " WITHOUT ROWID;"
    "CREATE TABLE audit (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action "
    "TEXT NOT NULL,"
    " object TEXT NOT NULL);",
    /* 2: how the requests of a hostname are shared among replicas, as JSON; NULL = by the preset */
    "ALTER TABLE routes ADD COLUMN balance TEXT;",
};

#define STEP_COUNT (int)(sizeof STEPS / sizeof STEPS[0])

static int version_of(struct store *s, int *ret)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK)
        return ERR_IO;
    int r = sqlite3_step(st) == SQLITE_ROW ? 0 : ERR_IO;
    if (r == 0)
        *ret = sqlite3_column_int(st, 0);
    (void)sqlite3_finalize(st);
    return r;
}

int store_migrate(struct store *s, struct fault *fault)
{
    int version;
    if (version_of(s, &version) < 0)
        return fault_set(fault, ERR_IO, "the database cannot be read: %s", sqlite3_errmsg(s->db));
    if (version < 0)
        return fault_set(fault, ERR_UNSUPPORTED,
                         "the database is of no version of ours (schema %d)", version);
    if (version > STEP_COUNT)
        return fault_set(fault, ERR_UNSUPPORTED,
                         "the database is of a newer version (schema %d, this program knows %d)",
                         version, STEP_COUNT);
    for (; version < STEP_COUNT; version++) {
        char mark[48];
        (void)sqlite3_snprintf(sizeof mark, mark, "PRAGMA user_version = %d", version + 1);
        if (store_exec(s, "BEGIN IMMEDIATE") < 0 || store_exec(s, STEPS[version]) < 0 ||
            store_exec(s, mark) < 0 || store_exec(s, "COMMIT") < 0) {
            /* Before the rollback, whose own message would take the place of the reason. */
            (void)fault_set(fault, ERR_IO, "the database could not be brought to schema %d: %s",
                            version + 1, sqlite3_errmsg(s->db));
            return store_end(s, ERR_IO);
        }
        log_info("database schema", LI64("version", version + 1));
    }
    return 0;
}
