#include "base/metric.h"

#include "test.h"

static const struct metric_desc ROWS[] = {
    { "requests_total", "Requests.", METRIC_COUNTER, "status=\"200\"" },
    { "requests_total", "Requests.", METRIC_COUNTER, "status=\"502\"" },
    { "open", "Open now.", METRIC_GAUGE, NULL },
};

TEST(a_page_is_the_sum_of_the_sets)
{
    struct metric_set *sets[3];
    struct strb page;
    for (size_t i = 0; i < 3; i++)
        sets[i] = metric_set_new(ROWS, 3);
    metric_add(sets[0], 0, 5);
    metric_add(sets[2], 0, 7);
    metric_add(sets[1], 1, 1);
    metric_add(sets[0], 2, 3);
    metric_add(sets[1], 2, -4);
    strb_init(&page, 10000);
    metric_page(&page, sets, 3);
    CHECK_SLICE(strb_slice(&page), SLICE("# HELP requests_total Requests.\n"
                                         "# TYPE requests_total counter\n"
                                         "requests_total{status=\"200\"} 12\n"
                                         "requests_total{status=\"502\"} 1\n"
                                         "# HELP open Open now.\n"
                                         "# TYPE open gauge\n"
                                         "open -1\n"));
    strb_done(&page);
    metric_page(&page, sets, 0);
    CHECK(page.n == 0 && page.err == 0);
    for (size_t i = 0; i < 3; i++)
        free(sets[i]);
}

TEST(groups_of_sets_share_heads_and_have_their_own_labels)
{
    struct metric_set *sets[3];
    struct strb page;
    for (size_t i = 0; i < 3; i++)
        sets[i] = metric_set_new(ROWS, 3);
    metric_add(sets[0], 0, 5);
    metric_add(sets[1], 0, 7);
    metric_add(sets[2], 2, 3);
    const struct metric_group groups[] = { { sets, 2, "tunnel=\"a\"" },
                                           { &sets[2], 1, "tunnel=\"b\"" } };
    strb_init(&page, 10000);
    metric_pages(&page, groups, 2);
    CHECK_SLICE(strb_slice(&page), SLICE("# HELP requests_total Requests.\n"
                                         "# TYPE requests_total counter\n"
                                         "requests_total{tunnel=\"a\",status=\"200\"} 12\n"
                                         "requests_total{tunnel=\"b\",status=\"200\"} 0\n"
                                         "requests_total{tunnel=\"a\",status=\"502\"} 0\n"
                                         "requests_total{tunnel=\"b\",status=\"502\"} 0\n"
                                         "# HELP open Open now.\n"
                                         "# TYPE open gauge\n"
                                         "open{tunnel=\"a\"} 0\n"
                                         "open{tunnel=\"b\"} 3\n"));
    strb_done(&page);
    for (size_t i = 0; i < 3; i++)
        free(sets[i]);
}

static const struct metric_desc TIMES[] = {
    { "wait_seconds", "Waits.", METRIC_HISTOGRAM, "phase=\"a\"" },
    { "wait_seconds", "Waits.", METRIC_HISTOGRAM, "phase=\"b\"" },
    { "rare_total", "Rare.", METRIC_SEEN, "kind=\"x\"" },
    { "all_seconds", "All.", METRIC_HISTOGRAM, NULL },
};

TEST(a_duration_falls_into_the_first_bucket_whose_bound_it_does_not_pass)
{
    CHECK(metric_bucket(0) == 0 && metric_bucket(100 * NSEC_PER_USEC) == 0);
    CHECK(metric_bucket(100 * NSEC_PER_USEC + 1) == 1 && metric_bucket(200 * NSEC_PER_USEC) == 1);
    CHECK(metric_bucket(200 * NSEC_PER_USEC + 1) == 2 && metric_bucket(400 * NSEC_PER_USEC) == 2);
    CHECK(metric_bucket((nsec)52428800 * NSEC_PER_USEC) == METRIC_BUCKETS - 2);
    CHECK(metric_bucket((nsec)52428800 * NSEC_PER_USEC + 1) == METRIC_BUCKETS - 1);
    CHECK(metric_bucket(UINT64_MAX) == METRIC_BUCKETS - 1);
}

