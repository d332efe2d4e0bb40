/* SQLite itself: opening, statements, values. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "store/store_int.h"

static int translate(struct store *s, int code, const char *what)
{
    int primary = code & 0xff;
    int extended = sqlite3_extended_errcode(s->db);
    if (primary == SQLITE_CONSTRAINT && extended == SQLITE_CONSTRAINT_FOREIGNKEY)
        return ERR_NOTFOUND; /* what the row belongs to */
    if (primary == SQLITE_CONSTRAINT && extended != SQLITE_CONSTRAINT_NOTNULL)
        return ERR_EXISTS;
    log_error("database", LSTR("what", what), LSTR("why", sqlite3_errmsg(s->db)),
              LI64("code", code));
    return primary == SQLITE_NOMEM ? ERR_NOMEM : primary == SQLITE_BUSY ? ERR_BUSY : ERR_IO;
}

int store_exec(struct store *s, const char *sql)
{
    int code = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : translate(s, code, sql);
}

int store_end(struct store *s, int r)
{
    if (r == 0)
        r = store_exec(s, "COMMIT");
    /* A full disk ends a transaction by itself, a failed COMMIT need not. Left open, it would fail
     * every change from then on. */
    if (r < 0 && sqlite3_get_autocommit(s->db) == 0)
        (void)store_exec(s, "ROLLBACK");
    return r;
}

sqlite3_stmt *store_statement(struct store *s, const char *sql)
{
    for (size_t i = 0; i < s->cached; i++)
        if (s->cache[i].sql == sql) {
            (void)sqlite3_reset(s->cache[i].statement);
            (void)sqlite3_clear_bindings(s->cache[i].statement);
            return s->cache[i].statement;
        }
    sqlite3_stmt *st = NULL;
    int code = s->cached < STATEMENTS_MAX
                   ? sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL)
                   : SQLITE_NOMEM;
    if (code != SQLITE_OK) {
        (void)translate(s, code, sql);
        return NULL;
    }
    s->cache[s->cached].sql = sql;
    s->cache[s->cached++].statement = st;
    return st;
}

int store_step(struct store *s, sqlite3_stmt *st)
{
    if (st == NULL)
        return ERR_IO;
    int code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        return 1;
    int r = code == SQLITE_DONE ? 0 : translate(s, code, sqlite3_sql(st));
    (void)sqlite3_reset(st);
    return r;
}

int store_run(struct store *s, sqlite3_stmt *st)
{
    int r = store_step(s, st);
    return r > 0 ? ERR_IO : r;
}

void store_bind_text(sqlite3_stmt *st, int at, struct slice text)
{
    if (st != NULL)
        (void)sqlite3_bind_text(st, at, text.n > 0 ? (const char *)text.p : "", (int)text.n,
                                SQLITE_TRANSIENT);
}

void store_bind_uuid(sqlite3_stmt *st, int at, const struct uuid *id)
{
    if (st != NULL)
        (void)sqlite3_bind_blob(st, at, id->bytes, sizeof id->bytes, SQLITE_TRANSIENT);
}

void store_column_text(sqlite3_stmt *st, int at, char *to, size_t size)
{
    const unsigned char *text = sqlite3_column_text(st, at);
    (void)sqlite3_snprintf((int)size, to, "%s", text != NULL ? (const char *)text : "");
}

void store_column_uuid(sqlite3_stmt *st, int at, struct uuid *ret)
{
    const void *p = sqlite3_column_blob(st, at);
    memset(ret, 0, sizeof *ret);
    if (p != NULL && sqlite3_column_bytes(st, at) == (int)sizeof ret->bytes)
        memcpy(ret->bytes, p, sizeof ret->bytes);
}

/* SQLite would make the file by the process's umask. */
static int make_file(const char *path, struct fault *fault)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fault_set(fault, err_from_errno(errno), "%s cannot be opened: %s", path,
                         strerror(errno));
    (void)close(fd);
    return 0;
}

int store_open(const char *path, const uint8_t seal_key[static 32], struct store **ret,
               struct fault *fault)
{
    int r = make_file(path, fault);
    if (r < 0)
        return r;
    struct store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    memcpy(s->seal_key, seal_key, sizeof s->seal_key);
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        r = fault_set(fault, ERR_IO, "%s cannot be opened: %s", path, sqlite3_errmsg(s->db));
    if (r == 0) {
        (void)sqlite3_busy_timeout(s->db, 5000);
        if (store_exec(s, "PRAGMA journal_mode = WAL") < 0 ||
            store_exec(s, "PRAGMA foreign_keys = ON") < 0 ||
            store_exec(s, "PRAGMA synchronous = NORMAL") < 0)
            r = fault_set(fault, ERR_IO, "%s is not a usable database: %s", path,
                          sqlite3_errmsg(s->db));
    }
    if (r == 0)
        r = store_migrate(s, fault);
    if (r < 0) {
        store_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->cached; i++)
        (void)sqlite3_finalize(s->cache[i].statement);
    (void)sqlite3_close(s->db);
    explicit_bzero(s->seal_key, sizeof s->seal_key);
    free(s);
}
