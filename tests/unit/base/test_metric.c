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

TESTS(RUN(a_page_is_the_sum_of_the_sets), RUN(a_page_that_does_not_fit_says_so))