TEST(a_histogram_is_cumulative_and_a_series_without_a_sample_is_left_out)
{
    struct metric_set *sets[2] = { metric_set_new(TIMES, 4), metric_set_new(TIMES, 4) };
    struct strb page;
    metric_observe(sets[0], 1, 150 * NSEC_PER_USEC);
    metric_observe(sets[1], 1, 90 * NSEC_PER_SEC);
    strb_init(&page, 100000);
    metric_page(&page, sets, 2);
    CHECK(slice_starts(strb_slice(&page),
                       SLICE("# HELP wait_seconds Waits.\n# TYPE wait_seconds histogram\n"
                             "wait_seconds_bucket{phase=\"b\",le=\"0.0001\"} 0\n"
                             "wait_seconds_bucket{phase=\"b\",le=\"0.0002\"} 1\n")));
    CHECK(strstr(page.p, "wait_seconds_bucket{phase=\"b\",le=\"52.4288\"} 1\n"
                         "wait_seconds_bucket{phase=\"b\",le=\"+Inf\"} 2\n"
                         "wait_seconds_sum{phase=\"b\"} 90.000150000\n"
                         "wait_seconds_count{phase=\"b\"} 2\n") != NULL);
    CHECK(strstr(page.p, "phase=\"a\"") == NULL && strstr(page.p, "rare_total") == NULL);
    CHECK(strstr(page.p, "all_seconds_count 0\n") != NULL);
    metric_add(sets[0], 2, 1);
    metric_page(&page, sets, 2);
    CHECK(strstr(page.p, "rare_total{kind=\"x\"} 1\n") != NULL);
    strb_done(&page);
    free(sets[0]);
    free(sets[1]);
}

TEST(a_label_cannot_break_the_page)
{
    struct strb page;
    strb_init(&page, 100);
    metric_label(&page, SLICE("a\"b\\c\nd"));
    CHECK_SLICE(strb_slice(&page), SLICE("a\\\"b\\\\c\\nd"));
    strb_done(&page);
}

TEST(a_page_that_does_not_fit_says_so)
{
    struct metric_set *set = metric_set_new(ROWS, 3);
    struct strb page;
    strb_init(&page, 50);
    metric_page(&page, &set, 1);
    CHECK(page.err == ERR_LIMIT && page.n <= 50);
    strb_done(&page);
    free(set);
}

static const struct metric_desc FOREIGN[] = {
    { "call_secs", "Calls.", METRIC_HISTOGRAM_RPC, "m=\"x\"" },
    { "call_secs", "Calls.", METRIC_HISTOGRAM_RPC, "m=\"y\"" },
    { "connect", "Connects.", METRIC_HISTOGRAM_CONNECT, NULL },
};

TEST(a_histogram_with_buckets_of_the_reference_has_those)
{
    struct metric_set *sets[2] = { metric_set_new(FOREIGN, 3), metric_set_new(FOREIGN, 3) };
    struct strb page;
    metric_observe(sets[0], 0, 50 * NSEC_PER_MSEC);
    metric_observe(sets[1], 0, 50 * NSEC_PER_MSEC + 1);
    metric_observe(sets[1], 0, 1350 * NSEC_PER_MSEC);
    metric_observe(sets[1], 0, 5 * NSEC_PER_SEC);
    metric_observe(sets[0], 2, 1500 * NSEC_PER_USEC);
    strb_init(&page, 10000);
    metric_page(&page, sets, 2);
    CHECK_SLICE(strb_slice(&page), SLICE("# HELP call_secs Calls.\n"
                                         "# TYPE call_secs histogram\n"
                                         "call_secs_bucket{m=\"x\",le=\"0.05\"} 1\n"
                                         "call_secs_bucket{m=\"x\",le=\"0.15000000000000002\"} 2\n"
                                         "call_secs_bucket{m=\"x\",le=\"0.45000000000000007\"} 2\n"
                                         "call_secs_bucket{m=\"x\",le=\"1.35\"} 3\n"
                                         "call_secs_bucket{m=\"x\",le=\"4.050000000000001\"} 3\n"
                                         "call_secs_bucket{m=\"x\",le=\"+Inf\"} 4\n"
                                         "call_secs_sum{m=\"x\"} 6.450000001\n"
                                         "call_secs_count{m=\"x\"} 4\n"
                                         "# HELP connect Connects.\n"
                                         "# TYPE connect histogram\n"
                                         "connect_bucket{le=\"1\"} 0\n"
                                         "connect_bucket{le=\"10\"} 1\n"
                                         "connect_bucket{le=\"25\"} 1\n"
                                         "connect_bucket{le=\"50\"} 1\n"
                                         "connect_bucket{le=\"100\"} 1\n"
                                         "connect_bucket{le=\"500\"} 1\n"
                                         "connect_bucket{le=\"1000\"} 1\n"
                                         "connect_bucket{le=\"5000\"} 1\n"
                                         "connect_bucket{le=\"+Inf\"} 1\n"
                                         "connect_sum 1.5\n"
                                         "connect_count 1\n"));
    strb_done(&page);
    free(sets[0]);
    free(sets[1]);
}

TESTS(RUN(a_page_is_the_sum_of_the_sets), RUN(groups_of_sets_share_heads_and_have_their_own_labels),
      RUN(a_duration_falls_into_the_first_bucket_whose_bound_it_does_not_pass),
      RUN(a_histogram_is_cumulative_and_a_series_without_a_sample_is_left_out),
      RUN(a_label_cannot_break_the_page), RUN(a_page_that_does_not_fit_says_so),
      RUN(a_histogram_with_buckets_of_the_reference_has_those))
