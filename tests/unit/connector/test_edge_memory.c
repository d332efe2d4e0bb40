#include "connector/edge_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "crypto/keyfile.h"
#include "test.h"

static const struct edge_name EDGE = { .host = "edge.test", .port = 7844 };
static const struct edge_name SRV = { .host = "_edge._tcp.test", .is_srv = true };
static const struct uuid TUNNEL = { { 1, 2, 3 } };

static struct addr address(unsigned n)
{
    struct addr a;
    char text[32];
    (void)snprintf(text, sizeof text, "10.0.%u.%u", n / 256, n % 256);
    assert_int_equal(addr_parse_ip(slice_str(text), 7844, &a), 0);
    return a;
}

static void note(struct edge_memory *m, const struct edge_name *name, unsigned n)
{
    struct addr a = address(n);
    edge_memory_note(m, name, &a);
}

TEST(what_was_good_is_known_after_a_restart_by_the_name_that_led_there)
{
    char dir[] = "/tmp/edge-memory-XXXXXX";
    struct edge_memory m;
    struct edge_found found;
    struct stat st;
    assert_non_null(mkdtemp(dir));
    edge_memory_open(&m, dir, &TUNNEL);
    CHECK(m.count == 0 && !edge_memory_find(&m, &EDGE, &found));
    note(&m, &EDGE, 1);
    note(&m, &EDGE, 2);
    note(&m, &SRV, 3);
    CHECK_OK(stat(m.path, &st));
    CHECK((st.st_mode & 0777) == 0600);
    edge_memory_open(&m, dir, &TUNNEL);
    CHECK(edge_memory_find(&m, &EDGE, &found) && found.count == 2 && found.preferred == 2);
    struct addr last = address(2), srv = address(3);
    CHECK(addr_eq(&found.addrs[0], &last));
    CHECK(edge_memory_find(&m, &SRV, &found) && found.count == 1);
    CHECK(addr_eq(&found.addrs[0], &srv));
    CHECK(!edge_memory_find(&m, &(struct edge_name){ .host = "edge.test", .port = 1 }, &found));
    (void)unlink(m.path);
    edge_memory_open(&m, dir, &(struct uuid){ { 9 } });
    CHECK(m.count == 0);
    CHECK_OK(rmdir(dir)); /* no temporary file is left */
}

TEST(a_name_keeps_its_last_eight_addresses_and_a_file_thirty_two)
{
    struct edge_memory m;
    struct edge_found found;
    edge_memory_open(&m, NULL, &TUNNEL);
    for (unsigned i = 0; i < 20; i++)
        note(&m, &EDGE, i);
    CHECK(edge_memory_find(&m, &EDGE, &found) && found.count == EDGE_MEMORY_OF_NAME);
    struct addr newest = address(19), oldest = address(12);
    CHECK(addr_eq(&found.addrs[0], &newest) && addr_eq(&found.addrs[7], &oldest));
    for (unsigned i = 0; i < 50; i++) {
        struct edge_name other = { .port = 7844 };
        (void)snprintf(other.host, sizeof other.host, "edge-%u.test", i);
        note(&m, &other, i);
    }
    CHECK(m.count == EDGE_MEMORY_MAX);
    CHECK(!edge_memory_find(&m, &EDGE, &found));
}

TEST(a_text_that_is_not_one_of_these_gives_nothing)
{
    static const char *const BAD[] = {
        "",
        "adit edges 2\n",
        "adit edges 1 \n",
        "adit edges 1\nedge.test:7844\n",
        "adit edges 1\nedge.test:7844 \n",
        "adit edges 1\n 10.0.0.1:7844\n",
        "adit edges 1\nedge.test:7844 10.0.0.1\n",
        "adit edges 1\nedge.test:7844 10.0.0.1:0\n",
        "adit edges 1\nedge.test:7844 0.0.0.0:7844\n",
        "adit edges 1\nedge.test:7844 unix:/tmp/x\n",
        "adit edges 1\nedge.test:7844 edge.test:7844\n",
        "adit edges 1\nedge.test:7844 10.0.0.1:7844 more\n",
        "adit edges 1\nedge.test:7844 10.0.0.1:7844\nedge",
    };
    static struct edge_memory m;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        CHECK(edge_memory_parse(&m, slice_str(BAD[i])) == ERR_PARSE);
        CHECK(m.count == 0);
    }
    CHECK_OK(edge_memory_parse(&m, SLICE("adit edges 1\nedge.test:7844 [fd00::1]:7844\n")));
    CHECK(m.count == 1 && m.entries[0].addr.sa.ss_family == AF_INET6);
    char many[64 * (EDGE_MEMORY_MAX + 1)] = "adit edges 1\n";
    for (unsigned i = 0; i <= EDGE_MEMORY_MAX; i++)
        (void)snprintf(many + strlen(many), sizeof many - strlen(many), "e:1 10.0.0.%u:7844\n", i);
    CHECK(edge_memory_parse(&m, slice_str(many)) == ERR_PARSE && m.count == 0);
    char long_key[600] = "adit edges 1\n";
    memset(long_key + strlen(long_key), 'x', EDGE_KEY_BYTES);
    (void)snprintf(long_key + strlen(long_key), 64, " 10.0.0.1:7844\n");
    CHECK(edge_memory_parse(&m, slice_str(long_key)) == ERR_PARSE && m.count == 0);
}

TEST(a_file_that_others_may_read_or_that_is_too_large_counts_as_empty)
{
    char dir[] = "/tmp/edge-memory-XXXXXX";
    static char large[64 * 1024];
    struct edge_memory m;
    assert_non_null(mkdtemp(dir));
    edge_memory_open(&m, dir, &TUNNEL);
    note(&m, &EDGE, 1);
    CHECK_OK(chmod(m.path, 0644));
    edge_memory_open(&m, dir, &TUNNEL);
    CHECK(m.count == 0);
    memset(large, '\n', sizeof large);
    memcpy(large, "adit edges 1", 12);
    CHECK_OK(file_write(m.path, slice_of(large, sizeof large), 0600, NULL));
    edge_memory_open(&m, dir, &TUNNEL);
    CHECK(m.count == 0);
    note(&m, &EDGE, 1); /* and is written anew */
    edge_memory_open(&m, dir, &TUNNEL);
    CHECK(m.count == 1);
    (void)unlink(m.path);
    (void)rmdir(dir);
    note(&m, &EDGE, 2); /* there is no place any more: it is kept for this run */
    CHECK(m.count == 2 && m.is_told);
}

TESTS(RUN(what_was_good_is_known_after_a_restart_by_the_name_that_led_there),
      RUN(a_name_keeps_its_last_eight_addresses_and_a_file_thirty_two),
      RUN(a_text_that_is_not_one_of_these_gives_nothing),
      RUN(a_file_that_others_may_read_or_that_is_too_large_counts_as_empty))
