#pragma once
/* A database in a directory of its own. */
#include <dirent.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/store.h"
#include "test.h"

struct place {
    char dir[64], path[80];
    uint8_t key[32];
    struct fault fault;
};

static inline void place_init(struct place *p)
{
    *p = (struct place){ .key = { 1, 2, 3 } };
    log_setup(LOG_OFF, LOG_LOGFMT, STDERR_FILENO); /* what SQLite says is expected here */
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/adit-store.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof p->path, "%s/adit.db", p->dir);
}

static inline struct store *place_open(struct place *p)
{
    struct store *s = NULL;
    int r = store_open(p->path, p->key, &s, &p->fault);
    if (r < 0)
        fail_msg("%s", p->fault.text);
    return s;
}

static inline void place_done(struct place *p)
{
    DIR *dir = opendir(p->dir);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char path[400];
        (void)snprintf(path, sizeof path, "%s/%s", p->dir, e->d_name);
        (void)unlink(path);
    }
    (void)closedir(dir);
    assert_int_equal(rmdir(p->dir), 0);
}

static inline struct tunnel tunnel_of(uint8_t number, const char *name)
{
    struct tunnel t = { .id = { { number } }, .secret_bytes = 32, .created_us = 1000 + number };
    memset(t.secret, number, t.secret_bytes);
    (void)snprintf(t.name, sizeof t.name, "%s", name);
    return t;
}

/* SQL by another connection. */
static inline void place_sql(struct place *p, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    (void)sqlite3_close(db);
}
