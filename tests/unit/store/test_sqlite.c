#include <signal.h>
#include <sys/resource.h>

#include "place.h"
#include "store/store_int.h"

TEST(a_file_that_is_no_database_is_refused)
{
    struct place p;
    struct store *s = NULL;
    place_init(&p);
    FILE *f = fopen(p.path, "w");
    for (int i = 0; i < 1000; i++)
        (void)fputs("this is no database at all\n", f);
    (void)fclose(f);
    CHECK_ERR(ERR_IO, store_open(p.path, p.key, &s, &p.fault));
    CHECK(s == NULL && strstr(p.fault.text, p.path) != NULL);
    place_done(&p);
}

TEST(a_place_where_no_file_can_be_is_refused)
{
    struct place p;
    struct store *s = NULL;
    char path[120];
    place_init(&p);
    (void)snprintf(path, sizeof path, "%s/none/adit.db", p.dir);
    CHECK_ERR(ERR_NOTFOUND, store_open(path, p.key, &s, &p.fault));
    CHECK(strstr(p.fault.text, "none/adit.db cannot be opened") != NULL);
    CHECK_ERR(ERR_IO, store_open(p.dir, p.key, &s, &p.fault)); /* a directory */
    CHECK(s == NULL);
    place_done(&p);
}

TEST(a_file_that_others_may_not_write_is_refused)
{
    struct place p;
    struct store *s = NULL;
    place_init(&p);
    store_close(place_open(&p));
    CHECK(chmod(p.path, 0400) == 0 && chmod(p.dir, 0755) == 0);
    bool is_root = geteuid() == 0;
    if (is_root) /* root may write everything: ask as somebody else */
        CHECK(seteuid(65534) == 0);
    CHECK_ERR(ERR_DENIED, store_open(p.path, p.key, &s, &p.fault));
    if (is_root)
        CHECK(seteuid(0) == 0);
    CHECK(s == NULL && strstr(p.fault.text, "cannot be opened") != NULL);
    place_done(&p);
}

TEST(a_database_that_turned_read_only_fails_its_changes_alone)
{
    struct place p;
    struct tunnel t = tunnel_of(1, "one"), u = tunnel_of(2, "two"), got;
    enum route_change change = ROUTE_UNCHANGED;
    struct dns_route r = { .hostname = "a.example", .tunnel = t.id };
    int version = 7;
    place_init(&p);
    struct store *s = place_open(&p);
    CHECK_OK(store_tunnel_add(s, &t));
    CHECK_OK(store_exec(s, "PRAGMA query_only = ON"));
    CHECK_ERR(ERR_IO, store_tunnel_add(s, &u));
    CHECK_ERR(ERR_IO, store_tunnel_edit(s, &t));
    CHECK_ERR(ERR_IO, store_token_put(s, p.key, "admin"));
    CHECK_ERR(ERR_IO, store_tunnel_delete(s, &t.id, 5));
    CHECK_ERR(ERR_IO, store_tunnel_purge(s, &t.id));
    CHECK_ERR(ERR_IO, store_route_put(s, &r, false, &change));
    CHECK_ERR(ERR_IO, store_config_put(s, &t.id, "{}", 5, &version));
    CHECK_ERR(ERR_IO, store_set(s, "k", "v"));
    CHECK_ERR(ERR_IO, store_audit(s, 1, "a", "b", "c"));
    CHECK(version == 7);
    CHECK_OK(store_tunnel_get(s, &t.id, &got)); /* reading goes on */
    CHECK(strcmp(got.name, "one") == 0 && got.deleted_us == 0);
    CHECK_OK(store_exec(s, "PRAGMA query_only = OFF"));
    CHECK_OK(store_tunnel_add(s, &u)); /* and so does writing, once it can */
    CHECK_OK(store_tunnel_delete(s, &t.id, 5));
    store_close(s);
    place_done(&p);
}

