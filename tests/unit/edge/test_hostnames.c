#include "edge/hostnames.h"

#include <stdio.h>

#include "test.h"

static void has(void **state_, struct hostnames *h, const char *line, bool is_wanted)
{
    struct strb page;
    strb_init(&page, 1024 * 1024);
    hostnames_page(h, &page);
    CHECK(page.err == 0);
    if ((strstr(page.p, line) != NULL) != is_wanted)
        fail_msg("%s %s in %s", line, is_wanted ? "is not" : "is", page.p);
    strb_done(&page);
}

static void ask(struct hostname_view *v, const char *route)
{
    metric_bump(&hostname_view_get(v, slice_str(route))->requests[1], 1);
}

TEST(the_workers_counts_of_a_hostname_are_summed)
{
    struct hostnames *h = hostnames_new(10);
    struct hostname_view *a = hostname_view_new(h), *b = hostname_view_new(h);
    ask(a, "x.localhost");
    ask(b, "x.localhost");
    ask(b, "*.example.com");
    ask(a, "");
    metric_hist_add(&hostname_view_get(a, SLICE("x.localhost"))->latency, 150 * NSEC_PER_USEC);
    has(state_, h, "requests_total{hostname=\"x.localhost\",class=\"2xx\"} 2\n", true);
    has(state_, h, "requests_total{hostname=\"*.example.com\",class=\"2xx\"} 1\n", true);
    has(state_, h, "requests_total{hostname=\"other\",class=\"2xx\"} 1\n", true);
    has(state_, h, "latency_seconds_bucket{hostname=\"x.localhost\",le=\"0.0002\"} 1\n", true);
    has(state_, h, "latency_seconds_sum{hostname=\"x.localhost\"} 0.000150000\n", true);
    hostname_view_free(a);
    has(state_, h, "requests_total{hostname=\"x.localhost\",class=\"2xx\"} 1\n", true);
    hostname_view_free(b);
    hostnames_free(h);
}

TEST(what_is_past_the_bound_is_other_for_every_worker)
{
    struct hostnames *h = hostnames_new(3);
    struct hostname_view *a = hostname_view_new(h), *b = hostname_view_new(h);
    char name[32];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "h%d.localhost", i);
        ask(a, name);
        ask(b, name);
    }
    has(state_, h, "requests_total{hostname=\"h2.localhost\",class=\"2xx\"} 2\n", true);
    has(state_, h, "h3.localhost", false);
    has(state_, h, "requests_total{hostname=\"other\",class=\"2xx\"} 194\n", true);
    hostname_view_free(a);
    hostname_view_free(b);
    hostnames_free(h);
}

TEST(a_full_table_gives_the_places_of_routes_that_went_to_new_ones)
{
    struct hostnames *h = hostnames_new(2);
    struct hostname_view *v = hostname_view_new(h);
    struct snapshot *s = snapshot_new();
    struct uuid tunnel = { 0 };
    CHECK(snapshot_add(s, SLICE("new.localhost"), &tunnel) == 0);
    ask(v, "old.localhost");
    metric_bump(&hostname_view_get(v, SLICE("busy.localhost"))->in_flight, 1);
    hostname_view_prune(v, s); /* nobody has asked for more room yet */
    has(state_, h, "old.localhost", true);
    ask(v, "new.localhost");
    has(state_, h, "new.localhost", false);
    hostname_view_prune(v, s);
    has(state_, h, "old.localhost", false);
    has(state_, h, "busy.localhost", true);
    ask(v, "new.localhost");
    has(state_, h, "requests_total{hostname=\"new.localhost\",class=\"2xx\"} 1\n", true);
    hostname_view_free(v);
    hostnames_free(h);
    snapshot_unref(s);
}

TESTS(RUN(the_workers_counts_of_a_hostname_are_summed),
      RUN(what_is_past_the_bound_is_other_for_every_worker),
      RUN(a_full_table_gives_the_places_of_routes_that_went_to_new_ones))
