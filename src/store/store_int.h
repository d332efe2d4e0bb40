#pragma once
/* What the files of the store share. */
#include <sqlite3.h>

#include "store/store.h"

#define STATEMENTS_MAX 48

struct store {
    sqlite3 *db;
    uint8_t seal_key[32];
    struct {
        const char *sql; /* static: its address names it */
        sqlite3_stmt *statement;
    } cache[STATEMENTS_MAX];
    size_t cached;
};

/* A prepared statement, reset, from the cache. NULL after an error, which is logged. `sql` is a
 * literal. */
sqlite3_stmt *store_statement(struct store *s, const char *sql);
/* Runs a statement that gives no rows. 0, ERR_EXISTS on a violated uniqueness, ERR_NOTFOUND when
 * what it refers to is not there, ERR_IO. */
int store_run(struct store *s, sqlite3_stmt *statement);
/* Next row: 1, 0 at the end, ERR_IO. */
int store_step(struct store *s, sqlite3_stmt *statement);
int store_exec(struct store *s, const char *sql);
/* Ends a transaction: commits when r is 0, else (or when that fails) takes all back. Returns r or
 * why it could not be committed. */
int store_end(struct store *s, int r);
void store_bind_text(sqlite3_stmt *st, int at, struct slice text);
void store_bind_uuid(sqlite3_stmt *st, int at, const struct uuid *id);
void store_column_text(sqlite3_stmt *st, int at, char *to, size_t size);
void store_column_uuid(sqlite3_stmt *st, int at, struct uuid *ret);

/* migrations.c */
int store_migrate(struct store *s, struct fault *fault);