/* No file of this process may grow past `bytes`, which is how a full disk looks from here. */
static void disk_ends_at(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

TEST(a_full_disk_fails_a_change_and_heals)
{
    struct place p;
    struct tunnel got;
    int failed = 0;
    place_init(&p);
    (void)signal(SIGXFSZ, SIG_IGN);
    struct store *s = place_open(&p);
    struct tunnel first = tunnel_of(0, "first");
    CHECK_OK(store_tunnel_add(s, &first));
    struct stat st;
    char wal[100];
    (void)snprintf(wal, sizeof wal, "%s-wal", p.path);
    CHECK(stat(wal, &st) == 0);
    disk_ends_at((rlim_t)st.st_size + 20000);
    for (int i = 1; i < 200; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "tunnel-%d", i);
        struct tunnel t = tunnel_of((uint8_t)i, name);
        int r = store_tunnel_add(s, &t);
        CHECK(r == 0 || r == ERR_IO);
        failed += r < 0;
        /* What was said to be kept is there, what was not is not. */
        CHECK_ERR(r == 0 ? 0 : ERR_NOTFOUND, store_tunnel_get(s, &t.id, &got));
    }
    CHECK(failed > 0);
    CHECK_ERR(ERR_IO, store_tunnel_delete(s, &first.id, 5)); /* a transaction of two changes */
    CHECK_OK(store_tunnel_get(s, &first.id, &got));
    CHECK(got.deleted_us == 0);
    disk_ends_at(RLIM_INFINITY);
    CHECK_OK(store_tunnel_delete(s, &first.id, 5)); /* there is room again */
    struct tunnel last = tunnel_of(255, "last");
    CHECK_OK(store_tunnel_add(s, &last));
    store_close(s);
    s = place_open(&p);
    CHECK_OK(store_tunnel_get(s, &last.id, &got));
    CHECK_OK(store_tunnel_get(s, &first.id, &got));
    CHECK(got.deleted_us == 5);
    store_close(s);
    place_done(&p);
}

TEST(a_new_file_on_a_full_disk_says_so)
{
    struct place p;
    struct store *s = NULL;
    place_init(&p);
    (void)signal(SIGXFSZ, SIG_IGN);
    disk_ends_at(8192);
    int r = store_open(p.path, p.key, &s, &p.fault);
    disk_ends_at(RLIM_INFINITY);
    CHECK_ERR(ERR_IO, r);
    CHECK(s == NULL && p.fault.text[0] != 0);
    s = place_open(&p);
    store_close(s);
    place_done(&p);
}

/* A COMMIT that fails while another connection holds the file leaves its transaction open. */
TEST(a_transaction_that_cannot_be_committed_is_taken_back)
{
    struct place p;
    char value[8];
    place_init(&p);
    struct store *s = place_open(&p);
    CHECK_OK(store_set(s, "k", "old"));
    CHECK_OK(store_exec(s, "BEGIN IMMEDIATE"));
    CHECK_OK(store_set(s, "k", "new"));
    CHECK_ERR(ERR_CANCELED, store_end(s, ERR_CANCELED));
    CHECK(sqlite3_get_autocommit(s->db) != 0);
    CHECK_OK(store_get(s, "k", value, sizeof value));
    CHECK(strcmp(value, "old") == 0);
    /* Deferred foreign keys make COMMIT itself the one that fails. */
    CHECK_OK(store_exec(s, "BEGIN IMMEDIATE"));
    CHECK_OK(store_exec(s, "PRAGMA defer_foreign_keys = ON"));
    CHECK_OK(store_exec(
        s, "INSERT INTO routes (hostname, tunnel, created) VALUES ('a.example', x'99', 1)"));
    CHECK_ERR(ERR_NOTFOUND, store_end(s, 0));
    CHECK(sqlite3_get_autocommit(s->db) != 0);
    CHECK_OK(store_exec(s, "BEGIN IMMEDIATE"));
    CHECK_OK(store_end(s, 0));
    store_close(s);
    place_done(&p);
}

TESTS(RUN(a_file_that_is_no_database_is_refused), RUN(a_place_where_no_file_can_be_is_refused),
      RUN(a_file_that_others_may_not_write_is_refused),
      RUN(a_database_that_turned_read_only_fails_its_changes_alone),
      RUN(a_full_disk_fails_a_change_and_heals), RUN(a_new_file_on_a_full_disk_says_so),
      RUN(a_transaction_that_cannot_be_committed_is_taken_back))
